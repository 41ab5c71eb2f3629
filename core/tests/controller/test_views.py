"""Views: who is told, and what keeps the controller from being ready or alive."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from virtfn.cluster.kinds import POLICIES
from virtfn.controller.services import View
from virtfn.controller.small import Shared
from virtfn.controller.views import HUNG_SECONDS, Kind, Views, watched_kinds
from virtfn.errors import Forbidden, NotFound
from virtfn.kube.meter import NoMeter
from virtfn.kube.resource import NODES
from virtfn.kube.store import Change, ChangeKind, Store


class FakeReflector:
    def __init__(self) -> None:
        self.has_synced = True
        self.last_error: Exception | None = None
        self.is_alive = True
        self.last_active = 0.0


@pytest.fixture
def views(cluster: Any) -> Views:
    kinds = {"policies": Kind(POLICIES), "nodes": Kind(NODES)}
    return Views(
        cluster.services.client,
        namespace="virtfn",
        clock=cluster.clock,
        random=Random(1),
        meter=NoMeter(),
        watched=kinds,
    )


@pytest.fixture
def faked(views: Views) -> dict[str, FakeReflector]:
    made = {name: FakeReflector() for name in views}
    views._views = {name: View(Store(), each) for name, each in made.items()}  # type: ignore[arg-type]
    return made


def test_all_kinds_that_reconcilers_need_are_watched() -> None:
    assert set(watched_kinds(Shared())) == {
        "policies", "node_states", "nodes", "pools", "operator_configs", "networks", "ib_networks", "ovs_networks",
        "attachment_definitions", "namespaces", "daemon_sets",
    }  # fmt: skip


def test_a_view_that_is_not_listed_yet_is_told_with_its_reason(views: Views, faked: dict[str, FakeReflector]) -> None:
    assert views.unsynced() == ""
    faked["nodes"].has_synced = False
    assert views.unsynced() == "nodes (not listed yet)"
    faked["nodes"].last_error = Forbidden("nodes: no")
    assert views.unsynced() == "nodes (nodes: no)"
    faked["nodes"].last_error = NotFound("no such kind")
    assert views.unsynced() == ""


def test_a_watch_that_is_dead_or_hangs_is_noticed(cluster: Any, views: Views, faked: dict[str, FakeReflector]) -> None:
    for each in faked.values():
        each.last_active = cluster.clock.monotonic()
    assert views.dead() == ""
    cluster.clock.time += HUNG_SECONDS - 1
    assert views.dead() == ""
    cluster.clock.time += 2
    faked["nodes"].last_active = cluster.clock.monotonic()
    assert views.dead() == "policies: the watch hangs since 421 s"
    faked["nodes"].is_alive = False
    assert "nodes: the watch has ended" in views.dead()


def test_one_handler_that_fails_does_not_keep_it_from_the_others(views: Views, caplog: Any) -> None:
    told: list[Change] = []

    def fail(_: Change) -> None:
        raise RuntimeError("a bug")

    views.listen("nodes", handler=fail)
    views.listen("nodes", handler=told.append)
    change = Change(ChangeKind.ADDED, "n1", None, {})
    views._hubs["nodes"](change)
    assert told == [change]
    assert "a bug" in caplog.text
