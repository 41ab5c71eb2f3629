"""One change for many objects: in parallel, bounded, and each on its own.

The bound is that of the connection pool. One object that fails does not hold up the others, and its error is kept under
its key; the order in which they are done means nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from virtfn.errors import VirtfnError

K = TypeVar("K")

CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Results(Generic[K]):
    """How it went. `skipped` were not begun, because it was stopped."""

    done: int
    errors: Mapping[K, VirtfnError]
    skipped: int = 0


@dataclass(slots=True)
class _Run(Generic[K]):
    keys: Iterator[K]
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: int = 0
    errors: dict[K, VirtfnError] = field(default_factory=dict)
    fault: BaseException | None = None


class FanOut:
    """Does the same for many keys, on a bounded number of threads that end with each run."""

    def __init__(self, *, size: int = CONNECTIONS) -> None:
        if size < 1:
            raise ValueError(f"at least one thread is needed, not {size}")
        self._size = size

    def run(self, keys: Iterable[K], *, do: Callable[[K], object], stop: threading.Event | None = None) -> Results[K]:
        """Call `do` for every key, and wait for all.

        :param stop: when it is set, what has not begun is skipped.
        :raises BaseException: what `do` raises and is no `VirtfnError`, when all threads have ended: that is a mistake
            in the program, and no more keys are begun after it.
        """
        wanted = list(keys)
        run = _Run(iter(wanted))
        threads = [
            threading.Thread(target=self._work, args=(run, do, stop), name=f"fan-out {number}", daemon=True)
            for number in range(min(self._size, len(wanted)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if run.fault is not None:
            raise run.fault
        return Results(run.done, run.errors, len(wanted) - run.done - len(run.errors))

    def _work(self, run: _Run[K], do: Callable[[K], object], stop: threading.Event | None) -> None:
        nothing = object()
        while True:
            with run.lock:
                stopped = run.fault is not None or (stop is not None and stop.is_set())
                key = nothing if stopped else next(run.keys, nothing)
            if key is nothing:
                return
            try:
                do(key)  # type: ignore[arg-type]
            except VirtfnError as error:
                with run.lock:
                    run.errors[key] = error  # type: ignore[index]
            except BaseException as error:
                with run.lock:
                    run.fault = run.fault or error
            else:
                with run.lock:
                    run.done += 1
