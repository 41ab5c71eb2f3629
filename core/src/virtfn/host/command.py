"""Programs of the managed host (`modprobe`, vendor tools), run so that none of them can hang virtfn.

Output goes to memory files, not pipes: a daemon that a program leaves behind may hold them open for ever.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from virtfn.host.api import CommandResult

_SYSTEM_DIRECTORIES = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_CHROOT_FAILED = 125  # exit codes of chroot(1) itself
_CHROOT_NOT_EXECUTABLE = 126
_CHROOT_NOT_FOUND = 127
_GRACE_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class HostCommands:
    """Runs programs of the system below `root`, by chroot(1) when that is not our own.

    A program that is out of time is told to end and then killed, with its whole process group; only a descendant that
    made itself a session of its own lives on.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def run(self, argv: Sequence[str], *, timeout: float) -> CommandResult:
        """Run to the end, without a shell, standard input empty, C locale, in the root directory.

        Output is decoded as UTF-8 with replacement. `timeout` in seconds.

        :raises FileNotFoundError: the program is not installed.
        :raises TimeoutError: it did not end in time, and was killed.
        """
        words = tuple(argv)
        environment = self._environment()
        elsewhere = self._root != Path("/")
        chroot = self._chroot(words[0], environment["PATH"]) if elsewhere else None
        with _memory_file("stdout") as stdout, _memory_file("stderr") as stderr:
            try:
                process = subprocess.Popen(
                    ("chroot", str(self._root), *words) if elsewhere else words,
                    executable=chroot,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    cwd="/",
                    env=environment,
                    start_new_session=True,
                )
            except PermissionError as error:
                # A directory in PATH that we may not search says nothing about the program.
                if (
                    chroot is None
                    and "/" not in words[0]
                    and not shutil.which(words[0], mode=os.F_OK, path=environment["PATH"])
                ):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0]) from error
                raise
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise TimeoutError(f"{words[0]} did not end within {timeout:g} s") from None
            except BaseException:  # Ctrl-C goes to our process group, not to the program's
                _kill(process)
                raise
            result = CommandResult(words, code, _text(stdout), _text(stderr))
        if elsewhere:
            self._check_chroot(result)
        return result

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("LANG", "LANGUAGE")}
        path = [part for part in inherited.get("PATH", "").split(os.pathsep) if part]
        # A user's shell or a unit file may leave out the directories of system programs.
        path += [directory for directory in _SYSTEM_DIRECTORIES if directory not in path]
        return inherited | {"LC_ALL": "C", "PATH": os.pathsep.join(path)}

    def _chroot(self, program: str, path: str) -> str:
        """Our chroot(1), for a program that the other root has."""
        if "/" not in program and not any(
            _is_there(self._root / directory.lstrip("/") / program) for directory in path.split(os.pathsep)
        ):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
        chroot = shutil.which("chroot", path=path)
        if chroot is None:
            raise FileNotFoundError(errno.ENOENT, "needed to run programs of the host", "chroot")
        return chroot

    def _check_chroot(self, result: CommandResult) -> None:
        """chroot(1) says with its exit code and its own name on stderr that it could not start the program."""
        if not result.stderr.startswith("chroot:"):
            return
        if result.code == _CHROOT_NOT_FOUND:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), result.argv[0])
        if result.code in (_CHROOT_FAILED, _CHROOT_NOT_EXECUTABLE):
            raise PermissionError(errno.EACCES, result.stderr.strip(), result.argv[0])


def _is_there(program: Path) -> bool:
    # An absolute link (/etc/alternatives) leads elsewhere as seen from here, so the link itself will do.
    return program.exists() or program.is_symlink()


def _memory_file(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(f"virtfn-{name}"), "w+b")


def _text(file: BinaryIO) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the program's process group, and SIGKILL a little later. One stuck in the kernel is not waited for.

    A firmware tool that is told to end first gives back the card's semaphore; killed, it leaves it to nobody.
    """
    try:
        # The group is named by its leader, which is not reaped before the last signal: the id cannot be another's.
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= until:
                break
            time.sleep(_LOOK_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_GRACE_SECONDS)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
