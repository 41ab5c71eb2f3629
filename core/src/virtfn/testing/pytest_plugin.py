"""What pytest gets from virtfn: a simulated host as a fixture, and the table of laws at the end of a run.

pytest loads this in every session where virtfn is installed, so it imports nothing of virtfn until it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from virtfn.testing.fakehost import FakeHost

LAW = "virtfn_law"
"""Property of a test that tries a law: `(law, profile)`."""


@pytest.fixture
def fake_host() -> Iterator[FakeHost]:
    """An empty simulated machine; put cards in with `add_card`."""
    from virtfn.testing.fakehost import FakeHost

    with FakeHost() as host:
        yield host
