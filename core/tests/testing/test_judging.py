"""The kit's judgement: what it calls equal, and what it calls fulfilled."""

from dataclasses import replace
from typing import Any

import pytest

from virtfn.model import (
    Adapter,
    DesiredPf,
    DesiredState,
    DeviceType,
    EswitchMode,
    Inventory,
    Netdev,
    PciAddress,
    PciId,
    Pf,
    Vf,
    VfGroup,
    VfRange,
    VfSettings,
)
from virtfn.testing.judging import differences, of_adapter, tell, unmet, view_of

ADDRESS = PciAddress.parse("0000:3b:00.0")
NET = VfGroup(VfRange(0, 0), mtu=9000)
USER = VfGroup(VfRange(1, 1), device_type=DeviceType.VFIO_PCI)


def a_vf(index: int, **changes: Any) -> Vf:
    address = PciAddress.parse(f"0000:3b:01.{index}")
    plain = Vf(
        address, index, PciId("fff1", "0002"), driver="card", netdev=Netdev("v", 9, "02:00:00:00:00:01", 1500, True)
    )
    return replace(plain, **changes)


def a_pf(*vfs: Vf, mtu: int = 1500, up: bool = True, **changes: Any) -> Inventory:
    netdev = Netdev("ens1", 3, "02:00:00:00:00:00", mtu, up)
    plain = Pf(
        ADDRESS, PciId("fff1", "0001"), driver="card", netdev=netdev, total_vfs=8, drivers_autoprobe=True, vfs=vfs
    )
    return Inventory((Adapter(ADDRESS.slot, (replace(plain, **changes),)),))


def test_views_leave_out_what_changes_by_itself() -> None:
    one = a_pf(a_vf(0, settings=VfSettings(mac="02:00:00:00:00:07")))
    other = a_pf(
        a_vf(0, settings=VfSettings(mac="02:00:00:00:00:08"), netdev=Netdev("w", 77, "02:00:00:00:00:02", 1500, True))
    )
    assert differences(view_of(one), view_of(other)) == []
    unset = a_pf(a_vf(0, settings=VfSettings(mac="00:00:00:00:00:00")))
    assert len(differences(view_of(one), view_of(unset))) == 1


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (a_pf(a_vf(0), mtu=9000), "0000:3b:00.0: mtu is 9000, and should be 1500"),
        (a_pf(), "0000:3b:01.0 is gone"),
        (a_pf(a_vf(0), a_vf(1)), "0000:3b:01.1 is new"),
        (a_pf(a_vf(0, driver_override="x")), "0000:3b:01.0: driver_override is 'x', and should be None"),
        (a_pf(a_vf(0, netdev=None)), "0000:3b:01.0: netdev is False, and should be True"),
    ],
)
def test_differences_are_told_in_words(seen: Inventory, said: str) -> None:
    view = view_of(seen)
    assert said in differences(view_of(a_pf(a_vf(0))), view)
    everything = {*view, "0000:3b:01.0", "0000:3b:01.1"}
    assert differences(view_of(a_pf(a_vf(0))), view, leaving_out=everything) == []


def test_vfs_belong_to_their_pf() -> None:
    assert of_adapter(view_of(a_pf(a_vf(0))), [ADDRESS]) == {"0000:3b:00.0", "0000:3b:01.0"}
    assert of_adapter(view_of(a_pf(a_vf(0))), []) == frozenset()


NOW = a_pf(
    a_vf(0, netdev=Netdev("v", 9, "02:00:00:00:00:01", 9000, True)), a_vf(1, driver="vfio-pci", netdev=None), a_vf(2)
)
WANT = DesiredPf(ADDRESS, 3, mtu=1500, groups=(NET, USER))


def judged(seen: Inventory, want: DesiredPf = WANT, *, before: Inventory | None = None) -> list[str]:
    return unmet(a_pf() if before is None else before, DesiredState((want,)), seen)


def changed(index: int, **changes: Any) -> Inventory:
    (pf,) = NOW.pfs()
    vfs = tuple(replace(vf, **changes) if vf.index == index else vf for vf in pf.vfs)
    return Inventory((Adapter(ADDRESS.slot, (replace(pf, vfs=vfs),)),))


def test_fulfilled_request_lacks_nothing() -> None:
    assert judged(NOW) == []
    assert judged(NOW, replace(WANT, externally_managed=True, num_vfs=7)) == []


@pytest.mark.parametrize(
    ("seen", "lacks"),
    [
        (Inventory(), "is gone"),
        (a_pf(), "3 VFs wanted, 0 are there"),
        (a_pf(*next(NOW.pfs()).vfs, mtu=9000), "it was 1500 and is 9000"),
        (a_pf(*next(NOW.pfs()).vfs, up=False), "link up wanted"),
        (a_pf(*next(NOW.pfs()).vfs, netdev=None), "its netdev is gone"),
        (a_pf(*next(NOW.pfs()).vfs, drivers_autoprobe=False), "sriov_drivers_autoprobe was True"),
        (a_pf(*next(NOW.pfs()).vfs, eswitch_mode=EswitchMode.SWITCHDEV), "eswitch mode legacy wanted"),
        (changed(0, netdev=None), "a netdev wanted"),
        (changed(0, driver=None), "a network driver wanted"),
        (changed(0, netdev=Netdev("v", 9, "", 1500, True)), "MTU 9000 wanted, it is 1500"),
        (changed(1, driver="card"), "vfio-pci wanted, it is on card"),
        (changed(1, driver_override="vfio-pci"), "driver_override vfio-pci was left behind"),
        (changed(2, driver=None), "is in no group, is new"),
    ],
)
def test_what_is_lacking_is_told(seen: Inventory, lacks: str) -> None:
    assert any(lacks in text for text in judged(seen)), judged(seen)


def test_vf_in_no_group_is_to_stay_as_it_was() -> None:
    before = changed(2, driver="vfio-pci")
    assert judged(before, before=before) == []
    assert "was on vfio-pci" in judged(NOW, before=before)[0]
    driverless = changed(2, driver=None)
    assert judged(driverless, before=driverless) == []


def test_request_in_one_line() -> None:
    assert tell(DesiredState((replace(WANT, eswitch_mode=EswitchMode.SWITCHDEV),))) == (
        "0000:3b:00.0: 3 VFs, switchdev, MTU 1500, 0-0 netdevice MTU 9000, 1-1 vfio-pci"
    )
    assert tell(
        DesiredState((DesiredPf(ADDRESS, 0, release=True), DesiredPf(ADDRESS, 1, externally_managed=True)))
    ) == ("0000:3b:00.0: 0 VFs, given back; 0000:3b:00.0: 1 VFs, externally managed")
    assert tell(DesiredState()) == "nothing"
