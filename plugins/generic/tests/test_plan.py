from collections.abc import Callable
from dataclasses import replace

import pytest

from virtfn.model import (
    DesiredPf,
    DesiredState,
    DeviceType,
    Disruption,
    EswitchMode,
    Inventory,
    Netdev,
    Pf,
    Plan,
    Step,
    Vf,
    VfBaseline,
    VfGroup,
    VfRange,
    steps,
)
from virtfn.planning import make_plan
from virtfn.registry import Registry

Make = Callable[..., Pf]
MakeVf = Callable[..., Vf]
Planner = Callable[..., Plan]

NETDEVICE = VfGroup(VfRange(0, 3), "net")
VFIO = VfGroup(VfRange(4, 6), "dpdk", device_type=DeviceType.VFIO_PCI)


@pytest.fixture
def plan(registry: Registry, inventory: Callable[..., Inventory]) -> Planner:
    def planner(
        pf: Pf, *, num_vfs: int, iommu: bool = True, modules: frozenset[str] | None = None, **wanted: object
    ) -> Plan:
        known = inventory(pf, iommu=iommu, modules=frozenset({"vfio_pci"}) if modules is None else modules)
        want = DesiredPf(pf.address, num_vfs, **wanted)  # type: ignore[arg-type]
        return make_plan(known, DesiredState((want,)), registry.hooks)

    return planner


def told(plan: Plan) -> list[str]:
    return [steps.describe(step) for step in plan.steps]


def test_two_groups_from_nothing(pf: Make, plan: Planner) -> None:
    planned = plan(pf(), num_vfs=7, groups=(NETDEVICE, VFIO))
    assert planned.problems == ()
    assert told(planned)[0] == "make 7 VFs"
    binds = [step for step in planned.steps if step.op == steps.BIND_DRIVER]
    assert [(step.args["vf"], step.args["driver"]) for step in binds] == [
        *((index, None) for index in range(4)),
        *((index, "vfio-pci") for index in range(4, 7)),
    ]
    macs = [step.args["mac"] for step in planned.steps if step.op == steps.SET_VF]
    assert len(set(macs)) == 7
    assert all(int(mac[:2], 16) & 0x03 == 0x02 for mac in macs), "locally administered, not multicast"
    assert planned.disruption is Disruption.REFRESH
    assert planned.affects == ()


def test_new_vfs_get_no_driver_before_their_mac(pf: Make, plan: Planner) -> None:
    planned = plan(pf(), num_vfs=7, groups=(NETDEVICE, VFIO))
    assert planned.steps[0].args == {"count": 7, "probe": False}
    for index in range(7):
        ops = [step.op for step in planned.steps if step.args.get("vf") == index]
        assert ops == [steps.SET_VF, steps.BIND_DRIVER]


def test_macs_are_the_same_every_time_and_differ_between_cards(pf: Make, plan: Planner) -> None:
    def macs(card: Pf) -> list[str]:
        return [s.args["mac"] for s in plan(card, num_vfs=4, groups=(NETDEVICE,)).steps if s.op == steps.SET_VF]

    other = replace(pf().netdev or Netdev("", 0, "", 0, True), permanent_mac="b8:59:9f:00:00:02")
    bonded = replace(pf().netdev or Netdev("", 0, "", 0, True), mac="02:00:00:00:00:99")
    assert macs(pf()) == macs(pf())
    assert not set(macs(pf())) & set(macs(pf(netdev=other)))
    assert macs(pf()) == macs(pf(netdev=bonded)), "the burnt-in MAC counts, not the one a bond set"


def test_in_sync_is_an_empty_plan(pf: Make, vf: MakeVf, plan: Planner) -> None:
    vfs = tuple(vf(index, driver="vfio-pci" if index > 3 else "cardvf") for index in range(7))
    assert plan(pf(vfs=vfs), num_vfs=7, groups=(NETDEVICE, VFIO)) == Plan()


def test_one_vf_changes_driver_and_the_others_are_left_alone(pf: Make, vf: MakeVf, plan: Planner) -> None:
    vfs = tuple(
        vf(index, driver="vfio-pci" if index > 2 else "cardvf", admin=f"02:bb:00:00:00:0{index}") for index in range(7)
    )
    planned = plan(pf(vfs=vfs), num_vfs=7, groups=(NETDEVICE, VFIO))
    assert told(planned) == ["VF 3: bind to its network driver"]
    assert planned.disruption is Disruption.VFS
    assert planned.affects == (vfs[3].address,)


def test_vf_keeps_its_mac_over_binding(pf: Make, vf: MakeVf, plan: Planner) -> None:
    planned = plan(pf(vfs=(vf(0),)), num_vfs=1, groups=(VfGroup(VfRange(0, 0), "d", device_type=DeviceType.VFIO_PCI),))
    assert told(planned) == ["VF 0: mac 02:aa:00:00:00:00", "VF 0: bind to vfio-pci"]
    kept = plan(
        pf(vfs=(vf(0, admin="02:cc:00:00:00:01"),)),
        num_vfs=1,
        groups=(VfGroup(VfRange(0, 0), "d", device_type=DeviceType.VFIO_PCI),),
    )
    assert told(kept) == ["VF 0: bind to vfio-pci"]


def test_growing_the_mtu_touches_the_mtu_alone(pf: Make, vf: MakeVf, plan: Planner) -> None:
    vfs = tuple(vf(index) for index in range(2))
    planned = plan(pf(vfs=vfs), num_vfs=2, mtu=9000, groups=(VfGroup(VfRange(0, 1), "r", mtu=9000),))
    assert told(planned) == ["MTU 9000", "VF 0: MTU 9000", "VF 1: MTU 9000"]
    assert planned.disruption is Disruption.NONE


def test_pf_mtu_is_never_lowered(pf: Make, plan: Planner) -> None:
    jumbo = replace(pf().netdev or Netdev("", 0, "", 0, True), mtu=9000)
    assert plan(pf(netdev=jumbo), num_vfs=0, mtu=1500) == Plan()


def test_vf_in_a_pod_is_not_asked_for_its_mtu(pf: Make, vf: MakeVf, plan: Planner) -> None:
    away = replace(vf(0), netdev=None)
    assert plan(pf(vfs=(away,)), num_vfs=1, groups=(VfGroup(VfRange(0, 0), "r", mtu=9000),)) == Plan()


def test_another_number_destroys_all_and_says_so(pf: Make, vf: MakeVf, plan: Planner) -> None:
    vfs = tuple(vf(index) for index in range(4))
    planned = plan(pf(vfs=vfs), num_vfs=7, groups=(VfGroup(VfRange(0, 6), "r"),))
    assert planned.disruption is Disruption.PF
    assert planned.affects == tuple(v.address for v in vfs)
    assert len([s for s in planned.steps if s.op == steps.BIND_DRIVER]) == 7
    gone = plan(pf(vfs=vfs), num_vfs=0)
    assert told(gone) == ["remove all VFs"]


def test_link_goes_up_before_vfs_are_made(pf: Make, plan: Planner) -> None:
    down = replace(pf().netdev or Netdev("", 0, "", 0, True), up=False)
    assert told(plan(pf(netdev=down), num_vfs=1, groups=(VfGroup(VfRange(0, 0), "r"),)))[:2] == [
        "link up",
        "make 1 VFs",
    ]


def test_new_vf_in_no_group_goes_to_its_default_driver_if_there_is_one(pf: Make, plan: Planner) -> None:
    planned = plan(pf(), num_vfs=2, groups=(VfGroup(VfRange(0, 0), "r"),))
    last = planned.steps[-1]
    assert (last.op, last.args, last.optional) == (steps.BIND_DRIVER, {"vf": 1, "driver": None}, True)


def test_existing_vf_in_no_group_is_left_alone(pf: Make, vf: MakeVf, plan: Planner) -> None:
    vfs = (vf(0), vf(1, driver=None), vf(2, driver="vfio-pci"))
    assert plan(pf(vfs=vfs), num_vfs=3, groups=(VfGroup(VfRange(0, 0), "r"),)) == Plan()


def switchable(pf: Make, mode: EswitchMode, **changes: object) -> Pf:
    return pf(eswitch_mode=mode, **changes)


def ops(plan: Plan) -> list[str]:
    return [
        f"{step.op} {step.args.get('mode', step.args.get('count', step.args.get('vf', '')))}" for step in plan.steps
    ]


def test_switchdev_comes_when_vfs_exist_without_driver(pf: Make, plan: Planner) -> None:
    planned = plan(
        switchable(pf, EswitchMode.LEGACY),
        num_vfs=1,
        eswitch_mode=EswitchMode.SWITCHDEV,
        groups=(VfGroup(VfRange(0, 0), "r"),),
    )
    assert ops(planned) == [
        "sriov.set_numvfs 1",
        "eswitch.set_mode switchdev",
        "link.set_offload ",
        "eswitch.name_representors ",
        "vf.set 0",
        "driver.bind 0",
    ]
    assert planned.disruption is Disruption.REFRESH


def test_mode_change_with_vfs_unbinds_and_binds_each_again(pf: Make, vf: MakeVf, plan: Planner) -> None:
    vfs = (vf(0), vf(1, driver="vfio-pci"), vf(2, driver=None))
    planned = plan(
        switchable(pf, EswitchMode.LEGACY, vfs=vfs),
        num_vfs=3,
        eswitch_mode=EswitchMode.SWITCHDEV,
        groups=(VfGroup(VfRange(0, 0), "r"),),
    )
    assert ops(planned) == [
        "driver.unbind 0",
        "driver.unbind 1",
        "eswitch.set_mode switchdev",
        "link.set_offload ",
        "eswitch.name_representors ",
        "vf.set 0",
        "driver.bind 0",
        "driver.bind 1",
    ]
    assert planned.steps[5].args["mac"] == "02:aa:00:00:00:00", "the MAC it had"
    assert planned.steps[-1].args["driver"] == "vfio-pci", "a VF in no group goes back to the driver it had"
    assert planned.disruption is Disruption.PF


def test_absent_mode_means_legacy(pf: Make, vf: MakeVf, plan: Planner) -> None:
    planned = plan(
        switchable(pf, EswitchMode.SWITCHDEV, vfs=(vf(0),)), num_vfs=2, groups=(VfGroup(VfRange(0, 1), "r"),)
    )
    assert ops(planned)[:3] == ["sriov.set_numvfs 0", "eswitch.set_mode legacy", "sriov.set_numvfs 2"]
    assert planned.steps[2].disruption is Disruption.REFRESH


def test_switchdev_without_eswitch_is_refused(pf: Make, plan: Planner) -> None:
    planned = plan(pf(), num_vfs=1, eswitch_mode=EswitchMode.SWITCHDEV)
    assert planned.steps == ()
    assert [(problem.reason, problem.field) for problem in planned.errors] == [
        ("UnsupportedEswitchMode", "eSwitchMode")
    ]


@pytest.mark.parametrize(
    ("changes", "wanted", "reason", "words"),
    [
        ({}, {"num_vfs": 9}, "TooManyVfs", "at most 8"),
        ({"total_vfs": None}, {"num_vfs": 1}, "UnsupportedSetting", "no SR-IOV files"),
        ({"driver": None, "netdev": None}, {"num_vfs": 1}, "UnsupportedSetting", "no driver is bound"),
        ({"netdev": None}, {"num_vfs": 1}, "UnsupportedSetting", "no netdev here"),
        ({"netdev": None, "class_code": 0x020700}, {"num_vfs": 1}, "UnsupportedSetting", "ib_ipoib: is it loaded"),
        ({}, {"num_vfs": 1, "mtu": 9217}, "UnsupportedSetting", "68 to 9216"),
        ({}, {"num_vfs": 1, "link_type": "IB"}, "UnsupportedSetting", "the port is ETH"),
        ({}, {"num_vfs": -1}, "InvalidRequest", "0 or more"),
        ({}, {"num_vfs": 1, "groups": (VfGroup(VfRange(0, 0), "r", vdpa_type="vhost"),)}, "UnsupportedSetting", "vDPA"),
    ],
)
def test_impossible_wishes_get_no_step(
    pf: Make, plan: Planner, changes: dict[str, object], wanted: dict[str, object], reason: str, words: str
) -> None:
    planned = plan(pf(**changes), **wanted)
    assert planned.steps == ()
    assert [problem.reason for problem in planned.errors] == [reason]
    assert words in str(planned.errors[0])


def test_vfio_without_iommu_is_refused_whole(pf: Make, plan: Planner) -> None:
    planned = plan(pf(), num_vfs=7, groups=(NETDEVICE, VFIO), iommu=False)
    assert planned.steps == ()
    assert "IOMMU is off" in planned.errors[0].message


def test_module_is_loaded_once_and_first(pf: Make, plan: Planner) -> None:
    planned = plan(pf(), num_vfs=7, groups=(NETDEVICE, VFIO), modules=frozenset())
    assert told(planned)[0] == "load module vfio-pci"
    assert [step.op for step in planned.steps].count(steps.LOAD_MODULE) == 1


def test_externally_managed_pf_is_not_written(pf: Make, vf: MakeVf, plan: Planner) -> None:
    down = replace(pf().netdev or Netdev("", 0, "", 0, True), up=False)
    planned = plan(
        pf(netdev=down, vfs=(vf(0), vf(1))),
        num_vfs=4,
        mtu=9000,
        externally_managed=True,
        groups=(VfGroup(VfRange(0, 3), "d", device_type=DeviceType.VFIO_PCI),),
    )
    assert {step.op for step in planned.steps} == {steps.SET_VF, steps.BIND_DRIVER}
    assert {step.args["vf"] for step in planned.steps} == {0, 1}
    assert planned.errors == ()
    assert "4 VFs are waited for, 2 are there" in planned.problems[0].message


@pytest.mark.parametrize("wanted", [None, *EswitchMode])
def test_the_mode_of_an_externally_managed_pf_is_waited_for(
    pf: Make, plan: Planner, wanted: EswitchMode | None
) -> None:
    now = switchable(pf, EswitchMode.SWITCHDEV)
    planned = plan(now, num_vfs=0, externally_managed=True, eswitch_mode=wanted)
    assert planned.steps == ()
    told_of = [problem.message for problem in planned.problems]
    assert told_of == (
        ["externally managed: legacy mode is waited for, it is in switchdev mode"] if wanted == "legacy" else []
    )
    assert planned.errors == ()


def release(**baseline: object) -> dict[str, object]:
    values: dict[str, object] = {"num_vfs": 0, "mtu": 1500, "link_up": True, "drivers_autoprobe": True, "release": True}
    return {**values, **baseline}


def test_release_undoes_in_reverse(pf: Make, vf: MakeVf, plan: Planner) -> None:
    jumbo = replace(pf().netdev or Netdev("", 0, "", 0, True), mtu=9000)
    now = switchable(pf, EswitchMode.SWITCHDEV, netdev=jumbo, vfs=(vf(0),), drivers_autoprobe=False)
    planned = plan(now, **release(link_up=False, eswitch_mode=EswitchMode.LEGACY))
    assert told(planned) == ["driver autoprobe on", "remove all VFs", "eswitch mode legacy", "MTU 1500", "link down"]
    assert planned.steps[-1].disruption is Disruption.NONE or planned.steps[-1].affects


def test_release_puts_vfs_back_that_were_there(pf: Make, vf: MakeVf, plan: Planner) -> None:
    was = (
        VfBaseline(0, driver="cardvf", mac="02:dd:00:00:00:00"),
        VfBaseline(1, driver="vfio-pci"),
        VfBaseline(2, driver=None),
    )
    now = pf(vfs=(vf(0, driver="vfio-pci", admin="02:dd:00:00:00:00"), vf(1, driver="cardvf"), vf(2)))
    planned = plan(now, **release(num_vfs=3, vfs=was))
    assert told(planned) == [
        "VF 0: bind to its network driver",
        "VF 1: bind to vfio-pci",
        "VF 2: unbind from its driver",
    ]
    made_anew = plan(pf(), **release(num_vfs=3, vfs=was))
    assert told(made_anew) == [
        "make 3 VFs",
        "VF 0: mac 02:dd:00:00:00:00",
        "VF 0: bind to its network driver",
        "VF 1: bind to vfio-pci",
    ]


def test_autoprobe_left_off_by_a_crash_is_put_right(
    pf: Make, vf: MakeVf, registry: Registry, inventory: Callable[..., Inventory]
) -> None:
    card = pf(vfs=(vf(0),), drivers_autoprobe=False)
    want = DesiredPf(card.address, 1, groups=(VfGroup(VfRange(0, 0), "r"),))
    baseline = DesiredPf(card.address, 0, drivers_autoprobe=True, release=True)
    planned = make_plan(inventory(card), DesiredState((want,)), registry.hooks, baselines={card.address: baseline})
    assert told(planned) == ["driver autoprobe on"]
    unknown = make_plan(inventory(card), DesiredState((want,)), registry.hooks)
    assert unknown == Plan(), "without a journal it is the admin's own choice"


def test_driver_that_a_crash_took_from_a_vf_in_no_group_is_given_back(
    pf: Make, vf: MakeVf, registry: Registry, inventory: Callable[..., Inventory]
) -> None:
    card = pf(vfs=(vf(0), vf(1, driver=None), vf(2, driver=None), vf(3, driver=None)))
    want = DesiredPf(card.address, 4, groups=(VfGroup(VfRange(0, 0), "r"),))
    baseline = DesiredPf(card.address, 0, drivers_autoprobe=True, release=True)
    owed = (VfBaseline(0), VfBaseline(1), VfBaseline(2, driver="vfio-pci"))
    planned = make_plan(
        inventory(card),
        DesiredState((want,)),
        registry.hooks,
        baselines={card.address: baseline},
        owed={card.address: owed},
    )
    assert told(planned) == ["VF 1: bind to its network driver", "VF 2: bind to vfio-pci"], (
        "VF 3 is as the admin left it"
    )
    assert planned.affects == ()
    assert [step.optional for step in planned.steps] == [True, False]


@pytest.mark.parametrize(("driver", "kind"), [("cardvf", DeviceType.NETDEVICE), ("vfio-pci", DeviceType.VFIO_PCI)])
def test_override_that_a_crash_left_is_taken_away_without_harm(
    pf: Make, vf: MakeVf, plan: Planner, driver: str, kind: DeviceType
) -> None:
    card = pf(vfs=(replace(vf(0, driver=driver), driver_override="vfio-pci"),))
    planned = plan(card, num_vfs=1, groups=(VfGroup(VfRange(0, 0), "r", device_type=kind),))
    assert [step.op for step in planned.steps] == [steps.BIND_DRIVER]
    assert (planned.disruption, planned.affects) == (Disruption.NONE, ())
    released = plan(card, **release(num_vfs=1, vfs=(VfBaseline(0, driver=driver),)))
    assert [step.op for step in released.steps] == [steps.BIND_DRIVER]
    kept = plan(card, **release(num_vfs=1, vfs=(VfBaseline(0, driver=driver, driver_override="vfio-pci"),)))
    assert kept == Plan(), "it was there before virtfn touched the PF"


def test_release_gives_vfs_their_mtu_back(pf: Make, vf: MakeVf, plan: Planner) -> None:
    was = (VfBaseline(0, driver="cardvf", mtu=1400), VfBaseline(1, driver="cardvf", mtu=1400))
    now = pf(vfs=(vf(0), vf(1, driver="vfio-pci")))
    assert told(plan(now, **release(num_vfs=2, vfs=was))) == [
        "VF 0: MTU 1400",
        "VF 1: bind to its network driver",
        "VF 1: MTU 1400",
    ]


def test_missing_pf_is_named(pf: Make, registry: Registry, inventory: Callable[..., Inventory]) -> None:
    want = DesiredPf(replace(pf().address, bus=0x99), 1, name="ens9")
    planned = make_plan(inventory(pf()), DesiredState((want,)), registry.hooks)
    assert [problem.reason for problem in planned.errors] == ["DeviceNotFound"]
    assert planned.errors[0].object == "0000:99:00.0 (ens9)"


def test_every_step_has_a_reason(pf: Make, plan: Planner) -> None:
    planned: tuple[Step, ...] = plan(pf(), num_vfs=7, mtu=9000, groups=(NETDEVICE, VFIO)).steps
    assert planned
    assert all(step.why for step in planned)
