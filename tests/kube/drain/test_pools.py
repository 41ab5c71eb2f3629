"""How many nodes at once, on a real API server, and a controller that is cut off in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from virtfn.cluster.kinds import NODE_STATES, POOL_CONFIGS
from virtfn.kube.resource import NODES


def begun(cluster: Any, nodes: list[str]) -> list[str]:
    """Those whose drain has begun and not ended."""
    found = cluster.kube.list(NODE_STATES, namespace=cluster.namespace, metadata_only=True)
    word = "sriovnetwork.openshift.io/current-state"
    states = {each["metadata"]["name"]: each["metadata"].get("annotations", {}).get(word, "Idle") for each in found}
    return [node for node in nodes if states[cluster.name(node)] != "Idle"]


def test_one_at_a_time_where_there_is_no_pool_and_the_next_one_follows(cluster: Any, start: Callable[..., Any]) -> None:
    nodes = ["a", "b", "c"]
    for node in nodes:
        cluster.add_node(node)
    running = start()
    for node in nodes:
        cluster.need(node, "Drain_Required")
    done: list[str] = []
    while len(done) < 3:
        cluster.wait(lambda: "DrainComplete" in map(cluster.current, nodes), why="one is drained")
        (node,) = begun(cluster, nodes)
        for other in nodes:
            if other not in (node, *done):
                cluster.wait_reason(other, "WaitingForSlot")
        cluster.settle()
        assert begun(cluster, nodes) == [node]
        done.append(node)
        cluster.need(node, "Idle")
        cluster.wait_current(node, "Idle")
    assert sorted(done) == nodes
    assert running.tally.counted("drains_begun") == 3


def test_two_pools(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_pool("p", 1)
    cluster.add_pool("q", "50%")
    for n in range(3):
        cluster.add_node(f"p{n}", pool="p")
    for n in range(4):
        cluster.add_node(f"q{n}", pool="q")
    start()
    nodes = [f"p{n}" for n in range(3)] + [f"q{n}" for n in range(4)]
    for node in nodes:
        cluster.need(node, "Drain_Required")
    cluster.wait(lambda: len(begun(cluster, nodes)) == 3, why="one of p, two of q")
    cluster.settle()
    assert sorted(node[0] for node in begun(cluster, nodes)) == ["p", "q", "q"]
    waiting = next(node for node in nodes if node.startswith("q") and node not in begun(cluster, nodes))
    cluster.wait_reason(waiting, "WaitingForSlot")
    assert "pool q lets 2 of its 4 nodes be unavailable at once (maxUnavailable 50%)" in cluster.message(waiting)


def test_nodes_that_are_away_for_other_reasons_count(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_pool("p", 1)
    cluster.add_node("a", pool="p")
    cluster.add_node("cordoned", pool="p", cordoned=True)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_reason("a", "WaitingForSlot")
    assert f"cordoned by somebody else: {cluster.name('cordoned')}" in cluster.message("a")
    cluster.set_ready("cordoned", "Unknown")
    cluster.kube.patch(NODES, name=cluster.name("cordoned"), body={"spec": {"unschedulable": None}})
    cluster.settle()
    assert cluster.current("a") == "Idle"
    cluster.set_ready("cordoned", "True")
    cluster.wait_current("a", "DrainComplete")


def test_a_node_in_two_pools_and_a_pool_that_allows_none(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_pool("none", 0)
    cluster.add_pool("p", 5)
    cluster.add_node("a", pool="none")
    cluster.add_node("b", pool="p")
    cluster.add_pool("again", 1, of="p")
    start()
    cluster.need("a", "Drain_Required")
    cluster.need("b", "Drain_Required")
    cluster.wait_reason("a", "PoolAllowsNone")
    cluster.wait_reason("b", "PoolConflict")
    assert "again, p" in cluster.message("b")
    cluster.kube.delete(POOL_CONFIGS, name="again", namespace=cluster.namespace)
    cluster.wait_current("b", "DrainComplete")
    assert cluster.current("a") == "Idle"


def test_a_blocked_node_does_not_hold_up_the_others(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    for node in ("a", "b"):
        cluster.add_node(node)
    cluster.add_pod("app", "a", vfs=vfs[:1])
    cluster.add_budget("keeps", app="app")
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_reason("a", "EvictionBlocked")
    cluster.need("b", "Drain_Required")
    cluster.wait_current("b", "DrainComplete")
    assert cluster.current("a") == "Idle"


def test_another_controller_goes_on_where_one_was_cut_off(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    for node in ("a", "b"):
        cluster.add_node(node)
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    cluster.add_pod("other", "b", vfs=vfs[:1])
    first = start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_leaving("slow"), why="it was asked to go")
    first.stop()
    since = cluster.annotation("a", "virtfn.io/drain")
    cluster.need("b", "Drain_Required")
    second = start()
    cluster.wait_reason("b", "WaitingForSlot")
    cluster.settle()
    assert cluster.current("a") == "Draining"
    assert cluster.annotation("a", "virtfn.io/drain") == since, "the deadline goes on, too"
    second.stop()
    cluster.end_pod("slow")
    third = start()
    cluster.wait_current("a", "DrainComplete")
    third.stop()
    cluster.need("a", "Idle")
    start()
    cluster.wait_current("b", "DrainComplete")
    assert not cluster.is_cordoned("a")
    assert second.tally.counted("evictions") == third.tally.counted("evictions") == 0


def test_a_deadline_that_passed_while_nobody_led(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    first = start(drain_deadline=60.0)
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_leaving("slow"), why="it was asked to go")
    first.stop()
    time.sleep(2)
    start(drain_deadline=2.0)
    cluster.wait_reason("a", "DeadlineExceeded")
    assert not cluster.is_cordoned("a")


def test_a_node_that_is_deleted_in_the_middle_frees_its_slot(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    for node in ("a", "b"):
        cluster.add_node(node)
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_leaving("slow"), why="it was asked to go")
    cluster.need("b", "Drain_Required")
    cluster.wait_reason("b", "WaitingForSlot")
    cluster.kube.delete(NODES, name=cluster.name("a"))
    cluster.wait_current("b", "DrainComplete")


def test_a_node_that_is_no_longer_looked_after_is_let_go(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_cordoned("a"), why="it begins")
    cluster.kube.delete(NODE_STATES, name=cluster.name("a"), namespace=cluster.namespace)
    cluster.wait(lambda: not cluster.is_cordoned("a"), why="it is uncordoned")
    assert not cluster.is_ours("a")


def test_never_more_than_allowed_whatever_becomes_of_the_controller(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    """Ten nodes, two at once, daemons that work for a moment, and controllers that are replaced all the time."""
    cluster.add_pool("p", 2)
    nodes = [f"n{n}" for n in range(10)]
    for node in nodes:
        cluster.add_node(node, pool="p")
        cluster.add_pod(f"pod-{node}", node, vfs=vfs[:1])
    for node in nodes:
        cluster.need(node, "Drain_Required")
    most, over = [0], threading.Event()
    done: set[str] = set()

    def watch() -> None:
        while not over.is_set():
            cordoned = [
                node["metadata"]["name"]
                for node in cluster.kube.list(NODES)
                if node["metadata"]["name"].endswith(f".{cluster.namespace}") and node["spec"].get("unschedulable")
            ]
            most[0] = max(most[0], len(cordoned), len(begun(cluster, nodes)))
            for node in nodes:
                if node not in done and cluster.current(node) == "DrainComplete":
                    cluster.need(node, "Idle")
                    done.add(node)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    deadline = time.monotonic() + 90
    try:
        while len(done) < len(nodes) and time.monotonic() < deadline:
            running = start()
            time.sleep(3.0)
            running.stop()
        start()
        cluster.wait(lambda: len(done) == 10 and not begun(cluster, nodes), why="all have had their turn")
    finally:
        over.set()
        watcher.join()
    assert most[0] == 2
    assert not any(map(cluster.is_cordoned, nodes))
    assert not any(map(cluster.pods, nodes))
