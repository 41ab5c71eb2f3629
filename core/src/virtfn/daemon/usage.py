"""Which VFs somebody uses, as far as this machine shows it without asking the cluster.

A VF's netdev that is not in this network namespace was given to a container; a VF on vfio-pci is in use while a
process has it open. A vDPA device on it is looked at likewise: its netdev with virtio_vdpa, its holder with vhost_vdpa.
A VF whose use cannot be told counts as used.
"""

from __future__ import annotations

from virtfn.host.machine import Machine
from virtfn.model import Inventory, PciAddress, Vf


def vfs_in_use(machine: Machine, inventory: Inventory) -> frozenset[PciAddress]:
    """Addresses of the VFs in use. Reads only; for vfio and vhost_vdpa, `/proc` is looked through."""
    return frozenset(vf.address for pf in inventory.pfs() for vf in pf.vfs if _in_use(machine, vf))


def _in_use(machine: Machine, vf: Vf) -> bool:
    if vf.driver is None:
        return False
    if vf.in_userspace:
        return bool(machine.vf_holders(vf.address))
    if vf.netdev is None or vf.vdpa is None:
        return vf.netdev is None
    if vf.vdpa.type == "virtio":
        return vf.vdpa.netdev is None
    return bool(machine.vf_holders(vf.address))
