"""vDPA devices in the plan of generic, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from virtfn.model import (
    Adapter,
    DesiredPf,
    DesiredState,
    DeviceType,
    Disruption,
    EswitchMode,
    Inventory,
    Pf,
    Plan,
    Platform,
    Vf,
    VfBaseline,
    VfGroup,
    VfRange,
    steps,
)
from virtfn.model.inventory import VdpaDevice, vdpa_name
from virtfn.performing import shell_script
from virtfn.planning import make_plan
from virtfn.registry import Registry

Make = Callable[..., Pf]
MakeVf = Callable[..., Vf]
SWITCHDEV = EswitchMode.SWITCHDEV
OTHERS = (steps.SET_OFFLOAD, steps.NAME_REPRESENTORS)
"""Steps of switchdev mode that have nothing to do with vDPA."""


def group(vdpa_type: str | None, first: int = 0, last: int = 0, **more: object) -> VfGroup:
    return VfGroup(VfRange(first, last), "r", vdpa_type=vdpa_type, **more)  # type: ignore[arg-type]


def with_device(vf: Vf, driver: str | None, *, name: str = "") -> Vf:
    return replace(vf, vdpa=VdpaDevice(name or vdpa_name(vf.address), driver), makes_vdpa=True)


@pytest.fixture
def plan(registry: Registry) -> Callable[..., Plan]:
    def planner(
        pf: Pf,
        *groups: VfGroup,
        num_vfs: int = 1,
        module: str = "card_vdpa",
        missing: frozenset[str] = frozenset(),
        **wanted: object,
    ) -> Plan:
        adapter = Adapter(pf.address.slot, (pf,), owner="generic", vdpa_module=module)
        known = Inventory((adapter,), Platform(iommu=True, missing_modules=missing))
        want = DesiredPf(pf.address, num_vfs, groups=groups, **{"eswitch_mode": SWITCHDEV, **wanted})  # type: ignore[arg-type]
        return make_plan(known, DesiredState((want,)), registry.hooks)

    return planner


@pytest.fixture
def switchdev(pf: Make) -> Callable[..., Pf]:
    return lambda *vfs: pf(eswitch_mode=SWITCHDEV, vfs=vfs)


def told(plan: Plan) -> list[str]:
    assert plan.problems == ()
    return [steps.describe(step) for step in plan.steps if step.op not in OTHERS and not step.op.startswith("vf.")]


def losing(plan: Plan) -> list[str]:
    """The steps that say that they take a VF's traffic."""
    return [step.op for step in plan.steps if step.disruption is Disruption.VFS]


def test_from_nothing(pf: Make, plan: Callable[..., Plan]) -> None:
    planned = plan(pf(eswitch_mode=EswitchMode.LEGACY), group("vhost"), group("virtio", 1, 1), num_vfs=3)
    assert told(planned) == [
        "load module card_vdpa",
        "load module vhost_vdpa",
        "load module virtio_vdpa",
        "make 3 VFs",
        "eswitch mode switchdev",
        "VF 0: bind to its network driver",
        "VF 0: make vDPA device",
        "VF 0: bind vDPA device to vhost_vdpa",
        "VF 1: bind to its network driver",
        "VF 1: make vDPA device",
        "VF 1: bind vDPA device to virtio_vdpa",
        "VF 2: bind to its network driver",
    ]
    assert planned.affects == ()


def test_in_order_there_is_nothing_to_do(switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]) -> None:
    now = switchdev(with_device(vf(0), "vhost_vdpa"), with_device(vf(1), "virtio_vdpa"), vf(2))
    assert told(plan(now, group("vhost"), group("virtio", 1, 1), group(None, 2, 2), num_vfs=3)) == []


@pytest.mark.parametrize(
    ("seen", "wanted", "expected"),
    [
        ("vhost_vdpa", "virtio", ["VF 0: bind vDPA device to virtio_vdpa"]),
        (None, "vhost", ["VF 0: bind vDPA device to vhost_vdpa"]),
        ("virtio_vdpa", None, ["VF 0: remove vDPA device"]),
    ],
)
def test_a_device_in_use_is_not_changed_unsaid(
    switchdev: Callable[..., Pf],
    vf: MakeVf,
    plan: Callable[..., Plan],
    seen: str | None,
    wanted: str | None,
    expected: list[str],
) -> None:
    planned = plan(switchdev(with_device(vf(0), seen)), group(wanted))
    assert [line for line in told(planned) if "load" not in line] == expected
    assert len(losing(planned)) == 1
    assert planned.affects == (vf(0).address,)


def test_a_device_on_a_vf_that_is_in_use_takes_its_traffic(
    switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]
) -> None:
    planned = plan(switchdev(vf(0)), group("vhost"))
    assert losing(planned) == [steps.ADD_VDPA, steps.BIND_VDPA]
    assert planned.affects == (vf(0).address,)


def test_a_device_goes_with_the_driver_of_its_vf(
    pf: Make, switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]
) -> None:
    to_user = plan(switchdev(with_device(vf(0), "vhost_vdpa")), group(None, device_type=DeviceType.VFIO_PCI))
    assert told(to_user) == ["load module vfio-pci", "VF 0: bind to vfio-pci"]
    taken = plan(pf(eswitch_mode=EswitchMode.LEGACY, vfs=(with_device(vf(0), "vhost_vdpa"),)), group("vhost"))
    assert told(taken)[-5:] == [
        "VF 0: unbind from its driver",
        "eswitch mode switchdev",
        "VF 0: bind to its network driver",
        "VF 0: make vDPA device",
        "VF 0: bind vDPA device to vhost_vdpa",
    ]


def test_a_device_of_somebody_elses_name(switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]) -> None:
    now = switchdev(with_device(vf(0), "virtio_vdpa", name="theirs"))
    assert told(plan(now, group(None))) == []
    assert told(plan(now, group("vhost"))) == ["load module vhost_vdpa", "VF 0: bind vDPA device to vhost_vdpa"]


def test_release(switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]) -> None:
    was = (
        VfBaseline(0, driver="cardvf"),
        VfBaseline(1, driver="cardvf", vdpa_name="theirs", vdpa_driver="virtio_vdpa"),
        VfBaseline(2, driver="cardvf", vdpa_name=vdpa_name(vf(2).address), vdpa_driver="vhost_vdpa"),
        VfBaseline(3, driver="cardvf", vdpa_name=vdpa_name(vf(3).address), vdpa_driver=None),
        VfBaseline(4, driver="vfio-pci"),
    )
    now = switchdev(
        with_device(vf(0), "vhost_vdpa"),
        vf(1),
        vf(2),
        with_device(vf(3), "virtio_vdpa"),
        with_device(vf(4), "virtio_vdpa"),
    )
    planned = plan(now, num_vfs=5, release=True, vfs=was)
    assert [line for line in told(planned) if "load" not in line] == [
        "VF 0: remove vDPA device",
        "VF 1: make vDPA device theirs",
        "VF 1: bind vDPA device to virtio_vdpa",
        "VF 2: make vDPA device",
        "VF 2: bind vDPA device to vhost_vdpa",
        "VF 3: bind vDPA device to no driver",
        "VF 4: bind to vfio-pci",
    ]
    assert planned.affects == tuple(vf(index).address for index in range(5))


@pytest.mark.parametrize(
    ("module", "wanted", "words"),
    [
        ("", {}, "not known to make vDPA devices"),
        ("card_vdpa", {"eswitch_mode": EswitchMode.LEGACY}, "to be in legacy mode (set eSwitchMode switchdev)"),
        ("card_vdpa", {"eswitch_mode": None}, "to be in legacy mode"),
    ],
)
def test_what_cannot_be_is_refused(
    pf: Make, plan: Callable[..., Plan], module: str, wanted: dict[str, object], words: str
) -> None:
    planned = plan(pf(eswitch_mode=EswitchMode.LEGACY), group("vhost"), module=module, **wanted)
    assert planned.steps == ()
    (problem,) = planned.errors
    assert (problem.reason, problem.field) == ("UnsupportedSetting", "vfGroups[0].vdpaType")
    assert words in str(problem)


@pytest.mark.parametrize("lacking", ["card_vdpa", "vhost_vdpa"])
def test_a_kernel_without_the_module_is_told_before_anything_is_done(
    pf: Make, plan: Callable[..., Plan], lacking: str
) -> None:
    planned = plan(pf(eswitch_mode=EswitchMode.LEGACY), group("vhost"), missing=frozenset({lacking}))
    assert planned.steps == ()
    (problem,) = planned.errors
    assert f"vDPA of type vhost wanted for r: that takes kernel module {lacking}, and" in problem.message.replace(
        ", none seen", ""
    )
    assert plan(pf(eswitch_mode=EswitchMode.LEGACY), group("virtio"), missing=frozenset({"vhost_vdpa"})).errors == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (group("vhost", device_type=DeviceType.VFIO_PCI), "set deviceType netdevice"),
        (group("vduse"), "virtio or vhost"),
    ],
)
def test_groups_that_make_no_sense(pf: Make, plan: Callable[..., Plan], wrong: VfGroup, words: str) -> None:
    assert words in str(plan(pf(eswitch_mode=SWITCHDEV), wrong).errors[0])


def test_a_management_device_that_is_seen_is_enough(
    switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]
) -> None:
    planned = plan(switchdev(replace(vf(0), makes_vdpa=True)), group("vhost"), module="")
    assert told(planned) == [
        "load module vhost_vdpa",
        "VF 0: make vDPA device",
        "VF 0: bind vDPA device to vhost_vdpa",
    ]


def test_somebody_elses_pf_counts_by_the_mode_it_is_in(
    pf: Make, switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]
) -> None:
    theirs = {"externally_managed": True, "eswitch_mode": None}
    assert told(plan(switchdev(vf(0)), group("virtio"), **theirs))[-1] == "VF 0: bind vDPA device to virtio_vdpa"
    assert plan(pf(eswitch_mode=EswitchMode.LEGACY, vfs=(vf(0),)), group("virtio"), **theirs).errors


def test_as_a_script(switchdev: Callable[..., Pf], vf: MakeVf, plan: Callable[..., Plan]) -> None:
    now = switchdev(with_device(vf(0), "vhost_vdpa"), vf(1))
    planned = plan(now, group(None), group("vhost", 1, 1), num_vfs=2)
    text = shell_script(planned, Inventory((Adapter(now.address.slot, (now,)),)))
    assert 'vdpa dev del "vdpa:$vf"' in text
    assert 'vdpa dev add name "vdpa:$vf" mgmtdev "pci/$vf" max_vqp 32' in text
    assert "> /sys/bus/vdpa/drivers/vhost_vdpa/bind" in text
