"""The PCI bus: functions with their files, drivers, and which driver gets which (drivers/base and drivers/pci)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from virtfn.model import PciId
from virtfn.testing.ground.blocking import Operations, Steps
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.tree import Tree, oserror

if TYPE_CHECKING:
    from virtfn.testing.ground.drivers.base import Driver

_DEVICES = "sys/bus/pci/devices"
_DRIVERS = "sys/bus/pci/drivers"


class PciBus:
    """Functions by address and drivers by name, each with its part of /sys/bus/pci."""

    def __init__(self, tree: Tree, operations: Operations, *, iommu: bool) -> None:
        self._tree = tree
        self._operations = operations
        self._iommu = iommu
        self._groups = 0
        self.functions: dict[str, PciFunction] = {}
        self.drivers: dict[str, Driver] = {}
        tree.folder(_DEVICES)
        tree.folder(_DRIVERS)
        tree.folder("sys/kernel/iommu_groups")
        tree.folder("sys/class/iommu")
        if iommu:
            tree.folder("sys/devices/virtual/iommu/dmar0")
            tree.link("sys/class/iommu/dmar0", "sys/devices/virtual/iommu/dmar0")
        tree.attribute("sys/bus/pci/drivers_probe", write=self._drivers_probe)

    # --- functions ----------------------------------------------------------------------------------------------------

    def add(self, function: PciFunction) -> None:
        """Put a function on the bus, with no driver yet."""
        here = function.folder
        pci = function.card.profile.pci
        code = f"{function.class_code:06x}"
        texts = {
            "vendor": f"0x{function.id.vendor}",
            "device": f"0x{function.id.device}",
            "class": f"0x{code}",
            "subsystem_vendor": f"0x{pci.subsystem_vendor}",
            "subsystem_device": f"0x{pci.subsystem_device}",
            "revision": f"0x{pci.revision:02x}",
            "numa_node": str(function.card.numa_node),
            "modalias": f"pci:v0000{function.id.vendor.upper()}d0000{function.id.device.upper()}"
            f"sv0000{pci.subsystem_vendor.upper()}sd0000{pci.subsystem_device.upper()}"
            f"bc{code[:2].upper()}sc{code[2:4].upper()}i{code[4:].upper()}",
        }
        for name, text in texts.items():
            self._tree.file(f"{here}/{name}", f"{text}\n")
        self._tree.attribute(
            f"{here}/driver_override",
            read=lambda: f"{function.override or '(null)'}\n",
            write=lambda text: self._set_override(function, text),
        )
        if self._iommu:
            function.iommu_group = self._groups
            self._groups += 1
            group = f"sys/kernel/iommu_groups/{function.iommu_group}"
            self._tree.file(f"{group}/type", "DMA-FQ\n")
            self._tree.link(f"{group}/devices/{function.name}", here)
            self._tree.link(f"{here}/iommu_group", group)
        self._tree.link(f"{_DEVICES}/{function.name}", here)
        self.functions[function.name] = function

    def remove(self, function: PciFunction) -> None:
        """Take a function, which no driver has any more, off the bus."""
        function.gone = True
        del self.functions[function.name]
        self._tree.remove(f"{_DEVICES}/{function.name}")
        if function.iommu_group is not None:
            self._tree.remove(f"sys/kernel/iommu_groups/{function.iommu_group}")
        self._tree.remove(function.folder)

    def restart(self) -> None:
        """IOMMU groups are numbered anew with the machine."""
        self._groups = 0

    def find(self, text: str) -> PciFunction | None:
        """The function that a line written to sysfs names."""
        return self.functions.get(text.removesuffix("\n"))

    def _set_override(self, function: PciFunction, text: str) -> None:
        # an empty line clears it; an empty write never gets here
        function.override = text.removesuffix("\n") or None
        self._tree.refresh(function.folder)

    # --- drivers ------------------------------------------------------------------------------------------------------

    def register(self, driver: Driver) -> None:
        """What loading the driver's module does: it takes the functions that are waiting for it."""
        self.drivers[driver.name] = driver
        here = f"{_DRIVERS}/{driver.name}"
        self._tree.attribute(f"{here}/bind", write=lambda text: self._bind(driver, text))
        self._tree.attribute(f"{here}/unbind", write=lambda text: self._operations.run(self._unbind(driver, text)))
        self._tree.attribute(f"{here}/new_id", write=lambda text: self._new_id(driver, text))
        self._tree.attribute(f"{here}/remove_id", write=lambda text: self._remove_id(driver, text))
        self._tree.link(f"{here}/module", f"sys/module/{driver.module}")
        self._attach_waiting(driver)

    def unregister(self, driver: Driver) -> Steps[None]:
        """What unloading the driver's module does."""
        for function in [function for function in self.functions.values() if function.driver is driver]:
            yield from self.detach(function)
        self.drivers.pop(driver.name, None)
        self._tree.remove(f"{_DRIVERS}/{driver.name}")

    def matches(self, driver: Driver, function: PciFunction) -> bool:
        """Whether the driver wants the function: an override decides alone, else the ids do."""
        if function.override is not None:
            return function.override == driver.name
        return function.id in driver.ids or function.id in driver.dynamic_ids

    def probe(self, function: PciFunction) -> None:
        """Offer the function to the drivers; what goes wrong there is the kernel log's affair."""
        for driver in self.drivers.values():
            if function.driver is None and self.matches(driver, function):
                try:
                    self.attach(driver, function)
                except OSError as error:
                    driver.machine.log(
                        f"{driver.name}: probe of {function.name} failed with error {-(error.errno or 0)}"
                    )

    def attach(self, driver: Driver, function: PciFunction) -> None:
        """Bind. EBUSY when it has a driver, ENODEV for a VF whose PF has autoprobe off and that has no override."""
        if function.driver is not None:
            raise oserror(errno.EBUSY)
        pf = function.physfn
        if pf is not None and pf.sriov is not None and not pf.sriov.autoprobe and function.override is None:
            raise oserror(errno.ENODEV)
        function.driver = driver
        self._tree.link(f"{function.folder}/driver", f"{_DRIVERS}/{driver.name}")
        self._tree.link(f"{_DRIVERS}/{driver.name}/{function.name}", function.folder)
        try:
            driver.probe(function)
        except OSError:
            self._let_go(function)
            raise

    def detach(self, function: PciFunction) -> Steps[None]:
        """Unbind, whatever driver it has. Sleeps while a process holds it open."""
        if function.driver is None:
            return
        yield from function.driver.remove(function)
        self._let_go(function)

    def _let_go(self, function: PciFunction) -> None:
        if function.driver is not None:
            self._tree.remove(f"{_DRIVERS}/{function.driver.name}/{function.name}")
            self._tree.remove(f"{function.folder}/driver")
            function.driver = None
        self._tree.refresh(function.folder)

    def _attach_waiting(self, driver: Driver) -> None:
        for function in list(self.functions.values()):
            if function.driver is None and self.matches(driver, function):
                self.probe(function)

    # --- files --------------------------------------------------------------------------------------------------------

    def _bind(self, driver: Driver, text: str) -> None:
        function = self.find(text)
        if function is None or not self.matches(driver, function):
            raise oserror(errno.ENODEV)
        self.attach(driver, function)

    def _unbind(self, driver: Driver, text: str) -> Steps[None]:
        function = self.find(text)
        if function is None or function.driver is not driver:
            raise oserror(errno.ENODEV)
        yield from self.detach(function)

    def _drivers_probe(self, text: str) -> None:
        function = self.find(text)
        if function is None:
            raise oserror(errno.ENODEV)
        if function.driver is None:
            self.probe(function)

    def _new_id(self, driver: Driver, text: str) -> None:
        ident = _parse_id(text)
        if ident in driver.ids or ident in driver.dynamic_ids:
            raise oserror(errno.EEXIST)
        driver.dynamic_ids.add(ident)
        self._attach_waiting(driver)

    @staticmethod
    def _remove_id(driver: Driver, text: str) -> None:
        ident = _parse_id(text)
        if ident not in driver.dynamic_ids:
            raise oserror(errno.ENODEV)
        driver.dynamic_ids.remove(ident)


def _parse_id(text: str) -> PciId:
    """`vendor device` in hex. OSError(EINVAL)."""
    try:
        vendor, device = (int(part, 16) for part in text.split()[:2])
    except ValueError:
        raise oserror(errno.EINVAL) from None
    return PciId(f"{vendor:04x}", f"{device:04x}")
