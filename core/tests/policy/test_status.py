"""The machine as a node state's status shows it."""

from dataclasses import replace

import pytest

from virtfn.model import Adapter, EswitchMode, Inventory, LinkType, Netdev, PciAddress, PciId, Pf, Vf, VfSettings
from virtfn.model.inventory import VdpaDevice
from virtfn.policy import state_of, status_interfaces


def test_a_port_without_vfs(inventory):
    first, second = (nic.to_wire() for nic in status_interfaces(inventory))
    assert first == {
        "pciAddress": "0000:86:00.0",
        "name": "ens803f0",
        "mac": "3c:fd:fe:00:00:00",
        "driver": "i40e",
        "vendor": "8086",
        "deviceID": "158b",
        "mtu": 1500,
        "totalvfs": 64,
        "linkSpeed": "25000 Mb/s",
        "linkType": "ETH",
        "linkAdminState": "up",
        "eSwitchMode": "legacy",
        "altNames": ["data0"],
    }
    assert "linkSpeed" not in second


def test_vfs_are_listed_with_their_index():
    netdev = Netdev("ib0v1", 9, "00:11", 2044, False, link_type=LinkType.IB)
    vfs = (
        Vf(PciAddress(0, 0x3B, 0, 2), 0, PciId("15b3", "1018"), driver="vfio-pci"),
        Vf(
            PciAddress(0, 0x3B, 0, 3),
            1,
            PciId("15b3", "1018"),
            driver="mlx5_core",
            netdev=netdev,
            settings=VfSettings(vlan=7, node_guid="0011:2233:4455:6677"),
            representor="ens1f0_1",
            vdpa=VdpaDevice("vdpa:0000:3b:00.3", "vhost_vdpa"),
        ),
    )
    pf = Pf(PciAddress(0, 0x3B, 0, 0), PciId("15b3", "1017"), total_vfs=8, eswitch_mode=EswitchMode.SWITCHDEV, vfs=vfs)
    (nic,) = status_interfaces(Inventory(adapters=(Adapter("0000:3b:00", (pf,)),)))
    assert (nic.num_vfs, nic.eswitch_mode, nic.name, nic.link_admin_state) == (2, "switchdev", "", "")
    assert [vf.to_wire() for vf in nic.vfs] == [
        {"pciAddress": "0000:3b:00.2", "vfID": 0, "vendor": "15b3", "deviceID": "1018", "driver": "vfio-pci"},
        {
            "pciAddress": "0000:3b:00.3",
            "vfID": 1,
            "vendor": "15b3",
            "deviceID": "1018",
            "driver": "mlx5_core",
            "name": "ib0v1",
            "mac": "00:11",
            "mtu": 2044,
            "Vlan": 7,
            "guid": "0011:2233:4455:6677",
            "representorName": "ens1f0_1",
            "vdpaType": "vhost",
        },
    ]


@pytest.mark.parametrize(("total", "mode"), [(None, ""), (0, "legacy"), (8, "legacy")])
def test_the_eswitch_of_a_function_that_can_have_one(inventory, total, mode):
    pf = replace(next(inventory.pfs()), total_vfs=total)
    (nic,) = status_interfaces(Inventory(adapters=(Adapter("0000:86:00", (pf,)),)))
    assert nic.eswitch_mode == mode


def test_a_node_state_of_the_machine(inventory):
    state = state_of(inventory, name="node-1")
    assert state.name == "node-1"
    assert state.status.interfaces == status_interfaces(inventory)
    assert state.spec.to_wire() == {}
