"""Time and waiting as the rest of this package sees them, so that tests own both.

Intervals are measured on the monotonic clock only: a node whose date is set must neither lose nor keep a lease for it.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What may be asked of time."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never runs backwards."""

    def now(self) -> datetime:
        """The date, in UTC: for what people read, never for measuring."""

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        """Wait until the event is set, at most so long; whether it is set."""


class SystemClock:
    """The machine's own."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        return event.wait(max(seconds, 0.0))


def micro_time(moment: datetime) -> str:
    """metav1.MicroTime: RFC 3339 in UTC with six digits of fraction, as leases and events want it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_time(moment: datetime) -> str:
    """metav1.Time: RFC 3339 in UTC with whole seconds, as conditions want it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
