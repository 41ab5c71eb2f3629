"""Which VFs count as used."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.daemon.usage import vfs_in_use
from virtfn.model import PciAddress

Rig = Any


@pytest.fixture
def vfs(rig: Rig) -> dict[int, PciAddress]:
    """Three VFs: with a netdev here, on vfio-pci, without a driver."""
    rig.machine.set_link(rig.PF, up=True)
    rig.machine.load_module("vfio-pci")
    rig.machine.set_num_vfs(rig.PF, 3)
    found: dict[int, PciAddress] = rig.machine.vf_addresses(rig.PF)
    rig.machine.bind_driver(found[0], None)
    rig.machine.bind_driver(found[1], "vfio-pci")
    rig.machine.unbind_driver(found[2])
    return found


def used(rig: Rig) -> frozenset[PciAddress]:
    return vfs_in_use(rig.machine, rig.loop._node.observe().inventory)


def test_vfs_that_nobody_has(rig: Rig, vfs: dict[int, PciAddress]) -> None:
    assert used(rig) == frozenset()


def test_a_netdev_in_a_container(rig: Rig, vfs: dict[int, PciAddress]) -> None:
    rig.host.move_to_namespace(vfs[0])
    assert used(rig) == {vfs[0]}


def test_a_vfio_device_that_is_open(rig: Rig, vfs: dict[int, PciAddress]) -> None:
    rig.host.hold_vfio(vfs[1])
    assert used(rig) == {vfs[1]}
