"""Explanations: worked examples, nodes and NICs that are not meant, and agreement with what is rendered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.model import VfRange
from virtfn.model.crd import InterfaceStatus
from virtfn.policy import render_node_state
from virtfn.policy.explain import explain
from virtfn.policy.explanation import Part, PfExplained, WonBy

ADDRESS = "0000:86:00.1"


def owners(pf: PfExplained) -> str:
    """Who has each VF: `aab.`."""
    return "".join((found.policy if (found := pf.winner(index)) else ".") for index in range(pf.num_vfs))


def settings(pf: PfExplained) -> dict[str, tuple[Any, str, Any]]:
    return {setting.field: (setting.value, setting.policy, setting.instead_of) for setting in pf.settings}


# --- who wins --------------------------------------------------------------------------------------------------------


def test_ranges_that_do_not_meet_are_kept_and_nothing_is_lost(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"]),
        make_policy("b", pfNames=["ens803f1#2-3"], resourceName="r2"),
    ]
    pf = explain(policies, None, [make_nic()]).pf("ens803f1")
    assert owners(pf) == "aabb"
    assert pf.losses == pf.in_no_group == ()
    assert [(applied.policy, [kept.policy for kept in applied.kept]) for applied in pf.applied] == [
        ("a", []),
        ("b", ["a"]),
    ]


def test_a_higher_priority_wins_and_says_so(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"]),
        make_policy("b", pfNames=["ens803f1#0-1"], resourceName="r2", numVfs=2, priority=10),
    ]
    found = explain(policies, None, [make_nic()])
    (loss,) = found.pf(ADDRESS).losses
    assert (loss.group.policy, loss.by, loss.won_by) == ("a", "b", WonBy.PRIORITY)
    assert str(loss) == "VFs 0-1 of policy a gave way to policy b (a lower priority number)"
    assert [(policy.name, policy.part) for policy in found.policies] == [("a", Part.REPLACED), ("b", Part.WINS)]
    assert found.policy("a").nics[0].lost == loss
    assert found.policy("b").nics[0].has == VfRange(0, 1)
    assert settings(found.pf(ADDRESS))["numVfs"] == (2, "b", 4)


def test_of_equal_priority_the_name_decides_and_the_larger_numbers_stay(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"], priority=10, mtu=9000),
        make_policy("b", pfNames=["ens803f1#0-1"], resourceName="r2", numVfs=2, priority=10, mtu=1500),
    ]
    pf = explain(policies, None, [make_nic()]).pf(ADDRESS)
    assert owners(pf) == "bb.."
    assert pf.in_no_group == (VfRange(2, 3),)
    assert pf.losses[0].won_by is WonBy.NAME
    assert settings(pf)["numVfs"] == (4, "a", None)
    assert settings(pf)["mtu"] == (9000, "a", None)


def test_a_setting_that_a_later_policy_is_silent_about_is_told(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#4-7"], numVfs=8, eSwitchMode="switchdev", externallyManaged=True),
        make_policy("b", pfNames=["ens803f1#0-3"], numVfs=8, resourceName="r2"),
    ]
    pf = explain(policies, None, [make_nic()]).pf(ADDRESS)
    assert owners(pf) == "bbbbaaaa"
    assert settings(pf)["eSwitchMode"] == (None, "b", "switchdev")
    assert settings(pf)["externallyManaged"] == (None, "b", True)


@pytest.mark.parametrize(
    ("ranges", "gaps"),
    [
        (["0-7"], ()),
        (["0-1"], (VfRange(2, 7),)),
        (["6-7", "1-2"], (VfRange(0, 0), VfRange(3, 5))),
        (["9-12"], (VfRange(0, 7),)),
    ],
)
def test_vfs_in_no_group(make_policy, make_nic, ranges, gaps):
    policies = [
        make_policy(f"p{number}", pfNames=[f"ens803f1#{found}"], numVfs=8) for number, found in enumerate(ranges)
    ]
    assert explain(policies, None, [make_nic()]).pf(ADDRESS).in_no_group == gaps


# --- who has no part -------------------------------------------------------------------------------------------------


def test_each_policy_has_its_part(make_policy, make_nic):
    node = {"metadata": {"name": "n1", "labels": {"zone": "a"}}}
    policies = [
        make_policy("elsewhere", pfNames=["ens803f1"], nodeSelector={"zone": "b"}),
        make_policy("none", pfNames=["ens803f1"], numVfs=0),
        make_policy("other", nicSelector={"vendor": "15b3"}),
        make_policy("bridged", pfNames=["ens803f1"], bridge={"ovs": {}}),
        make_policy("wins", pfNames=["ens803f1"]),
        {"metadata": {"name": "broken"}, "spec": {"numVfs": "x"}},
    ]
    found = explain(policies, node, [make_nic()])
    assert found.node == "n1"
    assert {policy.name: policy.part for policy in found.policies} == {
        "elsewhere": Part.OTHER_NODE,
        "none": Part.NO_VFS,
        "other": Part.NO_NIC,
        "bridged": Part.REFUSED,
        "wins": Part.WINS,
        "broken": Part.REFUSED,
    }
    elsewhere = found.policy("elsewhere").node_mismatch
    assert (elsewhere.part, elsewhere.wanted, elsewhere.seen) == ("zone", ("b",), ("a",))
    assert "eSwitchMode switchdev" in found.policy("bridged").faults[0]
    assert any("spec.numVfs: must be a whole number" in fault for fault in found.policy("broken").faults)


def test_the_first_selector_that_fails_is_told_for_each_nic(make_policy, make_nic):
    policy = make_policy("p", nicSelector={"vendor": "8086", "pfNames": ["data0", "x#0-1"]})
    nics = [
        make_nic("ens1", pciAddress="0000:01:00.0", vendor="15b3"),
        make_nic("ens2", pciAddress="0000:02:00.0", altNames=["data7"]),
        make_nic("ens3", pciAddress="0000:03:00.0", altNames=["data0"]),
    ]
    found = explain([policy], None, nics).policy("p")
    assert found.part is Part.WINS
    assert [(nic.name, nic.mismatch and (nic.mismatch.part, nic.mismatch.seen), nic.has) for nic in found.nics] == [
        ("ens1", ("vendor", ("15b3",)), None),
        ("ens2", ("pfNames", ("ens2", "data7")), None),
        ("ens3", None, VfRange(0, 3)),
    ]


def test_a_node_without_nics_has_policies_that_select_nothing(make_policy):
    found = explain([make_policy("p", pfNames=["x"])], None, [])
    assert [(policy.name, policy.part, policy.nics) for policy in found.policies] == [("p", Part.NO_NIC, ())]


def test_the_name_of_the_node_is_the_states_where_no_node_is_given(make_nic):
    state = {
        "apiVersion": "sriovnetwork.openshift.io/v1",
        "kind": "SriovNetworkNodeState",
        "metadata": {"name": "n9"},
        "status": {"interfaces": [make_nic().to_wire()]},
    }
    assert explain([], None, state).node == "n9"


# --- as data ---------------------------------------------------------------------------------------------------------


def test_as_data_nothing_empty_is_told(make_policy, make_nic):
    policies = [
        make_policy("a", pfNames=["ens803f1#0-1"]),
        make_policy("b", pfNames=["ens803f1#0-1"], resourceName="r2", numVfs=2, priority=10, eSwitchMode="switchdev"),
    ]
    data = explain(policies, {"metadata": {"name": "n1"}}, [make_nic()]).to_wire()
    assert data["node"] == "n1"
    assert data["policies"][0] == {
        "name": "a",
        "part": "replaced",
        "priority": 99,
        "nics": [
            {
                "pciAddress": ADDRESS,
                "name": "ens803f1",
                "lost": {
                    "group": {"policy": "a", "resource": "r1", "vfRange": "0-1"},
                    "by": "b",
                    "wonBy": "priority",
                },
            }
        ],
    }
    pf = data["pfs"][0]
    assert pf["groups"] == [{"policy": "b", "resource": "r2", "vfRange": "0-1"}]
    assert {"field": "eSwitchMode", "value": "switchdev", "policy": "b"} in pf["settings"]
    assert data["spec"]["interfaces"][0]["eSwitchMode"] == "switchdev"


# --- what always holds -----------------------------------------------------------------------------------------------

NICS = tuple(
    InterfaceStatus(
        pciAddress=f"0000:0{card}:00.{port}", name=f"ens{card}f{port}", vendor="8086" if card == 1 else "15b3"
    )
    for card in (1, 2)
    for port in (0, 1)
)


@st.composite
def pf_names(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from([nic.name for nic in NICS]))
    if draw(st.booleans()):
        first = draw(st.integers(0, 7))
        return f"{name}#{first}-{draw(st.integers(first, 9))}"
    return name


specs = st.fixed_dictionaries(
    {
        "resourceName": st.sampled_from(["r1", "r2"]),
        "nodeSelector": st.sampled_from([{}, {}, {"zone": "b"}]),
        "numVfs": st.integers(0, 9),
        "nicSelector": st.one_of(
            st.fixed_dictionaries({"vendor": st.sampled_from(["8086", "15b3"])}),
            st.fixed_dictionaries({"pfNames": st.lists(pf_names(), min_size=1, max_size=3)}),
        ),
        "priority": st.sampled_from([0, 10, 99]),
    },
    optional={
        "mtu": st.sampled_from([1500, 9000]),
        "eSwitchMode": st.sampled_from(["legacy", "switchdev"]),
        "linkType": st.sampled_from(["eth", "ib"]),
        "externallyManaged": st.booleans(),
        "bridge": st.just({"ovs": {}}),
    },
)
policy_sets = st.lists(specs, max_size=6).map(
    lambda found: [{"metadata": {"name": f"p{index}"}, "spec": spec} for index, spec in enumerate(found)]
)
NODE = {"metadata": {"name": "n", "labels": {"zone": "a"}}}


def replayed(pf: PfExplained) -> dict[int, str]:
    """Who has each VF, from what is told of the policies one after the other, and nothing else."""
    groups: dict[str, VfRange] = {}
    for applied in pf.applied:
        for loss in applied.losses:
            assert groups.pop(loss.group.policy) == loss.group.vf_range
        assert {kept.policy: kept.vf_range for kept in applied.kept} == groups
        groups[applied.policy] = applied.vf_range
    return {index: policy for policy, found in groups.items() for index in range(found.first, found.last + 1)}


@given(policy_sets)
def test_the_winner_of_each_vf_is_the_rendered_group(policies):
    explained = explain(policies, NODE, NICS)
    rendered = render_node_state(policies, NODE, NICS)
    assert explained.spec == rendered.spec
    assert explained.problems == rendered.problems
    assert [pf.pci_address for pf in explained.pfs] == [entry.pci_address for entry in rendered.spec.interfaces]
    for pf, entry in zip(explained.pfs, rendered.spec.interfaces, strict=True):
        told = replayed(pf)
        for index in range(entry.num_vfs):
            group = next((g for g in entry.vf_groups if index in VfRange.parse(g.vf_range)), None)
            winner = pf.winner(index)
            assert (winner.policy if winner else None) == (group.policy_name if group else None) == told.get(index)
            assert (winner is None) == any(index in gap for gap in pf.in_no_group)


@given(policy_sets)
def test_settings_are_the_rendered_ones_and_come_from_a_policy_that_set_them(policies):
    explained = explain(policies, NODE, NICS)
    wanted = {policy["metadata"]["name"]: policy["spec"] for policy in policies}
    for pf, entry in zip(explained.pfs, explained.spec.interfaces, strict=True):
        shown = entry.to_wire()
        for setting in pf.settings:
            assert setting.value == shown.get(setting.field)
            assert setting.value == (wanted[setting.policy].get(setting.field) or None)


@given(policy_sets)
def test_every_policy_is_told_once_and_its_part_is_what_it_has(policies):
    explained = explain(policies, NODE, NICS)
    assert sorted(policy.name for policy in explained.policies) == sorted(p["metadata"]["name"] for p in policies)
    having = {group.policy for pf in explained.pfs for group in pf.groups}
    for policy in explained.policies:
        assert (policy.part is Part.WINS) == (policy.name in having)
        if policy.part not in (Part.OTHER_NODE, Part.REFUSED):
            assert len(policy.nics) == len(NICS)
