"""Runs a command as root in a guest with emulated SR-IOV hardware and a real kernel.

The guest sees the host's root read-only under an overlay of its own, so the same interpreter, virtual environment and
checkout are there under the same paths, and nothing it writes reaches the host; only /run/vm, the share, is common.

    python3 tests/vm/boot.py --modules igb,igbvf -- lspci -nn
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bed import image
from bed.apt import find_command
from bed.command import BedError, tail
from bed.machine import HOST_NETWORK_MAC, Machine, qemu_argv

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
HIDDEN = ("/tmp", "/run", "/var/tmp", "/dev/shm")  # the guest's own empty mounts
KERNEL_TROUBLE = re.compile(r"WARNING: CPU|BUG: |Oops: |general protection fault|Kernel panic|blocked for more than")
PASSED_ON = ("HOME", "PYTHONPATH", "VIRTUAL_ENV", "PATH", "TERM", "COLUMNS")
INPUTS = ("start", "cmd", "binds", "modules", "modules-dir", "environment", "host-network")
OUTPUTS = ("rc", "timing", "console.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What to run in which machine. `command` is a line for sh; `modules` are arguments of modprobe, in order."""

    command: str
    modules: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[Path, ...] = ()
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a guest ended. `status` is None when the command did not come to its end."""

    status: int | None
    seconds: float
    uptimes: Mapping[str, float]
    share: Path


class Running:
    """A started guest. Ends its own QEMU only; also when the host process dies, by the parent-death signal."""

    def __init__(self, process: subprocess.Popen[bytes], share: Path) -> None:
        self.process = process
        self.share = share
        self._started = time.monotonic()

    def wait(self, timeout: float) -> bool:
        """Wait for the guest to power off; False when it did not within `timeout` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ended(self) -> bool:
        """Whether QEMU is gone."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """End QEMU at once."""
        self.process.kill()
        self.process.wait()

    def result(self) -> Result:
        """What the guest left in the share."""
        status = self.read("rc").strip()
        words = self.read("timing").split()
        uptimes = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=False)}
        seconds = time.monotonic() - self._started
        return Result(status=int(status) if status else None, seconds=seconds, uptimes=uptimes, share=self.share)

    def read(self, name: str) -> str:
        """A file of the share as text; empty when it is not there."""
        try:
            return (self.share / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def console_tail(self) -> str:
        """The end of the kernel's log."""
        return tail(self.read("console.log"), 60)

    def kernel_trouble(self) -> list[str]:
        """Lines of the kernel's log that tell of a warning, an oops or a hung task."""
        return [line for line in self.read("console.log").splitlines() if KERNEL_TROUBLE.search(line)]


def start(guest: Guest, *, share: Path, stdout: IO[bytes] | None = None) -> Running:
    """Start a guest. Its output goes to `stdout` (the caller's own by default). Raises BedError when not set up."""
    found = image.find_image(image.cache_directory())
    qemu = find_command("qemu-system-x86_64")
    setpriv = find_command("setpriv")
    if found is None or qemu is None or setpriv is None:
        raise BedError("the test bed is not set up, run `make vm-deps`")
    for name in (*INPUTS, *OUTPUTS):
        (share / name).unlink(missing_ok=True)
    shutil.copy(HERE / "guest" / "start.sh", share / "start")
    _write_lines(share / "modules", guest.modules)
    _write_lines(share / "modules-dir", (str(found.modules),))
    _write_lines(share / "binds", _hidden((*_own_paths(), *guest.binds)))
    _write_lines(share / "environment", _exports(guest.environment))
    _write_lines(share / "cmd", (guest.command,))
    if guest.machine.host_network:
        _write_lines(share / "host-network", (HOST_NETWORK_MAC,))
    argv = qemu_argv(guest.machine, qemu=qemu, vmlinux=found.vmlinux, initramfs=found.initramfs, share=share)
    process = subprocess.Popen(
        [setpriv, "--pdeathsig", "KILL", "--", *argv],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT if stdout else None,
    )
    return Running(process, share)


def run(guest: Guest, *, timeout: float, share: Path, stdout: IO[bytes] | None = None) -> Result:
    """Run a guest to its end. After `timeout` seconds of wall time it is killed and the status is None."""
    running = start(guest, share=share, stdout=stdout)
    try:
        running.wait(timeout)
    finally:
        if not running.ended():
            running.kill()
    return running.result()


def _own_paths() -> tuple[Path, ...]:
    """What the guest's Python needs: the checkout, the interpreter and its environment."""
    return (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).parent)


def _hidden(paths: tuple[Path, ...]) -> list[str]:
    """Those of the paths, given and resolved, that the guest's own mounts would hide, without nested ones."""
    every = {str(form) for path in paths for form in (path.absolute(), path.resolve())}
    hidden = sorted(path for path in every if path.startswith(tuple(f"{top}/" for top in HIDDEN)))
    return [path for path in hidden if not any(path.startswith(f"{other}/") for other in hidden)]


def _exports(environment: Mapping[str, str]) -> list[str]:
    own = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("VIRTFN_")}
    merged = {**own, **environment}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in merged.items() if name != "PATH"]
    lines += [f'export PATH={shlex.quote(merged["PATH"])}:"$PATH"'] if "PATH" in merged else []
    return [*lines, 'mkdir -p "$HOME"']


def _write_lines(path: Path, lines: tuple[str, ...] | list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def main(argv: list[str] | None = None) -> int:
    """Command line: the guest's exit status, 124 after a time-out, 125 when the guest or the bed failed."""
    parser = argparse.ArgumentParser(description="Run a command in a guest with SR-IOV hardware.")
    parser.add_argument("--modules", default="", help="modules to load, in this order, separated by commas")
    parser.add_argument("--timeout", type=float, default=300, help="seconds of wall time (default 300)")
    parser.add_argument("--share", type=Path, help="directory to share as /run/vm; kept afterwards")
    parser.add_argument("--bind", type=Path, action="append", default=[], help="host directory the guest would not see")
    parser.add_argument("--host-network", action="store_true", help="a way to the host's loopback, at 10.0.2.2")
    parser.add_argument("command", nargs="+", help="one word is a line for sh, several are an argument vector")
    options = parser.parse_args(argv)
    words: list[str] = options.command
    guest = Guest(
        command=words[0] if len(words) == 1 else shlex.join(words),
        modules=tuple(name for name in options.modules.split(",") if name),
        binds=tuple(options.bind),
        machine=Machine(host_network=options.host_network),
    )
    share = options.share or Path(tempfile.mkdtemp(prefix="virtfn-vm-"))
    share.mkdir(parents=True, exist_ok=True)
    try:
        running = start(guest, share=share.resolve())
    except BedError as error:
        print(f"boot: {error}", file=sys.stderr)
        return 125
    try:
        in_time = running.wait(options.timeout)
    finally:
        if not running.ended():
            running.kill()
    result = running.result()
    uptimes = " ".join(f"{name}={value:.1f}" for name, value in result.uptimes.items())
    print(f"boot: status={result.status} wall={result.seconds:.1f}s uptimes: {uptimes}", file=sys.stderr)
    for line in running.kernel_trouble():
        print(f"boot: kernel: {line}", file=sys.stderr)
    if result.status is None:
        said = "the guest ended by itself" if in_time else f"killed after {options.timeout:.0f} s"
        print(f"boot: {said}; end of its kernel log:\n{running.console_tail()}", file=sys.stderr)
    if options.share is None:
        shutil.rmtree(share, ignore_errors=True)
    if result.status is None:
        return 125 if in_time else 124
    return result.status


if __name__ == "__main__":
    sys.exit(main())
