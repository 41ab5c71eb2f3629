"""Which nodes are ours, and which pools they are in."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.controller.membership import Pools, has_daemon, selects
from virtfn.model.crd import LabelSelector

WORKER = {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""}


@pytest.mark.parametrize(
    ("labels", "selector", "ours"),
    [
        (WORKER, {}, True),
        ({**WORKER, "kubernetes.io/os": "windows"}, {}, False),
        ({"kubernetes.io/os": "linux"}, {}, False),
        ({**WORKER, "node-role.kubernetes.io/worker": "yes"}, {}, False),
        ({"feature.node.kubernetes.io/network-sriov.capable": "true"}, {}, True),
        ({"feature.node.kubernetes.io/network-sriov.capable": "false"}, {}, False),
        (WORKER, {"a": "1"}, False),
        ({"a": "1"}, {"a": "1"}, True),
        ({"a": "1"}, {"a": "1", "b": ""}, False),
    ],
)
def test_a_node_is_ours_by_its_labels(labels: dict[str, str], selector: dict[str, str], ours: bool) -> None:
    assert has_daemon(labels, selector=selector) is ours


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        ({"key": "a", "operator": "In", "values": ["1", "2"]}, True),
        ({"key": "a", "operator": "In", "values": ["2"]}, False),
        ({"key": "b", "operator": "In", "values": ["1"]}, False),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "a", "operator": "NotIn", "values": ["2"]}, True),
        ({"key": "b", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "a", "operator": "DoesNotExist"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
    ],
)
def test_requirements_hold_as_kubernetes_has_them(requirement: dict[str, Any], holds: bool) -> None:
    selector = LabelSelector.model_validate({"matchExpressions": [requirement]})
    assert selects(selector, {"a": "1"}) is holds
    both = LabelSelector.model_validate({"matchLabels": {"a": "1"}, "matchExpressions": [requirement]})
    assert selects(both, {"a": "1"}) is holds
    assert not selects(LabelSelector.model_validate({"matchLabels": {"a": "2"}}), {"a": "1"})


def test_pools_select_all_nodes_without_a_selector_and_with_an_empty_one() -> None:
    pools = Pools.of(
        [
            {"metadata": {"name": "z"}, "spec": {}},
            {"metadata": {"name": "a"}, "spec": {"nodeSelector": {}}},
            {"metadata": {"name": "m"}, "spec": {"nodeSelector": {"matchLabels": {"x": "1"}}}},
        ]
    )
    assert [pool.name for pool in pools.of_node({})] == ["a", "z"]
    assert [pool.name for pool in pools.of_node({"x": "1"})] == ["a", "m", "z"]


def test_pools_of_machines_and_pools_that_are_wrong_have_no_nodes() -> None:
    pools = Pools.of(
        [
            {"metadata": {"name": "offload"}, "spec": {"ovsHardwareOffloadConfig": {"name": "worker"}}},
            {"metadata": {"name": "wrong"}, "spec": {"maxUnavailable": "101%"}},
        ]
    )
    assert pools.of_node({}) == ()
    assert pools.offload == ("offload",)
    assert pools.faults is not None
    assert [fault.field for fault in pools.faults["wrong"]] == ["spec.maxUnavailable"]
