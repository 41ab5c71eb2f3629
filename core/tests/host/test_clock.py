"""Real time."""

from __future__ import annotations

from virtfn.host.clock import SystemClock


def test_time_passes_while_sleeping() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.01
