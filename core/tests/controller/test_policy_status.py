"""What a policy's status says, and how seldom it is written."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.cluster.kinds import NODE_STATES, POLICIES
from virtfn.controller.node_states import NodeStateReconciler
from virtfn.controller.policy_status import PolicyStatusReconciler
from virtfn.errors import Unavailable


class Told:
    """A policy's status as tests look at it."""

    def __init__(self, cluster: Any, name: str) -> None:
        policy = cluster.get(POLICIES, name)
        self.status = policy.get("status", {})
        self.generation = policy["metadata"]["generation"]
        self.conditions = {each["type"]: each for each in self.status.get("conditions", ())}

    @property
    def ready(self) -> tuple[str, str]:
        return self.conditions["Ready"]["status"], self.conditions["Ready"]["reason"]

    @property
    def message(self) -> str:
        return str(self.conditions["Ready"]["message"])


@pytest.fixture
def running(cluster: Any) -> Any:
    """Both reconcilers, as the status is about what the other one writes."""
    both = [
        cluster.listen(make(cluster.services, cluster.views)) for make in (NodeStateReconciler, PolicyStatusReconciler)
    ]

    def run(seconds: float = 120.0) -> list[Any]:
        return cluster.run(*both, seconds=seconds)  # type: ignore[no-any-return]

    return run


def report(cluster: Any, name: str, *interfaces: Any, **status: Any) -> None:
    """A daemon that has looked at the newest generation."""
    generation = cluster.get(NODE_STATES, name)["metadata"]["generation"]
    cluster.report(name, *interfaces, observedGeneration=generation, **status)


def test_it_follows_the_nodes_until_they_are_in_sync(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    cluster.node("n1")
    cluster.node("n2")
    running()
    told = Told(cluster, "a")
    assert told.ready == ("False", "NoNicSelected")
    assert told.status["nodes"][0] == {
        "name": "n1",
        "mismatch": {"field": "spec.nicSelector", "message": "no NIC is known on this node (is its daemon running?)"},
    }
    report(cluster, "n1", kit.nic())
    report(cluster, "n2", kit.nic(), kit.nic("ens1f1", address="0000:3b:00.1"))
    running()
    told = Told(cluster, "a")
    assert told.ready == ("False", "Progressing")
    assert told.message == "0 of 2 nodes are in sync; waiting for n1; n2"
    assert (told.status["matchedNodes"], told.status["matchedNICs"]) == (2, 3)
    report(cluster, "n1", kit.nic())
    running()
    assert Told(cluster, "a").message == "1 of 2 nodes are in sync; waiting for n2"
    report(cluster, "n2", kit.nic(), kit.nic("ens1f1", address="0000:3b:00.1"))
    running()
    told = Told(cluster, "a")
    assert told.ready == ("True", "InSync")
    assert told.message == "2 nodes in sync, 3 NICs selected"
    assert told.status["nodes"][0] == {
        "name": "n1", "pfs": [{"pciAddress": "0000:3b:00.0", "name": "ens1f0", "vfRange": "0-3"}]
    }  # fmt: skip
    assert told.status["observedGeneration"] == told.conditions["Ready"]["observedGeneration"] == told.generation


def test_a_report_about_an_older_generation_does_not_count(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    cluster.node("n1")
    running()
    report(cluster, "n1", kit.nic(), syncStatus="Failed", lastSyncError="old")
    running()
    assert Told(cluster, "a").ready == ("False", "Progressing")
    report(cluster, "n1", kit.nic(), syncStatus="Failed", lastSyncError="0000:3b:00.0: no room for VFs")
    running()
    told = Told(cluster, "a")
    assert told.ready == ("False", "NodesFailed")
    assert told.message == "1 node of 1 failed: n1: 0000:3b:00.0: no room for VFs"


def test_nodes_where_nothing_is_selected_come_first_with_the_reason(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a", nicSelector={"vendor": "15b3", "deviceID": "101d", "pfNames": ["ens1f0"]})
    for name, nics in {
        "n1": [kit.nic()],
        "n2": [kit.nic("eth0", vendor="8086"), kit.nic("eth1", address="0000:3b:00.1")],
        "n3": [kit.nic(deviceID="1017")],
    }.items():
        cluster.node(name)
        running(1.0)
        report(cluster, name, *nics)
        running(1.0)
        report(cluster, name, *nics)
    running()
    told = Told(cluster, "a")
    assert told.ready == ("True", "InSync")
    assert told.message == "1 node in sync, 1 NIC selected; on 2 nodes no NIC is selected"
    assert [(each["name"], each.get("mismatch")) for each in told.status["nodes"]] == [
        ("n2", {"field": "spec.nicSelector.pfNames", "message": "eth1: not in pfNames"}),
        ("n3", {"field": "spec.nicSelector.deviceID", "message": "ens1f0: deviceID is 1017, not 101d"}),
        ("n1", None),
    ]


def test_without_a_node_it_says_which_label_is_missing(cluster: Any, running: Any) -> None:
    cluster.policy("a", nodeSelector={"zone": "a"})
    cluster.policy("b", nodeSelector={"zone": "a"}, numVfs=0)
    running()
    assert Told(cluster, "a").message == "there are no nodes that virtfn looks after"
    cluster.node("n1", zone="b")
    cluster.node("n2")
    running()
    told = Told(cluster, "a")
    assert told.ready == ("False", "NoNodeSelected")
    assert told.message == (
        "spec.nodeSelector selects no node: n1: label zone is b, not a; n2: label zone is not set, not a"
    )
    assert [each["name"] for each in told.status["nodes"]] == ["n1", "n2"]
    assert (told.status["matchedNodes"], told.status["matchedNICs"]) == (0, 0)


def test_a_policy_that_is_overridden_names_who_has_its_vfs(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("loser", priority=50)
    cluster.policy("winner", priority=10)
    cluster.node("n1")
    running()
    report(cluster, "n1", kit.nic())
    running()
    report(cluster, "n1", kit.nic())
    running()
    told = Told(cluster, "loser")
    assert told.ready == ("False", "Overridden")
    assert told.conditions["Conflict"]["status"] == "True"
    assert told.conditions["Conflict"]["message"] == (
        "n1: 0000:3b:00.0 (ens1f0): VFs 0-3 of policy loser gave way to policy winner (a lower priority number)"
    )
    assert told.status["nodes"][0]["pfs"] == [
        {"pciAddress": "0000:3b:00.0", "name": "ens1f0", "overriddenBy": "winner"}
    ]
    assert Told(cluster, "winner").ready == ("True", "InSync")
    assert "Conflict" not in Told(cluster, "winner").conditions
    cluster.take(POLICIES, "winner")
    running()
    assert "Conflict" not in Told(cluster, "loser").conditions


def test_a_malformed_policy_says_which_field(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("bad", nicSelector={"pfNames": ["ens1f0#x"]})
    cluster.policy("good")
    cluster.policy("beyond", numVfs=2, nicSelector={"pfNames": ["ens1f0#0-7"]}, priority=1)
    cluster.node("n1")
    running()
    report(cluster, "n1", kit.nic())
    running()
    assert Told(cluster, "bad").ready == ("False", "BadVfRange")
    assert Told(cluster, "bad").message.startswith("spec.nicSelector.pfNames[0]: ")
    assert Told(cluster, "beyond").ready == ("False", "BadVfRange")
    assert Told(cluster, "good").ready[1] not in ("BadVfRange", "InvalidDocument")
    cluster.policy("bad", nicSelector={"pfNames": ["ens1f0#4-5"]}, numVfs=8)
    running()
    assert Told(cluster, "bad").ready[1] != "BadVfRange"


def test_a_bridge_that_is_asked_for_while_bridges_are_off_is_told(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("none", numVfs=0, eSwitchMode="switchdev", bridge={"ovs": {}})
    cluster.node("n1")
    running()
    assert Told(cluster, "none").ready == ("False", "BridgesOff")
    assert "manageSoftwareBridges" in Told(cluster, "none").message
    cluster.config(featureGates={"manageSoftwareBridges": True})
    running()
    assert Told(cluster, "none").ready == ("True", "NoVfs")


def test_a_policy_without_vfs_is_ready_and_the_default_one_is_left_alone(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("none", numVfs=0)
    cluster.policy("default", numVfs=0, nicSelector={})
    cluster.node("n1")
    running()
    assert Told(cluster, "none").ready == ("True", "NoVfs")
    assert Told(cluster, "default").status == {}


def test_it_lists_sixty_four_nodes_and_counts_the_others(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    for number in range(70):
        cluster.node(f"n{number:02d}")
    running()
    for number in range(70):
        report(cluster, f"n{number:02d}", kit.nic(vendor="15b3" if number else "8086"))
    running()
    told = Told(cluster, "a")
    assert (told.status["matchedNodes"], told.status["matchedNICs"], told.status["nodesLeftOut"]) == (70, 69, 6)
    assert [each["name"] for each in told.status["nodes"][:2]] == ["n00", "n01"]
    assert len(told.status["nodes"]) == 64


def test_many_reports_make_few_writes(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    for number in range(400):
        cluster.node(f"n{number}")
    running()
    for number in range(400):
        report(cluster, f"n{number}", kit.nic(), syncStatus="InProgress")
    running()
    cluster.writes.clear()
    for number in range(400):
        report(cluster, f"n{number}", kit.nic())
        running(0.25)  # 100 seconds in all
    running()
    written = [path for _, path, _ in cluster.writes if path.endswith("/a/status")]
    assert 10 < len(written) <= 55  # a turn waits two seconds for 400 nodes
    assert Told(cluster, "a").ready == ("True", "InSync")


def test_at_rest_nothing_is_written_and_a_status_is_no_change(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    cluster.policy("b", priority=5)
    cluster.node("n1")
    running()
    report(cluster, "n1", kit.nic())
    running()
    report(cluster, "n1", kit.nic())
    running()
    cluster.writes.clear()
    report(cluster, "n1", kit.nic(), plan={"digest": "x"})
    cluster.policy("a")
    running(3600)
    assert cluster.writes == []


def test_one_policy_that_cannot_be_written_holds_up_no_other(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    cluster.policy("b")
    cluster.node("n1")
    cluster.refuse[POLICIES.path(namespace=kit.namespace, name="a", subresource="status")] = Unavailable("not now")
    errors = running(0.75)
    assert [str(error) for error in errors] == ["not now"]
    assert Told(cluster, "b").status
    running()
    assert Told(cluster, "a").status


def test_events_are_told_for_new_states_and_not_for_numbers(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    for name in ("n1", "n2"):
        cluster.node(name)
    running()
    for name in ("n1", "n2"):
        report(cluster, name, kit.nic())
    running()
    for name in ("n1", "n2"):
        report(cluster, name, kit.nic())
        running()
    told = [
        (series.body["type"], series.body["reason"], series.body["note"])
        for series in cluster.recorder._series.values()
    ]
    assert [each[:2] for each in told] == [
        ("Warning", "ReadyAdded"), ("Normal", "ReadyChanged"), ("Normal", "ReadyChanged")
    ]  # fmt: skip
    assert told[-1][2] == "2 nodes in sync, 2 NICs selected"


def test_nodes_are_counted_by_how_far_they_are(kit: Any, cluster: Any, running: Any) -> None:
    cluster.policy("a")
    for number in range(4):
        cluster.node(f"n{number}")
    running()
    for number in range(4):
        report(cluster, f"n{number}", kit.nic())
    running()
    report(cluster, "n0", kit.nic())
    report(cluster, "n1", kit.nic(), syncStatus="Failed", conditions=[{"type": "Blocked", "status": "True"}])
    running()
    seen = {word: cluster.tally.last_level("nodes", of=word) for word in ("done", "waiting", "failed", "blocked")}
    assert seen == {"done": 1, "waiting": 2, "failed": 1, "blocked": 1}
    report(cluster, "n1", kit.nic(), syncStatus="Failed", conditions=[{"type": "Blocked", "status": "False"}])
    running()
    assert cluster.tally.last_level("nodes", of="blocked") == 0
