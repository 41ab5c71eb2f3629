"""One client's connection through the proxy: forwards requests and answers, and does the harm that a rule asks for."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote

from kube.bed.faults import (
    Answer,
    CutMidLine,
    Fault,
    HalfOpen,
    LoseAnswer,
    Refuse,
    ReplaceLine,
    Swallow,
    Tamper,
    Then,
    Trickle,
    WithholdAnswer,
)
from kube.bed.rules import Request
from kube.bed.wire import Body, Head, Line, chunk

from virtfn.kube.tls import closed_on_failure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from kube.bed.proxy import Proxy

TURN = 0.05  # seconds; how long it takes to see that a connection's fate has changed
STUCK = 30.0  # seconds for a handshake, or until a client takes what is sent to it
NOT_FORWARDED = ("Accept-Encoding", "Connection", "Transfer-Encoding", "Content-Length", "Expect")


class Ended(Exception):
    """The connection is over; with `reset`, without a farewell."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__(reset)
        self.reset = reset


class Connection:
    """Runs in a thread of its own, with a connection to the server for each request."""

    def __init__(self, proxy: Proxy, accepted: socket.socket) -> None:
        self._proxy = proxy
        self._client = Line(accepted)
        self.doomed = threading.Event()
        """Set to have the connection reset."""

    def run(self) -> None:
        """Until client, server or proxy wants no more."""
        reset = False
        try:
            self._client.socket.settimeout(STUCK)
            if self._proxy.client_tls is not None:
                with closed_on_failure():
                    self._client.socket = self._proxy.client_tls.wrap_socket(self._client.socket, server_side=True)
            while self._serve():
                pass
        except Ended as end:
            reset = end.reset
        except OSError:
            reset = True
        finally:
            self._close(reset)
            self._proxy.forget(self)

    def _close(self, reset: bool) -> None:
        if reset:
            with contextlib.suppress(OSError):
                at_once = struct.pack("ii", 1, 0)
                self._client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._client.socket.close()

    # --- a request --------------------------------------------------------------------------------------------------

    def _serve(self) -> bool:
        """One request; returns whether there may be another."""
        while (head := self._client.take_head()) is None:
            self._wait_for_client()
        reader = Body(head, is_answer=False)
        body = reader.take(self._client)
        while not reader.ended:
            self._wait_for_client()
            body += reader.take(self._client)
        method, target, _ = head.first.split(" ", 2)
        request = Request(method, unquote(target), head, body, time.monotonic())
        rule = self._proxy.note(request)
        fault, struck = (rule.fault, rule.struck) if rule else (None, _nothing)
        self._stay_frozen()
        match fault:
            case Answer():
                self._answer(fault)
                struck()
                return head.keeps_open
            case Refuse():
                struck()
                raise Ended(reset=True)
            case Swallow():
                struck()
                self._hold()
        with self._to_server() as upstream:
            length = (("Content-Length", str(len(body))),) if body or method in ("POST", "PUT", "PATCH") else ()
            kept = head.without(*NOT_FORWARDED).headers
            upstream.sendall(Head(head.first, (*kept, *length, ("Connection", "close"))).encode() + body)
            upstream.setblocking(False)
            return self._forward(Line(upstream), to_method=method, fault=fault, struck=struck) and head.keeps_open

    def _to_server(self) -> ssl.SSLSocket:
        with socket.create_connection(self._proxy.server, timeout=STUCK) as plain, closed_on_failure():
            return self._proxy.server_tls.wrap_socket(plain, server_hostname=self._proxy.server[0])

    def _answer(self, answer: Answer) -> None:
        headers = (*answer.headers, ("Content-Length", str(len(answer.body))))
        self._client.socket.sendall(Head(f"HTTP/1.1 {answer.status} Fault", headers).encode() + answer.body)

    # --- its answer -------------------------------------------------------------------------------------------------

    def _forward(self, server: Line, *, to_method: str, fault: Fault | None, struck: Callable[[], None]) -> bool:
        """Forward an answer; returns whether the client can know where it ended."""
        while (head := server.take_head()) is None:
            if not self._wait_for_server(server):
                raise Ended(reset=True)
        self._stay_frozen()
        if isinstance(fault, LoseAnswer):
            struck()
            raise Ended(reset=True)
        if isinstance(fault, WithholdAnswer):
            struck()
            self._hold()
        body = Body(head, is_answer=True, to_method=to_method)
        tamper = Tamper(fault) if isinstance(fault, CutMidLine | HalfOpen | ReplaceLine) else None
        head = head.without("Connection")
        if tamper and not body.ended:  # the length will not be what the server says
            kept = head.without("Transfer-Encoding", "Content-Length").headers
            head = Head(head.first, (*kept, ("Transfer-Encoding", "chunked")))
        self._client.socket.sendall(head.encode())
        if tamper and tamper.begin() is Then.HOLD:
            struck()
            self._hold()
        while True:
            content = body.take(server)
            whole = body.ended
            if tamper:
                if self._tampered(tamper, content, whole=whole, struck=struck):
                    return True
            elif content and isinstance(fault, Trickle):
                struck()
                self._trickle(content, fault, chunked=head.chunked)
            else:
                self._send(content, chunked=head.chunked)
            if whole:
                break
            if not content and not self._wait_for_server(server):
                if body.until_close and head.chunked:
                    break
                raise Ended  # in the middle of a body, or where it says by closing that this was all
        if head.chunked:
            self._client.socket.sendall(chunk(b""))
        return True

    def _tampered(self, tamper: Tamper, content: bytes, *, whole: bool, struck: Callable[[], None]) -> bool:
        """Forward content as a fault changes it; returns whether the body is to end here."""
        for part, then in tamper.feed(content, last=whole):
            self._send(part, chunked=True)
            if tamper.done:
                struck()
            match then:
                case Then.END:
                    self._client.socket.sendall(chunk(b""))
                    return True
                case Then.CLOSE:
                    raise Ended
                case Then.HOLD:
                    self._hold()
        return False

    def _trickle(self, content: bytes, fault: Trickle, *, chunked: bool) -> None:
        for start in range(0, len(content), fault.size):
            self._send(content[start : start + fault.size], chunked=chunked)
            self.doomed.wait(fault.pause)
            self._check()

    def _send(self, content: bytes, *, chunked: bool) -> None:
        self._stay_frozen()
        if content:
            self._client.socket.sendall(chunk(content) if chunked else content)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _wait_for_client(self) -> None:
        """Until it has sent something. Raises Ended when it has gone."""
        while not self._client.has_more(TURN):
            self._check()
        if not self._client.fill():
            raise Ended

    def _wait_for_server(self, server: Line) -> bool:
        """Until it has sent something; False when it has closed. Raises Ended when the client has gone meanwhile."""
        while not server.has_more(TURN):
            self._check()
            if self._client.has_more(0) and not self._client.fill():
                raise Ended
        return server.fill()

    def _stay_frozen(self) -> None:
        while self._proxy.frozen.is_set():
            self._check()
            self.doomed.wait(TURN)

    def _hold(self) -> NoReturn:
        """Keep the connection open and say nothing, until the client goes or the proxy cuts it."""
        while True:
            self._check()
            if self._client.has_more(TURN) and not self._client.fill():
                raise Ended

    def _check(self) -> None:
        if self.doomed.is_set() or self._proxy.closed.is_set():
            raise Ended(reset=True)


def _nothing() -> None:
    """No rule, nobody to tell."""
