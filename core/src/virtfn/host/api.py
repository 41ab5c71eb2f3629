"""The machine as plugins and core see it: `HostReader` reads, `Host` writes too. Errors are those of `virtfn.errors`.

A PCI function is named by its address. Paths are absolute on the managed host (`/sys/...`), whatever the process's own
root is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from virtfn.model import EswitchMode, PciAddress
from virtfn.model.inventory import ParamMode as ParamMode
from virtfn.model.inventory import ParamValue as ParamValue


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A program that ended."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class DevlinkInfo:
    """`devlink dev info`: DEVLINK_CMD_INFO_GET."""

    driver: str | None = None
    serial_number: str | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DevlinkParam:
    """`devlink dev param show` of one parameter."""

    name: str
    kind: str
    """`bool`, `u8`, `u16`, `u32`, `u64` or `string`."""
    values: Mapping[ParamMode, ParamValue] = field(default_factory=dict)
    """By when they take effect; as a driver offers them, usually one."""

    def value(self, mode: ParamMode = ParamMode.RUNTIME) -> ParamValue | None:
        """The value of that mode; None where the driver does not give it."""
        return self.values.get(mode)


class HostReader(Protocol):
    """Reads. Nothing here changes the machine."""

    def read_text(self, path: str) -> str | None:
        """A file's text without surrounding white space; None when it is absent or cannot be read."""
        ...

    def pci_attribute(self, address: PciAddress, name: str) -> str | None:
        """A file below `/sys/bus/pci/devices/<address>/`; None when absent or unreadable."""
        ...

    def module_loaded(self, name: str) -> bool:
        """Whether a kernel module is loaded or built in."""
        ...

    def devlink_info(self, address: PciAddress) -> DevlinkInfo | None:
        """Driver, serial number and versions; None when the device has no devlink instance."""
        ...

    def devlink_param(self, address: PciAddress, name: str) -> DevlinkParam | None:
        """A parameter of the device; None when it has no devlink instance, or its driver no such parameter."""
        ...

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        """`ethtool -i`: `driver`, `version`, `firmware-version`, `bus-info`; empty when unreadable."""
        ...

    def netdev_names(self, function: PciAddress) -> tuple[str, ...]:
        """The function's netdevs in this network namespace; in switchdev mode representors are among a PF's."""
        ...

    def netdev_users(self, functions: Sequence[PciAddress]) -> tuple[str, ...]:
        """What of this host would go down with the functions' netdevs, for people: `bond0 on ens1f0`.

        What other network namespaces have on them is not seen.
        """
        ...

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, device: str = "") -> CommandResult:
        """A program of the host, without a shell, output decoded with replacement; any exit code is returned.

        :raises CommandFailed: it is not installed, or does not end within `timeout` seconds.
        """
        ...

    def run_seldom(self, argv: Sequence[str], *, per: str, timeout: float = 30.0, device: str = "") -> CommandResult:
        """As `run`, for a program that only tells something and takes long: its answer of before is good for a while.

        It is run anew when `per` is another, an hour after it did well or five minutes after it did not, and when a
        step ran a program for the same `device` or another function of its card.

        :param per: all that the answer depends on, as text: the boot, the driver, versions.
        """
        ...


class Bridges(Protocol):
    """Bridges of Open vSwitch that have a PF as their uplink. What virtfn did not make is refused, never changed.

    Each method comes back when ovs-vswitchd has followed. All raise `OvsRefused` (also when the database does not
    answer, or the bridge is somebody else's), and `WaitTimeout` when ovs-vswitchd does not follow.
    """

    def set_bridge(
        self,
        pf: PciAddress,
        bridge: str,
        *,
        datapath_type: str,
        fail_mode: str,
        external_ids: Mapping[str, str],
        other_config: Mapping[str, str],
    ) -> None:
        """Make the bridge, or bring it to what is wanted. Keys of the maps that virtfn never set stay as they are.

        :raises NotEffective: ovs-vswitchd cannot make the bridge's own port.
        """
        ...

    def set_uplink(
        self,
        pf: PciAddress,
        bridge: str,
        *,
        name: str = "",
        type: str = "",  # noqa: A002 - the column's name
        options: Mapping[str, str],
        external_ids: Mapping[str, str],
        other_config: Mapping[str, str],
        mtu_request: int | None = None,
    ) -> None:
        """Have the PF's netdev as the only uplink of the bridge, taken out of another bridge of virtfn's if need be.

        :param name: of the interface where its type needs no netdev and the PF has none.
        :param mtu_request: bytes; None: none is asked for.
        :raises NotEffective: ovs-vswitchd cannot use the interface.
        """
        ...

    def remove_uplink(self, pf: PciAddress, bridge: str) -> None:
        """Take out what virtfn put in as an uplink; nothing happens when it or the bridge is not there."""
        ...

    def remove_bridge(self, pf: PciAddress, bridge: str) -> None:
        """Remove the bridge with its ports; nothing happens when it is not there."""
        ...

    def set_offload(self, *, enabled: bool) -> None:
        """Hardware offload of flows on, or as it was before virtfn switched it on; in force at the next start."""
        ...


class Host(HostReader, Protocol):
    """Writes. Every method names the device in its errors, and reads back what the kernel may not have done."""

    def set_num_vfs(self, pf: PciAddress, count: int, *, probe: bool = True) -> None:
        """Make `count` VFs; goes through 0 when another number of VFs exists. Nothing happens when it is already so.

        :param probe: False: the new VFs are left without a driver (`sriov_drivers_autoprobe` is 0 meanwhile).
        :raises TooManyVfs: `count` is over `sriov_totalvfs`.
        :raises DeviceBusy: a VF is held open, or the write does not come back.
        :raises NotEffective: the driver took the number and made another.
        """
        ...

    def set_drivers_autoprobe(self, pf: PciAddress, enabled: bool) -> None:
        """Whether the kernel binds new VFs of the PF to a driver by itself."""
        ...

    def bind_driver(self, function: PciAddress, driver: str | None) -> str | None:
        """Bind a function to the named driver, or with None to the kernel's default one; unbinds another first.

        Returns the name of the driver bound, None when no default driver took the function.

        :raises DeviceBusy: the function is held open by a process.
        """
        ...

    def unbind_driver(self, function: PciAddress) -> None:
        """Take the function from its driver; nothing happens when it has none."""
        ...

    def set_link(self, function: PciAddress, *, mtu: int | None = None, up: bool | None = None) -> None:
        """MTU in bytes and administrative state of the function's netdev; waits for the netdev to appear.

        :raises WaitTimeout: the function has no netdev in this network namespace.
        """
        ...

    def set_vf(self, pf: PciAddress, index: int, settings: Mapping[str, Any]) -> None:
        """Administrative settings of one VF, by the names of `VfSettings`' fields (`mac`, `trust`, `vlan`, ...)."""
        ...

    def set_eswitch_mode(self, pf: PciAddress, mode: EswitchMode) -> None:
        """DEVLINK_CMD_ESWITCH_SET, read back."""
        ...

    def add_vdpa(self, function: PciAddress, *, name: str | None = None) -> None:
        """Make a vDPA device on a VF that is on its network driver; nothing happens when it is there.

        :param name: of the device; None: the one that `virtfn.model.inventory.vdpa_name` gives.
        :raises KernelRefused: the kernel offers none on it.
        """
        ...

    def bind_vdpa(self, function: PciAddress, driver: str | None) -> None:
        """Bind the function's vDPA device to `virtio_vdpa` or `vhost_vdpa`, or with None to none; read back.

        :raises DeviceGone: it has no vDPA device.
        :raises DeviceBusy: a process holds the device open.
        """
        ...

    def remove_vdpa(self, function: PciAddress) -> None:
        """Remove the vDPA device that `add_vdpa` makes; nothing happens when it is not there.

        :raises DeviceBusy: a process holds the device open.
        """
        ...

    def set_devlink_param(self, pf: PciAddress, name: str, value: ParamValue, *, mode: ParamMode) -> None:
        """DEVLINK_CMD_PARAM_SET, read back; nothing happens when it has the value already.

        :raises KernelRefused: EOPNOTSUPP when the driver has no such parameter, or does not take the value.
        """
        ...

    def reload_driver(self, pf: PciAddress) -> None:
        """DEVLINK_CMD_RELOAD: the driver takes the PF anew, and what was set for that is in force.

        Waits for the PF's netdev, which is another one then, and for its name.

        :raises DeviceBusy: it has VFs, which would lose it.
        :raises KernelRefused: EOPNOTSUPP when the driver cannot, as it is now: its words say why.
        :raises NotEffective: the kernel does not say that it did it, and nothing shows that it did.
        :raises WaitTimeout: its netdev does not come.
        """
        ...

    @property
    def bridges(self) -> Bridges:
        """Open vSwitch."""
        ...

    def set_rdma_mode(self, mode: str) -> None:
        """`shared` or `exclusive`, of the whole node, now; read back.

        :raises DeviceBusy: there are other network namespaces.
        """
        ...

    def set_tc_offload(self, pf: PciAddress, enabled: bool) -> None:
        """ethtool's hw-tc-offload of the PF's netdev, read back; nothing happens when it is so already.

        :raises KernelRefused: EOPNOTSUPP when the driver does not have it.
        """
        ...

    def set_inline_mode(self, pf: PciAddress, mode: str) -> None:
        """The eswitch's inline mode, read back; nothing happens when it is so already.

        :raises KernelRefused: EOPNOTSUPP when the driver has none, or only one.
        """
        ...

    def name_representors(self, pf: PciAddress, names: Mapping[int, str]) -> tuple[str, ...]:
        """Names of VF representors by VF index; waits until they are there. Returns which keep their name, and why.

        One that is up, a port of a bridge, or named by somebody else keeps it.

        :raises WaitTimeout: not all of them have come.
        """
        ...

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Make a file of virtfn's own, whole or not at all; only where `virtfn.host.owned_files` allows it.

        :raises NotPermitted: it is nowhere that virtfn writes, or a file that is there is not virtfn's.
        """
        ...

    def remove_file(self, path: str) -> None:
        """Take away a file of virtfn's own; nothing happens when it is not there. Raises as `write_file`."""
        ...

    def reload_udev(self, pf: PciAddress) -> None:
        """Have udev read its rules anew, and look again (`change`) at the netdevs of the PF's VFs and representors.

        systemd-networkd reads its files anew, if it runs.

        :raises CommandFailed: udevadm is not there, or udev does not answer.
        """
        ...

    def load_module(self, name: str, *, device: str = "") -> None:
        """`modprobe`; nothing happens when it is loaded or built in.

        :param device: for which it is loaded, for messages.
        """
        ...

    def vf_address(self, pf: PciAddress, index: int) -> PciAddress:
        """Where the VF behind `virtfn<index>` is.

        :raises DeviceGone: the PF or the VF is not there.
        """
        ...

    def wait_until(self, predicate: Callable[[], bool], *, timeout: float, why: str, device: str = "") -> None:
        """Poll until the predicate holds. The only way to wait.

        :raises WaitTimeout: after `timeout` seconds; the message is "waited N s for `why`".
        """
        ...
