"""Cards of Mellanox in a simulated machine, the plugin with generic behind it, and a tool that is a real program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtfn.host.command import HostCommands
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredPf, DesiredState, Outcome, Plan
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
        self.restart()

    def restart(self) -> None:
        """A new process."""
        self.machine = Machine(self.host.kernel)
        self.node = Node(
            self.machine,
            journal=Journal(self.folder / "journal"),
            now=self.host.kernel.clock.monotonic,
            registry=lambda _ids: two_plugins(),
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
    done = "-I- Please reboot machine to load new configurations."
    end("\n Apply new Configuration? (y/n) [n] : y\nApplying... Done!\n%s\n" % done, 0)
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
print("\nDevice #1:\n----------\n\nDevice type:    ConnectX5       \nDevice:         %s\n" % device)
print("Configurations:                              Default         Current         Next Boot")
for name, after in state["next"].items():
    print("         %-36s%-16s%-16s%-16s" % (name, after, state["current"][name], after))
"""


class Tool:
    """A `mstconfig` that is a program on the PATH, with a card's settings in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"version": "4.21.0", "odd": [], "lies": False}
        values = {"SRIOV_EN": "False(0)", "NUM_OF_VFS": "8", "LINK_TYPE_P1": "ETH(2)", "LINK_TYPE_P2": "ETH(2)"}
        self.state |= {"current": dict(values), "next": dict(values)}
        program = folder / "mstconfig"
        program.write_text(PROGRAM.format(python=sys.executable, state=str(folder / "state")), encoding="utf-8")
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
        path = self.folder / "runs"
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
