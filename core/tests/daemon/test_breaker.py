"""The circuit breaker: one reboot and one drain for one cause, over restarts and boots."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import Any

import pytest

from virtfn.daemon.attempts import begun, gave_up
from virtfn.daemon.breaker import Refusal, judge, power_cycles, wants, without
from virtfn.daemon.gate import Disrupt
from virtfn.daemon.record import AttemptKind, NodeRecord, RecordFile
from virtfn.daemon.status import Report, status_of
from virtfn.model import DesiredPf, DesiredState, Disruption, Inventory, PciAddress, Plan, Step
from virtfn.model.desired import DesiredBridge

Rig = Any
Knobs = Any
PF = PciAddress.parse("0000:01:00.0")
VF = PciAddress.parse("0000:01:10.0")
DESIRED = DesiredState(pfs=(DesiredPf(address=PF, num_vfs=4),))
DRAIN = Plan((Step("sriov.set_numvfs", str(PF), "4 wanted", disruption=Disruption.PF, affects=(VF,)),))
REBOOT = Plan((Step("knob.set", PF.slot, "the knob is off", disruption=Disruption.REBOOT),))


def test_a_drain_is_made_again_until_it_is_known_to_be_in_vain() -> None:
    (want,) = wants(DRAIN, DESIRED, retry="")
    assert want.kind is AttemptKind.DRAIN
    record = NodeRecord(boot_id="a")
    assert judge(want, record.attempts, boot_id="a") is None
    record = begun(begun(record, [want], at="then"), [want], at="then")
    assert record.attempts[0].count == 2
    assert judge(want, record.attempts, boot_id="a") is None
    record = gave_up(record, [want], seen="EBUSY")
    blocked = judge(want, record.attempts, boot_id="a")
    assert blocked is not None
    assert blocked.reason is Refusal.DRAIN_INEFFECTIVE
    assert "EBUSY" in blocked.message


def test_a_reboot_is_in_vain_if_the_same_is_wanted_after_it() -> None:
    (want,) = wants(REBOOT, DESIRED, retry="")
    record = begun(NodeRecord(boot_id="a"), [want], at="then")
    assert judge(want, record.attempts, boot_id="a") is None, "it is still to come"
    blocked = judge(want, record.attempts, boot_id="b")
    assert blocked is not None
    assert blocked.reason is Refusal.REBOOT_INEFFECTIVE
    assert "the knob is off" in blocked.message


def test_a_netdev_that_has_another_name_after_each_boot_is_the_same_cause() -> None:
    """Names are the kernel's own where nobody gives them; a reboot in vain would be made after every shuffle."""
    bridge = DesiredBridge("br-0000_01_00.0", PF, uplink_name="eth0")
    for before, after in ((None, None), (bridge, replace(bridge, uplink_name="eth1"))):
        first = DesiredState(pfs=(DesiredPf(PF, 4, name="eth0", bridge=before),))
        other = DesiredState(pfs=(DesiredPf(PF, 4, name="eth1", first_name="eth0", bridge=after),))
        made = begun(NodeRecord(boot_id="a"), wants(REBOOT, first, retry=""), at="then")
        (want,) = wants(REBOOT, other, retry="")
        assert judge(want, made.attempts, boot_id="b") is not None


def test_as_many_reboots_are_remembered_as_a_node_has_cards(rig: Rig) -> None:
    steps = tuple(replace(REBOOT.steps[0], target=f"0000:{bus:02x}:00") for bus in range(100))
    made = list(wants(Plan(steps), DESIRED, retry=""))
    rig.record_file.parent.mkdir(parents=True)
    RecordFile(rig.record_file).save(begun(NodeRecord(boot_id="a"), made, at="then"))
    record = RecordFile(rig.record_file).load()
    assert all(judge(want, record.attempts, boot_id="b") for want in made)
    report = Report(Inventory(), {}, 1, attempts=record.attempts)
    assert [attempt.cause.partition(": ")[0] for attempt in status_of(report).attempts][-1] == "0000:63:00"
    assert len(status_of(report).attempts) == 32


@pytest.mark.parametrize(
    ("desired", "retry"),
    [(DESIRED, "again"), (DesiredState(pfs=(DesiredPf(address=PF, num_vfs=5),)), "")],
)
def test_a_new_wish_or_a_new_word_lets_it_be_tried(desired: DesiredState, retry: str) -> None:
    (want,) = wants(REBOOT, DESIRED, retry="")
    record = begun(NodeRecord(boot_id="a"), [want], at="then")
    (other,) = wants(REBOOT, desired, retry=retry)
    assert judge(other, record.attempts, boot_id="b") is None


def test_a_wish_of_another_card_is_no_new_wish() -> None:
    (want,) = wants(REBOOT, DESIRED, retry="")
    more = DesiredState(pfs=(*DESIRED.pfs, DesiredPf(address=PciAddress.parse("0000:21:00.0"), num_vfs=1)))
    assert next(wants(REBOOT, more, retry="")) == want


def test_steps_that_disturb_nobody_take_nothing() -> None:
    assert list(wants(Plan((Step("link.set", str(PF), "why"),)), DESIRED, retry="")) == []


def test_a_power_cycle_is_left_to_people() -> None:
    plan = Plan((Step("knob.set", PF.slot, "why", disruption=Disruption.POWER_CYCLE),))
    (blocked,) = power_cycles(plan)
    assert (blocked.reason, blocked.target) == (Refusal.POWER_CYCLE, PF.slot)
    assert without(DESIRED, [PF.slot]) == (PF,)
    assert without(DESIRED, ["0000:21:00"]) == ()


def reboot_for(rig: Rig) -> None:
    """The drain, and what the daemon does then."""
    rig.turn()
    assert rig.status.needed_state == "Reboot_Required"
    rig.drain()
    rig.turn()


def test_a_reboot_that_helps(rig: Rig, knobs: Knobs) -> None:
    rig.want(rig.interface())
    rig.turn()
    assert (knobs.reboots, knobs.sets, rig.vfs()) == (0, 0, 0), "nothing is touched before the drain"
    assert rig.status.plan.disruption == "REBOOT"
    reboot_for(rig)
    assert (knobs.reboots, knobs.sets, rig.vfs()) == (1, 1, 0)
    assert json.loads(rig.record_file.read_text())["attempts"][0]["kind"] == "Reboot"
    assert [reason for reason, _ in rig.events] == ["RebootNode"]
    assert rig.judged.reason == "Rebooting"
    rig.turns(60.0)
    assert knobs.reboots == 1
    knobs.boot()
    rig.restart()
    rig.turn()
    assert rig.vfs() == 4
    acting = next(told for told in reversed(rig.told) if told.acting)
    assert acting.decision.verdict.needed == "Reboot_Required", "pods come back when the VFs are there"
    assert (rig.status.sync_status, rig.status.needed_state, rig.status.attempts) == ("Succeeded", "Idle", ())


def test_a_host_that_ignores_the_change_is_rebooted_once(rig: Rig, knobs: Knobs) -> None:
    knobs.works = False
    rig.want(rig.interface())
    reboot_for(rig)
    knobs.boot()
    rig.restart()
    rig.turns(3600.0)
    assert (knobs.reboots, knobs.sets) == (1, 1)
    status = rig.status
    assert (status.sync_status, status.needed_state) == ("Failed", "Idle")
    assert "the knob is off, VFs want it on" in status.last_sync_error
    assert rig.judged.reason == "RebootIneffective"
    assert (status.attempts[0].kind, status.attempts[0].count) == ("Reboot", 1)
    assert rig.tally.last_level("breaker_open") == 1
    knobs.host.reboot()
    rig.restart()
    rig.turns(3600.0)
    assert knobs.reboots == 1

    rig.undrain()
    rig.want(rig.interface(), rig.interface(rig.OTHER), generation=3)
    rig.turn()
    assert rig.status.needed_state == "Reboot_Required", "the other card has had none yet"
    assert [step.target for step in rig.decision.due.steps if step.op == "knob.set"] == [rig.OTHER.slot]

    rig.want(rig.interface(), generation=4, retry="please")
    knobs.works = True
    reboot_for(rig)
    assert knobs.reboots == 2
    knobs.boot()
    rig.restart()
    rig.turn()
    assert (rig.status.sync_status, rig.vfs(), rig.status.attempts) == ("Succeeded", 4, ())


def test_a_crash_between_the_note_and_the_reboot_leads_to_one(rig: Rig, knobs: Knobs) -> None:
    """Whether systemd was asked is not known: within one boot it is asked anew, which cannot make two reboots of it."""
    rig.want(rig.interface())
    rig.turn()
    rig.drain()
    fault = rig.crash_at("systemd-run")
    with pytest.raises(KeyboardInterrupt):
        rig.turn()
    fault.clear()
    rig.restart()
    rig.turns(590.0)
    assert (knobs.reboots, rig.judged.reason) == (1, "Rebooting")
    knobs.works = False
    knobs.boot()
    rig.restart()
    rig.turns(600.0)
    assert (knobs.reboots, rig.judged.reason) == (1, "RebootIneffective")
    assert rig.status.attempts[0].count == 1


def test_a_reboot_that_does_not_begin_is_given_up(rig: Rig, knobs: Knobs) -> None:
    rig.want(rig.interface())
    reboot_for(rig)
    rig.restart()
    knobs.refuses = True  # as on a machine that is on its way down already
    rig.turns(590.0)
    assert (knobs.reboots, rig.judged.reason) == (1, "Rebooting")
    rig.turns(60.0)
    assert (knobs.reboots, rig.judged.reason) == (1, "RebootIneffective")
    assert "did not begin within 600 s" in rig.status.last_sync_error


def test_a_reboot_that_systemd_does_not_take_is_told(rig: Rig, knobs: Knobs) -> None:
    knobs.refuses = True
    rig.want(rig.interface())
    reboot_for(rig)
    rig.turns(60.0)
    assert rig.judged.reason == "RebootIneffective"
    assert "Failed to connect to bus" in rig.status.last_sync_error
    assert rig.status.needed_state == "Idle"


def test_no_reboot_without_a_place_to_remember_it(rig: Rig, knobs: Knobs) -> None:
    rig.want(rig.interface())
    rig.turn()
    rig.drain()
    folder = rig.record_file.parent
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("")
    turns = rig.turns(60.0)
    assert knobs.reboots == 0
    assert all(turn.look is None for turn in turns)
    assert rig.status.sync_status == "Failed"


def test_alone_a_reboot_has_to_be_allowed(rig: Rig, knobs: Knobs) -> None:
    rig.alone(Disrupt.IF_FREE)
    rig.want(rig.interface())
    rig.turn()
    assert (knobs.reboots, rig.judged.reason) == (0, "DisruptionNotAllowed")
    rig.alone(Disrupt.ALWAYS)
    rig.turn()
    assert knobs.reboots == 1


def test_a_drain_in_vain_is_given_up_after_three_tries(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.want(rig.interface(vfs=3), generation=3)
    rig.turn()
    rig.drain()
    fault = rig.host.fail("write *sriov_numvfs", error=errno.EBUSY)
    rig.turn()
    assert (rig.status.needed_state, rig.status.sync_status) == ("Drain_Required", "Failed")
    rig.turns(300.0)
    tries = rig.tally.counted("step_failures", of="sriov.set_numvfs")
    assert tries == 3
    assert (rig.status.needed_state, rig.judged.reason) == ("Idle", "DrainIneffective")
    assert rig.status.attempts[0].count == 3
    rig.undrain()
    rig.restart()
    rig.turns(3600.0)
    assert rig.tally.counted("step_failures", of="sriov.set_numvfs") == 3
    assert rig.status.needed_state == "Idle"
    fault.clear()
    rig.want(rig.interface(vfs=3), generation=3, retry="2")
    rig.turn()
    assert rig.status.needed_state == "Drain_Required"
    rig.drain()
    rig.turn()
    assert (rig.vfs(), rig.status.attempts, rig.status.sync_status) == (3, (), "Succeeded")


def test_an_attempt_is_not_forgotten_while_the_card_cannot_be_judged(rig: Rig, knobs: Knobs) -> None:
    knobs.works = False
    rig.want(rig.interface())
    reboot_for(rig)
    knobs.boot()
    rig.restart()
    rig.turn()
    fault = rig.host.fail("run knobctl", error=errno.ENOENT)
    rig.turns(100.0)
    assert rig.status.attempts
    fault.clear()
    rig.turns(100.0)
    assert (knobs.reboots, rig.judged.reason) == (1, "RebootIneffective")


def test_a_record_that_is_torn_is_none(rig: Rig) -> None:
    rig.want(rig.interface())
    rig.turn()
    rig.record_file.write_text('{"version": 1, "att')
    rig.restart()
    rig.turn()
    assert rig.status.sync_status == "Succeeded"
    assert json.loads(rig.record_file.read_text())["settled"] == [str(rig.PF)]


def test_a_record_comes_back_as_it_was(rig: Rig) -> None:
    (want,) = wants(REBOOT, DESIRED, retry="")
    record = replace(begun(NodeRecord(boot_id="a"), [want], at="then"), settled=(PF,), plugin_round=3)
    rig.loop._file.save(record)
    assert rig.loop._file.load() == record
    assert record.in_boot("b").settled == ()
