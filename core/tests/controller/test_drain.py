"""Drains over hours and many nodes, in a cluster in memory: deadlines, growing pauses, fairness, whatever happens."""

from __future__ import annotations

import random as randoms
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS
from virtfn.controller.drain import DrainReconciler
from virtfn.errors import Conflict, EvictionBlocked, NotFound, Unavailable
from virtfn.kube.conditions import condition_of
from virtfn.kube.resource import NODES

CURRENT = "sriovnetwork.openshift.io/current-state"
VF = "0000:3b:02.0"


class Answer:
    def __init__(self, body: Any) -> None:
        self._body = body

    def json(self) -> Any:
        return self._body


def setter(who: str) -> list[dict[str, Any]]:
    """Managed fields that say who has cordoned a node."""
    return [{"manager": who, "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]


def cluster_with_pods(base: Any) -> Any:
    """The cluster of `conftest.py` with pods, evictions, and daemons that tell what they need."""

    class Cluster(base):  # type: ignore[misc]
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.pods: dict[str, dict[str, Any]] = {}
            self.ends: dict[str, float] = {}
            self.lasts: dict[str, float] = {}
            """How long a pod takes to end; 0 if nothing else is said."""
            self.blocked: set[str] = set()
            self.evicted: list[str] = []
            self.graces: list[int | None] = []
            self.is_down = False

        def add(self, node: str, *, cordoned: bool = False, **labels: str) -> None:
            """A node that is at rest."""
            self.node(node, **labels)
            self.put(NODES, node, spec={"unschedulable": True} if cordoned else {})
            self.put(NODE_STATES, node, spec={"interfaces": []}, status={"neededState": "Idle"})

        def need(self, node: str, needed: str, *, digest: str = "d", affects: tuple[str, ...] = (VF,)) -> None:
            """A daemon tells what it needs."""
            old = self.get(NODE_STATES, node).get("status") or {}
            status = {"neededState": needed, "conditions": old.get("conditions", [])}
            if needed != "Idle":
                status["plan"] = {"digest": digest, "affects": list(affects)}
            self.put(NODE_STATES, node, status=status)

        def pod(
            self, name: str, node: str, *, lasts: float = 0.0, vf: str = VF, kind: str = "ReplicaSet", **spec: Any
        ) -> None:
            """A pod that holds a VF."""
            self.lasts[name] = lasts
            info = f'[{{"device-info": {{"type": "pci", "pci": {{"pci-address": "{vf}"}}}}}}]'
            owner = {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "o", "controller": True}
            metadata = {
                "name": name,
                "namespace": "apps",
                "uid": f"uid-{name}-{len(self.evicted)}",
                "annotations": {"k8s.v1.cni.cncf.io/network-status": info},
                "ownerReferences": [owner],
            }
            if kind == "Node":
                metadata["annotations"]["kubernetes.io/config.mirror"] = "x"
            whole = {"nodeName": node, "containers": [{"name": "c"}], **spec}
            self.pods[name] = {"metadata": metadata, "spec": whole, "status": {"phase": "Running"}}

        def on(self, node: str) -> set[str]:
            """Pods that are there."""
            for name, end in list(self.ends.items()):
                if end <= self.clock.time:
                    del self.pods[name], self.ends[name]
            return {name for name, pod in self.pods.items() if pod["spec"]["nodeName"] == node}

        def request(self, method: str, *, path: str, body: Any = None, query: Any = None, **more: Any) -> Any:
            if self.is_down:
                raise Unavailable("the server cannot be reached", status=0)
            if (method, path) == ("GET", "/api/v1/pods"):
                node = query["fieldSelector"].removeprefix("spec.nodeName=")
                return Answer({"items": [self.pods[name] for name in sorted(self.on(node))]})
            if (method, path) == ("GET", "/api/v1"):
                return Answer({"resources": [{"name": "pods/eviction", "version": "v1"}]})
            if method == "GET" and path.endswith("/sriovnetworknodestates"):
                return Answer({"items": [thing for key, thing in self.objects.items() if key.startswith(f"{path}/")]})
            if (
                method == "PATCH"
                and path.startswith("/api/v1/nodes/")
                and (body.get("spec") or {}).get("unschedulable")
            ):
                body = {**body, "metadata": {**body["metadata"], "managedFields": setter("virtfn-controller")}}
            if path.endswith("/eviction"):
                return Answer(self._evict(body))
            if method == "DELETE" and "/pods/" in path:
                assert body["preconditions"]["uid"] == self.pods[path.rpartition("/")[2]]["metadata"]["uid"]
                self.graces.append(body.get("gracePeriodSeconds"))
                del self.pods[path.rpartition("/")[2]]
                return Answer({})
            return super().request(method, path=path, body=body, **more)

        def _evict(self, body: Any) -> Any:
            name, options = body["metadata"]["name"], body["deleteOptions"]
            pod = self.pods.get(name)
            if pod is None:
                raise NotFound("gone", status=404)
            if options["preconditions"]["uid"] != pod["metadata"]["uid"]:
                raise Conflict("another one", status=409)
            if name in self.blocked:
                raise EvictionBlocked(f"pods apps/{name}: budget b needs it", status=429)
            if "dryRun" not in options:
                self.evicted.append(name)
                pod["metadata"]["deletionTimestamp"] = self.clock.now().isoformat()
                self.ends[name] = self.clock.time + self.lasts[name]
                self.on("")
            return {}

        def current(self, node: str) -> str:
            return str(self.get(NODE_STATES, node)["metadata"].get("annotations", {}).get(CURRENT, ""))

        def condition(self, node: str) -> tuple[str, str]:
            found = condition_of(self.get(NODE_STATES, node), name="Drained") or {}
            return str(found.get("reason", "")), str(found.get("message", ""))

        def cordoned(self, node: str) -> bool:
            return bool(self.get(NODES, node)["spec"].get("unschedulable"))

        def restart(self) -> Any:
            """Another controller takes over; the one before does nothing any more."""
            self.handlers.clear()
            return self.listen(DrainReconciler(self.services, self.views))

    return Cluster


@pytest.fixture
def cluster(kit: Any) -> Any:
    return cluster_with_pods(kit.Cluster)()


@pytest.fixture
def drains(cluster: Any) -> Any:
    return cluster.restart()


def begun(cluster: Any, nodes: list[str]) -> list[str]:
    return [node for node in nodes if cluster.current(node) in ("Draining", "DrainComplete")]


def test_there_and_back(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.pod("p", "a", lasts=20)
    cluster.pod("other", "a", vf="0000:3b:02.1")
    cluster.need("a", "Drain_Required")
    assert not cluster.run(drains, seconds=10)
    assert cluster.current("a") == "Draining"
    assert not cluster.run(drains, seconds=40)
    assert cluster.current("a") == "DrainComplete"
    assert cluster.on("a") == {"other"}
    assert cluster.condition("a")[0] == "Drained"
    cluster.need("a", "Idle")
    assert not cluster.run(drains)
    assert cluster.current("a") == "Idle"
    assert not cluster.cordoned("a")
    cluster.writes.clear()
    assert not cluster.run(drains, seconds=7200)
    assert cluster.writes == []


def test_a_node_at_rest_has_a_turn_only_for_what_is_looked_at(cluster: Any, drains: Any) -> None:
    """Policies reach all nodes of a cluster at once, and their daemons report of it: none of that is about drains."""
    cluster.add("a")
    cluster.run(drains)

    def turns() -> int:
        taken = 0
        while (key := drains.queue.get(seconds=0)) is not None:
            taken += key == "a"
            drains.handle(key)
            drains.queue.done(key)
        return taken

    turns()
    cluster.put(NODE_STATES, "a", spec={"interfaces": [{"numVfs": 4}]}, metadata={"generation": 7})
    cluster.report("a", {"numVfs": 4}, neededState="Idle", plan={"digest": "e"}, syncStatus="InProgress")
    assert turns() == 0
    annotations = cluster.get(NODE_STATES, "a")["metadata"]["annotations"]
    cluster.put(NODE_STATES, "a", metadata={"annotations": {CURRENT: "Idle"}})
    assert turns() >= 1
    assert cluster.get(NODE_STATES, "a")["metadata"]["annotations"] == annotations, "what somebody took away is back"
    waits = [{"type": "Drained", "status": "False", "reason": "WaitingForSlot"}]
    cluster.report("a", neededState="Idle", conditions=waits)
    assert turns() >= 1
    assert cluster.condition("a")[0] == "NotNeeded"
    cluster.report("a", neededState="Drain_Required")
    assert turns() >= 1
    cluster.report("a", neededState="Drain_Required", plan={"digest": "f"})
    assert turns() >= 1, "it is not at rest"


def test_waiting_costs_no_writes(cluster: Any, drains: Any) -> None:
    for node in ("a", "b", "c"):
        cluster.add(node)
        cluster.need(node, "Drain_Required")
    cluster.run(drains)
    assert len(begun(cluster, ["a", "b", "c"])) == 1
    cluster.writes.clear()
    cluster.run(drains, seconds=7200)
    assert cluster.writes == []


def test_pauses_grow_while_a_budget_forbids_it_and_nobody_is_cordoned(cluster: Any, drains: Any) -> None:
    cluster.add("a")
    cluster.add("b")
    cluster.pod("p", "a")
    cluster.blocked.add("p")
    cluster.need("a", "Drain_Required")
    tries = []
    for _ in range(40):
        cluster.run(drains, seconds=60)
        tries.append(cluster.tally.counted("drains_blocked"))
        assert not cluster.cordoned("a")
    assert cluster.condition("a") == ("EvictionBlocked", cluster.condition("a")[1])
    assert "budget b needs it" in cluster.condition("a")[1]
    assert tries[2] >= 3, "soon at first"
    assert 8 <= tries[-1] <= 16, "every five minutes in the end"
    cluster.blocked.clear()
    cluster.run(drains, seconds=400)
    assert cluster.current("a") == "DrainComplete"


def test_a_drain_that_takes_too_long_is_given_up_and_tried_later_and_later(cluster: Any, drains: Any) -> None:
    cluster.add("a")
    cluster.add("b")
    cluster.pod("p", "a", lasts=1e9)
    cluster.need("a", "Drain_Required")
    begins: list[float] = []
    was = ""
    while len(begins) < 4:
        cluster.run(drains, seconds=5)
        if (now := cluster.current("a")) != was and now == "Draining":
            begins.append(cluster.clock.time)
        assert cluster.cordoned("a") == (now == "Draining")
        was = now
    pauses = [after - before - 600 for before, after in pairwise(begins)]
    for pause, least in zip(pauses, (60, 120, 240), strict=True):
        assert least - 5 <= pause <= least * 1.1 + 15
    assert "given up after 600 s" in " ".join(
        str(write) for write in cluster.writes if "DeadlineExceeded" in str(write)
    )


def test_whoever_was_given_up_goes_to_the_end_of_the_line(cluster: Any, drains: Any) -> None:
    for node in ("a", "b", "c"):
        cluster.add(node)
        cluster.need(node, "Drain_Required")
        cluster.run(drains, seconds=2)
    cluster.pod("p", "a", lasts=1e9)
    cluster.need("a", "Drain_Required", digest="e")
    cluster.run(drains, seconds=700)
    assert cluster.condition("a")[0] == "WaitingForSlot", "its pause is over"
    assert cluster.current("b") == "DrainComplete"
    cluster.need("b", "Idle")
    cluster.run(drains)
    assert cluster.current("a") == "Idle", "a node that cannot be drained must not hold up the others again and again"
    assert cluster.current("c") == "DrainComplete"


def test_a_slot_is_not_given_twice_while_a_write_is_in_doubt(cluster: Any, drains: Any) -> None:
    """The server does what was asked, and its answer is lost: the node may be drained, so that its slot stays taken."""
    for node in ("a", "b"):
        cluster.add(node)
    cluster.run(drains)
    real = cluster.request
    lost: list[str] = []

    def lose(method: str, *, path: str, body: Any = None, **more: Any) -> Any:
        answer = real(method, path=path, body=body, **more)
        if method == "PATCH" and "Draining" in str(body) and not lost:
            lost.append(path)
            raise Unavailable("the answer was lost", status=0)
        return answer

    cluster.request = lose
    for node in ("a", "b"):
        cluster.need(node, "Drain_Required")
    errors = cluster.run(drains, seconds=120)
    assert len(errors) == 1
    assert len(lost) == 1
    assert len(begun(cluster, ["a", "b"])) == 1


def test_what_another_controller_has_begun_is_known_before_the_views_show_it(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.run(drains)
    late = {view: cluster.views[view].store.get(key) for view, key in (("node_states", "virtfn/a"), ("nodes", "a"))}
    cluster.pod("p", "a", lasts=1000)
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=5)
    assert cluster.current("a") == "Draining"
    for view, key in (("node_states", "virtfn/a"), ("nodes", "a")):
        show(cluster, view, key, late[view])
    other = cluster.restart()
    cluster.need("b", "Drain_Required")
    cluster.run(other, seconds=30)
    assert cluster.current("b") == "Idle"
    assert cluster.condition("b")[0] == "WaitingForSlot"


def show(cluster: Any, view: str, key: str, thing: Any) -> None:
    """Let a view lag: it shows an object as it was."""
    old = {**thing, "metadata": {**thing["metadata"], "resourceVersion": "late"}}
    cluster.views[view].store.put(key, thing=old)


def test_a_view_that_lags_undoes_nothing(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.pod("p", "a")
    cluster.blocked.add("p")
    cluster.run(drains)
    cluster.need("a", "Drain_Required")
    late = cluster.views["node_states"].store.get("virtfn/a")
    assert "virtfn.io/drain" not in late["metadata"]["annotations"]
    cluster.run(drains, seconds=100)
    record = cluster.get(NODE_STATES, "a")["metadata"]["annotations"]["virtfn.io/drain"]
    assert '"attempts":3' in record
    show(cluster, "node_states", "virtfn/a", late)
    drains.queue.add("a")
    cluster.run(drains, seconds=10)
    assert cluster.get(NODE_STATES, "a")["metadata"]["annotations"]["virtfn.io/drain"] == record


def test_a_daemon_that_changes_its_mind_just_before_the_drain_begins(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.run(drains)
    real, minds = cluster.request, [0]

    def change(method: str, *, path: str, body: Any = None, **more: Any) -> Any:
        if method == "PATCH" and "Draining" in str(body) and not minds[0]:
            minds[0] += 1
            cluster.need("a", "Idle")
        return real(method, path=path, body=body, **more)

    cluster.request = change
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    assert minds == [1]
    assert cluster.current("a") == "Idle"
    assert not [write for write in cluster.writes if write[0] == "PATCH" and write[1].startswith("/api/v1/nodes/a")
                and "unschedulable" in str(write[2])]  # fmt: skip
    cluster.need("b", "Drain_Required")
    cluster.run(drains)
    assert cluster.current("b") == "DrainComplete"


@pytest.mark.parametrize("is_external", [False, True])
def test_a_slot_that_is_not_needed_any_more_is_given_back(cluster: Any, drains: Any, is_external: bool) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.run(drains)
    real, looks = cluster.request, [0]

    def change(method: str, *, path: str, **more: Any) -> Any:
        if method == "GET" and path.endswith("/sriovnetworknodestates/a") and not looks[0]:
            looks[0] += 1
            if is_external:
                words = cluster.get(NODE_STATES, "a")["metadata"]["annotations"]
                word = {"sriovnetwork.openshift.io/use-external-drainer": "true"}
                cluster.put(NODE_STATES, "a", metadata={"annotations": {**words, **word}})
            else:
                cluster.need("a", "Idle")
        return real(method, path=path, **more)

    cluster.request = change
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=5)
    assert looks == [1]
    cluster.need("b", "Drain_Required")
    cluster.run(drains, seconds=120)
    assert cluster.current("b") == "DrainComplete"


def test_a_pod_that_was_on_its_way_when_the_node_was_cordoned(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.run(drains)
    real, looks = cluster.request, [0]

    def arrive(method: str, *, path: str, **more: Any) -> Any:
        answer = real(method, path=path, **more)
        looks[0] += path == "/api/v1/pods"
        if path == "/api/v1/pods" and looks[0] == 2:  # the first one is before the cordon
            assert cluster.cordoned("a")
            cluster.pod("late", "a")
        return answer

    cluster.request = arrive
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    assert cluster.current("a") == "DrainComplete"
    assert cluster.evicted == ["late"]


def test_a_node_is_not_kept_for_a_device_plugin_that_never_comes(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    assert cluster.current("a") == "DrainComplete"
    state = cluster.get(NODE_STATES, "a")
    plugin = {"revision": "2", "resources": ["fast"]}
    cluster.put(NODE_STATES, "a", status={**state["status"], "neededState": "Idle", "devicePlugin": plugin})
    cluster.run(drains, seconds=140)
    assert cluster.cordoned("a")
    cluster.run(drains, seconds=20)
    assert not cluster.cordoned("a")
    assert cluster.current("a") == "Idle"


def test_the_server_is_away_in_the_middle(cluster: Any, drains: Any) -> None:
    cluster.add("a")
    cluster.add("b")
    cluster.pod("p", "a", lasts=30)
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=3)
    cluster.is_down = True
    assert cluster.run(drains, seconds=60)
    cluster.is_down = False
    cluster.run(drains, seconds=200)
    assert cluster.current("a") == "DrainComplete"
    assert cluster.evicted == ["p"]


def test_a_single_node_is_rebooted_with_its_pods(cluster: Any, drains: Any) -> None:
    cluster.add("only")
    cluster.pod("p", "only")
    cluster.need("only", "Reboot_Required")
    cluster.run(drains)
    assert cluster.current("only") == "DrainComplete"
    assert cluster.condition("only")[0] == "OnlyNode"
    assert cluster.on("only") == {"p"}
    assert not cluster.cordoned("only")
    cluster.need("only", "Idle")
    cluster.run(drains)
    cluster.need("only", "Drain_Required")
    cluster.run(drains)
    assert cluster.on("only") == set(), "but no VF is taken from under a pod"


def test_drains_are_switched_off_while_nodes_wait(cluster: Any, drains: Any) -> None:
    nodes = [f"n{n}" for n in range(5)]
    for node in nodes:
        cluster.add(node)
        cluster.need(node, "Drain_Required")
    cluster.run(drains)
    assert len(begun(cluster, nodes)) == 1
    cluster.config(disableDrain=True)
    cluster.run(drains)
    assert len(begun(cluster, nodes)) == 5
    cluster.take(OPERATOR_CONFIGS, "default")
    for node in nodes:
        cluster.need(node, "Idle")
    cluster.run(drains)
    assert not begun(cluster, nodes)
    assert not any(map(cluster.cordoned, nodes))


def test_three_hundred_nodes_without_a_limit(cluster: Any, drains: Any) -> None:
    cluster.pool("all")
    nodes = [f"n{n}" for n in range(300)]
    for node in nodes:
        cluster.add(node)
    cluster.run(drains, seconds=1)
    cluster.writes.clear()
    for node in nodes:
        cluster.need(node, "Drain_Required")
    cluster.run(drains, seconds=30)
    assert len(begun(cluster, nodes)) == 300
    assert len(cluster.writes) <= 300 * 7


def taints(cluster: Any, node: str) -> list[str]:
    return [taint["key"] for taint in cluster.get(NODES, node)["spec"].get("taints", ())]


def test_daemon_sets_go_last_and_are_kept_away(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    others = [{"key": "other", "effect": "NoSchedule"}]
    cluster.put(NODES, "a", spec={"taints": others})
    cluster.pod("app", "a", lasts=20)
    cluster.pod("daemon", "a", kind="DaemonSet")
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=10)
    assert cluster.evicted == ["app"]
    assert taints(cluster, "a") == ["other"]
    cluster.run(drains)
    assert cluster.evicted == ["app", "daemon"]
    assert cluster.current("a") == "DrainComplete"
    assert taints(cluster, "a") == ["other", "virtfn.io/draining"]
    cluster.need("a", "Idle")
    cluster.run(drains)
    assert cluster.get(NODES, "a")["spec"] == {"taints": others}


def test_a_daemon_set_that_always_comes_back_is_named(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    every = [{"operator": "Exists"}]
    cluster.pod("daemon", "a", kind="DaemonSet", tolerations=every)
    evict = cluster._evict

    def come_back(body: Any) -> Any:
        answer = evict(body)
        if "daemon" not in cluster.pods:
            cluster.pod("daemon", "a", kind="DaemonSet", tolerations=every)
        return answer

    cluster._evict = come_back
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=590)
    assert cluster.current("a") == "Draining"
    assert 20 < len(cluster.evicted) < 100, "less and less often"
    cluster.run(drains, seconds=20)
    assert cluster.condition("a")[0] == "DeadlineExceeded"
    assert "tolerates every taint, so that it comes back at once" in cluster.condition("a")[1]
    assert not cluster.cordoned("a")
    assert taints(cluster, "a") == []


def test_a_static_pod_is_in_the_way_for_good(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.pod("file", "a", kind="Node")
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    assert cluster.condition("a")[0] == "EvictionBlocked"
    assert "apps/file" in cluster.condition("a")[1]
    assert not cluster.cordoned("a")
    cluster.need("a", "Reboot_Required", digest="e")
    cluster.run(drains)
    assert cluster.current("a") == "DrainComplete", "a reboot takes it along"


@pytest.mark.parametrize("force", [True, False])
def test_pods_are_deleted_where_that_is_wanted(cluster: Any, drains: Any, force: bool) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.config(podEvictionPolicy="delete", podEvictionForce=force)
    cluster.pod("app", "a")
    cluster.blocked.add("app")
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    assert cluster.current("a") == "DrainComplete"
    assert cluster.graces == [0 if force else None]


def test_uncordoned_by_somebody(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.pod("app", "a", lasts=1000)
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=5)
    cluster.put(NODES, "a", spec={})
    cluster.run(drains, seconds=5)
    assert cluster.condition("a")[0] == "CordonRemoved"
    assert not cluster.cordoned("a")
    assert cluster.current("a") == "Idle"
    cluster.need("a", "Idle")
    cluster.run(drains)
    assert "virtfn.io/cordoned" not in cluster.get(NODES, "a")["metadata"]["annotations"]


def test_uncordoned_by_somebody_while_the_daemon_works(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    cluster.put(NODES, "a", spec={})
    cluster.run(drains)
    assert cluster.current("a") == "DrainComplete", "it cannot be called back"
    assert "virtfn.io/cordoned" not in cluster.get(NODES, "a")["metadata"]["annotations"]
    cluster.put(NODES, "a", spec={"unschedulable": True})
    cluster.need("a", "Idle")
    cluster.run(drains)
    assert cluster.current("a") == "Idle"
    assert cluster.cordoned("a"), "this cordon is a person's"


def test_another_plan(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.pod("second", "a", vf="0000:3b:02.1", lasts=20)
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    assert cluster.on("a") == {"second"}
    cluster.need("a", "Drain_Required", digest="e", affects=("0000:3b:02.1",))
    cluster.run(drains, seconds=5)
    assert cluster.current("a") == "Draining", "its pods have to go first"
    cluster.run(drains)
    annotations = cluster.get(NODE_STATES, "a")["metadata"]["annotations"]
    assert annotations["virtfn.io/drained-for"] == "e"
    cluster.writes.clear()
    cluster.need("a", "Drain_Required", digest="f", affects=())
    cluster.run(drains)
    assert cluster.current("a") == "DrainComplete"
    assert not [write for write in cluster.writes if "'Draining'" in str(write)]


def test_a_node_that_virtfn_no_longer_looks_after(cluster: Any, drains: Any) -> None:
    for node in ("a", "b"):
        cluster.add(node)
    cluster.pod("app", "a", lasts=1000)
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=5)
    assert cluster.cordoned("a")
    cluster.take(NODE_STATES, "a")
    cluster.need("b", "Drain_Required")
    cluster.run(drains)
    assert not cluster.cordoned("a")
    assert cluster.current("b") == "DrainComplete"


def test_another_drainer(kit: Any) -> None:
    cluster = cluster_with_pods(kit.Cluster)(use_external_drainer=True)
    drains = cluster.restart()
    cluster.add("a")
    cluster.pod("app", "a")
    cluster.run(drains)
    cluster.need("a", "Drain_Required")
    cluster.run(drains)
    annotations = cluster.get(NODE_STATES, "a")["metadata"]["annotations"]
    assert annotations == {
        "sriovnetwork.openshift.io/use-external-drainer": "true",
        "sriovnetwork.openshift.io/desired-state": "Drain_Required",
    }
    assert cluster.condition("a")[0] == "ExternalDrainer"
    assert cluster.on("a") == {"app"}
    cluster.need("a", "Idle")
    cluster.run(drains)
    assert cluster.condition("a")[0] == "NotNeeded"


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.sampled_from([1, 2, "30%"]))
def test_whatever_happens(seed: int, limit: int | str) -> None:
    """Nodes, budgets, people and controllers do as they like; the laws hold after every write, and all come to rest."""
    world = _World(seed, limit)
    for _ in range(120):
        world.happen()
        world.cluster.run(world.drains, seconds=world.random.choice([0.5, 3, 20, 90]))
    world.calm_down()
    for _ in range(600):
        world.work()
        world.cluster.run(world.drains, seconds=30)
        if not world.unserved:
            break
    world.cluster.run(world.drains, seconds=600)  # a turn that failed often comes again after up to five minutes
    assert not world.unserved, "every node has had its turn"
    for node in world.nodes:
        assert world.cluster.current(node) == "Idle"
        assert world.cluster.cordoned(node) == (node in world.foreign)


class _World:
    """Things that happen to a cluster, at random."""

    Cluster: Callable[..., Any]

    def __init__(self, seed: int, limit: int | str) -> None:
        self.random = randoms.Random(seed)
        self.cluster = self.Cluster()
        self.nodes = [f"n{n}" for n in range(6)]
        self.foreign: set[str] = set()
        self.unserved: set[str] = set()
        self.limit = limit if isinstance(limit, int) else 1
        self.cluster.pool("p", maxUnavailable=limit, nodeSelector={"matchLabels": {"pool": "p"}})
        for node in self.nodes:
            self.cluster.add(node, pool="p")
            self.cluster.pod(f"pod-{node}", node, lasts=self.random.choice([0, 5, 100]))
        self.drains = self.cluster.restart()
        self._real = self.cluster.request
        self.cluster.request = self._request

    def _request(self, method: str, **request: Any) -> Any:
        answer = self._real(method, **request)
        if method == "PATCH":
            self._check(str(request["path"]), request.get("body"))
        return answer

    def _check(self, path: str, body: Any) -> None:
        assert len(begun(self.cluster, self.nodes)) <= self.limit
        if "DrainComplete" in str((body.get("metadata") or {}).get("annotations")):
            assert self.cluster.on(path.split("/")[-1]) == set()
        if match := re.fullmatch(r"/api/v1/nodes/(\w+)", path):
            node = match[1]
            assert node not in self.foreign or self.cluster.cordoned(node), "somebody else's cordon was taken away"

    def happen(self) -> None:
        node = self.random.choice(self.nodes)
        pod = f"pod-{node}"
        match self.random.randrange(10):
            case 0 | 1 | 2:
                self.unserved.add(node)
                self.cluster.need(node, "Drain_Required", digest=str(self.random.randrange(3)))
            case 3:
                self.unserved.discard(node)
                self.cluster.need(node, "Idle")
            case 4:
                self.cluster.blocked ^= {pod}
            case 5:
                self.drains = self.cluster.restart()
            case 6:
                # A person cordons what nobody has cordoned, or takes a cordon away, whoever's it is.
                is_cordoned = self.cluster.cordoned(node)
                self.foreign.discard(node) if is_cordoned else self.foreign.add(node)
                spec = {} if is_cordoned else {"unschedulable": True}
                self.cluster.put(NODES, node, spec=spec, metadata={"managedFields": setter("kubectl") if spec else []})
            case 7:
                if pod not in self.cluster.pods and not self.cluster.cordoned(node):
                    self.cluster.pod(pod, node, lasts=self.random.choice([0, 5, 100, 5000]))
            case 8:
                self.cluster.is_down = not self.cluster.is_down
            case 9:
                self.work()

    def work(self) -> None:
        """The daemons of drained nodes do what they were waiting for."""
        for node in self.nodes:
            state = self.cluster.get(NODE_STATES, node)
            digest = ((state.get("status") or {}).get("plan") or {}).get("digest")
            drained_for = state["metadata"].get("annotations", {}).get("virtfn.io/drained-for")
            if self.cluster.current(node) == "DrainComplete" and drained_for == digest:
                self.cluster.need(node, "Idle")
                self.unserved.discard(node)

    def calm_down(self) -> None:
        """Nothing is in the way any more."""
        self.cluster.is_down = False
        self.cluster.blocked.clear()
        self.cluster.lasts = dict.fromkeys(self.cluster.lasts, 0.0)
        self.cluster.ends = {name: min(end, self.cluster.clock.time + 5) for name, end in self.cluster.ends.items()}
        for node in sorted(self.foreign):
            self.cluster.put(NODES, node, spec={})
        self.foreign.clear()


@pytest.fixture(autouse=True)
def _world(kit: Any) -> None:
    _World.Cluster = staticmethod(cluster_with_pods(kit.Cluster))


def test_pauses_are_remembered_by_the_next_controller(cluster: Any, drains: Any) -> None:
    cluster.add("a")
    cluster.add("b")
    cluster.pod("p", "a")
    cluster.blocked.add("p")
    cluster.need("a", "Drain_Required")
    cluster.run(drains, seconds=400)
    tried = cluster.tally.counted("drains_blocked")
    other = cluster.restart()
    before = cluster.clock.now()
    cluster.run(other, seconds=30)
    assert cluster.clock.now() - before >= timedelta(seconds=30)
    assert cluster.tally.counted("drains_blocked") == tried
