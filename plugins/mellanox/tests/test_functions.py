"""The order of an mlx5 PF's steps, and what they come to, on simulated cards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtfn.errors import DeviceBusy
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredPf, DesiredState, EswitchMode, PciAddress, Pf, Step, VfGroup, VfRange
from virtfn.node import Node
from virtfn.performing import shell_script
from virtfn.testing.fakehost import FakeHost

PF = PciAddress.parse("0000:3b:00.0")
SWITCHDEV, LEGACY = EswitchMode.SWITCHDEV, EswitchMode.LEGACY
WANTED = DesiredState((DesiredPf(PF, 2, eswitch_mode=SWITCHDEV, groups=(VfGroup(VfRange(0, 1), "cx"),)),))


class Bench:
    def __init__(self, host: FakeHost, folder: Path) -> None:
        self.host = host
        self.machine = Machine(host.kernel)
        self.node = Node(self.machine, journal=Journal(folder), now=lambda: 0.0)

    def pf(self) -> Pf:
        pf = self.node.observe().inventory.pf(PF)
        assert pf is not None
        return pf

    def steps(self, desired: DesiredState) -> tuple[Step, ...]:
        plan = self.node.plan(self.node.observe(), desired)
        assert plan.errors == ()
        return plan.steps

    def apply(self, desired: DesiredState) -> tuple[Step, ...]:
        seen = self.node.observe()
        plan = self.node.plan(seen, desired)
        outcome = self.node.perform(plan, seen, desired)
        assert outcome.failed is None, outcome.failed
        return plan.steps

    def release(self) -> tuple[Step, ...]:
        return self.apply(self.node.release(self.node.observe(), [PF]))


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        yield made


@pytest.fixture
def bench(host: FakeHost, tmp_path: Path) -> Bench:
    return Bench(host, tmp_path)


def ops(steps: tuple[Step, ...]) -> list[str]:
    return [step.op for step in steps]


def test_a_connectx_5_from_legacy_to_switchdev_and_back(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-5", address="0000:3b:00", names=["ens41f0np0", "ens41f1np1"], up=True)
    before = host.snapshot()
    assert ops(bench.apply(WANTED)) == [
        "devlink.set_param",
        "sriov.set_numvfs",
        "eswitch.set_mode",
        "link.set_offload",
        "eswitch.name_representors",
        "vf.set",
        "driver.bind",
        "vf.set",
        "driver.bind",
    ]
    pf = bench.pf()
    assert pf.netdev is not None
    assert (pf.eswitch_mode, pf.params["flow_steering_mode"], pf.netdev.tc_offload) == (SWITCHDEV, "smfs", True)
    assert [(vf.driver, vf.representor) for vf in pf.vfs] == [
        ("mlx5_core", "ens41f0np0_0"),
        ("mlx5_core", "ens41f0np0_1"),
    ]
    assert bench.steps(WANTED) == ()
    bench.release()
    pf = bench.pf()
    assert pf.netdev is not None
    assert (pf.eswitch_mode, pf.params["flow_steering_mode"], pf.netdev.tc_offload) == (LEGACY, "dmfs", False)
    assert host.snapshot() == before


def test_steering_is_put_back_from_a_record_of_an_older_virtfn(host: FakeHost, bench: Bench, tmp_path: Path) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    bench.apply(WANTED)
    path = tmp_path / f"{PF}.json"
    data = json.loads(path.read_text())
    for part in ("baseline", "applied"):
        data[part]["steering_mode"] = data[part].pop("params").get("flow_steering_mode")
    path.write_text(json.dumps(data))
    bench.release()
    assert bench.pf().params["flow_steering_mode"] == "dmfs"


def test_steering_that_the_kernel_has_no_more_is_in_nobodys_way(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    bench.apply(WANTED)
    host.fail("param */0000:3b:00.0", lie=True)
    bench.release()
    assert bench.node.observe().records == {}


def test_steering_by_the_driver_already_is_left_alone(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-6dx", address="0000:3b:00", up=True)
    assert "devlink.set_param" not in ops(bench.apply(WANTED))


def test_vfs_that_are_bound_are_taken_from_their_driver_before_the_mode(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-7", address="0000:3b:00", up=True)
    bench.machine.set_num_vfs(PF, 2)
    done = ops(bench.apply(WANTED))
    assert done[:3] == ["driver.unbind", "driver.unbind", "eswitch.set_mode"]
    assert [vf.driver for vf in bench.pf().vfs] == ["mlx5_core"] * 2


def test_connectx_4_looks_at_ports_only_when_told_to(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-4lx", address="0000:3b:00", up=True)
    assert bench.pf().inline_mode == "link"
    done = ops(bench.apply(WANTED))
    assert done.index("eswitch.set_mode") < done.index("eswitch.set_inline_mode") < done.index("driver.bind")
    pf = bench.pf()
    assert pf.netdev is not None
    assert (pf.inline_mode, pf.params["flow_steering_mode"], pf.netdev.tc_offload) == ("transport", "dmfs", True)
    assert bench.steps(WANTED) == ()
    bench.release()
    assert bench.pf().inline_mode == "link"


def test_an_inline_mode_that_in_use_vfs_would_not_hear_of_is_told(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-4lx", address="0000:3b:00", up=True)
    bench.apply(WANTED)
    bench.machine.set_inline_mode(PF, "link")
    plan = bench.node.plan(bench.node.observe(), WANTED)
    assert plan.steps == ()
    (problem,) = plan.problems
    assert "inline mode is link" in problem.message


def test_a_busy_eswitch_is_told_in_the_drivers_words(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    fault = host.fail("set_eswitch_mode *", error=16, text="mlx5_core: Can't change mode, E-Switch is busy")
    seen = bench.node.observe()
    failed = bench.node.perform(bench.node.plan(seen, WANTED), seen, WANTED).failed
    assert failed is not None
    assert (failed.reason, "E-Switch is busy" in failed.detail) == (DeviceBusy.reason, True)
    fault.clear()
    bench.apply(WANTED)
    assert bench.pf().eswitch_mode is SWITCHDEV


def test_representors_in_use_keep_their_names(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-5", address="0000:3b:00", names=["ens41f0np0", "ens41f1np1"], up=True)
    bench.apply(WANTED)
    names = {vf.index: vf.representor for vf in bench.pf().vfs}
    links = host.kernel.links.links()
    host.kernel.links.rename(links[str(names[0])].ifindex, "0123456789ab_h")
    host.kernel.links.rename(links[str(names[1])].ifindex, "eth7")
    host.kernel.links.set_link(links[str(names[1])].ifindex, up=True)
    assert bench.steps(WANTED) == ()
    host.kernel.links.set_link(links[str(names[1])].ifindex, up=False)
    assert ops(bench.apply(WANTED)) == ["eswitch.name_representors"]
    assert [vf.representor for vf in bench.pf().vfs] == ["0123456789ab_h", "ens41f0np0_1"]


def test_offload_that_was_switched_off_is_drift(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    bench.apply(WANTED)
    bench.machine.set_tc_offload(PF, False)
    assert ops(bench.apply(WANTED)) == ["link.set_offload"]
    assert bench.steps(WANTED) == ()


def test_the_script_of_it(host: FakeHost, bench: Bench) -> None:
    host.add_card("connectx-4lx", address="0000:3b:00", names=["ens41f0np0"], up=True)
    seen = bench.node.observe()
    script = shell_script(bench.node.plan(seen, WANTED), seen.inventory)
    for line in (
        "devlink dev param set pci/0000:3b:00.0 name flow_steering_mode value smfs cmode runtime || true",
        "devlink dev eswitch set pci/0000:3b:00.0 mode switchdev",
        "devlink dev eswitch set pci/0000:3b:00.0 inline-mode transport || true",
        "ethtool -K ens41f0np0 hw-tc-offload on || true",
        "representor 0000:3b:00.0 1 ens41f0np0_1 || true",
    ):
        assert line in script
