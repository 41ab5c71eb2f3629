"""BlueField: a card with a processor of its own, which may be the one that has a say in everything.

In DPU mode the host's functions are guests on the card: the card's processor owns the eswitch and the firmware's
settings, and what the host writes is refused or of no effect. How the modes show in the settings is told by the
existing operator (k8snetworkplumbingwg/sriov-network-operator, `pkg/vendors/mellanox`) and NVIDIA's documentation.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from virtfn.model import PciId
from virtfn_mellanox.settings import Setting, Settings, Value
from virtfn_mellanox.tables import VENDOR

BLUEFIELDS: Final = frozenset({"a2d2", "a2d6", "a2dc", "a2df"})
_BLUEFIELD_2: Final = PciId(VENDOR, "a2d6")

NO_REBOOT_SINCE: Final = (24, 37, 1300)
"""From this firmware of BlueField-2 on a reboot of the host does not bring settings into force: the card stays powered
and goes on as it was (sriov-network-operator#449, where nodes then rebooted for ever)."""

MODEL: Final = "INTERNAL_CPU_MODEL"
ENGINE: Final = "INTERNAL_CPU_OFFLOAD_ENGINE"
OWNERS: Final = ("INTERNAL_CPU_PAGE_SUPPLIER", "INTERNAL_CPU_ESWITCH_MANAGER", "INTERNAL_CPU_IB_VPORT0")
SETTINGS: Final = (MODEL, ENGINE, *OWNERS)


class CpuMode(StrEnum):
    """Who the card belongs to."""

    NIC = "nic"
    """To the host, as any other card."""
    DPU = "dpu"
    """To its own processor."""
    UNCLEAR = "unclear"
    """Its settings fit neither."""


def is_bluefield(pci_id: PciId) -> bool:
    """Whether the card is one."""
    return pci_id.vendor == VENDOR and pci_id.device in BLUEFIELDS


def cpu_mode(settings: Settings) -> CpuMode:
    """The mode in force. The current column counts: the default may be another mode's."""
    model, engine = _now(settings, MODEL), _now(settings, ENGINE)
    owners = [owner for name in OWNERS if (owner := _now(settings, name)) is not None]
    if model == "SEPARATED_HOST" or engine == "DISABLED":
        return CpuMode.NIC  # with the engine off the owners do not matter (DOCA, NIC mode of BlueField-3)
    if model == "EMBEDDED_CPU" and engine == "ENABLED" and owners and all(owner == "ECPF" for owner in owners):
        return CpuMode.DPU
    return CpuMode.UNCLEAR


def needs_power_cycle(pci_id: PciId, firmware: tuple[int, ...] | None) -> bool:
    """Whether settings come into force only when the card loses its power.

    :param firmware: version; None: not known, which is taken for a new one.
    """
    return pci_id == _BLUEFIELD_2 and (firmware is None or firmware >= NO_REBOOT_SINCE)


def _now(settings: Settings, name: str) -> Value | None:
    setting = settings.get(name, Setting())
    return setting.current if setting.current is not None else setting.next
