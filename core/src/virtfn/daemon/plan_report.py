"""A plan as it is told before it is performed: its digest, and what a node state's status shows of it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from virtfn.model import Disruption, Plan, Step
from virtfn.model.crd import MOST_STATUS_STEPS, PlanStatus, StepStatus

LONGEST_TEXT: Final = 1024
"""Characters of a step's arguments and reason, and of an attempt's texts: the definition allows no more."""


def digest_of(plan: Plan) -> str:
    """Tells one plan from another: 16 hex digits over what is done to what, and who loses traffic.

    Reasons are not in it: a drain is good for the same steps, in whatever words they are explained.
    """
    return fingerprint(plan.steps, also=[str(address) for address in plan.affects])


def fingerprint(steps: Iterable[Step], *, also: Iterable[str] = ()) -> str:
    """16 hex digits over steps and whatever words belong to them."""
    told = [[step.op, step.target, step.args, step.disruption.name] for step in steps]
    text = json.dumps([told, list(also)], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan_status(plan: Plan, *, generation: int) -> PlanStatus | None:
    """The plan for `status.plan`; None if there is nothing to do."""
    if not plan.steps:
        return None
    shown = plan.steps[:MOST_STATUS_STEPS]
    return PlanStatus(
        digest=digest_of(plan),
        generation=generation,
        disruption=plan.disruption.name,
        affects=tuple(str(address) for address in plan.affects),
        steps=tuple(_step_status(step) for step in shown),
        stepsLeftOut=len(plan.steps) - len(shown),
    )


def _step_status(step: Step) -> StepStatus:
    args = json.dumps(dict(step.args), separators=(",", ":"), default=str) if step.args else ""
    return StepStatus(
        op=step.op,
        target=step.target,
        args=args[:LONGEST_TEXT],
        disruption="" if step.disruption is Disruption.NONE else step.disruption.name,
        why=step.why[:LONGEST_TEXT],
    )
