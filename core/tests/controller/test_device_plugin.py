"""The device plugin's restart: what a node needs, by its objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.device_plugin import DevicePluginReconciler, Restart, Wish, is_back, pods_to_go
from virtfn.kube.resource import NODES

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def state(plugin: dict[str, Any] | None, **annotations: str) -> dict[str, Any]:
    words = {f"virtfn.io/{word.replace('_', '-')}": text for word, text in annotations.items()}
    return {"metadata": {"name": "n", "annotations": words}, "status": {"devicePlugin": plugin} if plugin else {}}


def pod(uid: str, *, ready: str = "True", leaving: bool = False) -> dict[str, Any]:
    metadata = {"name": f"dp-{uid}", "uid": uid} | ({"deletionTimestamp": "2030-01-01T00:00:00Z"} if leaving else {})
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_nothing_is_known_of_a_node_that_has_not_reported() -> None:
    wish = Wish.of(state(None, device_plugin_revision="1"))
    assert wish == Wish(None)
    assert wish.is_settled
    assert Wish.of({"metadata": {"name": "n"}}).label is None


@pytest.mark.parametrize(("resources", "label"), [(["a"], "Enabled"), ([], "Disabled"), (None, "Disabled")])
def test_the_label_follows_from_the_resources(resources: list[str] | None, label: str) -> None:
    plugin = {"revision": "1"} | ({} if resources is None else {"resources": resources})
    assert Wish.of(state(plugin)).label == label


def test_settled_when_it_was_started_for_what_there_is() -> None:
    plugin = {"revision": "2", "resources": ["a"]}
    assert not Wish.of(state(plugin)).is_settled
    assert not Wish.of(state(plugin, device_plugin_revision="1")).is_settled
    assert Wish.of(state(plugin, device_plugin_revision="2")).is_settled
    going = str(Restart("2", NOW, ("u",)))
    assert not Wish.of(state(plugin, device_plugin_revision="2", device_plugin_restart=going)).is_settled


def test_a_restart_is_read_as_it_was_written() -> None:
    restart = Restart("r", NOW, ("u1", "u2"))
    assert Restart.parse(str(restart)) == restart


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", "null", '{"revision":"r","since":"soon","pods":[]}', '{"revision":"r","since":"2030-01-01"}'],
)
def test_a_restart_that_somebody_edited_is_none(text: str) -> None:
    assert Restart.parse(text) is None


def test_a_date_without_a_zone_is_utc() -> None:
    assert Restart.parse('{"revision":"r","since":"2030-01-01T00:00:00","pods":[]}') == Restart("r", NOW, ())


def test_pods_that_leave_by_themselves_are_not_deleted() -> None:
    assert pods_to_go([pod("a"), pod("b", leaving=True), pod("c", ready="False")]) == ("a", "c")


def test_back_is_a_new_pod_that_is_ready() -> None:
    assert not is_back([pod("a")], but=("a",))
    assert not is_back([pod("b", ready="False")], but=("a",))
    assert is_back([pod("a", leaving=True), pod("b")], but=("a",))
    assert not is_back([], but=())


# --- over time --------------------------------------------------------------------------------------------------------


class Answer:
    def __init__(self, body: Any) -> None:
        self._body = body

    def json(self) -> Any:
        return self._body


@pytest.fixture
def cluster(kit: Any) -> Any:
    """The cluster of `conftest.py` with the device plugin's pods."""

    class Cluster(kit.Cluster):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.pods: dict[str, dict[str, Any]] = {}
            self.deleted: list[str] = []
            self.is_stuck = False

        def request(self, method: str, *, path: str, body: Any = None, query: Any = None, **more: Any) -> Any:
            if path.endswith("/namespaces/virtfn/pods"):
                assert query["labelSelector"] == "app=sriov-device-plugin"
                assert query["fieldSelector"] == "spec.nodeName=n"
                return Answer({"items": list(self.pods.values())})
            if method == "DELETE" and "/pods/" in path:
                name = path.rpartition("/")[2]
                assert body["preconditions"]["uid"] == self.pods[name]["metadata"]["uid"]
                self.deleted.append(name)
                if self.is_stuck:
                    self.pods[name]["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
                else:
                    del self.pods[name]
                return Answer({})
            return super().request(method, path=path, body=body, **more)

        def start(self, uid: str) -> None:
            self.pods[f"dp-{uid}"] = pod(uid)

        def publish(self, revision: str, *resources: str) -> None:
            status = {"devicePlugin": {"revision": revision, "resources": list(resources)}}
            self.put(NODE_STATES, "n", status=status)

        def revision(self) -> str:
            annotations = self.get(NODE_STATES, "n")["metadata"].get("annotations", {})
            return str(annotations.get("virtfn.io/device-plugin-revision", ""))

    made = Cluster()
    made.node("n")
    made.put(NODE_STATES, "n", spec={})
    return made


@pytest.fixture
def plugins(cluster: Any) -> Any:
    return cluster.listen(DevicePluginReconciler(cluster.services, cluster.views))


def test_a_plugin_that_does_not_come_back_is_not_waited_for_for_ever(cluster: Any, plugins: Any) -> None:
    cluster.start("1")
    cluster.publish("r", "fast")
    cluster.run(plugins, seconds=100)
    assert cluster.deleted == ["dp-1"]
    assert cluster.revision() == ""
    cluster.run(plugins, seconds=600)
    assert cluster.revision() == "r"
    cluster.writes.clear()
    cluster.run(plugins, seconds=3600)
    assert cluster.writes == []
    assert plugins.queue.failures("n") == 0


def test_a_pod_that_does_not_end_is_deleted_once_and_waited_for(cluster: Any, plugins: Any) -> None:
    cluster.start("1")
    cluster.is_stuck = True
    cluster.publish("r", "fast")
    cluster.run(plugins, seconds=600)
    assert cluster.deleted == ["dp-1"]
    assert cluster.revision() == ""
    cluster.pods.clear()
    cluster.start("2")
    cluster.run(plugins)
    assert cluster.revision() == "r"


def test_a_revision_that_comes_in_the_middle_of_a_restart(cluster: Any, plugins: Any) -> None:
    """The new pod may have read what was there before it: it goes, too."""
    cluster.start("1")
    cluster.publish("r1", "fast")
    cluster.run(plugins, seconds=10)
    cluster.start("2")
    cluster.publish("r2", "fast")
    cluster.run(plugins, seconds=10)
    assert cluster.deleted == ["dp-1", "dp-2"]
    cluster.start("3")
    cluster.run(plugins)
    assert cluster.revision() == "r2"
    assert cluster.deleted == ["dp-1", "dp-2"]


def test_where_none_is_wanted_none_is_deleted(cluster: Any, plugins: Any) -> None:
    cluster.start("1")
    cluster.publish("r")
    cluster.run(plugins)
    assert cluster.deleted == []
    assert cluster.revision() == "r"
    labels = cluster.get(NODES, "n")["metadata"]["labels"]
    assert labels["sriovnetwork.openshift.io/device-plugin"] == "Disabled"


def test_a_label_that_somebody_changed_is_put_right(cluster: Any, plugins: Any) -> None:
    cluster.publish("r", "fast")
    cluster.run(plugins)
    labels = dict(cluster.get(NODES, "n")["metadata"]["labels"])
    del labels["sriovnetwork.openshift.io/device-plugin"]
    cluster.put(NODES, "n", metadata={"labels": labels})
    cluster.run(plugins)
    labels = cluster.get(NODES, "n")["metadata"]["labels"]
    assert labels["sriovnetwork.openshift.io/device-plugin"] == "Enabled"
