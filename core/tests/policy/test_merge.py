"""The merge against the worked examples of the API's documentation, recorded cases, and what must always hold."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.model import Severity, VfRange
from virtfn.model.crd import InterfaceStatus, SriovNetworkNodePolicy
from virtfn.policy import render_node_state

CASES = Path(__file__).parent / "data" / "policy-merge.jsonl.gz"
# Fields of VF groups that the recorded cases do not know.
OURS = ("needVhostNet", "excludeTopology")


def recorded() -> list[dict[str, Any]]:
    with gzip.open(CASES, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def groups(spec: Any, place: int = 0) -> list[str]:
    return [f"{g.resource_name} {g.vf_range} {g.policy_name}" for g in spec.interfaces[place].vf_groups]


def test_all_recorded_cases_are_there():
    assert len(recorded()) == 285


@pytest.mark.parametrize("case", recorded(), ids=lambda case: case["name"])
def test_recorded_case(case):
    spec = render_node_state(case["policies"], case["node"], case["state"]).spec.to_wire()
    for interface in spec.get("interfaces", ()):
        for group in interface["vfGroups"]:
            for name in OURS:
                group.pop(name, None)
    assert spec == case["expected"]["spec"]


@pytest.mark.parametrize("case", recorded()[::9], ids=lambda case: case["name"])
def test_recorded_case_as_models_and_shuffled(case):
    policies = [
        SriovNetworkNodePolicy.model_validate(policy)
        for policy in case["policies"]
        if policy["metadata"]["name"] != "default"
    ]
    want = render_node_state(policies, case["node"], case["state"])
    random.Random(7).shuffle(policies)
    assert render_node_state(policies, case["node"], case["state"]) == want


# --- worked examples -------------------------------------------------------------------------------------------------


def test_one_policy_takes_all_its_vfs(make_policy, make_nic):
    spec, problems = render_node_state([make_policy("a", pfNames=["ens803f1"])], None, [make_nic()])
    assert spec.to_wire() == {
        "interfaces": [
            {
                "pciAddress": "0000:86:00.1",
                "name": "ens803f1",
                "numVfs": 4,
                "vfGroups": [{"resourceName": "r1", "deviceType": "netdevice", "vfRange": "0-3", "policyName": "a"}],
            }
        ]
    }
    assert problems == ()


def test_ranges_that_do_not_meet_are_both_kept_latest_first(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"]),
        make_policy("b", pfNames=["ens803f1#2-3"], resourceName="r2"),
    ]
    spec, _ = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r2 2-3 b", "r1 0-1 a"]
    assert spec.interfaces[0].num_vfs == 4


def test_a_higher_priority_with_the_same_range_wins_alone(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"]),
        make_policy("b", pfNames=["ens803f1#0-1"], resourceName="r2", numVfs=2, priority=10),
    ]
    spec, _ = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r2 0-1 b"]
    assert spec.interfaces[0].num_vfs == 2


def test_of_equal_priority_the_last_wins_with_the_larger_numbers(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"], priority=10, mtu=9000),
        make_policy("b", pfNames=["ens803f1#0-1"], resourceName="r2", numVfs=2, priority=10, mtu=1500),
    ]
    spec, _ = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r2 0-1 b"]
    assert (spec.interfaces[0].num_vfs, spec.interfaces[0].mtu) == (4, 9000)
    assert spec.interfaces[0].vf_groups[0].mtu == 1500


def test_ranges_that_do_not_meet_merge_over_priorities(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-9"], numVfs=10),
        make_policy("b", pfNames=["ens803f1#10-19"], resourceName="r2", numVfs=20, priority=10),
    ]
    spec, problems = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r2 10-19 b", "r1 0-9 a"]
    assert spec.interfaces[0].num_vfs == 20
    assert problems == ()


def test_groups_of_one_resource_are_all_kept(make_policy, make_nic):
    policies = [make_policy("a", pfNames=["ens803f1#0-1"]), make_policy("b", pfNames=["ens803f1#2-3"])]
    spec, _ = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r1 2-3 b", "r1 0-1 a"]


def test_a_named_port_is_taken_from_a_policy_for_all(make_policy, make_nic):
    policies = [
        make_policy("a", nicSelector={"vendor": "8086"}),
        make_policy("b", pfNames=["ens803f0"], resourceName="r2", numVfs=2, priority=0),
    ]
    nics = [make_nic("ens803f0", pciAddress="0000:86:00.0"), make_nic()]
    spec, _ = render_node_state(policies, None, nics)
    assert [(i.name, i.num_vfs) for i in spec.interfaces] == [("ens803f0", 2), ("ens803f1", 4)]
    assert groups(spec, 0) == ["r2 0-1 b"]
    assert groups(spec, 1) == ["r1 0-3 a"]


def test_the_last_policy_decides_on_the_eswitch_even_by_silence(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1"], numVfs=8, eSwitchMode="switchdev"),
        make_policy("b", pfNames=["ens803f1#0-3"], numVfs=8, resourceName="r2"),
    ]
    spec, _ = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r2 0-3 b"]
    assert spec.interfaces[0].num_vfs == 8
    assert "eSwitchMode" not in spec.to_wire()["interfaces"][0]


def test_a_range_on_an_altname_counts(make_policy, make_nic):
    spec, _ = render_node_state([make_policy("a", pfNames=["data0#0-1"])], None, [make_nic(altNames=["data0"])])
    assert groups(spec) == ["r1 0-1 a"]


def test_one_policy_for_two_ports_of_a_switchdev_card(make_policy, make_nic):
    policy = make_policy("policy", pfNames=["ens41f0np0", "ens41f1np1"], numVfs=3, eSwitchMode="switchdev", priority=0)
    nics = [make_nic("ens41f0np0", pciAddress="0000:5f:00.0"), make_nic("ens41f1np1", pciAddress="0000:5f:00.1")]
    spec, _ = render_node_state([policy], None, nics)
    assert [(i.name, i.num_vfs, i.eswitch_mode) for i in spec.interfaces] == [
        ("ens41f0np0", 3, "switchdev"),
        ("ens41f1np1", 3, "switchdev"),
    ]
    assert groups(spec, 1) == ["r1 0-2 policy"]
    assert spec.interfaces[0].vf_groups[0].device_type == "netdevice"


# --- details ---------------------------------------------------------------------------------------------------------


def test_all_settings_of_a_policy_reach_the_node_state(make_policy, make_nic):
    policy = make_policy(
        "a",
        pfNames=["ens803f1"],
        mtu=9000,
        linkType="ib",
        eSwitchMode="legacy",
        externallyManaged=True,
        isRdma=True,
        vdpaType="virtio",
        needVhostNet=True,
        excludeTopology=True,
    )
    interface = render_node_state([policy], None, [make_nic()]).spec.to_wire()["interfaces"][0]
    group = interface.pop("vfGroups")[0]
    assert interface == {
        "pciAddress": "0000:86:00.1",
        "name": "ens803f1",
        "numVfs": 4,
        "mtu": 9000,
        "linkType": "ib",
        "eSwitchMode": "legacy",
        "externallyManaged": True,
    }
    assert group == {
        "resourceName": "r1",
        "deviceType": "netdevice",
        "vfRange": "0-3",
        "policyName": "a",
        "mtu": 9000,
        "isRdma": True,
        "vdpaType": "virtio",
        "needVhostNet": True,
        "excludeTopology": True,
    }


def test_a_policy_without_priority_never_beats_one_with(make_policy, make_nic):
    policies = [
        make_policy("z", pfNames=["ens803f1"], resourceName="silent"),
        make_policy("a", pfNames=["ens803f1"], priority=98),
    ]
    assert groups(render_node_state(policies, None, [make_nic()]).spec) == ["r1 0-3 a"]


def test_equal_priority_is_told_by_the_policy_before_even_on_another_port(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1"], numVfs=8, priority=20),
        make_policy("b", pfNames=["ens803f0"], priority=10),
        make_policy("c", pfNames=["ens803f1"], numVfs=2, priority=10),
    ]
    nics = [make_nic("ens803f0", pciAddress="0000:86:00.0"), make_nic()]
    spec, _ = render_node_state(policies, None, nics)
    assert {i.name: i.num_vfs for i in spec.interfaces} == {"ens803f1": 8, "ens803f0": 4}


def test_a_policy_for_other_nodes_does_not_count_as_the_one_before(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1"], numVfs=8, priority=20),
        make_policy("b", pfNames=["ens803f1"], priority=10, nodeSelector={"zone": "b"}),
        make_policy("c", pfNames=["ens803f1"], numVfs=2, priority=10),
    ]
    node = {"metadata": {"labels": {"zone": "a"}}}
    spec, _ = render_node_state(policies, node, [make_nic()])
    assert spec.interfaces[0].num_vfs == 2


def test_node_selectors_are_looked_at_only_with_a_node(make_policy, make_nic):
    policy = make_policy("a", pfNames=["ens803f1"], nodeSelector={"zone": "b"})
    assert len(render_node_state([policy], None, [make_nic()]).spec.interfaces) == 1
    for node in ({}, {"metadata": {"name": "n"}}, {"metadata": {"labels": {"zone": "a"}}}):
        assert render_node_state([policy], node, [make_nic()]) == render_node_state([], None, [])
    spec, _ = render_node_state([policy], {"metadata": {"labels": {"zone": "b"}}}, [make_nic()])
    assert len(spec.interfaces) == 1


def test_rdma_mode_and_bridges_are_the_callers_choice(make_policy, make_nic):
    policy = make_policy("a", pfNames=["ens803f1"], eSwitchMode="switchdev", bridge={"ovs": {}})
    spec, _ = render_node_state([policy], None, [make_nic()], rdma_mode="exclusive", manage_bridges=False)
    assert spec.to_wire()["system"] == {"rdmaMode": "exclusive"}
    assert spec.bridges is None
    assert render_node_state([policy], None, [make_nic()]).spec.bridges is not None


def test_the_policy_named_default_is_passed_over_even_if_malformed(make_policy, make_nic):
    policies = [{"metadata": {"name": "default"}, "spec": {}}, make_policy("default", pfNames=["ens803f1"])]
    spec, problems = render_node_state(policies, None, [make_nic()])
    assert spec.interfaces == ()
    assert problems == ()


# --- problems --------------------------------------------------------------------------------------------------------


def test_a_malformed_policy_is_reported_and_the_others_go_on(make_policy, make_nic):
    good = make_policy("good", pfNames=["ens803f1"])
    bad = make_policy("bad", pfNames=["ens803f1"], priority=0).to_wire()
    bad["spec"]["nicSelector"]["pfNames"].append("ens803f0#2")
    bad["spec"]["numVfs"] = "abc"
    spec, problems = render_node_state([bad, good], None, [make_nic()])
    assert groups(spec) == ["r1 0-3 good"]
    assert [(p.object, p.field, p.reason, p.severity) for p in problems] == [
        ("SriovNetworkNodePolicy bad", "spec.nicSelector.pfNames[1]", "BadVfRange", Severity.ERROR),
        ("SriovNetworkNodePolicy bad", "spec.numVfs", "InvalidDocument", Severity.ERROR),
    ]


def test_a_policy_whose_bridge_cannot_be_is_left_out(make_policy, make_nic):
    policy = make_policy("a", pfNames=["ens803f1"], bridge={"ovs": {}})
    spec, problems = render_node_state([policy], None, [make_nic()])
    assert spec.interfaces == ()
    assert [(p.field, p.severity) for p in problems] == [("spec.eSwitchMode", Severity.ERROR)]


def test_a_policy_that_selects_nothing_is_told_why_for_each_nic(make_policy, make_nic):
    policy = make_policy("a", nicSelector={"vendor": "15b3", "pfNames": ["ens1"]})
    nics = [make_nic(), make_nic("ens1f0", vendor="15b3", pciAddress="0000:01:00.0")]
    _, (problem,) = render_node_state([policy], None, nics)
    assert problem.severity is Severity.WARNING
    assert problem.field == "spec.nicSelector"
    assert "ens803f1: vendor is 8086, not 15b3; ens1f0: not in pfNames" in problem.message


def test_of_many_nics_some_are_told(make_policy, make_nic):
    nics = [make_nic(f"ens{index}", pciAddress=f"0000:{index:02x}:00.0") for index in range(9)]
    _, (problem,) = render_node_state([make_policy("a", pfNames=["x"])], None, nics)
    assert problem.message.endswith("; and 5 more")


@pytest.mark.parametrize(
    ("selector", "nics", "text"),
    [({}, True, "is empty and selects no NIC"), ({"vendor": "8086"}, False, "none is known on this node")],
)
def test_nothing_to_select_by_or_from(make_policy, make_nic, selector, nics, text):
    policy = make_policy("a", nicSelector=selector)
    _, (problem,) = render_node_state([policy], None, [make_nic()] if nics else [])
    assert text in problem.message


def test_zero_vfs_leave_the_other_policy_alone_with_a_warning(make_policy, make_nic):
    policies = [make_policy("a", pfNames=["ens803f1"]), make_policy("b", pfNames=["ens803f1"], numVfs=0, priority=0)]
    spec, (problem,) = render_node_state(policies, None, [make_nic()])
    assert groups(spec) == ["r1 0-3 a"]
    assert (problem.object, problem.field) == ("SriovNetworkNodePolicy b", "spec.numVfs")


def test_a_range_beyond_num_vfs_names_the_entry(make_policy, make_nic):
    policy = make_policy("a", pfNames=["ens803f0", "ens803f1#2-6"])
    spec, (problem,) = render_node_state([policy], None, [make_nic()])
    assert groups(spec) == ["r1 2-6 a"]
    assert (problem.field, problem.reason) == ("spec.nicSelector.pfNames[1]", "BadVfRange")
    assert "4 VFs of 0000:86:00.1 (ens803f1) (indices 0 to 3)" in problem.message


def test_two_policies_of_one_name_are_told(make_policy, make_nic):
    policies = [make_policy("a", pfNames=["ens803f1"]), make_policy("a", pfNames=["ens803f1"], numVfs=2)]
    there, back = (render_node_state(order, None, [make_nic()]) for order in (policies, policies[::-1]))
    assert there == back
    assert [p.field for p in there.problems] == ["metadata.name"]


# --- what always holds -----------------------------------------------------------------------------------------------

NICS = tuple(
    InterfaceStatus(
        pciAddress=f"0000:0{card}:00.{port}",
        name=f"ens{card}f{port}",
        vendor="8086" if card == 1 else "15b3",
        deviceID="158b",
        altNames=(f"data{card}{port}",),
    )
    for card in (1, 2)
    for port in (0, 1)
)


@st.composite
def pf_names(draw: st.DrawFn) -> str:
    nic = draw(st.sampled_from(NICS))
    name = draw(st.sampled_from([nic.name, *nic.alt_names]))
    if draw(st.booleans()):
        first = draw(st.integers(0, 7))
        return f"{name}#{first}-{draw(st.integers(first, 8))}"
    return name


selectors = st.one_of(
    st.fixed_dictionaries({"vendor": st.sampled_from(["8086", "15b3"])}),
    st.fixed_dictionaries({"pfNames": st.lists(pf_names(), min_size=1, max_size=3)}),
)
specs = st.fixed_dictionaries(
    {
        "resourceName": st.sampled_from(["r1", "r2", "r3"]),
        "nodeSelector": st.just({}),
        "numVfs": st.integers(0, 9),
        "nicSelector": selectors,
        "priority": st.sampled_from([0, 10, 99]),
    },
    optional={
        "mtu": st.sampled_from([1500, 9000]),
        "eSwitchMode": st.sampled_from(["legacy", "switchdev"]),
        "bridge": st.just({"ovs": {}}),
    },
)
policy_sets = st.lists(specs, max_size=6).map(
    lambda found: [{"metadata": {"name": f"p{index}"}, "spec": spec} for index, spec in enumerate(found)]
)


@given(policy_sets, st.randoms(use_true_random=False))
def test_the_order_of_policies_does_not_matter(policies, rng):
    shuffled = list(policies)
    rng.shuffle(shuffled)
    assert render_node_state(shuffled, None, NICS) == render_node_state(policies, None, NICS)


@given(policy_sets)
def test_no_vf_is_in_two_groups(policies):
    for interface in render_node_state(policies, None, NICS).spec.interfaces:
        ranges = [VfRange.parse(group.vf_range) for group in interface.vf_groups]
        indices = [index for found in ranges for index in range(found.first, found.last + 1)]
        assert len(indices) == len(set(indices))


@given(policy_sets)
def test_groups_lie_inside_num_vfs_or_are_reported(policies):
    spec, problems = render_node_state(policies, None, NICS)
    reported = {(p.object.split()[-1], p.message.split()[2]) for p in problems if p.reason == "BadVfRange"}
    beyond = {
        (group.policy_name, group.vf_range)
        for interface in spec.interfaces
        for group in interface.vf_groups
        if VfRange.parse(group.vf_range).last >= interface.num_vfs
    }
    assert reported == beyond


@given(policy_sets)
def test_what_is_rendered_can_be_read_again(policies):
    spec = render_node_state(policies, None, NICS).spec
    assert type(spec).model_validate(json.loads(json.dumps(spec.to_wire()))) == spec
