"""Watches the seam between virtfn and the kernel, on any ground: what was asked, in which order, and what may go wrong.

It stands between `virtfn.host.machine` and a `Kernel`, simulated or real. So a law can make a write fail, or end the
process before it, without the kernel's help: what does not reach the kernel needs no undoing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from virtfn.host.api import CommandResult, DevlinkInfo, DevlinkParam, ParamMode, ParamValue
from virtfn.host.kernel import Kernel, LinkInfo, Process
from virtfn.model import EswitchMode, VfSettings

T = TypeVar("T")


class Killed(BaseException):
    """The process ended here, as by a kill: from now on nothing it does reaches the kernel."""


class Access(NamedTuple):
    """One call through the seam."""

    kind: str
    """Name of the Protocol's method."""
    target: str
    """A path, `link <ifindex>`, a devlink handle, a program, or nothing."""
    value: Any = None
    """What was to be written; the argument vector of a program."""
    writes: bool = False
    """Whether the call is one that changes the machine. A program may do so or not: always False."""

    @property
    def effects(self) -> bool:
        """A write or a program: what can fail with a consequence."""
        return self.writes or self.kind == "run"

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value!r}"
        return f"{self.kind} {self.target}{value}"


Handler = Callable[[Access, Callable[[], Any]], Any]
"""Given an access with effects and what would do it; its answer is the call's."""


def proceed(_access: Access, action: Callable[[], Any]) -> Any:
    """The handler that lets everything happen."""
    return action()


class Watch:
    """A kernel with a watch on it.

    `kernel` is what the machine is built on; `accesses` is everything that was asked since the last `clear`; `handler`
    decides what becomes of writes and programs.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.ground = kernel
        """The kernel itself."""
        self.accesses: list[Access] = []
        self.handler: Handler = proceed
        self.dead = False
        self.kernel = Kernel(
            files=_Files(self, kernel),
            links=_Links(self, kernel),
            devlink=_Devlink(self, kernel),
            vdpa=_Vdpa(self, kernel),
            ethtool=_Ethtool(self, kernel),
            rdma=_Rdma(self, kernel),
            processes=_Processes(self, kernel),
            commands=_Commands(self, kernel),
            ovsdb=_OvsDb(self, kernel),
            clock=kernel.clock,
        )

    @property
    def writes(self) -> list[Access]:
        """The writes among the accesses."""
        return [access for access in self.accesses if access.writes]

    @property
    def effects(self) -> list[Access]:
        """The writes and programs among the accesses."""
        return [access for access in self.accesses if access.effects]

    def clear(self) -> None:
        """Forget what was asked so far."""
        self.accesses.clear()

    def kill(self) -> Killed:
        """Nothing gets through any more, not even what runs in a `finally`. Returns the error to raise."""
        self.dead = True
        return Killed()

    def meet(self, access: Access, action: Callable[[], T]) -> T:
        """Let an access through, past the handler if it has effects."""
        if self.dead:
            raise Killed
        self.accesses.append(access)
        answer: T = self.handler(access, action) if access.effects else action()
        return answer


class _Part:
    def __init__(self, watch: Watch, kernel: Kernel) -> None:
        self._watch = watch
        self._kernel = kernel


class _Files(_Part):
    """`virtfn.host.kernel.Files`."""

    def read(self, path: str) -> str:
        return self._watch.meet(Access("read", path), lambda: self._kernel.files.read(path))

    def write(self, path: str, text: str) -> None:
        self._watch.meet(Access("write", path, text, True), lambda: self._kernel.files.write(path, text))

    def write_slow(self, path: str, text: str, *, timeout: float) -> None:
        self._watch.meet(
            Access("write_slow", path, text, True), lambda: self._kernel.files.write_slow(path, text, timeout=timeout)
        )

    def replace(self, path: str, text: str, *, mode: int = 0o644) -> None:
        access = Access("replace", path, text, True)
        self._watch.meet(access, lambda: self._kernel.files.replace(path, text, mode=mode))

    def remove(self, path: str) -> None:
        self._watch.meet(Access("remove", path, None, True), lambda: self._kernel.files.remove(path))

    def writable(self, path: str) -> bool:
        return self._watch.meet(Access("writable", path), lambda: self._kernel.files.writable(path))

    def exists(self, path: str) -> bool:
        return self._watch.meet(Access("exists", path), lambda: self._kernel.files.exists(path))

    def listdir(self, path: str) -> Sequence[str]:
        return self._watch.meet(Access("listdir", path), lambda: self._kernel.files.listdir(path))

    def readlink(self, path: str) -> str | None:
        return self._watch.meet(Access("readlink", path), lambda: self._kernel.files.readlink(path))


class _Links(_Part):
    """`virtfn.host.kernel.Links`."""

    def links(self) -> Mapping[str, LinkInfo]:
        return self._watch.meet(Access("links", ""), self._kernel.links.links)

    def link(self, name: str) -> LinkInfo:
        return self._watch.meet(Access("link", name), lambda: self._kernel.links.link(name))

    def vf_settings(self, ifindex: int) -> Mapping[int, VfSettings]:
        access = Access("vf_settings", f"link {ifindex}")
        return self._watch.meet(access, lambda: self._kernel.links.vf_settings(ifindex))

    def set_link(self, ifindex: int, *, mtu: int | None = None, up: bool | None = None) -> None:
        value = {key: value for key, value in (("mtu", mtu), ("up", up)) if value is not None}
        access = Access("set_link", f"link {ifindex}", value, True)
        self._watch.meet(access, lambda: self._kernel.links.set_link(ifindex, mtu=mtu, up=up))

    def rename(self, ifindex: int, name: str) -> None:
        access = Access("rename", f"link {ifindex}", name, True)
        self._watch.meet(access, lambda: self._kernel.links.rename(ifindex, name))

    def set_vf(self, ifindex: int, index: int, settings: Mapping[str, Any]) -> None:
        access = Access("set_vf", f"link {ifindex}", {"vf": index, **settings}, True)
        self._watch.meet(access, lambda: self._kernel.links.set_vf(ifindex, index, settings))


class _Devlink(_Part):
    """`virtfn.host.kernel.Devlink`."""

    def eswitch_mode(self, handle: tuple[str, str]) -> EswitchMode | None:
        access = Access("eswitch_mode", "/".join(handle))
        return self._watch.meet(access, lambda: self._kernel.devlink.eswitch_mode(handle))

    def set_eswitch_mode(self, handle: tuple[str, str], mode: EswitchMode) -> None:
        access = Access("set_eswitch_mode", "/".join(handle), mode, True)
        self._watch.meet(access, lambda: self._kernel.devlink.set_eswitch_mode(handle, mode))

    def inline_mode(self, handle: tuple[str, str]) -> str | None:
        access = Access("inline_mode", "/".join(handle))
        return self._watch.meet(access, lambda: self._kernel.devlink.inline_mode(handle))

    def set_inline_mode(self, handle: tuple[str, str], mode: str) -> None:
        access = Access("set_inline_mode", "/".join(handle), mode, True)
        self._watch.meet(access, lambda: self._kernel.devlink.set_inline_mode(handle, mode))

    def info(self, handle: tuple[str, str]) -> DevlinkInfo | None:
        return self._watch.meet(Access("info", "/".join(handle)), lambda: self._kernel.devlink.info(handle))

    def param(self, handle: tuple[str, str], name: str) -> DevlinkParam | None:
        access = Access("param", "/".join(handle), name)
        return self._watch.meet(access, lambda: self._kernel.devlink.param(handle, name))

    def set_param(self, handle: tuple[str, str], param: DevlinkParam, value: ParamValue, *, mode: ParamMode) -> None:
        access = Access("set_param", "/".join(handle), {param.name: value}, True)
        self._watch.meet(access, lambda: self._kernel.devlink.set_param(handle, param, value, mode=mode))

    def reload(self, handle: tuple[str, str]) -> bool:
        access = Access("reload", "/".join(handle), None, True)
        return self._watch.meet(access, lambda: self._kernel.devlink.reload(handle))

    def handles(self) -> frozenset[tuple[str, str]]:
        return self._watch.meet(Access("handles", ""), self._kernel.devlink.handles)


class _Vdpa(_Part):
    """`virtfn.host.kernel.Vdpa`."""

    def management(self) -> frozenset[tuple[str, str]]:
        return self._watch.meet(Access("vdpa_management", ""), self._kernel.vdpa.management)

    def add(self, handle: tuple[str, str], name: str, *, max_vqp: int | None = None) -> None:
        access = Access("vdpa_add", "/".join(handle), name, True)
        self._watch.meet(access, lambda: self._kernel.vdpa.add(handle, name, max_vqp=max_vqp))

    def remove(self, name: str) -> None:
        self._watch.meet(Access("vdpa_remove", name, None, True), lambda: self._kernel.vdpa.remove(name))


class _Ethtool(_Part):
    """`virtfn.host.kernel.Ethtool`."""

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        return self._watch.meet(Access("driver_info", netdev), lambda: self._kernel.ethtool.driver_info(netdev))

    def feature(self, netdev: str, name: str) -> bool | None:
        access = Access("feature", netdev, name)
        return self._watch.meet(access, lambda: self._kernel.ethtool.feature(netdev, name))

    def set_feature(self, netdev: str, name: str, enabled: bool) -> None:
        access = Access("set_feature", netdev, {name: enabled}, True)
        self._watch.meet(access, lambda: self._kernel.ethtool.set_feature(netdev, name, enabled))


class _Rdma(_Part):
    """`virtfn.host.kernel.Rdma`."""

    def netns_mode(self) -> str | None:
        return self._watch.meet(Access("netns_mode", ""), self._kernel.rdma.netns_mode)

    def set_netns_mode(self, mode: str) -> None:
        access = Access("set_netns_mode", "rdma", mode, True)
        self._watch.meet(access, lambda: self._kernel.rdma.set_netns_mode(mode))


class _Processes(_Part):
    """`virtfn.host.kernel.Processes`."""

    def vfio_users(self, address: str, *, group: int | None, devices: Sequence[str]) -> Sequence[Process]:
        access = Access("vfio_users", address)
        return self._watch.meet(
            access, lambda: self._kernel.processes.vfio_users(address, group=group, devices=devices)
        )

    def vdpa_users(self, device: str) -> Sequence[Process]:
        return self._watch.meet(Access("vdpa_users", device), lambda: self._kernel.processes.vdpa_users(device))


class _Commands(_Part):
    """`virtfn.host.kernel.Commands`."""

    def run(self, argv: Sequence[str], *, timeout: float) -> CommandResult:
        access = Access("run", argv[0], tuple(argv))
        return self._watch.meet(access, lambda: self._kernel.commands.run(argv, timeout=timeout))


class _OvsDb(_Part):
    """`virtfn.host.kernel.OvsDb`."""

    def select(self, tables: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[Mapping[str, Any]]] | None:
        access = Access("select", ",".join(tables))
        return self._watch.meet(access, lambda: self._kernel.ovsdb.select(tables))

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        access = Access("transact", "ovsdb", operations, True)
        return self._watch.meet(access, lambda: self._kernel.ovsdb.transact(operations))
