"""Writes that may never return, done by a process that can be left behind.

Some sysfs files (`sriov_numvfs`, a driver's `unbind`) block in the kernel for as long as somebody holds a device
open. Whoever writes there cannot be interrupted or killed, and a thread stuck like that would keep the whole process
from ending. So a process that is forked once, early, forks workers; a worker writes and reports, one write after the
other. The caller waits for a report as long as it wants to, and then leaves that worker behind; only it is stuck.

This module knows nothing of sysfs; `virtfn.host.files` does.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import struct
import threading
import time
import warnings
import weakref
from dataclasses import dataclass, field
from typing import NoReturn

_REQUEST = struct.Struct("!I")  # length of the path; then path and data
_REPORT = struct.Struct("!iq")  # errno, bytes taken
_LARGEST_REQUEST = 128 * 1024
_PARTING_SECONDS = 2.0  # for the forking process to end once its socket is closed; it never blocks


@dataclass(frozen=True, slots=True)
class Report:
    """How a write ended: `errno` is 0 when the kernel took it, `taken` the number of bytes it took."""

    errno: int
    taken: int


def write_once(path: str | bytes, data: bytes) -> Report:
    """Open an existing file and give it the data in one write(2), as sysfs wants it. Never raises OSError."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return Report(0, os.write(file, data))
        finally:
            os.close(file)
    except OSError as error:
        return Report(error.errno or errno.EIO, 0)


@dataclass(slots=True)
class _Server:
    """The forking process, our end of the socket to it, and our ends of those to workers that have nothing to do."""

    owner: int
    """Pid of the program that started it: its forks must not use it."""
    pid: int
    requests: socket.socket
    idle: list[socket.socket] = field(default_factory=list)


class Writer:
    """Writes to files with a deadline. Threads may share one.

    The forking process is started at the first write (or by `start`, best while the program still has one thread), and
    again should it have died. It ends, with its workers, when this object is closed or the program ends in whatever
    way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._finalizer: weakref.finalize[[_Server], Writer] | None = None

    def start(self) -> None:
        """Fork now; nothing happens when that is done already."""
        with self._lock:
            self._running()

    def write(self, path: str, data: bytes, *, timeout: float) -> Report:
        """One write to an existing file; `timeout` in seconds.

        :raises TimeoutError: no report in time (`errno` is None); the write may still happen later.
        :raises ChildProcessError: the writing process was killed; nobody knows what became of the write.
        """
        deadline = time.monotonic() + timeout
        name = os.fsencode(path)
        request = _REQUEST.pack(len(name)) + name + data
        if len(request) > _LARGEST_REQUEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        server, worker = self._ask(request)
        try:
            poll = select.poll()
            poll.register(worker, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"no answer to the write to {path} after {timeout:g} s")
            report = received(worker)
            if len(report) != _REPORT.size:
                raise ChildProcessError(errno.ECHILD, "the process that wrote ended without a report (killed?)", path)
        except BaseException:
            worker.close()  # its report may still come, and must not be taken for another write's
            raise
        self._give_back(server, worker)
        return Report(*_REPORT.unpack(report))

    def close(self) -> None:
        """End the forking process. Writes under way go on. Another `write` would start it anew."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: bytes) -> tuple[_Server, socket.socket]:
        """Give the request to a worker that has nothing to do, or to a new one."""
        with self._lock:
            server = self._running()
            while server.idle:
                worker = server.idle.pop()
                try:
                    worker.send(request)
                except (BrokenPipeError, ConnectionResetError):
                    worker.close()  # it was killed, and so did not see this request
                    continue
                return server, worker
            return self._new_worker(request)

    def _new_worker(self, request: bytes) -> tuple[_Server, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                ours.send(request)
                try:
                    socket.send_fds(self._running().requests, [b"w"], [theirs.fileno()])
                except (BrokenPipeError, ConnectionResetError):
                    self._drop()  # the server was killed
                    socket.send_fds(self._running().requests, [b"w"], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        return self._running(), ours

    def _give_back(self, server: _Server, worker: socket.socket) -> None:
        with self._lock:
            if server is self._server:
                server.idle.append(worker)
            else:
                worker.close()  # closed, or forked, meanwhile

    def _running(self) -> _Server:
        if self._server is not None and self._server.owner != os.getpid():
            self._drop()
        if self._server is None:
            self._server = _Server(os.getpid(), *_fork_server())
            self._finalizer = weakref.finalize(self, _part, self._server)
        return self._server

    def _drop(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._server = self._finalizer = None


def received(worker: socket.socket) -> bytes:
    """A worker's report; empty when it has ended, by whatever way the kernel tells so."""
    try:
        return worker.recv(_REPORT.size)
    except ConnectionResetError:  # it was killed before it had read the request
        return b""


def _part(server: _Server) -> None:
    """Close the sockets, which ends the workers and the forking process, and reap that."""
    for ours in (*server.idle, server.requests):
        ours.close()
    if os.getpid() != server.owner:
        return  # in a fork of the program: the forking process is not ours to wait for
    try:
        watch = os.pidfd_open(server.pid)
    except OSError:
        return  # reaped by somebody else
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        if poll.poll(_PARTING_SECONDS * 1000):
            os.waitpid(server.pid, os.WNOHANG)
    except ChildProcessError:
        pass
    finally:
        os.close(watch)


def _fork_server() -> tuple[int, socket.socket]:
    """Fork the process that forks; returns its pid and our end of the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Until the child has its own signal handling, a handler of the program must not run there.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork in a program with threads. The child keeps to system calls, takes no lock that
            # a thread could have held, and never returns from here.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _serve_and_exit(theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
    return pid, ours


def _serve_and_exit(requests: socket.socket) -> NoReturn:
    """The life of the forking process. Must not return, raise, or run anything registered by the program."""
    try:
        gc.disable()  # no finaliser of the program's objects may run: their file descriptors have new owners here
        _leave_the_program(requests.fileno())
        while True:
            request, files, _, _ = socket.recv_fds(requests, 1, 1)
            if not request:
                break
            for file in files:
                _fork_worker(file, requests.fileno())
                os.close(file)
    finally:
        os._exit(0)


def _leave_the_program(keep: int) -> None:
    os.setsid()  # Ctrl-C at the terminal is not for a write half done
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # a stuck child must not hold the pipe open that our caller reads
        if standard != keep:
            os.dup2(nothing, standard)
    limit = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, keep)
    os.closerange(max(keep + 1, 3), limit if limit > 0 else 65536)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        # Real-time signals and those above already have their default; SIGCHLD ignored lets the kernel reap.
        ignored = number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP)
        signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _fork_worker(requests: int, others: int) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        os.write(requests, _REPORT.pack(error.errno or errno.EAGAIN, 0))
        return
    if pid == 0:
        try:
            os.close(others)
            while request := os.read(requests, _LARGEST_REQUEST):
                (length,) = _REQUEST.unpack_from(request)
                end = _REQUEST.size + length
                report = write_once(request[_REQUEST.size : end], request[end:])
                os.write(requests, _REPORT.pack(report.errno, report.taken))
        finally:
            os._exit(0)
