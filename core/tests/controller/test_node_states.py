"""Node states follow from policies, pools, nodes and reports; and nothing is written that is so already."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS, POLICIES
from virtfn.controller.node_states import RESYNC_SECONDS, NodeStateReconciler
from virtfn.errors import Unavailable
from virtfn.kube.resource import NODES

KEEP_UNTIL = "sriovnetwork.openshift.io/keep-state-until"


@pytest.fixture
def states(cluster: Any) -> NodeStateReconciler:
    made: NodeStateReconciler = cluster.listen(NodeStateReconciler(cluster.services, cluster.views))
    return made


def ranges(state: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """VF groups by PF."""
    return {
        entry["name"]: [(group["policyName"], group["vfRange"]) for group in entry["vfGroups"]]
        for entry in state["spec"].get("interfaces", ())
    }


def test_a_node_gets_its_state_and_the_state_its_spec_once_the_daemon_has_reported(
    kit: Any, cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.policy("a")
    cluster.node("n1")
    assert not cluster.run(states)
    state = cluster.get(NODE_STATES, "n1")
    assert state["spec"] == {}
    assert state["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "virtfn"}
    cluster.report("n1", kit.nic())
    assert not cluster.run(states)
    assert ranges(cluster.get(NODE_STATES, "n1")) == {"ens1f0": [("a", "0-3")]}
    assert [method for method, _, _ in cluster.writes] == ["POST", "PATCH"]


def test_only_linux_workers_and_nodes_with_cards_have_a_state(cluster: Any, states: NodeStateReconciler) -> None:
    cluster.node("worker")
    cluster.put(NODES, "plane", metadata={"labels": {"kubernetes.io/os": "linux"}})
    cluster.put(
        NODES, "windows", metadata={"labels": {"kubernetes.io/os": "windows", "node-role.kubernetes.io/worker": ""}}
    )
    cluster.put(NODES, "card", metadata={"labels": {"feature.node.kubernetes.io/network-sriov.capable": "true"}})
    cluster.run(states)
    assert {path.rpartition("/")[2] for path in cluster.objects if "nodestates" in path} == {"worker", "card"}


def test_the_configured_selector_replaces_the_usual_one(cluster: Any, states: NodeStateReconciler) -> None:
    cluster.config(configDaemonNodeSelector={"sriov": "yes"})
    cluster.node("worker")
    cluster.put(NODES, "plane", metadata={"labels": {"sriov": "yes"}})
    cluster.run(states)
    assert cluster.get(NODE_STATES, "worker") is None
    assert cluster.get(NODE_STATES, "plane") is not None


def test_the_operators_configuration_owns_node_states_also_those_that_were_there_before(
    cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.node("n1")
    cluster.run(states)
    assert "ownerReferences" not in cluster.get(NODE_STATES, "n1")["metadata"]
    config = cluster.config()
    cluster.node("n2")
    cluster.run(states)
    for name in ("n1", "n2"):
        (owner,) = cluster.get(NODE_STATES, name)["metadata"]["ownerReferences"]
        assert owner == {
            "apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovOperatorConfig", "name": "default",
            "uid": config["metadata"]["uid"], "controller": True,
        }  # fmt: skip
    cluster.take(OPERATOR_CONFIGS, "default")
    before = len(cluster.writes)
    cluster.run(states)
    assert len(cluster.writes) == before  # the garbage collector sees to the rest


def test_at_rest_nothing_is_written(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("a", mtu=9000, isRdma=True)
    for number in range(5):
        cluster.node(f"n{number}")
    cluster.run(states)
    for number in range(5):
        cluster.report(f"n{number}", kit.nic(), kit.nic("ens1f1", address="0000:3b:00.1", vendor="8086"))
    cluster.run(states)
    before = len(cluster.writes)
    assert before == 10
    cluster.policy("a", mtu=9000, isRdma=True)
    cluster.report("n1", kit.nic(), kit.nic("ens1f1", address="0000:3b:00.1", vendor="8086"), syncStatus="InProgress")
    assert not cluster.run(states, seconds=3 * RESYNC_SECONDS)
    assert len(cluster.writes) == before


def test_a_change_of_a_policy_is_a_patch_of_what_changed_on_the_nodes_it_is_about(
    kit: Any, cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.policy("a", nodeSelector={"zone": "a"})
    for zone in "ab":
        cluster.node(f"n-{zone}", zone=zone)
    cluster.run(states)
    for zone in "ab":
        cluster.report(f"n-{zone}", kit.nic())
    cluster.run(states)
    cluster.writes.clear()
    cluster.policy("a", nodeSelector={"zone": "a"}, numVfs=2)
    cluster.run(states)
    ((method, path, body),) = cluster.writes
    assert (method, path.rpartition("/")[2]) == ("PATCH", "n-a")
    assert set(body) == {"spec", "metadata"}
    assert body["metadata"] == {"uid": cluster.get(NODE_STATES, "n-a")["metadata"]["uid"]}
    assert cluster.get(NODE_STATES, "n-a")["spec"]["interfaces"][0]["numVfs"] == 2
    cluster.take(POLICIES, "a")
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n-a")["spec"] == {}


def test_policies_that_come_together_are_one_write_a_node(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.run(states)
    cluster.writes.clear()
    for number in range(5):
        cluster.policy(f"p{number}", numVfs=8, nicSelector={"pfNames": [f"ens1f0#{number}-{number}"]})
    cluster.run(states)
    assert len(cluster.writes) == 1
    assert len(ranges(cluster.get(NODE_STATES, "n1"))["ens1f0"]) == 5


def test_a_malformed_policy_leaves_the_others_working(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("good")
    cluster.policy("bad", nicSelector={"pfNames": ["ens1f0#x"]}, priority=1)
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    assert not cluster.run(states)
    assert ranges(cluster.get(NODE_STATES, "n1")) == {"ens1f0": [("good", "0-3")]}


def test_a_report_that_cannot_be_read_holds_up_no_other_node(
    kit: Any, cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.node("n1")
    cluster.node("n2")
    cluster.run(states)
    cluster.report("n1", {"pciAddress": {"not": "text"}})
    cluster.report("n2", kit.nic())
    cluster.policy("a")
    assert cluster.run(states, seconds=5)
    assert ranges(cluster.get(NODE_STATES, "n2")) == {"ens1f0": [("a", "0-3")]}


def test_a_server_that_refuses_is_asked_again(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("a")
    cluster.node("n1")
    cluster.run(states)
    cluster.refuse[NODE_STATES.path(namespace=kit.namespace, name="n1")] = Unavailable("not now")
    cluster.report("n1", kit.nic())
    assert [str(error) for error in cluster.run(states)] == ["not now"]
    assert ranges(cluster.get(NODE_STATES, "n1")) == {"ens1f0": [("a", "0-3")]}


def test_what_somebody_else_writes_into_a_spec_is_put_right(
    kit: Any, cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.policy("a")
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.run(states)
    good = cluster.get(NODE_STATES, "n1")["spec"]
    cluster.put(NODE_STATES, "n1", spec={"interfaces": [{"pciAddress": "0000:3b:00.0", "numVfs": 8}], "foreign": 1})
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1")["spec"] == good


def test_a_state_that_is_deleted_comes_back(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.node("n1")
    cluster.run(states)
    cluster.take(NODE_STATES, "n1")
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1") is not None


def test_a_daemon_that_reports_nothing_takes_nothing_away(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("a")
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.run(states)
    cluster.report("n1")
    cluster.run(states)
    assert ranges(cluster.get(NODE_STATES, "n1")) == {"ens1f0": [("a", "0-3")]}


def test_the_rdma_mode_is_the_pools_and_pools_that_overlap_change_nothing(
    kit: Any, cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.pool("one", rdmaMode="exclusive", nodeSelector={"matchLabels": {"rdma": "yes"}})
    cluster.node("n1", rdma="yes")
    cluster.node("n2")
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1")["spec"] == {"system": {"rdmaMode": "exclusive"}}
    assert cluster.get(NODE_STATES, "n2")["spec"] == {}
    cluster.report("n1", kit.nic())
    cluster.pool("two", rdmaMode="shared", nodeSelector={})
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1")["spec"] == {"system": {"rdmaMode": "exclusive"}}
    cluster.report("n2", kit.nic())
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n2")["spec"] == {"system": {"rdmaMode": "shared"}}


def test_bridges_are_rendered_only_with_their_gate(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("a", eSwitchMode="switchdev", bridge={"ovs": {}})
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.run(states)
    assert "bridges" not in cluster.get(NODE_STATES, "n1")["spec"]
    cluster.config(featureGates={"manageSoftwareBridges": True})
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1")["spec"]["bridges"]["ovs"][0]["name"] == "br-0000_3b_00.0"


def test_nothing_is_written_twice_while_the_view_is_behind(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("a")
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.is_slow = True
    cluster.run(states, seconds=5)
    before = len(cluster.writes)
    states.queue.add("n1")
    cluster.run(states, seconds=5)
    assert len(cluster.writes) == before
    cluster.deliver()
    cluster.run(states)
    assert len(cluster.writes) == before


def test_a_policy_that_goes_before_its_write_was_seen_leaves_nothing(
    kit: Any, cluster: Any, states: NodeStateReconciler
) -> None:
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.run(states)
    cluster.policy("a")
    path = NODE_STATES.path(namespace=kit.namespace, name="n1")
    while not cluster.objects[path]["spec"]:
        cluster.is_slow = True
        cluster.run(states, seconds=0.25)
    cluster.views["policies"].store.remove(f"{kit.namespace}/a")
    states._current.outdate()
    states.queue.add("n1")
    cluster.run(states, seconds=1)
    cluster.deliver()
    cluster.run(states, seconds=5)
    assert cluster.get(NODE_STATES, "n1")["spec"] == {}


# --- nodes that go ----------------------------------------------------------------------------------------------------


def test_the_state_of_a_node_that_is_gone_is_kept_for_a_while(cluster: Any, states: NodeStateReconciler) -> None:
    cluster.node("n1")
    cluster.run(states)
    cluster.take(NODES, "n1")
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1")["metadata"]["annotations"][KEEP_UNTIL] == "2030-01-01T00:47:40Z"
    cluster.run(states, seconds=25 * 60)
    assert cluster.get(NODE_STATES, "n1") is not None
    cluster.run(states, seconds=5 * 60)
    assert cluster.get(NODE_STATES, "n1") is None


def test_a_node_that_comes_back_keeps_its_state(kit: Any, cluster: Any, states: NodeStateReconciler) -> None:
    cluster.policy("a")
    cluster.node("n1")
    cluster.run(states)
    cluster.report("n1", kit.nic())
    cluster.run(states)
    cluster.put(NODES, "n1", metadata={"labels": {"kubernetes.io/os": "linux"}})  # no worker any more
    cluster.run(states)
    assert KEEP_UNTIL in cluster.get(NODE_STATES, "n1")["metadata"]["annotations"]
    cluster.node("n1")
    cluster.run(states, seconds=60 * 60)
    state = cluster.get(NODE_STATES, "n1")
    assert KEEP_UNTIL not in state["metadata"]["annotations"]
    assert ranges(state) == {"ens1f0": [("a", "0-3")]}


@pytest.mark.parametrize(
    ("text", "kept"), [("soon", True), ("2031-01-01T00:00:00Z", True), ("2029-01-01T00:00:00Z", False)]
)
def test_what_the_annotation_says_counts_if_it_is_a_time(
    cluster: Any, states: NodeStateReconciler, text: str, kept: bool
) -> None:
    cluster.put(NODE_STATES, "gone", spec={}, metadata={"annotations": {KEEP_UNTIL: text}})
    cluster.run(states)
    assert (cluster.get(NODE_STATES, "gone") is not None) is kept


def test_without_a_delay_it_goes_at_once(kit: Any) -> None:
    cluster = kit.Cluster(stale_state_minutes=0.0)
    states = cluster.listen(NodeStateReconciler(cluster.services, cluster.views))
    cluster.node("n1")
    cluster.run(states)
    cluster.take(NODES, "n1")
    cluster.run(states)
    assert cluster.get(NODE_STATES, "n1") is None


def test_states_of_nodes_that_went_while_nobody_looked_are_found(cluster: Any) -> None:
    cluster.put(NODE_STATES, "gone", spec={})
    states = cluster.listen(NodeStateReconciler(cluster.services, cluster.views))
    cluster.run(states)
    assert KEEP_UNTIL in cluster.get(NODE_STATES, "gone")["metadata"]["annotations"]


def test_a_node_that_is_ours_no_more_loses_its_label_when_its_state_goes(kit: Any) -> None:
    cluster = kit.Cluster(stale_state_minutes=1.0)
    states = cluster.listen(NodeStateReconciler(cluster.services, cluster.views))
    label = "sriovnetwork.openshift.io/device-plugin"
    cluster.node("n1", **{label: "Enabled"})
    cluster.put(NODES, "foreign", metadata={"labels": {label: "Enabled"}})
    cluster.run(states)
    cluster.put(NODES, "n1", metadata={"labels": {label: "Enabled"}})
    cluster.run(states, seconds=30)
    assert label in cluster.get(NODES, "n1")["metadata"]["labels"]
    cluster.run(states, seconds=60)
    assert cluster.get(NODE_STATES, "n1") is None
    assert label not in cluster.get(NODES, "n1")["metadata"]["labels"]
    assert label in cluster.get(NODES, "foreign")["metadata"]["labels"]
