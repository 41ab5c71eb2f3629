from __future__ import annotations

import pytest

from virtfn.model import Capability, PciId
from virtfn_virtual.tables import DEVICES, PARAVIRTUAL, PASSED_THROUGH, model_of


@pytest.mark.parametrize(
    ("name", "pci_id"),
    [
        ("Red_Hat_Virtio_network_device", "1af4:1000"),
        ("Red_Hat_Virtio_1_0_network_device", "1af4:1041"),
        ("Amazon_Elastic_Network_Adapter", "1d0f:ec20"),
        ("Microsoft_MANA", "1414:00ba"),
    ],
)
def test_cards_of_clouds_are_known(name: str, pci_id: str) -> None:
    row = model_of(PciId.parse(pci_id))
    assert row is not None
    assert row.name == name
    assert row in PARAVIRTUAL


@pytest.mark.parametrize(
    "pci_id",
    # every VF id that goes with a PF of the operators' table
    [
        f"{vendor}:{device}"
        for vendor, devices in {
            "8086": "154c 1565 10ca 1889",
            "15b3": "1014 1016 1018 101a 101c 101e",
            "14e4": "16dc 1806",
            "1077": "1664",
            "177d": "b203 b103 b603 b903 ba03",
        }.items()
        for device in devices.split()
    ],
)
def test_vfs_of_every_listed_card_are_known(pci_id: str) -> None:
    assert model_of(PciId.parse(pci_id)) in PASSED_THROUGH


def test_rows_are_the_function_itself_and_there_once() -> None:
    assert all(row.pf == row.vf and row.max_vfs == 1 for row in DEVICES)
    assert all(Capability.VIRTUAL in row.capabilities for row in DEVICES)
    assert all(Capability.SRIOV not in row.capabilities for row in DEVICES)
    assert len({row.pf for row in DEVICES}) == len({row.name for row in DEVICES}) == len(DEVICES)


def test_an_unknown_function_has_no_row() -> None:
    assert model_of(PciId("8086", "1572")) is None
