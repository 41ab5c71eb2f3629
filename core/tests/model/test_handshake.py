"""The words of the handshake are an interface: other operators' tools and drainers read and write them."""

from __future__ import annotations

from virtfn.model import handshake
from virtfn.model.crd import SriovNetworkNodePolicy
from virtfn.model.handshake import DrainState, SyncStatus
from virtfn.policy import render_node_state


def test_words_that_other_tools_know() -> None:
    assert handshake.NODE_STATE_ANNOTATION == "sriovnetwork.openshift.io/state"
    assert handshake.DESIRED_STATE_ANNOTATION == "sriovnetwork.openshift.io/desired-state"
    assert handshake.CURRENT_STATE_ANNOTATION == "sriovnetwork.openshift.io/current-state"
    assert handshake.EXTERNAL_DRAINER_ANNOTATION == "sriovnetwork.openshift.io/use-external-drainer"
    assert handshake.KEEP_UNTIL_ANNOTATION == "sriovnetwork.openshift.io/keep-state-until"
    assert handshake.DEVICE_PLUGIN_LABEL == "sriovnetwork.openshift.io/device-plugin"
    assert [*DrainState] == ["Idle", "Drain_Required", "Reboot_Required", "Draining", "DrainComplete"]
    assert [*SyncStatus] == ["InProgress", "Succeeded", "Failed"]


def test_what_is_done_about_drift_is_the_last_policys_and_absent_where_it_says_nothing() -> None:
    def policy(name: str, priority: int, vfs: str, **spec: object) -> dict[str, object]:
        selector = {"pfNames": [f"ens1f0#{vfs}"]}
        wanted = {"resourceName": name, "nodeSelector": {}, "nicSelector": selector, "numVfs": 4, "priority": priority}
        return {
            "apiVersion": "sriovnetwork.openshift.io/v1",
            "kind": SriovNetworkNodePolicy.model_fields["kind"].default,
            "metadata": {"name": name},
            "spec": {**wanted, **spec},
        }

    state = {"kind": "SriovNetworkNodeState", "metadata": {"name": "n1"}}
    state |= {"status": {"interfaces": [{"pciAddress": "0000:3b:00.0", "name": "ens1f0", "totalvfs": 8}]}}
    low, high = policy("low", 50, "0-1", driftMode="Report"), policy("high", 10, "2-3")
    (interface,) = render_node_state([low], None, state).spec.to_wire()["interfaces"]
    assert interface["driftMode"] == "Report"
    (interface,) = render_node_state([low, high], None, state).spec.to_wire()["interfaces"]
    assert "driftMode" not in interface
    (interface,) = render_node_state(
        [low, policy("high", 10, "2-3", driftMode="RepairWithDrain")], None, state
    ).spec.to_wire()["interfaces"]
    assert interface["driftMode"] == "RepairWithDrain"
