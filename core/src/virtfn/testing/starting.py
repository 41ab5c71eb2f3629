"""How a machine may look when virtfn first comes to it: somebody has made VFs already, and left his own settings."""

from __future__ import annotations

from dataclasses import dataclass

from virtfn.host.machine import Machine
from virtfn.model import DeviceType, EswitchMode, PciAddress
from virtfn.model.inventory import VDPA_DRIVERS


@dataclass(frozen=True, slots=True)
class PfStart:
    """One PF as it was left. A PF that is not named is as the ground has it."""

    address: PciAddress
    num_vfs: int = 0
    up: bool = True
    mtu: int | None = None
    mode: EswitchMode | None = None
    autoprobe: bool | None = None
    userspace: tuple[int, ...] = ()
    """VFs that are bound to vfio-pci."""
    driverless: tuple[int, ...] = ()
    """VFs that have no driver."""
    vdpa: tuple[str | None, ...] = ()
    """Kinds of the vDPA devices that somebody made on the VFs, by index: `virtio`, `vhost`, or none."""
    vdpa_module: str = ""
    """Kernel module that this takes."""

    def __str__(self) -> str:
        words = [f"{self.num_vfs} VFs", "up" if self.up else "down"]
        words += [f"MTU {self.mtu}"] if self.mtu is not None else []
        words += [self.mode.value] if self.mode is not None else []
        words += ["autoprobe off"] if self.autoprobe is False else []
        words += [f"VFs {list(self.userspace)} on vfio-pci"] if self.userspace else []
        words += [f"VFs {list(self.driverless)} without driver"] if self.driverless else []
        words += [f"vDPA {list(self.vdpa)}"] if self.vdpa else []
        return f"{self.address}: {', '.join(words)}"


Start = tuple[PfStart, ...]
"""The machine before virtfn: none is the ground as it is."""


def arrange(machine: Machine, start: Start) -> None:
    """Bring the machine there, by the kernel's interfaces alone."""
    for pf in start:
        if machine.vf_addresses(pf.address):
            machine.set_num_vfs(pf.address, 0)
        machine.set_link(pf.address, mtu=pf.mtu, up=True)
        if pf.mode not in (None, machine.pf(pf.address).eswitch_mode):
            assert pf.mode is not None
            machine.set_eswitch_mode(pf.address, pf.mode)
        if pf.num_vfs:
            machine.set_num_vfs(pf.address, pf.num_vfs)
        if pf.userspace:
            machine.load_module(DeviceType.VFIO_PCI.value)
        for index in pf.userspace:
            machine.bind_driver(machine.vf_address(pf.address, index), DeviceType.VFIO_PCI.value)
        for index in pf.driverless:
            machine.unbind_driver(machine.vf_address(pf.address, index))
        for index, kind in enumerate(pf.vdpa):
            if kind is not None:
                machine.load_module(pf.vdpa_module)
                machine.load_module(VDPA_DRIVERS[kind])
                machine.add_vdpa(machine.vf_address(pf.address, index))
                machine.bind_vdpa(machine.vf_address(pf.address, index), VDPA_DRIVERS[kind])
        if pf.autoprobe is not None:
            machine.set_drivers_autoprobe(pf.address, pf.autoprobe)
        machine.set_link(pf.address, up=pf.up)
