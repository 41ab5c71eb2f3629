"""vDPA devices on VFs: what there is, and the rules of making, binding and removing them.

A vDPA device stands on the bus `vdpa`, below the function that it was made on. It is bound to one of two drivers:
virtio_vdpa makes it a virtio device with a netdev on this host, vhost_vdpa a character device that a hypervisor opens.
A driver cannot let go of a device that is held open through that file: the kernel waits without end, and while the
device itself is being removed nobody else can ask anything of vDPA. So the holder is looked for first, and a device is
taken from its driver, with a time limit, before it is removed.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from virtfn.errors import DeviceBusy, DeviceGone, HostError, KernelRefused, NotEffective, WaitTimeout
from virtfn.host.kernel import Kernel
from virtfn.host.refusals import host_error
from virtfn.model.inventory import VdpaDevice, vdpa_name
from virtfn.model.pci import PciAddress

_log = logging.getLogger(__name__)

BUS = "sys/bus/vdpa"
MAX_VQP = 32
"""Pairs of queues that are asked for; a driver that takes no number makes as many as it likes."""
_NO_SUCH_NUMBER = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
"""The driver takes no number, or the function has fewer pairs."""
_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ENXIO})
_VHOST = "vhost-vdpa-"
_OWN = "vdpa:"

Handle = tuple[str, str]


@dataclass(frozen=True, slots=True)
class VdpaView:
    """The vDPA of a machine in one pass: names of all devices, and addresses of the functions that can have one."""

    names: frozenset[str] = frozenset()
    strangers: tuple[str, ...] = ()
    """Those that are not named after a function, as virtfn names its own."""
    managed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], managed: frozenset[str] = frozenset()) -> VdpaView:
        """The view with devices of these names."""
        known = frozenset(names)
        own = {name for name in known if name.startswith(_OWN) and PciAddress.read(name.removeprefix(_OWN))}
        return cls(known, tuple(sorted(known - own)), managed)


class VdpaReader:
    """Reads."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def view(self) -> VdpaView:
        """Names and management devices. While the kernel's vDPA module is not loaded, nothing is asked."""
        if not self._kernel.files.exists(BUS):
            return VdpaView()
        try:
            handles = self._kernel.vdpa.management()
        except OSError as error:
            _log.debug("vDPA management devices cannot be listed: %s", error)
            handles = frozenset()
        managed = frozenset(name for bus, name in handles if bus == "pci")
        return VdpaView.of(self._kernel.files.listdir(f"{BUS}/devices"), managed)

    def device_of(self, function: PciAddress, view: VdpaView) -> VdpaDevice | None:
        """The vDPA device on a function: the one that virtfn names after it, else any that stands below it."""
        own = vdpa_name(function)
        if own in view.names:
            return self.device(own)
        exists = self._kernel.files.exists
        below = (name for name in view.strangers if exists(f"sys/bus/pci/devices/{function}/{name}"))
        return next((self.device(name) for name in below), None)

    def device(self, name: str) -> VdpaDevice | None:
        """A vDPA device by name; None when there is none."""
        files = self._kernel.files
        if not files.exists(f"{BUS}/devices/{name}"):
            return None
        virtio = [entry for entry in files.listdir(f"{BUS}/devices/{name}") if entry.startswith("virtio")]
        netdevs = [netdev for entry in virtio for netdev in files.listdir(f"{BUS}/devices/{name}/{entry}/net")]
        return VdpaDevice(name, files.readlink(f"{BUS}/devices/{name}/driver"), next(iter(netdevs), None))

    def holders(self, name: str) -> tuple[str, ...]:
        """Processes that hold a device open through vhost_vdpa, as `name (pid N)`."""
        files = [entry for entry in self._kernel.files.listdir(f"{BUS}/devices/{name}") if entry.startswith(_VHOST)]
        return tuple(str(user) for file in files for user in self._kernel.processes.vdpa_users(file))

    def holders_of(self, function: PciAddress) -> tuple[str, ...]:
        """As `holders`, of the vDPA device on a function if it has one."""
        names = self._kernel.files.listdir(f"{BUS}/devices")
        device = self.device_of(function, VdpaView.of(names)) if names else None
        return self.holders(device.name) if device is not None else ()


class VdpaWriter(VdpaReader):
    """Writes. `about` is the PCI function that messages are about, or whatever stands for it.

    :param wait_until: as the method of `Host`.
    :param appears: seconds from a driver taking a function until it can have a vDPA device.
    :param driver: seconds for one bind or unbind.
    """

    def __init__(self, kernel: Kernel, *, wait_until: Callable[..., None], appears: float, driver: float) -> None:
        super().__init__(kernel)
        self._wait_until = wait_until
        self._appears = appears
        self._driver_seconds = driver

    # --- making and removing ------------------------------------------------------------------------------------------

    def add(self, handle: Handle, name: str, *, about: str) -> VdpaDevice:
        """Make a device. Nothing happens when there is one of that name.

        :raises KernelRefused: the management device is not there: no driver or module makes it one.
        :raises NotEffective: it was told to be made, and is not on the bus.
        """
        if (there := self.device(name)) is not None:
            return there
        what = f"cannot make vDPA device {name}"
        self._wait_for(handle, what=what, about=about)
        _log.debug("%s: make vDPA device %s", about, name, extra={"device": about})
        try:
            try:
                self._kernel.vdpa.add(handle, name, max_vqp=MAX_VQP)
            except OSError as error:
                if error.errno not in _NO_SUCH_NUMBER:
                    raise
                self._kernel.vdpa.add(handle, name)
        except OSError as error:
            if error.errno != errno.EEXIST or self.device(name) is None:
                hint = "it has a vDPA device of another name already" if error.errno == errno.ENOSPC else ""
                raise host_error(error, device=about, what=what, hint=hint) from error
        made = self.device(name)
        if made is None:
            raise NotEffective(f"{about}: {what} (the kernel took it, and there is no such device)", device=about)
        return made

    def _wait_for(self, handle: Handle, *, what: str, about: str) -> None:
        try:
            self._wait_until(
                lambda: handle in self._kernel.vdpa.management(), timeout=self._appears, why="vDPA", device=about
            )
        except WaitTimeout as error:
            raise KernelRefused(
                f"{about}: {what} (the kernel offers no vDPA on it: the vDPA module of its driver is not loaded, or "
                "card and firmware cannot do it in this mode; `vdpa mgmtdev show` lists what can)",
                device=about,
                errno=errno.ENODEV,
            ) from error
        except OSError as error:
            raise host_error(error, device=about, what=what) from error

    def remove(self, name: str, *, about: str) -> None:
        """Remove a device; nothing happens when it is not there.

        :raises DeviceBusy: a process holds it open.
        """
        what = f"cannot remove vDPA device {name}"
        self._unbind(name, what=what, about=about)
        if self.device(name) is None:
            return
        _log.debug("%s: remove vDPA device %s", about, name, extra={"device": about})
        try:
            self._kernel.vdpa.remove(name)
        except OSError as error:
            if error.errno not in _GONE:
                raise host_error(error, device=about, what=what) from error
        if self.device(name) is not None:
            raise NotEffective(f"{about}: {what} (it is still there)", device=about)

    # --- drivers ------------------------------------------------------------------------------------------------------

    def bind(self, name: str, driver: str | None, *, about: str) -> None:
        """Bind a device to a driver, from another if need be; None: to no driver.

        :raises DeviceGone: there is no such device.
        :raises DeviceBusy: a process holds it open.
        """
        what = f"cannot bind vDPA device {name} to {driver or 'no driver'}"
        device = self.device(name)
        if device is None:
            raise DeviceGone(f"{about}: {what} (it is not there)", device=about)
        if device.driver != driver:
            if driver is not None and not self._kernel.files.exists(f"{BUS}/drivers/{driver}"):
                raise KernelRefused(
                    f"{about}: {what} (no such driver is registered: load its module)", device=about, errno=errno.ENOENT
                )
            self._unbind(name, what=what, about=about)
            if driver is not None:
                self._bind(name, driver, what=what, about=about)
        now = self.device(name)
        if now is None or now.driver != driver:
            bound = "nothing" if now is None else now.driver or "nothing"
            raise NotEffective(f"{about}: {what} (it is bound to {bound} afterwards)", device=about)

    def _bind(self, name: str, driver: str, *, what: str, about: str) -> None:
        override = f"{BUS}/devices/{name}/driver_override"
        has_override = self._kernel.files.exists(override)  # Linux 5.16; before, any driver takes any device
        if has_override:
            self._write(override, driver, what=what, about=about)
        try:
            self._write(f"{BUS}/drivers/{driver}/bind", name, what=what, about=about, slow=True)
        finally:
            if has_override and self.device(name) is not None:
                self._write(override, "\n", what=what, about=about)

    def _unbind(self, name: str, *, what: str, about: str) -> None:
        device = self.device(name)
        if device is None or device.driver is None:
            return
        if holders := self.holders(name):
            raise DeviceBusy(
                f"{about}: {what} (it is held open by {', '.join(holders)}: stop it, then try again)",
                device=about,
                vfs=(about,),
                holders=holders,
            )
        try:
            self._write(f"{BUS}/drivers/{device.driver}/unbind", name, what=what, about=about, slow=True)
        except HostError:
            now = self.device(name)
            if now is not None and now.driver is not None:
                raise
        now = self.device(name)
        if now is not None and now.driver is not None:
            raise NotEffective(f"{about}: {what} (it is still bound to {now.driver})", device=about)

    def _write(self, path: str, text: str, *, what: str, about: str, slow: bool = False) -> None:
        _log.debug("%s: write %r to /%s", about, text, path, extra={"device": about})
        files = self._kernel.files
        try:
            if slow:
                files.write_slow(path, text, timeout=self._driver_seconds)
            else:
                files.write(path, text)
        except OSError as error:
            raise host_error(error, device=about, what=what) from error
