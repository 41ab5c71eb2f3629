"""What is there: the inventory that observe gives and plan reads. All of it plain, frozen values.

A value that could not be read is `None`; "not there" and "unknown" are never told as zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from virtfn.model.guids import GuidPools
from virtfn.model.open_vswitch import OpenVSwitch
from virtfn.model.pci import PciAddress, PciId
from virtfn.model.rdma import PROGRAM_MODULES, RdmaDevice, RdmaFacts


class LinkType(StrEnum):
    """Port type, from the netdev's ARP hardware type (`/sys/class/net/*/type`: 1 Ethernet, 32 InfiniBand)."""

    ETH = "ETH"
    IB = "IB"


class EswitchMode(StrEnum):
    """`DEVLINK_ATTR_ESWITCH_MODE` of the PF."""

    LEGACY = "legacy"
    SWITCHDEV = "switchdev"


class DeviceType(StrEnum):
    """What the VFs of a group are for: the kernel's network driver, or user space through vfio-pci."""

    NETDEVICE = "netdevice"
    VFIO_PCI = "vfio-pci"


USERSPACE_DRIVERS = frozenset({"vfio-pci", "igb_uio", "uio_pci_generic"})
"""Drivers that hand a function to user space: a VF bound to one of them has no netdev."""

UNSET_MAC = "00:00:00:00:00:00"

ParamValue = bool | int | str
"""Of a devlink parameter."""


class ParamMode(StrEnum):
    """When a devlink parameter takes effect: `DEVLINK_ATTR_PARAM_VALUE_CMODE`."""

    RUNTIME = "runtime"
    """At once."""
    DRIVERINIT = "driverinit"
    """When the driver takes the device anew (`devlink dev reload`)."""
    PERMANENT = "permanent"
    """When the device is reset: it is kept in its memory."""


@dataclass(frozen=True, slots=True)
class Netdev:
    """A network interface of this network namespace."""

    name: str
    ifindex: int
    mac: str
    """Current hardware address, lower case; 6 bytes, or 20 for IP over InfiniBand."""
    mtu: int
    """Bytes."""
    up: bool
    """Administratively up (IFF_UP), whatever the carrier."""
    link_type: LinkType | None = None
    permanent_mac: str | None = None
    min_mtu: int | None = None
    max_mtu: int | None = None
    alt_names: tuple[str, ...] = ()
    phys_port_name: str | None = None
    phys_switch_id: str | None = None
    tc_offload: bool | None = None
    """ethtool's feature hw-tc-offload; None: the driver does not have it, or it was not asked."""
    speed_mbps: int | None = None
    """Mb/s; None when the link is down or the driver does not say."""
    bond: str | None = None
    """Name of the bond that it is a port of; read of PFs only."""
    in_bridge: bool = False
    """It is a port of a bridge or of Open vSwitch; read of PFs only."""


@dataclass(frozen=True, slots=True)
class VfSettings:
    """Administrative settings of a VF as its PF keeps them (rtnetlink IFLA_VF_INFO). None: the driver does not say."""

    mac: str | None = None
    """`00:00:00:00:00:00` is "not set"."""
    vlan: int | None = None
    qos: int | None = None
    vlan_proto: str | None = None
    """`802.1q` or `802.1ad`."""
    trust: bool | None = None
    spoof_check: bool | None = None
    link_state: str | None = None
    """`auto`, `enable` or `disable`."""
    min_tx_rate: int | None = None
    """Mb/s, 0 is "no limit"."""
    max_tx_rate: int | None = None
    node_guid: str | None = None
    port_guid: str | None = None


VDPA_DRIVERS: Mapping[str, str] = {"virtio": "virtio_vdpa", "vhost": "vhost_vdpa"}
"""Driver of a vDPA device by `vdpaType`: a netdev of this host, or a character device for a hypervisor."""


NODE_MODULES = frozenset({"vfio_pci", *VDPA_DRIVERS.values(), *PROGRAM_MODULES})
"""Kernel modules that may have to be loaded, whatever the card, with `_` for `-`."""


@dataclass(frozen=True, slots=True)
class VdpaDevice:
    """A vDPA device on the bus `vdpa` of the kernel, made on a VF."""

    name: str
    driver: str | None = None
    """`virtio_vdpa` or `vhost_vdpa`; None: bound to none."""
    netdev: str | None = None
    """Name of the netdev that virtio_vdpa gives it; None: it has none, or another network namespace has it."""

    @property
    def type(self) -> str | None:
        """`virtio` or `vhost`, by its driver."""
        return next((word for word, driver in VDPA_DRIVERS.items() if driver == self.driver), None)


def vdpa_name(address: PciAddress) -> str:
    """Name of the vDPA device that virtfn makes on a VF. The existing operators name theirs so too."""
    return f"vdpa:{address}"


@dataclass(frozen=True, slots=True)
class Vf:
    """A virtual function, found by its PF's `virtfnN` link (N is `index`)."""

    address: PciAddress
    index: int
    id: PciId
    driver: str | None = None
    driver_override: str | None = None
    netdev: Netdev | None = None
    settings: VfSettings | None = None
    iommu_group: int | None = None
    representor: str | None = None
    """Name of the VF's representor netdev, in switchdev mode."""
    vdpa: VdpaDevice | None = None
    """The vDPA device on the VF."""
    makes_vdpa: bool = False
    """The kernel offers the VF as a vDPA management device: on its present driver a vDPA device can be made on it."""
    rdma: RdmaDevice | None = None
    """None: it has none, or another network namespace has it."""
    representor_in_use: bool = False
    """The representor is up or somebody's port: its name stays."""

    @property
    def in_userspace(self) -> bool:
        """Whether the VF is bound to a driver such as vfio-pci."""
        return self.driver in USERSPACE_DRIVERS


@dataclass(frozen=True, slots=True)
class Pf:
    """A PCI network function that is not a VF of this machine: a PF, or in a VM simply the NIC."""

    address: PciAddress
    id: PciId
    class_code: int = 0x020000
    """PCI class, 24 bits (0x0200xx Ethernet, 0x0207xx InfiniBand)."""
    driver: str | None = None
    netdev: Netdev | None = None
    total_vfs: int | None = None
    """`sriov_totalvfs`; None when the kernel shows no SR-IOV files (switched off in firmware or BIOS, or a VM)."""
    drivers_autoprobe: bool | None = None
    """`sriov_drivers_autoprobe`: whether the kernel binds new VFs to a driver by itself."""
    vf_id: PciId | None = None
    """Vendor and `sriov_vf_device` of the VFs to come."""
    eswitch_mode: EswitchMode | None = None
    """None: the driver has no eswitch to ask for."""
    taken_names: tuple[str, ...] = ()
    """Names such as representors of its VFs get (`functions.representor_bases`) that other netdevs have."""
    inline_mode: str | None = None
    """How much of each packet VFs have to hand to the eswitch by themselves: `none`, `link`, `network`, `transport`."""
    params: Mapping[str, ParamValue] = field(default_factory=dict, hash=False)
    """devlink parameters that the owner's plugin may change, by name, those that its driver has. A value that takes
    effect with a reload of the driver is told as it was set, whether that has been or not (the kernel tells no other).
    Filled in once the owner is known."""
    numa_node: int | None = None
    iommu_group: int | None = None
    rdma: RdmaDevice | None = None
    vfs: tuple[Vf, ...] = ()
    """Ordered by index; as many as there are `virtfnN` links."""

    @property
    def num_vfs(self) -> int:
        """VFs that exist. Counted, not read from `sriov_numvfs`, whose reader can be blocked by a hung writer."""
        return len(self.vfs)

    def vf(self, index: int) -> Vf | None:
        """The VF with this index, or None."""
        return next((vf for vf in self.vfs if vf.index == index), None)

    @property
    def label(self) -> str:
        """`0000:3b:00.0 (ens1f0)`, for messages."""
        return f"{self.address} ({self.netdev.name})" if self.netdev else str(self.address)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A card: all PFs that share domain:bus:slot. Firmware settings are per adapter."""

    address: str
    pfs: tuple[Pf, ...]
    owner: str | None = None
    """Entry point key of the plugin that serves it (`15b3`, `8086.10c9`, `generic`); None: nobody does."""
    owner_reason: str = ""
    """Why that plugin, or why none."""
    model: str | None = None
    """Product name from the owner's device table."""
    rdma_module: str = ""
    """Kernel module that makes RDMA devices of the card's functions, from the device table; empty: it names none."""
    vdpa_module: str = ""
    """Kernel module that lets the model's VFs have vDPA devices, from the device table; empty: it names none."""
    params: Mapping[str, ParamMode] = field(default_factory=dict)
    """devlink parameters that its plugin may change, from the device table: `DeviceModel.params`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the owner's `observe` found: vendor facts as JSON values."""
    fault: str = ""
    """What went wrong in the owner's `observe`: the adapter is then left alone."""

    def pf(self, address: PciAddress) -> Pf | None:
        """The PF with this address, or None."""
        return next((pf for pf in self.pfs if pf.address == address), None)


@dataclass(frozen=True, slots=True)
class Platform:
    """Facts of the node that are not one device's."""

    virtual: bool = False
    """The machine is a VM (the CPU's hypervisor flag)."""
    kernel: str = ""
    """`uname -r`."""
    iommu: bool = False
    """IOMMU groups exist, so vfio-pci can be used safely."""
    lockdown: str | None = None
    """`none`, `integrity` or `confidentiality`; None where the kernel has no lockdown."""
    modules: frozenset[str] = frozenset()
    """Modules that are loaded, with `_` for `-` (`vfio_pci`), and those built in that have parameters."""
    missing_modules: frozenset[str] = frozenset()
    """Of the modules that may have to be loaded, those that this kernel does not have; written likewise."""
    rdma: RdmaFacts = field(default_factory=RdmaFacts)
    guid_pools: GuidPools | None = None
    """GUIDs that an administrator gives to InfiniBand VFs; None: he has left it to virtfn."""

    @property
    def rdma_mode(self) -> str | None:
        """`shared` or `exclusive`; None where there is no RDMA."""
        return self.rdma.mode

    firmware_reset: bool = False
    """A card may be reset while the node runs, if that spares a reboot: whoever runs virtfn has allowed it."""
    udev: bool = False
    """udev runs on the host, and its rules can be written."""
    owned_files: Mapping[str, str] = field(default_factory=dict)
    """Files of virtfn's own for udev and systemd-networkd: digests of their texts by path; empty: somebody else's."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything observed in one pass."""

    adapters: tuple[Adapter, ...] = ()
    platform: Platform = field(default_factory=Platform)
    ovs: OpenVSwitch | None = None
    """None: no Open vSwitch runs."""

    def pfs(self) -> Iterator[Pf]:
        """All PFs, by adapter."""
        for adapter in self.adapters:
            yield from adapter.pfs

    def pf(self, address: PciAddress) -> Pf | None:
        """The PF with this address, or None."""
        return next((pf for pf in self.pfs() if pf.address == address), None)
