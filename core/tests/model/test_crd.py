"""The objects of the API: names, defaults, and what reading and writing keep."""

import pytest
from pydantic import ValidationError

from virtfn.errors import BadVfRange
from virtfn.model import VfRange
from virtfn.model.crd import InterfaceStatus, NicSelector, PfName, SriovNetworkNodePolicy, SriovNetworkNodeState

POLICY = {
    "apiVersion": "sriovnetwork.openshift.io/v1",
    "kind": "SriovNetworkNodePolicy",
    "metadata": {"name": "a", "namespace": "ns", "labels": {"x": "y"}, "generation": 3, "uid": "1-2"},
    "spec": {
        "resourceName": "r",
        "nodeSelector": {"empty": ""},
        "priority": 0,
        "mtu": 9000,
        "numVfs": 8,
        "nicSelector": {
            "vendor": "15b3",
            "deviceID": "1017",
            "rootDevices": ["0000:3b:00.0"],
            "pfNames": ["ens1f0#0-3"],
            "netFilter": "openstack/NetworkID:1",
        },
        "deviceType": "vfio-pci",
        "isRdma": True,
        "needVhostNet": True,
        "linkType": "ib",
        "eSwitchMode": "switchdev",
        "vdpaType": "virtio",
        "excludeTopology": True,
        "externallyManaged": True,
        "bridge": {
            "ovs": {
                "bridge": {
                    "datapathType": "netdev",
                    "externalIDs": {"a": "b"},
                    "otherConfig": {"c": "d"},
                    "failMode": "standalone",
                },
                "uplink": {
                    "interface": {
                        "type": "dpdk",
                        "options": {"e": "f"},
                        "externalIDs": {"g": "h"},
                        "otherConfig": {"i": "j"},
                        "mtuRequest": 9000,
                    }
                },
            }
        },
    },
}
STATE = {
    "apiVersion": "sriovnetwork.openshift.io/v1",
    "kind": "SriovNetworkNodeState",
    "metadata": {"name": "node-1"},
    "spec": {
        "interfaces": [
            {
                "pciAddress": "0000:3b:00.0",
                "numVfs": 4,
                "mtu": 1500,
                "name": "ens1f0",
                "linkType": "ETH",
                "eSwitchMode": "legacy",
                "externallyManaged": True,
                "vfGroups": [
                    {
                        "resourceName": "r",
                        "deviceType": "netdevice",
                        "vfRange": "0-3",
                        "policyName": "a",
                        "mtu": 1500,
                        "isRdma": True,
                        "vdpaType": "vhost",
                        "needVhostNet": True,
                        "excludeTopology": True,
                    }
                ],
            }
        ],
        "bridges": {
            "ovs": [
                {"name": "br0", "bridge": {}, "uplinks": [{"pciAddress": "0000:3b:00.0", "name": "x", "interface": {}}]}
            ]
        },
        "system": {"rdmaMode": "exclusive"},
        "dpConfigVersion": "17",
    },
    "status": {
        "interfaces": [
            {
                "pciAddress": "0000:3b:00.0",
                "name": "ens1f0",
                "mac": "00:11:22:33:44:55",
                "driver": "mlx5_core",
                "vendor": "15b3",
                "deviceID": "1017",
                "netFilter": "a:b",
                "mtu": 1500,
                "numVfs": 1,
                "totalvfs": 8,
                "linkSpeed": "25000 Mb/s",
                "linkType": "ETH",
                "linkAdminState": "up",
                "eSwitchMode": "legacy",
                "externallyManaged": True,
                "altNames": ["data0"],
                "Vfs": [
                    {
                        "pciAddress": "0000:3b:00.2",
                        "vfID": 0,
                        "name": "v0",
                        "mac": "00:11:22:33:44:66",
                        "driver": "mlx5_core",
                        "vendor": "15b3",
                        "deviceID": "1018",
                        "assigned": "pod",
                        "Vlan": 3,
                        "mtu": 1500,
                        "vdpaType": "vhost",
                        "representorName": "r0",
                        "guid": "0000:0000:0000:0001",
                    }
                ],
            }
        ],
        "bridges": {"ovs": []},
        "system": {"rdmaMode": "shared"},
        "syncStatus": "Failed",
        "lastSyncError": "no",
    },
}


def selector(**fields):
    return NicSelector.model_validate(fields)


@pytest.mark.parametrize(("model", "data"), [(SriovNetworkNodePolicy, POLICY), (SriovNetworkNodeState, STATE)])
def test_every_field_comes_back(model, data):
    assert model.model_validate(data).to_wire() == data


def test_defaults_of_a_policy():
    spec = {"resourceName": "r", "nodeSelector": {}, "numVfs": 0, "nicSelector": {}}
    policy = SriovNetworkNodePolicy.model_validate({"spec": spec})
    assert policy.spec.to_wire() == {**spec, "priority": 99, "deviceType": "netdevice"}
    assert policy.name == ""


def test_zero_of_a_node_state_is_absent_and_read_back_as_zero():
    entry = {
        "pciAddress": "0000:3b:00.0",
        "numVfs": 0,
        "mtu": 0,
        "externallyManaged": False,
        "vfGroups": [],
        "name": "",
    }
    state = SriovNetworkNodeState.model_validate({"spec": {"interfaces": [entry]}})
    assert state.to_wire()["spec"] == {"interfaces": [{"pciAddress": "0000:3b:00.0"}]}
    assert state.spec.interfaces[0].num_vfs == 0


def test_an_index_of_zero_is_always_there():
    nic = InterfaceStatus.model_validate({"pciAddress": "a", "Vfs": [{"pciAddress": "b", "vfID": 0}]})
    assert nic.to_wire()["Vfs"] == [{"pciAddress": "b", "vfID": 0}]


def test_objects_are_frozen():
    policy = SriovNetworkNodePolicy.model_validate(POLICY)
    with pytest.raises(ValidationError, match="frozen"):
        policy.spec.num_vfs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ({"linkSeed": "25000Mb/s"}, {"linkSpeed": "25000 Mb/s"}),
        ({"linkSpeed": "-1 Mb/s"}, {"linkSpeed": "-1 Mb/s"}),
        ({"linkSpeed": "fast"}, {"linkSpeed": "fast"}),
        ({"deviceID": 1018, "vendor": 8086}, {"deviceID": "1018", "vendor": "8086"}),
        ({"vfs": [{}, {"vfID": 5}, {}]}, {"Vfs": [{"vfID": 0}, {"vfID": 5}, {"vfID": 2}]}),
        ({"totalVfs": 3}, {"totalvfs": 3}),
        ({"invented": 3, "altNames": None}, {}),
    ],
)
def test_a_status_is_read_leniently(part, read):
    nic = InterfaceStatus.model_validate({"pciAddress": "a", **part}).to_wire()
    for vf in nic.get("Vfs", ()):
        del vf["pciAddress"]
    assert nic == {"pciAddress": "a", **read}


@pytest.mark.parametrize(("name", "label"), [("ens1", "0000:3b:00.0 (ens1)"), ("", "0000:3b:00.0")])
def test_labels(name, label):
    assert InterfaceStatus.model_validate({"pciAddress": "0000:3b:00.0", "name": name}).label == label


@pytest.mark.parametrize(
    ("text", "want"),
    [("ens1", PfName("ens1")), ("ens1#0-3", PfName("ens1", VfRange(0, 3))), ("a#5-5", PfName("a", VfRange(5, 5)))],
)
def test_pf_names(text, want):
    assert PfName.parse(text) == want


@pytest.mark.parametrize("text", ["", "#0-1", "a#", "a#1", "a#1-0", "a#0-1-2"])
def test_pf_names_that_are_none(text):
    with pytest.raises(BadVfRange):
        PfName.parse(text)


@pytest.mark.parametrize("value", [1018, "1018", "15b3", "15B3"])
def test_ids(value):
    assert selector(vendor=value).vendor == str(value)


@pytest.mark.parametrize("value", [154, 15, 12345, "0x15b3", "15b", "15bg", True, 1018.0, "15b3 "])
def test_ids_that_are_none(value):
    with pytest.raises(ValidationError):
        selector(vendor=value)


@pytest.mark.parametrize("part", [{"vendor": "15b3"}, {"rootDevices": ["x"]}, {"pfNames": ["x"]}, {"netFilter": "x"}])
def test_a_selector_with_any_part_is_not_empty(part):
    assert not selector(**part).is_empty
    assert selector(**dict.fromkeys(part)).is_empty


def test_a_schema_can_be_made_of_them():
    schema = SriovNetworkNodePolicy.model_json_schema()["$defs"]["PolicySpec"]
    assert set(schema["required"]) == {"resourceName", "nodeSelector", "nicSelector", "numVfs"}
    assert schema["properties"]["priority"]["maximum"] == 99
    assert SriovNetworkNodeState.model_json_schema()["$defs"]["VfStatus"]["required"] == ["vfID"]


def test_an_interface_that_is_not_an_object_is_refused_even_in_a_status():
    with pytest.raises(ValidationError):
        SriovNetworkNodeState.model_validate({"status": {"interfaces": [3]}})
