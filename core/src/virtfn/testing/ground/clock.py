"""Time that passes only when somebody waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class VirtualClock:
    """Implements `virtfn.host.kernel.Clock`; things due in the meantime happen, in order, while somebody sleeps."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        end = self._now + max(seconds, 0.0)
        while self._due and self._due[0][0] <= end:
            when, _, event = heapq.heappop(self._due)
            self._now = max(self._now, when)
            event()
        self._now = max(self._now, end)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have `event` happen in so many seconds; at once when that is 0."""
        if seconds <= 0:
            event()
            return
        self._count += 1
        heapq.heappush(self._due, (self._now + seconds, self._count, event))

    def forget(self) -> None:
        """Nothing is due any more."""
        self._due.clear()
