from __future__ import annotations

import pytest

from virtfn.model import Capability, PciId
from virtfn_mellanox.tables import DEVICES, VF_DEVICES

OPERATOR_TABLE = """
Nvidia_mlx5_ConnectX-4 1013 1014
Nvidia_mlx5_ConnectX-4LX 1015 1016
Nvidia_mlx5_ConnectX-5 1017 1018
Nvidia_mlx5_ConnectX-5_Ex 1019 101a
Nvidia_mlx5_ConnectX-6 101b 101c
Nvidia_mlx5_ConnectX-6_Dx 101d 101e
Nvidia_mlx5_ConnectX-6_Lx 101f 101e
Nvidia_mlx5_ConnectX-7 1021 101e
Nvidia_mlx5_ConnectX-8 1023 101e
Nvidia_mlx5_ConnectX-9 1025 101e
Nvidia_mlx5_MT42822_BlueField-2_integrated_ConnectX-6_Dx a2d6 101e
Nvidia_mlx5_MT43244_BlueField-3_integrated_ConnectX-7_Dx a2dc 101e
"""


@pytest.mark.parametrize("line", OPERATOR_TABLE.split("\n")[1:-1])
def test_every_card_that_operators_list_is_known_by_the_same_name(line: str) -> None:
    name, device, vf = line.split()
    (row,) = [row for row in DEVICES if row.pf == PciId("15b3", device)]
    assert (row.name, row.vf) == (name, PciId("15b3", vf))


def test_ids_and_names_are_there_once() -> None:
    assert len({row.pf for row in DEVICES}) == len({row.name for row in DEVICES}) == len(DEVICES)


def test_no_pf_is_taken_for_a_vf() -> None:
    assert not {row.pf.device for row in DEVICES} & VF_DEVICES


@pytest.mark.parametrize(("device", "infiniband"), [("101b", True), ("1021", True), ("101d", False), ("1015", False)])
def test_only_models_with_infiniband_ports_say_so(device: str, infiniband: bool) -> None:
    (row,) = [row for row in DEVICES if row.pf.device == device]
    assert (Capability.INFINIBAND in row.capabilities) is infiniband
    assert Capability.SWITCHDEV in row.capabilities


def test_models_that_do_vdpa_name_the_module_for_it() -> None:
    able = {row.name for row in DEVICES if row.vdpa_module}
    assert able == {row.name for row in DEVICES if Capability.VDPA in row.capabilities}
    assert {row.vdpa_module for row in DEVICES} == {"", "mlx5_vdpa"}
