"""The process that can be left behind: reports, deadlines, and what becomes of the processes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from virtfn.host.writer import Report, Writer, received, write_once

PATIENCE = 30.0


@pytest.fixture
def writer() -> Iterator[Writer]:
    with Writer() as made:
        yield made


@pytest.fixture
def blocking(tmp_path: Path) -> Iterator[Path]:
    """A file whose opening for writing blocks: a FIFO without a reader. Who is stuck on it is let go at the end."""
    fifo = tmp_path / "blocking"
    os.mkfifo(fifo)
    yield fifo
    os.open(fifo, os.O_RDWR | os.O_NONBLOCK)  # stays open, for one that gets there later


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def own_server(writer: Writer) -> int:
    before = set(children(os.getpid()))
    writer.start()
    (server,) = set(children(os.getpid())) - before
    return server


def wait_until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if condition():
            return
        tick.wait(0.02)
    pytest.fail("waited in vain")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_writes_the_data_and_reports_how_much(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("xxxxxx")
    assert writer.write(str(file), b"four", timeout=PATIENCE) == Report(0, 4)
    assert file.read_text() == "fourxx"  # as it is in sysfs: neither cut off nor created


@pytest.mark.parametrize(
    ("name", "expected"),
    [("absent", errno.ENOENT), ("folder", errno.EISDIR), ("file/below", errno.ENOTDIR), ("full", errno.ENOSPC)],
)
def test_reports_the_errno_of_the_kernel(writer: Writer, tmp_path: Path, name: str, expected: int) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full").symlink_to("/dev/full")
    path = str(tmp_path / name)
    assert writer.write(path, b"1", timeout=PATIENCE) == Report(expected, 0)
    assert write_once(path, b"1") == Report(expected, 0)
    assert not (tmp_path / "absent").exists()


def test_a_path_can_have_any_bytes(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9 \n")
    file.touch()
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    assert file.read_bytes() == b"1"


def test_a_write_that_blocks_is_given_up_on_and_others_go_on(writer: Writer, blocking: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"no answer .*/blocking after 0\.05 s") as caught:
            writer.write(str(blocking), b"late", timeout=0.05)
        assert caught.value.errno is None
        assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)


def test_a_late_report_is_nobody_elses(writer: Writer, blocking: Path, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        writer.write(str(blocking), b"late", timeout=0.05)
    reader = os.open(blocking, os.O_RDONLY)  # lets the write happen after all
    try:
        assert os.read(reader, 100) == b"late"
    finally:
        os.close(reader)
    assert writer.write(str(tmp_path / "absent"), b"1", timeout=PATIENCE) == Report(errno.ENOENT, 0)


def test_threads_do_not_wait_for_each_other(writer: Writer, blocking: Path, tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(20)]
    for file in files:
        file.touch()
    done = threading.Event()

    def stuck() -> str:
        # Ends only when its file is let go, which happens after all others are written.
        report = writer.write(str(blocking), b"slow", timeout=PATIENCE)
        return "written after the others" if done.is_set() and report == Report(0, 4) else "too early"

    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(stuck)
        for number, report in enumerate(
            pool.map(lambda file: writer.write(str(file), file.name.encode(), timeout=PATIENCE), files)
        ):
            assert report == Report(0, len(str(number)))
        done.set()
        reader = os.open(blocking, os.O_RDONLY)
        assert slow.result(PATIENCE) == "written after the others"
        os.close(reader)
    assert [file.read_text() for file in files] == [file.name for file in files]


def test_many_writes_take_one_process_and_one_file_descriptor(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    server = own_server(writer)
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    workers = children(server)
    assert len(workers) == 1
    for _ in range(200):
        assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert children(server) == workers
    # The socket to us, and nothing but /dev/null besides.
    targets = [str(link.readlink()) for link in Path(f"/proc/{server}/fd").iterdir()]
    assert sorted(target.partition(":")[0] for target in targets) == ["/dev/null"] * 3 + ["socket"]


def test_a_killed_server_is_replaced(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    server = own_server(writer)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not alive(server))
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)


def test_a_worker_killed_between_two_writes_is_replaced(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    server = own_server(writer)
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    (worker,) = children(server)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not children(server))
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    assert children(server) != [worker]


def test_a_worker_that_was_left_behind_ends_when_it_can(writer: Writer, blocking: Path) -> None:
    server = own_server(writer)
    with pytest.raises(TimeoutError):
        writer.write(str(blocking), b"late", timeout=0.05)
    wait_until(lambda: len(children(server)) == 1)
    reader = os.open(blocking, os.O_RDONLY)
    try:
        wait_until(lambda: not children(server))
        assert os.read(reader, 100) == b"late"
    finally:
        os.close(reader)


def test_a_fork_of_the_program_has_workers_of_its_own(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    server = own_server(writer)
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    workers = children(server)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork in a program with threads
        pid = os.fork()
    if pid == 0:
        done = False
        try:
            done = writer.write(str(file), b"2", timeout=PATIENCE) == Report(0, 1)
            writer.close()
        finally:
            os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert file.read_text() == "2"
    assert children(server) == workers
    assert writer.write(str(file), b"3", timeout=PATIENCE) == Report(0, 1)
    assert children(server) == workers


def test_a_killed_child_is_an_error(writer: Writer, blocking: Path) -> None:
    server = own_server(writer)

    def kill_the_child() -> None:
        wait_until(lambda: bool(children(server)))
        os.kill(children(server)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_child)
    killer.start()
    with pytest.raises(ChildProcessError, match="without a report"):
        writer.write(str(blocking), b"1", timeout=PATIENCE)
    killer.join()


def test_a_child_that_is_killed_before_it_reads_is_no_other_error() -> None:
    ours, theirs = socket.socketpair()
    ours.send(b"a request")
    theirs.close()  # unread: the kernel resets the connection
    assert received(ours) == b""
    ours.close()


def test_close_ends_the_server_and_a_later_write_starts_another(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    writer = Writer()
    server = own_server(writer)
    writer.close()
    assert not Path(f"/proc/{server}").exists()
    assert writer.write(str(file), b"1", timeout=PATIENCE) == Report(0, 1)
    writer.close()
    writer.close()


def test_a_forgotten_writer_ends_its_server() -> None:
    writer = Writer()
    server = own_server(writer)
    del writer
    wait_until(lambda: not alive(server))


def test_the_server_is_out_of_reach_of_the_terminal(writer: Writer) -> None:
    server = own_server(writer)
    wait_until(lambda: os.getsid(server) == server)
    wait_until(lambda: str(Path(f"/proc/{server}/cwd").readlink()) == "/")


def test_handlers_of_the_program_do_not_run_in_the_server(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    old = signal.signal(signal.SIGTERM, lambda *_: marks.write_text("handler ran"))
    try:
        with Writer() as writer:
            server = own_server(writer)
            os.kill(server, signal.SIGTERM)
            wait_until(lambda: not alive(server))
    finally:
        signal.signal(signal.SIGTERM, old)
    assert not marks.exists()


def test_an_oversized_request_is_refused(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large") as caught:
        writer.write(str(tmp_path / "file"), b"x" * 200_000, timeout=PATIENCE)
    assert caught.value.errno == errno.EFBIG


PROGRAM = """
import atexit, sys
from virtfn.host.writer import Writer
atexit.register(print, "goodbye")
print("in the buffer", end=" ")
writer = Writer()
{extra}
try:
    writer.write(sys.argv[1], b"1", timeout=0.05)
except TimeoutError:
    print("given up", flush={flush})
{end}
"""


def program(blocking: Path, *, extra: str = "", flush: bool = False, end: str = "") -> subprocess.Popen[str]:
    code = PROGRAM.format(extra=extra, flush=flush, end=end)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(blocking)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_stuck_child_keeps_neither_the_program_nor_its_pipe(blocking: Path) -> None:
    with program(blocking) as started:
        # communicate() returns at the end of file, so only when nobody holds the pipe any more.
        output, _ = started.communicate(timeout=PATIENCE)
    assert (output, started.returncode) == ("in the buffer given up\ngoodbye\n", 0)


def test_a_program_with_threads_can_fork_without_a_warning(blocking: Path) -> None:
    threads = (
        "import threading; [threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(3)]"
    )
    with program(blocking, extra=threads) as started:
        output, _ = started.communicate(timeout=PATIENCE)
    assert (output, started.returncode) == ("in the buffer given up\ngoodbye\n", 0)


def test_the_server_does_not_outlive_a_killed_program(blocking: Path) -> None:
    with program(blocking, flush=True, end="sys.stdin.read()") as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "in the buffer given up\n"
        (server,) = children(started.pid)
        wait_until(lambda: bool(children(server)))  # on a busy machine the program can be done before it has forked
        (stuck,) = children(server)
        started.kill()
        started.wait(PATIENCE)
        wait_until(lambda: not alive(server))
        assert alive(stuck)
