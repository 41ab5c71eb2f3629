"""A guest that does what the host asks for, for tests that stay on the host: see `bed.agent` for its other half.

Not for tests of the kernel's and the host layer's behaviour: those run in the guest themselves, see `bed.hostside`.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import boot

from bed import agent
from bed.command import BedError, tail
from bed.machine import Machine
from bed.sight import PhysicalFunction

BOOT_LIMIT = 180.0
ANSWER_LIMIT = 120.0
BOOTS = 2  # an emulated processor may trip while the kernel boots
OUTPUT = "output.log"


class RemoteGuest:
    """One guest, from the start of QEMU to its end. It boots while the host does other things; see `wait`."""

    def __init__(self, machine: Machine, *, modules: Sequence[str], binds: Sequence[Path] = ()) -> None:
        self._machine = machine
        self._modules = tuple(modules)
        self._binds = tuple(binds)
        self._wire: Connection | None = None
        self._boots = 0
        self._ready = False

    def __enter__(self) -> RemoteGuest:
        self.share = Path(tempfile.mkdtemp(prefix="virtfn-vm-")).resolve()
        """What the guest has as /run/vm."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.share / "wire"))
        self._listener.listen(1)
        try:
            self._boot()
        except BaseException:
            self._listener.close()
            shutil.rmtree(self.share, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._guest.kill()
        if self._wire is not None:
            self._wire.close()
        self._listener.close()
        shutil.rmtree(self.share, ignore_errors=True)

    def wait(self) -> None:
        """Until the guest can be asked. Raises BedError."""
        if self._ready:
            return
        deadline = time.monotonic() + BOOT_LIMIT
        while self._wire is None or not self._wire.poll(0.2):
            if self._wire is None:
                self._accept()
            if self._guest.ended() and self._boots < BOOTS and self.kernel_trouble():
                self._boot()
            elif self._guest.ended() or time.monotonic() > deadline:
                raise BedError(f"the guest did not boot\n{self.last_words()}")
        self._wire.recv()
        self._ready = True

    def kernel_trouble(self) -> list[str]:
        """Lines of the kernel's log that tell of a warning, an oops or a hung task."""
        return self._guest.kernel_trouble()

    def log(self, name: str) -> str:
        """What a started program has said so far."""
        return self._guest.read(f"{name}.log")

    def last_words(self) -> str:
        """The ends of the guest's output and of its kernel's log, for an error message."""
        output = tail(self._guest.read(OUTPUT), 40)
        return f"end of the guest's output:\n{output}\nend of its kernel log:\n{self._guest.console_tail()}"

    # --- what can be asked ------------------------------------------------------------------------------------------

    def look(self, address: str) -> PhysicalFunction:
        """See `agent.Agent.look`."""
        found: PhysicalFunction = self._ask("look", address)
        return found

    def look_at_all(self) -> dict[str, PhysicalFunction]:
        """See `agent.Agent.look_at_all`."""
        found: dict[str, PhysicalFunction] = self._ask("look_at_all")
        return found

    def await_vfs(self, address: str, count: int, *, patience: float = 90.0) -> None:
        """See `agent.Agent.await_vfs`. Raises BedError when they do not come."""
        if not self._ask("await_vfs", address, count, patience):
            raise BedError(f"{address} has no {count} VFs after {patience:.0f} s: {self.look(address)}")

    def tidy(self, addresses: Sequence[str]) -> None:
        """See `agent.Agent.tidy`."""
        self._ask("tidy", tuple(addresses))

    def run(self, *argv: str | Path, timeout: float = 60.0) -> tuple[int, str, str]:
        """See `agent.Agent.run`."""
        answer: tuple[int, str, str] = self._ask("run", [str(word) for word in argv], timeout)
        return answer

    def read(self, path: str | Path) -> str:
        """See `agent.Agent.read`."""
        return str(self._ask("read", str(path)))

    def write(self, path: str | Path, text: str) -> None:
        """See `agent.Agent.write`."""
        self._ask("write", str(path), text)

    def start(self, name: str, *argv: str | Path) -> int:
        """See `agent.Agent.start`."""
        return int(self._ask("start", name, [str(word) for word in argv]))

    def pid(self, name: str) -> int:
        """See `agent.Agent.pid`."""
        return int(self._ask("pid", name))

    def status(self, name: str) -> int | None:
        """See `agent.Agent.status`."""
        status: int | None = self._ask("status", name)
        return status

    def stop(self, name: str) -> int:
        """See `agent.Agent.stop`."""
        return int(self._ask("stop", name))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self._boots += 1
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        guest = boot.Guest(
            command=shlex.join([sys.executable, str(Path(agent.__file__).resolve())]),
            modules=self._modules,
            binds=self._binds,
            machine=replace(self._machine, wire=self.share / "wire"),
        )
        with (self.share / OUTPUT).open("wb") as output:
            self._guest = boot.start(guest, share=self.share, stdout=output)

    def _accept(self) -> None:
        self._listener.settimeout(0.2)
        try:
            accepted, _ = self._listener.accept()
        except TimeoutError:
            return
        accepted.setblocking(True)
        self._wire = Connection(accepted.detach())

    def _ask(self, method: str, *arguments: Any) -> Any:
        wire = self._wire
        if wire is None:
            raise BedError("the guest has not booted: wait() first")
        limit = ANSWER_LIMIT
        try:
            wire.send((method, arguments))
            if not wire.poll(limit):
                raise BedError(f"the guest had no answer to {method}{arguments} in {limit:.0f} s\n{self.last_words()}")
            error, answer = wire.recv()
        except (EOFError, OSError) as gone:
            raise BedError(f"the guest is gone, asked for {method}{arguments}\n{self.last_words()}") from gone
        if error is not None:
            raise BedError(f"in the guest, {method}{arguments}:\n{error}")
        return answer
