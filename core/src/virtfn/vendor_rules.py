"""What the installed plugins say of a request, from what node states tell of the cards: no machine is asked.

The bridge between the pure rules (`virtfn.policy.validation`), which know no plugin, and the registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from virtfn.errors import RequestError, VirtfnError
from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DesiredState,
    EswitchMode,
    Inventory,
    LinkType,
    Netdev,
    PciAddress,
    PciId,
    Pf,
    Platform,
    Problem,
    Severity,
    Vf,
)
from virtfn.model.crd import InterfaceStatus, NodeStateSpec, VfStatus
from virtfn.model.rdma import RdmaDevice
from virtfn.observing import group_adapters
from virtfn.planning.checks import put_aside
from virtfn.policy import desired_state
from virtfn.registry import Registry

_ETHERNET, _INFINIBAND = 0x020000, 0x020700


def inventory_of(interfaces: Iterable[InterfaceStatus], *, virtual: bool = False) -> Inventory:
    """The inventory of a node as far as its state tells it: `virtfn.policy.status_interfaces` backwards.

    What a status does not say is taken as fit: an IOMMU and RDMA are there, and where a PF has SR-IOV so is an eswitch.
    NICs without a proper address or ids are left out.

    :param virtual: the node is a VM.
    """
    pfs = [pf for pf in map(_pf, interfaces) if pf is not None]
    return Inventory(adapters=group_adapters(pfs), platform=Platform(virtual=virtual, iommu=True))


def _pf(status: InterfaceStatus) -> Pf | None:
    try:
        address = PciAddress.parse(status.pci_address)
        device = PciId.parse(f"{status.vendor}:{status.device_id}")
    except RequestError:
        return None
    link_type = {kind.value: kind for kind in LinkType}.get(status.link_type.upper())
    mode = {kind.value: kind for kind in EswitchMode}.get(status.eswitch_mode)
    netdev = Netdev(
        name=status.name,
        ifindex=0,
        mac=status.mac,
        mtu=status.mtu,
        up=status.link_admin_state != "down",
        link_type=link_type,
        alt_names=status.alt_names,
    )
    vfs = tuple(vf for vf in map(_vf, status.vfs) if vf is not None)
    # Of a VM's NIC the status shows the NIC itself as its one VF.
    sriov = bool(status.total_vfs) and all(vf.address != address for vf in vfs)
    return Pf(
        address=address,
        id=device,
        class_code=_INFINIBAND if link_type is LinkType.IB else _ETHERNET,
        driver=status.driver or None,
        netdev=netdev if status.name else None,
        total_vfs=status.total_vfs if sriov else None,
        vf_id=vfs[0].id if vfs else None,
        eswitch_mode=mode or (EswitchMode.LEGACY if sriov else None),
        rdma=RdmaDevice(name=""),
        vfs=tuple(sorted(vfs, key=lambda vf: vf.index)) if sriov else (),
    )


def _vf(status: VfStatus) -> Vf | None:
    try:
        address = PciAddress.parse(status.pci_address)
        device = PciId.parse(f"{status.vendor}:{status.device_id}")
    except RequestError:
        return None
    return Vf(address=address, index=status.vf_id, id=device, driver=status.driver or None)


class PluginRules:
    """`VendorRules` of `virtfn.policy.validation`, told by the plugins of a registry (one that has loaded all)."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def most_vfs(self, pf: InterfaceStatus) -> int | None:
        """`max_vfs` of the card's row, if its plugin sets the number in firmware; None: `totalvfs` is the limit."""
        for adapter in self._registry.assign(inventory_of([pf])).adapters:
            owner = self._registry.plugin(adapter.owner) if adapter.owner is not None else None
            for row in owner.device_table if owner is not None else ():
                if row.pf == adapter.pfs[0].id and row.vfs_in_firmware:
                    return row.max_vfs
        return None

    def problems(
        self, interfaces: Sequence[InterfaceStatus], spec: NodeStateSpec, *, virtual: bool
    ) -> tuple[Problem, ...]:
        """What the plugins of a node's cards have against the spec.

        Nothing of what the request itself is wrong in is told: that is for other rules. A plugin that fails is told
        as a warning.
        """
        inventory = self._registry.assign(inventory_of(interfaces, virtual=virtual))
        wanted, _ = desired_state(spec, inventory)
        told: list[Problem] = []
        for adapter in inventory.adapters:
            if adapter.owner is not None:
                told += self._of_adapter(adapter, wanted, inventory.platform)
        return tuple(told)

    def _of_adapter(self, adapter: Adapter, wanted: DesiredState, platform: Platform) -> Sequence[Problem]:
        pfs = tuple(want for pf in adapter.pfs if (want := wanted.pf(pf.address)) is not None)
        if not pfs:
            return ()
        desired = DesiredAdapter(adapter.address, pfs)
        try:
            told = self._registry.hooks(adapter).validate(adapter, desired=desired, platform=platform)
            return put_aside(told)[0]
        except VirtfnError as error:
            return [Problem(adapter.address, str(error), error.reason, severity=Severity.WARNING)]
