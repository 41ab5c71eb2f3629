"""What a machine has, as a node state's status tells it: what policies select from, in a cluster and without one."""

from __future__ import annotations

from virtfn.model import EswitchMode, Inventory, Pf, Vf
from virtfn.model.crd import InterfaceStatus, NodeStateStatus, ObjectMeta, SriovNetworkNodeState, VfStatus
from virtfn.model.guids import kernel_guid


def state_of(inventory: Inventory, *, name: str = "") -> SriovNetworkNodeState:
    """A node state with nothing wanted and the machine's interfaces in its status; `name` is the node's."""
    return SriovNetworkNodeState(
        metadata=ObjectMeta(name=name), status=NodeStateStatus(interfaces=status_interfaces(inventory))
    )


def status_interfaces(inventory: Inventory) -> tuple[InterfaceStatus, ...]:
    """`status.interfaces` of the machine, in the inventory's order: every function, also those that make no VFs."""
    return tuple(_interface(pf) for pf in inventory.pfs())


def _interface(pf: Pf) -> InterfaceStatus:
    netdev = pf.netdev
    eswitch = (pf.eswitch_mode or EswitchMode.LEGACY).value if pf.total_vfs is not None else ""
    return InterfaceStatus(
        pciAddress=str(pf.address),
        vendor=pf.id.vendor,
        deviceID=pf.id.device,
        driver=pf.driver or "",
        name=netdev.name if netdev else "",
        mac=netdev.mac if netdev else "",
        mtu=netdev.mtu if netdev else 0,
        linkSpeed=f"{netdev.speed_mbps} Mb/s" if netdev and netdev.speed_mbps is not None else "",
        linkType=netdev.link_type.value if netdev and netdev.link_type else "",
        linkAdminState=("up" if netdev.up else "down") if netdev else "",
        altNames=netdev.alt_names if netdev else (),
        totalvfs=pf.total_vfs or 0,
        numVfs=pf.num_vfs,
        eSwitchMode=eswitch,
        Vfs=tuple(_vf(vf) for vf in pf.vfs),
    )


def _vf(vf: Vf) -> VfStatus:
    netdev, settings = vf.netdev, vf.settings
    return VfStatus(
        pciAddress=str(vf.address),
        vfID=vf.index,
        vendor=vf.id.vendor,
        deviceID=vf.id.device,
        driver=vf.driver or "",
        name=netdev.name if netdev else "",
        mac=netdev.mac if netdev else "",
        mtu=netdev.mtu if netdev else 0,
        Vlan=(settings.vlan or 0) if settings else 0,
        representorName=vf.representor or "",
        vdpaType=(vf.vdpa.type or "") if vf.vdpa else "",
        guid=guid_of(vf),
    )


def guid_of(vf: Vf) -> str:
    """GUID of its RDMA device; of an InfiniBand VF without one here, what its PF keeps for it; empty: none is known."""
    if vf.rdma is not None:
        return vf.rdma.node_guid or ""
    return kernel_guid(vf.settings.node_guid) if vf.settings else ""
