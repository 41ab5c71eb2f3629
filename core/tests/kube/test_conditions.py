"""Condition lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from virtfn.kube.conditions import LONGEST_MESSAGE, Condition, Status, Turn, condition_of, holds, merge_conditions

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
READY = Condition("Ready", Status.TRUE, "AllGood", "fine", observed_generation=3)
ENTRY = {
    "type": "Ready",
    "status": "True",
    "reason": "AllGood",
    "message": "fine",
    "lastTransitionTime": "2030-01-01T12:00:00Z",
    "observedGeneration": 3,
}


def test_a_new_condition_is_added_with_the_time() -> None:
    merged = merge_conditions([], wanted=[READY], now=NOON)
    assert merged.conditions == (ENTRY,)
    assert merged.turns == {"Ready": Turn.ADDED}
    assert merged.changed


def test_the_same_again_is_nothing_to_write() -> None:
    merged = merge_conditions([ENTRY], wanted=[READY], now=LATER)
    assert not merged.changed
    assert merged.conditions == (ENTRY,)


@pytest.mark.parametrize(
    "other",
    [
        Condition("Ready", Status.TRUE, "Better", "fine", 3),
        Condition("Ready", Status.TRUE, "AllGood", "finer", 3),
        Condition("Ready", Status.TRUE, "AllGood", "fine", 4),
    ],
    ids=["reason", "message", "generation"],
)
def test_the_time_stays_while_the_status_stays(other: Condition) -> None:
    merged = merge_conditions([ENTRY], wanted=[other], now=LATER)
    assert merged.turns == {"Ready": Turn.CHANGED}
    assert merged.conditions[0]["lastTransitionTime"] == "2030-01-01T12:00:00Z"


@pytest.mark.parametrize("status", [Status.FALSE, Status.UNKNOWN])
def test_the_time_moves_with_the_status(status: Status) -> None:
    merged = merge_conditions([ENTRY], wanted=[Condition("Ready", status, "AllGood")], now=LATER)
    assert merged.conditions[0]["lastTransitionTime"] == "2030-01-01T13:00:00Z"
    assert "observedGeneration" not in merged.conditions[0]


def test_others_stay_where_they_are() -> None:
    foreign = {"type": "Foreign", "status": "True", "extra": 1}
    merged = merge_conditions([foreign, ENTRY], wanted=[Condition("Degraded", Status.FALSE, "No"), READY], now=LATER)
    assert [entry["type"] for entry in merged.conditions] == ["Foreign", "Ready", "Degraded"]
    assert merged.conditions[0] == foreign
    assert merged.turns == {"Degraded": Turn.ADDED}


def test_a_type_can_go() -> None:
    merged = merge_conditions([ENTRY], wanted=[], now=LATER, remove=["Ready", "NeverThere"])
    assert merged.conditions == ()
    assert merged.turns == {"Ready": Turn.REMOVED}


def test_a_missing_time_is_set() -> None:
    broken = {name: value for name, value in ENTRY.items() if name != "lastTransitionTime"}
    merged = merge_conditions([broken], wanted=[READY], now=LATER)
    assert merged.conditions[0]["lastTransitionTime"] == "2030-01-01T13:00:00Z"


def test_what_is_given_is_not_changed() -> None:
    given = [dict(ENTRY)]
    merge_conditions(given, wanted=[Condition("Ready", Status.FALSE, "No")], now=LATER)
    assert given == [ENTRY]


@pytest.mark.parametrize("reason", ["", "two words", "-x", "x-", "9x", "ü", "a" * 1025])
def test_a_reason_that_the_server_would_refuse(reason: str) -> None:
    with pytest.raises(ValueError, match="is no reason"):
        Condition("Ready", Status.TRUE, reason)


def test_a_message_is_cut_to_what_the_server_takes() -> None:
    merged = merge_conditions([], wanted=[Condition("Ready", Status.TRUE, "R", "x" * 40000)], now=NOON)
    assert len(merged.conditions[0]["message"]) == LONGEST_MESSAGE


def test_looking_one_up() -> None:
    thing = {"status": {"conditions": [ENTRY]}}
    assert condition_of(thing, name="Ready") == ENTRY
    assert condition_of(thing, name="Other") is None
    assert condition_of({"status": None}, name="Ready") is None
    assert holds(thing, name="Ready")
    assert holds(thing, name="Ready", generation=3)
    assert not holds(thing, name="Ready", generation=4)
    assert not holds({}, name="Ready")
    assert Status.of(True) is Status.TRUE
    assert Status.of(False) is Status.FALSE
