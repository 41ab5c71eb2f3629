"""RoCE that somebody switched off: on with the VFs that want it, back on release, refused where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from virtfn.errors import DeviceBusy, KernelRefused, UnsupportedSetting
from virtfn.host.api import ParamMode
from virtfn.journal import Record
from virtfn.model import DesiredPf, DesiredState, DeviceType, EswitchMode, PciAddress, Pf, Severity, VfGroup, VfRange
from virtfn.performing import shell_script
from virtfn.planning import restored_after_boot
from virtfn.testing import Card, Profile, Quirks, load_profile
from virtfn.testing.watch import Killed, Watch

ROCE = "enable_roce"
OFF = "0000:3b:00.0"
PF = PciAddress.parse(OFF)
GROUP = VfGroup(VfRange(0, 1), "roce", is_rdma=True)
WANTED = DesiredPf(PF, 2, groups=(GROUP,))
SWITCHDEV = replace(WANTED, eswitch_mode=EswitchMode.SWITCHDEV)
MORE = replace(SWITCHDEV, num_vfs=3, groups=(replace(GROUP, vf_range=VfRange(0, 2)),))
PLAIN = DesiredPf(PF, 2, groups=(replace(GROUP, is_rdma=False),))


def without_roce(name: str = "connectx-6dx") -> Profile:
    profile = load_profile(name)
    params = {**profile.devlink.params, ROCE: replace(profile.devlink.params[ROCE], value=False)}
    return replace(profile, devlink=replace(profile.devlink, params=params))


@pytest.fixture
def card(ground: Any) -> Card:
    made: Card = ground.host.add_card(without_roce(), address=OFF, names=("ens1f0", "ens1f1"), up=True)
    return made


@pytest.fixture
def pf(ground: Any, card: Card) -> Callable[[], Pf]:
    def look() -> Pf:
        found: Pf | None = ground.observe().inventory.pf(PF)
        assert found is not None
        return found

    return look


def in_force(ground: Any) -> bool:
    function = ground.host.function(PF)
    return bool(function.initial.get(ROCE, function.card.profile.devlink.params[ROCE].value))


def record(ground: Any) -> Record:
    found: Record = ground.observe().records[PF]
    return found


def release(ground: Any) -> list[str]:
    seen = ground.observe()
    desired = ground.node.release(seen, [PF])
    plan = ground.node.plan(seen, desired)
    done = ground.node.perform(plan, seen, desired)
    assert done.failed is None, done.failed
    return [step.op for step in plan.steps]


def bond(ground: Any, *names: str) -> None:
    tree = ground.host.model.tree
    tree.file("sys/devices/virtual/net/bond0/bonding/mode", "802.3ad 4\n")
    tree.link("sys/class/net/bond0", "sys/devices/virtual/net/bond0")
    for name in names:
        tree.link(f"sys/class/net/{name}/master", "sys/devices/virtual/net/bond0")


def test_it_is_switched_on_where_rdma_is_wanted_and_off_again(ground: Any, pf: Callable[[], Pf]) -> None:
    before = ground.host.snapshot()
    plan, done = ground.apply(WANTED)
    assert (plan.problems, done.failed) == ((), None)
    steps = [
        step.op for step in plan.steps if step.target == OFF and not step.op.startswith(("host.", "vf.", "driver."))
    ]
    assert steps == ["devlink.set_param", "devlink.reload", "link.set", "sriov.set_numvfs"]
    assert plan.affects == ()
    seen = pf()
    assert (seen.params[ROCE], in_force(ground), seen.num_vfs) == (True, True, 2)
    assert seen.netdev is not None
    assert seen.netdev.up
    assert ground.plan(WANTED).steps == ()
    assert "devlink.reload" in release(ground)
    assert (pf().params[ROCE], in_force(ground)) == (False, False)
    after = ground.host.snapshot()
    after["node"] = before["node"]  # modules stay
    assert after == before


def test_what_does_not_want_it_leaves_it_off(ground: Any, card: Card) -> None:
    user = replace(GROUP, device_type=DeviceType.VFIO_PCI)
    for want in (PLAIN, DesiredPf(PF, 2, groups=(user,)), DesiredPf(PF, 2)):
        assert not any(step.op.startswith("devlink.") for step in ground.plan(want).steps)
    ground.apply(PLAIN)
    assert "devlink.reload" not in release(ground)
    ground.host.add_card("connectx-5", address="0000:5e:00.0", up=True)
    other = replace(WANTED, address=PciAddress.parse("0000:5e:00.0"))
    assert not any(step.op == "devlink.reload" for step in ground.plan(other).steps), "it is on"


def test_vfs_go_before_and_the_plan_says_so(ground: Any, pf: Callable[[], Pf]) -> None:
    ground.apply(replace(PLAIN, eswitch_mode=EswitchMode.SWITCHDEV, mtu=9000))
    was = pf()
    assert was.netdev is not None
    plan, done = ground.apply(MORE)
    assert (plan.problems, done.failed) == ((), None)
    ops = [step.op for step in plan.steps]
    order = [
        "devlink.set_param",
        "sriov.set_numvfs",
        "devlink.reload",
        "link.set",
        "sriov.set_numvfs",
        "eswitch.set_mode",
    ]
    at = 0
    for op in order:
        at = ops.index(op, at) + 1
    assert plan.affects == tuple(vf.address for vf in was.vfs)
    now = pf()
    assert now.netdev is not None
    assert now.netdev.ifindex != was.netdev.ifindex, "another netdev"
    assert (now.netdev.name, now.netdev.mtu, now.netdev.up) == (was.netdev.name, 9000, True)
    assert (now.eswitch_mode, now.netdev.tc_offload) == (EswitchMode.SWITCHDEV, True)
    assert [vf.representor for vf in now.vfs] == ["ens1f0_0", "ens1f0_1", "ens1f0_2"]
    assert in_force(ground)
    assert ground.plan(MORE).steps == ()


def test_nobody_is_disturbed_where_vfs_have_it_themselves(ground: Any, pf: Callable[[], Pf]) -> None:
    ground.apply(PLAIN)
    plan = ground.plan(WANTED)
    assert plan.affects == ()
    assert not any(step.op.startswith(("devlink.", "sriov.")) for step in plan.steps)
    (told,) = plan.problems
    assert (told.severity, "made anew" in told.message) == (Severity.WARNING, True)
    assert "devlink.reload" in [step.op for step in ground.plan(SWITCHDEV).steps], "a change of mode takes them anyhow"
    ground.apply(WANTED)
    assert not in_force(ground)
    assert ground.plan(WANTED).steps == ()
    ground.apply(replace(WANTED, num_vfs=0, groups=()))
    ground.apply(WANTED)
    assert in_force(ground)
    assert pf().num_vfs == 2


def test_a_netdev_that_comes_late_is_waited_for(ground: Any) -> None:
    ground.host.add_card(without_roce(), address=OFF, up=True, quirks=Quirks(netdev_delay=7.0))
    assert ground.apply(WANTED)[1].failed is None


def test_a_link_that_was_down_and_offload_that_was_on_are_so_again(ground: Any, pf: Callable[[], Pf]) -> None:
    ground.machine.set_link(PF, up=False)
    ground.machine.set_tc_offload(PF, True)
    ground.apply(replace(WANTED, link_up=None))
    seen = pf()
    assert seen.netdev is not None
    assert (seen.netdev.up, seen.netdev.tc_offload, in_force(ground)) == (False, True, True)


@pytest.mark.parametrize(("want", "giving_back"), [(MORE, False), (replace(MORE, eswitch_mode=None), True)])
def test_however_it_is_cut_off_it_comes_into_force(ground: Any, card: Card, want: DesiredPf, giving_back: bool) -> None:
    """The kernel shows what was set as if it were in force, so this is what the journal has to know."""
    ground.apply(replace(PLAIN, eswitch_mode=want.eswitch_mode))
    cut = 0
    while True:
        if giving_back:
            assert ground.apply(want)[1].failed is None
        watch = Watch(ground.host.kernel)
        left = [cut]

        def handler(_access: Any, action: Callable[[], Any], watch: Watch = watch, left: list[int] = left) -> Any:
            if left[0] == 0:
                raise watch.kill()
            left[0] -= 1
            return action()

        watch.handler = handler
        ended = False
        ground.restart(watch.kernel)
        try:
            if giving_back:
                release(ground)
            else:
                ground.apply(want)
            ended = True
        except Killed:
            pass
        ground.restart()
        if giving_back:
            if PF in ground.observe().records:
                release(ground)
            assert not in_force(ground), f"cut off after {cut} writes"
            ground.apply(replace(PLAIN, eswitch_mode=want.eswitch_mode))
        else:
            assert ground.apply(want)[1].failed is None
            assert in_force(ground), f"cut off after {cut} writes"
            assert not record(ground).reload
            assert ground.plan(want).steps == ()
            release(ground)
            ground.apply(replace(PLAIN, eswitch_mode=want.eswitch_mode))
        if ended:
            break
        cut += 1
    assert cut > 4


def test_firmware_that_has_it_off(ground: Any) -> None:
    """Without the tool nobody knows before the driver refuses; by then nothing else has changed."""
    profile = without_roce("connectx-5")
    firmware = replace(profile.firmware, defaults={**profile.firmware.defaults, "ROCE_CONTROL": "ROCE_DISABLE"})
    ground.host.add_card(replace(profile, firmware=firmware), address=OFF, up=True)
    (problem,) = ground.plan(WANTED).errors
    assert (problem.field, problem.reason) == ("vfGroups[0].isRdma", UnsupportedSetting.reason)
    assert "ROCE_CONTROL=ROCE_ENABLE" in problem.hint
    assert ground.plan(PLAIN).errors == ()
    blind = replace(firmware, tool="")
    ground.host.add_card(replace(profile, firmware=blind), address="0000:5e:00.0", up=True)
    ground.machine.set_num_vfs(PciAddress.parse("0000:5e:00.0"), 3)
    ground.host.fail("run mstconfig", error=2)
    ground.restart()
    want = replace(WANTED, address=PciAddress.parse("0000:5e:00.0"))
    plan, done = ground.apply(want)
    assert plan.errors == ()
    assert done.failed is not None
    assert (done.failed.reason, "Device doesn't support RoCE" in done.failed.detail) == (KernelRefused.reason, True)
    known = ground.observe()
    other = known.inventory.pf(want.address)
    assert other is not None
    assert other.num_vfs == 3
    assert not known.records[want.address].reload, "nothing is owed for what was refused"


def test_a_bond_is_in_the_way(ground: Any, card: Card) -> None:
    bond(ground, "ens1f0", "ens1f1")
    (problem,) = ground.plan(WANTED).errors
    assert "bond0" in problem.message
    assert "cmode driverinit" in problem.hint
    assert ground.plan(PLAIN).errors == ()


def test_a_bond_is_in_the_way_of_giving_back_and_that_is_told(ground: Any, card: Card) -> None:
    ground.apply(WANTED)
    bond(ground, "ens1f0", "ens1f1")
    seen = ground.observe()
    plan = ground.node.plan(seen, ground.node.release(seen, [PF]))
    (told,) = plan.problems
    assert (told.severity, "stays as it is" in told.message) == (Severity.WARNING, True)
    assert "value false" in told.hint
    assert [step.op for step in plan.steps if step.target == OFF][-1] == "sriov.set_numvfs"


def test_the_hosts_own_network_is_not_cut_off(ground: Any, card: Card) -> None:
    tree = ground.host.model.tree
    tree.folder("sys/class/net/ens1f0/upper_ovs-system")
    assert ground.plan(WANTED).errors == (), "Open vSwitch takes its port back"
    tree.plain("proc/net/route", "Iface\tDestination\nens1f0\t0000000A\n")
    (problem,) = ground.plan(WANTED).errors
    assert "would lose an IPv4 route on ens1f0" in problem.message
    assert f"devlink dev reload pci/{OFF}" in problem.hint
    assert ground.plan(PLAIN).errors == ()


def test_the_driver_refuses_what_the_plan_could_not_know(ground: Any, card: Card) -> None:
    seen, desired = ground.observe(), DesiredState((WANTED,))
    plan = ground.node.plan(seen, desired)
    ground.machine.set_devlink_param(PF, ROCE, True, mode=ParamMode.DRIVERINIT)
    bond(ground, "ens1f0", "ens1f1")
    failed = ground.node.perform(plan, seen, desired).failed
    assert failed is not None
    assert "reload is unsupported in Lag mode" in failed.detail
    assert record(ground).reload
    (problem,) = ground.plan(WANTED).errors
    assert "bond0" in problem.message


def test_vfs_that_came_meanwhile_are_not_taken_their_pf(ground: Any, card: Card) -> None:
    seen, desired = ground.observe(), DesiredState((WANTED,))
    plan = ground.node.plan(seen, desired)
    ground.machine.set_num_vfs(PF, 1)
    failed = ground.node.perform(plan, seen, desired).failed
    assert failed is not None
    assert (failed.reason, failed.step.op) == (DeviceBusy.reason, "devlink.reload")
    assert ground.apply(WANTED)[1].failed is None
    assert in_force(ground)


def test_somebody_elses_pf_is_not_reloaded(ground: Any, card: Card) -> None:
    ground.machine.set_num_vfs(PF, 2)
    (problem,) = ground.plan(replace(WANTED, externally_managed=True)).errors
    assert (problem.field, "managed by somebody else" in problem.message) == ("vfGroups[0].isRdma", True)
    assert ground.plan(replace(PLAIN, externally_managed=True)).errors == ()


def test_a_driver_without_the_parameter(ground: Any) -> None:
    profile = load_profile("connectx-5")
    steering = {name: facts for name, facts in profile.devlink.params.items() if name != ROCE}
    devlink = replace(profile.devlink, params=steering)
    ground.host.add_card(replace(profile, devlink=devlink), address=OFF, up=True)
    assert ground.plan(WANTED).errors == (), "it has an RDMA device: nobody knows better"
    ground.host.add_card(
        replace(profile, devlink=devlink), address="0000:5e:00.0", up=True, quirks=Quirks(no_rdma=True)
    )
    (problem,) = ground.plan(replace(WANTED, address=PciAddress.parse("0000:5e:00.0"))).errors
    assert f"no parameter {ROCE}" in problem.message
    assert "ROCE_CONTROL" in problem.hint


def test_no_device_though_it_is_on(ground: Any) -> None:
    ground.host.add_card("connectx-5", address=OFF, up=True, quirks=Quirks(no_rdma=True))
    (problem,) = ground.plan(WANTED).errors
    assert "enable_rdma" in problem.hint


def test_the_script_for_the_next_boot_reloads_nothing(ground: Any, card: Card) -> None:
    """The driver begins with RoCE on, where it can have it at all."""
    ground.apply(SWITCHDEV)
    seen = ground.observe()
    plan, _ = ground.node.after_boot(seen, restored_after_boot((SWITCHDEV,)))
    ops = [step.op for step in plan.steps if step.target == OFF]
    assert "eswitch.set_mode" in ops
    assert "devlink.reload" not in ops
    ground.host.reboot()
    ground.restart()
    assert ground.apply(SWITCHDEV)[1].failed is None, "and where somebody switches it off at boot the daemon sees to it"
    assert in_force(ground)


def test_the_shell_form(ground: Any, card: Card) -> None:
    seen = ground.observe()
    script = shell_script(ground.node.plan(seen, DesiredState((WANTED,))), seen.inventory)
    lines = script.splitlines()
    first = lines.index(f"devlink dev param set pci/{OFF} name {ROCE} value true cmode driverinit")
    second = lines.index(f"devlink dev reload pci/{OFF}")
    assert first < second
    assert lines[second + 1] == "named ens1f0"


# --- the daemon -------------------------------------------------------------------------------------------------------


def test_the_daemon_drains_for_it_only_what_it_drains_anyhow(rig: Any) -> None:
    rig.host.add_card(without_roce("connectx-5"), address=OFF, up=True)
    rig.want(first=2)
    rig.turns(2)
    rig.want(first=2, rdma=True)
    rig.turns(3)
    assert (rig.needed, in_force(rig.ground), rig.vfs(OFF)) == ("Idle", False, 2)
    rig.want(first=3, rdma=True)
    rig.turn()
    assert (rig.needed, in_force(rig.ground)) == ("Drain_Required", False)
    rig.turns(2)
    assert (rig.needed, in_force(rig.ground), rig.vfs(OFF)) == ("Idle", True, 3)


def test_a_card_that_refuses_it_is_drained_for_in_vain_no_more_than_any(rig: Any) -> None:
    profile = without_roce("connectx-5")
    firmware = {**profile.firmware.defaults, "ROCE_CONTROL": "ROCE_DISABLE"}
    rig.host.fail("run mstconfig", error=2)
    rig.host.add_card(replace(profile, firmware=replace(profile.firmware, defaults=firmware)), address=OFF, up=True)
    rig.want(first=2)
    rig.turns(2)
    rig.want(first=3, rdma=True)
    rig.turns(8)
    assert (rig.blocked, rig.needed, rig.vfs(OFF)) == (["DrainIneffective"], "Idle", 2), "its VFs are as they were"
    assert "Device doesn't support RoCE" in rig.status.last_sync_error
    rig.want(first=3)
    rig.turns(4)
    assert (rig.blocked, rig.vfs(OFF)) == ([], 3)
