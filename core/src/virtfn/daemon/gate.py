"""May this plan be performed now, and if not, what has to happen first? Pure.

With a controller, a plan by which a pod would lose traffic waits until the node state says that it is drained for that
very plan. Without one, the command line says how far to go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from virtfn.daemon.breaker import empties_node, takes_drain
from virtfn.daemon.plan_report import digest_of
from virtfn.model import PciAddress, Plan
from virtfn.model.handshake import (
    CURRENT_STATE_ANNOTATION,
    DESIRED_STATE_ANNOTATION,
    DRAINED_FOR_ANNOTATION,
    RETRY_ANNOTATION,
    DrainState,
)
from virtfn.model.wording import number_of


@dataclass(frozen=True, slots=True)
class Handshake:
    """How far the drain is, by the node state."""

    current: str = ""
    """What the drainer says: Idle, Draining or DrainComplete; empty: it has said nothing yet."""
    desired: str = ""
    """What the controller heard that is needed."""
    drained_for: str = ""
    """Digest of the plan that the drain was made for; empty for a drainer that knows no plans."""
    needed: str = ""
    """What the daemon's own status said last."""
    retry: str = ""

    @classmethod
    def of(cls, node_state: Mapping[str, Any]) -> Handshake:
        """From a node state as the API gives it."""
        annotations = (node_state.get("metadata") or {}).get("annotations") or {}
        return cls(
            current=annotations.get(CURRENT_STATE_ANNOTATION, ""),
            desired=annotations.get(DESIRED_STATE_ANNOTATION, ""),
            drained_for=annotations.get(DRAINED_FOR_ANNOTATION, ""),
            needed=(node_state.get("status") or {}).get("neededState", ""),
            retry=annotations.get(RETRY_ANNOTATION, ""),
        )


class Action(StrEnum):
    """What to do with a plan."""

    NOTHING = "Nothing"
    """There is nothing in it."""
    PERFORM = "Perform"
    WAIT = "Wait"
    """It has to wait for somebody."""
    REFUSE = "Refuse"
    """It may not be done here as things are."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and what is needed of the controller before and while it is done."""

    action: Action
    needed: DrainState = DrainState.IDLE
    reason: str = ""
    """CamelCase, where the plan is not performed."""
    message: str = ""


def need_of(plan: Plan, *, free: frozenset[PciAddress] = frozenset()) -> DrainState:
    """What a plan takes: nothing, a drain, or a reboot.

    :param free: VFs that may lose their traffic, as nobody uses them.
    """
    if any(empties_node(step) for step in plan.steps):
        return DrainState.REBOOT_REQUIRED
    if any(takes_drain(step) and not free.issuperset(step.affects) for step in plan.steps):
        return DrainState.DRAIN_REQUIRED
    return DrainState.IDLE


def pass_gate(plan: Plan, handshake: Handshake, *, free: frozenset[PciAddress] = frozenset()) -> Verdict:
    """The verdict where a controller drains."""
    if not plan.steps:
        return Verdict(Action.NOTHING)
    need = need_of(plan, free=free)
    if need is DrainState.IDLE:
        return Verdict(Action.PERFORM, _kept(handshake))
    what = "reboot" if need is DrainState.REBOOT_REQUIRED else "drain"
    complete = handshake.current == DrainState.DRAIN_COMPLETE
    if handshake.needed != need and handshake.current not in ("", DrainState.IDLE) and not handshake.drained_for:
        # Left from before, by a drainer that knows no plans: it ends when it hears that nothing is needed.
        message = f"the {what} can be asked for when the drain before it has ended ({handshake.current})"
        return Verdict(Action.WAIT, DrainState.IDLE, "WaitingForEarlierDrain", message)
    if handshake.needed != need and complete and handshake.drained_for == digest_of(plan):
        message = f"the {what} can be asked for when the one before it, for the same steps, has ended"
        return Verdict(Action.WAIT, DrainState.IDLE, "WaitingForEarlierDrain", message)
    if complete and handshake.needed == need and _is_for(plan, need, handshake):
        return Verdict(Action.PERFORM, need)
    return Verdict(Action.WAIT, need, f"WaitingFor{what.capitalize()}", _waiting(plan, need, handshake))


def _kept(handshake: Handshake) -> DrainState:
    """What stays needed while something harmless is done: after a reboot, pods come back when the VFs are there."""
    asked = handshake.needed in (DrainState.DRAIN_REQUIRED, DrainState.REBOOT_REQUIRED)
    complete = handshake.current == DrainState.DRAIN_COMPLETE
    return DrainState(handshake.needed) if asked and complete else DrainState.IDLE


def _is_for(plan: Plan, need: DrainState, handshake: Handshake) -> bool:
    if handshake.drained_for:
        return handshake.drained_for == digest_of(plan)
    return handshake.desired == need


def _waiting(plan: Plan, need: DrainState, handshake: Handshake) -> str:
    lost = len(plan.affects)
    if need is DrainState.REBOOT_REQUIRED:
        what = "the node has to be rebooted, and is drained before"
    else:
        what = f"{number_of(lost, 'VF')} would lose traffic: whoever uses one has to go first"
    return f"{what} (drain: {handshake.current or 'not begun'})"


class Disrupt(StrEnum):
    """How far to go where nobody drains."""

    IF_FREE = "if-free"
    """Only what takes nothing from anybody, as far as this machine shows it."""
    NEVER = "never"
    """Only what no VF loses traffic by."""
    ALWAYS = "always"


def pass_alone(plan: Plan, disrupt: Disrupt, *, in_use: frozenset[PciAddress]) -> Verdict:
    """The verdict where nobody drains.

    :param in_use: VFs in use, as far as the machine shows it.
    """
    if not plan.steps:
        return Verdict(Action.NOTHING)
    need = need_of(plan)
    if need is DrainState.IDLE or disrupt is Disrupt.ALWAYS:
        return Verdict(Action.PERFORM)
    if need is DrainState.REBOOT_REQUIRED:
        message = f"the node has to be rebooted, which --disrupt {disrupt} does not allow (allow it with always)"
        return Verdict(Action.REFUSE, reason="DisruptionNotAllowed", message=message)
    if disrupt is Disrupt.NEVER:
        lost = ", ".join(str(address) for address in plan.affects)
        message = f"VFs would lose traffic, which --disrupt never does not allow: {lost}"
        return Verdict(Action.REFUSE, reason="DisruptionNotAllowed", message=message)
    if used := sorted(in_use.intersection(plan.affects)):
        message = f"VFs that are in use would lose traffic: {', '.join(map(str, used))}"
        return Verdict(Action.REFUSE, reason="VfsInUse", message=message)
    return Verdict(Action.PERFORM)
