"""The cards by id. Ids are those of the mlx5 driver, names those of the PCI ID list.

From ConnectX-6 Dx on all models share one VF id, so a VF's id does not tell what card it belongs to.
"""

from __future__ import annotations

from types import MappingProxyType

from virtfn.host.api import ParamMode
from virtfn.model import Capability, DeviceModel, PciId

VENDOR = "15b3"

MAX_VFS = 127
"""Of one PF, as NVIDIA states it; firmware allows fewer (NUM_OF_VFS), and `sriov_totalvfs` is what counts."""

ETHERNET = frozenset(
    {
        Capability.SRIOV,
        Capability.SWITCHDEV,
        Capability.RDMA,
        Capability.TRUST,
        Capability.SPOOF_CHECK,
        Capability.MIN_RATE,
        Capability.MAX_RATE,
        Capability.VF_LINK_STATE,
    }
)
"""What mlx5 does on an Ethernet port; VLANs of VFs are 802.1Q only."""

VPI = ETHERNET | {Capability.INFINIBAND}
"""Models that there are with InfiniBand ports too."""

_VDPA = frozenset({Capability.VDPA})
STEERING = "flow_steering_mode"
ROCE = "enable_roce"
PARAMS = MappingProxyType({STEERING: ParamMode.RUNTIME, ROCE: ParamMode.DRIVERINIT})
"""devlink parameters that are changed: see `functions` and `roce`."""
RDMA_MODULE = "mlx5_ib"
"""Makes RDMA devices of PFs and VFs."""
VDPA_MODULE = "mlx5_vdpa"
"""Once loaded it makes every VF that firmware lets do so a vDPA management device."""


def _row(name: str, device: str, vf: str, capabilities: frozenset[Capability], product: str) -> DeviceModel:
    return DeviceModel(
        name=f"Nvidia_mlx5_{name}",
        pf=PciId(VENDOR, device),
        vf=PciId(VENDOR, vf),
        driver="mlx5_core",
        capabilities=capabilities,
        max_vfs=MAX_VFS,
        vfs_in_firmware=True,
        rdma_module=RDMA_MODULE if Capability.RDMA in capabilities else "",
        params=PARAMS,
        vdpa_module=VDPA_MODULE if Capability.VDPA in capabilities else "",
        product=product,
    )


DEVICES: tuple[DeviceModel, ...] = (
    _row("ConnectX-4", "1013", "1014", VPI, "MT27700 Family [ConnectX-4]"),
    _row("ConnectX-4LX", "1015", "1016", ETHERNET, "MT27710 Family [ConnectX-4 Lx]"),
    _row("ConnectX-5", "1017", "1018", VPI, "MT27800 Family [ConnectX-5]"),
    _row("ConnectX-5_Ex", "1019", "101a", VPI, "MT28800 Family [ConnectX-5 Ex]"),
    _row("ConnectX-6", "101b", "101c", VPI, "MT28908 Family [ConnectX-6]"),
    _row("ConnectX-6_Dx", "101d", "101e", ETHERNET | _VDPA, "MT2892 Family [ConnectX-6 Dx]"),
    _row("ConnectX-6_Lx", "101f", "101e", ETHERNET, "MT2894 Family [ConnectX-6 Lx]"),
    _row("ConnectX-7", "1021", "101e", VPI | _VDPA, "MT2910 Family [ConnectX-7]"),
    _row("ConnectX-8", "1023", "101e", VPI | _VDPA, "CX8 Family [ConnectX-8]"),
    _row("ConnectX-9", "1025", "101e", ETHERNET, "CX9 Family [ConnectX-9]"),
    _row(
        "MT416842_BlueField_integrated_ConnectX-5",
        "a2d2",
        "a2d3",
        VPI,
        "MT416842 BlueField integrated ConnectX-5 network controller",
    ),
    _row(
        "MT42822_BlueField-2_integrated_ConnectX-6_Dx",
        "a2d6",
        "101e",
        VPI | _VDPA,
        "MT42822 BlueField-2 integrated ConnectX-6 Dx network controller",
    ),
    _row(
        "MT43244_BlueField-3_integrated_ConnectX-7_Dx",
        "a2dc",
        "101e",
        VPI | _VDPA,
        "MT43244 BlueField-3 integrated ConnectX-7 network controller",
    ),
    _row(
        "BlueField-4_integrated_ConnectX-8",
        "a2df",
        "101e",
        ETHERNET,
        "BlueField-4 integrated ConnectX-8 network controller",
    ),
)

VF_DEVICES: frozenset[str] = frozenset({"1012", "1004", *(row.vf.device for row in DEVICES)})
"""Device ids of VFs: of the table's models, of Connect-IB (1012) and of ConnectX-3 (1004)."""
