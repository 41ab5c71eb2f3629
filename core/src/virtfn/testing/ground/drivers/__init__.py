"""Drivers of the simulated kernel: what each family does differently."""

from __future__ import annotations

from collections.abc import Mapping

from virtfn.testing.ground.drivers.base import Driver, NicDriver, SimpleDriver, VfNicDriver
from virtfn.testing.ground.drivers.broadcom import BnxtEn
from virtfn.testing.ground.drivers.intel import I40e, Ice, Igb, Igbvf, Ixgbe
from virtfn.testing.ground.drivers.mellanox import Mlx5Core
from virtfn.testing.ground.drivers.userspace import UioPciGeneric, VfioPci
from virtfn.testing.ground.drivers.virtio import VirtioPci

_BY_NAME: Mapping[str, type[Driver]] = {
    "bnxt_en": BnxtEn,
    "i40e": I40e,
    "iavf": VfNicDriver,
    "ice": Ice,
    "igb": Igb,
    "igbvf": Igbvf,
    "ixgbe": Ixgbe,
    "ixgbevf": Igbvf,
    "mlx5_core": Mlx5Core,
    "uio_pci_generic": UioPciGeneric,
    "vfio-pci": VfioPci,
    "virtio-pci": VirtioPci,
}


def driver_class(name: str, *, network: bool) -> type[Driver]:
    """The class for a driver's name; any other driver makes VFs in the simplest way (`pci_sriov_configure_simple`)."""
    return _BY_NAME.get(name, NicDriver if network else SimpleDriver)


__all__ = ["Driver", "driver_class"]
