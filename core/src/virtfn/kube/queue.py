"""Keys of what is to be looked at, each once at a time, and the threads that look.

A key says only that something may be wrong, never what: a thousand events about one object are one turn. The rules are
client-go's: a key that is added while it is worked on comes once more after that; one that failed comes again later
and later; and keys come in the order in which they were added, so that none starves.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from virtfn.errors import VirtfnError
from virtfn.kube.clock import Clock
from virtfn.kube.meter import Meter, NoMeter

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Times in seconds."""

    retry_least: float = 0.1
    retry_most: float = 300.0
    """A key that failed waits between these: doubled with each failure, with up to a tenth added at random."""

    retries_a_second: float = 10.0
    retry_burst: int = 100
    """All failed keys together: when everything fails, the server is not asked more often than this."""


class WorkQueue(Generic[K]):
    """Thread-safe. `get` and `done` come in pairs.

    :param name: for the meter.
    """

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        random: Random,
        meter: Meter | None = None,
        settings: QueueSettings | None = None,
    ) -> None:
        self._name = name
        self._clock = clock
        self._random = random
        self._meter = meter or NoMeter()
        self._settings = settings or QueueSettings()
        self._changed = threading.Condition()
        self._ready: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # wanted and not begun, with the time since when
        self._processing: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._tokens = float(self._settings.retry_burst)
        self._tokens_at = clock.monotonic()
        self._closed = False

    def add(self, key: K) -> None:
        """Want a turn for the key as soon as possible."""
        with self._changed:
            if self._closed:
                return
            self._add(key)

    def add_after(self, key: K, *, seconds: float) -> None:
        """Want a turn after that time. Of several such wishes for one key the earliest counts."""
        with self._changed:
            if self._closed:
                return
            if seconds <= 0:
                self._add(key)
                return
            when = self._clock.monotonic() + seconds
            if when < self._due.get(key, float("inf")):
                self._due[key] = when
                heapq.heappush(self._heap, (when, next(self._order), key))
                self._changed.notify()

    def add_failed(self, key: K, *, at_least: float = 0.0) -> float:
        """Want another turn for a key that failed; in how many seconds.

        :param at_least: what the server asked to wait.
        """
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            own = min(self._settings.retry_least * 2.0 ** min(failures, 60), self._settings.retry_most)
            own *= 1.0 + self._random.random() / 10
            delay = max(own, self._token_wait(), at_least)
        self._meter.count("queue_retries", of=self._name)
        self.add_after(key, seconds=delay)
        return delay

    def forget(self, key: K) -> None:
        """The key is well: its next failure is its first."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often the key failed since it was last well."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self, *, seconds: float | None = None) -> K | None:
        """The next key, which is then this caller's until `done`; None if there is none in that time, or no more.

        :param seconds: None to wait for as long as it takes.
        """
        with self._changed:
            end = None if seconds is None else self._clock.monotonic() + seconds
            while True:
                now = self._clock.monotonic()
                self._promote(now)
                if self._ready:
                    key = self._ready.popleft()
                    self._processing.add(key)
                    self._meter.seconds("queue_waits", now - self._dirty.pop(key), of=self._name)
                    self._meter.level("queue_length", len(self._ready), of=self._name)
                    return key
                if self._closed or (end is not None and now >= end):
                    return None
                moments = [moment for moment in (end, self._heap[0][0] if self._heap else None) if moment is not None]
                self._changed.wait(max(min(moments) - now, 0.0) if moments else None)

    def done(self, key: K) -> None:
        """The turn is over. If the key was added meanwhile, it is in line again."""
        with self._changed:
            self._processing.discard(key)
            if key in self._dirty:
                self._ready.append(key)
                self._changed.notify()

    def shut_down(self, *, drain: bool) -> None:
        """Take no more keys. With `drain`, those in line still get their turn; those that wait for a time do not."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._due.clear()
            if not drain:
                self._ready.clear()
                self._dirty.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        """Keys in line now."""
        with self._changed:
            self._promote(self._clock.monotonic())
            return len(self._ready)

    def _add(self, key: K) -> None:
        if key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        self._meter.count("queue_adds", of=self._name)
        if key not in self._processing:
            self._ready.append(key)
            self._changed.notify()

    def _promote(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == when:  # otherwise an earlier wish has replaced it
                del self._due[key]
                self._add(key)

    def _token_wait(self) -> float:
        now = self._clock.monotonic()
        filled = self._tokens + (now - self._tokens_at) * self._settings.retries_a_second
        self._tokens = min(filled, float(self._settings.retry_burst)) - 1.0
        self._tokens_at = now
        return max(-self._tokens / self._settings.retries_a_second, 0.0)


class Workers(Generic[K]):
    """Threads that take keys and handle them.

    :param handle: looks at one key; returns the seconds after which it wants to look again unasked, or None. What it
        raises makes the key come again, by the queue's rules.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        *,
        handle: Callable[[K], float | None],
        count: int,
        name: str,
        clock: Clock,
        meter: Meter | None = None,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._name = name
        self._clock = clock
        self._meter = meter or NoMeter()
        self._threads = [
            threading.Thread(target=self.work, name=f"{name} {number}", daemon=True) for number in range(count)
        ]

    @property
    def is_alive(self) -> bool:
        """Whether all its threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, seconds: float, drain: bool = True) -> bool:
        """Shut the queue down and wait for the turns that go on; whether all have ended in that time."""
        self._queue.shut_down(drain=drain)
        end = self._clock.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - self._clock.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def work(self) -> None:
        """What each thread does: turns, until the queue is shut down."""
        while (key := self._queue.get()) is not None:
            try:
                self._turn(key)
            finally:
                self._queue.done(key)

    def _turn(self, key: K) -> None:
        begun = self._clock.monotonic()
        try:
            again = self._handle(key)
        except VirtfnError as error:
            self._meter.count("turn_errors", of=self._name)
            delay = self._queue.add_failed(key, at_least=float(getattr(error, "retry_after", None) or 0.0))
            logger.warning("%s: %s: %s; again in %.1f s", self._name, key, error, delay)
        except Exception:  # the top of a thread: one key's bug must not take the worker from all others
            self._meter.count("turn_errors", of=self._name)
            delay = self._queue.add_failed(key)
            logger.exception("%s: %s failed; again in %.1f s", self._name, key, delay)
        else:
            self._queue.forget(key)
            if again is not None:
                self._queue.add_after(key, seconds=again)
        finally:
            self._meter.seconds("turns", self._clock.monotonic() - begun, of=self._name)
