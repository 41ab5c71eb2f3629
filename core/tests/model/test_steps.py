import pytest

from virtfn.model import Disruption, EswitchMode, Netdev, PciAddress, PciId, Pf, Plan, Vf, steps

PF = PciAddress.parse("0000:01:00.0")


def pf(vfs: int) -> Pf:
    return Pf(
        PF,
        PciId("8086", "10c9"),
        driver="igb",
        netdev=Netdev("eth0", 2, "52:54:00:aa:00:00", 1500, True),
        total_vfs=7,
        vfs=tuple(
            Vf(PciAddress.parse(f"0000:01:10.{index}"), index, PciId("8086", "10ca"), driver="igbvf")
            for index in range(vfs)
        ),
    )


def test_first_vfs_disturb_nobody_and_a_new_number_destroys_all() -> None:
    assert steps.set_num_vfs(pf(0), 4, why="").disruption is Disruption.REFRESH
    change = steps.set_num_vfs(pf(4), 7, why="")
    assert change.disruption is Disruption.PF
    assert [str(address) for address in change.affects] == [f"0000:01:10.{index}" for index in range(4)]


def test_eswitch_mode_takes_the_vfs_that_exist_when_it_runs() -> None:
    assert steps.set_eswitch_mode(pf(2), EswitchMode.SWITCHDEV, why="").disruption is Disruption.PF
    later = steps.set_eswitch_mode(pf(2), EswitchMode.SWITCHDEV, existing=(), why="")
    assert (later.disruption, later.affects) == (Disruption.NONE, ())


def test_binding_disturbs_only_a_vf_that_had_a_driver() -> None:
    vf = pf(1).vfs[0]
    fresh = steps.bind_driver(pf(1), 0, "vfio-pci", why="")
    assert fresh.disruption is Disruption.NONE
    assert {need.kind for need in fresh.needs} == {"iommu", "module"}
    taken = steps.bind_driver(pf(1), 0, None, lost=vf, why="")
    assert (taken.disruption, taken.affects, taken.needs) == (Disruption.VFS, (vf.address,), ())


def test_link_down_takes_all_vfs() -> None:
    assert steps.set_link(pf(2), up=False, why="").disruption is Disruption.PF
    assert steps.set_link(pf(2), mtu=9000, why="").disruption is Disruption.NONE


def test_disruption_of_a_plan_is_the_largest() -> None:
    plan = Plan(steps=(steps.set_link(pf(1), up=True, why=""), steps.set_num_vfs(pf(1), 0, why="")))
    assert plan.disruption is Disruption.PF
    assert Plan().disruption is Disruption.NONE


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (steps.load_module("vfio-pci", why=""), "load module vfio-pci"),
        (steps.set_num_vfs(pf(0), 7, why=""), "make 7 VFs"),
        (steps.set_num_vfs(pf(7), 0, why=""), "remove all VFs"),
        (steps.bind_driver(pf(0), 4, "vfio-pci", why=""), "VF 4: bind to vfio-pci"),
        (steps.bind_driver(pf(0), 4, None, why=""), "VF 4: bind to its network driver"),
        (steps.set_vf(pf(0), 1, mac="02:00:00:00:00:01", why=""), "VF 1: mac 02:00:00:00:00:01"),
        (steps.set_vf_link(pf(0), 1, mtu=9000, why=""), "VF 1: MTU 9000"),
        (steps.set_link(pf(0), up=True, mtu=9000, why=""), "MTU 9000, link up"),
        (steps.set_eswitch_mode(pf(0), EswitchMode.SWITCHDEV, why=""), "eswitch mode switchdev"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_steps_read_as_a_person_would_say_them(step: object, text: str) -> None:
    assert steps.describe(step) == text  # type: ignore[arg-type]


def test_reading_planned_steps() -> None:
    planned = [steps.unbind_driver(pf(3), pf(3).vfs[1], why=""), steps.set_num_vfs(pf(3), 2, why="")]
    assert steps.creates_vfs(planned, pf(3))
    assert not steps.creates_vfs(planned[:1], pf(3))
    assert steps.unbound_vfs(planned, pf(3)) == {1}
