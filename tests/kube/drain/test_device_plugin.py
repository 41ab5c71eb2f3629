"""The device plugin: its label, and its restart, once for each revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LABEL = "sriovnetwork.openshift.io/device-plugin"
REVISION = "virtfn.io/device-plugin-revision"
RESTART = "virtfn.io/device-plugin-restart"
APP = {"app": "sriov-device-plugin"}


def plugin(revision: str, *resources: str) -> dict[str, Any]:
    return {"revision": revision, "resources": list(resources)}


def label(cluster: Any, node: str) -> str:
    return str(cluster.node(node)["metadata"].get("labels", {}).get(LABEL, ""))


def test_the_label_follows_the_daemons_report(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_node("a")
    start()
    cluster.wait_current("a", "Idle")
    assert label(cluster, "a") == "", "nothing is known yet"
    cluster.need("a", "Idle", plugin=plugin("1", "fast"))
    cluster.wait(lambda: label(cluster, "a") == "Enabled", why="a resource is offered")
    cluster.wait(lambda: cluster.annotation("a", REVISION) == "1", why="no pod was there to be restarted")
    cluster.need("a", "Idle", plugin=plugin("2"))
    cluster.wait(lambda: label(cluster, "a") == "Disabled", why="none is offered")
    cluster.wait(lambda: cluster.annotation("a", REVISION) == "2", why="nothing to restart")


def test_one_restart_for_each_revision(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_node("a")
    cluster.add_node("b")
    cluster.add_pod("plugin-1", "a", labels=APP, owner="DaemonSet")
    cluster.add_pod("plugin-b", "b", labels=APP, owner="DaemonSet")
    cluster.add_pod("app", "a")
    running = start()
    cluster.need("a", "Idle", plugin=plugin("1", "fast"))
    cluster.wait(lambda: cluster.pods("a") == {"app"}, why="the old pod has gone")
    cluster.settle()
    assert cluster.annotation("a", REVISION) == "", "it is not back yet"
    assert cluster.annotation("a", RESTART)
    cluster.add_pod("plugin-2", "a", labels=APP, owner="DaemonSet")
    cluster.wait(lambda: cluster.annotation("a", REVISION) == "1", why="it is back")
    assert cluster.annotation("a", RESTART) == ""
    for _ in range(3):  # the same revision, published again and again
        cluster.need("a", "Drain_Required", plugin=plugin("1", "fast"), affects=())
        cluster.need("a", "Idle", plugin=plugin("1", "fast"))
    cluster.settle()
    assert cluster.pods("a") == {"app", "plugin-2"}
    assert cluster.pods("b") == {"plugin-b"}
    assert running.tally.counted("device_plugin_restarts") == 1
    cluster.wait(lambda: len(cluster.events("a", "DevicePluginRestarted")) == 1, why="people are told")
    cluster.need("a", "Idle", plugin=plugin("2", "fast"))
    cluster.wait(lambda: cluster.pods("a") == {"app"}, why="another revision, another restart")
    cluster.add_pod("plugin-3", "a", labels=APP, owner="DaemonSet")
    cluster.wait(lambda: cluster.annotation("a", REVISION) == "2", why="it is back")
    assert running.tally.counted("device_plugin_restarts") == 2


def test_a_controller_that_is_cut_off_in_the_middle_of_a_restart(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_node("a")
    old = cluster.add_pod("plugin-1", "a", labels=APP, owner="DaemonSet", grace=30)
    first = start()
    cluster.need("a", "Idle", plugin=plugin("1", "fast"))
    cluster.wait(lambda: cluster.is_leaving("plugin-1"), why="it was asked to go")
    first.stop()
    assert old in cluster.annotation("a", RESTART)
    cluster.end_pod("plugin-1")
    cluster.add_pod("plugin-2", "a", labels=APP, owner="DaemonSet")
    second = start()
    cluster.wait(lambda: cluster.annotation("a", REVISION) == "1", why="it is back")
    assert cluster.pods("a") == {"plugin-2"}, "the new one is not restarted again"
    assert second.tally.counted("device_plugin_restarts") == 0


def test_a_node_is_let_go_when_its_device_plugin_is_back(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("plugin-1", "a", labels=APP, owner="DaemonSet")
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_current("a", "DrainComplete")
    cluster.need("a", "Idle", plugin=plugin("2", "fast"))
    cluster.wait(lambda: cluster.pods("a") == set(), why="the device plugin restarts")
    cluster.settle()
    assert cluster.is_cordoned("a"), "pods that came now would be refused by the kubelet"
    cluster.add_pod("plugin-2", "a", labels=APP, owner="DaemonSet")
    cluster.wait_current("a", "Idle")
    assert not cluster.is_cordoned("a")
