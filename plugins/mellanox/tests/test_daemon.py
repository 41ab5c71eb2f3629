"""The daemon with cards whose firmware has to be set: one reboot, and none in vain a second time."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.daemon.status import judge_report

FIRST = "0000:3b:00.0"
SECOND = "0000:3b:00.1"
OTHER = "0000:5e:00.0"


def test_a_change_of_firmware_takes_one_reboot_and_no_second_one(rig: Any) -> None:
    card = rig.host.add_card("connectx-5")
    rig.want(first=16)
    rig.turn()
    assert (rig.needed, rig.reboots) == ("Reboot_Required", 0)
    assert card.firmware.next["NUM_OF_VFS"] == 8, "nothing is touched before the node is drained"
    assert [step.op for step in rig.status.plan.steps] == ["mellanox.set_nvconfig"]
    rig.turn()
    assert (rig.reboots, card.firmware.next["NUM_OF_VFS"]) == (1, 16)
    assert rig.status.sync_status == "InProgress"
    rig.host.reboot()
    rig.start()
    rig.turns(6)
    assert (rig.reboots, rig.vfs(FIRST), rig.needed) == (1, 16, "Idle")
    assert rig.report is not None
    assert judge_report(rig.report).sync == "Succeeded"
    assert rig.status.attempts == ()
    queries = rig.ground.queries()
    rig.turns(5)
    assert rig.ground.queries() == queries, "a card that is as wanted is left in peace"


def test_sriov_that_is_off_on_both_ports_takes_one_reboot(rig: Any) -> None:
    rig.host.add_card("connectx-4lx", firmware={"SRIOV_EN": False})
    rig.want(first=4, second=8)
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.vfs(SECOND), rig.needed) == (1, 4, 8, "Idle")


def test_of_two_cards_only_the_first_needs_the_reboot(rig: Any) -> None:
    first = rig.host.add_card("connectx-5")
    second = rig.host.add_card("connectx-7", address="0000:5e:00")
    rig.want(first=16, other=4)
    rig.turn()
    assert rig.needed == "Reboot_Required"
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.vfs(OTHER)) == (1, 16, 4)
    assert (first.firmware.current["NUM_OF_VFS"], second.firmware.current["NUM_OF_VFS"]) == (16, 16)


def test_firmware_that_ignores_the_change_is_not_rebooted_for_again(rig: Any) -> None:
    card = rig.host.add_card("connectx-5")
    card.firmware.deaf = True
    rig.want(first=16, second=4)
    rig.turns(10)
    assert (rig.reboots, rig.blocked, rig.needed) == (1, ["RebootIneffective"], "Idle")
    assert rig.status.sync_status == "Failed"
    assert "the node was rebooted once" in rig.status.last_sync_error
    assert rig.vfs(SECOND) == 4, "the port that has enough goes on"
    rig.turns(5)
    assert rig.reboots == 1
    rig.start()  # nor does another process
    rig.turns(5)
    assert rig.reboots == 1
    card.firmware.deaf = False
    rig.want(first=16, second=4, retry="again")
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.blocked) == (2, 16, [])


def test_firmware_that_forgets_the_change_is_not_rebooted_for_again(rig: Any) -> None:
    card = rig.host.add_card("connectx-5")
    card.firmware.deaf = True
    rig.want(first=16)
    rig.turns(2)
    card.firmware.next["NUM_OF_VFS"] = 8
    rig.start()
    rig.turns(8)
    assert (rig.reboots, rig.blocked) == (1, ["RebootIneffective"])


def test_firmware_that_refuses_is_not_rebooted_for(rig: Any) -> None:
    card = rig.host.add_card("connectx-5")
    card.firmware.refuses = "The configuration is rejected"
    rig.want(first=16)
    rig.turns(4)
    assert rig.reboots == 0
    assert "The configuration is rejected" in rig.status.last_sync_error
    rig.turns(10)
    assert (rig.reboots, rig.needed, rig.blocked) == (0, "Idle", ["DrainIneffective"]), "nor kept drained for it"
    rig.start()
    rig.turns(2)
    assert (rig.needed, rig.blocked) == ("Idle", ["DrainIneffective"])
    card.firmware.refuses = ""
    rig.want(retry="again", first=16)
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.blocked) == (1, 16, [])


def test_firmware_that_is_not_prepared_for_a_reboot_is_not_rebooted_for(rig: Any) -> None:
    rig.host.install_firmware_tool("4.34.1")
    card = rig.host.add_card("connectx-6dx")
    card.firmware.unprepared = True
    rig.want(first=24, second=4)
    rig.turns(4)
    assert rig.reboots == 0
    assert "mstflint 4.34.1 and firmware 22." in rig.status.last_sync_error
    assert (rig.needed, rig.vfs(SECOND)) == ("Idle", 4), "the other port goes on, and the node is not kept drained"
    assert rig.blocked == ["DrainIneffective"]
    rig.host.reboot(power_cycle=True)
    rig.start()
    rig.turns(4)
    assert (rig.reboots, rig.vfs(FIRST), rig.blocked) == (0, 24, [])


def test_a_power_cycle_is_asked_of_a_person(rig: Any) -> None:
    card = rig.host.add_card("bluefield-2")
    rig.want(first=20, second=4)
    rig.turns(6)
    assert (rig.reboots, rig.blocked, rig.needed) == (0, ["PowerCycleRequired"], "Idle")
    assert card.firmware.next["NUM_OF_VFS"] == 20
    assert rig.status.sync_status == "Failed"
    assert "it takes a power cycle of the node" in rig.status.last_sync_error
    assert rig.vfs(SECOND) == 4
    rig.host.reboot(power_cycle=True)
    rig.start()
    rig.turns(6)
    assert (rig.reboots, rig.vfs(FIRST), rig.blocked) == (0, 20, [])


def test_without_the_tool_the_status_says_what_would_lift_the_limit(rig: Any) -> None:
    rig.host.add_card("connectx-5")
    rig.host.fail("run mstconfig", error=FileNotFoundError(2, "No such file"))
    rig.want(first=16)
    rig.turns(3)
    assert (rig.reboots, rig.status.sync_status) == (0, "Failed")
    assert "install the package mstflint on the host" in rig.status.last_sync_error


# --- what is wanted changes while a reboot is pending -----------------------------------------------------------------


@pytest.mark.parametrize(("then", "asked"), [(4, 1), (8, 1), (24, 2)])
def test_another_number_while_the_reboot_is_pending(rig: Any, then: int, asked: int) -> None:
    card = rig.host.add_card("connectx-5")
    rig.want(first=16)
    rig.turn()
    rig.turn()
    assert rig.reboots == 1
    rig.want(first=then)
    for _ in range(3):
        rig.turn()
    assert (rig.reboots, rig.needed == "Idle") == (asked, then <= 8), "what needs no reboot does not wait for it"
    assert card.firmware.next["NUM_OF_VFS"] == max(16, then), "what is set already stays"
    rig.host.reboot()
    rig.start()
    rig.turns(6)
    assert (rig.reboots, rig.vfs(FIRST), rig.needed, rig.status.attempts) == (asked, then, "Idle", ())


def test_a_policy_that_is_deleted_while_the_reboot_is_pending(rig: Any) -> None:
    rig.host.add_card("connectx-5")
    rig.want(first=4)
    rig.turns(4)
    rig.want(first=16)
    rig.turn()
    rig.turn()
    rig.want()
    rig.turn()
    rig.turn()
    assert (rig.reboots, rig.vfs(FIRST), rig.needed) == (1, 0, "Idle")
    rig.host.reboot()
    rig.start()
    rig.turns(4)
    assert (rig.reboots, rig.vfs(FIRST), rig.status.attempts) == (1, 0, ())


def test_another_cards_need_that_comes_while_the_reboot_is_pending(rig: Any) -> None:
    first = rig.host.add_card("connectx-5")
    second = rig.host.add_card("connectx-5", address="0000:5e:00")
    rig.want(first=16)
    rig.turn()
    rig.turn()
    assert rig.reboots == 1
    rig.want(first=16, other=12)
    rig.turn()
    rig.turn()
    assert (first.firmware.next["NUM_OF_VFS"], second.firmware.next["NUM_OF_VFS"]) == (16, 12)
    first.firmware.deaf = True
    rig.host.reboot()
    rig.start()
    rig.turns(6)
    assert (rig.vfs(OTHER), rig.blocked, rig.needed) == (12, ["RebootIneffective"], "Idle")
    (attempt,) = rig.status.attempts
    assert attempt.count == 1, "it was asked for twice, and made once"


def test_ports_of_one_card_on_policies_of_their_own_take_one_reboot(rig: Any) -> None:
    card = rig.host.add_card("connectx-5")
    rig.want(first=12, second=16)
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.vfs(SECOND)) == (1, 12, 16)
    rig.want(first=16)
    rig.turns(6)
    assert (rig.reboots, rig.vfs(FIRST), rig.vfs(SECOND)) == (1, 16, 0), "what the other had is enough"
    assert card.firmware.next["NUM_OF_VFS"] == 16
