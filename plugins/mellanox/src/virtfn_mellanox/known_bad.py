"""Versions of tool and firmware that are known not to go together: they are refused by name, with who told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from virtfn_mellanox.mstconfig import PACKAGE, Version


@dataclass(frozen=True, slots=True)
class KnownBad:
    """One pair."""

    tool: tuple[Version, Version]
    """Versions of mstflint: from the first on, to before the second."""
    firmware: tuple[Version, Version] | None
    """Versions of the firmware, likewise; None: which ones is not known, so any."""
    what: str
    instead: str
    source: str


PAIRS: Final = (
    KnownBad(
        tool=((4, 34), (4, 35)),
        firmware=None,
        what="what it sets does not come into force by a reboot with some versions of firmware, and nodes rebooted for"
        " ever",
        instead="install another version",
        source="openshift-kni/telco-reference#779",
    ),
)


def refusal(tool: Version | None, firmware: Version | None) -> tuple[str, str] | None:
    """Why this tool must not write this firmware, and what to do instead; None: nothing is known against it."""
    for bad in PAIRS:
        if tool is None or not bad.tool[0] <= tool < bad.tool[1]:
            continue
        if bad.firmware is None or (firmware is not None and bad.firmware[0] <= firmware < bad.firmware[1]):
            name = f"{PACKAGE} {'.'.join(map(str, tool))}"
            return f"{name} is known to be bad: {bad.what} ({bad.source})", bad.instead
    return None
