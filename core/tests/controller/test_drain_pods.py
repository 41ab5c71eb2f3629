"""The order in which pods go, and what people are told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.controller.drain_pods import Manner, Remaining, in_the_way, sort_out, what_goes
from virtfn.controller.holders import Owner, Pod

APP = Pod("apps", "app", "u1", vfs=("0000:3b:02.0",))
DAEMON = Pod("apps", "ds", "u2", Owner.DAEMON_SET, resources=("example.com/a",))
BARE = Pod("apps", "bare", "u3", Owner.NOBODY, has_local_data=True)
MIRROR = Pod("kube-system", "file", "u4", Owner.FILE)
OWN = Pod("virtfn", "controller-1", "u5")


def test_the_order() -> None:
    found = sort_out([APP, DAEMON, BARE, MIRROR, OWN], own=("virtfn", "controller-1"))
    assert found == Remaining((APP, BARE), (DAEMON, OWN), (MIRROR,))
    assert found
    assert not sort_out([])
    assert sort_out([OWN]) == Remaining((OWN,)), "whoever does not know its own pod takes it for any other"


def test_only_those_that_may_not_go() -> None:
    assert Remaining((APP, BARE), (DAEMON,), (MIRROR,)).only(("apps/bare",)) == Remaining((BARE,), (), (MIRROR,))


def test_what_is_in_the_way_is_named_with_its_reason() -> None:
    leaving = replace(BARE, leaving="2030-01-01T00:00:00Z")
    back = replace(DAEMON, stays_through_taints=True)
    text = in_the_way(Remaining((APP, leaving), (back,), (MIRROR,)), refused={"apps/app": "budget b allows none"})
    assert text.split("; ") == [
        "kube-system/file is the kubelet's own (take its file away from the node)",
        "apps/app (0000:3b:02.0): budget b allows none",
        "apps/bare was asked to go and has not ended (since 2030-01-01T00:00:00Z)",
        "apps/ds (requests example.com/a) is a DaemonSet's that tolerates every taint, so that it comes back at once",
    ]
    assert in_the_way(Remaining((APP,)), refused={}) == "apps/app (0000:3b:02.0) is about to go"
    assert in_the_way(Remaining(), refused={}) == ""


def test_many_pods_are_not_all_named() -> None:
    many = tuple(replace(APP, name=f"p{n}") for n in range(9))
    assert in_the_way(Remaining(many), refused={}).endswith("; and 4 more")
    assert what_goes(Remaining(many)).endswith(" and 4 more")


def test_what_goes_says_what_does_not_come_back() -> None:
    text = what_goes(Remaining((APP, BARE), (DAEMON,)))
    assert "apps/app (0000:3b:02.0), apps/bare, apps/ds" in text
    assert "without a controller, so that they do not come back: apps/bare" in text
    assert "emptyDir volumes, whose content is lost: apps/bare" in text
    assert what_goes(Remaining()) == "none"


@pytest.mark.parametrize(
    ("spec", "manner"),
    [
        (None, Manner()),
        ({}, Manner()),
        ({"podEvictionPolicy": "evict", "podEvictionForce": False}, Manner()),
        ({"podEvictionPolicy": "delete"}, Manner(deletes=True)),
        ({"podEvictionForce": True}, Manner(at_once=True)),
    ],
)
def test_the_manner_is_the_configurations(spec: dict[str, Any] | None, manner: Manner) -> None:
    assert Manner.of(None if spec is None else {"spec": spec}) == manner
