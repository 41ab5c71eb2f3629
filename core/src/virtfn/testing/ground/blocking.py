"""Kernel operations that can stop half-way and go on later.

An operation is a generator: each `yield` is a place where a real kernel thread would sleep, with its locks held, until
something else happens. The caller of an operation that stops gets `WouldBlock`; the operation itself stays, and goes on
when it can. That is how a write to `sriov_numvfs` hangs while somebody holds a VF open, and ends once they let go.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""An operation with a result of type T."""


class WouldBlock(Exception):
    """The operation sleeps in the kernel and goes on later."""


class Operations:
    """The kernel operations that are asleep."""

    def __init__(self) -> None:
        self._asleep: list[Steps[Any]] = []

    @property
    def asleep(self) -> int:
        """How many there are."""
        return len(self._asleep)

    def run(self, steps: Steps[T]) -> T:
        """Run to the end. Raises `WouldBlock` when it goes to sleep instead."""
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        self._asleep.append(steps)
        raise WouldBlock

    def wake(self) -> None:
        """Let every sleeping operation try again, until none gets any further. What they raise nobody hears."""
        progress = True
        while progress:
            progress = False
            for steps in list(self._asleep):
                try:
                    next(steps)
                except (StopIteration, OSError):
                    self._asleep.remove(steps)
                    progress = True

    def forget(self) -> None:
        """All of them end with the machine."""
        for steps in self._asleep:
            steps.close()
        self._asleep.clear()
