from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DesiredPf,
    DeviceType,
    Inventory,
    PciAddress,
    PciId,
    Pf,
    Platform,
    VfGroup,
    VfRange,
)
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


@pytest.mark.parametrize(
    ("pci_id", "device_type", "refused"),
    [
        ("15b3:101e", DeviceType.VFIO_PCI, True),
        ("15b3:101e", DeviceType.NETDEVICE, False),
        ("1414:00ba", DeviceType.VFIO_PCI, True),
        ("8086:154c", DeviceType.VFIO_PCI, False),
        ("1af4:1041", DeviceType.VFIO_PCI, False),
    ],
)
def test_vfio_is_refused_where_dpdk_needs_the_kernels_driver(
    pci_id: str, device_type: DeviceType, refused: bool
) -> None:
    group = VfGroup(VfRange(0, 0), device_type=device_type)
    desired = DesiredAdapter(ADDRESS.slot, (DesiredPf(ADDRESS, 1, groups=(group,)),))
    problems = VirtualPlugin().validate(assigned(pci_id), desired)
    assert [(problem.field, problem.object) for problem in problems] == (
        [("vfGroups[0].deviceType", str(ADDRESS))] if refused else []
    )
    assert all("set deviceType netdevice" in problem.hint for problem in problems)
