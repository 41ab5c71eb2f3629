from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DesiredPf,
    DeviceType,
    Disruption,
    EswitchMode,
    PciAddress,
    Platform,
    Step,
    VfGroup,
    VfRange,
)
from virtfn.registry import Registry

FIRST = PciAddress.parse("0000:3b:00.0")
SECOND = PciAddress.parse("0000:3b:00.1")
SWITCHDEV, LEGACY = EswitchMode.SWITCHDEV, EswitchMode.LEGACY


def ops(steps: Any, target: PciAddress = FIRST) -> list[tuple[str, Any]]:
    """Operation and its value, of the PF's own steps."""
    wanted = {"sriov.set_numvfs": "count", "eswitch.set_mode": "mode", "link.set": "mtu"}
    return [
        (step.op, step.args.get(wanted[step.op], step.args.get("up")))
        for step in steps
        if step.target == str(target) and step.op in wanted and "vf" not in step.args
    ]


def want(count: int, mode: EswitchMode | None = None, **changes: Any) -> DesiredPf:
    group = VfGroup(VfRange(0, count - 1), "cards") if count else None
    return replace(DesiredPf(FIRST, count, eswitch_mode=mode, groups=(group,) if group else ()), **changes)


# --- on the simulated machine ----------------------------------------------------------------------------------------


def test_ice_goes_to_switchdev_before_its_vfs_are_made(ground: Any) -> None:
    ground.host.add_card("e810", ports=1, up=True)
    plan, outcome = ground.apply(want(4, SWITCHDEV))
    assert outcome.failed is None
    assert ops(plan.steps) == [("eswitch.set_mode", "switchdev"), ("sriov.set_numvfs", 4)]
    (pf,) = ground.adapter().pfs
    assert (pf.eswitch_mode, pf.num_vfs) == (SWITCHDEV, 4)
    assert all(vf.driver == "iavf" and vf.representor for vf in pf.vfs)
    assert ground.plan(want(4, SWITCHDEV)).steps == ()


@pytest.mark.parametrize("count", [0, 2, 4])
def test_ice_with_vfs_gives_them_up_for_a_change_of_mode(ground: Any, count: int) -> None:
    ground.host.add_card("e810", ports=1, up=True)
    ground.apply(want(4))
    plan, outcome = ground.apply(want(count, SWITCHDEV))
    assert outcome.failed is None
    again = [("sriov.set_numvfs", count)] if count else []
    assert ops(plan.steps) == [("sriov.set_numvfs", 0), ("eswitch.set_mode", "switchdev"), *again]
    assert plan.disruption is Disruption.PF
    assert len(plan.affects) == 4
    (pf,) = ground.adapter().pfs
    assert (pf.eswitch_mode, pf.num_vfs) == (SWITCHDEV, count)


def test_ice_goes_back_to_legacy_on_release(ground: Any) -> None:
    ground.host.add_card("e810", ports=1)
    before = ground.host.snapshot()
    ground.apply(want(4, SWITCHDEV, mtu=9000))
    assert ground.release(FIRST).failed is None
    after = ground.host.snapshot()
    before["node"] = after["node"] = {}
    assert after == before


def test_two_ports_of_one_ice_in_two_modes(ground: Any) -> None:
    ground.host.add_card("e810", up=True)
    plan, outcome = ground.apply(want(2, SWITCHDEV), replace(want(3), address=SECOND))
    assert outcome.failed is None
    assert ops(plan.steps, SECOND) == [("sriov.set_numvfs", 3)]
    first, second = ground.adapter().pfs
    assert (first.eswitch_mode, first.num_vfs) == (SWITCHDEV, 2)
    assert (second.eswitch_mode, second.num_vfs) == (LEGACY, 3)


@pytest.mark.parametrize("device_type", list(DeviceType))
@pytest.mark.parametrize("profile", ["82576", "82599", "x710", "e810"])
def test_every_driver_converges_from_a_link_that_is_down(ground: Any, profile: str, device_type: DeviceType) -> None:
    ground.host.add_card(profile, ports=1)
    group = VfGroup(VfRange(0, 3), "cards", device_type=device_type)
    wanted = DesiredPf(FIRST, 4, groups=(group,))
    plan, outcome = ground.apply(wanted)
    assert outcome.failed is None
    assert ops(plan.steps) == [("link.set", True), ("sriov.set_numvfs", 4)]
    (pf,) = ground.adapter().pfs
    assert pf.num_vfs == 4
    assert all(vf.in_userspace is (device_type is DeviceType.VFIO_PCI) for vf in pf.vfs)
    assert ground.plan(wanted).steps == ()


@pytest.mark.parametrize("profile", ["82576", "82599"])
def test_vfs_of_igb_and_ixgbe_get_the_mac_they_were_given(ground: Any, profile: str) -> None:
    ground.host.add_card(profile, ports=1)
    wanted = want(2, link_up=None)
    plan, _ = ground.apply(wanted)
    assert ops(plan.steps)[0] == ("link.set", True)
    (pf,) = ground.adapter().pfs
    assert [vf.netdev.mac for vf in pf.vfs] == [vf.settings.mac for vf in pf.vfs]
    assert ground.plan(wanted).steps == ()


# --- the order alone -------------------------------------------------------------------------------------------------


def planned(registry: Registry, pf: Any, wanted: DesiredPf) -> tuple[Step, ...]:
    adapter = Adapter("0000:3b:00", (pf,), owner="8086")
    desired = DesiredAdapter("0000:3b:00", (wanted,))
    hooks = registry.hooks(adapter)
    return (
        *hooks.plan_firmware(adapter, desired=desired, platform=Platform()),
        *hooks.plan_functions(adapter, desired=desired, platform=Platform()),
    )


def test_link_and_mtu_come_before_mode_and_count(registry: Registry, pf: Any) -> None:
    function = pf("159b", "ice", eswitch_mode=LEGACY)
    down = replace(function, netdev=replace(function.netdev, up=False))
    assert ops(planned(registry, down, want(4, SWITCHDEV, mtu=9000))) == [
        ("link.set", True),
        ("link.set", 9000),
        ("eswitch.set_mode", "switchdev"),
        ("sriov.set_numvfs", 4),
    ]


def test_a_larger_mtu_is_kept_and_put_back_on_release(registry: Registry, pf: Any) -> None:
    function = pf("159b", "ice", eswitch_mode=SWITCHDEV)
    jumbo = replace(function, netdev=replace(function.netdev, mtu=9000))
    assert ops(planned(registry, jumbo, want(0, LEGACY, mtu=1500))) == [("eswitch.set_mode", "legacy")]
    release = want(0, LEGACY, mtu=1500, release=True, link_up=False)
    assert ops(planned(registry, jumbo, release)) == [
        ("eswitch.set_mode", "legacy"),
        ("link.set", 1500),
        ("link.set", False),
    ]


def test_an_autoprobe_left_off_is_put_back(registry: Registry, pf: Any) -> None:
    function = pf("159b", "ice", eswitch_mode=LEGACY, drivers_autoprobe=False)
    steps = planned(registry, function, want(0, SWITCHDEV, drivers_autoprobe=True))
    assert [step.op for step in steps] == ["sriov.set_autoprobe", "eswitch.set_mode", "link.set_offload"]


def test_what_others_manage_is_not_planned(registry: Registry, pf: Any) -> None:
    for device, driver in (("159b", "ice"), ("10c9", "igb")):
        function = pf(device, driver, eswitch_mode=LEGACY if driver == "ice" else None)
        down = replace(function, netdev=replace(function.netdev, up=False))
        wanted = want(4, SWITCHDEV if driver == "ice" else None, externally_managed=True, link_up=None)
        assert planned(registry, down, wanted) == ()


def test_nothing_to_do_is_left_to_generic(registry: Registry, pf: Any) -> None:
    function = pf("159b", "ice", eswitch_mode=LEGACY)
    assert planned(registry, function, want(0)) == ()
    assert [step.op for step in planned(registry, function, want(4))] == ["sriov.set_numvfs"]
