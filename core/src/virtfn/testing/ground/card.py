"""What is on the simulated bus: cards with firmware, PCI functions, netdevs. State only; the rules are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtfn.host.api import ParamMode, ParamValue
from virtfn.host.kernel import Process
from virtfn.model import EswitchMode, LinkType, PciAddress, PciId, VfSettings
from virtfn.testing.profiles import FirmwareFacts, Profile

if TYPE_CHECKING:
    from virtfn.testing.ground.drivers.base import Driver

Setting = bool | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What can be odd about one card; the plain values are those of a card in order."""

    netdev_delay: float = 0.0
    """Seconds from the probe of a VF until its netdev is there."""
    max_vfs: int | None = None
    """What driver or firmware allow under `sriov_totalvfs`; how they refuse more is the driver's own."""
    mmio_vfs: int | None = None
    """VFs for which the BIOS left room; more give ENOMEM."""
    msix_vfs: int | None = None
    """VFs for which there are interrupts (ice: more give ENOSPC)."""
    traffic_classes: int = 0
    """ixgbe: the number of traffic classes in use takes VFs away."""
    no_rdma: bool = False
    """The driver makes no RDMA devices: switched off, as by devlink's `enable_rdma`."""
    legacy_without_vfs: bool = False
    """The eswitch goes back to legacy mode when its last VF goes: netdevsim, and mlx5 of older kernels."""
    safe_mode: bool = False
    """ice: the package was not loaded."""
    hotplug: bool = True
    """The slot is one for hot-plugging: after a reset of the card the kernel reads anew what is in it."""
    link_partner: bool = True
    """Whether there is a link partner: without one an interface that is up has no carrier and no speed."""


@dataclass(frozen=True, slots=True)
class PortVfs:
    """What firmware keeps for one port."""

    enabled: bool = False
    total: int = 0


@dataclass(slots=True)
class Firmware:
    """Non-volatile settings: what they are from the factory, now, and after the next reset."""

    default: dict[str, Setting]
    current: dict[str, Setting]
    next: dict[str, Setting]
    deaf: bool = False
    """A reset does not bring into force what was set."""
    unprepared: bool = False
    """It refuses to be prepared for a reboot, which then changes nothing; a reset and a power cycle do."""
    refuses: str = ""
    """With what words the firmware refuses to be set; empty: it takes it."""
    read_only: frozenset[str] = frozenset()
    """Settings that nobody on this host may change."""
    per_port: bool = True
    """It can keep a number of VFs for each port (`PF_NUM_OF_VF_VALID`), which is all that mlx5 sets by devlink."""
    ports: dict[int, PortVfs] = field(default_factory=dict)
    """By port, in force if `PF_NUM_OF_VF_VALID` is. What was never set is off."""
    ports_next: dict[int, PortVfs] = field(default_factory=dict)

    @classmethod
    def from_facts(cls, facts: FirmwareFacts) -> Firmware:
        """As the card is put in: nothing pending."""
        now = {**facts.defaults, **facts.settings}
        return cls(dict(facts.defaults), dict(now), dict(now))

    def apply(self) -> None:
        """What a reset does."""
        if not self.deaf:
            self.current, self.ports = dict(self.next), dict(self.ports_next)


@dataclass(slots=True, eq=False)
class Netdev:
    """A network interface."""

    ifindex: int
    name: str
    function: PciFunction
    mac: str
    permanent_mac: str | None
    mtu: int
    min_mtu: int
    max_mtu: int
    speed_mbps: int
    link_type: LinkType = LinkType.ETH
    up: bool = False
    mac_is_random: bool = False
    phys_port_name: str | None = None
    phys_switch_id: str | None = None
    represents: int | None = None
    """Index of the VF whose representor this is."""
    of_vdpa: bool = False
    """It is that of a vDPA device on the function."""
    alt_names: tuple[str, ...] = ()
    tc_offload: bool | None = None
    """ethtool's feature; None: the driver does not have it."""
    master: int | None = None
    """ifindex of what it is a port of."""
    folder: str = ""
    """Below which `net/<name>` stands; empty while it is in another network namespace."""
    partner: bool = True


@dataclass(slots=True)
class Sriov:
    """A PF's SR-IOV capability and what has been made of it."""

    hardware_total: int
    total: int
    offset: int
    stride: int
    vf_id: PciId
    autoprobe: bool = True
    vfs: list[PciFunction] = field(default_factory=list)
    admin: list[VfSettings] = field(default_factory=list)
    """The VFs' settings as the PF keeps them, by index."""
    locked: bool = False
    """A write to `sriov_numvfs` is under way: readers and other writers wait."""


@dataclass(slots=True, eq=False)
class PciFunction:
    """A function on the bus."""

    address: PciAddress
    id: PciId
    card: Card
    port: int
    class_code: int
    physfn: PciFunction | None = None
    vf_index: int | None = None
    sriov: Sriov | None = None
    driver: Driver | None = None
    override: str | None = None
    iommu_group: int | None = None
    netdevs: list[Netdev] = field(default_factory=list)
    holders: list[Process] = field(default_factory=list)
    rdma: str | None = None
    """Name of its RDMA device."""
    eswitch_mode: EswitchMode = EswitchMode.LEGACY
    inline_mode: str | None = None
    """As it was set; None: as it is at boot."""
    params: dict[tuple[str, ParamMode], ParamValue] = field(default_factory=dict)
    """devlink parameters that were set since the machine booted."""
    initial: dict[str, ParamValue] = field(default_factory=dict)
    """Of those that take effect when the driver takes it: as they were then, where that is not as the profile says."""
    bus_number: int = 0
    """Number on a bus of its own below the function (`virtio3`), or of its vfio device (`vfio3`)."""
    gone: bool = False

    @property
    def name(self) -> str:
        """The address as sysfs writes it."""
        return str(self.address)

    @property
    def folder(self) -> str:
        """Its folder in the tree. VFs stand beside their PF."""
        domain, bus = self.card.address.domain, self.card.address.bus
        return f"sys/devices/pci{domain:04x}:{bus:02x}/{self.address}"

    @property
    def netdev(self) -> Netdev | None:
        """The function's own netdev, which is no representor and no vDPA device's."""
        own = (netdev for netdev in self.netdevs if netdev.represents is None and not netdev.of_vdpa)
        return next(own, None)

    @property
    def held(self) -> bool:
        """Whether a process has the function's vfio device open."""
        return bool(self.holders)

    @property
    def vfs(self) -> list[PciFunction]:
        """The VFs that exist, by index."""
        return self.sriov.vfs if self.sriov else []


@dataclass(slots=True, eq=False)
class Card:
    """A card in a slot. `functions` are its PFs while the machine is on."""

    profile: Profile
    address: PciAddress
    """Of function 0."""
    ports: int
    firmware: Firmware
    quirks: Quirks
    names: tuple[str, ...] = ()
    up: bool = False
    bound: bool = True
    sriov: bool = True
    numa_node: int = 0
    functions: list[PciFunction] = field(default_factory=list)

    @property
    def slot(self) -> str:
        """`domain:bus:device`."""
        return self.address.slot

    def pf(self, port: int = 0) -> str:
        """Address of a PF, as text."""
        return str(self.pf_address(port))

    def pf_address(self, port: int = 0) -> PciAddress:
        """Address of a PF."""
        first = self.address
        return PciAddress(first.domain, first.bus, first.device, first.function + port)

    def link_type(self, port: int) -> LinkType:
        """A port's type: firmware's, where it has a say."""
        setting = self.firmware.current.get(f"LINK_TYPE_P{port + 1}")
        return LinkType(str(setting)) if setting is not None else self.profile.ports.link_type

    @property
    def needs_power_cycle(self) -> bool:
        """Whether a reboot does not bring into force what is set."""
        return self.profile.firmware.needs_power_cycle or self.firmware.unprepared

    @property
    def host_manages_eswitch(self) -> bool:
        """False for the host's side of a DPU whose own processor is the manager."""
        current = self.firmware.current
        return not (
            current.get("INTERNAL_CPU_MODEL") == "EMBEDDED_CPU"
            and current.get("INTERNAL_CPU_ESWITCH_MANAGER") == "ECPF"
            and current.get("INTERNAL_CPU_OFFLOAD_ENGINE") == "ENABLED"
        )

    def mac(self, port: int) -> str:
        """The burnt-in address of a port: made of the slot, so that it is always the same."""
        first = self.address
        tail = (first.domain << 16 ^ first.bus << 8 ^ (first.device << 3 | (first.function + port))) & 0xFFFFFF
        return f"{self.profile.ports.mac_prefix}:{tail >> 16:02x}:{tail >> 8 & 255:02x}:{tail & 255:02x}"
