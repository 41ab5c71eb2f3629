"""Slots: how many nodes of a pool at once, and who is first."""

from __future__ import annotations

import random as randoms
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.controller.membership import Pools
from virtfn.controller.slots import Absence, Member, Ruling, Table, judge, limit_of


def pool(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


def pools(**specs: dict[str, Any]) -> Pools:
    return Pools.of(pool(name, spec) for name, spec in specs.items())


def of(name: str, limit: int | str | None) -> dict[str, Any]:
    """A pool of the nodes that are labelled with its name."""
    spec: dict[str, Any] = {"nodeSelector": {"matchLabels": {"pool": name}}}
    return spec if limit is None else spec | {"maxUnavailable": limit}


def node(name: str, pool: str = "", **more: Any) -> Member:
    return Member(name, {"pool": pool} if pool else {}, **more)


@pytest.mark.parametrize(
    ("wanted", "size", "limit"),
    [
        (None, 10, None),
        (0, 10, 0),
        (3, 10, 3),
        ("30%", 10, 3),
        ("39%", 10, 3),
        ("100%", 7, 7),
        ("1%", 10, 1),
        ("10%", 5, 1),
        ("50%", 0, 1),
    ],
)
def test_limits(wanted: int | str | None, size: int, limit: int | None) -> None:
    assert limit_of(wanted, size=size) == limit


def test_nobody_waits() -> None:
    assert judge([node("a"), node("b", absence=Absence.DRAINED)], Pools()) == Table()


def test_one_at_a_time_without_pools() -> None:
    table = judge([node("b", waits=True), node("a", waits=True)], Pools())
    assert table.chosen == ("a",)
    assert table.verdicts["a"].ruling is Ruling.GRANTED
    assert table.verdicts["b"].ruling is Ruling.WAITS
    assert "one at a time" in table.verdicts["b"].message


def test_who_has_waited_longest_is_first() -> None:
    early, late = "2030-01-01T00:00:00Z", "2030-01-01T00:00:01Z"
    members = [node("a", waits=True), node("b", waits=True, since=late), node("c", waits=True, since=early)]
    assert judge(members, Pools()).chosen == ("c",)
    assert judge(members[:2], Pools()).chosen == ("b",), "a node without a time is last"


@pytest.mark.parametrize("absence", list(Absence))
def test_whoever_is_away_takes_a_place(absence: Absence) -> None:
    table = judge([node("gone", absence=absence), node("w", waits=True)], Pools())
    assert table.chosen == ()
    assert f"{absence.value}: gone" in table.verdicts["w"].message


def test_nodes_that_nobody_looks_after_take_no_place_but_are_part_of_a_share() -> None:
    members = [node(f"plain{n}", "p", counts=False, absence=Absence.NOT_READY) for n in range(8)]
    members += [node(f"w{n}", "p", waits=True) for n in range(5)]
    assert len(judge(members, pools(p=of("p", "20%"))).chosen) == 2  # of 13


def test_a_node_that_is_away_anyway_costs_no_place() -> None:
    members = [node("a", absence=Absence.CORDONED, waits=True), node("b", absence=Absence.NOT_READY, waits=True)]
    assert judge(members, Pools()).chosen == ("a",)
    assert judge([*members, node("c", waits=True, since="1")], Pools()).chosen == ("a",), "c would be a third one"


def test_two_pools_do_not_disturb_each_other() -> None:
    members = [node(f"p{n}", "p", waits=True) for n in range(5)] + [node(f"q{n}", "q", waits=True) for n in range(5)]
    members += [node("p-away", "p", absence=Absence.NOT_READY)]
    table = judge(members, pools(p=of("p", 2), q=of("q", 3)))
    assert table.chosen == ("p0", "q0", "q1", "q2")
    assert "pool p lets 2 of its 6 nodes" in table.verdicts["p1"].message


def test_no_limit() -> None:
    assert len(judge([node(f"n{n}", "p", waits=True) for n in range(20)], pools(p=of("p", None))).chosen) == 20


def test_none_allowed() -> None:
    table = judge([node("n", "p", waits=True, absence=Absence.CORDONED)], pools(p=of("p", 0)))
    assert table.chosen == ()
    assert table.verdicts["n"].ruling is Ruling.NONE_ALLOWED


def test_a_node_in_two_pools_is_refused_and_both_are_named() -> None:
    table = judge([node("n", "p", waits=True), node("m", waits=True)], pools(p=of("p", 1), all={"maxUnavailable": 5}))
    assert table.verdicts["n"].ruling is Ruling.POOL_CONFLICT
    assert "all, p" in table.verdicts["n"].message
    assert table.chosen == ("m",)


def test_a_node_in_two_pools_that_is_away_counts_in_both() -> None:
    members = [Member("x", {"a": "1", "b": "1"}, absence=Absence.DRAINED)]
    members += [Member("a", {"a": "1"}, waits=True), Member("b", {"b": "1"}, waits=True)]
    found = pools(
        p={"nodeSelector": {"matchLabels": {"a": "1"}}, "maxUnavailable": 1},
        q={"nodeSelector": {"matchLabels": {"b": "1"}}, "maxUnavailable": 1},
    )
    assert judge(members, found).chosen == ()


def test_a_pool_that_cannot_be_read_leaves_its_nodes_to_the_default() -> None:
    table = judge([node("a", "p", waits=True), node("b", "p", waits=True)], pools(p=of("p", "many")))
    assert table.chosen == ("a",)


def test_offload_pools_are_no_pools() -> None:
    table = judge([node("a", waits=True)], pools(p={"ovsHardwareOffloadConfig": {"name": "workers"}}))
    assert table.chosen == ("a",)


def test_a_silent_node_is_not_drained_and_holds_up_nobody_else() -> None:
    members = [node("a", "p", absence=Absence.NOT_READY, is_silent=True, waits=True), node("b", "p", waits=True)]
    table = judge(members, pools(p=of("p", 2)))
    assert table.chosen == ("b",)
    assert table.verdicts["a"].ruling is Ruling.NODE_SILENT


LIMITS = st.one_of(st.none(), st.integers(0, 5), st.integers(1, 100).map(lambda share: f"{share}%"))
MEMBERS = st.lists(
    st.builds(
        Member,
        st.integers(0, 40).map(lambda number: f"n{number}"),
        st.sampled_from([{}, {"pool": "p"}, {"pool": "q"}]),
        st.booleans(),
        st.one_of(st.none(), st.sampled_from(Absence)),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["", "1", "2", "3"]),
    ),
    unique_by=lambda member: member.name,
    max_size=30,
)


def tally(members: list[Member], label: str) -> tuple[int, int, int]:
    """(size, drained, unavailable) of a pool."""
    own = [member for member in members if member.labels.get("pool", "") == label]
    away = [member for member in own if member.counts and member.absence]
    return len(own), sum(member.absence is Absence.DRAINED for member in away), len(away)


@given(MEMBERS, LIMITS, LIMITS, st.integers())
def test_never_more_than_allowed(members: list[Member], p: Any, q: Any, seed: int) -> None:
    # A node that waits is looked after, and not being drained.
    members = [
        replace(member, counts=True, absence=None if member.absence is Absence.DRAINED else member.absence)
        if member.waits
        else member
        for member in members
    ]
    found = pools(p=of("p", p), q=of("q", q))
    table = judge(members, found)
    assert set(table.verdicts) == {member.name for member in members if member.waits}
    shuffled = list(members)
    randoms.Random(seed).shuffle(shuffled)
    assert judge(shuffled, found) == table
    after = [
        replace(member, absence=Absence.DRAINED, waits=False) if member.name in table.chosen else member
        for member in members
    ]
    for label, wanted in (("p", p), ("q", q), ("", 1)):
        size, drained_before, away_before = tally(members, label)
        _, drained, away = tally(after, label)
        limit = limit_of(wanted, size=size)
        if limit is not None:
            assert drained <= max(limit, drained_before)
            assert away <= max(limit, away_before)
    assert judge(after, found).chosen == (), "all that may go were told at once"


@given(MEMBERS, st.integers(1, 4))
def test_everybody_has_a_turn(members: list[Member], limit: int) -> None:
    members = [replace(member, absence=None, is_silent=False) for member in members]
    found = pools(p=of("p", limit), q=of("q", "10%"))
    served: set[str] = set()
    for _ in members:
        chosen = judge(members, found).chosen
        served |= set(chosen)
        members = [replace(each, waits=each.waits and each.name not in chosen) for each in members]
    assert not any(member.waits for member in members)
