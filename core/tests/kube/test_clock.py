"""Time as it is written, and the machine's own."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

from virtfn.kube.clock import SystemClock, micro_time, whole_time

MOMENT = datetime(2030, 1, 1, 2, 3, 4, 56, tzinfo=timezone(timedelta(hours=2)))


def test_times_are_in_utc_with_the_digits_that_the_api_wants() -> None:
    assert micro_time(MOMENT) == "2030-01-01T00:03:04.000056Z"
    assert micro_time(MOMENT.replace(microsecond=0)) == "2030-01-01T00:03:04.000000Z"
    assert whole_time(MOMENT) == "2030-01-01T00:03:04Z"


def test_the_machines_clock() -> None:
    clock, event = SystemClock(), threading.Event()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
    assert not clock.wait(event, seconds=-1.0)
    assert not clock.wait(event, seconds=0.001)
    event.set()
    assert clock.wait(event, seconds=1000.0)
