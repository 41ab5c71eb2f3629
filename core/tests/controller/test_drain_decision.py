"""What is to be done about a drain, for every state of the handshake."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.controller.drain_decision import (
    Cordon,
    DrainRecord,
    Move,
    Situation,
    Terms,
    decide,
    needed_of,
    pause_after,
    seconds_left,
    still_rests,
)
from virtfn.model.handshake import DrainState

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
TERMS = Terms(now=NOW, deadline=600)
IDLE, DRAIN, REBOOT = DrainState.IDLE, DrainState.DRAIN_REQUIRED, DrainState.REBOOT_REQUIRED
DRAINING, COMPLETE = DrainState.DRAINING, DrainState.DRAIN_COMPLETE
WANTED = Situation(needed=DRAIN, digest="d")
BEGUN = replace(WANTED, current=DRAINING, cordon=Cordon.OURS, record=DrainRecord("d/", started=NOW))
DONE = replace(BEGUN, current=COMPLETE, drained_for="d", record=DrainRecord("d/", kind="Drain_Required"))


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


CASES: list[tuple[str, Situation, Terms, Move]] = [
    ("a node at rest", Situation(), TERMS, Move.REST),
    ("a cordon that is not ours", Situation(cordon=Cordon.FOREIGN), TERMS, Move.REST),
    ("a cordon of ours that was left over", Situation(cordon=Cordon.OURS), TERMS, Move.RELEASE),
    ("our mark on a node that is not cordoned", Situation(cordon=Cordon.LIFTED), TERMS, Move.RELEASE),
    ("not needed any more, while it goes on", replace(BEGUN, needed=IDLE), TERMS, Move.RELEASE),
    ("done, and the daemon is satisfied", replace(DONE, needed=IDLE), TERMS, Move.RELEASE),
    ("a record that was left over", Situation(record=DrainRecord("d/", queued=NOW)), TERMS, Move.RELEASE),
    ("no slot", WANTED, TERMS, Move.QUEUE),
    ("a slot", WANTED, replace(TERMS, granted=True), Move.BEGIN),
    ("begun", BEGUN, TERMS, Move.DRAIN),
    ("begun, the cordon not there yet", replace(BEGUN, cordon=Cordon.NONE), TERMS, Move.DRAIN),
    ("begun under somebody else's cordon", replace(BEGUN, cordon=Cordon.FOREIGN), TERMS, Move.DRAIN),
    ("begun, and uncordoned by somebody", replace(BEGUN, cordon=Cordon.LIFTED), TERMS, Move.UNCORDONED),
    ("the last second", BEGUN, replace(TERMS, now=NOW + seconds(599)), Move.DRAIN),
    ("the deadline", BEGUN, replace(TERMS, now=NOW + seconds(600)), Move.DEADLINE),
    ("begun, nobody knows when", replace(BEGUN, record=DrainRecord("d/")), TERMS, Move.DRAIN),
    ("begun, another plan now", replace(BEGUN, digest="e"), TERMS, Move.DRAIN),
    ("done", DONE, TERMS, Move.STAND),
    ("done long ago", DONE, replace(TERMS, now=NOW + timedelta(days=3)), Move.STAND),
    ("done, and uncordoned by somebody", replace(DONE, cordon=Cordon.LIFTED), TERMS, Move.UNMARK),
    ("done, and cordoned by somebody else", replace(DONE, cordon=Cordon.REPLACED), TERMS, Move.UNMARK),
    ("begun, and cordoned by somebody else", replace(BEGUN, cordon=Cordon.REPLACED), TERMS, Move.DRAIN),
    ("our mark on somebody else's cordon", Situation(cordon=Cordon.REPLACED), TERMS, Move.RELEASE),
    ("done, another plan now", replace(DONE, digest="e"), TERMS, Move.AGAIN),
    ("done for VFs, a reboot now", replace(DONE, needed=REBOOT), TERMS, Move.AGAIN),
    ("done for a reboot that has become a drain", replace(DONE, digest="e", needed=DRAIN), TERMS, Move.AGAIN),
    ("done for a daemon without plans", replace(DONE, digest="", drained_for=""), TERMS, Move.STAND),
    ("done, the record lost", replace(DONE, record=DrainRecord()), TERMS, Move.STAND),
    ("drains are disabled", WANTED, replace(TERMS, is_disabled=True), Move.PASS),
    ("disabled while it goes on", BEGUN, replace(TERMS, is_disabled=True), Move.PASS),
    ("disabled, another plan", replace(DONE, digest="e"), replace(TERMS, is_disabled=True), Move.PASS),
    ("a reboot takes a slot in any case", replace(WANTED, needed=REBOOT), replace(TERMS, is_disabled=True), Move.QUEUE),
    ("a reboot of the only node", replace(WANTED, needed=REBOOT), replace(TERMS, is_alone=True), Move.PASS),
    ("a drain of the only node", WANTED, replace(TERMS, is_alone=True), Move.QUEUE),
    ("somebody else drains", replace(WANTED, is_external=True), replace(TERMS, granted=True), Move.LEAVE),
    ("somebody else has drained", replace(DONE, is_external=True, needed=IDLE), TERMS, Move.LEAVE),
]


@pytest.mark.parametrize(("at", "terms", "move"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_situation(at: Situation, terms: Terms, move: Move) -> None:
    assert decide(at, terms) is move


def put_off(**changes: Any) -> Situation:
    record = DrainRecord("d/", queued=NOW, attempts=2, not_before=NOW + seconds(60))
    return replace(WANTED, record=record, **changes)


def test_a_drain_that_was_given_up_is_left_alone_for_a_while() -> None:
    granted = replace(TERMS, granted=True)
    assert decide(put_off(), granted) is Move.HOLD
    assert decide(put_off(), replace(granted, now=NOW + seconds(60))) is Move.BEGIN


def test_another_plan_or_a_new_retry_begins_anew() -> None:
    assert decide(put_off(digest="e"), TERMS) is Move.QUEUE
    assert decide(put_off(retry="1"), TERMS) is Move.QUEUE
    assert put_off(digest="e").memory == DrainRecord("e/", queued=NOW), "it keeps its place in the line"
    assert put_off().memory.attempts == 2


def test_the_deadline_counts_from_the_beginning_and_not_from_a_date_to_come() -> None:
    assert seconds_left(BEGUN, replace(TERMS, now=NOW + seconds(100))) == 500
    late = replace(BEGUN, record=DrainRecord(started=NOW + timedelta(days=300)))
    assert seconds_left(late, TERMS) == 600


@given(st.integers(1, 10_000), st.integers())
def test_pauses_grow_and_are_bounded(attempts: int, seed: int) -> None:
    pause = pause_after(attempts, least=60, most=3600, random=Random(seed)).total_seconds()
    assert min(60 * 2.0 ** min(attempts - 1, 10), 3600) <= pause <= 3960


DATES = st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC))
MOMENTS = st.none() | DATES.map(lambda moment: moment.replace(microsecond=0))


@given(
    st.builds(
        DrainRecord, st.text(), MOMENTS, st.sampled_from(["", "Drain_Required"]), MOMENTS, st.integers(0, 99), MOMENTS
    )
)
def test_a_record_is_read_as_it_was_written(record: DrainRecord) -> None:
    assert DrainRecord.parse(str(record)) == record


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '{"queued": "x"}', '{"started": {}, "attempts": "3"}', '{"attempts": -1}']
)
def test_a_record_that_somebody_edited_says_nothing(text: str) -> None:
    assert DrainRecord.parse(text) == DrainRecord()


# --- reading the objects ----------------------------------------------------------------------------------------------


def objects(
    annotations: dict[str, str] | None = None,
    *,
    status: dict[str, Any] | None = None,
    node: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    state = {"metadata": {"name": "n", "annotations": annotations or {}}}
    return (state if status is None else state | {"status": status}), node or {"metadata": {"name": "n"}}


def test_bare_objects_are_at_rest() -> None:
    assert Situation.of(*objects()) == Situation()


def test_all_words() -> None:
    record = DrainRecord("d/1", queued=NOW, attempts=1)
    annotations = {
        "sriovnetwork.openshift.io/current-state": "DrainComplete",
        "virtfn.io/drained-for": "d",
        "virtfn.io/retry": "1",
        "virtfn.io/drain": str(record),
    }
    status = {"neededState": "Reboot_Required", "plan": {"digest": "e"}}
    node = {"metadata": {"annotations": {"virtfn.io/cordoned": "x"}}, "spec": {"unschedulable": True}}
    found = Situation.of(*objects(annotations, status=status, node=node))
    assert found == Situation(REBOOT, COMPLETE, "e", "d", "1", record, Cordon.OURS)


@pytest.mark.parametrize(
    ("marked", "unschedulable", "cordon"),
    [
        (False, False, Cordon.NONE),
        (True, True, Cordon.OURS),
        (False, True, Cordon.FOREIGN),
        (True, False, Cordon.LIFTED),
    ],
)
def test_whose_cordon(marked: bool, unschedulable: bool, cordon: Cordon) -> None:
    node: dict[str, Any] = {"metadata": {"annotations": {"virtfn.io/cordoned": "x"} if marked else {}}}
    assert Cordon.of(node | ({"spec": {"unschedulable": True}} if unschedulable else {})) is cordon


@pytest.mark.parametrize(
    ("setters", "cordon"),
    [
        ([], Cordon.OURS),
        (["virtfn-controller"], Cordon.OURS),
        (["kubectl-cordon"], Cordon.REPLACED),
        (["kubectl-cordon", "virtfn-controller"], Cordon.OURS),
    ],
)
def test_who_set_the_field_last(setters: list[str], cordon: Cordon) -> None:
    fields: list[dict[str, Any]] = [
        {"manager": who, "fieldsV1": {"f:spec": {"f:unschedulable": {}}}} for who in setters
    ]
    fields += [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}, {"manager": "old"}]
    metadata = {"annotations": {"virtfn.io/cordoned": "x"}, "managedFields": fields}
    assert Cordon.of({"metadata": metadata, "spec": {"unschedulable": True}}) is cordon


@pytest.mark.parametrize(
    ("status", "annotation", "needed"),
    [
        (None, None, IDLE),
        ("Drain_Required", "Idle", DRAIN),
        ("Idle", "Reboot_Required", IDLE),
        (None, "Reboot_Required", REBOOT),
        ("", "Drain_Required", DRAIN),
        ("Draining", None, IDLE),
        (None, "Paused", IDLE),
    ],
)
def test_what_a_daemon_needs_in_either_of_its_languages(
    status: str | None, annotation: str | None, needed: DrainState
) -> None:
    words = {} if annotation is None else {"sriovnetwork.openshift.io/desired-state": annotation}
    state, _ = objects(words, status={} if status is None else {"neededState": status})
    assert needed_of(state) is needed


def test_another_object_under_the_same_name_is_looked_at() -> None:
    state, _ = objects({}, status={"neededState": "Idle"})
    again = {**state, "metadata": {**state["metadata"], "uid": "another"}}
    assert still_rests(state, {**state, "spec": {"interfaces": []}})
    assert not still_rests(state, again)


def test_another_drainer_says_so() -> None:
    assert Situation.of(*objects({"sriovnetwork.openshift.io/use-external-drainer": "true"})).is_external
    assert not Situation.of(*objects({"sriovnetwork.openshift.io/use-external-drainer": "no"})).is_external
