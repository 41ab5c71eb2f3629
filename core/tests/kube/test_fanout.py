"""Many objects at once, bounded, each on its own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from virtfn.errors import Conflict, Unavailable
from virtfn.kube.fanout import FanOut


def test_every_key_is_done_once() -> None:
    lock, seen = threading.Lock(), list[int]()

    def do(key: int) -> None:
        with lock:
            seen.append(key)

    results = FanOut(size=8).run(range(500), do=do)
    assert sorted(seen) == list(range(500))
    assert (results.done, dict(results.errors), results.skipped) == (500, {}, 0)


def test_errors_are_kept_by_key_and_hold_up_nobody() -> None:
    def do(key: int) -> None:
        if key % 10 == 0:
            raise Conflict(f"{key} changed")

    results = FanOut(size=4).run(range(100), do=do)
    assert results.done == 90
    assert set(results.errors) == set(range(0, 100, 10))
    assert str(results.errors[30]) == "30 changed"


def test_as_many_at_once_as_wanted_and_no_more(kit: Any) -> None:
    together = threading.Barrier(6, timeout=kit.patience)
    lock, now, most = threading.Lock(), 0, 0

    def do(key: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1

    FanOut(size=6).run(range(60), do=do)
    assert most == 6


def test_stopping_skips_what_has_not_begun() -> None:
    stop = threading.Event()

    def do(key: int) -> None:
        if key == 9:
            stop.set()

    results = FanOut(size=1).run(range(100), do=do, stop=stop)
    assert (results.done, results.skipped) == (10, 90)


def test_a_bug_is_raised_when_all_have_ended(kit: Any) -> None:
    ended = []

    def do(key: int) -> None:
        if key == 5:
            raise RuntimeError("bug")
        ended.append(key)

    with pytest.raises(RuntimeError, match="bug"):
        FanOut(size=3).run(range(1000), do=do)
    assert len(ended) < 1000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fan-out")]


def test_nothing_to_do() -> None:
    assert FanOut().run([], do=lambda key: None).done == 0
    with pytest.raises(ValueError, match="at least one"):
        FanOut(size=0)


def test_all_may_fail() -> None:
    def do(key: str) -> None:
        raise Unavailable("down")

    results = FanOut(size=32).run(["a", "b"], do=do)
    assert (results.done, set(results.errors), results.skipped) == (0, {"a", "b"}, 0)
