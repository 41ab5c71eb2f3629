from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from virtfn.model import Adapter, Inventory, PciAddress, PciId, Pf, Platform
from virtfn.registry import Registry, load_registry

GROUP = "virtfn.plugins"
ADDRESS = PciAddress.parse("0000:3b:00.0")


def registry_for(pci_id: PciId) -> Registry:
    entries = [
        EntryPoint("15b3", "virtfn_mellanox:MellanoxPlugin", GROUP),
        EntryPoint("generic", "virtfn_generic:GenericPlugin", GROUP),
    ]
    registry = load_registry([pci_id], entry_points=entries)
    assert registry.problems == ()
    return registry


def assigned(pci_id: PciId, *, total_vfs: int | None, virtual: bool = False) -> Adapter:
    inventory = Inventory((Adapter(ADDRESS.slot, (Pf(ADDRESS, pci_id, total_vfs=total_vfs),)),), Platform(virtual))
    (adapter,) = registry_for(pci_id).assign(inventory).adapters
    return adapter


@pytest.mark.parametrize("total_vfs", [None, 8])
def test_a_card_is_served_with_sriov_on_or_off(total_vfs: int | None) -> None:
    adapter = assigned(PciId("15b3", "1017"), total_vfs=total_vfs)
    assert (adapter.owner, adapter.model) == ("15b3", "MT27800 Family [ConnectX-5]")


@pytest.mark.parametrize("device", ["1014", "1016", "1018", "101a", "101c", "101e", "a2d3"])
def test_a_vf_in_a_vm_is_refused(device: str) -> None:
    adapter = assigned(PciId("15b3", device), total_vfs=None, virtual=True)
    assert adapter.owner is None
    assert "mellanox refuses it" in adapter.owner_reason


def test_what_falls_to_generic_can_be_seen() -> None:
    card = PciId("15b3", "101d")
    sources = registry_for(card).hook_sources(assigned(card, total_vfs=8))
    assert {hook: names for hook, names in sources.items() if names} == {
        "observe": ("mellanox",),
        "perform": ("mellanox",),
        "plan_firmware": ("mellanox", "generic"),
        "plan_functions": ("mellanox", "generic"),
        "plan_vfs": ("generic",),
        "validate": ("mellanox", "generic"),
    }


@pytest.mark.parametrize(("device", "module"), [("101d", "mlx5_vdpa"), ("1017", "")])
def test_an_adapter_knows_what_its_vdpa_takes(device: str, module: str) -> None:
    assert assigned(PciId("15b3", device), total_vfs=8).vdpa_module == module
