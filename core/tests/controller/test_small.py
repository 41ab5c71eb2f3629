"""What is kept of objects: enough for all reconcilers, and one object for what is alike."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from virtfn.controller.small import Shared, compact, small_node, small_node_state, small_object


def state(name: str, *, needed: str = "Idle") -> dict[str, Any]:
    return {
        "apiVersion": "sriovnetwork.openshift.io/v1",
        "kind": "SriovNetworkNodeState",
        "metadata": {
            "name": name, "namespace": "virtfn", "uid": f"uid-{name}", "resourceVersion": "7", "generation": 3,
            "annotations": {"sriovnetwork.openshift.io/current-state": "Idle"}, "managedFields": [{"big": "x" * 1000}],
        },
        "spec": {"interfaces": [{"pciAddress": "0000:3b:00.0", "numVfs": 2, "name": "ens1"}]},
        "status": {
            "syncStatus": "Succeeded", "neededState": needed, "observedGeneration": 3, "bridges": {"ovs": []},
            "plan": {"digest": "d", "disruption": "VFS", "affects": ["0000:3b:00.2"], "steps": [{"op": "x"}] * 64},
            "devicePlugin": {"revision": "r", "resources": ["a"]},
            "interfaces": [
                {
                    "pciAddress": "0000:3b:00.0", "name": "ens1", "vendor": "15b3", "mac": f"mac of {name}",
                    "altNames": ["data0"], "linkSpeed": "25000 Mb/s",
                    "Vfs": [{"pciAddress": "0000:3b:00.2", "vfID": 0, "mac": f"vf of {name}", "driver": "mlx5_core"}],
                }
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }  # fmt: skip


def test_nodes_alike_have_the_same_inventory_and_spec() -> None:
    shared = Shared()
    one, other = (small_node_state(state(name), shared=shared) for name in ("n1", "n2"))
    assert one["status"]["interfaces"] is other["status"]["interfaces"]
    assert one["spec"] is other["spec"]
    assert one["metadata"] != other["metadata"]
    different = state("n3")
    different["status"]["interfaces"][0]["vendor"] = "8086"
    assert small_node_state(different, shared=shared)["status"]["interfaces"] is not one["status"]["interfaces"]


def test_of_a_node_state_stays_what_reconcilers_look_at() -> None:
    small = small_node_state(state("n1"), shared=Shared())
    whole = state("n1")
    assert small["metadata"] == {key: value for key, value in whole["metadata"].items() if key != "managedFields"}
    assert small["spec"] == whole["spec"]
    assert small["status"]["interfaces"] == [
        {"pciAddress": "0000:3b:00.0", "name": "ens1", "vendor": "15b3", "altNames": ["data0"]}
    ]
    assert small["status"]["plan"] == {"digest": "d", "disruption": "VFS", "affects": ["0000:3b:00.2"]}
    for field in ("syncStatus", "neededState", "observedGeneration", "devicePlugin", "conditions"):
        assert small["status"][field] == whole["status"][field]


def test_vfs_stay_while_a_drain_is_needed() -> None:
    small = small_node_state(state("n1", needed="Drain_Required"), shared=Shared())
    assert small["status"]["interfaces"][0]["Vfs"] == [{"pciAddress": "0000:3b:00.2", "vfID": 0}]


@pytest.mark.parametrize(
    "broken", [{"status": None}, {"status": {"interfaces": None}}, {"status": {"interfaces": [3]}}, {}]
)
def test_an_odd_object_is_made_small_too(broken: dict[str, Any]) -> None:
    thing = {"metadata": {"name": "n1", "namespace": "virtfn", "uid": "u", "resourceVersion": "1"}, **broken}
    assert small_node_state(deepcopy(thing), shared=Shared())["metadata"] == thing["metadata"]


def test_of_a_node_stays_what_drains_look_at() -> None:
    node = {
        "metadata": {
            "name": "n1", "uid": "u", "resourceVersion": "1", "labels": {"a": "b"},
            "annotations": {"virtfn.io/cordoned": "true", "sriovnetwork.openshift.io/state": "Idle", "o": "x" * 99},
        },
        "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
        "status": {
            "images": [{"names": ["x"]}] * 50,
            "conditions": [
                {"type": "DiskPressure", "status": "False"},
                {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "lastHeartbeatTime": "t"},
            ],
        },
    }  # fmt: skip
    assert small_node(node) == {
        "metadata": {
            "name": "n1", "uid": "u", "resourceVersion": "1", "labels": {"a": "b"},
            "annotations": {"virtfn.io/cordoned": "true", "sriovnetwork.openshift.io/state": "Idle"},
        },
        "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}]},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]},
    }  # fmt: skip


def test_other_objects_lose_only_who_wrote_them() -> None:
    thing = {"metadata": {"name": "a", "finalizers": ["f"], "managedFields": []}, "spec": {"x": {"y": 1}}}
    assert small_object(thing) == {"metadata": {"name": "a", "finalizers": ["f"]}, "spec": {"x": {"y": 1}}}


def test_what_was_seen_too_often_is_forgotten_and_nothing_is_lost() -> None:
    shared = Shared(most=2)
    first = shared.one({"a": 1})
    assert shared.one({"a": 1}) is first
    for number in range(5):
        assert shared.one({"n": number}) == {"n": number}
    again = shared.one({"a": 1})
    assert again == first
    assert again is not first


def test_true_is_not_one() -> None:
    shared = Shared()
    assert shared.one([True]) is not shared.one([1])


def test_long_texts_are_not_kept_for_others() -> None:
    assert compact({"a": ["x" * 1000, None, 1.5, True]}) == {"a": ["x" * 1000, None, 1.5, True]}
