from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DesiredPf,
    EswitchMode,
    PciAddress,
    PciId,
    Pf,
    Problem,
    Severity,
    VfGroup,
    VfRange,
)
from virtfn_intel.limits import problems_of

FIRST = PciAddress.parse("0000:3b:00.0")
SECOND = PciAddress.parse("0000:3b:00.1")


def problems(*pfs: Pf, wanted: DesiredPf | list[DesiredPf], facts: Any = None) -> list[Problem]:
    adapter = Adapter("0000:3b:00", pfs, owner="8086", facts=facts or {})
    pairs = wanted if isinstance(wanted, list) else [wanted]
    return list(problems_of(adapter, DesiredAdapter("0000:3b:00", tuple(pairs))))


@pytest.mark.parametrize(
    ("device", "driver", "limit"),
    [("10c9", "igb", 7), ("10fb", "ixgbe", 63), ("1572", "i40e", 128), ("159b", "ice", 256), ("ffff", "igb", 7)],
)
def test_vfs_up_to_what_the_driver_makes(pf: Any, device: str, driver: str, limit: int) -> None:
    assert problems(pf(device, driver), wanted=DesiredPf(FIRST, limit)) == []
    (problem,) = problems(pf(device, driver), wanted=DesiredPf(FIRST, limit + 1))
    assert (problem.reason, problem.field) == ("TooManyVfs", "numVfs")
    assert f"at most {limit}" in problem.message
    assert problem.object == "0000:3b:00.0 (ens1f0)"


@pytest.mark.parametrize(
    ("device", "driver", "product"),
    [
        ("10c9", "igb", "82576 Gigabit Network Connection (igb)"),
        ("1572", "i40e", "Ethernet Controller X710 for 10GbE SFP+ (i40e)"),
        ("abcd", "ixgbe", "the card 8086:abcd (ixgbe)"),
    ],
)
def test_switchdev_is_refused_with_the_cards_name_and_what_can(pf: Any, device: str, driver: str, product: str) -> None:
    wanted = DesiredPf(FIRST, 4, eswitch_mode=EswitchMode.SWITCHDEV)
    (problem,) = problems(pf(device, driver), wanted=wanted)
    assert (problem.reason, problem.field) == ("UnsupportedEswitchMode", "eSwitchMode")
    assert problem.message == f"{product} has no switchdev mode"
    assert "E810" in problem.hint


def test_ice_has_switchdev_and_legacy_is_everybodys(pf: Any) -> None:
    assert problems(pf("159b", "ice"), wanted=DesiredPf(FIRST, 4, eswitch_mode=EswitchMode.SWITCHDEV)) == []
    assert problems(pf("10c9", "igb"), wanted=DesiredPf(FIRST, 4, eswitch_mode=EswitchMode.LEGACY)) == []


@pytest.mark.parametrize(
    ("device", "driver", "limit"), [("10c9", "igb", 9216), ("1563", "ixgbe", 9710), ("1572", "i40e", 9702)]
)
def test_mtu_up_to_what_the_driver_takes(pf: Any, device: str, driver: str, limit: int) -> None:
    def wanted(mtu: int) -> DesiredPf:
        return DesiredPf(FIRST, 4, mtu=mtu, groups=(VfGroup(VfRange(0, 3), mtu=mtu),))

    assert problems(pf(device, driver), wanted=wanted(limit)) == []
    found = problems(pf(device, driver), wanted=wanted(limit + 1))
    assert [problem.field for problem in found] == ["mtu", "vfGroups[0].mtu"]
    assert all(str(limit) in problem.hint for problem in found)


SAFE_MODE = {str(FIRST): {"ddp": {"safeMode": True}}}


def test_safe_mode_makes_no_vfs(pf: Any) -> None:
    (problem,) = problems(pf("159b", "ice"), wanted=DesiredPf(FIRST, 4), facts=SAFE_MODE)
    assert (problem.reason, problem.field) == ("UnsupportedSetting", "numVfs")
    assert "Safe Mode" in problem.message
    assert "DDP" in problem.message
    assert "ice.pkg" in problem.hint


def test_safe_mode_is_in_nobodys_way_without_vfs(pf: Any) -> None:
    assert problems(pf("159b", "ice"), wanted=DesiredPf(FIRST, 0), facts=SAFE_MODE) == []
    other = {str(SECOND): SAFE_MODE[str(FIRST)]}
    assert problems(pf("159b", "ice"), wanted=DesiredPf(FIRST, 4), facts=other) == []


def test_safe_mode_refuses_switchdev(pf: Any) -> None:
    wanted = DesiredPf(FIRST, 0, eswitch_mode=EswitchMode.SWITCHDEV)
    (problem,) = problems(pf("159b", "ice"), wanted=wanted, facts=SAFE_MODE)
    assert problem.field == "eSwitchMode"


def test_vfs_on_a_pf_that_is_to_stay_down_are_warned_of(pf: Any) -> None:
    wanted = DesiredPf(FIRST, 4, link_up=False)
    (problem,) = problems(pf("10c9", "igb"), wanted=wanted)
    assert problem.severity is Severity.WARNING
    assert "random MAC" in problem.message
    assert problems(pf("1572", "i40e"), wanted=wanted) == []


def test_jumbo_vfs_of_an_82599_need_a_jumbo_pf(pf: Any) -> None:
    function = pf("10fb", "ixgbe", vf_id=PciId("8086", "10ed"))
    wanted = DesiredPf(FIRST, 4, groups=(VfGroup(VfRange(0, 3), mtu=9000),))
    (problem,) = problems(function, wanted=wanted)
    assert (problem.severity, problem.field) == (Severity.WARNING, "vfGroups[0].mtu")
    assert problems(function, wanted=replace(wanted, mtu=9000)) == []
    assert problems(replace(function, netdev=replace(function.netdev, mtu=9000)), wanted=wanted) == []
    assert problems(pf("1563", "ixgbe", vf_id=PciId("8086", "1565")), wanted=wanted) == []


@pytest.mark.parametrize(("driver", "device", "limit"), [("i40e", "1572", 128), ("ice", "159b", 256)])
def test_ports_of_a_card_share_its_vfs(pf: Any, driver: str, device: str, limit: int) -> None:
    first, second = pf(device, driver), pf(device, driver, address=SECOND)
    half = limit // 2
    fits = [DesiredPf(FIRST, half), DesiredPf(SECOND, half)]
    assert problems(first, second, wanted=fits) == []
    found = problems(first, second, wanted=[DesiredPf(FIRST, half), DesiredPf(SECOND, half + 1)])
    assert [problem.object for problem in found] == [first.label, second.label]
    assert f"{limit + 1} VFs wanted on all ports" in found[0].message


def test_ports_of_an_82576_do_not_share(pf: Any) -> None:
    wanted = [DesiredPf(FIRST, 7), DesiredPf(SECOND, 7)]
    assert problems(pf("10c9", "igb"), pf("10c9", "igb", address=SECOND), wanted=wanted) == []


def test_a_release_is_never_refused(pf: Any) -> None:
    wanted = DesiredPf(FIRST, 300, mtu=65000, eswitch_mode=EswitchMode.SWITCHDEV, release=True)
    assert problems(pf("10c9", "igb"), wanted=wanted, facts=SAFE_MODE) == []


def test_of_a_driver_that_is_not_ours_nothing_is_said(pf: Any) -> None:
    assert problems(pf("1572", "vfio-pci"), wanted=DesiredPf(FIRST, 999)) == []


def test_the_planner_tells_the_plugins_words_once(ground: Any) -> None:
    ground.host.add_card("x710", ports=1, up=True)
    plan = ground.plan(DesiredPf(FIRST, 4, mtu=9800, eswitch_mode=EswitchMode.SWITCHDEV))
    assert plan.steps == ()
    assert sorted(problem.field for problem in plan.problems) == ["eSwitchMode", "mtu"]
    assert all("X710" in problem.message for problem in plan.problems)
