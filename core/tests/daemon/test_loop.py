"""The order of things: told before done, drained before disturbed, remembered over restarts."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import Any

import pytest

from virtfn.daemon.gate import Disrupt
from virtfn.errors import InvalidDocument, Unavailable

Rig = Any


def test_nothing_is_wanted_and_nothing_is_done(rig: Rig) -> None:
    rig.want()
    turn = rig.turn()
    assert rig.host.writes == []
    assert (turn.again, rig.status.sync_status, rig.status.needed_state) == (30.0, "Succeeded", "Idle")
    assert [found.name for found in rig.status.interfaces] == ["eth0", "eth1"]


def test_a_plan_is_told_before_it_is_performed(rig: Rig) -> None:
    rig.want(rig.interface())
    seen = []
    rig.before_publish = lambda report: seen.append((rig.vfs(), len(rig.host.writes)))
    rig.turn()
    assert seen[0] == (0, 0)
    first, last = rig.told[0], rig.told[-1]
    assert [step.op for step in first.decision.due.steps][:2] == ["link.set", "sriov.set_numvfs"]
    assert rig.vfs() == 4
    assert (rig.status.sync_status, rig.status.plan, rig.status.observed_generation) == ("Succeeded", None, 2)
    assert last.decision.in_sync == (rig.PF,)


def test_where_the_plan_cannot_be_told_nothing_is_done(rig: Rig) -> None:
    rig.want(rig.interface())
    rig.unreachable = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            rig.turn()
    assert rig.host.writes == []
    rig.unreachable = False
    rig.turn()
    assert rig.vfs() == 4


def test_what_could_not_be_told_afterwards_is_told_later(rig: Rig) -> None:
    rig.want(rig.interface())

    def lose(report: Any) -> None:
        rig.unreachable = bool(rig.told)

    rig.before_publish = lose
    with pytest.raises(Unavailable):
        rig.turn()
    assert rig.vfs() == 4
    writes = len(rig.host.writes)
    rig.before_publish, rig.unreachable = lambda report: None, False
    rig.turn()
    assert rig.status.sync_status == "Succeeded"
    assert len(rig.host.writes) == writes


def test_a_drain_is_asked_for_and_waited_for(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.want(rig.interface(vfs=3), generation=3)
    turn = rig.turn()
    assert (rig.vfs(), turn.outcome) == (2, None)
    status = rig.status
    assert (status.sync_status, status.needed_state, status.plan.disruption) == ("InProgress", "Drain_Required", "PF")
    assert len(status.plan.affects) == 2
    rig.shake(current="Draining", desired="Drain_Required")
    rig.turn()
    assert rig.vfs() == 2
    rig.drain()
    rig.turn()
    assert rig.vfs() == 3
    assert (rig.status.sync_status, rig.status.needed_state) == ("Succeeded", "Idle")
    assert [told.decision.verdict.needed for told in rig.told[-2:]] == ["Drain_Required", "Idle"]


def test_a_drain_for_other_steps_is_not_enough(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.want(rig.interface(vfs=3), generation=3)
    rig.turn()
    rig.drain()
    rig.want(rig.interface(vfs=5), generation=4)
    rig.turn()
    assert rig.vfs() == 2
    assert rig.status.needed_state == "Drain_Required"
    rig.drain()
    rig.turn()
    assert rig.vfs() == 5


def test_the_end_of_a_drain_is_waited_for_before_the_next_one(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.want(rig.interface(vfs=3), generation=3)
    rig.turn()
    rig.drain()
    rig.shake(drained_for="")  # by somebody who knows no plans
    rig.turn()
    assert rig.vfs() == 3
    rig.want(rig.interface(vfs=4), generation=4)
    rig.turn()
    assert (rig.vfs(), rig.status.needed_state) == (3, "Idle"), "it is still drained, and will not be in a moment"
    assert rig.judged.reason == "WaitingForEarlierDrain"
    rig.undrain()
    rig.turn()
    assert rig.status.needed_state == "Drain_Required"
    rig.shake(current="DrainComplete")
    rig.turn()
    assert rig.vfs() == 3, "the drainer has not heard of it yet"
    rig.shake(desired="Drain_Required")
    rig.turn()
    assert rig.vfs() == 4


def test_what_disturbs_nobody_does_not_wait_for_what_does_not_concern_it(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.want(rig.interface(vfs=2), rig.interface(rig.OTHER), generation=3)
    rig.turn()
    assert rig.vfs(rig.OTHER) == 4
    assert rig.status.needed_state == "Idle"


def test_a_failure_is_told_at_once_and_tried_again_later_and_later(rig: Rig) -> None:
    rig.want(rig.interface())
    fault = rig.host.fail("write *sriov_numvfs", error=errno.ENOMEM)
    turn = rig.turn()
    assert rig.status.sync_status == "Failed"
    assert "0000:01:00.0" in rig.status.last_sync_error
    assert rig.judged.reason == "NoMemory"
    assert turn.again == pytest.approx(5.0)
    assert [reason for reason, _ in rig.events] == ["NoMemory"]
    pauses = [turn.again for turn in rig.turns(100.0) if turn.outcome is not None]
    assert pauses == pytest.approx([10.0, 20.0, 30.0, 30.0])
    assert rig.tally.counted("step_failures", of="sriov.set_numvfs") == 5
    fault.clear()
    rig.turns(100.0)
    assert (rig.status.sync_status, rig.status.last_sync_error, rig.vfs()) == ("Succeeded", "", 4)


def test_what_fails_on_one_card_keeps_no_other_from_being_made(rig: Rig) -> None:
    fault = rig.host.fail(f"write *{rig.PF}/sriov_numvfs", error=errno.ENOMEM)
    rig.want(rig.interface(), rig.interface(rig.OTHER))
    rig.turns(60)
    assert (rig.vfs(), rig.vfs(rig.OTHER), rig.judged.reason) == (0, 4, "NoMemory")
    assert str(rig.PF) in rig.judged.message
    assert str(rig.OTHER) not in rig.judged.message
    rig.host.fail(f"write *{rig.OTHER}/sriov_numvfs", error=errno.ENOMEM, times=1)
    rig.want(rig.interface(), rig.interface(rig.OTHER, vfs=2), generation=3)
    rig.turn()
    rig.drain()
    rig.turn()
    assert str(rig.PF) in rig.judged.message
    assert str(rig.OTHER) in rig.judged.message
    fault.clear()
    rig.turns(600)
    assert (rig.vfs(), rig.vfs(rig.OTHER)) == (4, 2)


def test_something_else_wanted_is_tried_at_once_after_a_failure(rig: Rig) -> None:
    rig.want(rig.interface())
    fault = rig.host.fail("write *sriov_numvfs", error=errno.ENOMEM)
    rig.turns(60.0)
    fault.clear()
    rig.want(rig.interface(vfs=2), generation=3)
    rig.turn()
    assert (rig.status.sync_status, rig.vfs()) == ("Succeeded", 2)


def test_a_kernel_that_lies_is_not_believed_and_not_asked_all_the_time(rig: Rig) -> None:
    rig.want(rig.interface(mtu=3000))
    rig.host.fail("set_link *", lie=True)
    rig.turns(60.0)
    assert rig.status.sync_status == "Failed"
    assert sum(1 for call in rig.host.writes if call.kind == "set_link") < 20


def test_a_bad_interface_leaves_the_others_to_go_on_and_itself_as_it_was(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    offer = rig.offer.read_text()
    rig.want({**rig.interface(), "numVfs": "many"}, rig.interface(rig.OTHER, vfs=3), generation=3)
    rig.turn()
    assert (rig.vfs(), rig.vfs(rig.OTHER)) == (2, 3)
    assert rig.status.sync_status == "Failed"
    assert "spec.interfaces[0].numVfs" in rig.status.last_sync_error
    assert rig.judged.reason == "InvalidDocument"
    assert "eth0" in offer
    assert "eth0" in rig.offer.read_text(), "what is there is still offered"


def test_a_request_that_cannot_be_read_changes_nothing(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.want({**rig.interface(vfs=2), "pciAddress": "ens1f0"}, generation=3)
    rig.turn()
    assert rig.vfs() == 2, "it may be this PF that is meant"
    assert rig.status.sync_status == "Failed"
    rig.request = replace(rig.request, spec={"interfaces": [], "system": "?"}, generation=4)
    rig.turn()
    assert (rig.vfs(), rig.status.sync_status, rig.status.observed_generation) == (2, "Failed", 4)
    rig.request = InvalidDocument("the file cannot be read")
    rig.turn()
    assert (rig.vfs(), rig.status.last_sync_error) == (2, "the file cannot be read")


def test_without_a_request_everything_stays_and_nothing_is_told(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    told = len(rig.told)
    rig.request = None
    rig.turns(200.0)
    assert (rig.vfs(), len(rig.told)) == (2, told)


def test_an_empty_request_gives_everything_back(rig: Rig) -> None:
    before = rig.host.snapshot()
    rig.want(rig.interface(vfs=2, mtu=3000))
    rig.turn()
    rig.want(generation=3)
    rig.turn()
    rig.drain()
    rig.turn()
    assert rig.host.snapshot() == before
    assert rig.status.sync_status == "Succeeded"
    assert not list((rig.folder / "journal").glob("*.json"))


def test_a_new_node_state_is_given_time_before_anything_is_given_back(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    rig.request = replace(rig.request, spec={}, generation=1, uid="2")
    assert rig.turn().again == 30.0
    assert rig.status.needed_state == "Idle"
    assert "net" in rig.offer.read_text()
    rig.turn(after=59.0)
    assert rig.status.needed_state == "Idle"
    rig.turn(after=2.0)
    assert rig.status.needed_state == "Drain_Required"
    rig.request = replace(rig.request, spec={"interfaces": [rig.interface(vfs=2)]}, generation=2)
    rig.turn()
    assert (rig.vfs(), rig.status.sync_status, rig.status.needed_state) == (2, "Succeeded", "Idle")


def test_a_restart_in_the_middle_goes_on(rig: Rig) -> None:
    rig.want(rig.interface())
    fault = rig.crash_at("drivers_probe")
    with pytest.raises(KeyboardInterrupt):
        rig.turn()
    fault.clear()
    assert rig.vfs() == 4
    rig.restart()
    rig.turn()
    assert rig.status.sync_status == "Succeeded"
    assert all(vf.driver == "igbvf" for vf in rig.machine.pf(rig.PF).vfs)


def test_at_rest_the_same_is_told_and_the_disk_is_left_alone(rig: Rig) -> None:
    rig.want(rig.interface())
    rig.turn()
    before = {path: path.stat().st_mtime_ns for path in rig.folder.rglob("*") if path.is_file()}
    writes, told = len(rig.host.writes), rig.told[-1]
    rig.turns(300.0)
    assert len(rig.host.writes) == writes
    assert {path: path.stat().st_mtime_ns for path in rig.folder.rglob("*") if path.is_file()} == before
    assert replace(rig.told[-1], decision=None) == replace(told, decision=None)
    assert rig.tally.last_level("in_sync") == 1


def test_pfs_that_are_as_wanted_already_are_recorded(rig: Rig) -> None:
    rig.machine.set_link(rig.PF, up=True)
    rig.machine.set_num_vfs(rig.PF, 4)
    rig.want(rig.interface())
    rig.turns(60.0)
    assert rig.status.sync_status == "Succeeded"
    assert (rig.folder / "journal" / f"{rig.PF}.json").exists()
    assert rig.offer.exists()


def test_the_device_plugin_looks_again_when_devices_were_made_anew_and_only_then(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    first = rig.status.device_plugin
    rig.turns(100.0)
    assert rig.status.device_plugin == first
    rig.want(rig.interface(vfs=2, mtu=3000), generation=3)
    rig.turn()
    assert rig.status.device_plugin == first
    rig.machine.set_num_vfs(rig.PF, 0)
    rig.turns(60.0)
    assert rig.vfs() == 2
    assert rig.status.device_plugin.revision != first.revision
    assert json.loads(rig.offer.read_text())["resourceList"][0]["resourceName"] == "net"


def test_the_device_plugin_waits_for_the_vfs_after_a_boot(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    before = rig.status.device_plugin
    rig.host.reboot()
    rig.offer.unlink()
    rig.restart()
    fault = rig.host.fail("write *sriov_numvfs", error=errno.ENOMEM)
    rig.turn()
    assert not rig.offer.exists()
    fault.clear()
    rig.turns(10.0)
    assert rig.vfs() == 2
    assert rig.offer.exists()
    assert rig.status.device_plugin == before, "it has waited, and need not be started anew"


def test_what_is_offered_is_what_is_there_while_a_drain_is_waited_for(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    before, offer = rig.status.device_plugin, rig.offer.read_text()
    other = rig.interface(vfs=5)
    other["vfGroups"][0]["resourceName"] = "other"
    rig.want(other, generation=3)
    rig.turn()
    assert (rig.status.device_plugin, rig.offer.read_text()) == (before, offer)
    rig.drain()
    rig.turn()
    assert rig.status.device_plugin.resources == ("other",)


def test_alone_the_word_of_the_command_line_counts(rig: Rig) -> None:
    rig.alone(Disrupt.NEVER)
    rig.want(rig.interface(vfs=2))
    rig.turn()
    assert rig.vfs() == 2
    rig.want(rig.interface(vfs=3))
    rig.turn()
    assert (rig.vfs(), rig.judged.reason, rig.judged.sync) == (2, "DisruptionNotAllowed", "Failed")
    rig.alone(Disrupt.IF_FREE)
    rig.host.move_to_namespace(rig.machine.vf_addresses(rig.PF)[0])
    rig.turn()
    assert (rig.vfs(), rig.judged.reason) == (2, "VfsInUse")
    rig.alone(Disrupt.ALWAYS)
    rig.turn()
    assert rig.vfs() == 3
    rig.alone(Disrupt.IF_FREE)
    rig.want(rig.interface(vfs=4))
    rig.turn()
    assert rig.vfs() == 4


def test_steps_are_timed(rig: Rig) -> None:
    rig.want(rig.interface())
    rig.turn()
    assert rig.tally.timed("steps", of="sriov.set_numvfs")[0] == 1


def test_a_disk_that_is_full_is_told_and_nothing_is_done(rig: Rig) -> None:
    rig.want()
    rig.turn()
    rig.want(rig.interface(vfs=2), generation=3)
    folder = rig.folder / "journal"
    folder.rename(rig.folder / "aside")
    folder.write_text("")  # a folder that cannot be made
    turn = rig.turn()
    assert rig.vfs() == 0
    assert (rig.status.sync_status, rig.judged.reason) == ("Failed", "JournalError")
    assert turn.look is None
    assert turn.again == 5.0
    folder.unlink()
    rig.turn()
    assert rig.vfs() == 2


def test_a_bug_is_told_too(rig: Rig) -> None:
    rig.want(rig.interface(vfs=2))
    rig.turn()
    read = rig.read
    rig.read = lambda inventory: 1 / 0
    turn = rig.turn()
    assert turn.look is None
    assert (rig.status.sync_status, rig.judged.reason) == ("Failed", "InternalError")
    assert "ZeroDivisionError" in rig.status.last_sync_error
    rig.read = read
    rig.turn()
    assert rig.status.sync_status == "Succeeded"


def test_what_the_device_plugin_cannot_offer_is_told(rig: Rig) -> None:
    wanted = rig.interface(vfs=2)
    wanted["vfGroups"][0]["resourceName"] = "no.dots"
    rig.want(wanted)
    rig.turn()
    assert rig.vfs() == 2
    assert rig.status.sync_status == "Failed"
    assert "cannot be a resource's name" in rig.status.last_sync_error
    assert not rig.offer.exists()
