"""A node's loop on a simulated machine, without a cluster: the test says what is wanted, and reads what is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from virtfn import Plugin, hookimpl
from virtfn.daemon.decision import Decision, Rules
from virtfn.daemon.gate import Handshake
from virtfn.daemon.loop import LoopSettings, NodeLoop, Turn
from virtfn.daemon.plan_report import digest_of
from virtfn.daemon.record import RecordFile
from virtfn.daemon.request import Request
from virtfn.daemon.status import Judgement, Report, judge_report, status_of
from virtfn.errors import RequestError, Unavailable
from virtfn.host.api import CommandResult, Host, HostReader
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.kube.events import EventType
from virtfn.kube.meter import Tally
from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DeviceModel,
    Disruption,
    Inventory,
    OutcomeStatus,
    PciAddress,
    PciId,
    Step,
    StepOutcome,
)
from virtfn.model.crd import NodeStateStatus
from virtfn.node import Node
from virtfn.registry import GENERIC, Registry, load_registry
from virtfn.testing import FakeHost
from virtfn.testing.ground.calls import Call, Fault
from virtfn.testing.subject import subject_of

PF = PciAddress.parse("0000:01:00.0")
OTHER = PciAddress.parse("0000:21:00.0")
SETTINGS = LoopSettings(period=30.0, suspicion=5.0, retry_least=5.0, settle=60.0, reboot_wait=600.0)


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


def interface(pf: PciAddress = PF, *, vfs: int = 4, device_type: str = "netdevice", **more: Any) -> dict[str, Any]:
    """One entry of a node state's spec."""
    group = {"resourceName": "net", "deviceType": device_type, "vfRange": f"0-{vfs - 1}", "policyName": "p"}
    return {"pciAddress": str(pf), "numVfs": vfs, "vfGroups": [group], **more}


class Knob(Plugin):
    """A card with a setting in its firmware, which has to be `on` for VFs and is in force after a reboot."""

    name = "knob"
    api_version = 1

    @hookimpl
    def device_table(self) -> Sequence[DeviceModel]:
        return (DeviceModel("Knob", PciId("8086", "10c9"), PciId("8086", "10ca"), driver="igb"),)

    @hookimpl
    def observe(self, adapter: Adapter, host: HostReader) -> Mapping[str, Any]:
        return {"knob": host.run(("knobctl", "get", adapter.address)).stdout.strip()}

    @hookimpl
    def plan_firmware(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        if adapter.facts["knob"] == "on" or not any(pf.num_vfs for pf in desired.pfs if not pf.release):
            return ()
        why = f"the knob is {adapter.facts['knob']}, VFs want it on"
        return (Step("knob.set", adapter.address, why, args={"to": "on"}, disruption=Disruption.REBOOT),)

    @hookimpl
    def perform(self, step: Step, adapter: Adapter, host: Host) -> StepOutcome | None:
        if step.op != "knob.set":
            return None
        host.run(("knobctl", "set", adapter.address))
        return StepOutcome(step, OutcomeStatus.DONE)


@dataclass
class Knobs:
    """The firmware behind the plugin, and systemd."""

    host: FakeHost
    works: bool = True
    value: str = "off"
    pending: str = ""
    reboots: int = 0
    sets: int = 0
    refuses: bool = False

    def __post_init__(self) -> None:
        self.host.install("knobctl", self._knobctl, writes=lambda argv: argv[1] == "set")
        self.host.install("systemd-run", self._systemd_run)

    def _knobctl(self, argv: tuple[str, ...]) -> CommandResult:
        if argv[1] == "set":
            self.sets += 1
            self.pending = "on"
        return CommandResult(argv, 0, self.value, "")

    def _systemd_run(self, argv: tuple[str, ...]) -> CommandResult:
        if self.refuses:
            return CommandResult(argv, 1, "", "Failed to connect to bus")
        self.reboots += 1
        return CommandResult(argv, 0, "", "")

    def boot(self) -> None:
        """The reboot that was asked for happens."""
        if self.works and self.pending:
            self.value, self.pending = self.pending, ""
        self.host.reboot()


class Rig:
    """The loop with everything around it."""

    PF = PF
    OTHER = OTHER
    interface = staticmethod(interface)

    def __init__(self, host: FakeHost, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.machine = Machine(host.kernel)
        self.clock = Clock()
        self.tally = Tally()
        self.request: Request | RequestError | None = None
        self.told: list[Report] = []
        self.events: list[tuple[str, str]] = []
        self.unreachable = False
        self.registry: Callable[[frozenset[PciId]], Registry] = load_registry
        self.settings = SETTINGS
        self.before_publish: Callable[[Report], None] = lambda report: None
        self.restart()

    def restart(self, settings: LoopSettings | None = None) -> None:
        """The process ends, and another one begins."""
        self.settings = settings or self.settings
        journal = Journal(self.folder / "journal")
        self.loop = NodeLoop(
            Node(self.machine, journal=journal, now=time.monotonic, registry=lambda ids: self.registry(ids)),
            machine=self.machine,
            source=self,
            teller=self,
            record=RecordFile(self.record_file),
            run_dir=self.folder / "run",
            clock=self.clock,
            meter=self.tally,
            settings=self.settings,
        )

    def alone(self, word: Any) -> None:
        """Without a controller."""
        self.restart(replace(self.settings, rules=Rules(disrupt=word)))

    # --- what the loop stands on --------------------------------------------------------------------------------------

    def read(self, inventory: Inventory) -> Request | None:
        if isinstance(self.request, RequestError):
            raise self.request
        return self.request

    def publish(self, report: Report) -> None:
        self.before_publish(report)
        if self.unreachable:
            raise Unavailable("the API server cannot be reached")
        self.told.append(report)
        if isinstance(self.request, Request):
            needed = status_of(report).needed_state
            self.request = replace(self.request, handshake=replace(self.request.handshake, needed=needed))

    def tell(self, *, reason: str, action: str, note: str, level: EventType = EventType.NORMAL) -> None:
        self.events.append((reason, note))

    # --- what tests do ------------------------------------------------------------------------------------------------

    @property
    def record_file(self) -> Path:
        return self.folder / "journal" / "daemon" / "record.json"

    @property
    def offer(self) -> Path:
        return self.folder / "run" / "device-plugin" / "config.json"

    def want(self, *interfaces: Any, generation: int = 2, retry: str = "") -> None:
        before = self.request.handshake if isinstance(self.request, Request) else Handshake()
        self.request = Request(
            {"interfaces": list(interfaces)}, generation, uid="1", handshake=replace(before, retry=retry)
        )

    def shake(self, **hands: str) -> None:
        assert isinstance(self.request, Request)
        self.request = replace(self.request, handshake=replace(self.request.handshake, **hands))

    def drain(self) -> None:
        """What the controller does for the plan that was told last."""
        decision = self.told[-1].decision
        assert decision is not None
        self.shake(current="DrainComplete", desired=self.status.needed_state, drained_for=digest_of(decision.due))

    def undrain(self) -> None:
        self.shake(current="Idle", desired="Idle", drained_for="")

    def turn(self, *, after: float = 0.0) -> Turn:
        self.clock.seconds += after
        return self.loop.turn()

    def turns(self, seconds: float) -> list[Turn]:
        """All turns that come due in so many seconds."""
        end, made = self.clock.seconds + seconds, [self.turn()]
        while self.clock.seconds + made[-1].again <= end:
            made.append(self.turn(after=made[-1].again))
            assert len(made) < 1000, "it does not come to rest"
        return made

    @property
    def status(self) -> NodeStateStatus:
        return status_of(self.told[-1])

    @property
    def judged(self) -> Judgement:
        return judge_report(self.told[-1])

    @property
    def decision(self) -> Decision:
        decision = self.told[-1].decision
        assert decision is not None
        return decision

    def crash_at(self, target: str) -> Fault:
        """The process ends at a call: nothing after it is done any more."""

        def end(call: Call) -> bool:
            if call.target.endswith(target):
                raise KeyboardInterrupt
            return False

        return self.host.fail(end, hang=True)

    def vfs(self, pf: PciAddress = PF) -> int:
        return len(self.machine.vf_addresses(pf))


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """Two 82576 with one port each."""
    with FakeHost() as host:
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        host.add_card("82576", address="0000:21:00", names=("eth1",), ports=1)
        yield host


@pytest.fixture
def rig(host: FakeHost, tmp_path: Path) -> Rig:
    return Rig(host, tmp_path)


@pytest.fixture
def knobs(host: FakeHost, rig: Rig) -> Knobs:
    """The cards want a reboot for VFs."""
    generic = subject_of(GENERIC).kind
    rig.registry = lambda ids: Registry.for_testing({"8086.10c9": Knob, GENERIC: generic})
    return Knobs(host)
