"""The record of every call that reached the simulated kernel, and the faults that calls were told to have."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import RLock
from typing import Any, NamedTuple, TypeVar

from virtfn.testing.ground.blocking import WouldBlock
from virtfn.testing.ground.clock import VirtualClock

T = TypeVar("T")


class Call(NamedTuple):
    """One call: `kind` is the name of the Protocol's method (`write` for `write_slow` too)."""

    kind: str
    target: str
    """A path, a netdev's name, a devlink handle (`pci/0000:3b:00.0`), a program."""
    value: Any = None
    """What was to be written: text, a mapping, an argument vector. None for reads."""


class BlocksForever(AssertionError):
    """A call that can block without end was made in a way that would have blocked virtfn itself."""


Match = str | Callable[[Call], bool]


@dataclass(slots=True)
class Fault:
    """A fault set by `FakeHost.fail`."""

    match: Match
    error: OSError | None = None
    hang: bool = False
    answer: Any = None
    left: int | None = None
    hits: int = 0

    def concerns(self, call: Call) -> bool:
        """Whether the fault is for this call and not used up."""
        if self.left is not None and self.left <= 0:
            return False
        if callable(self.match):
            return self.match(call)
        return fnmatchcase(f"{call.kind} {call.target}", self.match) or fnmatchcase(call.target, self.match)

    def clear(self) -> None:
        """No more calls have it."""
        self.left = 0


class Calls:
    """Every call goes through `perform`: it is recorded, may meet a fault, and runs under one lock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._lock = RLock()
        self.calls: list[Call] = []
        self.writes: list[Call] = []
        self.faults: list[Fault] = []

    def perform(self, call: Call, action: Callable[[], T], *, writes: bool = False, timeout: float | None = None) -> T:
        """Run `action` as the call.

        :param timeout: the caller gives up after so many (virtual) seconds; None: it would wait for ever.
        """
        with self._lock:
            self.calls.append(call)
            if writes:
                self.writes.append(call)
            fault = next((fault for fault in self.faults if fault.concerns(call)), None)
            if fault is not None:
                fault.hits += 1
                if fault.left is not None:
                    fault.left -= 1
                if fault.error is not None:
                    raise _copy(fault.error, call)
                if fault.hang:
                    self._clock.sleep(timeout or 0.0)
                    raise TimeoutError(f"{call.kind} {call.target}: no answer")
                return fault.answer  # type: ignore[no-any-return]
            try:
                return action()
            except WouldBlock:
                if timeout is None:
                    raise BlocksForever(f"{call.kind} {call.target}: would block for ever") from None
                self._clock.sleep(timeout)
                raise TimeoutError(f"{call.kind} {call.target}: no answer after {timeout:g} s") from None


def _copy(error: OSError, call: Call) -> OSError:
    """A fresh error for each call, so that tracebacks and causes are not mixed up."""
    if error.errno is None:
        return type(error)(*error.args)
    fresh = OSError(error.errno, error.strerror or os.strerror(error.errno))
    if "/" in call.target:
        fresh.filename = call.target
    return fresh
