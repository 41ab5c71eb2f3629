"""Who gets which VF: configurations held against the rebuilt device plugin, and the shape of the file."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtfn.errors import InvalidDocument
from virtfn.model import Severity, VfRange
from virtfn.model.crd import SriovNetworkNodeState
from virtfn.policy import render_device_plugin_config, render_node_state

CASES = json.loads((Path(__file__).parents[1] / "data" / "device-plugin-config.json").read_text(encoding="utf-8"))


def node_state(*interfaces, status=None):
    """A node state; each interface is its wanted part, with what was found under `found`."""
    spec, seen = [], []
    for place, interface in enumerate(interfaces):
        address = interface.get("pciAddress", f"0000:3b:00.{place}")
        found = {"pciAddress": address, "name": f"ens1f{place}", "vendor": "8086", "linkType": "ETH"}
        wanted = {"pciAddress": address, "name": f"ens1f{place}", **interface}
        seen.append(found | wanted.pop("found", {}))
        spec.append(wanted)
    return {"spec": {"interfaces": spec}, "status": {"interfaces": seen if status is None else status}}


def group(resource, vf_range, **fields):
    return {"resourceName": resource, "vfRange": vf_range, "deviceType": "netdevice", "policyName": "p", **fields}


def resources(state):
    return render_device_plugin_config(state).to_wire()["resourceList"]


def warnings(state):
    return [str(problem) for problem in render_device_plugin_config(state).problems]


# --- recorded cases -------------------------------------------------------------------------------------------------

OVERRULED = {
    "TestRenderDevicePluginConfigData / testVirtioVdpaVirtio": "a resource without an effective group is left out",
    "TestRenderDevicePluginConfigData / testVhostVdpaVirtio": "a resource without an effective group is left out",
    "TestRenderDevicePluginConfigData / testExcludeTopology": "a resource without an effective group is left out",
    "policies with the same resource name target different devices": "a policy that selects nothing adds nothing",
}
"""Cases that show resources made of policies; here they are made of the node state. What they are about is tested
below: vdpaType, excludeTopology, two PFs in one resource."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_recorded_case(case):
    given_, expected = case["input"], case["expected"]["config"]
    rendered = render_node_state(given_["policies"], given_["node"], given_["nodeState"])
    state = SriovNetworkNodeState.model_validate(given_["nodeState"]).model_copy(update={"spec": rendered.spec})
    for resource in expected["resourceList"]:
        assert resource.pop("SelectorObj") is None  # a slip of the recorded program, ignored by every reader
    assert (render_device_plugin_config(state).to_wire() == expected) is (case["name"] not in OVERRULED)


# --- shape ----------------------------------------------------------------------------------------------------------


def test_the_text_is_compact_with_the_keys_in_order():
    state = node_state(
        {
            "numVfs": 4,
            "linkType": "eth",
            "vfGroups": [group("r1", "0-1", vdpaType="vhost", needVhostNet=True, excludeTopology=True)],
        }
    )
    assert render_device_plugin_config(state).to_json() == (
        '{"resourceList":[{"resourceName":"r1","excludeTopology":true,"selectors":{"vendors":["8086"],'
        '"pfNames":["ens1f0#0-1"],"linkTypes":["ether"],"IsRdma":false,"NeedVhostNet":true,"vdpaType":"vhost"}}]}'
    )


@pytest.mark.parametrize("state", [{}, node_state({"numVfs": 0})])
def test_nothing_to_offer(state):
    config = render_device_plugin_config(state)
    assert config.resources == ()
    assert config.to_json() == '{"resourceList":null}'


def test_the_model_and_plain_data_give_the_same():
    state = node_state({"numVfs": 4, "vfGroups": [group("r1", "0-3")]})
    assert render_device_plugin_config(SriovNetworkNodeState.model_validate(state)) == render_device_plugin_config(
        state
    )


def test_malformed_data_is_refused():
    with pytest.raises(InvalidDocument, match="numVfs"):
        render_device_plugin_config(node_state({"numVfs": "4"}))


def test_resources_stand_in_the_order_their_policies_applied():
    state = node_state(
        {"numVfs": 8, "vfGroups": [group("late", "4-7"), group("early", "0-3")]},
        {"numVfs": 8, "vfGroups": [group("other", "0-7")]},
    )
    assert [resource["resourceName"] for resource in resources(state)] == ["early", "late", "other"]


def test_a_pf_that_is_all_one_resource_has_no_range():
    (resource,) = resources(node_state({"numVfs": 4, "vfGroups": [group("r1", "2-3"), group("r1", "0-1")]}))
    assert resource["selectors"]["pfNames"] == ["ens1f0"]


def test_ranges_of_one_pf_are_one_entry():
    groups = [group("r2", "2-3"), group("r1", "0-1"), group("r1", "4-5")]
    (r1, r2) = sorted(resources(node_state({"numVfs": 6, "vfGroups": groups})), key=lambda r: r["resourceName"])
    assert r1["selectors"]["pfNames"] == ["ens1f0#0-1,4-5"]
    assert r2["selectors"]["pfNames"] == ["ens1f0#2-3"]


@pytest.mark.parametrize(
    "interface",
    [
        {"found": {"numVfs": 8}},
        {"found": {"Vfs": [{"pciAddress": "0000:3b:01.0", "vfID": 7}]}},
        {"externallyManaged": True},
    ],
)
def test_vfs_that_nobody_asked_for_stay_nobodys(interface):
    (resource,) = resources(node_state({"numVfs": 4, "vfGroups": [group("r1", "0-3")], **interface}))
    assert resource["selectors"]["pfNames"] == ["ens1f0#0-3"]


def test_two_pfs_share_a_resource():
    state = node_state(
        {"numVfs": 4, "vfGroups": [group("r1", "0-3")]},
        {"numVfs": 4, "vfGroups": [group("r1", "2-3")], "found": {"vendor": "15B3"}},
    )
    (resource,) = resources(state)
    assert resource["selectors"] == {
        "vendors": ["8086", "15b3"],
        "pfNames": ["ens1f0", "ens1f1#2-3"],
        "IsRdma": False,
        "NeedVhostNet": False,
    }
    assert warnings(state) == []


@pytest.mark.parametrize(
    "interface",
    [
        {"found": {"name": ""}},
        {"found": {"name": "ens#1"}},
        {"found": {"name": "ENS1F1"}},
        {"eSwitchMode": "switchdev"},
        {"found": {"eSwitchMode": "switchdev"}},
    ],
    ids=["no netdev", "a name with #", "a name like another's", "switchdev wanted", "switchdev found"],
)
def test_a_pf_is_called_by_its_address_where_its_name_is_in_doubt(interface):
    state = node_state({"numVfs": 4, "vfGroups": [group("r1", "0-1")], **interface}, {"numVfs": 0})
    (resource,) = resources(state)
    assert resource["selectors"]["rootDevices"] == ["0000:3b:00.0#0-1"]
    assert "pfNames" not in resource["selectors"]


def test_one_pf_without_name_makes_addresses_of_all():
    state = node_state(
        {"numVfs": 4, "vfGroups": [group("r1", "0-3")]},
        {"numVfs": 4, "vfGroups": [group("r1", "0-1")], "found": {"name": ""}},
    )
    (resource,) = resources(state)
    assert resource["selectors"]["rootDevices"] == ["0000:3b:00.0", "0000:3b:00.1#0-1"]


def test_the_name_that_was_found_last_counts():
    (resource,) = resources(node_state({"numVfs": 4, "vfGroups": [group("r1", "0-3")], "found": {"name": "eth7"}}))
    assert resource["selectors"]["pfNames"] == ["eth7"]


def test_without_a_status_the_spec_has_to_do():
    (resource,) = resources(node_state({"numVfs": 4, "vfGroups": [group("r1", "0-3")]}, status=[]))
    assert resource["selectors"] == {"pfNames": ["ens1f0"], "IsRdma": False, "NeedVhostNet": False}


def test_addresses_are_written_as_sysfs_spells_them():
    state = node_state({"pciAddress": "3B:00.1", "numVfs": 4, "vfGroups": [group("r1", "0-3")], "found": {"name": ""}})
    assert resources(state)[0]["selectors"]["rootDevices"] == ["0000:3b:00.1"]


@pytest.mark.parametrize(
    ("found", "expected"), [({"netFilter": "openstack/NetworkID:a"}, True), ({"vfs": "self"}, True), ({}, False)]
)
def test_a_nic_of_a_vm_is_its_own_vf(found, expected):
    if found.pop("vfs", ""):
        found["Vfs"] = [{"pciAddress": "0000:3b:00.0", "vfID": 0}]
    (resource,) = resources(node_state({"numVfs": 1, "vfGroups": [group("r1", "0-0")], "found": found}))
    assert resource["selectors"].get("pciAddresses") == (["0000:3b:00.0"] if expected else None)
    assert ("pfNames" in resource["selectors"]) is not expected


def test_nics_of_a_vm_and_a_real_pf_in_one_resource_have_objects_of_their_own():
    virtual = {"netFilter": "aws/NetworkID:1"}
    state = node_state(
        {"numVfs": 1, "vfGroups": [group("r1", "0-0")], "found": virtual},
        {"numVfs": 2, "vfGroups": [group("r1", "0-1")]},
        {"numVfs": 1, "vfGroups": [group("r1", "0-0")], "found": virtual},
    )
    (resource,) = resources(state)
    first, second = resource["selectors"]
    assert first["pciAddresses"] == ["0000:3b:00.0", "0000:3b:00.2"]
    assert second["pfNames"] == ["ens1f1"]


@pytest.mark.parametrize(
    ("link_type", "found", "device_type", "expected"),
    [
        ("eth", "ETH", "netdevice", ["ether"]),
        ("IB", "IB", "netdevice", ["infiniband"]),
        ("ib", "IB", "vfio-pci", None),
        (None, "IB", "netdevice", None),
        ("eth", "", "netdevice", None),
    ],
)
def test_link_types(link_type, found, device_type, expected):
    interface = {"numVfs": 4, "vfGroups": [group("r1", "0-3", deviceType=device_type)], "found": {"linkType": found}}
    state = node_state(interface | ({"linkType": link_type} if link_type else {}))
    assert resources(state)[0]["selectors"].get("linkTypes") == expected
    assert warnings(state) == []


def test_vfs_of_the_wrong_link_type_are_held_back_and_told():
    groups = [group("r1", "0-1"), group("r2", "2-3")]
    state = node_state({"numVfs": 4, "linkType": "ib", "vfGroups": groups, "found": {"linkType": "ETH"}})
    assert [resource["selectors"]["linkTypes"] for resource in resources(state)] == [["infiniband"]] * 2
    assert warnings(state) == [
        "0000:3b:00.0 (ens1f0): spec.interfaces[0].linkType: linkType ib is wanted, and the port is ETH: "
        "its VFs are not offered until that changes"
    ]


# --- groups that disagree, or are wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "key"),
    [("isRdma", True, "IsRdma"), ("needVhostNet", True, "NeedVhostNet"), ("vdpaType", "vhost", "vdpaType")],
)
def test_groups_of_one_resource_that_differ_keep_their_own(setting, value, key):
    state = node_state({"numVfs": 4, "vfGroups": [group("r1", "2-3", **{setting: value}), group("r1", "0-1")]})
    (resource,) = resources(state)
    plain, special = resource["selectors"]
    assert (plain["pfNames"], special["pfNames"]) == (["ens1f0#0-1"], ["ens1f0#2-3"])
    assert special[key] == value
    assert not plain.get(key)
    (problem,) = render_device_plugin_config(state).problems
    assert problem.severity is Severity.WARNING
    assert problem.object == "resource r1"
    assert problem.field == f"spec.interfaces[0].vfGroups[0].{setting}"
    assert "VFs 0-1 of 0000:3b:00.0 (ens1f0)" in problem.message
    assert "each VF keeps its group's" in problem.message
    assert "resource name of its own" in problem.hint


@pytest.mark.parametrize("first", [True, False])
def test_of_two_topologies_the_exclusion_counts(first):
    groups = [group("r1", "0-1", excludeTopology=first), group("r1", "2-3", excludeTopology=not first)]
    state = node_state({"numVfs": 4, "vfGroups": groups})
    (resource,) = resources(state)
    assert resource["excludeTopology"] is True
    assert isinstance(resource["selectors"], dict)
    (text,) = warnings(state)
    assert "true counts for all of them" in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"vdpaType": "vhost"}, "a vDPA device (vhost)"), ({"deviceType": "vfio-pci"}, "bound to vfio-pci")],
)
def test_rdma_is_not_looked_for_where_there_can_be_none(fields, said):
    state = node_state({"numVfs": 4, "vfGroups": [group("r1", "0-3", isRdma=True, **fields)]})
    assert resources(state)[0]["selectors"]["IsRdma"] is False
    (text,) = warnings(state)
    assert "vfGroups[0].isRdma" in text
    assert said in text


def test_a_name_that_the_device_plugin_refuses_costs_only_its_own_resource():
    state = node_state({"numVfs": 4, "vfGroups": [group("a.b", "0-1"), group("good", "2-3")]})
    assert [resource["resourceName"] for resource in resources(state)] == ["good"]
    (problem,) = render_device_plugin_config(state).problems
    assert problem.severity is Severity.ERROR
    assert problem.field == "spec.interfaces[0].vfGroups[0].resourceName"
    assert "'a.b'" in problem.message


@pytest.mark.parametrize(
    ("interfaces", "field"),
    [
        ([{"numVfs": 4, "vfGroups": [group("r2", "3-1")]}], "spec.interfaces[0].vfGroups[0].vfRange"),
        ([{"pciAddress": "ens1f0", "vfGroups": [group("r2", "0-1")]}], "spec.interfaces[0].pciAddress"),
        ([{"numVfs": 1, "pciAddress": "0000:01:00.0"}] * 2, "spec.interfaces[1].pciAddress"),
    ],
)
def test_what_is_wrong_is_told_and_left_out(interfaces, field):
    good = {"pciAddress": "0000:02:00.0", "name": "ens2", "numVfs": 2, "vfGroups": [group("r1", "0-1")]}
    state = node_state(*interfaces, good | {"found": {"name": "ens2"}})
    assert [resource["resourceName"] for resource in resources(state)] == ["r1"]
    (problem,) = render_device_plugin_config(state).problems
    assert problem.field == field


def test_groups_without_vfs_or_name_offer_nothing():
    groups = [group("", "0-1"), group("r1", "4-5"), group("r2", "3-9")]
    (resource,) = resources(node_state({"numVfs": 4, "vfGroups": groups}))
    assert (resource["resourceName"], resource["selectors"]["pfNames"]) == ("r2", ["ens1f0#3-3"])


def test_of_groups_that_overlap_the_first_has_the_vf():
    groups = [group("a", "2-3"), group("b", "0-5"), group("c", "3-7")]
    found = {
        r["resourceName"]: r["selectors"]["pfNames"] for r in resources(node_state({"numVfs": 8, "vfGroups": groups}))
    }
    assert found == {"a": ["ens1f0#2-3"], "b": ["ens1f0#0-1,4-5"], "c": ["ens1f0#6-7"]}


# --- any node state -------------------------------------------------------------------------------------------------

RESOURCES = st.sampled_from(["r1", "r1", "r1", "r2", "r2", "R1", "", "no.good"])
NAMES = st.sampled_from(["ens1", "ENS1", "Ens1", "ens2", "ens3", "e#0", ""])
RARELY = st.integers(0, 5).map(lambda number: number == 0)


@st.composite
def vf_groups(draw, num_vfs):
    """One group of all VFs, or several, mostly apart from each other, that may reach beyond the VFs there are."""
    if num_vfs and draw(st.booleans()):
        return [group(draw(RESOURCES), f"0-{num_vfs - 1}")]
    cuts = sorted(draw(st.sets(st.integers(0, 10), max_size=5)))
    ranges = [(first, last - 1) for first, last in pairwise(cuts)]
    if draw(RARELY):
        ranges.append((draw(st.integers(0, 4)), draw(st.integers(4, 9))))
    return [
        group(
            draw(RESOURCES),
            f"{first}-{last}",
            deviceType="vfio-pci" if draw(RARELY) else "netdevice",
            isRdma=draw(RARELY),
            needVhostNet=draw(RARELY),
            excludeTopology=draw(RARELY),
            vdpaType=draw(st.sampled_from(["vhost", "virtio"])) if draw(RARELY) else None,
        )
        for first, last in draw(st.permutations(ranges))
        if not draw(RARELY)
    ]


@st.composite
def interfaces(draw, place):
    """One PF or VM's NIC: what is wanted, what was found, and whether its VFs can do RDMA."""
    address = f"0000:{place + 1:02x}:00.0"
    name, link_type = draw(NAMES), draw(st.sampled_from(["ETH", "IB"]))
    virtual = draw(RARELY)
    num_vfs = draw(st.integers(0, 8))
    there = 1 if virtual else draw(st.sampled_from([num_vfs, num_vfs, num_vfs + 2]))
    switchdev = draw(RARELY)
    found = {
        "pciAddress": address,
        "name": name,
        "vendor": draw(st.sampled_from(["8086", "15b3", "15B3", ""])),
        "linkType": link_type if name else "",
        "eSwitchMode": "switchdev" if switchdev and draw(st.booleans()) else "legacy",
        "numVfs": there,
    }
    if virtual:
        found["Vfs"] = [{"pciAddress": address, "vfID": 0}]
    wanted = None
    if not draw(RARELY):
        wanted = {
            "pciAddress": address,
            "name": draw(NAMES),
            "numVfs": num_vfs,
            "linkType": draw(st.sampled_from([None, link_type.lower(), link_type])),
            "eSwitchMode": "switchdev" if switchdev and found["eSwitchMode"] == "legacy" else None,
            "externallyManaged": draw(RARELY),
            "vfGroups": draw(vf_groups(num_vfs)),
        }
    return {"wanted": wanted, "found": found, "rdma": draw(st.booleans()), "switchdev": switchdev, "virtual": virtual}


@st.composite
def nodes(draw):
    """Interfaces of one node, in any order."""
    count = draw(st.integers(1, 4))
    return draw(st.permutations([draw(interfaces(place)) for place in range(count)]))


def group_of(wanted, index, *, virtual):
    """The first group that has the VF, as the daemon sees it; None also for a VF that is not wanted."""
    if wanted is None or index >= (1 if virtual else wanted["numVfs"]):
        return None
    return next((g for g in wanted["vfGroups"] if index in VfRange.parse(g["vfRange"])), None)


def machine(node, function):
    """The node's functions with the group that each of them belongs to."""
    for interface in node:
        found, wanted, virtual = interface["found"], interface["wanted"], interface["virtual"]
        address, name = found["pciAddress"], found["name"]
        link = {"ETH": "ether", "IB": "infiniband", "": ""}[found["linkType"]]
        vendor = found["vendor"].lower() or "1af4"
        there = found["numVfs"]
        if not virtual:
            yield function(address, vendor=vendor, driver="pf", num_vfs=there, encapsulation=link), None
        for index in range(there):
            group_ = group_of(wanted, index, virtual=virtual)
            vfio = group_ is not None and group_["deviceType"] == "vfio-pci"
            vdpa = (group_ or {}).get("vdpaType") or ""
            common = {
                "vendor": vendor,
                "driver": "vfio-pci" if vfio else "kernel",
                "encapsulation": "" if vfio or not name else link,
                "rdma": interface["rdma"] and not vfio,
                "vdpa": vdpa,
            }
            if virtual:
                yield function(address, **common), group_
                continue
            yield (
                function(
                    address.replace(":00.0", f":{1 + index:02x}.0"),
                    root=address,
                    pf_name="" if interface["switchdev"] else name,
                    index=index,
                    pf_encapsulation=link,
                    **common,
                ),
                group_,
            )


def resource_due(group_, device):
    """The resource that a VF has to be offered as."""
    if group_ is None or group_["resourceName"] in ("", "no.good"):
        return None
    wants_rdma = group_.get("isRdma") and not group_.get("vdpaType") and group_["deviceType"] != "vfio-pci"
    return group_["resourceName"] if device.rdma or not wants_rdma else None


@settings(max_examples=400)
@given(nodes())
def test_every_vf_goes_to_its_groups_resource_and_the_rest_to_nobody(pick, function, node):
    state = {
        "spec": {"interfaces": [interface["wanted"] for interface in node if interface["wanted"]]},
        "status": {"interfaces": [interface["found"] for interface in node]},
    }
    devices = dict(machine(node, function))
    config = render_device_plugin_config(state)
    assert pick(config.to_json(), devices) == {
        device.address: resource_due(group_, device) for device, group_ in devices.items() if seen(device)
    }
    assert render_device_plugin_config(SriovNetworkNodeState.model_validate(state)).to_json() == config.to_json()
    offered = {resource.name for resource in config.resources}
    grouped = {group_["resourceName"] for _, group_ in devices.items() if group_ is not None}
    assert offered == grouped - {"", "no.good"}


def seen(device):
    return bool(device.driver) and not (device.num_vfs and not device.root)
