"""A node state's spec against a machine: what is carried over, what is refused, and that nothing else suffers."""

from dataclasses import replace

import pytest

from virtfn.errors import InvalidDocument
from virtfn.model import (
    DesiredPf,
    DesiredState,
    DeviceType,
    EswitchMode,
    LinkType,
    PciAddress,
    Severity,
    VfGroup,
    VfRange,
)
from virtfn.model.crd import NodeStateSpec
from virtfn.model.desired import DesiredBridge
from virtfn.policy import desired_state, render_node_state, state_of

PORT0, PORT1 = PciAddress(0, 0x86, 0, 0), PciAddress(0, 0x86, 0, 1)


def interface(address=PORT0, **fields):
    return {"pciAddress": str(address), "numVfs": 4, **fields}


def told(problems):
    return [(p.object, p.field, p.reason, p.severity) for p in problems]


def test_everything_is_carried_over(inventory):
    group = {
        "resourceName": "r1",
        "policyName": "a",
        "vfRange": "0-3",
        "deviceType": "vfio-pci",
        "mtu": 9000,
        "isRdma": True,
        "vdpaType": "vhost",
        "needVhostNet": True,
        "excludeTopology": True,
    }
    entry = interface(
        name="ens803f0", mtu=9000, linkType="ib", eSwitchMode="switchdev", externallyManaged=True, vfGroups=[group]
    )
    spec = {"interfaces": [entry], "system": {"rdmaMode": "shared"}}
    state, problems = desired_state(spec, inventory)
    assert problems == ()
    assert state == DesiredState(
        pfs=(
            DesiredPf(
                address=PORT0,
                num_vfs=4,
                name="ens803f0",
                mtu=9000,
                eswitch_mode=EswitchMode.SWITCHDEV,
                link_type=LinkType.IB,
                externally_managed=True,
                groups=(
                    VfGroup(
                        vf_range=VfRange(0, 3),
                        resource_name="r1",
                        policy_name="a",
                        device_type=DeviceType.VFIO_PCI,
                        mtu=9000,
                        is_rdma=True,
                        vdpa_type="vhost",
                        need_vhost_net=True,
                        exclude_topology=True,
                    ),
                ),
            ),
        ),
        rdma_mode="shared",
    )


def test_what_is_not_said_is_not_managed(inventory):
    state, _ = desired_state({"interfaces": [{**interface(), "vfGroups": [{"vfRange": "0-0"}]}]}, inventory)
    assert state.pfs == (DesiredPf(address=PORT0, num_vfs=4, groups=(VfGroup(VfRange(0, 0)),)),)


@pytest.mark.parametrize("as_model", [True, False])
@pytest.mark.parametrize(
    ("groups", "field", "gist"),
    [
        (["0-1", "2-4"], "spec.interfaces[1].vfGroups[1].vfRange", "inside numVfs 4 (VF indices 0 to 3)"),
        (["0-2", "2-3"], "spec.interfaces[1].vfGroups[1].vfRange", "range 2-3 overlaps 0-2"),
        (["0-1", "2"], "spec.interfaces[1].vfGroups[1].vfRange", "'2' is not a VF range"),
        (["3-2"], "spec.interfaces[1].vfGroups[0].vfRange", "the last index is smaller"),
    ],
)
def test_bad_ranges_are_named_and_the_other_pf_goes_on(inventory, groups, field, gist, as_model):
    bad = interface(PORT1, vfGroups=[{"resourceName": "r", "vfRange": found} for found in groups])
    spec = {"interfaces": [interface(), bad]}
    state, problems = desired_state(NodeStateSpec.model_validate(spec) if as_model else spec, inventory)
    assert [pf.address for pf in state.pfs] == [PORT0]
    assert state.refused == (PORT1,)
    assert told(problems) == [("0000:86:00.1 (ens803f1)", field, "BadVfRange", Severity.ERROR)]
    assert gist in problems[0].message


def test_without_vfs_no_group_can_be(inventory):
    entry = {"pciAddress": str(PORT0), "vfGroups": [{"vfRange": "0-0"}]}
    _, (problem,) = desired_state({"interfaces": [entry]}, inventory)
    assert "numVfs 0 (no VF at all)" in problem.message


def test_no_vfs_at_all_is_a_wish_like_any_other(inventory):
    state, problems = desired_state({"interfaces": [{"pciAddress": str(PORT0)}]}, inventory)
    assert (state.pfs, problems) == ((DesiredPf(address=PORT0, num_vfs=0),), ())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"numVfs": "abc"}, "numVfs"),
        ({"numVfs": -1}, "numVfs"),
        ({"eswitchMode": "legacy"}, "eswitchMode"),
        ({"linkType": "fc"}, "linkType"),
        ({"vfGroups": [{"deviceType": "uio"}]}, "vfGroups[0].deviceType"),
        ({"vfGroups": 3}, "vfGroups"),
    ],
)
def test_garbage_in_one_interface_is_that_interfaces_problem(inventory, fields, field):
    state, problems = desired_state({"interfaces": [interface(PORT1, **fields), interface()]}, inventory)
    assert [pf.address for pf in state.pfs] == [PORT0]
    assert state.refused == (PORT1,)
    assert (problems[0].object, problems[0].field) == ("0000:86:00.1 (ens803f1)", f"spec.interfaces[0].{field}")


def test_a_pf_that_is_not_here(inventory):
    elsewhere = PciAddress(0, 0x3B, 0, 0)
    state, problems = desired_state({"interfaces": [interface(elsewhere, name="ens1")]}, inventory)
    assert state.pfs == ()
    assert state.refused == (elsewhere,)
    assert told(problems) == [
        ("0000:3b:00.0 (ens1)", "spec.interfaces[0].pciAddress", "DeviceNotFound", Severity.ERROR)
    ]


@pytest.mark.parametrize("address", ["3b", "0000:3b:00.8", "ens1"])
def test_an_address_that_is_none(inventory, address):
    state, problems = desired_state({"interfaces": [interface(address)]}, inventory)
    assert state == DesiredState()
    assert [p.field for p in problems] == ["spec.interfaces[0].pciAddress"]


@pytest.mark.parametrize("entry", [3, None, {}, {"pciAddress": 3}])
def test_an_interface_that_is_none(inventory, entry):
    state, problems = desired_state({"interfaces": [entry, interface()]}, inventory)
    assert [pf.address for pf in state.pfs] == [PORT0]
    assert state.refused == ()
    assert problems[0].field.startswith("spec.interfaces[0]")


def test_a_pf_named_twice_is_left_alone(inventory):
    state, problems = desired_state({"interfaces": [interface(), interface(numVfs=2)]}, inventory)
    assert (state.pfs, state.refused) == ((), (PORT0,))
    assert [p.field for p in problems] == ["spec.interfaces[1].pciAddress"]


@pytest.mark.parametrize(
    "spec", [{"interfaces": 3}, {"interfaces": {}}, {"intrfaces": []}, [], "x", {"system": {"rdmaMode": "x"}}]
)
def test_a_spec_that_is_none_is_refused_as_a_whole(inventory, spec):
    with pytest.raises(InvalidDocument) as caught:
        desired_state(spec, inventory)
    assert caught.value.field.startswith("spec")


def test_an_empty_spec_wants_nothing(inventory):
    assert desired_state({}, inventory) == (DesiredState(), ())
    assert desired_state({"interfaces": None}, inventory) == (DesiredState(), ())


def test_bridges_are_carried_over(inventory, make_policy):
    ovs = {
        "bridge": {
            "datapathType": "netdev",
            "externalIDs": {"a": "b"},
            "otherConfig": {"c": "d"},
            "failMode": "secure",
        },
        "uplink": {
            "interface": {"type": "dpdk", "options": {"e": "f"}, "externalIDs": {"g": "h"}, "otherConfig": {"i": "j"}}
        },
    }
    policy = make_policy("a", pfNames=["ens803f0"], eSwitchMode="switchdev", mtu=9000, bridge={"ovs": ovs})
    rendered = render_node_state([policy], None, state_of(inventory))
    state, problems = desired_state(rendered.spec, inventory)
    assert problems == ()
    (pf,) = state.pfs
    assert state.bridges == ()
    assert state.ovs_offload is True
    assert pf.bridge == DesiredBridge(
        name="br-0000_86_00.0",
        uplink=PORT0,
        uplink_name="ens803f0",
        datapath_type="netdev",
        fail_mode="secure",
        external_ids={"a": "b"},
        other_config={"c": "d"},
        interface_type="dpdk",
        interface_options={"e": "f"},
        interface_external_ids={"g": "h"},
        interface_other_config={"i": "j"},
        mtu_request=9000,
    )


def uplink_of(bridge, address):
    return {"name": bridge, "uplinks": [{"pciAddress": str(address)}]}


def test_a_bridge_whose_uplink_makes_no_vfs_is_wanted_by_itself(inventory):
    spec = {"interfaces": [interface(PORT0)], "bridges": {"ovs": [uplink_of("br-a", PORT0), uplink_of("br-b", PORT1)]}}
    state, problems = desired_state(spec, inventory)
    assert problems == ()
    assert [pf.bridge.name for pf in state.pfs] == ["br-a"]
    assert [bridge.name for bridge in state.bridges] == ["br-b"]
    assert state.ovs_offload is None


def test_the_uplink_of_a_bridge_has_the_mtu_that_another_policy_needs_of_its_pf(inventory):
    entry = uplink_of("br-a", PORT0)
    entry["uplinks"][0]["interface"] = {"mtuRequest": 1500}
    for mtu, wanted in ((9000, 9000), (1400, 1500), (0, 1500)):
        spec = {"interfaces": [interface(PORT0, mtu=mtu)], "bridges": {"ovs": [entry]}}
        assert desired_state(spec, inventory)[0].pfs[0].bridge.mtu_request == wanted


@pytest.mark.parametrize(
    ("entries", "gist"),
    [
        ([uplink_of("br-a", PORT0), uplink_of("br-b", PORT0)], "another bridge has this name or this uplink"),
        ([uplink_of("br-a", PORT0), uplink_of("br-a", PORT1)], "another bridge has this name or this uplink"),
        ([uplink_of("br-b", PORT1)], "externally managed PF"),
        ([uplink_of("br-a", PORT0) | {"bridge": {"externalIDs": {"virtfn.io/managed": "x"}}}], "virtfn writes itself"),
    ],
)
def test_bridges_that_get_in_the_way_of_each_other(inventory, entries, gist):
    spec = {"interfaces": [interface(PORT0), interface(PORT1, externallyManaged=True)], "bridges": {"ovs": entries}}
    state, (problem,) = desired_state(spec, inventory)
    assert gist in problem.message
    assert state.kept_bridges == (entries[-1]["name"],)
    assert problem.object == f"bridge {entries[-1]['name']}"


@pytest.mark.parametrize(
    ("uplinks", "field", "reason"),
    [
        ([], "spec.bridges.ovs[0].uplinks", "InvalidDocument"),
        (
            [{"pciAddress": "0000:86:00.0"}, {"pciAddress": "0000:86:00.1"}],
            "spec.bridges.ovs[0].uplinks",
            "InvalidDocument",
        ),
        ([{"pciAddress": "x"}], "spec.bridges.ovs[0].uplinks[0].pciAddress", "InvalidDocument"),
        ([{"pciAddress": "0000:01:00.0"}], "spec.bridges.ovs[0].uplinks[0].pciAddress", "DeviceNotFound"),
    ],
)
def test_bridges_that_cannot_be(inventory, uplinks, field, reason):
    state, problems = desired_state({"bridges": {"ovs": [{"name": "br0", "uplinks": uplinks}]}}, inventory)
    assert state.bridges == ()
    assert told(problems) == [("bridge br0", field, reason, Severity.ERROR)]


def test_from_policies_to_desired_by_altname(inventory, make_policy):
    policies = [
        make_policy("a", pfNames=["data1#0-1"], deviceType="vfio-pci"),
        make_policy("b", pfNames=["ens803f1#2-3"], resourceName="r2"),
    ]
    rendered = render_node_state(policies, None, state_of(inventory))
    state, problems = desired_state(rendered.spec, inventory)
    assert (rendered.problems, problems) == ((), ())
    (pf,) = state.pfs
    assert (pf.address, pf.num_vfs, pf.name) == (PORT1, 4, "ens803f1")
    assert [(g.resource_name, str(g.vf_range), g.device_type) for g in pf.groups] == [
        ("r2", "2-3", DeviceType.NETDEVICE),
        ("r1", "0-1", DeviceType.VFIO_PCI),
    ]


def test_a_pf_without_netdev_is_named_by_its_address(inventory):
    adapter = inventory.adapters[0]
    bare = replace(inventory, adapters=(replace(adapter, pfs=tuple(replace(pf, netdev=None) for pf in adapter.pfs)),))
    _, (problem,) = desired_state({"interfaces": [interface(vfGroups=[{"vfRange": "9-9"}])]}, bare)
    assert problem.object == "0000:86:00.0"
