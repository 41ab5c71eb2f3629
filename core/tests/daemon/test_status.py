"""What the status says: failures first, what goes on then, and all is well last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.daemon.breaker import Blocked, Refusal
from virtfn.daemon.decision import Decision, Failure
from virtfn.daemon.drift import Drift, Hold
from virtfn.daemon.gate import Action, Verdict
from virtfn.daemon.plan_report import plan_status
from virtfn.daemon.record import Attempt, AttemptKind
from virtfn.daemon.status import Report, conditions_of, judge_report, status_of
from virtfn.model import DesiredState, Disruption, Inventory, PciAddress, Plan, Problem, Severity, Step
from virtfn.model.crd import DriftMode
from virtfn.model.handshake import DrainState

Rig = Any
PF = PciAddress.parse("0000:01:00.0")
STEP = Step("sriov.set_numvfs", str(PF), "4 VFs wanted, 3 seen", args={"count": 4}, disruption=Disruption.PF)
PLAN = Plan((STEP,))
WELL = Decision(
    desired=DesiredState(),
    whole=Plan(),
    due=Plan(),
    due_desired=DesiredState(),
    verdict=Verdict(Action.NOTHING),
    causes={},
    readings={},
)
DRAIN = replace(
    WELL,
    whole=PLAN,
    due=PLAN,
    verdict=Verdict(Action.WAIT, DrainState.DRAIN_REQUIRED, "WaitingForDrain", "a VF would lose traffic"),
)
APPLY = replace(DRAIN, verdict=Verdict(Action.PERFORM))
ERROR = Problem(str(PF), "too many", reason="TooManyVfs")
WARNING = Problem(str(PF), "as it is", reason="X", severity=Severity.WARNING)
FAILED = replace(DRAIN, failure=Failure("key", "DeviceBusy", "a VF is held open", 1, again_at=0.0))
BLOCKED = replace(WELL, blocked=(Blocked(str(PF), Refusal.REBOOT_INEFFECTIVE, "in vain"),))


def report(decision: Decision | None, **more: Any) -> Report:
    return Report(Inventory(), {}, 7, decision, **more)


@pytest.mark.parametrize(
    ("said", "sync", "reason"),
    [
        (report(WELL), "Succeeded", "InSync"),
        (report(replace(WELL, problems=(WARNING,))), "Succeeded", "InSync"),
        (report(DRAIN), "InProgress", "WaitingForDrain"),
        (report(APPLY, acting=True), "InProgress", "Applying"),
        (report(replace(APPLY, failure=FAILED.failure), acting=True), "InProgress", "Applying"),
        (report(APPLY, rebooting=True), "InProgress", "Rebooting"),
        (report(FAILED), "Failed", "DeviceBusy"),
        (report(BLOCKED), "Failed", "RebootIneffective"),
        (report(replace(WELL, problems=(WARNING, ERROR))), "Failed", "TooManyVfs"),
        (report(replace(DRAIN, problems=(ERROR,))), "Failed", "TooManyVfs"),
        (
            report(replace(WELL, verdict=Verdict(Action.REFUSE, reason="VfsInUse", message="used"))),
            "Failed",
            "VfsInUse",
        ),
        (report(WELL, refused="no", refused_reason="InvalidDocument"), "Failed", "InvalidDocument"),
        (report(None, refused="no", refused_reason="InvalidDocument"), "Failed", "InvalidDocument"),
    ],
)
def test_the_judgement(said: Report, sync: str, reason: str) -> None:
    judged = judge_report(said)
    assert (judged.sync, judged.reason) == (sync, reason)
    assert bool(judged.error) == (sync == "Failed")
    ready = conditions_of(said)[0]
    assert (ready.type, ready.status.value == "True") == ("Ready", reason == "InSync")
    assert all(condition.message for condition in conditions_of(said)), "an old server takes an empty text for null"
    assert {condition.observed_generation for condition in conditions_of(said)} == {7}


@pytest.mark.parametrize(
    ("hold", "status", "reason", "ready"),
    [
        (Hold.SUSPECTED, "False", "NoDrift", "InSync"),
        (Hold.REPORTED, "True", "DriftReported", "Drifted"),
        (Hold.IN_USE, "True", "DriftInUse", "Drifted"),
        (None, "True", "DriftBeingRepaired", "Drifted"),
    ],
)
def test_drift(hold: Hold | None, status: str, reason: str, ready: str) -> None:
    drift = Drift(PF, DriftMode.REPORT, (STEP,), hold)
    said = report(replace(WELL, drifts=(drift,)))
    condition = conditions_of(said)[1]
    assert (condition.type, condition.status.value, condition.reason) == ("Drifted", status, reason)
    assert judge_report(said).reason == ready
    assert judge_report(said).sync == "Succeeded"
    assert ("4 VFs wanted, 3 seen" in condition.message) == (status == "True")


def test_what_is_needed_and_planned() -> None:
    status = status_of(report(DRAIN)).to_wire()
    assert status["neededState"] == "Drain_Required"
    assert status["observedGeneration"] == 7
    plan = status["plan"]
    assert (plan["generation"], plan["disruption"]) == (7, "PF")
    assert plan["steps"] == [
        {
            "op": "sriov.set_numvfs",
            "target": str(PF),
            "args": '{"count":4}',
            "disruption": "PF",
            "why": "4 VFs wanted, 3 seen",
        }
    ]
    assert status_of(report(WELL)).to_wire()["neededState"] == "Idle"
    assert "plan" not in status_of(report(WELL)).to_wire()
    assert status_of(report(None, refused="no", refused_reason="X")).needed_state == "Idle"


def test_a_long_plan_is_told_as_far_as_there_is_room() -> None:
    told = plan_status(Plan((STEP,) * 70), generation=1)
    assert told is not None
    assert (len(told.steps), told.steps_left_out) == (64, 6)
    long = replace(STEP, why="x" * 2000, args={"a": "y" * 2000})
    told = plan_status(Plan((long,)), generation=1)
    assert told is not None
    assert (len(told.steps[0].why), len(told.steps[0].args)) == (1024, 1024)


def test_many_errors_are_counted() -> None:
    errors = tuple(replace(ERROR, message=f"too many {place}") for place in range(9))
    assert judge_report(report(replace(WELL, problems=errors))).error.endswith("; and 1 more")


def test_attempts_are_shown() -> None:
    attempt = Attempt(
        AttemptKind.REBOOT, "0000:01:00", "key", "the knob is off", "boot", "2030-01-01T00:00:00Z", seen="s"
    )
    (shown,) = status_of(report(BLOCKED, attempts=(attempt,))).attempts
    assert (shown.kind, shown.count, shown.last, shown.seen) == ("Reboot", 1, "2030-01-01T00:00:00Z", "s")
    assert shown.cause == "0000:01:00: the knob is off"


def test_interfaces_that_somebody_else_manages_are_marked(rig: Rig) -> None:
    rig.machine.set_link(rig.PF, up=True)
    rig.machine.set_num_vfs(rig.PF, 2)
    rig.want(rig.interface(vfs=2, externallyManaged=True))
    rig.turns(60.0)
    assert [found.externally_managed for found in rig.status.interfaces] == [True, False]


def test_a_pf_that_was_renamed_for_the_bridge_that_it_is_in_can_still_be_selected_by_its_name(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    netdev = rig.host.function(rig.PF).netdev
    rig.host.model.net.rename(netdev, "br-underlay")
    rig.turn()
    names = rig.status.interfaces[0].alt_names
    assert rig.status.interfaces[0].name == "br-underlay"
    netdev.master = 99
    rig.turn()
    assert rig.status.interfaces[0].alt_names == (*names, "eth0")


def test_vfs_of_somebody_else_are_waited_for_and_offered_when_they_come(rig: Rig) -> None:
    rig.machine.set_link(rig.PF, up=True)
    rig.want(rig.interface(vfs=2, externallyManaged=True))
    rig.turns(60.0)
    before = rig.status.device_plugin
    rig.machine.set_num_vfs(rig.PF, 2)
    rig.turns(60.0)
    assert rig.status.sync_status == "Succeeded"
    assert rig.status.device_plugin.resources == ("net",)
    assert rig.status.device_plugin.revision != before.revision, "it has to look again"
