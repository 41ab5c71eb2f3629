"""What programs said, kept for as long as it cannot have changed: reading a card's firmware takes it seconds.

A node is looked at every half minute, and each look asks every plugin anew. So that plugins need no memory of their
own, the machine remembers for them: a program is run again when what its answer depends on has changed, when the answer
has grown old, and after a step ran a program for the same card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virtfn.errors import CommandFailed
from virtfn.host.api import CommandResult

KEEP = 3600.0
"""Seconds for which an answer is good, should nothing that is known of have changed it."""
KEEP_FAILURE = 300.0
"""Seconds until a program that failed is tried again: it may take half a minute to fail."""


@dataclass(frozen=True, slots=True)
class _Answer:
    per: str
    device: str
    at: float
    result: CommandResult | CommandFailed


class Answers:
    """The answers so far, by argument vector."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], _Answer] = {}

    def ask(
        self,
        argv: Sequence[str],
        *,
        per: str,
        device: str,
        now: Callable[[], float],
        run: Callable[[], CommandResult],
    ) -> CommandResult:
        """The answer of before, or that of a run now.

        :param per: what the answer depends on.
        :param device: whose step makes it forgotten.
        :param now: monotonic seconds.
        :raises CommandFailed: as `run` does, or did.
        """
        words = tuple(argv)
        known = self._known.get(words)
        if known is None or known.per != per or now() - known.at >= _lasts(known.result):
            result: CommandResult | CommandFailed
            try:
                result = run()
            except CommandFailed as error:
                result = error
            known = self._known[words] = _Answer(per, device, now(), result)
        if isinstance(known.result, CommandFailed):
            old = known.result
            raise CommandFailed(str(old), device=old.device, argv=old.argv, code=old.code, output=old.output)
        return known.result

    def forget(self, device: str) -> None:
        """What was asked about the card that the function is on is asked again."""
        card = device.rpartition(".")[0] or device
        for words in [words for words, known in self._known.items() if known.device.startswith(card)]:
            del self._known[words]


def _lasts(result: CommandResult | CommandFailed) -> float:
    return KEEP if isinstance(result, CommandResult) and result.code == 0 else KEEP_FAILURE
