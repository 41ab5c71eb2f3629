"""A proxy in front of the API server that keeps a record of what is asked, and does harm where it is told to.

    with Proxy(server.url, server.ca_file) as proxy:
        rule = proxy.on("GET", "/api/v1/pods.*watch=true", fault=HalfOpen(after_lines=2), times=1)
        ...
        assert rule.wait()

It speaks HTTP/1.1, plain or TLS to the client, TLS to the server, and forwards every answer as it comes. Answers are
never compressed, so that faults can count lines.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from kube.bed.connection import Connection
from kube.bed.faults import Fault
from kube.bed.rules import WAIT, Request, Rule, fits

LOOPBACK = "127.0.0.1"


class Proxy:
    """Listens on the loopback from `__enter__` on; `url` is what clients are given."""

    def __init__(self, server: str, ca_file: Path, *, client_tls: ssl.SSLContext | None = None) -> None:
        """`server` is an https URL. With `client_tls` the proxy speaks TLS to its clients as well."""
        parts = urlsplit(server)
        assert parts.scheme == "https"
        assert parts.hostname
        assert parts.port
        self.server = (parts.hostname, parts.port)
        self.server_tls = ssl.create_default_context(cafile=str(ca_file))
        self.client_tls = client_tls
        self.closed = threading.Event()
        self.frozen = threading.Event()
        self._lock = threading.Condition()
        self._rules: list[Rule] = []
        self._requests: list[Request] = []
        self._connections: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.closed.set()
        self.down()
        self.cut()
        for thread in self._threads:
            thread.join(WAIT)
        assert not any(thread.is_alive() for thread in self._threads), "a connection of the proxy did not end"

    @property
    def url(self) -> str:
        """Where clients find it; the same after `down` and `up`."""
        return f"{'https' if self.client_tls else 'http'}://{LOOPBACK}:{self.port}"

    # --- harm -------------------------------------------------------------------------------------------------------

    def on(self, method: str, pattern: str, *, fault: Fault, times: int | None = 1) -> Rule:
        """Requests of a method (`*` for all) whose path and query the pattern is found in get a fault.

        The first rule that fits counts. `times` is how many requests it is for; None for all to come.
        """
        rule = Rule(method, re.compile(pattern), fault, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Requests to come get no faults any more; what has been done stays done."""
        with self._lock:
            self._rules.clear()

    def freeze(self) -> None:
        """Forward nothing in any connection, new ones too, and close none."""
        self.frozen.set()

    def thaw(self) -> None:
        """Go on forwarding, with what was held back first."""
        self.frozen.clear()

    def cut(self) -> None:
        """Reset all connections that are open now."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.doomed.set()
        with self._lock:
            self._lock.wait_for(lambda: not self._connections.intersection(connections), WAIT)

    def down(self) -> None:
        """Listen no more: new connections are refused, those that are open go on."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def up(self) -> None:
        """Listen, on the port of the last time."""
        assert self._listener is None
        listener = socket.create_server((LOOPBACK, self.port), backlog=128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._spawn(lambda: self._accept(listener))

    # --- record -----------------------------------------------------------------------------------------------------

    def requests(self, method: str = "*", pattern: str = "") -> list[Request]:
        """What was asked so far, in order, faults or not; the pattern is looked for in path and query."""
        with self._lock:
            return [request for request in self._requests if fits(request, method, re.compile(pattern))]

    def wait_for(self, count: int, method: str = "*", pattern: str = "", *, timeout: float = WAIT) -> list[Request]:
        """Until so many such requests were made since the start; returns all of them, raises TimeoutError."""
        deadline = time.monotonic() + timeout
        with self._lock:
            while len(found := self.requests(method, pattern)) < count:
                if not self._lock.wait(deadline - time.monotonic()):
                    asked = "\n".join(f"  {request.method} {request.target}" for request in self._requests[-20:])
                    raise TimeoutError(
                        f"{len(found)} of {count} requests {method} {pattern!r}; the last of all:\n{asked}"
                    )
            return found

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        with self._lock:
            return len(self._connections)

    def wait_until_idle(self, timeout: float = WAIT) -> bool:
        """Until no client is connected; False when one still is after this time (in seconds)."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._connections, timeout)

    # --- for its connections ----------------------------------------------------------------------------------------

    def note(self, request: Request) -> Rule | None:
        """Record a request; returns the rule that it falls under."""
        with self._lock:
            self._requests.append(request)
            self._lock.notify_all()
            for rule in self._rules:
                if rule.left != 0 and fits(request, rule.method, rule.pattern):
                    rule.left = None if rule.left is None else rule.left - 1
                    rule.hits.append(request)
                    return rule
        return None

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(connection)
            self._lock.notify_all()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            connection = Connection(self, accepted)
            with self._lock:
                self._connections.add(connection)
            self._spawn(connection.run)

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="proxy", daemon=True)
        thread.start()
        with self._lock:
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]
