"""The simulated ground: `FakeHost`, device profiles, and (with the extra `virtfn[testing]`) the conformance kit.

Importing this package needs nothing but virtfn itself.
"""

from virtfn.testing.fakehost import FakeHost
from virtfn.testing.ground.calls import BlocksForever, Call
from virtfn.testing.ground.card import Card, Quirks
from virtfn.testing.profiles import Profile, load_profile, parse_profile, profile_names

__all__ = [
    "BlocksForever",
    "Call",
    "Card",
    "FakeHost",
    "Profile",
    "Quirks",
    "load_profile",
    "parse_profile",
    "profile_names",
]
