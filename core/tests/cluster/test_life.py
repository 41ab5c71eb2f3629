from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from random import Random

import pytest

from virtfn.cluster.life import identity, set_log_level, stop_on_signals


def test_two_processes_of_one_pod_are_told_apart() -> None:
    random = Random(1)
    one, other = (identity({"POD_NAME": "virtfn-controller-0"}, random=random) for _ in range(2))
    assert one.startswith("virtfn-controller-0_")
    assert one != other


def test_without_a_pod_the_host_names_it() -> None:
    assert len(identity({}, random=Random(1)).partition("_")[2]) == 8


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(number: signal.Signals, handlers: None) -> None:
    stop = threading.Event()
    stop_on_signals(stop)
    os.kill(os.getpid(), number)
    assert stop.wait(10)


def test_log_levels_are_those_of_the_operator_config() -> None:
    logger = logging.getLogger("virtfn")
    before = logger.level
    try:
        found = []
        for level in (-1, 0, 1, 2, 9):
            set_log_level(level)
            found.append(logger.level)
        assert found == [logging.WARNING, logging.WARNING, logging.INFO, logging.DEBUG, logging.DEBUG]
    finally:
        logger.setLevel(before)
