"""The daemon with cards whose firmware has to be set: one reboot, and none in vain a second time."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from virtfn.daemon.gate import Handshake
from virtfn.daemon.loop import LoopSettings, NodeLoop, Turn
from virtfn.daemon.plan_report import digest_of
from virtfn.daemon.record import RecordFile
from virtfn.daemon.request import Request
from virtfn.daemon.status import Report, judge_report, status_of
from virtfn.host.api import CommandResult
from virtfn.kube.events import EventType
from virtfn.kube.meter import Tally
from virtfn.model import Inventory, PciAddress

FIRST = "0000:3b:00.0"
SECOND = "0000:3b:00.1"
OTHER = "0000:5e:00.0"


class Clock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        self.seconds += seconds
        return event.is_set()


class Rig:
    """The daemon's loop on a simulated machine; the test is the controller and systemd."""

    def __init__(self, ground: Any) -> None:
        self.ground = ground
        self.host = ground.host
        self.clock = Clock()
        self.request: Request | None = None
        self.report: Report | None = None
        self.reboots = 0
        self.host.install("systemd-run", self._systemd_run)
        self.start()

    def start(self) -> None:
        self.ground.restart()
        folder: Path = self.ground.folder
        self.loop = NodeLoop(
            self.ground.node,
            machine=self.ground.machine,
            source=self,
            teller=self,
            record=RecordFile(folder / "journal" / "daemon" / "record.json"),
            run_dir=folder / "run",
            clock=self.clock,
            meter=Tally(),
            settings=LoopSettings(),
        )

    def _systemd_run(self, argv: tuple[str, ...]) -> CommandResult:
        self.reboots += 1
        return CommandResult(argv, 0, "", "")

    def read(self, inventory: Inventory) -> Request | None:
        return self.request

    def publish(self, report: Report) -> None:
        self.report = report
        assert self.request is not None
        needed = status_of(report).needed_state
        self.request = replace(self.request, handshake=replace(self.request.handshake, needed=needed))

    def tell(self, *, reason: str, action: str, note: str, level: EventType = EventType.NORMAL) -> None:
        """Nobody listens."""

    def want(self, retry: str = "", **vfs: int) -> None:
        interfaces = [
            {
                "pciAddress": {"first": FIRST, "second": SECOND, "other": OTHER}[name],
                "numVfs": count,
                "vfGroups": [{"resourceName": "net", "vfRange": f"0-{count - 1}", "policyName": "p"}],
            }
            for name, count in vfs.items()
        ]
        before = self.request.handshake if self.request is not None else Handshake(current="Idle", desired="Idle")
        generation = self.request.generation + 1 if self.request is not None else 1
        self.request = Request({"interfaces": interfaces}, generation, uid="1", handshake=replace(before, retry=retry))

    def shake(self, **hands: str) -> None:
        assert self.request is not None
        self.request = replace(self.request, handshake=replace(self.request.handshake, **hands))

    def turn(self) -> Turn:
        """One turn, and the controller's answer to it."""
        self.clock.seconds += 60.0
        turn = self.loop.turn()
        assert self.report is not None
        decision = self.report.decision
        assert decision is not None
        if self.needed == "Idle":
            self.shake(current="Idle", desired="Idle", drained_for="")
        else:
            self.shake(current="DrainComplete", desired=self.needed, drained_for=digest_of(decision.due))
        return turn

    def turns(self, count: int = 4) -> None:
        """Some turns; what is asked of systemd in them happens after each."""
        for _ in range(count):
            before = self.reboots
            self.turn()
            if self.reboots > before:
                self.host.reboot()
                self.start()

    @property
    def needed(self) -> str:
        assert self.report is not None
        return str(status_of(self.report).needed_state)

    @property
    def status(self) -> Any:
        assert self.report is not None
        return status_of(self.report)

    @property
    def blocked(self) -> list[str]:
        assert self.report is not None
        assert self.report.decision is not None
        return [str(block.reason) for block in self.report.decision.blocked]

    def vfs(self, address: str) -> int:
        return len(self.ground.machine.vf_addresses(PciAddress.parse(address)))


@pytest.fixture
def rig(ground: Any) -> Rig:
    return Rig(ground)


def test_a_change_of_firmware_takes_one_reboot_and_no_second_one(rig: Rig) -> None:
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


def test_sriov_that_is_off_on_both_ports_takes_one_reboot(rig: Rig) -> None:
    rig.host.add_card("connectx-4lx", firmware={"SRIOV_EN": False})
    rig.want(first=4, second=8)
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.vfs(SECOND), rig.needed) == (1, 4, 8, "Idle")


def test_of_two_cards_only_the_first_needs_the_reboot(rig: Rig) -> None:
    first = rig.host.add_card("connectx-5")
    second = rig.host.add_card("connectx-7", address="0000:5e:00")
    rig.want(first=16, other=4)
    rig.turn()
    assert rig.needed == "Reboot_Required"
    rig.turns(8)
    assert (rig.reboots, rig.vfs(FIRST), rig.vfs(OTHER)) == (1, 16, 4)
    assert (first.firmware.current["NUM_OF_VFS"], second.firmware.current["NUM_OF_VFS"]) == (16, 16)


def test_firmware_that_ignores_the_change_is_not_rebooted_for_again(rig: Rig) -> None:
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


def test_firmware_that_forgets_the_change_is_not_rebooted_for_again(rig: Rig) -> None:
    card = rig.host.add_card("connectx-5")
    card.firmware.deaf = True
    rig.want(first=16)
    rig.turns(2)
    card.firmware.next["NUM_OF_VFS"] = 8
    rig.start()
    rig.turns(8)
    assert (rig.reboots, rig.blocked) == (1, ["RebootIneffective"])


def test_firmware_that_refuses_is_not_rebooted_for(rig: Rig) -> None:
    card = rig.host.add_card("connectx-5")
    card.firmware.refuses = "The configuration is rejected"
    rig.want(first=16)
    rig.turns(4)
    assert rig.reboots == 0
    assert "The configuration is rejected" in rig.status.last_sync_error


def test_a_power_cycle_is_asked_of_a_person(rig: Rig) -> None:
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


def test_without_the_tool_the_status_says_what_would_lift_the_limit(rig: Rig) -> None:
    rig.host.add_card("connectx-5")
    rig.host.fail("run mstconfig", error=FileNotFoundError(2, "No such file"))
    rig.want(first=16)
    rig.turns(3)
    assert (rig.reboots, rig.status.sync_status) == (0, "Failed")
    assert "install the package mstflint on the host" in rig.status.last_sync_error
