"""What the daemon says of its node: the whole of what it owns in the node state's status. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from virtfn.daemon.breaker import Blocked
from virtfn.daemon.decision import Decision
from virtfn.daemon.drift import Drift, Hold, is_sure
from virtfn.daemon.gate import Action, Verdict
from virtfn.daemon.plan_report import LONGEST_TEXT, plan_status
from virtfn.daemon.record import Attempt
from virtfn.daemon.request import errors_of
from virtfn.journal import Record
from virtfn.kube.conditions import Condition, Status
from virtfn.model import Disruption, Inventory, PciAddress, Pf, Problem, Severity
from virtfn.model.crd import (
    MOST_STATUS_ATTEMPTS,
    AttemptStatus,
    DevicePluginStatus,
    InterfaceStatus,
    NodeStateStatus,
    SystemStatus,
)
from virtfn.model.handshake import DrainState, SyncStatus
from virtfn.model.wording import few_texts, number_of
from virtfn.policy import status_bridges, status_interfaces

READY: Final = "Ready"
DRIFTED: Final = "Drifted"
BLOCKED: Final = "Blocked"
IN_SYNC: Final = "InSync"
"""Reason of the condition Ready where it is true."""
_MOST_TOLD: Final = 8
"""Problems or devices that a text names; more are counted."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that the daemon has to say at one moment."""

    inventory: Inventory
    records: Mapping[PciAddress, Record]
    generation: int
    decision: Decision | None = None
    """None: what is wanted could not be read, or nothing is wanted yet."""
    refused: str = ""
    """Why it could not be read."""
    refused_reason: str = ""
    note: str = ""
    """What is waited for, where nothing is wanted yet."""
    acting: bool = False
    """The plan is about to be performed."""
    rebooting: bool = False
    attempts: tuple[Attempt, ...] = ()
    device_plugin: DevicePluginStatus = field(default_factory=DevicePluginStatus)
    offer_problems: tuple[Problem, ...] = ()
    """Why the device plugin cannot offer all that it should."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How the node is doing, in the words of the status."""

    sync: SyncStatus
    error: str
    reason: str
    """Of the condition Ready."""
    message: str


def status_of(report: Report) -> NodeStateStatus:
    """The status without its conditions."""
    judged = judge_report(report)
    decision = report.decision
    return NodeStateStatus(
        interfaces=_interfaces(report.inventory, report.records),
        bridges=status_bridges(report.inventory),
        system=SystemStatus(rdmaMode=mode) if (mode := report.inventory.platform.rdma_mode) else None,
        syncStatus=judged.sync.value,
        lastSyncError=judged.error,
        observedGeneration=report.generation,
        neededState=_needed(report).value,
        plan=plan_status(decision.due, generation=report.generation) if decision is not None else None,
        devicePlugin=report.device_plugin,
        attempts=tuple(_attempt(attempt) for attempt in report.attempts[-MOST_STATUS_ATTEMPTS:]),
    )


def conditions_of(report: Report) -> tuple[Condition, ...]:
    """The daemon's conditions."""
    judged = judge_report(report)
    decision = report.decision
    ready = judged.sync is SyncStatus.SUCCEEDED and judged.reason == IN_SYNC
    drifted, blocked = (decision.drifts, decision.blocked) if decision is not None else ((), ())
    generation = report.generation
    return (
        Condition(READY, Status.of(ready), judged.reason, judged.message, generation),
        _drift_condition(drifted, generation),
        _blocked_condition(blocked, generation),
    )


def judge_report(report: Report) -> Judgement:
    """The judgement. What has failed is told before what goes on, and that before what is well."""
    if report.refused:
        return Judgement(SyncStatus.FAILED, report.refused, report.refused_reason, report.refused)
    decision = report.decision
    if decision is None:
        return Judgement(SyncStatus.IN_PROGRESS, "", "WaitingForRequest", report.note)
    if report.rebooting:
        message = f"the node reboots: {_whys(decision)}"
        return Judgement(SyncStatus.IN_PROGRESS, "", "Rebooting", message)
    errors = errors_of((*decision.problems, *report.offer_problems))
    if decision.blocked:
        text = _several(block.message for block in decision.blocked)
        return Judgement(SyncStatus.FAILED, text, decision.blocked[0].reason.value, text)
    if errors:
        text = _several(str(error) for error in errors)
        return Judgement(SyncStatus.FAILED, text, errors[0].reason, text)
    verdict = decision.verdict
    if report.acting and verdict.action is Action.PERFORM:
        message = f"{len(decision.due.steps)} steps are performed: {_whys(decision)}"
        return Judgement(SyncStatus.IN_PROGRESS, "", "Applying", message)
    if decision.failure is not None:
        return Judgement(SyncStatus.FAILED, decision.failure.message, decision.failure.reason, decision.failure.message)
    return _judge_verdict(decision, verdict)


def _judge_verdict(decision: Decision, verdict: Verdict) -> Judgement:
    if verdict.action is Action.REFUSE:
        return Judgement(SyncStatus.FAILED, verdict.message, verdict.reason, verdict.message)
    if verdict.action is Action.WAIT:
        return Judgement(SyncStatus.IN_PROGRESS, "", verdict.reason, verdict.message)
    if verdict.action is Action.PERFORM:
        return Judgement(SyncStatus.IN_PROGRESS, "", "Applying", _whys(decision))
    if drifted := [drift for drift in decision.drifts if is_sure(drift)]:
        return Judgement(SyncStatus.SUCCEEDED, "", "Drifted", _several(map(_drift_text, drifted)))
    return Judgement(SyncStatus.SUCCEEDED, "", IN_SYNC, _all_well(decision))


def _all_well(decision: Decision) -> str:
    count = sum(1 for pf in decision.desired.pfs if not pf.release)
    well = f"{number_of(count, 'PF')} as wanted" if count else "nothing is wanted of this node"
    warnings = [str(problem) for problem in decision.problems if problem.severity is Severity.WARNING]
    return _several([well, *warnings])


def _needed(report: Report) -> DrainState:
    if report.decision is None:
        return DrainState.IDLE
    return report.decision.verdict.needed


# --- conditions -------------------------------------------------------------------------------------------------------


def _drift_condition(drifted: tuple[Drift, ...], generation: int) -> Condition:
    sure = [drift for drift in drifted if is_sure(drift)]
    if not sure:
        return Condition(DRIFTED, Status.FALSE, "NoDrift", "nobody else changed what was configured", generation)
    held = next((drift.hold for drift in sure if drift.hold is not None), None)
    reason = held.value if held is not None else "DriftBeingRepaired"
    return Condition(DRIFTED, Status.TRUE, reason, _several(map(_drift_text, sure)), generation)


def _drift_text(drift: Drift) -> str:
    what = "; ".join(dict.fromkeys(step.why for step in drift.steps))
    match drift.hold:
        case Hold.REPORTED:
            done = "the policy wants it to be told only"
        case Hold.IN_USE if any(step.disruption >= Disruption.REBOOT for step in drift.steps):
            done = "repair takes a reboot, which the policy does not want for it"
        case Hold.IN_USE:
            done = "repair would take traffic from VFs in use, which the policy does not want"
        case _:
            done = "it is repaired"
    return f"{drift.address}: {what} ({done})"


def _blocked_condition(blocked: tuple[Blocked, ...], generation: int) -> Condition:
    if not blocked:
        return Condition(BLOCKED, Status.FALSE, "NotBlocked", "no drain or reboot was given up", generation)
    text = _several(block.message for block in blocked)
    return Condition(BLOCKED, Status.TRUE, blocked[0].reason.value, text, generation)


# --- parts ------------------------------------------------------------------------------------------------------------


def _interfaces(inventory: Inventory, records: Mapping[PciAddress, Record]) -> tuple[InterfaceStatus, ...]:
    return tuple(
        found.model_copy(update=_recorded(pf, found, records[pf.address])) if pf.address in records else found
        for pf, found in zip(inventory.pfs(), status_interfaces(inventory), strict=True)
    )


def _recorded(pf: Pf, found: InterfaceStatus, record: Record) -> dict[str, Any]:
    """What only the journal knows of a PF. One that was renamed for the bridge that it is in has the name of before as
    another one, so that policies that select it by that name do not lose it."""
    more: dict[str, Any] = {}
    if record.applied is not None and record.applied.externally_managed:
        more["externally_managed"] = True
    before = record.baseline.name
    if pf.netdev is not None and pf.netdev.in_bridge and before not in ("", found.name, *found.alt_names):
        more["alt_names"] = (*found.alt_names, before)
    return more


def _attempt(attempt: Attempt) -> AttemptStatus:
    return AttemptStatus(
        kind=attempt.kind.value,
        cause=f"{attempt.target}: {attempt.cause}"[:LONGEST_TEXT],
        seen=attempt.seen[:LONGEST_TEXT],
        count=attempt.count,
        last=attempt.at,
    )


def _whys(decision: Decision) -> str:
    return _several(dict.fromkeys(f"{step.target}: {step.why}" for step in decision.due.steps))


def _several(texts: Iterable[str]) -> str:
    return few_texts(list(texts), most=_MOST_TOLD)
