"""The Protocols of `virtfn.host.kernel` on the simulated kernel. Each method is one call in the record."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from virtfn.host.api import CommandResult, DevlinkInfo, DevlinkParam, ParamMode, ParamValue
from virtfn.host.kernel import LinkInfo, Process
from virtfn.model import EswitchMode, VfSettings
from virtfn.testing.ground.blocking import WouldBlock
from virtfn.testing.ground.calls import Call, Calls
from virtfn.testing.ground.card import Netdev, PciFunction
from virtfn.testing.ground.clock import VirtualClock
from virtfn.testing.ground.kernel_model import KernelModel
from virtfn.testing.ground.tree import oserror


@dataclass(frozen=True, slots=True)
class FakeFiles:
    """`virtfn.host.kernel.Files`."""

    model: KernelModel
    calls: Calls

    def read(self, path: str) -> str:
        """See `Files`."""
        return self.calls.perform(Call("read", _plain(path)), lambda: self.model.tree.read(path)) or ""

    def write(self, path: str, text: str) -> None:
        """See `Files`."""
        call = Call("write", _plain(path), text)
        self.calls.perform(call, lambda: self.model.tree.write(path, text), writes=True)

    def write_slow(self, path: str, text: str, *, timeout: float) -> None:
        """See `Files`."""
        call = Call("write", _plain(path), text)
        self.calls.perform(call, lambda: self.model.tree.write(path, text), writes=True, timeout=timeout)

    def replace(self, path: str, text: str, *, mode: int = 0o644) -> None:  # noqa: ARG002 - a simulated file has none
        """See `Files`."""
        call = Call("replace", _plain(path), text)
        self.calls.perform(call, lambda: self.model.tree.plain(_plain(path), text), writes=True)

    def remove(self, path: str) -> None:
        """See `Files`."""
        self.calls.perform(Call("remove", _plain(path)), lambda: self.model.tree.remove(_plain(path)), writes=True)

    def writable(self, path: str) -> bool:
        """See `Files`."""
        return bool(self.calls.perform(Call("writable", _plain(path)), lambda: self.model.tree.exists(path)))

    def exists(self, path: str) -> bool:
        """See `Files`."""
        return bool(self.calls.perform(Call("exists", _plain(path)), lambda: self.model.tree.exists(path)))

    def listdir(self, path: str) -> Sequence[str]:
        """See `Files`."""
        return self.calls.perform(Call("listdir", _plain(path)), lambda: self.model.tree.listdir(path)) or []

    def readlink(self, path: str) -> str | None:
        """See `Files`."""
        return self.calls.perform(Call("readlink", _plain(path)), lambda: self.model.tree.readlink(path))


def _plain(path: str) -> str:
    return path.strip("/")


@dataclass(frozen=True, slots=True)
class FakeLinks:
    """`virtfn.host.kernel.Links`."""

    model: KernelModel
    calls: Calls

    def links(self) -> Mapping[str, LinkInfo]:
        """See `Links`."""

        def look() -> dict[str, LinkInfo]:
            net = self.model.net
            return {netdev.name: net.link_info(netdev) for netdev in net.devices.values()}

        return self.calls.perform(Call("links", ""), look) or {}

    def link(self, name: str) -> LinkInfo:
        """See `Links`."""
        net = self.model.net
        info = self.calls.perform(Call("link", name), lambda: net.link_info(net.by_name(name)))
        if not isinstance(info, LinkInfo):  # a lie
            raise oserror(errno.ENODEV)
        return info

    def vf_settings(self, ifindex: int) -> Mapping[int, VfSettings]:
        """See `Links`."""

        def look() -> Mapping[int, VfSettings]:
            function = _uplink(self.model.net.by_index(ifindex))
            return {} if function is None or function.driver is None else function.driver.vf_settings(function)

        return self.calls.perform(Call("vf_settings", self._name(ifindex)), look) or {}

    def set_link(self, ifindex: int, *, mtu: int | None = None, up: bool | None = None) -> None:
        """See `Links`."""

        def write() -> None:
            netdev = self.model.net.by_index(ifindex)
            if mtu is not None:
                self.model.net.set_mtu(netdev, mtu)
            if up is not None:
                self.model.net.set_up(netdev, up)

        value = {key: value for key, value in (("mtu", mtu), ("up", up)) if value is not None}
        self.calls.perform(Call("set_link", self._name(ifindex), value), write, writes=True)

    def rename(self, ifindex: int, name: str) -> None:
        """See `Links`."""

        def write() -> None:
            self.model.net.rename(self.model.net.by_index(ifindex), name)

        self.calls.perform(Call("rename", self._name(ifindex), name), write, writes=True)

    def set_vf(self, ifindex: int, index: int, settings: Mapping[str, Any]) -> None:
        """See `Links`."""

        def write() -> None:
            function = _uplink(self.model.net.by_index(ifindex))
            if function is None or function.driver is None:
                raise oserror(errno.EOPNOTSUPP)
            function.driver.set_vf(function, index, settings)

        call = Call("set_vf", self._name(ifindex), {"vf": index, **settings})
        self.calls.perform(call, write, writes=True)

    def _name(self, ifindex: int) -> str:
        netdev = self.model.net.devices.get(ifindex)
        return netdev.name if netdev else f"#{ifindex}"


def _uplink(netdev: Netdev) -> PciFunction | None:
    """The PF whose own netdev this is; None for a VF's netdev or a representor."""
    function = netdev.function
    return function if netdev.represents is None and function.physfn is None else None


@dataclass(frozen=True, slots=True)
class FakeDevlink:
    """`virtfn.host.kernel.Devlink`."""

    model: KernelModel
    calls: Calls

    def eswitch_mode(self, handle: tuple[str, str]) -> EswitchMode | None:
        """See `Devlink`."""

        def look() -> EswitchMode | None:
            function = self._find(handle)
            if function is None or function.driver is None:
                return None
            try:
                return function.driver.eswitch_mode(function)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:
                    return None
                raise

        return self.calls.perform(Call("eswitch_mode", "/".join(handle)), look)

    def set_eswitch_mode(self, handle: tuple[str, str], mode: EswitchMode) -> None:
        """See `Devlink`."""

        def write() -> None:
            function = self._find(handle)
            if function is None or function.driver is None:
                raise oserror(errno.ENODEV)
            function.driver.set_eswitch_mode(function, mode)

        self.calls.perform(Call("set_eswitch_mode", "/".join(handle), mode), write, writes=True)

    def inline_mode(self, handle: tuple[str, str]) -> str | None:
        """See `Devlink`."""

        def look() -> str | None:
            function = self._find(handle)
            driver = None if function is None else function.driver
            return None if function is None or driver is None else driver.inline_mode(function)

        return self.calls.perform(Call("inline_mode", "/".join(handle)), look)

    def set_inline_mode(self, handle: tuple[str, str], mode: str) -> None:
        """See `Devlink`."""

        def write() -> None:
            function = self._find(handle)
            if function is None or function.driver is None:
                raise oserror(errno.ENODEV)
            function.driver.set_inline_mode(function, mode)

        self.calls.perform(Call("set_inline_mode", "/".join(handle), mode), write, writes=True)

    def info(self, handle: tuple[str, str]) -> DevlinkInfo | None:
        """See `Devlink`."""

        def look() -> DevlinkInfo | None:
            function = self._find(handle)
            return None if function is None or function.driver is None else function.driver.devlink_info(function)

        return self.calls.perform(Call("info", "/".join(handle)), look)

    def param(self, handle: tuple[str, str], name: str) -> DevlinkParam | None:
        """See `Devlink`."""

        def look() -> DevlinkParam | None:
            function = self._find(handle)
            driver = None if function is None else function.driver
            return None if function is None or driver is None else driver.devlink_param(function, name)

        return self.calls.perform(Call("param", "/".join(handle), name), look)

    def set_param(self, handle: tuple[str, str], param: DevlinkParam, value: ParamValue, *, mode: ParamMode) -> None:
        """See `Devlink`."""

        def write() -> None:
            function = self._find(handle)
            if function is None or function.driver is None:
                raise oserror(errno.ENODEV)
            function.driver.set_devlink_param(function, param.name, value, mode)

        self.calls.perform(Call("set_param", "/".join(handle), {param.name: value}), write, writes=True)

    def reload(self, handle: tuple[str, str]) -> bool:
        """See `Devlink`."""

        def write() -> bool:
            function = self._find(handle)
            if function is None or function.driver is None:
                raise oserror(errno.ENODEV)
            function.driver.reload(function)
            return True

        return bool(self.calls.perform(Call("reload", "/".join(handle)), write, writes=True))

    def handles(self) -> frozenset[tuple[str, str]]:
        """See `Devlink`."""
        look: Callable[[], frozenset[tuple[str, str]]] = lambda: frozenset(  # noqa: E731 - typed
            ("pci", name) for name in self.model.devlink_functions()
        )
        return self.calls.perform(Call("handles", ""), look) or frozenset()

    def _find(self, handle: tuple[str, str]) -> PciFunction | None:
        bus, name = handle
        return self.model.devlink_functions().get(name) if bus == "pci" else None


@dataclass(frozen=True, slots=True)
class FakeEthtool:
    """`virtfn.host.kernel.Ethtool`."""

    model: KernelModel
    calls: Calls
    release: str

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        """See `Ethtool`."""

        def look() -> dict[str, str]:
            function = self.model.net.by_name(netdev).function
            if function.driver is None:
                raise oserror(errno.EOPNOTSUPP)
            return {"version": self.release, **function.driver.ethtool_info(function)}

        return self.calls.perform(Call("driver_info", netdev), look) or {}

    def feature(self, netdev: str, name: str) -> bool | None:
        """See `Ethtool`: hw-tc-offload is the only one that there is."""

        def look() -> bool | None:
            return self.model.net.by_name(netdev).tc_offload if name == "hw-tc-offload" else None

        return self.calls.perform(Call("feature", netdev, name), look)

    def set_feature(self, netdev: str, name: str, enabled: bool) -> None:
        """See `Ethtool`."""

        def write() -> None:
            found = self.model.net.by_name(netdev)
            if found.tc_offload is None or name != "hw-tc-offload":
                raise oserror(errno.EOPNOTSUPP)
            found.tc_offload = enabled

        self.calls.perform(Call("set_feature", netdev, {name: enabled}), write, writes=True)


@dataclass(frozen=True, slots=True)
class FakeProcesses:
    """`virtfn.host.kernel.Processes`."""

    model: KernelModel
    calls: Calls

    def vfio_users(self, address: str, *, group: int | None, devices: Sequence[str]) -> Sequence[Process]:
        """See `Processes`."""

        def look() -> tuple[Process, ...]:
            function = self.model.pci.functions.get(address)
            if function is None or (function.iommu_group != group and f"vfio{function.bus_number}" not in devices):
                return ()
            return tuple(function.holders)

        return self.calls.perform(Call("vfio_users", address), look) or ()

    def vdpa_users(self, device: str) -> Sequence[Process]:
        """See `Processes`."""

        def look() -> tuple[Process, ...]:
            on_vhost = (known for known in self.model.vdpa.devices.values() if known.driver == "vhost_vdpa")
            found = next((known for known in on_vhost if f"vhost-vdpa-{known.number}" == device), None)
            return tuple(found.holders) if found else ()

        return self.calls.perform(Call("vdpa_users", device), look) or ()


@dataclass(frozen=True, slots=True)
class FakeClock:
    """`virtfn.host.kernel.Clock`: sleeping costs nothing, and what is due meanwhile happens."""

    clock: VirtualClock

    def monotonic(self) -> float:
        """See `Clock`."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        self.clock.sleep(seconds)


Program = Callable[[tuple[str, ...]], CommandResult]
"""A simulated program: argument vector in, result out."""


class FakeCommands:
    """`virtfn.host.kernel.Commands`: `modprobe`, and whatever programs were installed."""

    def __init__(self, model: KernelModel, calls: Calls, *, release: str) -> None:
        self._model = model
        self._calls = calls
        self._release = release
        self._programs: dict[str, tuple[Program, Callable[[tuple[str, ...]], bool]]] = {}
        self.install("udevadm", self._udevadm, writes=lambda _: False)
        self.install("networkctl", lambda argv: CommandResult(argv, 0, "", ""), writes=lambda _: False)
        self.install("modprobe", self._modprobe, writes=lambda argv: not {"-n", "--dry-run", "--show"} & set(argv))

    def install(self, name: str, program: Program, *, writes: Callable[[tuple[str, ...]], bool]) -> None:
        """Have a program on the machine; `writes` tells from the arguments whether a run changes something."""
        self._programs[name] = (program, writes)

    def run(self, argv: Sequence[str], *, timeout: float) -> CommandResult:
        """See `Commands`."""
        words = tuple(argv)
        name = words[0].rpartition("/")[2]
        program, writes = self._programs.get(name, (None, lambda _: False))

        def start() -> CommandResult:
            if program is None:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", words[0])
            return replace(program(words), argv=words)

        answer: Any = self._calls.perform(Call("run", name, words), start, writes=writes(words), timeout=timeout)
        if answer is None or isinstance(answer, str):  # a program that lies: it ends well and prints this
            return CommandResult(words, 0, answer or "", "")
        result: CommandResult = answer
        return result

    def _udevadm(self, argv: tuple[str, ...]) -> CommandResult:
        if not self._model.tree.exists("run/udev/control"):
            return CommandResult(argv, 1, "", "Failed to send reload request: No such file or directory\n")
        return CommandResult(argv, 0, "", "")

    def _modprobe(self, argv: tuple[str, ...]) -> CommandResult:
        modules = [word for word in argv[1:] if not word.startswith("-")]
        take_out = bool({"-r", "--remove"} & set(argv))
        for module in modules:
            if take_out:
                try:
                    self._model.operations.run(self._model.modules.unload(module))
                except WouldBlock:
                    return CommandResult(argv, 1, "", f"modprobe: FATAL: Module {module} is in use.\n")
            elif not self._model.modules.load(module):
                text = f"modprobe: FATAL: Module {module} not found in directory /lib/modules/{self._release}\n"
                return CommandResult(argv, 1, "", text)
        return CommandResult(argv, 0, "", "")
