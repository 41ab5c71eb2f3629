"""Programs that run beside the tests: each writes to a log file, and none outlives the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from bed.apt import find_command
from bed.command import BedError, tail

# Who starts a program may be gone before the kernel was told to end it along: then it does not begin.
_WITH_PARENT = 'test "$PPID" = "$1" || exit 1; shift; exec "$@"'


class Program:
    """One program and its log, which all its lives are written to."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running program. Raises BedError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise BedError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, argv: Sequence[str | Path]) -> None:
        """Start it. To be called in the main thread: the kernel ends the program with the *thread* that started it."""
        if threading.current_thread() is not threading.main_thread():
            raise BedError(f"{self.name} must be started in the main thread, with whose end it ends")
        if self.running:
            raise BedError(f"{self.name} runs already")
        setpriv = find_command("setpriv")
        if setpriv is None:
            raise BedError("no command setpriv (package util-linux)")
        with_parent = ["sh", "-c", _WITH_PARENT, "sh", str(os.getpid())]
        words = [setpriv, "--pdeathsig", "KILL", "--", *with_parent, *map(str, argv)]
        home = {"HOME": str(self.log.parent), "LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "")}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                words, cwd=self.log.parent, env=home, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def stop(self, *, grace: float) -> None:
        """Ask it to end, and end it after `grace` seconds. Does nothing when it does not run."""
        self._end(signal.SIGTERM, grace=grace)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL, grace=30)

    def tail(self, lines: int = 25) -> str:
        """The end of the log, for an error message."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"end of the log of {self.name}:\n{tail(text, lines)}"

    def _end(self, signum: int, *, grace: float) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(signum)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        self._process = None


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on; all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
