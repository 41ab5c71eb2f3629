"""What became of the laws, as plain values: one result for each law and each ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What became of one law on one ground."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TRIED = "not-tried"
    """The ground, or the plugin, has not what the law is about."""


@dataclass(frozen=True, slots=True)
class LawResult:
    """One law on one ground."""

    law: str
    ground: str
    """Name of the profile, or of the machine."""
    verdict: Verdict
    detail: str = ""
    """The first counterexample, or why it was not tried."""
    seconds: float = 0.0


OnResult = Callable[[LawResult], None]


@dataclass(frozen=True, slots=True)
class Report:
    """All laws on all grounds."""

    plugin: str
    keys: tuple[str, ...]
    distribution: str
    results: tuple[LawResult, ...]

    @property
    def grounds(self) -> tuple[str, ...]:
        """What the laws were tried on, in order."""
        return tuple(dict.fromkeys(result.ground for result in self.results))

    @property
    def broken(self) -> tuple[LawResult, ...]:
        """The laws that the plugin does not keep."""
        return tuple(result for result in self.results if result.verdict is Verdict.BROKEN)

    @property
    def conforms(self) -> bool:
        """Whether no law is broken and at least one was tried."""
        return not self.broken and any(result.verdict is Verdict.KEPT for result in self.results)
