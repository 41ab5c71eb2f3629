"""Counts."""

from __future__ import annotations

from virtfn.kube.meter import NoMeter, Tally


def test_a_tally_adds_up() -> None:
    tally = Tally()
    tally.count("lists", of="a")
    tally.count("lists", of="b", amount=3)
    tally.seconds("turns", 1.5)
    tally.seconds("turns", 2.0)
    tally.level("objects", 7)
    tally.level("objects", 5)
    assert (tally.counted("lists"), tally.counted("lists", of="b"), tally.counted("none")) == (4, 3, 0)
    assert (tally.timed("turns"), tally.timed("none")) == ((2, 3.5), (0, 0.0))
    assert (tally.last_level("objects"), tally.last_level("none")) == (5, None)


def test_those_who_do_not_count() -> None:
    meter = NoMeter()
    meter.count("a")
    meter.seconds("a", 1.0)
    meter.level("a", 1.0)
