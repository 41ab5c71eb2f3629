"""From what is seen, wanted and remembered to what is to be done now. Pure: nothing is read or written here.

The order of the rules: what somebody else changed and is not to be repaired is left out, then what was tried in vain
before, then what only a person can do. What is left has to pass the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from virtfn.daemon.breaker import (
    Blocked,
    Want,
    judge,
    power_cycles,
    takes_reboot,
    wants,
    without,
    without_vain_resets,
)
from virtfn.daemon.drift import Cause, Drift, Readings, causes, drifts, read_again, steps_of
from virtfn.daemon.gate import Action, Disrupt, Verdict, need_of, pass_alone, pass_gate
from virtfn.daemon.plan_report import fingerprint
from virtfn.daemon.record import NodeRecord
from virtfn.daemon.request import Reading, Request
from virtfn.journal import Record
from virtfn.model import DesiredPf, DesiredState, PciAddress, Plan, Problem, Severity
from virtfn.model.codec import to_data
from virtfn.model.crd import DriftMode
from virtfn.model.handshake import DrainState
from virtfn.model.steps import NODE


@dataclass(frozen=True, slots=True)
class Failure:
    """What was tried in vain."""

    key: str
    """Of what was wanted; see `key_of`."""
    reason: str
    message: str
    count: int
    """How often in a row."""
    again_at: float
    """When to try again, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one look at the node hands to the next."""

    record: NodeRecord
    """What is on disk."""
    readings: Readings
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How the daemon is set up."""

    drift_readings: int = 3
    """Equal readings that make a drift."""
    disrupt: Disrupt | None = None
    """How far to go without a controller; None: there is one, and it drains."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now, and why the rest is not."""

    desired: DesiredState
    """All that is wanted."""
    whole: Plan
    """All that would have to be done for it."""
    due: Plan
    """What of it is to be done now."""
    due_desired: DesiredState
    """What is wanted of the PFs that `due` is about."""
    verdict: Verdict
    causes: Mapping[PciAddress, Cause]
    readings: Readings
    drifts: tuple[Drift, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    wants: tuple[Want, ...] = ()
    """The drains and reboots that `due` takes."""
    failure: Failure | None = None
    """The last try to do the very same."""
    problems: tuple[Problem, ...] = ()

    @property
    def in_sync(self) -> tuple[PciAddress, ...]:
        """The PFs that are as wanted now."""
        return tuple(
            pf.address
            for pf in self.desired.pfs
            if not pf.release and not steps_of(self.whole, pf.address) and not has_error(pf.address, self.problems)
        )


def key_of(plan: Plan, desired: DesiredState, request: Request) -> str:
    """Digest of what is wanted of a plan's PFs: something else wanted is tried at once, whatever failed before."""
    wanted = [str(to_data(pf)) for pf in desired.pfs if steps_of(plan, pf.address)]
    wanted += [str(desired.rdma_mode)] if any(step.target == NODE for step in plan.steps) else []
    return fingerprint((), also=[*wanted, request.handshake.retry])


def _is_applied(want: DesiredPf, records: Mapping[PciAddress, Record]) -> bool:
    record = records.get(want.address)
    return record is not None and not want.release and record.applied == want


def has_error(address: PciAddress, problems: Iterable[Problem]) -> bool:
    """Whether something stops the PF, or the card it is on."""
    about = (str(address), address.slot)
    return any(problem.severity is Severity.ERROR and problem.object.split(" ")[0] in about for problem in problems)


def decide(
    request: Request,
    reading: Reading,
    records: Mapping[PciAddress, Record],
    memory: Memory,
    *,
    make_plan: Callable[[DesiredState], Plan],
    in_use: Callable[[], frozenset[PciAddress]],
    rules: Rules,
    now: float,
    count: bool,
) -> Decision:
    """The decision.

    :param records: the journal.
    :param make_plan: the plan from what is seen to a desired state.
    :param in_use: VFs in use; asked only if it matters.
    :param now: monotonic seconds.
    :param count: whether this look at drift is one of its own; see `read_again`.
    """

    def plan(desired: DesiredState) -> Plan:
        return without_vain_resets(make_plan(desired), memory.record.attempts, retry=request.handshake.retry)

    desired = reading.desired
    whole = plan(desired)
    why = causes(whole, desired, records, settled=memory.record.settled)
    readings = read_again(memory.readings, whole, why, count=count)
    drifted = drifts(whole, readings, reading.modes, enough=rules.drift_readings, in_use=in_use)
    kept = {drift.address for drift in drifted if drift.hold is not None}
    # What a driver may refuse was tried when it was applied; to ask again and again would never come to rest.
    planned = {step.target for step in whole.steps}
    kept |= {
        want.address
        for want in desired.pfs
        if want.address not in why and planned & {str(want.address), want.address.slot} and _is_applied(want, records)
    }
    due, due_desired = _leave_out(kept, whole, desired, plan)

    blocked = list(power_cycles(due))
    for want in wants(due, due_desired, retry=request.handshake.retry):
        refused = judge(want, memory.record.attempts, boot_id=memory.record.boot_id)
        blocked += [refused] if refused is not None else []
    if blocked:
        targets = {block.target for block in blocked}
        kept |= set(without(due_desired, targets))
        due, due_desired = _leave_out(kept, whole, desired, plan, node=NODE in targets)
        if any(step.target in targets and takes_reboot(step) for step in due.steps):  # PFs need it of the node
            kept |= {pf.address for pf in desired.pfs}
            due, due_desired = _leave_out(kept, whole, desired, plan, node=True)

    free = frozenset(
        vf
        for drift in drifted
        if drift.hold is None and drift.mode is DriftMode.REPAIR_IF_FREE
        for step in drift.steps
        for vf in step.affects
    )
    if rules.disrupt is None:
        verdict = pass_gate(due, request.handshake, free=free)
    else:
        verdict = pass_alone(due, rules.disrupt, in_use=in_use() if due.affects else frozenset())
    failure = (
        memory.failure
        if memory.failure is not None and memory.failure.key == key_of(due, due_desired, request)
        else None
    )
    if verdict.action is Action.PERFORM and failure is not None and now < failure.again_at:
        needed = verdict.needed if need_of(due, free=free) is not DrainState.IDLE else DrainState.IDLE
        verdict = Verdict(Action.WAIT, needed, failure.reason, failure.message)
    return Decision(
        desired=desired,
        whole=whole,
        due=due,
        due_desired=due_desired,
        verdict=verdict,
        causes=why,
        readings=readings,
        drifts=drifted,
        blocked=tuple(blocked),
        wants=tuple(wants(due, due_desired, retry=request.handshake.retry)),
        failure=failure,
        problems=tuple(dict.fromkeys((*reading.problems, *whole.problems))),
    )


def _leave_out(
    kept: set[PciAddress],
    whole: Plan,
    desired: DesiredState,
    plan: Callable[[DesiredState], Plan],
    *,
    node: bool = False,
) -> tuple[Plan, DesiredState]:
    """The plan without some PFs.

    :param node: whether what is wanted of the node itself is left out too. PFs do not wait for it.
    """
    if not kept and not node:
        return whole, desired
    rest = replace(desired, pfs=tuple(pf for pf in desired.pfs if pf.address not in kept))
    if node:
        rest = replace(rest, rdma_mode=None, whole=False)
    return plan(rest), rest
