"""Resets of cards: once for one cause, only where they can spare something, and never under somebody who is left."""

from __future__ import annotations

from virtfn.daemon import resets
from virtfn.daemon.attempts import gave_up
from virtfn.daemon.breaker import power_cycles, wants, without_vain_resets
from virtfn.daemon.gate import Action, Disrupt, need_of, pass_alone
from virtfn.daemon.record import AttemptKind, NodeRecord
from virtfn.model import (
    DesiredPf,
    DesiredState,
    Disruption,
    Outcome,
    OutcomeStatus,
    PciAddress,
    Plan,
    Step,
    StepOutcome,
)
from virtfn.model.handshake import DrainState
from virtfn.model.steps import NODE

PF, SECOND = PciAddress.parse("0000:01:00.0"), PciAddress.parse("0000:01:00.1")
OTHER = PciAddress.parse("0000:21:00.0")
VF = PciAddress.parse("0000:01:10.0")
DESIRED = DesiredState(pfs=(DesiredPf(PF, 4), DesiredPf(OTHER, 4)))


def setting(pf: PciAddress, disruption: Disruption = Disruption.REBOOT) -> Step:
    return Step("knob.set", str(pf), "the knob is off", disruption=disruption)


def reset(pf: PciAddress, *vfs: PciAddress, to: str = "on") -> Step:
    return Step("knob.reset", str(pf), "it may help", args={"to": to}, disruption=Disruption.RESET, affects=vfs)


def test_a_reset_is_asked_for_as_a_reboot_is_and_remembered_by_itself() -> None:
    plan = Plan((setting(PF), reset(PF, VF)))
    assert need_of(plan) is DrainState.REBOOT_REQUIRED
    assert need_of(Plan((reset(PF),))) is DrainState.REBOOT_REQUIRED
    assert pass_alone(plan, Disrupt.IF_FREE, in_use=frozenset()).action is Action.REFUSE
    with_reset, without = (list(wants(each, DESIRED, retry="")) for each in (plan, Plan(plan.steps[:1])))
    assert [want.kind for want in with_reset] == [AttemptKind.REBOOT, AttemptKind.RESET]
    assert with_reset[:1] == without, "whether a reset is tried does not make another cause for a reboot"


def test_a_reset_is_made_once_for_what_it_is_to_bring_into_force() -> None:
    plan = Plan((setting(PF), reset(PF, VF)))
    record = resets.begun(
        NodeRecord(), [want for want in wants(plan, DESIRED, retry="") if want.steps == plan.steps[1:]], at="then"
    )
    again = Plan((setting(PF), reset(PF)))
    assert without_vain_resets(again, record.attempts, retry="").steps == (setting(PF),), "its VFs are gone by it"
    assert without_vain_resets(again, record.attempts, retry="now") == again
    other = Plan((setting(PF), reset(PF, to="off")))
    assert without_vain_resets(other, record.attempts, retry="") == other


def test_no_card_is_reset_before_a_reboot_that_comes_anyway() -> None:
    both = Plan((setting(PF), reset(PF), setting(OTHER), reset(OTHER)))
    assert without_vain_resets(both, (), retry="") == both
    for reason in (setting(OTHER), Step("rdma.set_mode", NODE, "another mode", disruption=Disruption.REBOOT)):
        plan = Plan((setting(PF), reset(PF), reason))
        assert without_vain_resets(plan, (), retry="").steps == (setting(PF), reason)
    cycle = Plan((reset(PF), setting(PF, Disruption.POWER_CYCLE), setting(OTHER)))
    assert without_vain_resets(cycle, (), retry="") == cycle, "a reboot would not do for it what a reset may"


def test_a_person_is_asked_when_no_reset_is_left_to_be_tried() -> None:
    cycle = setting(SECOND, Disruption.POWER_CYCLE)
    assert power_cycles(Plan((reset(PF), cycle))) == ()
    assert [block.target for block in power_cycles(Plan((reset(OTHER), cycle)))] == [str(SECOND)]


def test_pfs_of_a_card_that_is_reset_are_as_after_a_boot() -> None:
    plan = Plan((reset(PF),))
    record = resets.begun(NodeRecord(settled=(PF, SECOND, OTHER)), wants(plan, DESIRED, retry=""), at="then")
    assert (record.settled, [attempt.kind for attempt in record.attempts]) == ((OTHER,), [AttemptKind.RESET])


def test_what_came_of_resets() -> None:
    plan = Plan((reset(PF, VF), reset(OTHER)))
    cards = list(wants(plan, DESIRED, retry=""))
    held = resets.held_back(plan, frozenset({VF}))
    assert list(held) == [str(PF)]
    assert "still in use (0000:01:10.0)" in held[str(PF)]
    failed = Outcome((StepOutcome(plan.steps[1], OutcomeStatus.SKIPPED, detail="it fails"),))
    assert resets.in_vain(cards, failed, held) == [(cards[0], held[str(PF)]), (cards[1], "it fails")]
    done = Outcome((StepOutcome(plan.steps[1], OutcomeStatus.DONE),))
    assert resets.in_vain(cards[1:], done, {}) == []
    record = resets.begun(NodeRecord(), cards, at="then")
    assert gave_up(record, cards[1:], seen="it fails").attempts[1].seen == "it fails"


def test_a_reset_that_was_never_reached_is_not_remembered() -> None:
    plan = Plan((setting(PF), reset(PF), setting(OTHER), reset(OTHER)))
    cards = [want for want in wants(plan, DESIRED, retry="") if want.kind is AttemptKind.RESET]
    record = resets.begun(NodeRecord(), cards, at="then")
    done = [StepOutcome(step, OutcomeStatus.DONE) for step in plan.steps[:2]]
    failed = Outcome((*done, StepOutcome(plan.steps[2], OutcomeStatus.FAILED)), not_begun=plan.steps[3:])
    kept = resets.without_unreached(record, cards, failed, {})
    assert [attempt.target for attempt in kept.attempts] == [str(PF)]
    assert resets.without_unreached(record, cards, failed, {str(OTHER): "in use"}) == record
