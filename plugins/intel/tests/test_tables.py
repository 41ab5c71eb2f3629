from __future__ import annotations

import pytest

from virtfn.model import Capability, PciId
from virtfn_intel.tables import DEVICES, DRIVERS, SWITCHDEV_CARDS, VF_DEVICES, model_of

OPERATOR_TABLE = """
Intel_i40e_XXV710 158a 154c
Intel_i40e_25G_SFP28 158b 154c
Intel_i40e_10G_X710_SFP 1572 154c
Intel_ixgbe_10G_X550 1563 1565
Intel_ixgbe_82576 10c9 10ca
Intel_i40e_X710_X557_AT_10G 1589 154c
Intel_i40e_10G_X710_BACKPLANE 1581 154c
Intel_i40e_10G_X710_BASE_T 15ff 154c
Intel_i40e_XXV710_N3000 0d58 154c
Intel_i40e_40G_XL710_QSFP 1583 154c
Intel_ice_Columbiaville_E810-CQDA2_2CQDA2 1592 1889
Intel_ice_Columbiaville_E810-XXVDA4 1593 1889
Intel_ice_Columbiaville_E810-XXVDA2 159b 1889
Intel_ice_Columbiaville_E810-XXV_BACKPLANE 1599 1889
Intel_ice_Columbiaville_E810 1591 1889
Intel_ice_Columbiapark_E823C 188a 1889
Intel_ice_Columbiapark_E823L_SFP 124d 1889
Intel_ice_Columbiapark_E823L_BACKPLANE 124c 1889
Intel_ice_Columbiapark_E825C_BACKPLANE 579c 1889
Intel_ice_Columbiapark_E825C_QSFP 579d 1889
Intel_ice_Columbiapark_E825C_SFP 579e 1889
Intel_ice_Connorsville_E830_QSFP 12d2 1889
Intel_ice_Connorsville_E830_SFP 12d3 1889
Intel_ice_Connorsville_E835CC_QSFP 1249 1889
Intel_ice_Connorsville_E835CC_SFP 124a 1889
"""


@pytest.mark.parametrize("line", OPERATOR_TABLE.split("\n")[1:-1])
def test_every_card_that_operators_list_is_known_by_the_same_name(line: str) -> None:
    name, device, vf = line.split()
    row = model_of(PciId("8086", device))
    assert row is not None
    assert (row.name, row.vf) == (name, PciId("8086", vf))


def test_ids_and_names_are_there_once() -> None:
    assert len({row.pf for row in DEVICES}) == len({row.name for row in DEVICES}) == len(DEVICES)


def test_no_pf_is_taken_for_a_vf() -> None:
    assert not {row.pf.device for row in DEVICES} & VF_DEVICES


@pytest.mark.parametrize(
    ("device", "driver", "max_vfs", "switchdev", "link_state"),
    [
        ("10c9", "igb", 7, False, False),
        ("10fb", "ixgbe", 63, False, True),
        ("1572", "i40e", 128, False, True),
        ("159b", "ice", 256, True, True),
    ],
)
def test_abilities_are_the_drivers(device: str, driver: str, max_vfs: int, switchdev: bool, link_state: bool) -> None:
    row = model_of(PciId("8086", device))
    assert row is not None
    assert (row.driver, row.max_vfs) == (driver, max_vfs)
    assert (Capability.SWITCHDEV in row.capabilities) is switchdev
    assert (Capability.VF_LINK_STATE in row.capabilities) is link_state
    assert ("link_state" in DRIVERS[driver].vf_settings) is link_state


def test_the_hint_names_the_driver_that_can() -> None:
    assert [driver.name for driver in DRIVERS.values() if driver.has_eswitch] == ["ice"]
    assert "ice" in SWITCHDEV_CARDS
