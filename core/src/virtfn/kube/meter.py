"""Where this package puts its numbers. What shows them (Prometheus, a log line, a test) is the caller's choice."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Protocol


class Meter(Protocol):
    """Takes counts and sizes. Called from many threads, often: it must be quick and must not raise."""

    def count(self, name: str, *, of: str = "", amount: int = 1) -> None:
        """Something happened. `name` is `<part>_<what>` (`watch_errors`), `of` names which one (a kind, a queue)."""

    def seconds(self, name: str, value: float, *, of: str = "") -> None:
        """Something took so long."""

    def level(self, name: str, value: float, *, of: str = "") -> None:
        """Something is so large now."""


class Tally:
    """A `Meter` that keeps totals in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[tuple[str, str], tuple[int, float]] = {}
        self._levels: dict[tuple[str, str], float] = {}

    def count(self, name: str, *, of: str = "", amount: int = 1) -> None:
        with self._lock:
            self._counts[name, of] += amount

    def seconds(self, name: str, value: float, *, of: str = "") -> None:
        with self._lock:
            times, total = self._seconds.get((name, of), (0, 0.0))
            self._seconds[name, of] = (times + 1, total + value)

    def level(self, name: str, value: float, *, of: str = "") -> None:
        with self._lock:
            self._levels[name, of] = value

    def counted(self, name: str, *, of: str | None = None) -> int:
        """How often; of all of that name where `of` is None."""
        with self._lock:
            return sum(n for (which, whose), n in self._counts.items() if which == name and of in (None, whose))

    def timed(self, name: str, *, of: str = "") -> tuple[int, float]:
        """(how many, seconds in all)."""
        with self._lock:
            return self._seconds.get((name, of), (0, 0.0))

    def last_level(self, name: str, *, of: str = "") -> float | None:
        """The last size that was told, None before the first."""
        with self._lock:
            return self._levels.get((name, of))


class NoMeter:
    """A `Meter` for those who do not count."""

    def count(self, name: str, *, of: str = "", amount: int = 1) -> None:
        """Forget it."""

    def seconds(self, name: str, value: float, *, of: str = "") -> None:
        """Forget it."""

    def level(self, name: str, value: float, *, of: str = "") -> None:
        """Forget it."""
