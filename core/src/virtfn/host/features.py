"""Writes of what a device can do besides making VFs: parameters, offload, names of representors; and files of the host.

The rules are as in `virtfn.host.machine`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Mapping
from typing import Final

from virtfn.errors import CommandFailed, DeviceBusy, KernelRefused, NotEffective, WaitTimeout
from virtfn.host.api import ParamMode, ParamValue
from virtfn.host.kernel import LinkInfo
from virtfn.host.owned_files import OwnedFiles
from virtfn.host.reader import TC_OFFLOAD, Reader
from virtfn.host.refusals import host_error
from virtfn.host.representor_names import rename_representors
from virtfn.host.representors import keeps_name
from virtfn.model import EswitchMode, PciAddress

_log = logging.getLogger(__name__)

_REPRESENTORS_SECONDS: Final = 10.0
"""From the change of mode, or from making VFs, until the representors are there."""
_RELOADED_SECONDS: Final = 60.0
"""From the end of a reload until the netdev is there; drivers make it before they answer."""
_NAMED_SECONDS: Final = 5.0
"""From then until udev, where it runs, has given it its name."""
_UDEVADM_SECONDS: Final = 15.0
_SETTLE_SECONDS: Final = 10.0
_NETWORKD: Final = "/run/systemd/netif"
"""Is there from its first start on. It reads its files when it starts, and when it is told to."""


class Features(Reader):
    """The part of `virtfn.host.api.Host` that is not about VFs and their drivers."""

    # --- devlink ------------------------------------------------------------------------------------------------------

    def set_devlink_param(self, pf: PciAddress, name: str, value: ParamValue, *, mode: ParamMode) -> None:
        """See `Host`."""
        self.require(pf)
        what = f"cannot set the devlink parameter {name} to {value}"
        devlink, handle = self._kernel.devlink, ("pci", str(pf))
        try:
            known = devlink.param(handle, name)
            if known is None:
                raise _unsupported(pf, what, "its driver has no such parameter")
            if known.value(mode) == value:
                return
            _say(pf, "devlink parameter %s to %s", name, value)
            devlink.set_param(handle, known, value, mode=mode)
            now = devlink.param(handle, name)
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error
        if now is None or now.value(mode) != value:
            seen = None if now is None else now.value(mode)
            raise NotEffective(f"{pf}: {what} (it reads {seen} afterwards)", device=str(pf))

    def reload_driver(self, pf: PciAddress) -> None:
        """See `Host`."""
        self.require(pf)
        what = "its driver cannot take it anew"
        if vfs := self.vf_addresses(pf):
            raise DeviceBusy(f"{pf}: {what} (it has {len(vfs)} VFs, which would lose it)", device=str(pf))
        before = self.own_link(pf)
        _say(pf, "driver to take it anew")
        try:
            told = self._kernel.devlink.reload(("pci", str(pf)))
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error
        if before is not None:
            self.wait_until(
                lambda: self.own_link(pf) is not None, timeout=_RELOADED_SECONDS, why="its netdev", device=str(pf)
            )
        now = self.own_link(pf)
        if not told and (before is None or now is None or now.ifindex == before.ifindex):
            raise NotEffective(f"{pf}: {what} (the kernel does not say that it did)", device=str(pf))
        if before is not None:
            with contextlib.suppress(WaitTimeout):  # under another name it works as well
                self.wait_until(lambda: self._name_of(pf) == before.name, timeout=_NAMED_SECONDS, why="its name")

    def _name_of(self, pf: PciAddress) -> str | None:
        link = self.own_link(pf)
        return link.name if link is not None else None

    def set_eswitch_mode(self, pf: PciAddress, mode: EswitchMode) -> None:
        """See `Host`."""
        self.require(pf)
        self.set_devlink_eswitch_mode(("pci", str(pf)), mode, hint=lambda error: self._in_the_way(pf, error))

    def set_devlink_eswitch_mode(
        self, handle: tuple[str, str], mode: EswitchMode, *, hint: Callable[[OSError], str] = lambda _: ""
    ) -> None:
        """As `set_eswitch_mode`, for a device on any bus that has a devlink instance."""
        device = handle[1]
        what = f"cannot set the eswitch mode to {mode}"
        _say(device, "eswitch mode to %s", mode)
        devlink = self._kernel.devlink
        try:
            devlink.set_eswitch_mode(handle, mode)
            now = devlink.eswitch_mode(handle)
        except OSError as error:
            present = handle in devlink.handles()
            raise host_error(error, device=device, what=what, present=present, hint=hint(error)) from error
        if now is not mode:
            raise NotEffective(f"{device}: {what} (it reads {now or 'nothing'} afterwards)", device=device)

    def _in_the_way(self, pf: PciAddress, error: OSError) -> str:
        """What is known to keep an eswitch from changing its mode, beside the driver's own words."""
        if error.errno == errno.EBUSY:
            return (
                "something holds the eswitch: rules of tc or of Open vSwitch with hw-offload, IPsec, a bond, or another"
                " change: `tc filter show dev` and `devlink dev eswitch show` tell more"
            )
        found = self.vf_addresses(pf).values() if error.errno == errno.EINVAL else ()
        bound = [f"{vf} ({driver})" for vf in found if (driver := self.driver(vf)) is not None]
        return f"VFs that a driver has are in the way: {', '.join(bound)}" if bound else ""

    def set_inline_mode(self, pf: PciAddress, mode: str) -> None:
        """See `Host`."""
        self.require(pf)
        what = f"cannot set the eswitch's inline mode to {mode}"
        devlink, handle = self._kernel.devlink, ("pci", str(pf))
        try:
            if devlink.inline_mode(handle) == mode:
                return
            _say(pf, "inline mode to %s", mode)
            devlink.set_inline_mode(handle, mode)
            now = devlink.inline_mode(handle)
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error
        if now != mode:
            raise NotEffective(f"{pf}: {what} (it reads {now} afterwards)", device=str(pf))

    # --- netdevs ------------------------------------------------------------------------------------------------------

    def set_tc_offload(self, pf: PciAddress, enabled: bool) -> None:
        """See `Host`."""
        link = self._own_link(pf)
        what = f"cannot switch {TC_OFFLOAD} {'on' if enabled else 'off'} on {link.name}"
        ethtool = self._kernel.ethtool
        try:
            now = ethtool.feature(link.name, TC_OFFLOAD)
            if now is None:
                raise _unsupported(pf, what, "its driver does not offer it")
            if now is enabled:
                return
            _say(pf, "%s of %s to %s", TC_OFFLOAD, link.name, enabled)
            ethtool.set_feature(link.name, TC_OFFLOAD, enabled)
            now = ethtool.feature(link.name, TC_OFFLOAD)
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error
        if now is not enabled:
            raise NotEffective(
                f"{pf}: {what} (it is {'off' if enabled else 'on'} afterwards; the kernel log may say why)",
                device=str(pf),
            )

    def name_representors(self, pf: PciAddress, names: Mapping[int, str]) -> tuple[str, ...]:
        """See `Host`."""
        self.require(pf)

        def present() -> dict[int, LinkInfo]:
            return self.representors(pf, self._links())

        self.wait_until(
            lambda: names.keys() <= present().keys(),
            timeout=_REPRESENTORS_SECONDS,
            why=f"the representors of {len(names)} VFs (netdevs with the PF's phys_switch_id and a phys_port_name)",
            device=str(pf),
        )
        found, kept, wanted = present(), [], {}
        for index, name in sorted(names.items()):
            link = found.get(index)
            if link is None or link.name == name:
                continue
            if keeps_name(link):
                kept.append(f"{link.name}, that of VF {index}, is in use and keeps its name")
            else:
                wanted[index] = (link, name)
        return (*kept, *self._rename(pf, wanted)) if wanted else tuple(kept)

    def _rename(self, pf: PciAddress, wanted: Mapping[int, tuple[LinkInfo, str]]) -> tuple[str, ...]:
        told = ", ".join(f"{link.name} to {name}" for link, name in wanted.values())
        what = f"cannot rename {told}"
        _say(pf, "rename %s", told)
        try:
            kept = rename_representors(self._kernel.links, wanted)
            now = {link.ifindex: link.name for link in self._links().values()}
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error
        done = [now.get(link.ifindex) == name for link, name in wanted.values()].count(True)
        if done + len(kept) != len(wanted):
            raise NotEffective(f"{pf}: {what} (not all of them have their names afterwards)", device=str(pf))
        return kept

    def _own_link(self, pf: PciAddress) -> LinkInfo:
        self.require(pf)
        link = self.own_link(pf)
        if link is None:
            raise KernelRefused(f"{pf}: has no netdev in this network namespace", device=str(pf), errno=errno.ENODEV)
        return link

    # --- files and udev -----------------------------------------------------------------------------------------------

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """See `Host`."""
        _log.debug("%s: written", path)
        OwnedFiles(self._kernel.files).write(path, text, mode=mode)

    def remove_file(self, path: str) -> None:
        """See `Host`."""
        _log.debug("%s: removed", path)
        OwnedFiles(self._kernel.files).remove(path)

    def reload_udev(self, pf: PciAddress) -> None:
        """See `Host`."""
        self._tell("udevadm", "control", "--reload")
        links = self._links()
        own = [self.uplink(vf, links) for vf in self.vf_addresses(pf).values()]
        there = [link for link in (*own, *self.representors(pf, links).values()) if link is not None]
        for link in there:
            self._announce(pf, link)
        if self.path_exists(_NETWORKD):
            if there:
                self._tell("udevadm", "settle", f"--timeout={_SETTLE_SECONDS:g}")  # networkd asks udev who they are
            self._tell("networkctl", "reload")

    def _tell(self, *argv: str) -> None:
        """Run a program that has something told to a daemon of the host."""
        self._run_well(argv, what=" ".join(argv), timeout=_UDEVADM_SECONDS, device=argv[0])

    def _run_well(self, argv: tuple[str, ...], *, what: str, timeout: float, device: str) -> None:
        """:raises CommandFailed: the program cannot be run, or its exit code is another than 0."""
        result = self.run(argv, timeout=timeout, device=device)
        if result.code != 0:
            raise CommandFailed(
                f"{what} failed ({result.stderr.strip() or f'exit code {result.code}'})",
                device=device,
                argv=result.argv,
                code=result.code,
                output=result.stderr,
            )

    def _announce(self, pf: PciAddress, link: LinkInfo) -> None:
        """Network managers learn from udev's events, and one has been before there were rules."""
        try:
            self._kernel.files.write(f"sys/class/net/{link.name}/uevent", "change")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # gone meanwhile
                what = f"cannot have udev look at {link.name} again"
                raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error


def _unsupported(pf: PciAddress, what: str, why: str) -> KernelRefused:
    return KernelRefused(f"{pf}: {what} ({why})", device=str(pf), errno=errno.EOPNOTSUPP)


def _say(device: object, message: str, *args: object) -> None:
    _log.debug(f"%s: {message}", device, *args, extra={"device": str(device)})
