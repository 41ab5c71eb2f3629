"""Builders of policies and NICs for the tests of this folder."""

from collections.abc import Callable
from typing import Any

import pytest

from virtfn.model import Adapter, Inventory, LinkType, Netdev, PciAddress, PciId, Pf
from virtfn.model.crd import InterfaceStatus, SriovNetworkNodePolicy

MakePolicy = Callable[..., SriovNetworkNodePolicy]
MakeNic = Callable[..., InterfaceStatus]


@pytest.fixture
def make_policy() -> MakePolicy:
    """A policy from its name and the spec's fields as on the wire; `pfNames` may be given directly."""

    def build(name: str, *, pfNames: list[str] | None = None, **spec: Any) -> SriovNetworkNodePolicy:
        defaults: dict[str, Any] = {"resourceName": "r1", "nodeSelector": {}, "numVfs": 4, "nicSelector": {}}
        if pfNames is not None:
            defaults["nicSelector"] = {"pfNames": pfNames}
        return SriovNetworkNodePolicy.model_validate({"metadata": {"name": name}, "spec": {**defaults, **spec}})

    return build


@pytest.fixture
def make_nic() -> MakeNic:
    """The status of one NIC: an Intel XXV710 port unless told otherwise."""

    def build(name: str = "ens803f1", *, pciAddress: str = "0000:86:00.1", **fields: Any) -> InterfaceStatus:
        defaults = {"vendor": "8086", "deviceID": "158b", "totalvfs": 64}
        return InterfaceStatus.model_validate({"name": name, "pciAddress": pciAddress, **defaults, **fields})

    return build


@pytest.fixture
def inventory() -> Inventory:
    """One adapter with two ports, `ens803f0` and `ens803f1`, without VFs."""
    pfs = tuple(
        Pf(
            address=PciAddress(0, 0x86, 0, port),
            id=PciId("8086", "158b"),
            driver="i40e",
            total_vfs=64,
            netdev=Netdev(
                name=f"ens803f{port}",
                ifindex=port + 2,
                mac=f"3c:fd:fe:00:00:0{port}",
                mtu=1500,
                up=True,
                link_type=LinkType.ETH,
                alt_names=(f"data{port}",),
                speed_mbps=25000 if port == 0 else None,
            ),
        )
        for port in range(2)
    )
    return Inventory(adapters=(Adapter(address="0000:86:00", pfs=pfs),))
