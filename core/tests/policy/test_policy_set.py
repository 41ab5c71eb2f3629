"""Policies that were made ready give what policies as they are written give, on every node."""

import gzip
import json
from pathlib import Path

import pytest

from virtfn.model import VfRange
from virtfn.policy import PolicySet, render_node_state

CASES = Path(__file__).parent / "data" / "policy-merge.jsonl.gz"


def recorded():
    with gzip.open(CASES, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines][::20]


@pytest.mark.parametrize("case", recorded(), ids=lambda case: case["name"])
def test_a_set_renders_any_node_like_its_policies(case):
    prepared = PolicySet.of(case["policies"])
    for other in recorded():
        expected = render_node_state(case["policies"], other["node"], other["state"])
        assert render_node_state(prepared, other["node"], other["state"]) == expected


def test_the_order_of_applying_does_not_hang_on_that_of_giving(make_policy):
    policies = [make_policy("b"), make_policy("c", priority=10), make_policy("a"), make_policy("default")]
    for given in (policies, policies[::-1]):
        ready = PolicySet.of(given).policies
        assert [(each.policy.name, each.label) for each in ready] == [
            (name, f"SriovNetworkNodePolicy {name}") for name in "abc"
        ]


def test_malformed_policies_are_told_and_left_out(make_policy):
    prepared = PolicySet.of([make_policy("good"), {"metadata": {"name": "bad"}, "spec": {"numVfs": "4"}}])
    assert [each.policy.name for each in prepared.policies] == ["good"]
    assert {problem.object for problem in prepared.problems} == {"SriovNetworkNodePolicy bad"}
    assert "spec.numVfs" in {problem.field for problem in prepared.problems}


def test_a_group_is_made_once_for_each_range(make_policy):
    (ready,) = PolicySet.of([make_policy("a", mtu=9000, isRdma=True)]).policies
    group = ready.group(VfRange(0, 3))
    assert group is ready.group(VfRange(0, 3))
    assert ready.group(VfRange(2, 3)).vf_range == "2-3"
    assert group.to_wire() == {
        "resourceName": "r1",
        "deviceType": "netdevice",
        "vfRange": "0-3",
        "policyName": "a",
        "mtu": 9000,
        "isRdma": True,
    }


def test_a_bridge_that_cannot_be_is_known_beforehand(make_policy):
    (ready,) = PolicySet.of([make_policy("a", pfNames=["ens1f0"], bridge={"ovs": {}})]).policies
    assert ready.bridge_fault is not None
    assert ready.bridge_fault.field == "spec.eSwitchMode"
