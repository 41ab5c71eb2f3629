"""The hooks: which function of a VM is its network card. Everything else is left to the generic plugin."""

from __future__ import annotations

from collections.abc import Sequence

from virtfn import Plugin, hookimpl
from virtfn.model import Adapter, Claim, DesiredAdapter, DeviceModel, DeviceType, Pf, Platform, Problem
from virtfn_virtual.tables import BIFURCATED, DEVICES, PASSED_THROUGH, model_of


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

    @hookimpl
    def validate(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Problem]:
        """A card whose driver DPDK shares with the kernel is not handed to vfio-pci: nobody in the VM could use it."""
        found = []
        for want in desired.pfs:
            pf = adapter.pf(want.address)
            row = model_of(pf.id) if pf is not None else None
            if pf is None or row is None or row.driver not in BIFURCATED:
                continue
            found += [
                Problem(
                    object=pf.label,
                    field=f"vfGroups[{index}].deviceType",
                    message=f"vfio-pci wanted, and DPDK uses {row.label} through the kernel's driver {row.driver}",
                    hint="set deviceType netdevice, with isRdma true",
                    reason="UnsupportedSetting",
                )
                for index, group in enumerate(want.groups)
                if group.device_type is DeviceType.VFIO_PCI
            ]
        return tuple(found)
