"""What a VM has for a network card. The function that is there is the one that is used, so both ids are the same.

Ids are those that the kernel's drivers for such functions take.
"""

from __future__ import annotations

from virtfn.model import Capability, DeviceModel, PciId

VIRTUAL = frozenset({Capability.VIRTUAL})
_VIRTUAL_RDMA = VIRTUAL | {Capability.RDMA}


def _row(name: str, pci_id: str, driver: str, product: str) -> DeviceModel:
    function = PciId.parse(pci_id)
    return DeviceModel(
        name=name,
        pf=function,
        vf=function,
        driver=driver,
        capabilities=_VIRTUAL_RDMA if driver in ("mlx5_core", "mana") else VIRTUAL,
        max_vfs=1,
        product=product,
    )


PARAVIRTUAL: tuple[DeviceModel, ...] = (
    _row("Red_Hat_Virtio_network_device", "1af4:1000", "virtio-pci", "Virtio network device"),
    _row("Red_Hat_Virtio_1_0_network_device", "1af4:1041", "virtio-pci", "Virtio 1.0 network device"),
    _row("Amazon_Elastic_Network_Adapter", "1d0f:ec20", "ena", "Elastic Network Adapter (ENA)"),
    _row("Amazon_Elastic_Network_Adapter_LLQ", "1d0f:ec21", "ena", "Elastic Network Adapter (ENA) with LLQ"),
    _row("Microsoft_MANA", "1414:00ba", "mana", "Microsoft Azure Network Adapter VF"),
)
"""Cards that a cloud or hypervisor makes for VMs."""

PASSED_THROUGH: tuple[DeviceModel, ...] = (
    _row("Intel_igbvf_82576", "8086:10ca", "igbvf", "82576 Virtual Function"),
    _row("Intel_igbvf_I350", "8086:1520", "igbvf", "I350 Ethernet Controller Virtual Function"),
    _row("Intel_ixgbevf_82599", "8086:10ed", "ixgbevf", "82599 Ethernet Controller Virtual Function"),
    _row("Intel_ixgbevf_82599_HV", "8086:152e", "ixgbevf", "82599 Virtual Function (Hyper-V)"),
    _row("Intel_ixgbevf_X540", "8086:1515", "ixgbevf", "X540 Ethernet Controller Virtual Function"),
    _row("Intel_ixgbevf_X540_HV", "8086:1530", "ixgbevf", "X540 Virtual Function (Hyper-V)"),
    _row("Intel_ixgbevf_X550", "8086:1565", "ixgbevf", "X550 Virtual Function"),
    _row("Intel_ixgbevf_X550_HV", "8086:1564", "ixgbevf", "X550 Virtual Function (Hyper-V)"),
    _row("Intel_ixgbevf_X552", "8086:15a8", "ixgbevf", "Ethernet Connection X552 Virtual Function"),
    _row("Intel_ixgbevf_X552_HV", "8086:15a9", "ixgbevf", "Ethernet Connection X552 Virtual Function (Hyper-V)"),
    _row("Intel_ixgbevf_X553", "8086:15c5", "ixgbevf", "X553 Virtual Function"),
    _row("Intel_ixgbevf_E610", "8086:57ad", "ixgbevf", "E610 Virtual Function"),
    _row("Intel_iavf_700", "8086:154c", "iavf", "Ethernet Virtual Function 700 Series"),
    _row("Intel_iavf_700_HV", "8086:1571", "iavf", "Ethernet Virtual Function 700 Series (Hyper-V)"),
    _row("Intel_iavf_X722", "8086:37cd", "iavf", "Ethernet Virtual Function 700 Series (X722)"),
    _row("Intel_iavf_Adaptive", "8086:1889", "iavf", "Ethernet Adaptive Virtual Function"),
    _row("Nvidia_mlx4_ConnectX-3_VF", "15b3:1004", "mlx4_core", "MT27500/MT27520 Family [ConnectX-3 Virtual Function]"),
    _row("Nvidia_mlx5_Connect-IB_VF", "15b3:1012", "mlx5_core", "MT27600 Family [Connect-IB Virtual Function]"),
    _row("Nvidia_mlx5_ConnectX-4_VF", "15b3:1014", "mlx5_core", "MT27700 Family [ConnectX-4 Virtual Function]"),
    _row("Nvidia_mlx5_ConnectX-4LX_VF", "15b3:1016", "mlx5_core", "MT27710 Family [ConnectX-4 Lx Virtual Function]"),
    _row("Nvidia_mlx5_ConnectX-5_VF", "15b3:1018", "mlx5_core", "MT27800 Family [ConnectX-5 Virtual Function]"),
    _row("Nvidia_mlx5_ConnectX-5_Ex_VF", "15b3:101a", "mlx5_core", "MT28800 Family [ConnectX-5 Ex Virtual Function]"),
    _row("Nvidia_mlx5_ConnectX-6_VF", "15b3:101c", "mlx5_core", "MT28908 Family [ConnectX-6 Virtual Function]"),
    _row("Nvidia_mlx5_ConnectX_VF", "15b3:101e", "mlx5_core", "ConnectX Family mlx5Gen Virtual Function"),
    _row("Nvidia_mlx5_BlueField_VF", "15b3:a2d3", "mlx5_core", "MT416842 BlueField multicore SoC family VF"),
    _row("Broadcom_bnxt_NetXtreme-E_VF", "14e4:16dc", "bnxt_en", "NetXtreme-E Ethernet Virtual Function"),
    _row("Broadcom_bnxt_BCM5750X_VF", "14e4:1806", "bnxt_en", "BCM5750X NetXtreme-E Ethernet Virtual Function"),
    _row("Broadcom_bnxt_BCM5750X_RDMA_VF", "14e4:1807", "bnxt_en", "BCM5750X NetXtreme-E RDMA Virtual Function"),
    _row("Qlogic_qede_QL45000_VF", "1077:1664", "qede", "FastLinQ QL45000 Series Virtual Function"),
    _row("Qlogic_qede_QL41000_VF", "1077:8090", "qede", "FastLinQ QL41000 Series Virtual Function"),
    _row("Marvell_OCTEON_TX2_CN96XX_VF", "177d:b203", "octeon_ep_vf", "OCTEON TX2 CN96XX Virtual Function"),
    _row("Marvell_OCTEON_TX2_CN98XX_VF", "177d:b103", "octeon_ep_vf", "OCTEON TX2 CN98XX Virtual Function"),
    _row("Marvell_OCTEON_Fusion_CNF95XX_VF", "177d:b603", "octeon_ep_vf", "OCTEON Fusion CNF95XX Virtual Function"),
    _row("Marvell_OCTEON10_CN10XXX_VF", "177d:b903", "octeon_ep_vf", "OCTEON 10 CN10XXX Virtual Function"),
    _row("Marvell_OCTEON_Fusion_CNF105XX_VF", "177d:ba03", "octeon_ep_vf", "OCTEON Fusion CNF105XX Virtual Function"),
)
"""VFs of a physical card whose PF stays with the hypervisor."""

DEVICES = PARAVIRTUAL + PASSED_THROUGH

BIFURCATED = frozenset({"mlx4_core", "mlx5_core", "mana"})
"""Drivers that stay bound while DPDK uses the card: its drivers for these reach the hardware through the kernel's RDMA
devices, so a function taken from the kernel's driver is of no use to them (DPDK guides, NVIDIA MLX5 and MANA)."""


def model_of(pci_id: PciId) -> DeviceModel | None:
    """The table's row for a function, or None."""
    return next((row for row in DEVICES if row.pf == pci_id), None)
