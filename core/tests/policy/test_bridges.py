"""Software bridges: which there are after several policies, and which are refused."""

import pytest

from virtfn.policy import render_node_state
from virtfn.policy.bridges import bridge_fault

OVS = {
    "bridge": {"datapathType": "netdev", "externalIDs": {"a": "b"}, "failMode": "secure"},
    "uplink": {"interface": {"type": "dpdk", "options": {"o": "1"}, "mtuRequest": 1400}},
}


def render(policies, nics):
    return render_node_state(policies, None, nics).spec.to_wire().get("bridges")


def test_every_selected_pf_gets_its_bridge_sorted_by_name(make_policy, make_nic):
    policy = make_policy("a", nicSelector={"vendor": "8086"}, eSwitchMode="switchdev", bridge={"ovs": OVS})
    nics = [make_nic("ens2", pciAddress="0000:87:00.0"), make_nic("ens1", pciAddress="0000:86:00.0")]
    assert render([policy], nics) == {
        "ovs": [
            {
                "name": f"br-0000_{bus}_00.0",
                "bridge": OVS["bridge"],
                "uplinks": [{"pciAddress": f"0000:{bus}:00.0", "name": name, "interface": OVS["uplink"]["interface"]}],
            }
            for bus, name in (("86", "ens1"), ("87", "ens2"))
        ]
    }


def test_the_policys_mtu_goes_before_the_uplinks(make_policy, make_nic):
    policy = make_policy("a", pfNames=["ens803f1"], eSwitchMode="switchdev", mtu=9000, bridge={"ovs": OVS})
    found = render([policy], [make_nic()])
    assert found["ovs"][0]["uplinks"][0]["interface"]["mtuRequest"] == 9000


def test_an_empty_bridge_is_a_bridge_even_without_vfs(make_policy, make_nic):
    policy = make_policy("a", pfNames=["ens803f1"], eSwitchMode="switchdev", numVfs=0, bridge={"ovs": {}})
    spec = render_node_state([policy], None, [make_nic()]).spec
    assert spec.interfaces == ()
    assert spec.to_wire()["bridges"]["ovs"] == [
        {
            "name": "br-0000_86_00.1",
            "bridge": {},
            "uplinks": [{"pciAddress": "0000:86:00.1", "name": "ens803f1", "interface": {}}],
        }
    ]


@pytest.mark.parametrize("bridge", [{}, {"bridge": {}}])
def test_a_later_policy_without_a_bridge_takes_it_away(make_policy, make_nic, bridge):
    policies = [
        make_policy("a", nicSelector={"vendor": "8086"}, eSwitchMode="switchdev", bridge={"ovs": OVS}),
        make_policy("b", pfNames=["ens803f1"], priority=0, **bridge),
    ]
    nics = [make_nic(), make_nic("ens803f0", pciAddress="0000:86:00.0")]
    assert [found["name"] for found in render(policies, nics)["ovs"]] == ["br-0000_86_00.0"]
    assert render(policies, nics[:1]) is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.eSwitchMode"),
        ({"eSwitchMode": "legacy"}, "spec.eSwitchMode"),
        ({"eSwitchMode": "switchdev", "linkType": "IB"}, "spec.linkType"),
        ({"eSwitchMode": "switchdev", "externallyManaged": True}, "spec.externallyManaged"),
        ({"eSwitchMode": "switchdev", "linkType": "eth"}, None),
        ({"eSwitchMode": "switchdev", "linkType": "ETH"}, None),
    ],
)
def test_what_a_bridge_needs(make_policy, spec, field):
    fault = bridge_fault(make_policy("a", pfNames=["x"], bridge={"ovs": OVS}, **spec).spec)
    assert (fault.field if fault else None) == field


@pytest.mark.parametrize(
    ("ovs", "field"),
    [
        ({"bridge": {"externalIDs": {"virtfn.io/managed": "x"}}}, "spec.bridge.ovs.bridge.externalIDs"),
        (
            {"uplink": {"interface": {"externalIDs": {"virtfn.io/keys": ""}}}},
            "spec.bridge.ovs.uplink.interface.externalIDs",
        ),
        ({"bridge": {"externalIDs": {"virtfn": "x"}, "otherConfig": {"virtfn.io/managed": "x"}}}, None),
    ],
)
def test_virtfns_own_keys_cannot_be_asked_for(make_policy, ovs, field):
    fault = bridge_fault(make_policy("a", pfNames=["x"], eSwitchMode="switchdev", bridge={"ovs": ovs}).spec)
    assert (fault.field if fault else None) == field


@pytest.mark.parametrize("bridge", [None, {}])
def test_without_a_bridge_there_is_nothing_to_refuse(make_policy, bridge):
    assert bridge_fault(make_policy("a", pfNames=["x"], bridge=bridge).spec) is None


def test_a_bridge_of_a_policy_that_selects_nothing_is_not_looked_at(make_policy):
    assert bridge_fault(make_policy("a", bridge={"ovs": OVS}).spec) is None
