from collections.abc import Callable

import pytest

from virtfn.model import Adapter, Inventory, LinkType, Netdev, PciAddress, PciId, Pf, Platform, Vf, VfSettings
from virtfn.registry import Registry
from virtfn_generic import GenericPlugin

PF_MAC = "b8:59:9f:00:00:01"


def a_vf(index: int, *, driver: str | None = "cardvf", admin: str | None = None) -> Vf:
    """A VF with a netdev if it is on a kernel driver."""
    netdev = None
    if driver not in (None, "vfio-pci"):
        netdev = Netdev(f"v{index}", 100 + index, f"02:aa:00:00:00:{index:02x}", 1500, False, link_type=LinkType.ETH)
    return Vf(
        PciAddress.parse(f"0000:3b:01.{index}"),
        index,
        PciId("ffff", "0002"),
        driver=driver,
        netdev=netdev,
        settings=VfSettings(mac=admin or "00:00:00:00:00:00"),
    )


def a_pf(**changes: object) -> Pf:
    """A PF of no vendor in particular: 8 VFs, link up, MTU 1500, no eswitch."""
    values: dict[str, object] = {
        "address": PciAddress.parse("0000:3b:00.0"),
        "id": PciId("ffff", "0001"),
        "driver": "card",
        "netdev": Netdev(
            "ens1f0", 3, PF_MAC, 1500, True, link_type=LinkType.ETH, permanent_mac=PF_MAC, min_mtu=68, max_mtu=9216
        ),
        "total_vfs": 8,
        "drivers_autoprobe": True,
    }
    return Pf(**{**values, **changes})  # type: ignore[arg-type]


def an_inventory(*pfs: Pf, iommu: bool = True, modules: frozenset[str] = frozenset({"vfio_pci"})) -> Inventory:
    return Inventory(
        adapters=tuple(Adapter(pf.address.slot, (pf,), owner="generic") for pf in pfs),
        platform=Platform(iommu=iommu, modules=modules),
    )


@pytest.fixture
def pf() -> Callable[..., Pf]:
    return a_pf


@pytest.fixture
def vf() -> Callable[..., Vf]:
    return a_vf


@pytest.fixture
def inventory() -> Callable[..., Inventory]:
    return an_inventory


@pytest.fixture
def registry() -> Registry:
    return Registry.for_testing({"generic": GenericPlugin})
