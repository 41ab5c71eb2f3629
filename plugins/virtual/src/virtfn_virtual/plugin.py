"""The hooks: which function of a VM is its network card. Everything else is left to the generic plugin."""

from __future__ import annotations

from collections.abc import Sequence

from virtfn import Plugin, hookimpl
from virtfn.model import Claim, DeviceModel, Pf, Platform
from virtfn_virtual.tables import DEVICES, PASSED_THROUGH, model_of


class VirtualPlugin(Plugin):
    """Nothing can be created on these functions; they are handed on as they are."""

    name = "virtual"
    api_version = 1
    summary = "network cards of virtual machines (virtio, ENA, MANA, passed-through VFs)"

    @hookimpl
    def device_table(self) -> Sequence[DeviceModel]:
        """See `virtfn_virtual.tables`."""
        return DEVICES

    @hookimpl
    def claim(self, device: Pf, platform: Platform) -> Claim | None:
        """In a VM, a function without SR-IOV that is a VM's network card, or a VF of a card elsewhere."""
        if not platform.virtual or device.total_vfs:
            return None
        model = model_of(device.id)
        if model is None:
            return None
        kind = "VF passed through by the hypervisor" if model in PASSED_THROUGH else "network card made for VMs"
        return Claim(f"{device.id} is a {kind}", model=model.label)
