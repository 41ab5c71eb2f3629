"""The queue's rules, and its workers."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from virtfn.errors import Forbidden, TooManyRequests
from virtfn.kube.clock import SystemClock
from virtfn.kube.meter import Tally
from virtfn.kube.queue import QueueSettings, Workers, WorkQueue


@pytest.fixture
def queue(clock: Any, random: Random, tally: Tally) -> WorkQueue[str]:
    return WorkQueue(name="q", clock=clock, random=random, meter=tally)


def turns(queue: WorkQueue[str]) -> list[str]:
    """All keys in line, each with its turn."""
    keys = []
    while (key := queue.get(seconds=0)) is not None:
        keys.append(key)
        queue.done(key)
    return keys


def test_many_wishes_are_one_turn(queue: WorkQueue[str]) -> None:
    for _ in range(1000):
        queue.add("a")
    assert turns(queue) == ["a"]


def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue[str]) -> None:
    for key in "abcab":
        queue.add(key)
    assert len(queue) == 3
    assert turns(queue) == ["a", "b", "c"]


def test_a_key_in_work_is_not_given_out_and_comes_once_more(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.get(seconds=0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.get(seconds=0) is None
    queue.done("a")
    assert queue.get(seconds=0) == "a"
    queue.done("a")
    assert queue.get(seconds=0) is None


def test_a_key_that_comes_again_and_again_starves_nobody(queue: WorkQueue[str]) -> None:
    for key in "abc":
        queue.add(key)
    seen = []
    for _ in range(6):
        key = queue.get(seconds=0)
        assert key is not None
        seen.append(key)
        queue.add(key)
        queue.done(key)
    assert seen == ["a", "b", "c", "a", "b", "c"]


def test_later_means_later(queue: WorkQueue[str], clock: Any) -> None:
    queue.add_after("b", seconds=20)
    queue.add_after("a", seconds=10)
    queue.add_after("now", seconds=0)
    assert turns(queue) == ["now"]
    clock.advance(10)
    assert turns(queue) == ["a"]
    clock.advance(10)
    assert turns(queue) == ["b"]


def test_of_several_times_the_earliest_counts_and_once(queue: WorkQueue[str], clock: Any) -> None:
    queue.add_after("a", seconds=30)
    queue.add_after("a", seconds=10)
    queue.add_after("a", seconds=20)
    clock.advance(10)
    assert turns(queue) == ["a"]
    clock.advance(100)
    assert turns(queue) == []


def test_failures_double_the_wait_up_to_a_bound(queue: WorkQueue[str], clock: Any) -> None:
    waits = [queue.add_failed("a") for _ in range(20)]
    assert 0.1 <= waits[0] <= 0.11
    assert all(1.5 < later / sooner < 2.5 for sooner, later in pairwise(waits) if later < 270)
    assert 300 <= max(waits) <= 330
    assert queue.failures("a") == 20
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.add_failed("a") <= 0.11


def test_the_server_may_ask_for_more(queue: WorkQueue[str]) -> None:
    assert queue.add_failed("a", at_least=40.0) == 40.0


def test_all_failures_together_have_a_rate(clock: Any, random: Random) -> None:
    queue: WorkQueue[int] = WorkQueue(
        name="q", clock=clock, random=random, settings=QueueSettings(retries_a_second=10, retry_burst=100)
    )
    waits = [queue.add_failed(key) for key in range(1100)]
    assert max(waits[:100]) <= 0.11
    assert 99 <= waits[-1] <= 101, "1000 beyond the burst, 10 a second"
    clock.advance(200)
    assert queue.add_failed(2000) <= 0.11


def test_shut_down_and_drain(queue: WorkQueue[str], clock: Any) -> None:
    queue.add("a")
    queue.add("b")
    queue.add_after("later", seconds=1)
    queue.shut_down(drain=True)
    queue.add("c")
    queue.add_after("d", seconds=0)
    clock.advance(10)
    assert turns(queue) == ["a", "b"]
    assert queue.get() is None


def test_shut_down_without_drain(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.shut_down(drain=False)
    assert queue.get() is None
    assert len(queue) == 0


def test_a_wish_during_the_last_turn_is_still_granted(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.get(seconds=0) == "a"
    queue.add("a")
    queue.shut_down(drain=True)
    queue.done("a")
    assert turns(queue) == ["a"]


def test_it_measures(queue: WorkQueue[str], clock: Any, tally: Tally) -> None:
    queue.add("a")
    queue.add("a")
    clock.advance(3)
    turns(queue)
    queue.add_failed("a")
    assert tally.counted("queue_adds", of="q") == 1
    assert tally.counted("queue_retries", of="q") == 1
    assert tally.timed("queue_waits", of="q") == (1, 3.0)


class QueueRules(RuleBasedStateMachine):
    """Any order of calls: no wish is lost, no key is in two hands."""

    keys = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue(name="q", clock=SystemClock(), random=Random(1))
        self.wanted: set[str] = set()
        self.held: list[str] = []

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.wanted.add(key)

    @rule()
    def get(self) -> None:
        key = self.queue.get(seconds=0)
        if key is None:
            assert self.wanted <= set(self.held)
            return
        assert key not in self.held
        assert key in self.wanted
        self.wanted.discard(key)
        self.held.append(key)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 3))
    def done(self, which: int) -> None:
        self.queue.done(self.held.pop(which % len(self.held)))

    @invariant()
    def those_in_line_are_those_wanted_and_free(self) -> None:
        assert len(self.queue) == len(self.wanted - set(self.held))


TestQueueRules = QueueRules.TestCase
TestQueueRules.settings = hypothesis_settings(max_examples=60, deadline=None)


# --- workers ----------------------------------------------------------------------------------------------------------


def test_one_key_is_never_in_two_hands(kit: Any, random: Random) -> None:
    queue: WorkQueue[int] = WorkQueue(name="q", clock=SystemClock(), random=random)
    lock, busy, twice = threading.Lock(), set[int](), list[int]()
    seen: Counter[int] = Counter()
    wanted = 0
    enough = threading.Event()

    def handle(key: int) -> None:
        with lock:
            if key in busy:
                twice.append(key)
            busy.add(key)
        with lock:
            busy.discard(key)
            seen[key] += 1
            if sum(seen.values()) > 400:
                enough.set()

    workers = Workers(queue, handle=handle, count=8, name="w", clock=SystemClock())
    workers.start()
    while not enough.is_set() and wanted < 200_000:
        queue.add(wanted % 5)
        wanted += 1
    assert workers.stop(seconds=kit.patience)
    assert twice == []
    assert set(seen) == set(range(5))


def one_turn(queue: WorkQueue[str], handle: Any, clock: Any, tally: Tally) -> None:
    """Handle what is in line now, on this thread."""
    queue.shut_down(drain=True)
    Workers(queue, handle=handle, count=0, name="w", clock=clock, meter=tally).work()


class Recording(WorkQueue[str]):
    """Tells what its workers asked for."""

    def __init__(self, *, clock: Any) -> None:
        super().__init__(name="q", clock=clock, random=Random(1))
        self.asked: list[tuple[str, str, float]] = []

    def add_after(self, key: str, *, seconds: float) -> None:
        self.asked.append(("after", key, seconds))

    def forget(self, key: str) -> None:
        self.asked.append(("forget", key, 0.0))


@pytest.mark.parametrize(
    ("outcome", "asked"),
    [
        (None, [("forget", "a", 0.0)]),
        (30.0, [("forget", "a", 0.0), ("after", "a", 30.0)]),
        (TooManyRequests("busy", retry_after=9.0), [("after", "a", 9.0)]),
    ],
    ids=["well", "again", "put off"],
)
def test_what_becomes_of_a_turn(clock: Any, tally: Tally, outcome: Any, asked: Any) -> None:
    queue = Recording(clock=clock)
    queue.add("a")

    def handle(key: str) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    one_turn(queue, handle, clock, tally)
    assert queue.asked == asked


@pytest.mark.parametrize("error", [Forbidden("no role"), RuntimeError("bug")], ids=["ours", "bug"])
def test_a_key_that_fails_holds_up_nobody(clock: Any, tally: Tally, caplog: Any, error: Exception) -> None:
    queue = Recording(clock=clock)
    for key in "abc":
        queue.add(key)
    seen = []

    def handle(key: str) -> None:
        seen.append(key)
        if key == "b":
            raise error

    with caplog.at_level(logging.WARNING):
        one_turn(queue, handle, clock, tally)
    assert seen == ["a", "b", "c"]
    assert [each for each in queue.asked if each[1] == "b"] == [("after", "b", pytest.approx(0.105, abs=0.006))]
    assert str(error) in caplog.text
    assert tally.counted("turn_errors", of="w") == 1
    assert tally.timed("turns", of="w")[0] == 3


def test_workers_wait_for_what_comes_later(kit: Any, random: Random) -> None:
    queue: WorkQueue[str] = WorkQueue(name="q", clock=SystemClock(), random=random)
    seen = threading.Event()
    workers = Workers(queue, handle=lambda key: seen.set(), count=2, name="w", clock=SystemClock())
    assert not workers.is_alive
    workers.start()
    queue.add_after("a", seconds=0.02)
    assert seen.wait(kit.patience)
    assert workers.is_alive
    assert workers.stop(seconds=kit.patience, drain=False)
    assert not workers.is_alive
