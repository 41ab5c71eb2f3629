"""What is learned from performing a plan: who has to look again, what was in vain, what the journal lacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from virtfn.daemon.decision import Decision, has_error
from virtfn.errors import NotEffective
from virtfn.journal import Record
from virtfn.kube.meter import Meter
from virtfn.model import DesiredPf, Disruption, Outcome, OutcomeStatus, PciAddress, Step, StepOutcome, steps

logger = logging.getLogger(__name__)

_REFRESHING: Final = frozenset({steps.SET_NUM_VFS, steps.SET_ESWITCH_MODE, steps.BIND_DRIVER, steps.UNBIND_DRIVER})


class StepListener:
    """Tells the log and the meter of each step."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def begin(self, number: int, step: Step) -> None:
        """See `virtfn.performing.Listener`."""
        logger.info("step %d: %s %s (%s)", number, step.target, steps.describe(step), step.why)

    def end(self, number: int, outcome: StepOutcome) -> None:
        """See `virtfn.performing.Listener`."""
        self._meter.seconds("steps", outcome.seconds, of=outcome.step.op)
        if outcome.status is OutcomeStatus.FAILED:
            self._meter.count("step_failures", of=outcome.step.op)
            logger.info("step %d failed", number)


def makes_devices_anew(step: Step) -> bool:
    """Whether a device plugin that runs has to look again after the step."""
    return step.disruption >= Disruption.REFRESH or step.op in _REFRESHING


def is_unrecorded(want: DesiredPf, decision: Decision, records: Mapping[PciAddress, Record]) -> bool:
    """Whether the PF is as wanted, and the journal does not say so."""
    targets = (str(want.address), want.address.slot)
    if any(step.target in targets for step in decision.whole.steps) or has_error(want.address, decision.problems):
        return False
    record = records.get(want.address)
    if want.release:
        return record is not None
    return record is None or record.applied != want or bool(record.owed)


def in_vain(outcome: Outcome, after: Decision | None) -> tuple[str, str]:
    """What was in vain, and the reason's word; both empty if nothing was."""
    if outcome.failed is not None:
        return "; ".join(each.detail for each in outcome.failures), outcome.failed.reason
    done = [step.step for step in outcome.steps if step.status is OutcomeStatus.DONE]
    again = [step for step in after.due.steps if not step.optional and _among(step, done)] if after is not None else []
    if not again:
        return "", ""
    first = again[0]
    message = (
        f"{first.target}: every step was done, and {len(again)} would be needed again, first: {first.op} ({first.why})"
    )
    return message, NotEffective.reason


def _among(step: Step, done: Sequence[Step]) -> bool:
    return any((step.op, step.target, step.args) == (other.op, other.target, other.args) for other in done)
