"""The kernel's interfaces that virtfn uses, each as a small Protocol: files, netlink, processes, programs, time.

This is the seam between `virtfn.host` and the ground it stands on. The real machine implements them with the file
system and sockets (`files`, `rtnetlink`, `devlink`, `processes`, `command`), the simulated ground with a model of the
kernel. All the rules (order, checks, error texts) stand above the seam, in `virtfn.host.machine`, and so run on both.

Below the seam errors are `OSError` with the kernel's errno; `strerror` is the kernel's own text (netlink extack) where
it gave one. `TimeoutError` is a write that did not come back. Paths are relative to the root
(`sys/bus/pci/devices/...`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from virtfn.host.api import CommandResult, DevlinkInfo, DevlinkParam, ParamMode, ParamValue
from virtfn.model import EswitchMode, VfSettings


class Files(Protocol):
    """sysfs, procfs and plain files under one root."""

    def read(self, path: str) -> str:
        """The file's text, as it is."""
        ...

    def write(self, path: str, text: str) -> None:
        """One write(2) of the text to an existing file (never creates one)."""
        ...

    def write_slow(self, path: str, text: str, *, timeout: float) -> None:
        """As `write`, for files whose write can block in the kernel without end.

        :raises TimeoutError: no answer after `timeout` seconds; the write may still happen later.
        """
        ...

    def replace(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Make the file anew, whole or not at all; its folder is made if it is not there."""
        ...

    def remove(self, path: str) -> None:
        """Take the file away; nothing happens when it is not there."""
        ...

    def writable(self, path: str) -> bool:
        """Whether files can be made in the folder."""
        ...

    def exists(self, path: str) -> bool:
        """Whether something is there (a dangling link is not)."""
        ...

    def listdir(self, path: str) -> Sequence[str]:
        """Names in a folder, sorted; empty when the folder is absent."""
        ...

    def readlink(self, path: str) -> str | None:
        """Last component of a symbolic link's target; None when there is no such link."""
        ...


ARPHRD_ETHER = 1
ARPHRD_INFINIBAND = 32


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """One netdev of this network namespace, from RTM_GETLINK."""

    ifindex: int
    name: str
    mac: str
    mtu: int
    up: bool
    arp_type: int = ARPHRD_ETHER
    permanent_mac: str | None = None
    min_mtu: int | None = None
    max_mtu: int | None = None
    alt_names: tuple[str, ...] = ()
    phys_port_name: str | None = None
    phys_switch_id: str | None = None
    master: int | None = None
    """ifindex of the bridge, bond or Open vSwitch datapath that it is a port of."""


class Links(Protocol):
    """rtnetlink."""

    def links(self) -> Mapping[str, LinkInfo]:
        """All netdevs of this network namespace by name."""
        ...

    def link(self, name: str) -> LinkInfo:
        """One netdev, read afresh. OSError(ENODEV) when it is not there."""
        ...

    def vf_settings(self, ifindex: int) -> Mapping[int, VfSettings]:
        """Settings of the VFs of a PF's netdev by VF index; empty when the driver gives none."""
        ...

    def set_link(self, ifindex: int, *, mtu: int | None = None, up: bool | None = None) -> None:
        """RTM_SETLINK."""
        ...

    def rename(self, ifindex: int, name: str) -> None:
        """RTM_SETLINK with a new name, which may be an alternative one that it has.

        OSError: EEXIST another netdev has it, EBUSY an older kernel, and it is up.
        """
        ...

    def set_vf(self, ifindex: int, index: int, settings: Mapping[str, Any]) -> None:
        """IFLA_VFINFO_LIST of one VF; keys are `VfSettings`' field names, one message for all of them."""
        ...


class Devlink(Protocol):
    """devlink over generic netlink. `handle` is bus and device name: `("pci", "0000:3b:00.0")`."""

    def eswitch_mode(self, handle: tuple[str, str]) -> EswitchMode | None:
        """The eswitch mode; None when the device has no devlink instance or no eswitch."""
        ...

    def set_eswitch_mode(self, handle: tuple[str, str], mode: EswitchMode) -> None:
        """DEVLINK_CMD_ESWITCH_SET."""
        ...

    def inline_mode(self, handle: tuple[str, str]) -> str | None:
        """The eswitch's inline mode; None when the device has no devlink instance or its driver does not say."""
        ...

    def set_inline_mode(self, handle: tuple[str, str], mode: str) -> None:
        """DEVLINK_CMD_ESWITCH_SET: `none`, `link`, `network` or `transport`."""
        ...

    def info(self, handle: tuple[str, str]) -> DevlinkInfo | None:
        """DEVLINK_CMD_INFO_GET; None when the device has no devlink instance."""
        ...

    def param(self, handle: tuple[str, str], name: str) -> DevlinkParam | None:
        """DEVLINK_CMD_PARAM_GET; None when the device has no devlink instance or no such parameter."""
        ...

    def set_param(self, handle: tuple[str, str], param: DevlinkParam, value: ParamValue, *, mode: ParamMode) -> None:
        """DEVLINK_CMD_PARAM_SET of a parameter that `param` gave."""
        ...

    def reload(self, handle: tuple[str, str]) -> bool:
        """DEVLINK_CMD_RELOAD, `driver_reinit`. Whether the kernel says that it did it: one before 5.10 never says."""
        ...

    def handles(self) -> frozenset[tuple[str, str]]:
        """All devlink instances."""
        ...


class Vdpa(Protocol):
    """The generic netlink family "vdpa". A management device is named as devlink names devices, bus and name.

    What devices there are, and their drivers, is in `sys/bus/vdpa`.
    """

    def management(self) -> frozenset[tuple[str, str]]:
        """All management devices; empty when the kernel has no vDPA."""
        ...

    def add(self, handle: tuple[str, str], name: str, *, max_vqp: int | None = None) -> None:
        """VDPA_CMD_DEV_NEW, with so many pairs of queues; None: as the driver has it. OSError(EOPNOTSUPP): without."""
        ...

    def remove(self, name: str) -> None:
        """VDPA_CMD_DEV_DEL; blocks without end while the device is held open through vhost_vdpa."""
        ...


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as messages name it."""

    pid: int | None
    """None: it cannot be seen from here."""
    name: str

    def __str__(self) -> str:
        return self.name if self.pid is None else f"{self.name} (pid {self.pid})"


class Rdma(Protocol):
    """The RDMA subsystem, by its own netlink. To open its socket loads the module `ib_core`."""

    def netns_mode(self) -> str | None:
        """RDMA_NLDEV_CMD_SYS_GET: `shared` or `exclusive`; None: the kernel does not say."""
        ...

    def set_netns_mode(self, mode: str) -> None:
        """RDMA_NLDEV_CMD_SYS_SET. OSError(EBUSY): there are other network namespaces."""
        ...


class Processes(Protocol):
    """Who holds what."""

    def vfio_users(self, address: str, *, group: int | None, devices: Sequence[str]) -> Sequence[Process]:
        """Processes that hold the vfio *device* of a PCI function open.

        :param group: its IOMMU group (`/dev/vfio/<group>`).
        :param devices: its character devices (`vfio0` for `/dev/vfio/devices/vfio0`).

        A process that has only the group open does not hold the device.
        """
        ...

    def vdpa_users(self, device: str) -> Sequence[Process]:
        """Processes that hold a vDPA device open through its character device (`vhost-vdpa-0`)."""
        ...


class Commands(Protocol):
    """Programs of the host."""

    def run(self, argv: Sequence[str], *, timeout: float) -> CommandResult:
        """Run to the end, without a shell, standard input empty, C locale.

        FileNotFoundError: not installed. TimeoutError: killed after `timeout` seconds.
        """
        ...


class Ethtool(Protocol):
    """SIOCETHTOOL."""

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        """ETHTOOL_GDRVINFO: driver, version, firmware-version, bus-info."""
        ...

    def feature(self, netdev: str, name: str) -> bool | None:
        """Whether a feature (`hw-tc-offload`) is on; None when it is off and the driver does not let it be changed."""
        ...

    def set_feature(self, netdev: str, name: str, enabled: bool) -> None:
        """ETHTOOL_SFEATURES. OSError(EOPNOTSUPP) when the driver does not let it be changed."""
        ...


class OvsDb(Protocol):
    """Open vSwitch's database, spoken to as RFC 7047 says; rows and values are in that document's form."""

    def select(self, tables: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[Mapping[str, Any]]] | None:
        """All rows of the named tables with the named columns, as of one moment; None: no database answers here."""
        ...

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """One transaction. Its results, which may hold an error: nothing has happened then.

        OSError(ENOENT) or OSError(ECONNREFUSED): no database answers here. OSError(EPROTO): what came back is no
        answer. TimeoutError: there was none in time, and it may have happened.
        """
        ...


class Clock(Protocol):
    """Time, so that tests need not wait."""

    def monotonic(self) -> float:
        """Seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True)
class Kernel:
    """All of them together: the ground that `virtfn.host.machine.Machine` stands on."""

    files: Files
    links: Links
    devlink: Devlink
    vdpa: Vdpa
    ethtool: Ethtool
    rdma: Rdma
    processes: Processes
    commands: Commands
    ovsdb: OvsDb
    clock: Clock
