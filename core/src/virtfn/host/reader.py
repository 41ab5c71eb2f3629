"""Reads the machine: PCI network functions with their VFs, netdevs and settings, and the facts of the node.

Nothing here writes, and nothing here can block: `sriov_numvfs` is never read, because its reader waits for a writer
that may be stuck behind a VF held open; VFs are counted by their `virtfnN` links instead (Linux drivers/pci/iov.c).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from virtfn.errors import CommandFailed, DeviceGone, WaitTimeout
from virtfn.host.api import CommandResult, DevlinkInfo, DevlinkParam
from virtfn.host.bridge_reader import read_open_vswitch
from virtfn.host.kernel import ARPHRD_ETHER, ARPHRD_INFINIBAND, Kernel, LinkInfo
from virtfn.host.netdev_users import users_of
from virtfn.host.owned_files import read_owned, udev_keeps_rules
from virtfn.host.rdma import guid_pools, rdma_device, rdma_facts
from virtfn.host.representors import is_representor, is_uplink_port, keeps_name, representors_of, taken_names
from virtfn.host.seldom import Answers
from virtfn.host.vdpa_devices import VdpaReader, VdpaView
from virtfn.model import LinkType, Netdev, PciAddress, PciId, Pf, Platform, Vf, VfSettings
from virtfn.model.open_vswitch import OpenVSwitch
from virtfn.model.rdma import RdmaFacts

DEVICES = "sys/bus/pci/devices"
NETWORK_CLASS = 0x02
TC_OFFLOAD = "hw-tc-offload"
_VIRTFN = re.compile(r"virtfn(\d+)")
_LINK_TYPES = {ARPHRD_ETHER: LinkType.ETH, ARPHRD_INFINIBAND: LinkType.IB}
_POLL_SECONDS = 0.05


def device_path(address: PciAddress, name: str = "") -> str:
    """Path of a PCI function's folder in sysfs, or of a file in it."""
    return f"{DEVICES}/{address}/{name}" if name else f"{DEVICES}/{address}"


class Reader:
    """`virtfn.host.api.HostReader` on a `Kernel`, and the inventory of PCI functions."""

    def __init__(self, kernel: Kernel, *, answers: Answers | None = None) -> None:
        self._kernel = kernel
        self._answers = answers or Answers()
        self._vdpa_reader = VdpaReader(kernel)

    # --- HostReader ---------------------------------------------------------------------------------------------------

    def read_text(self, path: str) -> str | None:
        """See `HostReader`."""
        try:
            return self._kernel.files.read(path.lstrip("/")).strip()
        except OSError:
            return None

    def pci_attribute(self, address: PciAddress, name: str) -> str | None:
        """See `HostReader`."""
        return self.read_text(device_path(address, name))

    def module_loaded(self, name: str) -> bool:
        """See `HostReader`."""
        plain = name.replace("-", "_")
        return self._kernel.files.exists(f"sys/module/{plain}") or f"/{plain}.ko" in self._module_list("builtin")

    def missing_modules(self, names: Iterable[str]) -> frozenset[str]:
        """Those that are not loaded and that this kernel does not have; none where its list of modules is not there."""
        unloaded = [name for name in names if not self._kernel.files.exists(f"sys/module/{name}")]
        if not unloaded or not (listed := self._module_list("dep")):
            return frozenset()
        listed += self._module_list("builtin")
        return frozenset(name for name in unloaded if f"/{name}.ko" not in listed)

    def _module_list(self, kind: str) -> str:
        """Paths of modules, like `kernel/drivers/vfio/pci/vfio_pci.ko.xz`: with `_` for `-`."""
        release = self.read_text("proc/sys/kernel/osrelease") or ""
        return (self.read_text(f"lib/modules/{release}/modules.{kind}") or "").replace("-", "_")

    def devlink_info(self, address: PciAddress) -> DevlinkInfo | None:
        """See `HostReader`."""
        try:
            return self._kernel.devlink.info(("pci", str(address)))
        except OSError:
            return None

    def devlink_param(self, address: PciAddress, name: str) -> DevlinkParam | None:
        """See `HostReader`."""
        try:
            return self._kernel.devlink.param(("pci", str(address)), name)
        except OSError:
            return None

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        """See `HostReader`."""
        try:
            return self._kernel.ethtool.driver_info(netdev)
        except OSError:
            return {}

    def netdev_users(self, functions: Sequence[PciAddress]) -> tuple[str, ...]:
        """See `HostReader`."""
        names = [name for function in functions for name in self.netdev_names(function)]
        return users_of(self._kernel.files, names)

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, device: str = "") -> CommandResult:
        """See `HostReader`."""
        self._before_run(device)
        return self._run(argv, timeout=timeout, device=device)

    def _before_run(self, device: str) -> None:
        """Nothing: whoever only reads changes nothing by it."""

    def _run(self, argv: Sequence[str], *, timeout: float, device: str) -> CommandResult:
        name = f"{device}: {argv[0]}" if device else argv[0]
        words = tuple(argv)
        try:
            return self._kernel.commands.run(words, timeout=timeout)
        except FileNotFoundError as error:
            raise CommandFailed(f"{name}: not installed on this host", device=device, argv=words) from error
        except TimeoutError as error:
            raise CommandFailed(
                f"{name}: did not end within {timeout:g} s and was stopped", device=device, argv=words
            ) from error
        except OSError as error:
            raise CommandFailed(
                f"{name}: cannot be run ({error.strerror or error})", device=device, argv=words
            ) from error

    def run_seldom(self, argv: Sequence[str], *, per: str, timeout: float = 30.0, device: str = "") -> CommandResult:
        """See `HostReader`."""
        return self._answers.ask(
            argv,
            per=per,
            device=device,
            now=self._kernel.clock.monotonic,
            run=lambda: self._run(argv, timeout=timeout, device=device),
        )

    def wait_until(self, predicate: Callable[[], bool], *, timeout: float, why: str, device: str = "") -> None:
        """See `Host`."""
        clock = self._kernel.clock
        deadline = clock.monotonic() + timeout
        while not predicate():
            if clock.monotonic() >= deadline:
                where = f"{device}: " if device else ""
                raise WaitTimeout(f"{where}waited {timeout:g} s for {why}", device=device)
            clock.sleep(_POLL_SECONDS)

    # --- the inventory ------------------------------------------------------------------------------------------------

    def network_functions(self) -> tuple[Pf, ...]:
        """All PCI network functions of this machine that are not VFs of one of its PFs, ordered by address."""
        links = self._links()
        handles = self._kernel.devlink.handles()
        vdpa = self._vdpa_reader.view()
        found = []
        for name in self._kernel.files.listdir(DEVICES):
            address = PciAddress.parse(name)
            code = self._hex(address, "class")
            if code is None or code >> 16 != NETWORK_CLASS or self.exists(address, "physfn"):
                continue
            found.append(self._pf(address, code, links, ("pci", str(address)) in handles, vdpa))
        return tuple(sorted(found, key=lambda pf: pf.address))

    def pf(self, address: PciAddress) -> Pf:
        """One PF as it is now. Raises `DeviceGone`."""
        code = self._hex(address, "class")
        if code is None:
            raise DeviceGone(f"{address}: there is no such PCI device", device=str(address))
        return self._pf(address, code, self._links(), True, self._vdpa_reader.view())

    def vf_address(self, pf: PciAddress, index: int) -> PciAddress:
        """See `Host`."""
        target = self._kernel.files.readlink(device_path(pf, f"virtfn{index}"))
        if target is None:
            self.require(pf)
            raise DeviceGone(f"{pf}: VF {index} does not exist", device=str(pf))
        return PciAddress.parse(target)

    def vf_addresses(self, pf: PciAddress) -> dict[int, PciAddress]:
        """VFs of a PF by index, ordered."""
        found = {}
        for name in self._kernel.files.listdir(device_path(pf)):
            if (match := _VIRTFN.fullmatch(name)) and (target := self._kernel.files.readlink(device_path(pf, name))):
                found[int(match[1])] = PciAddress.parse(target)
        return dict(sorted(found.items()))

    def open_vswitch(self) -> OpenVSwitch | None:
        """Open vSwitch; None: none runs."""
        return read_open_vswitch(self._kernel.files, self._kernel.ovsdb)

    def platform(self) -> Platform:
        """Facts of the node."""
        files = self._kernel.files
        lockdown = re.search(r"\[(\w+)\]", self.read_text("sys/kernel/security/lockdown") or "")
        flags = re.search(r"^flags\s*:(.*)$", self.read_text("proc/cpuinfo") or "", re.MULTILINE)
        return Platform(
            virtual=bool(flags and "hypervisor" in flags[1].split()),
            kernel=self.read_text("proc/sys/kernel/osrelease") or "",
            iommu=bool(files.listdir("sys/kernel/iommu_groups")),
            lockdown=lockdown[1] if lockdown else None,
            modules=frozenset(files.listdir("sys/module")),
            rdma=self._rdma_facts(),
            guid_pools=guid_pools(files),
            udev=udev_keeps_rules(files),
            owned_files=read_owned(files),
        )

    def _rdma_facts(self) -> RdmaFacts:
        return rdma_facts(self._kernel.files)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def exists(self, address: PciAddress, name: str = "") -> bool:
        """Whether the function, or a file in its folder, is there."""
        return self._kernel.files.exists(device_path(address, name))

    def path_exists(self, path: str) -> bool:
        """Whether something is there, on the managed host."""
        return self._kernel.files.exists(path.lstrip("/"))

    def require(self, address: PciAddress) -> None:
        """Raises `DeviceGone` when the function is not there."""
        if not self.exists(address):
            raise DeviceGone(f"{address}: the device is no longer there", device=str(address))

    def driver(self, address: PciAddress) -> str | None:
        """Name of the driver bound to a function."""
        return self._kernel.files.readlink(device_path(address, "driver"))

    def netdev_names(self, function: PciAddress) -> tuple[str, ...]:
        """See `HostReader`. Netdevs whose parent is the function, or its virtio device."""
        files = self._kernel.files
        names = list(files.listdir(device_path(function, "net")))
        if not names:
            for name in files.listdir(device_path(function)):
                if name.startswith("virtio"):
                    names += files.listdir(device_path(function, f"{name}/net"))
        return tuple(names)

    def uplink(self, address: PciAddress, links: Mapping[str, LinkInfo]) -> LinkInfo | None:
        """The function's own netdev; representors stand beside it in the same folder, or alone when it is elsewhere."""
        own = [links[name] for name in self.netdev_names(address) if name in links]
        own = [link for link in own if not is_representor(link)]
        uplinks = [link for link in own if link.phys_switch_id and is_uplink_port(link)]
        return next(iter(uplinks or own), None)

    def representors(self, address: PciAddress, links: Mapping[str, LinkInfo]) -> dict[int, LinkInfo]:
        """Those of a PF's VFs by VF index, as far as they are in this network namespace."""
        uplink = self.uplink(address, links)
        return representors_of(uplink, links, below=self.netdev_names(address)) if uplink is not None else {}

    def own_link(self, address: PciAddress) -> LinkInfo | None:
        """The function's own netdev, read afresh; None when it has none in this network namespace."""
        names = self.netdev_names(address)
        if len(names) != 1:
            return self.uplink(address, self._links()) if names else None
        try:
            link = self._kernel.links.link(names[0])
            return None if is_representor(link) else link
        except OSError as error:
            if error.errno == errno.ENODEV:  # gone meanwhile, or in another network namespace
                return None
            raise

    def own_ifindex(self, address: PciAddress) -> int | None:
        """Number of the function's own netdev, where sysfs tells it: the quick way to it."""
        names = self.netdev_names(address)
        text = self.read_text(f"sys/class/net/{names[0]}/ifindex") if len(names) == 1 else None
        return int(text) if text else None

    def _links(self) -> Mapping[str, LinkInfo]:
        return self._kernel.links.links()

    def _hex(self, address: PciAddress, name: str) -> int | None:
        text = self.pci_attribute(address, name)
        try:
            return int(text, 16) if text else None
        except ValueError:
            return None

    def _number(self, address: PciAddress, name: str) -> int | None:
        text = self.pci_attribute(address, name)
        try:
            return int(text) if text else None
        except ValueError:
            return None

    def _id(self, address: PciAddress) -> PciId:
        return PciId(f"{self._hex(address, 'vendor') or 0:04x}", f"{self._hex(address, 'device') or 0:04x}")

    def _bond(self, link: LinkInfo) -> str | None:
        """Name of the bond that has the netdev."""
        files = self._kernel.files
        master = files.readlink(f"sys/class/net/{link.name}/master")
        return master if master is not None and files.exists(f"sys/class/net/{master}/bonding") else None

    def _uplink(self, link: LinkInfo | None, *, offload: bool) -> Netdev | None:
        netdev = self._netdev(link, offload=offload)
        if netdev is None or link is None:
            return None
        bond = self._bond(link)
        return replace(netdev, bond=bond, in_bridge=link.master is not None and bond is None)

    def _netdev(self, link: LinkInfo | None, *, offload: bool = False) -> Netdev | None:
        if link is None:
            return None
        speed = self.read_text(f"sys/class/net/{link.name}/speed")
        return Netdev(
            name=link.name,
            ifindex=link.ifindex,
            mac=link.mac,
            mtu=link.mtu,
            up=link.up,
            link_type=_LINK_TYPES.get(link.arp_type),
            permanent_mac=link.permanent_mac,
            min_mtu=link.min_mtu,
            max_mtu=link.max_mtu,
            alt_names=link.alt_names,
            phys_port_name=link.phys_port_name,
            phys_switch_id=link.phys_switch_id,
            tc_offload=self.tc_offload(link.name) if offload else None,
            speed_mbps=int(speed) if speed and speed.isdigit() else None,
        )

    def _pf(self, address: PciAddress, code: int, links: Mapping[str, LinkInfo], devlink: bool, vdpa: VdpaView) -> Pf:
        ident = self._id(address)
        uplink = self.uplink(address, links)
        total = self._number(address, "sriov_totalvfs")
        autoprobe = self._number(address, "sriov_drivers_autoprobe")
        vf_device = self._hex(address, "sriov_vf_device")
        addresses = self.vf_addresses(address)
        settings: Mapping[int, VfSettings] = {}
        if uplink is not None and addresses:
            settings = self._vf_settings(uplink.ifindex)
        representors = self.representors(address, links)
        handle = ("pci", str(address))
        mode = self._kernel.devlink.eswitch_mode(handle) if devlink else None
        return Pf(
            address=address,
            id=ident,
            class_code=code,
            driver=self.driver(address),
            netdev=self._uplink(uplink, offload=mode is not None),
            total_vfs=total or None,
            drivers_autoprobe=None if autoprobe is None else bool(autoprobe),
            vf_id=PciId(ident.vendor, f"{vf_device:04x}") if vf_device is not None else None,
            eswitch_mode=mode,
            taken_names=taken_names(uplink, representors, links) if uplink is not None and mode is not None else (),
            inline_mode=self._inline_mode(handle) if mode is not None else None,
            numa_node=self._number(address, "numa_node"),
            iommu_group=self._iommu_group(address),
            rdma=rdma_device(self._kernel.files, device_path(address)),
            vfs=tuple(
                self._vf(index, vf, links, settings.get(index), representors.get(index), vdpa)
                for index, vf in addresses.items()
            ),
        )

    def _inline_mode(self, handle: tuple[str, str]) -> str | None:
        try:
            return self._kernel.devlink.inline_mode(handle)
        except OSError:
            return None

    def tc_offload(self, netdev: str) -> bool | None:
        """ethtool's hw-tc-offload; None when the driver does not have it."""
        try:
            return self._kernel.ethtool.feature(netdev, TC_OFFLOAD)
        except OSError:
            return None

    def _vf_settings(self, ifindex: int) -> Mapping[int, VfSettings]:
        try:
            return self._kernel.links.vf_settings(ifindex)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EMSGSIZE):  # gone meanwhile, or too many VFs for one message
                return {}
            raise

    def _vf(
        self,
        index: int,
        address: PciAddress,
        links: Mapping[str, LinkInfo],
        settings: VfSettings | None,
        representor: LinkInfo | None,
        vdpa: VdpaView,
    ) -> Vf:
        override = self.pci_attribute(address, "driver_override")
        return Vf(
            address=address,
            index=index,
            id=self._id(address),
            driver=self.driver(address),
            driver_override=None if override in (None, "", "(null)") else override,
            netdev=self._netdev(self.uplink(address, links)),
            settings=settings,
            iommu_group=self._iommu_group(address),
            representor=representor.name if representor else None,
            representor_in_use=representor is not None and keeps_name(representor),
            vdpa=self._vdpa_reader.device_of(address, vdpa) if vdpa.names else None,
            makes_vdpa=str(address) in vdpa.managed,
            rdma=rdma_device(self._kernel.files, device_path(address)),
        )

    def _iommu_group(self, address: PciAddress) -> int | None:
        group = self._kernel.files.readlink(device_path(address, "iommu_group"))
        return int(group) if group and group.isdigit() else None
