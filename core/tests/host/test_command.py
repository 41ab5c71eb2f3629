"""Programs: results, what they find around them, and that none can hang us."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from virtfn.host.api import CommandResult
from virtfn.host.command import HostCommands

PATIENCE = 30.0


@pytest.fixture
def commands() -> HostCommands:
    return HostCommands()


def gone(pid: int) -> bool:
    tick = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        tick.wait(0.02)
    return False


def test_code_and_both_outputs(commands: HostCommands) -> None:
    argv = ["sh", "-c", r"echo out; printf 'err\377' >&2; exit 3"]
    assert commands.run(argv, timeout=PATIENCE) == CommandResult(tuple(argv), 3, "out\n", "err\ufffd")


def test_killed_by_a_signal(commands: HostCommands) -> None:
    assert commands.run(["sh", "-c", "kill -TERM $$"], timeout=PATIENCE).code == -signal.SIGTERM


def test_large_output(commands: HostCommands) -> None:
    program = "import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('y' * 3_000_000)"
    result = commands.run([sys.executable, "-c", program], timeout=PATIENCE)
    assert (len(result.stdout), len(result.stderr)) == (3_000_000, 3_000_000)


def test_no_shell(commands: HostCommands) -> None:
    assert commands.run(["printf", "%s", "$HOME; `id`"], timeout=PATIENCE).stdout == "$HOME; `id`"


def test_surroundings(commands: HostCommands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    script = "cat; pwd; echo $LC_ALL $LANGUAGE $PATH; ps -o sid= -p $$ | tr -d ' '; echo $$"
    lines = commands.run(["sh", "-c", script], timeout=PATIENCE).stdout.splitlines()
    assert lines[:2] == ["/", "C /usr/bin:/bin:/usr/sbin:/sbin"]
    assert lines[-1] == lines[-2]  # leads a session of its own


def test_not_installed(commands: HostCommands) -> None:
    with pytest.raises(FileNotFoundError):
        commands.run(["no-such-program-at-all"], timeout=PATIENCE)


def test_a_refusal_on_the_search_path_is_not_installed(
    commands: HostCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-such-program").mkdir()  # execve(2) says EACCES, as it does in a directory we may not search
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        commands.run(["no-such-program"], timeout=PATIENCE)


def test_not_executable(commands: HostCommands, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(PermissionError):
        commands.run([str(tmp_path / "data")], timeout=PATIENCE)


def test_out_of_time_kills_the_descendants_too(commands: HostCommands, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $$ $! > {pids}; wait"
    with pytest.raises(TimeoutError, match=r"sh did not end within 0\.5 s"):
        commands.run(["sh", "-c", script], timeout=0.5)
    assert [gone(int(pid)) for pid in pids.read_text().split()] == [True, True]


def test_out_of_time_lets_a_program_give_back_what_it_holds(commands: HostCommands, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    script = f"touch {lock}; trap 'rm {lock}; exit 1' TERM; sleep 1000 & wait"
    with pytest.raises(TimeoutError):
        commands.run(["sh", "-c", script], timeout=0.5)
    assert not lock.exists()


def test_out_of_time_kills_one_that_will_not_end(commands: HostCommands, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done"
    with pytest.raises(TimeoutError):
        commands.run(["sh", "-c", script], timeout=0.5)
    assert gone(int(pid.read_text()))


def test_a_daemon_left_behind_does_not_hold_us(commands: HostCommands, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"setsid sleep 1000 & echo $! > {pid}; echo done"
    try:
        assert commands.run(["sh", "-c", script], timeout=PATIENCE).stdout == "done\n"
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_an_escaped_descendant_does_not_hold_the_timeout(commands: HostCommands, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        f"import os; os.setsid(); open({str(pid)!r}, 'w').write(str(os.getpid())); os.execlp('sleep', 'sleep', '1000')"
    )
    script = f'"{sys.executable}" -c "$0" & while [ ! -s {pid} ]; do sleep 0.02; done; sleep 1000'
    try:
        with pytest.raises(TimeoutError):
            commands.run(["sh", "-c", script, program], timeout=1.5)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_the_real_chroot_cannot_start_a_program(tmp_path: Path) -> None:
    """With privileges it does not find the program, without it cannot change the root; neither is a result."""
    with pytest.raises((FileNotFoundError, PermissionError)):
        HostCommands(tmp_path).run(["/opt/absent"], timeout=PATIENCE)


class TestOtherRoot:
    """chroot(1) needs privileges, so a script in its place tells what it was asked for."""

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        root = tmp_path / "host"
        (root / "usr/sbin").mkdir(parents=True)
        (root / "usr/sbin/modprobe").symlink_to("/usr/bin/kmod-of-the-host")
        tools = tmp_path / "tools"
        tools.mkdir()
        (tools / "chroot").write_text(
            '#!/bin/sh\n[ "$2" = fails ] && { echo "chroot: cannot change root" >&2; exit 125; }\n'
            '[ "$2" = /opt/absent ] && { echo "chroot: failed to run" >&2; exit 127; }\n'
            '[ "$2" = /opt/exits ] && { echo "its own words" >&2; exit 127; }\n'
            'echo "$@"\n'
        )
        (tools / "chroot").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
        return root

    def test_runs_by_chroot(self, root: Path) -> None:
        result = HostCommands(root).run(["modprobe", "vfio-pci"], timeout=PATIENCE)
        assert result == CommandResult(("modprobe", "vfio-pci"), 0, f"{root} modprobe vfio-pci\n", "")

    def test_not_installed_there(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            HostCommands(root).run(["ls"], timeout=PATIENCE)
        assert caught.value.filename == "ls"

    def test_absent_path(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError):
            HostCommands(root).run(["/opt/absent"], timeout=PATIENCE)

    def test_the_programs_own_exit_code_is_a_result(self, root: Path) -> None:
        assert HostCommands(root).run(["/opt/exits"], timeout=PATIENCE).code == 127

    def test_chroot_is_refused(self, root: Path) -> None:
        (root / "usr/sbin/fails").touch()
        with pytest.raises(PermissionError, match="cannot change root"):
            HostCommands(root).run(["fails"], timeout=PATIENCE)
