"""Which plans pass the gate, by what they take and by what the node state says."""

from __future__ import annotations

import pytest

from virtfn.daemon.gate import Action, Disrupt, Handshake, need_of, pass_alone, pass_gate
from virtfn.daemon.plan_report import digest_of
from virtfn.model import Disruption, PciAddress, Plan, Step
from virtfn.model.handshake import DrainState

PF = "0000:01:00.0"
VF = PciAddress.parse("0000:01:10.0")


def plan(disruption: Disruption, *affects: PciAddress, args: int = 1) -> Plan:
    return Plan((Step("op.do", PF, "why", args={"n": args}, disruption=disruption, affects=affects),))


HARMLESS = plan(Disruption.REFRESH)
DRAIN = plan(Disruption.PF, VF)
REBOOT = plan(Disruption.REBOOT)
OTHER = plan(Disruption.PF, VF, args=2)
IDLE, DRAINED, REBOOTED = DrainState.IDLE, DrainState.DRAIN_REQUIRED, DrainState.REBOOT_REQUIRED


@pytest.mark.parametrize(
    ("what", "need"),
    [
        (Plan(), IDLE),
        (HARMLESS, IDLE),
        (plan(Disruption.PF), IDLE),  # no VF is there that could lose anything
        (plan(Disruption.VFS, VF), DRAINED),
        (DRAIN, DRAINED),
        (REBOOT, REBOOTED),
        (Plan((*DRAIN.steps, *REBOOT.steps)), REBOOTED),
    ],
)
def test_what_a_plan_needs(what: Plan, need: DrainState) -> None:
    assert need_of(what) is need


def test_vfs_that_are_free_need_no_drain() -> None:
    assert need_of(DRAIN, free=frozenset({VF})) is IDLE


def hands(current: str = "Idle", needed: str = "Idle", desired: str = "", drained_for: Plan | None = None) -> Handshake:
    digest = digest_of(drained_for) if drained_for is not None else ""
    return Handshake(current=current, desired=desired or needed, drained_for=digest, needed=needed)


@pytest.mark.parametrize(
    ("what", "handshake", "action", "needed"),
    [
        (Plan(), hands("DrainComplete", "Drain_Required", drained_for=DRAIN), Action.NOTHING, IDLE),
        (HARMLESS, hands(), Action.PERFORM, IDLE),
        (HARMLESS, hands("Draining", "Drain_Required"), Action.PERFORM, IDLE),
        (HARMLESS, hands("DrainComplete", "Reboot_Required", drained_for=REBOOT), Action.PERFORM, REBOOTED),
        (DRAIN, hands(""), Action.WAIT, DRAINED),
        (DRAIN, hands(), Action.WAIT, DRAINED),
        (DRAIN, hands("Draining", "Drain_Required"), Action.WAIT, DRAINED),
        (DRAIN, hands("DrainComplete", "Drain_Required", drained_for=DRAIN), Action.PERFORM, DRAINED),
        (DRAIN, hands("DrainComplete", "Drain_Required", drained_for=OTHER), Action.WAIT, DRAINED),
        (DRAIN, hands("DrainComplete", "Drain_Required"), Action.PERFORM, DRAINED),  # an external drainer
        (DRAIN, hands("DrainComplete", "Drain_Required", desired="Idle"), Action.WAIT, DRAINED),
        (DRAIN, hands("DrainComplete", "Idle"), Action.WAIT, IDLE),  # left from before
        (DRAIN, hands("DrainComplete", "Idle", drained_for=DRAIN), Action.WAIT, IDLE),
        (DRAIN, hands("DrainComplete", "Idle", drained_for=OTHER), Action.WAIT, DRAINED),
        (REBOOT, hands(), Action.WAIT, REBOOTED),
        (REBOOT, hands("DrainComplete", "Drain_Required"), Action.WAIT, IDLE),  # was not drained for a reboot
        (REBOOT, hands("Draining", "Drain_Required"), Action.WAIT, IDLE),
        (REBOOT, hands("DrainComplete", "Drain_Required", drained_for=DRAIN), Action.WAIT, REBOOTED),
        (REBOOT, hands("DrainComplete", "Reboot_Required", drained_for=REBOOT), Action.PERFORM, REBOOTED),
    ],
)
def test_the_gate(what: Plan, handshake: Handshake, action: Action, needed: DrainState) -> None:
    verdict = pass_gate(what, handshake)
    assert (verdict.action, verdict.needed) == (action, needed)
    assert bool(verdict.reason) == bool(verdict.message) == (action is Action.WAIT)


@pytest.mark.parametrize(
    ("what", "word", "in_use", "action"),
    [
        (Plan(), Disrupt.NEVER, (), Action.NOTHING),
        (HARMLESS, Disrupt.NEVER, (VF,), Action.PERFORM),
        (DRAIN, Disrupt.NEVER, (), Action.REFUSE),
        (DRAIN, Disrupt.IF_FREE, (), Action.PERFORM),
        (DRAIN, Disrupt.IF_FREE, (VF,), Action.REFUSE),
        (DRAIN, Disrupt.ALWAYS, (VF,), Action.PERFORM),
        (REBOOT, Disrupt.IF_FREE, (), Action.REFUSE),
        (REBOOT, Disrupt.ALWAYS, (), Action.PERFORM),
    ],
)
def test_the_gate_without_a_controller(
    what: Plan, word: Disrupt, in_use: tuple[PciAddress, ...], action: Action
) -> None:
    verdict = pass_alone(what, word, in_use=frozenset(in_use))
    assert (verdict.action, verdict.needed) == (action, IDLE)
    assert bool(verdict.message) == (action is Action.REFUSE)


def test_a_handshake_is_read_from_a_node_state() -> None:
    group = "sriovnetwork.openshift.io"
    annotations = {
        f"{group}/current-state": "DrainComplete",
        f"{group}/desired-state": "Drain_Required",
        "virtfn.io/drained-for": "d",
        "virtfn.io/retry": "1",
    }
    found = Handshake.of({"metadata": {"annotations": annotations}, "status": {"neededState": "Drain_Required"}})
    assert found == Handshake("DrainComplete", "Drain_Required", "d", "Drain_Required", "1")
    assert Handshake.of({"metadata": {}}) == Handshake()


def test_the_digest_is_of_what_is_done_not_of_its_reasons() -> None:
    other_words = Plan((Step("op.do", PF, "because", args={"n": 1}, disruption=Disruption.PF, affects=(VF,)),))
    assert digest_of(other_words) == digest_of(DRAIN)
    assert len(digest_of(DRAIN)) == 16
    assert len({digest_of(each) for each in (Plan(), HARMLESS, DRAIN, REBOOT, OTHER)}) == 5
