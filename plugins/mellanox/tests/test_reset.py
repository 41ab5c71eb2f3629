"""A card is reset in the hope that it spares the node a reboot: only where that is allowed, and once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.host.api import CommandResult
from virtfn.host.command import HostCommands
from virtfn.model import DesiredPf, DesiredState, Disruption, LinkType, PciAddress
from virtfn.testing.ground.card import Quirks
from virtfn.testing.profiles import load_profile

FIRST, SECOND = PciAddress.parse("0000:3b:00.0"), PciAddress.parse("0000:3b:00.1")
OTHER = PciAddress.parse("0000:5e:00.0")
RESET = "mellanox.reset_card"
DPU = {
    "INTERNAL_CPU_MODEL": "EMBEDDED_CPU",
    "INTERNAL_CPU_PAGE_SUPPLIER": "ECPF",
    "INTERNAL_CPU_ESWITCH_MANAGER": "ECPF",
    "INTERNAL_CPU_IB_VPORT0": "ECPF",
    "INTERNAL_CPU_OFFLOAD_ENGINE": "ENABLED",
}


@pytest.fixture
def ground(ground: Any) -> Any:
    ground.firmware_reset = True
    ground.restart()
    return ground


def ops(plan: Any) -> list[str]:
    return [step.op for step in plan.steps]


def resets(host: Any) -> list[tuple[str, ...]]:
    return [call.value for call in host.calls if call.kind == "run" and call.value[-1] == "reset"]


def numbers(rig: Any, *addresses: PciAddress) -> list[int]:
    return [rig.vfs(str(address)) for address in addresses]


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_the_reset_comes_after_the_settings_and_tells_whom_it_takes_the_vfs_from(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.apply(DesiredPf(SECOND, 2))
    plan = ground.plan(DesiredPf(FIRST, 16), DesiredPf(SECOND, 12))
    assert ops(plan) == ["mellanox.set_nvconfig", "mellanox.set_nvconfig", RESET]
    (reset,) = (step for step in plan.steps if step.op == RESET)
    assert (reset.target, reset.disruption, dict(reset.args["settings"])["NUM_OF_VFS"]) == (
        str(FIRST),
        Disruption.RESET,
        16,
    )
    assert len(reset.affects) == 2
    assert plan.disruption is Disruption.REBOOT, "it is not known before whether it helps"


def test_where_nobody_has_allowed_it_nothing_is_reset_and_nothing_is_asked_for(ground: Any) -> None:
    ground.firmware_reset = False
    ground.restart()
    ground.host.add_card("connectx-5")
    assert RESET not in ops(ground.plan(DesiredPf(FIRST, 16)))
    assert not any(call.value[0] == "mstfwreset" for call in ground.host.calls if call.kind == "run")


def against(ground: Any, *wanted: DesiredPf) -> str:
    plan = ground.plan(*(wanted or (DesiredPf(FIRST, 20),)))
    assert RESET not in ops(plan)
    (step,) = plan.steps
    assert step.disruption is Disruption.REBOOT
    return str(step.why.partition("no reset is tried: ")[2])


def test_without_the_tool(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.host.fail("run mstfwreset", error=FileNotFoundError(2, "No such file"))
    assert "mstfwreset: not installed" in against(ground)


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        (
            "proc/net/route",
            "Iface Destination Gateway\n{name} 00000000 0100000A\n",
            "uses it: an IPv4 route on ens1f1",
        ),
        ("proc/net/if_inet6", "fd00 2 40 00 80 {name}\n", "an IPv6 address on ens1f1"),
        ("sys/class/net/{name}/upper_bond0", "", "bond0 on ens1f1"),
    ],
)
def test_a_port_that_carries_the_hosts_own_network_is_not_taken_down(
    ground: Any, path: str, text: str, words: str
) -> None:
    ground.host.add_card("connectx-5", names=("ens1f0", "ens1f1"))
    file = ground.host.root / path.format(name="ens1f1")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.format(name="ens1f1"), encoding="utf-8")
    assert words in against(ground)


def test_a_port_that_somebody_else_was_given_is_not_reset(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.host.move_to_namespace(str(SECOND))
    assert f"{SECOND} has its netdev in another network namespace" in against(ground)


def test_an_address_that_every_interface_has_is_no_use_of_it(ground: Any) -> None:
    ground.host.add_card("connectx-5", names=("ens1f0", "ens1f1"))
    (ground.host.root / "proc/net").mkdir(parents=True)
    (ground.host.root / "proc/net/if_inet6").write_text("fe80 2 40 20 80 ens1f0\nfd00 3 40 00 80 eth0\n")
    assert RESET in ops(ground.plan(DesiredPf(FIRST, 20)))


def test_vfs_of_somebody_else_are_not_taken(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.machine.set_num_vfs(SECOND, 2)
    assert f"{SECOND} has VFs that are not virtfn's" in against(ground)
    wanted = DesiredPf(FIRST, 20), DesiredPf(SECOND, 2, externally_managed=True)
    assert f"{SECOND} has VFs that are not virtfn's" in against(ground, *wanted)


def test_bluefield_whose_mode_is_not_known_is_left_alone(ground: Any) -> None:
    profile = load_profile("bluefield-2")
    old = replace(profile, driver=replace(profile.driver, firmware_version="24.36.7506 (MT_0000000375)"))
    ground.host.add_card(old, firmware=DPU)
    assert RESET not in ops(ground.plan(DesiredPf(FIRST, 20)))
    ground.host.cards[0].firmware.current["INTERNAL_CPU_MODEL"] = "SEPARATED_HOST"
    ground.restart()
    assert RESET in ops(ground.plan(DesiredPf(FIRST, 20)))


# --- the step ---------------------------------------------------------------------------------------------------------


def test_the_tool_is_run_as_it_wants_with_no_vfs_on_either_port(ground: Any) -> None:
    card = ground.host.add_card("connectx-5")
    ground.apply(DesiredPf(FIRST, 4), DesiredPf(SECOND, 4))
    _, outcome = ground.apply(DesiredPf(FIRST, 16), DesiredPf(SECOND, 4))
    assert (outcome.failed, outcome.steps[-1].detail) == (None, "the card was reset")
    assert resets(ground.host) == [("mstfwreset", "-d", str(FIRST), "--skip_driver", "-l", "3", "-y", "reset")]
    assert card.firmware.current["NUM_OF_VFS"] == 16
    assert ground.apply(DesiredPf(FIRST, 16), DesiredPf(SECOND, 4))[1].failed is None
    assert [pf.num_vfs for pf in ground.observe().inventory.pfs()] == [16, 4]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"lie": "-E- Synchronization by driver is not supported in the current state of this device.\n"}, "by driver"),
        ({"hang": True}, "did not end within 300 s"),
        ({"lie": "-I- FW was loaded successfully.\n"}, "says that it reset the card, and by mstconfig NUM_OF_VFS is 8"),
        ({"error": PermissionError(13, "Permission denied")}, "cannot be run"),
    ],
)
def test_whatever_goes_wrong_is_told_and_is_no_failure(ground: Any, fault: dict[str, Any], words: str) -> None:
    ground.host.add_card("connectx-5")
    ground.host.fail(lambda call: call.kind == "run" and call.value[-1] == "reset", **fault)
    plan, outcome = ground.apply(DesiredPf(FIRST, 16))
    assert (ops(plan), outcome.failed) == (["mellanox.set_nvconfig", RESET], None)
    assert outcome.steps[-1].status == "skipped"
    assert words in outcome.steps[-1].detail


def test_a_card_whose_ports_do_not_come_back_is_told(ground: Any) -> None:
    ground.host.add_card("connectx-5")

    def falls_off_the_bus(argv: tuple[str, ...]) -> CommandResult:
        result: CommandResult = ground.host.reset_tool(argv)
        if argv[-1] == "reset":
            ground.host.unplug("0000:3b:00")
        return result

    ground.host.install("mstfwreset", falls_off_the_bus)
    _, outcome = ground.apply(DesiredPf(FIRST, 16))
    assert "waited 60 s for the netdevs of the card" in outcome.steps[-1].detail


def test_what_has_come_to_stand_on_a_port_since_is_seen(ground: Any) -> None:
    ground.host.add_card("connectx-5", names=("ens1f0", "ens1f1"))
    seen = ground.observe()
    (ground.host.root / "sys/class/net/ens1f1/upper_br0").write_text("")
    desired = DesiredState(pfs=(DesiredPf(FIRST, 16),))
    outcome = ground.node.perform(ground.node.plan(seen, desired), seen, desired)
    assert "is not reset, as this host uses it: br0 on ens1f1" in outcome.steps[-1].detail
    assert resets(ground.host) == []


@pytest.mark.parametrize("profile", ["connectx-5", "bluefield-2"])
def test_a_card_that_somebody_has_reset_takes_a_reboot_for_the_kernel_to_see_it(ground: Any, profile: str) -> None:
    """PCI was not enumerated anew: neither is it the firmware's doing then nor that of the BIOS."""
    ground.firmware_reset = False
    ground.restart()
    card = ground.host.add_card(profile, quirks=Quirks(hotplug=False))
    card.firmware.next["NUM_OF_VFS"] = 32
    ground.host.reset_card(card)
    wanted = DesiredPf(FIRST, 20), DesiredPf(SECOND, 2)
    plan, outcome = ground.apply(*wanted)
    (step,) = (step for step in plan.steps if step.target == str(FIRST))
    assert (step.op, step.disruption, outcome.failed) == ("mellanox.await_reboot", Disruption.REBOOT, None)
    assert (plan.errors, ground.observe().inventory.pf(SECOND).num_vfs) == ((), 2)
    ground.host.reboot()
    assert ground.apply(*wanted)[1].failed is None
    assert ground.observe().inventory.pf(FIRST).num_vfs == 20


# --- with programs on the PATH ----------------------------------------------------------------------------------------


@pytest.fixture
def node_with_programs(ground: Any, tool: Any) -> Any:
    """Observe, plan, perform with the programs of this machine; the simulated card does not follow them."""
    ground.host.add_card("connectx-5")
    ground.commands = HostCommands()
    ground.restart()
    return ground


def test_a_program_that_resets(node_with_programs: Any, tool: Any) -> None:
    plan, outcome = node_with_programs.apply(DesiredPf(FIRST, 16))
    assert (ops(plan)[-1], outcome.failed) == (RESET, None)
    assert "the card was reset, and the kernel still lets" in outcome.steps[-1].detail
    assert tool.resets == [f"-d {FIRST} --skip_driver -l 3 -y reset"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"reset_lies": True}, "by mstconfig SRIOV_EN is False, not True"),
        ({"reset_fails": "-E- The tool is not supported on virtual machines."}, "virtual machines.; exit code 1"),
        ({"reset_sleeps": 30}, "did not end within 0.5 s and was stopped"),
    ],
)
def test_a_program_that_does_not(
    node_with_programs: Any, tool: Any, state: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virtfn_mellanox.reset.RESET_SECONDS", 0.5)
    tool.be(**state)
    _, outcome = node_with_programs.apply(DesiredPf(FIRST, 16))
    assert outcome.failed is None
    assert words in outcome.steps[-1].detail


# --- the daemon -------------------------------------------------------------------------------------------------------


def test_a_reset_that_helps_spares_the_reboot(rig: Any) -> None:
    rig.host.add_card("connectx-5")
    rig.want(first=4, second=4)
    rig.turns(4)
    assert numbers(rig, FIRST, SECOND) == [4, 4]
    rig.want(first=16, second=4)
    rig.turn()
    assert (rig.needed, resets(rig.host)) == ("Reboot_Required", []), "nothing is touched before the node is drained"
    assert rig.status.plan.disruption == "REBOOT"
    rig.turns(6)
    assert (rig.reboots, numbers(rig, FIRST, SECOND), rig.needed) == (0, [16, 4], "Idle")
    assert len(resets(rig.host)) == 1
    assert (rig.status.sync_status, rig.status.attempts) == ("Succeeded", ())


def test_a_port_that_lacked_nothing_gets_its_vfs_back_at_once(rig: Any) -> None:
    """The reset took them: nobody else has changed anything."""
    rig.host.add_card("connectx-5")
    rig.want(first=4, second=4)
    rig.turns(4)
    rig.want(first=16, second=4)
    rig.turn()
    rig.turn()
    assert numbers(rig, FIRST, SECOND) == [0, 0]
    rig.turn()
    assert numbers(rig, FIRST, SECOND) == [16, 4]
    assert rig.report.decision.drifts == ()


def test_a_reset_that_does_not_help_is_followed_by_one_reboot(rig: Any) -> None:
    card = rig.host.add_card("connectx-5")
    card.firmware.deaf = True
    rig.want(first=16)
    rig.turns(10)
    assert (rig.reboots, rig.blocked, len(resets(rig.host))) == (1, ["RebootIneffective"], 1)
    assert tuple(reason for reason, _ in rig.events if "Re" in reason) == ("ResetInVain", "RebootNode")
    rig.start()
    rig.turns(5)
    assert (rig.reboots, len(resets(rig.host))) == (1, 1)
    card.firmware.deaf = False
    rig.want(first=16, retry="again")
    rig.turns(8)
    assert (rig.reboots, rig.vfs(str(FIRST)), rig.blocked, len(resets(rig.host))) == (1, 16, [], 2)


@pytest.mark.parametrize("fault", [{"hang": True}, {"lie": "-E- Failed\n"}])
def test_a_reset_that_fails_is_told_and_the_node_rebooted_at_once(rig: Any, fault: dict[str, Any]) -> None:
    rig.host.add_card("connectx-5")
    rig.host.fail(lambda call: call.kind == "run" and call.value[-1] == "reset", **fault)
    rig.want(first=16)
    rig.turn()
    rig.turn()
    assert rig.reboots == 1
    kinds = {attempt.kind: attempt.seen for attempt in rig.loop._memory.record.attempts}
    assert "mstfwreset" in kinds["Reset"]
    assert kinds["Reboot"] == ""
    rig.host.reboot()
    rig.start()
    rig.turns(5)
    assert (rig.reboots, rig.vfs(str(FIRST)), rig.status.attempts) == (1, 16, ())


def test_vfs_that_the_drain_has_left_in_use_are_not_taken_by_a_reset(rig: Any) -> None:
    """A pod of a DaemonSet stays: it lives through a reboot, and would sit there without its VF after a reset."""
    rig.host.add_card("connectx-5")
    rig.want(first=4)
    rig.turns(4)
    rig.host.move_to_namespace(str(rig.ground.machine.vf_address(FIRST, 1)))
    rig.want(first=16)
    rig.turns(6)
    assert (rig.reboots, resets(rig.host), rig.vfs(str(FIRST))) == (1, [], 16)
    assert any("VFs of it are still in use" in note for reason, note in rig.events if reason == "ResetInVain")


def test_one_card_is_spared_and_the_other_is_not_reset_in_vain(rig: Any) -> None:
    """Where the node is rebooted in any case, to reset another card before would only take its network twice."""
    rig.host.add_card("connectx-5")
    rig.host.add_card("connectx-5", address="0000:5e:00", names=("ens2f0", "ens2f1"))
    (rig.host.root / "sys/class/net/ens2f1/upper_bond0").write_text("")
    rig.want(first=16, other=12)
    rig.turns(8)
    assert (rig.reboots, resets(rig.host), numbers(rig, FIRST, OTHER)) == (1, [], [16, 12])


def test_two_cards_that_can_both_be_reset_take_no_reboot(rig: Any) -> None:
    rig.host.add_card("connectx-5")
    rig.host.add_card("connectx-5", address="0000:5e:00")
    rig.want(first=16, other=12)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), numbers(rig, FIRST, OTHER)) == (0, 2, [16, 12])


def test_of_two_cards_whose_reset_helps_one_the_node_reboots_once_for_the_other(rig: Any) -> None:
    rig.host.add_card("connectx-5")
    rig.host.add_card("connectx-5", address="0000:5e:00")
    rig.host.fail(lambda call: call.kind == "run" and call.value[-1] == "reset" and "5e" in call.value[2], hang=True)
    rig.want(first=16, other=12)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), numbers(rig, FIRST, OTHER)) == (1, 2, [16, 12])
    (told,) = (note for reason, note in rig.events if reason == "RebootNode")
    assert "12 VFs" in told
    assert "16 VFs" not in told


def test_a_daemon_that_ends_in_the_middle_of_a_reset_does_not_try_it_again(rig: Any) -> None:
    rig.host.add_card("connectx-5")
    rig.want(first=16)
    rig.turn()

    def ends(argv: tuple[str, ...]) -> CommandResult:
        raise KeyboardInterrupt

    rig.host.install("mstfwreset", ends)
    with pytest.raises(KeyboardInterrupt):
        rig.loop.turn()
    rig.host.install("mstfwreset", rig.host.reset_tool)
    rig.start()
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), rig.vfs(str(FIRST))) == (1, 1, 16)


def test_a_kernel_that_does_not_read_the_card_anew_takes_the_reboot(rig: Any) -> None:
    rig.host.add_card("connectx-5", quirks=Quirks(hotplug=False))
    rig.want(first=16, second=4)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), numbers(rig, FIRST, SECOND)) == (1, 1, [16, 4])
    assert (rig.status.sync_status, rig.status.attempts) == ("Succeeded", ())
    (told,) = (note for reason, note in rig.events if reason == "ResetInVain")
    assert f"the kernel still lets {FIRST} have 8 VFs, not 16" in told


def test_bluefield_2_takes_a_reset_and_then_a_reboot_where_the_kernel_does_not_read_it_anew(rig: Any) -> None:
    """Neither helps it alone, and neither is made a second time."""
    card = rig.host.add_card("bluefield-2", quirks=Quirks(hotplug=False))
    rig.want(first=20)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), rig.vfs(str(FIRST)), rig.blocked) == (1, 1, 20, [])
    (told,) = (note for reason, note in rig.events if reason == "RebootNode")
    assert "the firmware has NUM_OF_VFS 20 in force, and the kernel has read 16 before" in told
    card.sriov = False  # in the BIOS
    rig.want(first=24)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), rig.needed) == (2, 2, "Idle")
    assert "not the firmware's doing" in rig.status.last_sync_error


def test_a_card_that_is_lost_by_a_reset_takes_the_reboot(rig: Any) -> None:
    rig.host.add_card("bluefield-2")

    def falls_off_the_bus(argv: tuple[str, ...]) -> CommandResult:
        result: CommandResult = rig.host.reset_tool(argv)
        if argv[-1] == "reset":
            rig.host.unplug("0000:3b:00.0")
        return result

    rig.host.install("mstfwreset", falls_off_the_bus)
    rig.want(first=20)
    rig.turns(3)
    assert rig.reboots == 1


def test_a_policy_that_goes_away_during_the_reset_takes_no_reboot(rig: Any) -> None:
    rig.host.add_card("connectx-5")

    def meanwhile(argv: tuple[str, ...]) -> CommandResult:
        if argv[-1] == "reset":
            rig.want()
        return CommandResult(argv, argv[-1] == "reset", "-E- Failed\n", "")

    rig.host.install("mstfwreset", meanwhile)
    rig.want(first=16)
    rig.turns(6)
    assert (rig.reboots, rig.needed) == (0, "Idle")


def test_bluefield_2_needs_no_person_if_its_reset_helps(rig: Any) -> None:
    rig.host.add_card("bluefield-2")
    rig.want(first=20)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), rig.vfs(str(FIRST)), rig.blocked) == (0, 1, 20, [])


def test_bluefield_2_waits_for_a_person_if_its_reset_does_not_help(rig: Any) -> None:
    card = rig.host.add_card("bluefield-2")
    card.firmware.deaf = True
    rig.want(first=20)
    rig.turns(8)
    assert (rig.reboots, len(resets(rig.host)), rig.blocked) == (0, 1, ["PowerCycleRequired"])
    rig.host.reboot()
    rig.start()
    rig.turns(5)
    assert (rig.reboots, len(resets(rig.host)), rig.blocked) == (0, 1, ["PowerCycleRequired"])
    rig.want(first=24)
    rig.turns(5)
    assert (len(resets(rig.host)), rig.blocked) == (2, ["PowerCycleRequired"])
    card.firmware.deaf = False
    rig.want(first=24, retry="now")
    rig.turns(6)
    assert (rig.reboots, len(resets(rig.host)), rig.vfs(str(FIRST)), rig.blocked) == (0, 3, 24, [])


def test_firmware_that_is_not_prepared_for_a_reboot_is_reset(rig: Any) -> None:
    rig.host.install_firmware_tool("4.34.1")
    rig.host.add_card("connectx-6dx").firmware.unprepared = True
    rig.want(first=24)
    rig.turns(8)
    assert (rig.reboots, numbers(rig, FIRST), rig.needed, rig.blocked) == (0, [24], "Idle", [])


def test_a_link_type_comes_into_force_by_a_reset_too(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    wanted = DesiredPf(FIRST, 0, link_type=LinkType.IB)
    _, outcome = ground.apply(wanted)
    assert outcome.steps[-1].detail == "the card was reset"
    assert ground.observe().inventory.pf(FIRST).netdev.link_type is LinkType.IB


@pytest.mark.parametrize("helps", [True, False])
@pytest.mark.parametrize("number", [4, 7, 9])
def test_wherever_a_daemon_ends_there_is_one_reset_at_most_and_one_reboot(rig: Any, number: int, helps: bool) -> None:
    rig.host.add_card("connectx-5", quirks=Quirks(hotplug=helps))
    rig.want(first=2, second=2)
    rig.turns(4)
    left = number

    def ends(call: Any) -> bool:
        nonlocal left
        if call.kind in ("run", "write"):
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return False

    rig.host.fail(ends, hang=True)
    rig.want(first=12, second=2)
    with pytest.raises(KeyboardInterrupt):
        rig.turns(12)
    if rig.reboots:
        rig.host.reboot()
    rig.start()
    rig.turns(8)
    assert len(resets(rig.host)) <= 1
    assert rig.reboots <= 1
    assert (numbers(rig, FIRST, SECOND), rig.needed, rig.status.attempts) == ([12, 2], "Idle", ())
