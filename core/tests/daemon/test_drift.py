"""Drift: read several times, told, and repaired as far as the policy lets it be."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.daemon.drift import Cause, Drift, Hold, causes, drifts, read_again
from virtfn.journal import Record
from virtfn.model import DesiredPf, DesiredState, Disruption, PciAddress, Plan, Step
from virtfn.model.crd import DriftMode
from virtfn.model.desired import PfIdentity
from virtfn.model.pci import PciId

Rig = Any
PF = PciAddress.parse("0000:01:00.0")
VF = PciAddress.parse("0000:01:10.0")


def record(applied: DesiredPf | None) -> dict[PciAddress, Record]:
    baseline = DesiredPf(address=PF, num_vfs=0)
    return {PF: Record(version=1, identity=PfIdentity(PciId("8086", "10c9")), baseline=baseline, applied=applied)}


def step(*affects: PciAddress, disruption: Disruption = Disruption.PF, optional: bool = False) -> Step:
    return Step("sriov.set_numvfs", str(PF), "why", disruption=disruption, affects=affects, optional=optional)


@pytest.mark.parametrize(
    ("applied", "settled", "cause"),
    [
        (DesiredPf(address=PF, num_vfs=4), (PF,), Cause.DRIFT),
        (DesiredPf(address=PF, num_vfs=4), (), Cause.BOOT),
        (DesiredPf(address=PF, num_vfs=3), (PF,), Cause.REQUEST),
        (None, (PF,), Cause.REQUEST),
    ],
)
def test_why_a_pf_has_something_to_be_done(
    applied: DesiredPf | None, settled: tuple[PciAddress, ...], cause: Cause
) -> None:
    desired = DesiredState(pfs=(DesiredPf(address=PF, num_vfs=4),))
    assert causes(Plan((step(),)), desired, record(applied), settled=settled) == {PF: cause}
    assert causes(Plan(), desired, record(applied), settled=settled) == {}
    assert causes(Plan((step(optional=True),)), desired, record(applied), settled=settled) == {}


def test_the_return_of_a_pf_is_never_drift() -> None:
    back = DesiredPf(address=PF, num_vfs=0, release=True)
    assert causes(Plan((step(),)), DesiredState(pfs=(back,)), record(back), settled=(PF,)) == {PF: Cause.REQUEST}


def test_readings_count_while_they_are_the_same() -> None:
    one, other, why = Plan((step(),)), Plan((step(disruption=Disruption.VFS),)), {PF: Cause.DRIFT}
    first = read_again({}, one, why, count=True)
    assert first[PF][1] == 1
    again = read_again(first, one, why, count=True)
    assert again[PF][1] == 2
    assert read_again(again, one, why, count=False) == again
    assert read_again(again, other, why, count=True)[PF][1] == 1
    assert read_again(again, one, {PF: Cause.REQUEST}, count=True) == {}


@pytest.mark.parametrize(
    ("mode", "times", "in_use", "steps", "hold"),
    [
        (DriftMode.REPAIR_IF_FREE, 2, (), (step(VF),), Hold.SUSPECTED),
        (DriftMode.REPAIR_IF_FREE, 3, (), (step(VF),), None),
        (DriftMode.REPAIR_IF_FREE, 3, (VF,), (step(VF),), Hold.IN_USE),
        (DriftMode.REPAIR_IF_FREE, 3, (VF,), (step(),), None),
        (DriftMode.REPAIR_IF_FREE, 3, (), (step(disruption=Disruption.REBOOT),), Hold.IN_USE),
        (DriftMode.REPAIR_WITH_DRAIN, 3, (VF,), (step(VF),), None),
        (DriftMode.REPORT, 2, (), (step(),), Hold.SUSPECTED),
        (DriftMode.REPORT, 3, (), (step(),), Hold.REPORTED),
    ],
)
def test_what_is_done_about_it(
    mode: DriftMode, times: int, in_use: tuple[PciAddress, ...], steps: tuple[Step, ...], hold: Hold | None
) -> None:
    readings = {PF: ("digest", times)}
    found = drifts(Plan(steps), readings, {PF: mode}, enough=3, in_use=lambda: frozenset(in_use))
    assert found == (Drift(PF, mode, steps, hold),)


def test_a_moment_is_not_drift(rig: Rig) -> None:
    rig.want(rig.interface())
    rig.turn()
    rig.machine.set_link(rig.PF, up=False)
    turn = rig.turn()
    assert (turn.again, rig.judged.reason) == (5.0, "InSync")
    rig.machine.set_link(rig.PF, up=True)
    writes = len(rig.host.writes)
    rig.turns(100.0)
    assert len(rig.host.writes) == writes


def test_drift_is_told_and_repaired_after_three_readings(rig: Rig) -> None:
    rig.want(rig.interface())
    rig.turn()
    rig.machine.set_num_vfs(rig.PF, 0)
    for _ in range(10):
        rig.turn()  # events come as they like: they are not readings of their own
    assert rig.vfs() == 0
    begun = rig.clock.seconds
    rig.turns(30.0)
    assert rig.vfs() == 4
    assert rig.clock.seconds - begun < 45.0
    acting = next(told for told in rig.told if told.acting and told.decision.drifts)
    assert acting.decision.drifts[0].hold is None
    assert rig.status.sync_status == "Succeeded"


def test_drift_that_is_to_be_told_only(rig: Rig) -> None:
    rig.want(rig.interface(driftMode="Report"))
    rig.turn()
    rig.machine.set_num_vfs(rig.PF, 0)
    rig.turns(120.0)
    assert rig.vfs() == 0
    assert (rig.status.sync_status, rig.judged.reason, rig.status.plan) == ("Succeeded", "Drifted", None)
    assert rig.tally.last_level("drifted") == 1
    assert "4 VFs wanted, 0 seen" in rig.judged.message


def test_drift_of_vfs_in_use_waits_until_they_are_free(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.machine.set_num_vfs(rig.PF, 3)
    for vf in rig.machine.vf_addresses(rig.PF).values():
        rig.machine.bind_driver(vf, None)
    rig.host.move_to_namespace(rig.machine.vf_addresses(rig.PF)[1])
    rig.turns(120.0)
    assert (rig.vfs(), rig.judged.reason) == (3, "Drifted")
    assert rig.status.needed_state == "Idle", "no drain is made for it"
    assert rig.decision.drifts[0].hold is Hold.IN_USE
    rig.machine.unbind_driver(rig.machine.vf_addresses(rig.PF)[1])
    rig.turns(60.0)
    assert (rig.vfs(), rig.status.sync_status) == (2, "Succeeded")
    assert all(told.decision.verdict.needed == "Idle" for told in rig.told)


def test_drift_that_a_drain_may_be_made_for(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2, driftMode="RepairWithDrain"))
    rig.turn()
    rig.machine.set_num_vfs(rig.PF, 3)
    rig.turns(60.0)
    assert (rig.vfs(), rig.status.needed_state) == (3, "Drain_Required")
    rig.drain()
    rig.turn()
    assert (rig.vfs(), rig.status.needed_state) == (2, "Idle")


def test_after_a_boot_the_vfs_are_made_at_once(rig: Rig) -> None:
    rig.want(rig.interface(driftMode="Report"))
    rig.turn()
    rig.host.reboot()
    rig.restart()
    rig.turn()
    assert rig.vfs() == 4
    assert not any(told.decision.drifts for told in rig.told)


def test_after_a_restart_without_a_boot_it_is_still_drift(rig: Rig) -> None:
    rig.want(rig.interface(driftMode="Report"))
    rig.turn()
    rig.machine.set_num_vfs(rig.PF, 0)
    rig.restart()
    rig.turns(60.0)
    assert (rig.vfs(), rig.judged.reason) == (0, "Drifted")


def test_drift_of_one_pf_does_not_hold_up_another(rig: Rig) -> None:
    rig.want(rig.interface(driftMode="Report"))
    rig.turn()
    rig.machine.set_num_vfs(rig.PF, 0)
    rig.turns(60.0)
    rig.want(rig.interface(driftMode="Report"), rig.interface(rig.OTHER, vfs=3), generation=3)
    rig.turn()
    assert (rig.vfs(), rig.vfs(rig.OTHER)) == (0, 3)
    assert rig.judged.reason == "Drifted"
