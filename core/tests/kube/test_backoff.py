"""Waits after failures."""

from __future__ import annotations

from random import Random

from virtfn.kube.backoff import Backoff


def test_bounds_double_up_to_the_most_and_never_go_below_the_least() -> None:
    for seed in range(200):
        backoff = Backoff(Random(seed))
        waits = [backoff.failed() for _ in range(10)]
        assert all(1.0 <= wait <= min(30.0, 2.0 ** (n + 1)) for n, wait in enumerate(waits))


def test_no_two_wait_the_same() -> None:
    assert len({Backoff(Random(seed)).failed() for seed in range(100)}) == 100


def test_it_forgets_after_enough_health_only() -> None:
    backoff = Backoff(Random(1))
    for _ in range(10):
        backoff.failed()
    backoff.good(now=100.0)
    backoff.good(now=159.0)
    assert backoff.failures == 10
    backoff.failed()
    backoff.good(now=160.0)
    backoff.good(now=219.0)
    assert backoff.failures == 11, "a failure in between starts the time anew"
    backoff.good(now=220.0)
    assert backoff.failures == 0


def test_many_failures_do_not_overflow() -> None:
    backoff = Backoff(Random(1))
    backoff.failures = 100_000
    assert backoff.failed() <= 30.0
