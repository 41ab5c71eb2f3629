from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.model import Adapter, Inventory, PciAddress, PciId, Pf, Platform
from virtfn.observing import observe
from virtfn.registry import Registry, load_registry
from virtfn.testing import FakeHost
from virtfn_generic import GenericPlugin
from virtfn_intel import IntelPlugin
from virtfn_mellanox import MellanoxPlugin
from virtfn_virtual import VirtualPlugin

ADDRESS = PciAddress.parse("0000:00:05.0")


def assigned(text: str, *, virtual: bool = True, total_vfs: int | None = None) -> Adapter:
    plugins = {"8086": IntelPlugin, "15b3": MellanoxPlugin, "virtual": VirtualPlugin, "generic": GenericPlugin}
    pf = Pf(ADDRESS, PciId.parse(text), total_vfs=total_vfs)
    inventory = Inventory((Adapter(ADDRESS.slot, (pf,)),), Platform(virtual=virtual))
    (adapter,) = Registry.for_testing(plugins).assign(inventory).adapters
    return adapter


@pytest.mark.parametrize(
    ("pci_id", "model"),
    [
        ("8086:154c", "Ethernet Virtual Function 700 Series"),
        ("8086:1889", "Ethernet Adaptive Virtual Function"),
        ("15b3:101e", "ConnectX Family mlx5Gen Virtual Function"),
        ("1af4:1041", "Virtio 1.0 network device"),
        ("1d0f:ec20", "Elastic Network Adapter (ENA)"),
        ("1414:00ba", "Microsoft Azure Network Adapter VF"),
        ("14e4:16dc", "NetXtreme-E Ethernet Virtual Function"),
    ],
)
def test_in_a_vm_it_serves_the_network_card(pci_id: str, model: str) -> None:
    adapter = assigned(pci_id)
    assert (adapter.owner, adapter.model) == ("virtual", model)


@pytest.mark.parametrize("pci_id", ["8086:154c", "1af4:1041", "15b3:101e"])
def test_on_bare_metal_it_serves_nothing(pci_id: str) -> None:
    assert assigned(pci_id, virtual=False).owner is None


@pytest.mark.parametrize(
    ("pci_id", "total_vfs", "owner"),
    [
        ("8086:10c9", 7, "8086"),  # an emulated card with SR-IOV
        ("8086:100e", None, None),  # an emulated e1000: neither SR-IOV nor worth handing on
        ("15b3:1017", None, "15b3"),  # a whole PF passed through
        ("1af4:1041", 4, "generic"),
        ("1234:5678", None, None),
    ],
)
def test_in_a_vm_it_leaves_the_rest(pci_id: str, total_vfs: int | None, owner: str | None) -> None:
    assert assigned(pci_id, total_vfs=total_vfs).owner == owner


@pytest.mark.parametrize(("profile", "model"), [("virtio", "Virtio"), ("ena", "Elastic Network Adapter")])
def test_on_a_simulated_vm(tmp_path: Path, profile: str, model: str) -> None:
    entries = [
        EntryPoint("virtual", "virtfn_virtual:VirtualPlugin", "virtfn.plugins"),
        EntryPoint("generic", "virtfn_generic:GenericPlugin", "virtfn.plugins"),
    ]
    with FakeHost(tmp_path, virtual=True) as host:
        host.add_card(profile, address="0000:00:05")
        registry = load_registry([], entry_points=entries)
        (adapter,) = observe(Machine(host.kernel), registry).adapters
    assert registry.problems == ()
    assert adapter.owner == "virtual"
    assert model in (adapter.model or "")
    assert registry.hook_sources(adapter)["plan_vfs"] == ("generic",)
