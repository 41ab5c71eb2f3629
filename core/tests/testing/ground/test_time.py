"""Time and sleeping operations, by themselves."""

from __future__ import annotations

import pytest

from virtfn.testing.ground.blocking import Operations, Steps, WouldBlock
from virtfn.testing.ground.clock import VirtualClock


def test_events_happen_in_order_at_their_time() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []
    clock.after(2, lambda: seen.append(("b", clock.monotonic())))
    clock.after(1, lambda: seen.append(("a", clock.monotonic())))
    clock.after(2, lambda: seen.append(("c", clock.monotonic())))
    clock.after(0, lambda: seen.append(("now", clock.monotonic())))
    clock.sleep(1.5)
    clock.sleep(5)
    assert seen == [("now", 0.0), ("a", 1.0), ("b", 2.0), ("c", 2.0)]
    assert clock.monotonic() == 6.5


def test_an_event_that_takes_time_itself() -> None:
    clock = VirtualClock()
    clock.after(1, lambda: clock.sleep(10))
    clock.sleep(2)
    assert clock.monotonic() == 11


def test_time_never_goes_back() -> None:
    clock = VirtualClock()
    clock.sleep(3)
    clock.sleep(-1)
    assert clock.monotonic() == 3


def test_an_operation_that_does_not_sleep_gives_its_result() -> None:
    def at_once() -> Steps[int]:
        yield from ()
        return 7

    assert Operations().run(at_once()) == 7


def test_operations_wait_for_each_other() -> None:
    operations = Operations()
    open_doors: set[str] = set()
    done: list[str] = []

    def pass_door(name: str, door: str) -> Steps[None]:
        while door not in open_doors:
            yield
        done.append(name)
        open_doors.add(name)

    with pytest.raises(WouldBlock):
        operations.run(pass_door("second", "first"))
    with pytest.raises(WouldBlock):
        operations.run(pass_door("first", "street"))
    operations.wake()
    assert (done, operations.asleep) == ([], 2)
    open_doors.add("street")
    operations.wake()
    assert (done, operations.asleep) == (["first", "second"], 0)


def test_what_fails_late_is_heard_by_nobody() -> None:
    operations = Operations()
    ready: list[bool] = []

    def fail() -> Steps[None]:
        while not ready:
            yield
        raise OSError(5, "Input/output error")

    with pytest.raises(WouldBlock):
        operations.run(fail())
    ready.append(True)
    operations.wake()
    assert operations.asleep == 0


def test_forgetting_lets_go_of_locks() -> None:
    operations = Operations()
    locks: list[str] = []

    def hold() -> Steps[None]:
        locks.append("lock")
        try:
            while True:
                yield
        finally:
            locks.clear()

    with pytest.raises(WouldBlock):
        operations.run(hold())
    assert locks == ["lock"]
    operations.forget()
    assert (locks, operations.asleep) == ([], 0)
