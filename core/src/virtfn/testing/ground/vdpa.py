"""The bus `vdpa` (drivers/vdpa): management devices, devices made on them, and the two drivers that take these.

A card's driver says which functions can have a device (`Driver.makes_vdpa`). A new device goes to whichever of the two
drivers was loaded first, unless an override names one: measured on Linux 6.12 with the kernel's own simulator.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtfn.host.kernel import Process
from virtfn.testing.ground import names
from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.calls import Call, Calls
from virtfn.testing.ground.card import Netdev, PciFunction
from virtfn.testing.ground.tree import oserror

if TYPE_CHECKING:
    from virtfn.testing.ground.kernel_model import KernelModel

_BUS = "sys/bus/vdpa"
_MODULE = "vdpa"
_DRIVERS = ("virtio_vdpa", "vhost_vdpa")


@dataclass(slots=True, eq=False)
class VdpaDevice:
    """A device on the bus."""

    name: str
    function: PciFunction
    driver: str | None = None
    override: str | None = None
    number: int = 0
    """N of `vhost-vdpa-N`, or of `virtioN`."""
    netdev: Netdev | None = None
    holders: list[Process] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """In the tree, below the function that it was made on."""
        return f"{self.function.folder}/{self.name}"


class VdpaBus:
    """Devices by name."""

    def __init__(self, machine: KernelModel) -> None:
        self._machine = machine
        self._drivers: list[str] = []
        self.devices: dict[str, VdpaDevice] = {}

    # --- modules ------------------------------------------------------------------------------------------------------

    def loaded(self, module: str) -> None:
        """A kernel module has been loaded."""
        tree = self._machine.tree
        if module == _MODULE:
            tree.folder(f"{_BUS}/devices")
            tree.folder(f"{_BUS}/drivers")
        if module not in _DRIVERS:
            return
        self._drivers.append(module)
        here = f"{_BUS}/drivers/{module}"
        run = self._machine.operations.run
        tree.attribute(f"{here}/bind", write=lambda text: self._bind(module, text))
        tree.attribute(f"{here}/unbind", write=lambda text: run(self._unbind(module, text)))
        for device in self.devices.values():
            self._probe(device)

    def restart(self) -> None:
        """The machine starts anew, and nothing is loaded."""
        self.devices.clear()
        self._drivers.clear()
        self._machine.tree.remove(_BUS)

    # --- devices ------------------------------------------------------------------------------------------------------

    def management(self) -> frozenset[tuple[str, str]]:
        """Functions that a device can be made on. OSError(ENOENT): the family is not there."""
        if _MODULE not in self._machine.modules.loaded:
            raise oserror(errno.ENOENT)
        functions = self._machine.pci.functions.values()
        able = (function for function in functions if function.driver and function.driver.makes_vdpa(function))
        return frozenset(("pci", function.name) for function in able)

    def add(self, handle: tuple[str, str], name: str, max_vqp: int | None) -> None:
        """VDPA_CMD_DEV_NEW. OSError: ENODEV no such management device, EEXIST the name is taken, ENOSPC it has one."""
        if handle not in self.management():
            raise oserror(errno.ENODEV, "Fail to find the specified management device")
        if name in self.devices:
            raise oserror(errno.EEXIST)
        if max_vqp is not None and max_vqp < 1:
            raise oserror(errno.EINVAL)
        function = self._machine.function(handle[1])
        if self.on(function):
            raise oserror(errno.ENOSPC)
        device = VdpaDevice(name, function)
        tree = self._machine.tree

        def set_override(text: str) -> None:
            device.override = text.removesuffix("\n") or None
            tree.refresh(device.folder)

        tree.attribute(
            f"{device.folder}/driver_override", read=lambda: f"{device.override or '(null)'}\n", write=set_override
        )
        tree.link(f"{_BUS}/devices/{name}", device.folder)
        self.devices[name] = device
        self._probe(device)

    def remove(self, name: str) -> Steps[None]:
        """VDPA_CMD_DEV_DEL. OSError(ENODEV). Sleeps while a process holds the device open."""
        device = self._find(name)
        yield from self._detach(device)
        self._machine.tree.remove(f"{_BUS}/devices/{name}")
        self._machine.tree.remove(device.folder)
        self.devices.pop(name, None)

    def on(self, function: PciFunction) -> list[VdpaDevice]:
        """The devices made on a function."""
        return [device for device in self.devices.values() if device.function is function]

    def leave(self, function: PciFunction) -> Steps[None]:
        """The function's driver lets go of it: its devices go first."""
        for device in self.on(function):
            yield from self.remove(device.name)

    def _find(self, text: str) -> VdpaDevice:
        device = self.devices.get(text.removesuffix("\n"))
        if device is None:
            raise oserror(errno.ENODEV)
        return device

    # --- drivers ------------------------------------------------------------------------------------------------------

    def _probe(self, device: VdpaDevice) -> None:
        for driver in self._drivers:
            if device.driver is None and device.override in (None, driver):
                self._attach(device, driver)

    def _bind(self, driver: str, text: str) -> None:
        device = self._find(text)
        if device.override not in (None, driver):
            raise oserror(errno.ENODEV)
        if device.driver is not None:
            raise oserror(errno.EBUSY)
        self._attach(device, driver)

    def _unbind(self, driver: str, text: str) -> Steps[None]:
        device = self._find(text)
        if device.driver != driver:
            raise oserror(errno.ENODEV)
        yield from self._detach(device)

    def _attach(self, device: VdpaDevice, driver: str) -> None:
        tree = self._machine.tree
        taken = {other.number for other in self.devices.values() if other.driver == driver}
        device.driver = driver
        device.number = next(number for number in range(len(taken) + 1) if number not in taken)
        tree.link(f"{device.folder}/driver", f"{_BUS}/drivers/{driver}")
        if driver == "virtio_vdpa":
            self._add_netdev(device)
            return
        tree.file(f"{device.folder}/vhost-vdpa-{device.number}/dev", f"510:{device.number}\n")
        tree.plain(f"dev/vhost-vdpa-{device.number}", "")

    def _add_netdev(self, device: VdpaDevice) -> None:
        net, ports = self._machine.net, device.function.card.profile.ports
        device.netdev = Netdev(
            ifindex=net.new_ifindex(),
            name=net.free_name(names.vdpa_netdev_name(device.function)),
            function=device.function,
            mac=net.random_mac(),
            permanent_mac=None,
            mtu=ports.mtu,
            min_mtu=ports.min_mtu,
            max_mtu=ports.max_mtu,
            speed_mbps=ports.speed_mbps,
            mac_is_random=True,
            of_vdpa=True,
        )
        net.add(device.netdev, folder=f"{device.folder}/virtio{device.number}")

    def _detach(self, device: VdpaDevice) -> Steps[None]:
        if device.holders:
            self._machine.log(f"vhost_vdpa {device.name}: waits for its release")
        while device.holders:
            yield
        if device.driver is None:
            return
        if device.netdev is not None:
            self._machine.net.remove(device.netdev)
            self._machine.tree.remove(f"{device.folder}/virtio{device.number}")
            device.netdev = None
        else:
            self._machine.tree.remove(f"{device.folder}/vhost-vdpa-{device.number}")
            self._machine.tree.remove(f"dev/vhost-vdpa-{device.number}")
        self._machine.tree.remove(f"{device.folder}/driver")
        device.driver = None


@dataclass(frozen=True, slots=True)
class FakeVdpa:
    """`virtfn.host.kernel.Vdpa`. Each method is one call in the record."""

    model: KernelModel
    calls: Calls

    def management(self) -> frozenset[tuple[str, str]]:
        """See `Vdpa`."""

        def look() -> frozenset[tuple[str, str]]:
            try:
                return self.model.vdpa.management()
            except FileNotFoundError:
                return frozenset()

        return self.calls.perform(Call("vdpa_management", ""), look) or frozenset()

    def add(self, handle: tuple[str, str], name: str, *, max_vqp: int | None = None) -> None:
        """See `Vdpa`."""
        call = Call("vdpa_add", "/".join(handle), {"name": name, "max_vqp": max_vqp})
        self.calls.perform(call, lambda: self.model.vdpa.add(handle, name, max_vqp), writes=True)

    def remove(self, name: str) -> None:
        """See `Vdpa`."""
        run = self.model.operations.run
        self.calls.perform(Call("vdpa_remove", name), lambda: run(self.model.vdpa.remove(name)), writes=True)
