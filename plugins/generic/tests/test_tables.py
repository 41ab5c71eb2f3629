from __future__ import annotations

import pytest

from virtfn.model import Capability, PciId
from virtfn_generic.tables import DEVICES

OPERATOR_TABLE = """
Broadcom_bnxt_BCM57414_2x25G 14e4 16d7 16dc
Broadcom_bnxt_BCM75508_2x100G 14e4 1750 1806
Qlogic_qede_QL45000_50G 1077 1654 1664
Red_Hat_Virtio_network_device 1af4 1000 1000
Red_Hat_Virtio_1_0_network_device 1af4 1041 1041
Marvell_OCTEON_TX2_CN96XX 177d b200 b203
Marvell_OCTEON_TX2_CN98XX 177d b100 b103
Marvell_OCTEON_Fusion_CNF95XX 177d b600 b603
Marvell_OCTEON10_CN10XXX 177d b900 b903
Marvell_OCTEON_Fusion_CNF105XX 177d ba00 ba03
"""


@pytest.mark.parametrize("line", OPERATOR_TABLE.split("\n")[1:-1])
def test_every_card_that_operators_list_is_known_by_the_same_name(line: str) -> None:
    name, vendor, device, vf = line.split()
    (row,) = [row for row in DEVICES if row.pf == PciId(vendor, device)]
    assert (row.name, row.vf) == (name, PciId(vendor, vf))


def test_ids_and_names_are_there_once_and_all_have_sriov() -> None:
    assert len({row.pf for row in DEVICES}) == len({row.name for row in DEVICES}) == len(DEVICES)
    assert all(Capability.SRIOV in row.capabilities for row in DEVICES)


def test_vendors_with_a_plugin_of_their_own_are_left_to_it() -> None:
    assert not {row.pf.vendor for row in DEVICES} & {"8086", "15b3"}
