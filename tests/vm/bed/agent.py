"""Runs in the guest and does what the host asks for, until the host hangs up: for tests that stay on the host.

Questions and answers are pickles over a virtio port: (name of a method, its arguments) one way, (None, result) or
(text of an error, None) the other. Both ends are this checkout.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import sight, tidy
from bed.machine import WIRE
from bed.sight import PhysicalFunction

PORTS = Path("/sys/class/virtio-ports")
SHARE = Path("/run/vm")


class Agent:
    """What the host may ask for. Programs that it had started end with it."""

    def __init__(self) -> None:
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def look(self, address: str) -> PhysicalFunction:
        """One PF, by the kernel's own word."""
        return sight.look(address)

    def look_at_all(self) -> dict[str, PhysicalFunction]:
        """Every function that can have VFs."""
        return sight.look_at_all()

    def await_vfs(self, address: str, count: int, patience: float) -> bool:
        """Wait until a PF has so many VFs and each has a driver; False when it is not so in time."""
        drivers = [sight.PCI / address / f"virtfn{index}" / "driver" for index in range(count)]
        deadline = time.monotonic() + patience
        while not all(driver.exists() for driver in drivers):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def tidy(self, addresses: Sequence[str]) -> None:
        """Put PFs back to how the guest booted."""
        tidy.tidy_up(addresses)

    def run(self, argv: Sequence[str], timeout: float) -> tuple[int, str, str]:
        """A program's exit status, output and errors."""
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        return done.returncode, done.stdout, done.stderr

    def read(self, path: str) -> str:
        """A file's text."""
        return Path(path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        """Write a file, or into one of sysfs."""
        Path(path).write_text(text, encoding="utf-8")

    def start(self, name: str, argv: Sequence[str]) -> int:
        """Start a program that goes on; its output is `NAME.log` of the share. Returns its pid."""
        with (SHARE / f"{name}.log").open("ab") as output:
            self._programs[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        return self._programs[name].pid

    def pid(self, name: str) -> int:
        """Of a started program."""
        return self._programs[name].pid

    def status(self, name: str) -> int | None:
        """The exit status of a started program; None while it runs."""
        return self._programs[name].poll()

    def stop(self, name: str, number: int = signal.SIGTERM, patience: float = 60.0) -> int:
        """Send a started program a signal, and wait for its end; its exit status."""
        program = self._programs[name]
        program.send_signal(number)
        return program.wait(patience)

    def end(self) -> None:
        """End what was started and still runs."""
        for program in self._programs.values():
            if program.poll() is None:
                program.kill()
                program.wait()


def find_port(name: str, *, patience: float = 30.0) -> Path:
    """The device file of a virtio port."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for port in PORTS.iterdir() if PORTS.is_dir() else ():
            if (port / "name").read_text().strip() == name:
                return Path("/dev", port.name)
        time.sleep(0.1)
    raise FileNotFoundError(f"no virtio port {name}")


def serve(wire: Connection, agent: Agent) -> None:
    """Answer until the host hangs up."""
    answer: tuple[str | None, Any]
    while True:
        method, arguments = wire.recv()
        try:
            answer = (None, getattr(agent, method)(*arguments))
        except Exception:
            answer = (traceback.format_exc(), None)
        wire.send(answer)


def main() -> int:
    """The guest's whole command."""
    agent = Agent()
    wire = Connection(os.open(find_port(WIRE), os.O_RDWR))
    wire.send("here")
    with contextlib.suppress(EOFError, OSError):
        serve(wire, agent)
    agent.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
