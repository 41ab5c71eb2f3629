"""Cards of vendors without a plugin of their own. Ids and names are those of the PCI ID list.

A card that is missing here is served all the same: the table gives names to cards, and to node selectors their ids.
"""

from __future__ import annotations

from virtfn.model import Capability, DeviceModel, PciId

_LEGACY = frozenset(
    {
        Capability.SRIOV,
        Capability.RDMA,
        Capability.TRUST,
        Capability.SPOOF_CHECK,
        Capability.MIN_RATE,
        Capability.MAX_RATE,
        Capability.VF_LINK_STATE,
    }
)
BNXT = _LEGACY | {Capability.SWITCHDEV}
"""bnxt_en. Switchdev mode needs firmware that has it."""
QEDE = _LEGACY
OCTEON = frozenset({Capability.SRIOV})
VIRTIO = frozenset({Capability.SRIOV})
"""virtio-pci makes VFs where the device offers VIRTIO_F_SR_IOV; QEMU's does not."""


def _row(
    name: str, vendor: str, pf: str, vf: str, *, driver: str, capabilities: frozenset[Capability], product: str
) -> DeviceModel:
    return DeviceModel(
        name=name,
        pf=PciId(vendor, pf),
        vf=PciId(vendor, vf),
        driver=driver,
        capabilities=capabilities,
        product=product,
    )


def _octeon(name: str, pf: str, vf: str, product: str) -> DeviceModel:
    return _row(name, "177d", pf, vf, driver="octeon_ep", capabilities=OCTEON, product=product)


DEVICES: tuple[DeviceModel, ...] = (
    _row(
        "Broadcom_bnxt_BCM57414_2x25G",
        "14e4",
        "16d7",
        "16dc",
        driver="bnxt_en",
        capabilities=BNXT,
        product="BCM57414 NetXtreme-E 10Gb/25Gb RDMA Ethernet Controller",
    ),
    _row(
        "Broadcom_bnxt_BCM75508_2x100G",
        "14e4",
        "1750",
        "1806",
        driver="bnxt_en",
        capabilities=BNXT,
        product="BCM57508 NetXtreme-E 10Gb/25Gb/40Gb/50Gb/100Gb/200Gb Ethernet",
    ),
    _row(
        "Qlogic_qede_QL45000_50G",
        "1077",
        "1654",
        "1664",
        driver="qede",
        capabilities=QEDE,
        product="FastLinQ QL45000 Series 50GbE Controller",
    ),
    _row(
        "Red_Hat_Virtio_network_device",
        "1af4",
        "1000",
        "1000",
        driver="virtio-pci",
        capabilities=VIRTIO,
        product="Virtio network device",
    ),
    _row(
        "Red_Hat_Virtio_1_0_network_device",
        "1af4",
        "1041",
        "1041",
        driver="virtio-pci",
        capabilities=VIRTIO,
        product="Virtio 1.0 network device",
    ),
    _octeon("Marvell_OCTEON_TX2_CN96XX", "b200", "b203", "OCTEON TX2 CN96XX"),
    _octeon("Marvell_OCTEON_TX2_CN98XX", "b100", "b103", "OCTEON TX2 CN98XX"),
    _octeon("Marvell_OCTEON_Fusion_CNF95XX", "b600", "b603", "OCTEON Fusion CNF95XX"),
    _octeon("Marvell_OCTEON10_CN10XXX", "b900", "b903", "OCTEON 10 CN10XXX"),
    _octeon("Marvell_OCTEON_Fusion_CNF105XX", "ba00", "ba03", "OCTEON Fusion CNF105XX"),
)
