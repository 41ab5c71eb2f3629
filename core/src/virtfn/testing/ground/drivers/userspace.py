"""Drivers that hand a function to user space."""

from __future__ import annotations

import errno

from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.drivers.base import Driver
from virtfn.testing.ground.tree import oserror


class VfioPci(Driver):
    """vfio-pci: takes a function by override or new_id only, and cannot let go of one that a process holds open."""

    def probe(self, function: PciFunction) -> None:
        """The group's and the device's character devices. EINVAL without an IOMMU group."""
        if function.iommu_group is None:
            raise oserror(errno.EINVAL)
        others = (other for other in self.machine.pci.functions.values() if other is not function)
        taken = {other.bus_number for other in others if other.driver is self}
        function.bus_number = next(number for number in range(len(taken) + 1) if number not in taken)
        tree, device = self.machine.tree, f"vfio{function.bus_number}"
        tree.plain(f"dev/vfio/{function.iommu_group}", "")
        tree.plain(f"dev/vfio/devices/{device}", "")
        tree.file(f"{function.folder}/vfio-dev/{device}/dev", f"511:{function.bus_number}\n")

    def remove(self, function: PciFunction) -> Steps[None]:
        """Waits, without end, until nobody has the device open. An open group alone does not matter."""
        if function.held:
            self.machine.log(
                f"vfio-pci {function.name}: No device request channel registered, blocked until released by user"
            )
        while function.held:
            yield
        tree = self.machine.tree
        tree.remove(f"{function.folder}/vfio-dev")
        tree.remove(f"dev/vfio/devices/vfio{function.bus_number}")
        tree.remove(f"dev/vfio/{function.iommu_group}")


class UioPciGeneric(Driver):
    """uio_pci_generic: nothing but the binding."""
