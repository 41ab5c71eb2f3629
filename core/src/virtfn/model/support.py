"""What a plugin says of hardware: the rows of its device table, and its claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from virtfn.model.inventory import ParamMode
from virtfn.model.pci import PciId


class Capability(StrEnum):
    """What a model can do, as far as its vendor says. Information for people and checks; never a gate."""

    SRIOV = "sriov"
    SWITCHDEV = "switchdev"
    RDMA = "rdma"
    INFINIBAND = "infiniband"
    VDPA = "vdpa"
    TRUST = "trust"
    SPOOF_CHECK = "spoof-check"
    MIN_RATE = "min-rate"
    MAX_RATE = "max-rate"
    QINQ = "qinq"
    VF_LINK_STATE = "vf-link-state"
    VIRTUAL = "virtual"
    """The function is the NIC of a VM: nothing can be created on it."""


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """One row of a device table (behind the `supported-nic-ids` triple: vendor, PF device, VF device)."""

    name: str
    """As in the table of the existing operators, e.g. `Intel_i40e_10G_X710_SFP`."""
    pf: PciId
    vf: PciId
    driver: str
    """Kernel driver of the PF."""
    capabilities: frozenset[Capability] = frozenset()
    max_vfs: int | None = None
    """Upper bound of the driver for one PF; `sriov_totalvfs` of the device decides."""
    vfs_in_firmware: bool = False
    """`sriov_totalvfs` follows a firmware setting that the plugin writes itself, so that up to `max_vfs` may be asked
    for, whatever it is now."""
    rdma_module: str = ""
    """Kernel module that makes RDMA devices of the card's functions; empty: there is none."""
    vdpa_module: str = ""
    """Kernel module that makes the VFs on their network driver vDPA management devices; empty: there is none."""
    params: Mapping[str, ParamMode] = field(default_factory=dict, hash=False)
    """devlink parameters of the PFs that the plugin may change, by name, with the mode in which it does: `runtime` or
    `driverinit`. These are read, recorded before the first touch, and there for the plugin to put back on release."""
    product: str = ""
    """The vendor's product name, e.g. `Ethernet Controller X710 for 10GbE SFP+`."""

    @property
    def label(self) -> str:
        """The product name, or the table's name."""
        return self.product or self.name


@dataclass(frozen=True, slots=True)
class Claim:
    """The plugin serves this function."""

    why: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The plugin knows the function and does not serve it."""

    why: str
