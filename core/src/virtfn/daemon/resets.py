"""Resets of cards, which are tried before a reboot, or in place of a power cycle. Pure.

A reset takes all ports of a card at once, and whether it will help is not known before: so each is tried once for one
cause, only when nobody is left who uses the card's VFs, and the node is then looked at anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from virtfn.daemon import attempts
from virtfn.daemon.breaker import Want, attempt_for, takes_reboot, takes_reset
from virtfn.daemon.decision import Decision, has_error
from virtfn.daemon.record import AttemptKind, NodeRecord
from virtfn.model import Inventory, Outcome, OutcomeStatus, PciAddress, Plan
from virtfn.model.steps import NODE


def begun(record: NodeRecord, resets: Iterable[Want], *, at: str) -> NodeRecord:
    """Cards are about to be reset. Their PFs are then as after a boot: that they lack something is nobody's doing.

    :param at: now, as RFC 3339.
    """
    resets = tuple(resets)
    cards = {step.card for want in resets for step in want.steps}
    settled = tuple(address for address in record.settled if address.slot not in cards)
    return attempts.begun(replace(record, settled=settled), resets, at=at)


def held_back(plan: Plan, used: frozenset[PciAddress]) -> dict[str, str]:
    """Why resets are not tried, by target: they would take VFs from somebody whom a drain has left on the node.

    :param used: VFs in use.
    """
    found = {}
    for step in filter(takes_reset, plan.steps):
        if taken := ", ".join(str(address) for address in step.affects if address in used):
            found[step.target] = f"{step.target}: the card is not reset: VFs of it are still in use ({taken})"
    return found


def set_first(plan: Plan, held: Mapping[str, str]) -> tuple[Plan, int]:
    """The plan with what comes before a reboot at its beginning, resets too, and how many steps that is.

    :param held: the targets of resets that are not tried.
    """
    first = tuple(
        step
        for step in plan.steps
        if takes_reboot(step) or step.target == NODE or (takes_reset(step) and step.target not in held)
    )
    return replace(plan, steps=first + tuple(step for step in plan.steps if step not in first)), len(first)


def without_unreached(
    record: NodeRecord, resets: Sequence[Want], outcome: Outcome, held: Mapping[str, str]
) -> NodeRecord:
    """As if it had never been thought of, what a failure before it has kept from being tried."""
    made = {each.step.target for each in outcome.steps if takes_reset(each.step)} | set(held)
    unreached = {want.target for want in resets} - made
    kept = tuple(each for each in record.attempts if each.kind is not AttemptKind.RESET or each.target not in unreached)
    return replace(record, attempts=kept)


def in_vain(resets: Iterable[Want], outcome: Outcome, held: Mapping[str, str]) -> list[tuple[Want, str]]:
    """The resets that did not come off, each with the reason."""
    made = {each.step.target: each for each in outcome.steps if takes_reset(each.step)}
    found = []
    for want in resets:
        if want.target in held:
            found.append((want, held[want.target]))
        elif (each := made.get(want.target)) is not None and each.status is not OutcomeStatus.DONE:
            found.append((want, each.detail))
    return found


def cause_of(want: Want, record: NodeRecord) -> str:
    """What a reboot is made for, for people."""
    made = attempt_for(want, record.attempts) if want.kind is AttemptKind.RESET else None
    return made.seen if made is not None and made.seen else want.cause


def still_needed(wants: Sequence[Want], after: Decision | None, inventory: Inventory) -> list[Want]:
    """What of it takes a reboot after the resets: what they have not spared, and PFs that are lost by them or cannot be
    judged any more, for which a reboot is the way out.

    :param wants: the reboots, and the resets.
    :param after: what was decided after the resets; None: nothing is wanted any more.
    """
    if after is None:
        return []
    left = {(want.target, want.key) for want in after.wants}
    present = {pf.address for pf in inventory.pfs()}

    def lost(want: Want) -> bool:
        about = [address for address in present if want.target in (str(address), address.slot)]
        return not about or any(has_error(address, after.problems) for address in about)

    return [want for want in wants if (want.target, want.key) in left or lost(want)]
