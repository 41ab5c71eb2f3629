"""Cards of Mellanox in a simulated machine, the plugin with generic behind it, and a tool that is a real program."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
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
from virtfn.daemon.status import Report, status_of
from virtfn.host.api import CommandResult
from virtfn.host.command import HostCommands
from virtfn.host.kernel import Kernel
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.kube.events import EventType
from virtfn.kube.meter import Tally
from virtfn.model import DesiredPf, DesiredState, Inventory, Outcome, PciAddress, Plan
from virtfn.node import Node, Observation
from virtfn.registry import Registry
from virtfn.testing import FakeHost
from virtfn_generic import GenericPlugin
from virtfn_mellanox import MellanoxPlugin


def two_plugins() -> Registry:
    return Registry.for_testing({"15b3": MellanoxPlugin, "generic": GenericPlugin})


class Ground:
    """A simulated machine and the whole cycle over it."""

    def __init__(self, folder: Path) -> None:
        self.host = FakeHost()
        self.folder = folder
        self.firmware_reset = False
        self.commands = self.host.kernel.commands
        self.restart()

    def restart(self, kernel: Kernel | None = None) -> None:
        """A new process."""
        self.machine = Machine(kernel or replace(self.host.kernel, commands=self.commands))
        self.node = Node(
            self.machine,
            journal=Journal(self.folder / "journal"),
            now=self.host.kernel.clock.monotonic,
            registry=lambda _ids: two_plugins(),
            firmware_reset=self.firmware_reset,
        )

    def observe(self) -> Observation:
        return self.node.observe()

    def facts(self) -> dict[str, Any]:
        (adapter,) = self.observe().inventory.adapters
        return dict(adapter.facts)

    def plan(self, *wanted: DesiredPf) -> Plan:
        return self.node.plan(self.observe(), DesiredState(pfs=wanted))

    def apply(self, *wanted: DesiredPf) -> tuple[Plan, Outcome]:
        desired, observation = DesiredState(pfs=wanted), self.observe()
        plan = self.node.plan(observation, desired)
        return plan, self.node.perform(plan, observation, desired)

    def queries(self) -> int:
        """How often the tool was asked for a card's settings."""
        return sum(call.kind == "run" and call.value[-1] == "q" for call in self.host.calls)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    with made.host:
        yield made


PROGRAM = r"""#!{python} -IS
import json, os, sys, time

state_file = {state!r}
with open(state_file) as file:
    state = json.load(file)
words = sys.argv[1:]
with open(state_file[:-5] + "runs", "a") as runs:
    print(*words, file=runs)
device = words[words.index("-d") + 1] if "-d" in words else ""

def end(text, code=3, error=""):
    sys.stderr.write(error)
    sys.stdout.write(text)
    sys.stdout.flush()
    os._exit(code)

if "-v" in words:
    end("mstconfig, mstflint %s, Git SHA Hash: 1234abc\n" % state["version"], 0)
kind = "set" if "set" in words else "query"
for odd in state["odd"]:
    if odd.get("device", device) != device or odd.get("when", kind) != kind:
        continue
    if "sleep" in odd:
        time.sleep(odd["sleep"])
    if "kill" in odd:
        os.kill(os.getpid(), odd["kill"])
    end(odd.get("out", ""), odd.get("code", 3), odd.get("err", ""))
if kind == "set":
    if "-y" not in words:
        end("\n Apply new Configuration? (y/n) [n] : -E- Aborted by user.\n", 2)
    for word in words[words.index("set") + 1 :]:
        name, _, value = word.partition("=")
        if name not in state["next"]:
            end("-E- The Device doesn't support %s parameter\n" % name)
        state["next"][name] = {{"True": "True(1)", "ETH": "ETH(2)", "IB": "IB(1)"}}.get(value, value)
    if not state["lies"]:
        with open(state_file, "w") as file:
            json.dump(state, file)
    cycle = "reboot" if state["prepares"] else "power cycle"
    done = "-I- Please %s machine to load new configurations." % cycle
    end("\n Apply new Configuration? (y/n) [n] : y\nApplying... Done!\n%s\n" % done, 0)
version = tuple(map(int, state["version"].split(".")[:2]))
if "-j" in words and version < (4, 31):
    end("-E- invalid argument: -j\n    NAME:\n        mstconfig\n")
if "-j" in words:
    path = words[words.index("-j") + 1]
    with open(path, "w") as file:  # as the tool does: an empty object, read back, then the whole
        file.write("{{}}\n")
    with open(path) as file:
        whole = json.load(file)
    rows = {{}}
    for name, after in state["next"].items():
        rows[name] = {{"next_value": after, "current_value": state["current"][name], "default_value": after}}
        rows[name] = {{key: int(v) if v.isdigit() else v for key, v in rows[name].items()}}
    whole["Device #1"] = {{"device": device, "tlv_configuration": rows}}
    with open(path, "w") as file:
        json.dump(whole, file)
    end("", 0)
for since, label, head, row, cell, spaced in (
    ((4, 36), "%-20s", "%-56s%-33s %-33s %-33s", "%s%s     %-48s", "%-33s", True),
    ((4, 31), "%-20s", "%-20s%44s%20s%18s", "%s%s     %-44s", "%-20s", True),
    ((4, 26), "%-20s", "%-20s%39s%21s%23s", "%s%s     %-44s", "%-20s", True),
    ((4, 25), "%-16s", "%-16s%44s%16s%18s", "%s%s     %-44s", "%-16s", False),
    ((4, 22), "%-16s", "%-16s%44s%16s%18s", "%s%s      %-44s", "%-16s", False),
    ((0, 0), "%-16s", "%-16s%36s%16s%18s", "%s%s      %-36s", "%-16s", False),
):
    if version >= since:
        break
print("\nDevice #1:\n----------\n")
for about in ("Device type:", "ConnectX5"), ("Name:", "N/A"), ("Description:", "N/A"), ("Device:", device):
    print((label + label) % about)
print("\n" + head % ("Configurations:", "Default", "Current", "Next Boot"))
for name, after in state["next"].items():
    line = row % ("*" if after != state["current"][name] else " ", "  ", name)
    for value in (after, state["current"][name], after):
        text = cell % value
        line += text + " " * (spaced or len(text) > len(cell % ""))
    print(line)
print("The '*' shows parameters with next value different from default/current value.")
"""


RESET_PROGRAM = r"""#!{python} -IS
import json, sys, time

with open({state!r}) as file:
    state = json.load(file)
words = sys.argv[1:]
with open({state!r}[:-5] + "resets", "a") as runs:
    print(*words, file=runs)
if "-v" in words:
    sys.exit(print("mstfwreset, mstflint %s, Git SHA Hash: 1234abc" % state["version"]))
time.sleep(state.get("reset_sleeps", 0))
if state.get("reset_fails"):
    print(state["reset_fails"])
    sys.exit(1)
print("The reset level for device, %s is:" % words[words.index("-d") + 1])
print("-I- Sending Reset Command To Fw             -Done")
if not state.get("reset_lies"):
    state["current"] = dict(state["next"])
    with open({state!r}, "w") as file:
        json.dump(state, file)
print("-I- FW was loaded successfully.")
"""


class Tool:
    """A `mstconfig` and a `mstfwreset` that are programs on the PATH, with a card's settings in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"version": "4.21.0", "odd": [], "lies": False, "prepares": True}
        values = {"SRIOV_EN": "False(0)", "NUM_OF_VFS": "8", "LINK_TYPE_P1": "ETH(2)", "LINK_TYPE_P2": "ETH(2)"}
        self.state |= {"current": dict(values), "next": dict(values)}
        for name, text in (("mstconfig", PROGRAM), ("mstfwreset", RESET_PROGRAM)):
            program = folder / name
            program.write_text(text.format(python=sys.executable, state=str(folder / "state")), encoding="utf-8")
            program.chmod(0o755)
        self.save()

    def be(self, **changes: Any) -> None:
        self.state |= changes
        self.save()

    def save(self) -> None:
        (self.folder / "state").write_text(json.dumps(self.state), encoding="utf-8")

    @property
    def next(self) -> dict[str, str]:
        values: dict[str, str] = json.loads((self.folder / "state").read_text(encoding="utf-8"))["next"]
        return values

    @property
    def runs(self) -> list[str]:
        """The arguments of each run but those that asked for the version."""
        return self._runs("runs")

    @property
    def resets(self) -> list[str]:
        """The same of the program that resets cards."""
        return self._runs("resets")

    def _runs(self, name: str) -> list[str]:
        path = self.folder / name
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line for line in lines if line != "-v"]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Tool(folder)


@pytest.fixture
def machine_with(ground: Ground) -> Callable[..., Machine]:
    """A machine with a simulated card, whose programs are those of this machine."""

    def make(profile: str = "connectx-5", **more: Any) -> Machine:
        ground.host.add_card(profile, **more)
        return Machine(replace(ground.host.kernel, commands=HostCommands()))

    return make


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
        self.events: list[tuple[str, str]] = []
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
        self.events.append((reason, note))

    def want(self, retry: str = "", *, rdma: bool = False, **vfs: int) -> None:
        interfaces = [
            {
                "pciAddress": {"first": FIRST, "second": SECOND, "other": OTHER}[name],
                "numVfs": count,
                "vfGroups": [{"resourceName": "net", "vfRange": f"0-{count - 1}", "policyName": "p", "isRdma": rdma}],
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
