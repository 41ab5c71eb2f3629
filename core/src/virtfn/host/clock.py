"""Real time. The simulated ground has its own, so that nothing above the seam ever calls `time` itself."""

from __future__ import annotations

import time


class SystemClock:
    """`Clock` on the system's monotonic clock, which does not run backwards when the date is set."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
