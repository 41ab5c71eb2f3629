"""The cards by id, and what the four drivers can do. Ids and names are those of the PCI ID list and of the kernel.

Limits and abilities are the driver's, not the model's: they hold for a card that is in no table too.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtfn.model import Capability, DeviceModel, PciId

VENDOR = "8086"


@dataclass(frozen=True, slots=True)
class Driver:
    """A PF driver, from its source in Linux 6.12."""

    name: str
    max_vfs: int
    """VFs of one PF that the driver goes up to, whatever the hardware has."""
    max_vfs_per_card: int | None
    """VFs of all PFs of a card together; None: each PF has its own."""
    max_mtu: int
    """Bytes, of the PF; its VFs go no further."""
    capabilities: frozenset[Capability]
    vf_settings: tuple[str, ...]
    """Names of `VfSettings`' fields that can be set through the PF."""
    not_in_switchdev: frozenset[str] = frozenset()
    """Those of them that switchdev mode forbids."""
    spoof_check_default: bool = True
    """Whether a new VF has its source addresses checked."""

    @property
    def has_eswitch(self) -> bool:
        """Whether it has a switchdev mode."""
        return Capability.SWITCHDEV in self.capabilities


_COMMON = frozenset({Capability.SRIOV, Capability.TRUST, Capability.SPOOF_CHECK, Capability.MAX_RATE})
_BASIC = ("mac", "vlan", "qos", "trust", "spoof_check", "max_tx_rate")

IGB = Driver(
    name="igb",
    max_vfs=7,  # the hardware has 8, the PF needs one
    max_vfs_per_card=None,
    max_mtu=9216,
    capabilities=_COMMON,
    vf_settings=_BASIC,
)
IXGBE = Driver(
    name="ixgbe",
    max_vfs=63,  # the hardware has 64, the PF needs one
    max_vfs_per_card=None,
    max_mtu=9710,
    capabilities=_COMMON | {Capability.VF_LINK_STATE},
    vf_settings=(*_BASIC, "link_state"),
)
I40E = Driver(
    name="i40e",
    max_vfs=128,
    max_vfs_per_card=128,
    max_mtu=9702,
    capabilities=_COMMON | {Capability.VF_LINK_STATE},
    vf_settings=(*_BASIC, "link_state"),
)
ICE = Driver(
    name="ice",
    max_vfs=256,
    max_vfs_per_card=256,
    max_mtu=9702,
    capabilities=_COMMON
    | {Capability.VF_LINK_STATE, Capability.SWITCHDEV, Capability.RDMA, Capability.MIN_RATE, Capability.QINQ},
    vf_settings=(*_BASIC, "link_state", "min_tx_rate", "vlan_proto"),
    not_in_switchdev=frozenset({"trust"}),
)

DRIVERS = {driver.name: driver for driver in (IGB, IXGBE, I40E, ICE)}

SWITCHDEV_CARDS = "cards of the 800 series (E810, E823, E825, E830, E835; driver ice)"
"""What to use instead, where a card has no switchdev mode."""


def _row(name: str, device: str, vf: str, driver: Driver, product: str) -> DeviceModel:
    return DeviceModel(
        name=name,
        pf=PciId(VENDOR, device),
        vf=PciId(VENDOR, vf),
        driver=driver.name,
        capabilities=driver.capabilities,
        max_vfs=driver.max_vfs,
        product=product,
    )


DEVICES: tuple[DeviceModel, ...] = (
    _row("Intel_ixgbe_82576", "10c9", "10ca", IGB, "82576 Gigabit Network Connection"),
    _row("Intel_igb_I350", "1521", "1520", IGB, "I350 Gigabit Network Connection"),
    _row("Intel_ixgbe_10G_82599", "10fb", "10ed", IXGBE, "82599ES 10-Gigabit SFI/SFP+ Network Connection"),
    _row("Intel_ixgbe_10G_X540", "1528", "1515", IXGBE, "Ethernet Controller 10-Gigabit X540-AT2"),
    _row("Intel_ixgbe_10G_X550", "1563", "1565", IXGBE, "Ethernet Controller X550"),
    _row("Intel_i40e_10G_X710_SFP", "1572", "154c", I40E, "Ethernet Controller X710 for 10GbE SFP+"),
    _row("Intel_i40e_10G_X710_BACKPLANE", "1581", "154c", I40E, "Ethernet Controller X710 for 10GbE backplane"),
    _row("Intel_i40e_10G_X710_BASE_T", "15ff", "154c", I40E, "Ethernet Controller X710 for 10GBASE-T"),
    _row("Intel_i40e_X710_X557_AT_10G", "1589", "154c", I40E, "Ethernet Controller X710/X557-AT 10GBASE-T"),
    _row("Intel_i40e_40G_XL710_QSFP", "1583", "154c", I40E, "Ethernet Controller XL710 for 40GbE QSFP+"),
    _row("Intel_i40e_XXV710", "158a", "154c", I40E, "Ethernet Controller XXV710 for 25GbE backplane"),
    _row("Intel_i40e_25G_SFP28", "158b", "154c", I40E, "Ethernet Controller XXV710 for 25GbE SFP28"),
    _row("Intel_i40e_XXV710_N3000", "0d58", "154c", I40E, "Ethernet Controller XXV710 of the FPGA card N3000"),
    _row("Intel_ice_Columbiaville_E810", "1591", "1889", ICE, "Ethernet Controller E810-C for backplane"),
    _row("Intel_ice_Columbiaville_E810-CQDA2_2CQDA2", "1592", "1889", ICE, "Ethernet Controller E810-C for QSFP"),
    _row("Intel_ice_Columbiaville_E810-XXVDA4", "1593", "1889", ICE, "Ethernet Controller E810-C for SFP"),
    _row(
        "Intel_ice_Columbiaville_E810-XXV_BACKPLANE", "1599", "1889", ICE, "Ethernet Controller E810-XXV for backplane"
    ),
    _row("Intel_ice_Columbiaville_E810-XXVDA2", "159b", "1889", ICE, "Ethernet Controller E810-XXV for SFP"),
    _row("Intel_ice_Columbiapark_E823C", "188a", "1889", ICE, "Ethernet Connection E823-C for backplane"),
    _row("Intel_ice_Columbiapark_E823L_BACKPLANE", "124c", "1889", ICE, "Ethernet Connection E823-L for backplane"),
    _row("Intel_ice_Columbiapark_E823L_SFP", "124d", "1889", ICE, "Ethernet Connection E823-L for SFP"),
    _row("Intel_ice_Columbiapark_E825C_BACKPLANE", "579c", "1889", ICE, "Ethernet Connection E825-C for backplane"),
    _row("Intel_ice_Columbiapark_E825C_QSFP", "579d", "1889", ICE, "Ethernet Connection E825-C for QSFP"),
    _row("Intel_ice_Columbiapark_E825C_SFP", "579e", "1889", ICE, "Ethernet Connection E825-C for SFP"),
    _row("Intel_ice_Connorsville_E830_QSFP", "12d2", "1889", ICE, "Ethernet Controller E830-CC for QSFP"),
    _row("Intel_ice_Connorsville_E830_SFP", "12d3", "1889", ICE, "Ethernet Controller E830-CC for SFP"),
    _row("Intel_ice_Connorsville_E835CC_QSFP", "1249", "1889", ICE, "Ethernet Controller E835-CC for QSFP"),
    _row("Intel_ice_Connorsville_E835CC_SFP", "124a", "1889", ICE, "Ethernet Controller E835-CC for SFP"),
)

VF_DEVICES: frozenset[str] = frozenset(
    {
        *(row.vf.device for row in DEVICES),
        "1571",  # 700 series, Hyper-V interface
        "37cd",  # X722
        "152e",  # 82599, Hyper-V interface
        "1530",  # X540, Hyper-V interface
        "1564",  # X550, Hyper-V interface
        "15a8",  # X552
        "15a9",  # X552, Hyper-V interface
        "15c5",  # X553
        "57ad",  # E610
    }
)
"""Device ids of VFs: id tables of igbvf, ixgbevf and iavf."""


def model_of(pci_id: PciId) -> DeviceModel | None:
    """The table's row for a PF, or None."""
    return next((row for row in DEVICES if row.pf == pci_id), None)
