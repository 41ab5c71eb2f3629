"""Writes the machine: the rules of the kernel's SR-IOV interfaces, on real and simulated ground alike.

Two rules stand above the others. A VF that a process holds open through vfio is looked for *before* it is taken away,
because the kernel then blocks for ever, with a lock held that stops other PFs too. And every write that can block is
given up on after a time (`Files.write_slow`); the error says what was asked and who may be in the way.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from virtfn.errors import (
    DeviceBusy,
    HostError,
    KernelRefused,
    NotEffective,
    TooManyVfs,
    UnsupportedSetting,
    WaitTimeout,
)
from virtfn.host.bridge_writer import OvsBridges
from virtfn.host.features import Features
from virtfn.host.kernel import Kernel, LinkInfo
from virtfn.host.rdma_mode import RdmaSwitch
from virtfn.host.reader import DEVICES, Reader, device_path
from virtfn.host.refusals import host_error
from virtfn.host.vdpa_devices import VdpaWriter
from virtfn.model import DeviceType, EswitchMode, PciAddress
from virtfn.model.inventory import USERSPACE_DRIVERS, vdpa_name
from virtfn.model.rdma import RdmaFacts

_log = logging.getLogger(__name__)


_ROUNDED = frozenset({"min_tx_rate", "max_tx_rate"})
"""Settings that hardware has in steps of its own."""


_UNBOUND_SECONDS = 5.0
"""From a successful unbind until the function shows no driver."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take, in seconds."""

    set_num_vfs: float = 120.0
    """One write to `sriov_numvfs`: 125 VFs of a ConnectX-6 Lx were seen to take 65 s."""
    driver: float = 30.0
    """One bind or unbind of a driver."""
    vfs_appear: float = 10.0
    """From a successful write until the `virtfn` links are there."""
    netdev_appears: float = 10.0
    """From binding a driver until its netdev is there."""
    module: float = 60.0
    """`modprobe`."""
    vdpa_appears: float = 10.0
    """From a driver taking a VF until the VF can have a vDPA device."""


class Machine(Features):
    """`virtfn.host.api.Host` on a `Kernel`."""

    def __init__(self, kernel: Kernel, *, timeouts: Timeouts | None = None) -> None:
        super().__init__(kernel)
        self._timeouts = timeouts or Timeouts()
        self.vdpa = VdpaWriter(
            kernel, wait_until=self.wait_until, appears=self._timeouts.vdpa_appears, driver=self._timeouts.driver
        )
        """vDPA devices by name, of whatever makes them."""
        self.bridges = OvsBridges(kernel, link=self._require_link, own_link=self.own_link, wait_until=self.wait_until)
        """Open vSwitch."""
        self._rdma = RdmaSwitch(kernel)

    @property
    def reader(self) -> Reader:
        """The same machine for whoever may not write: plugins that observe."""
        return Reader(self._kernel, answers=self._answers)

    def _before_run(self, device: str) -> None:
        """What the program may change is asked anew afterwards."""
        if device:
            self._answers.forget(device)

    # --- number of VFs ------------------------------------------------------------------------------------------------

    def set_num_vfs(self, pf: PciAddress, count: int, *, probe: bool = True) -> None:
        """See `Host`."""
        self.require(pf)
        existing = self.vf_addresses(pf)
        if len(existing) == count:
            return
        total = self._number(pf, "sriov_totalvfs")
        if total is None:
            raise UnsupportedSetting(
                f"{pf}: has no SR-IOV files (SR-IOV is switched off in firmware or BIOS, or needs a reboot)",
                field="numVfs",
            )
        if count > total:
            raise TooManyVfs(
                f"{pf}: {count} VFs wanted, the device can make {total} (sriov_totalvfs): ask for at most {total}",
                field="numVfs",
            )
        mode = self._eswitch_mode(pf) if existing and count else None
        if existing:
            self._refuse_if_in_use(pf, existing, what=f"cannot change the number of VFs to {count}")
            self._write_num_vfs(pf, 0)
        if count:
            with self._autoprobe(pf, enabled=probe):
                self._write_num_vfs(pf, count)
        if mode is not None and self._eswitch_mode(pf) is not mode:
            # some drivers go back to legacy with the last VF; those of older kernels want VFs before another mode
            self.set_eswitch_mode(pf, mode)

    def _eswitch_mode(self, pf: PciAddress) -> EswitchMode | None:
        return self._kernel.devlink.eswitch_mode(("pci", str(pf)))

    def _write_num_vfs(self, pf: PciAddress, count: int) -> None:
        what = f"cannot set the number of VFs to {count}"
        _say(pf, "number of VFs to %d", count)
        try:
            self._kernel.files.write_slow(
                device_path(pf, "sriov_numvfs"), str(count), timeout=self._timeouts.set_num_vfs
            )
        except TimeoutError as error:
            raise self._hung(pf, what, self._timeouts.set_num_vfs) from error
        except OSError as error:
            hint = "no driver is bound to the PF" if error.errno == errno.ENOENT else ""
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf), hint=hint) from error
        try:
            self.wait_until(
                lambda: len(self.vf_addresses(pf)) == count, timeout=self._timeouts.vfs_appear, why=f"{count} VFs"
            )
        except WaitTimeout as error:
            self.require(pf)
            raise NotEffective(
                f"{pf}: {count} VFs wanted, the driver took the number and made {len(self.vf_addresses(pf))} "
                "(the kernel log says why; some drivers want the link up first)",
                device=str(pf),
            ) from error

    @contextmanager
    def _autoprobe(self, pf: PciAddress, *, enabled: bool) -> Iterator[None]:
        """`sriov_drivers_autoprobe` as wanted, and as it was afterwards."""
        before = self._number(pf, "sriov_drivers_autoprobe")
        if before is None or bool(before) is enabled:
            yield
            return
        self.set_drivers_autoprobe(pf, enabled)
        try:
            yield
        finally:
            if self.exists(pf):
                self.set_drivers_autoprobe(pf, bool(before))

    def set_drivers_autoprobe(self, pf: PciAddress, enabled: bool) -> None:
        """See `Host`."""
        what = "cannot set sriov_drivers_autoprobe"
        self._write(pf, "sriov_drivers_autoprobe", "1" if enabled else "0", what=what)
        if (now := self._number(pf, "sriov_drivers_autoprobe")) is not None and bool(now) is not enabled:
            raise NotEffective(f"{pf}: {what} to {int(enabled)} (it reads {now} afterwards)", device=str(pf))

    # --- drivers ------------------------------------------------------------------------------------------------------

    def bind_driver(self, function: PciAddress, driver: str | None) -> str | None:
        """See `Host`."""
        self.require(function)
        current = self.driver(function)
        if current is not None and (current == driver or (driver is None and current not in USERSPACE_DRIVERS)):
            self._clear_override(function)  # a process that was killed between bind and this has left it
            return current
        if driver is not None and not self._kernel.files.exists(f"sys/bus/pci/drivers/{driver}"):
            raise KernelRefused(
                f"{function}: cannot be bound to {driver} (no such driver is registered: load its module)",
                device=str(function),
                errno=errno.ENOENT,
            )
        self.unbind_driver(function)
        return self._bind_default(function) if driver is None else self._bind_named(function, driver)

    def _bind_default(self, function: PciAddress) -> str | None:
        what = "cannot be bound to its default driver"
        self._clear_override(function)
        pf = self._kernel.files.readlink(device_path(function, "physfn"))
        if pf is None:
            self._write_driver(function, "sys/bus/pci/drivers_probe", what)
        else:
            # with autoprobe off the kernel binds no VF at all, not even when asked to (pci_device_can_probe)
            with self._autoprobe(PciAddress.parse(pf), enabled=True):
                self._write_driver(function, "sys/bus/pci/drivers_probe", what)
        return self.driver(function)

    def _bind_named(self, function: PciAddress, driver: str) -> str:
        what = f"cannot be bound to {driver}"
        self._write(function, "driver_override", driver, what=what)
        try:
            self._write_driver(function, f"sys/bus/pci/drivers/{driver}/bind", what)
        except HostError as error:
            if driver == DeviceType.VFIO_PCI and not self.exists(function, "iommu_group"):
                raise KernelRefused(
                    f"{function}: {what} (it has no IOMMU group: switch the IOMMU on in the BIOS and with "
                    "intel_iommu=on or amd_iommu=on)",
                    device=str(function),
                    errno=errno.EINVAL,
                ) from error
            raise
        finally:
            if self.exists(function):
                self._clear_override(function)
        bound = self.driver(function)
        if bound != driver:
            raise NotEffective(
                f"{function}: {what} (the kernel took it and bound {bound or 'nothing'})", device=str(function)
            )
        return bound

    def _clear_override(self, function: PciAddress) -> None:
        if (self.pci_attribute(function, "driver_override") or "(null)") == "(null)":
            return
        what = "cannot clear driver_override"
        # an empty write does nothing: a line feed is what clears it
        self._write(function, "driver_override", "\n", what=what)
        if (left := self.pci_attribute(function, "driver_override") or "(null)") != "(null)":
            raise NotEffective(f"{function}: {what} (it reads {left} afterwards)", device=str(function))

    def unbind_driver(self, function: PciAddress) -> None:
        """See `Host`."""
        self.require(function)
        driver = self.driver(function)
        if driver is None:
            return
        what = f"cannot be taken from {driver}"
        self._refuse_if_in_use(function, {0: function}, what=what)
        try:
            self._write_driver(function, f"sys/bus/pci/drivers/{driver}/unbind", what)
        except KernelRefused as error:
            if error.errno == errno.ENODEV and self.driver(function) is None:
                return  # somebody else was faster
            raise
        # a VF that was just being probed is let go of a moment later
        try:
            self.wait_until(lambda: self.driver(function) is None, timeout=_UNBOUND_SECONDS, why="")
        except WaitTimeout as error:
            left = self.driver(function)
            raise NotEffective(f"{function}: {what} (it is still bound to {left})", device=str(function)) from error

    def _write_driver(self, function: PciAddress, path: str, what: str) -> None:
        _say(function, "write to /%s", path)
        try:
            self._kernel.files.write_slow(path, str(function), timeout=self._timeouts.driver)
        except TimeoutError as error:
            raise self._hung(function, what, self._timeouts.driver) from error
        except OSError as error:
            raise host_error(error, device=str(function), what=what, present=self.exists(function)) from error

    # --- who is in the way --------------------------------------------------------------------------------------------

    def vf_holders(self, function: PciAddress) -> tuple[str, ...]:
        """Processes that hold the function open through vfio, or its vDPA device through vhost, as `name (pid N)`."""
        if self.driver(function) in USERSPACE_DRIVERS:
            return self._vfio_users(function)
        return self.vdpa.holders_of(function)

    def _vfio_users(self, function: PciAddress) -> tuple[str, ...]:
        devices = self._kernel.files.listdir(device_path(function, "vfio-dev"))
        users = self._kernel.processes.vfio_users(
            str(function), group=self._iommu_group(function), devices=tuple(devices)
        )
        return tuple(str(user) for user in users)

    def _refuse_if_in_use(self, device: PciAddress, functions: Mapping[int, PciAddress], *, what: str) -> None:
        held = {str(function): holders for function in functions.values() if (holders := self.vf_holders(function))}
        if held:
            told = "; ".join(f"VF {vf} is held open by {', '.join(holders)}" for vf, holders in held.items())
            raise DeviceBusy(
                f"{device}: {what} ({told}: stop it, then try again)",
                device=str(device),
                vfs=tuple(held),
                holders=tuple(dict.fromkeys(holder for holders in held.values() for holder in holders)),
            )

    def _hung(self, device: PciAddress, what: str, seconds: float) -> DeviceBusy:
        """The error for a write that does not come back; names whatever function of this machine is held open."""
        held = {}
        for name in self._kernel.files.listdir(DEVICES):
            function = PciAddress.parse(name)
            # a VF that the kernel is trying to remove has lost its links to PF and driver already
            free = self.driver(function) in (None, *USERSPACE_DRIVERS) and self.exists(function, "iommu_group")
            if free and (holders := self._vfio_users(function)):
                held[name] = holders
        told = "; ".join(f"VF {vf} is held open by {', '.join(holders)}" for vf, holders in held.items())
        return DeviceBusy(
            f"{device}: {what} (the kernel did not answer within {seconds:g} s and the write may still happen later; "
            f"{told or 'a VF is probably held open, nobody was found who does'})",
            device=str(device),
            vfs=tuple(held),
            holders=tuple(dict.fromkeys(holder for holders in held.values() for holder in holders)),
        )

    # --- links --------------------------------------------------------------------------------------------------------

    def set_link(self, function: PciAddress, *, mtu: int | None = None, up: bool | None = None) -> None:
        """See `Host`."""
        link = self._require_link(function)
        wanted = [f"the MTU to {mtu}"] if mtu is not None else []
        wanted += [f"the link {'up' if up else 'down'}"] if up is not None else []
        what = f"cannot set {' and '.join(wanted)} on {link.name}"
        _say(function, "set %s on %s", " and ".join(wanted), link.name)
        try:
            self._kernel.links.set_link(link.ifindex, mtu=mtu, up=up)
            now = self._kernel.links.link(link.name)
        except OSError as error:
            hint = ""
            if mtu is not None and error.errno == errno.EINVAL and link.max_mtu:
                hint = f"the driver allows {link.min_mtu} to {link.max_mtu}"
            raise host_error(
                error, device=str(function), what=what, present=self._present(function, error), hint=hint
            ) from error
        if (mtu is not None and now.mtu != mtu) or (up is not None and now.up is not up):
            raise NotEffective(
                f"{function}: {what} (it reads MTU {now.mtu}, {'up' if now.up else 'down'} afterwards)",
                device=str(function),
            )

    def _require_link(self, function: PciAddress) -> LinkInfo:
        self.require(function)
        found: list[LinkInfo] = []

        def appeared() -> bool:
            link = self.own_link(function)
            if link is not None:
                found.append(link)
            else:
                self.require(function)
            return bool(found)

        self.wait_until(
            appeared,
            timeout=self._timeouts.netdev_appears,
            why="its netdev (it may be in another network namespace, or its driver failed)",
            device=str(function),
        )
        return found[0]

    # --- VF settings --------------------------------------------------------------------------------------

    def set_vf(self, pf: PciAddress, index: int, settings: Mapping[str, Any]) -> None:
        """See `Host`."""
        ifindex = self.own_ifindex(pf) or self._require_link(pf).ifindex
        told = ", ".join(f"{name} {value}" for name, value in settings.items())
        what = f"cannot set {told} on VF {index}"
        _say(pf, "set %s on VF %d", told, index)
        try:
            self._kernel.links.set_vf(ifindex, index, dict(settings))
            now = self._vf_settings(ifindex).get(index)
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self._present(pf, error)) from error
        for name, wanted in settings.items():
            seen = getattr(now, name, None)  # None: the driver does not say
            if name not in _ROUNDED and seen is not None and str(seen).lower() != str(wanted).lower():
                raise NotEffective(f"{pf}: {what} ({name} reads {seen} afterwards)", device=str(pf))

    # --- vDPA ---------------------------------------------------------------------------------------------------------

    def add_vdpa(self, function: PciAddress, *, name: str | None = None) -> None:
        """See `Host`."""
        self.require(function)
        self.vdpa.add(("pci", str(function)), name or vdpa_name(function), about=str(function))

    def bind_vdpa(self, function: PciAddress, driver: str | None) -> None:
        """See `Host`."""
        self.require(function)
        device = self.vdpa.device_of(function, self.vdpa.view())
        self.vdpa.bind(device.name if device else vdpa_name(function), driver, about=str(function))

    def remove_vdpa(self, function: PciAddress) -> None:
        """See `Host`."""
        self.require(function)
        self.vdpa.remove(vdpa_name(function), about=str(function))

    # --- the node -----------------------------------------------------------------------------------------------------

    def _rdma_facts(self) -> RdmaFacts:
        return self._rdma.seen(super()._rdma_facts())

    def set_rdma_mode(self, mode: str) -> None:
        """See `Host`."""
        self._rdma.set(mode)

    def load_module(self, name: str, *, device: str = "") -> None:
        """See `Host`."""
        if self.module_loaded(name):
            return
        about = f"{device}: {name}" if device else name
        what, timeout = f"{about}: modprobe", self._timeouts.module
        self._run_well(("modprobe", name), what=what, timeout=timeout, device=device or name)
        if not self.module_loaded(name):
            raise NotEffective(f"{about}: modprobe ended well, and the module is not loaded", device=device or name)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _write(self, function: PciAddress, name: str, text: str, *, what: str) -> None:
        _say(function, "write %r to %s", text, name)
        try:
            self._kernel.files.write(device_path(function, name), text)
        except OSError as error:
            raise host_error(error, device=str(function), what=what, present=self.exists(function)) from error

    def _present(self, function: PciAddress, error: OSError) -> bool:
        """A netdev can go while its function stays: then ENODEV is not about the function."""
        return error.errno != errno.ENODEV or self.exists(function)


def _say(device: object, message: str, *args: object) -> None:
    """Log a write before it is made, so that the log's last line is what did not come back."""
    _log.debug(f"%s: {message}", device, *args, extra={"device": str(device)})
