"""How long to wait after a failure: longer each time, and never all at the same moment.

Thousands of daemons lose an API server together; without the random part they would also come back together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(slots=True)
class Backoff:
    """Exponential back-off with full jitter between `least` and a bound that doubles up to `most`, in seconds.

    It forgets its failures after `healthy` seconds without one. One thread uses it.
    """

    random: Random
    least: float = 1.0
    most: float = 30.0
    healthy: float = 60.0
    failures: int = field(default=0, init=False)
    _good_since: float | None = field(default=None, init=False)

    def failed(self) -> float:
        """Seconds to wait now."""
        self._good_since = None
        bound = min(self.most, self.least * 2.0 ** (min(self.failures, 60) + 1))
        self.failures += 1
        return self.random.uniform(self.least, bound)

    def good(self, *, now: float) -> None:
        """Note that things go well at the moment `now` of the monotonic clock."""
        if self._good_since is None:
            self._good_since = now
        elif now - self._good_since >= self.healthy:
            self.failures = 0
