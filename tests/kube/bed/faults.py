"""What can go wrong between a client and the API server; see `Proxy.on` for when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The proxy answers, and the server never hears of the request."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Refuse:
    """The connection is reset, and the server never hears of the request."""


@dataclass(frozen=True, slots=True)
class Swallow:
    """The request gets no answer, the connection stays open, and the server never hears of it."""


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The server does what it was asked for, and the client gets a reset connection for an answer."""


@dataclass(frozen=True, slots=True)
class WithholdAnswer:
    """The server does what it was asked for; the client hears nothing and the connection stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMidLine:
    """After some whole lines of the body, half of the next one; then the connection is closed.

    With `politely` the body ends there as if it were whole, so that only the line is broken and not the transport.
    """

    after_lines: int = 0
    politely: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen:
    """After some whole lines of the body nothing more is forwarded, and the connection stays open."""

    after_lines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceLine:
    """A line of the body, the one after `after_lines`, is another one; with `then_end` the body ends after it."""

    line: bytes
    after_lines: int = 0
    then_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trickle:
    """The body comes in pieces of `size` bytes with a pause (in seconds) after each."""

    size: int = 1
    pause: float = 0.001


Fault = Answer | Refuse | Swallow | LoseAnswer | WithholdAnswer | CutMidLine | HalfOpen | ReplaceLine | Trickle


def error(status: int, *, reason: str, message: str = "", retry_after: int | None = None) -> Answer:
    """An error as an API server says it: `error(410, reason="Expired")`; `retry_after` is in seconds."""
    headers = [("Content-Type", "application/json")]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return Answer(status=status, body=json.dumps(_status(status, reason, message)).encode(), headers=tuple(headers))


def error_event(status: int, *, reason: str, message: str = "") -> bytes:
    """An error as a line of a watch, for ReplaceLine: the HTTP status was 200 long ago."""
    return json.dumps({"type": "ERROR", "object": _status(status, reason, message)}).encode() + b"\n"


def _status(code: int, reason: str, message: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message or reason,
        "reason": reason,
        "code": code,
    }


GONE = error(410, reason="Expired", message="too old resource version: 1 (2)")
TOO_MANY = error(429, reason="TooManyRequests", message="please try again later", retry_after=1)
INTERNAL = error(500, reason="InternalError", message="an error on the server")
UNAVAILABLE = error(503, reason="ServiceUnavailable", message="the server is currently unable to handle the request")
GARBAGE = Answer(status=200, body=b'{"kind": "List", "items": [{"metadata": \xff\x00')
WEB_PAGE = Answer(status=502, body=b"<html><h1>Bad gateway</h1></html>", headers=(("Content-Type", "text/html"),))


class Then(Enum):
    """What becomes of the connection after some content was forwarded."""

    GO_ON = "go on"
    END = "end the body"
    CLOSE = "close the connection in the middle of the body"
    HOLD = "forward nothing more"


class Tamper:
    """Does what a fault says to the lines of one body, however they are cut into pieces."""

    def __init__(self, fault: CutMidLine | HalfOpen | ReplaceLine) -> None:
        self._fault = fault
        self._to_pass = fault.after_lines
        self._line = b""
        self.done = False
        """Whether the line that the fault is for was reached."""

    def begin(self) -> Then:
        """Before any content."""
        self.done = isinstance(self._fault, HalfOpen) and self._to_pass == 0
        return Then.HOLD if self.done else Then.GO_ON

    def feed(self, content: bytes, *, last: bool = False) -> Iterator[tuple[bytes, Then]]:
        """What to forward of it, and what to do then. The last line of a body may be without an end."""
        if self.done:
            yield content, Then.GO_ON
            return
        lines = (self._line + content).splitlines(keepends=True)
        self._line = b""
        for number, line in enumerate(lines):
            if not line.endswith(b"\n") and not last:
                self._line = line
            elif self._to_pass:
                self._to_pass -= 1
                self.done = self._to_pass == 0 and isinstance(self._fault, HalfOpen)
                yield line, Then.HOLD if self.done else Then.GO_ON
            else:
                self.done = True
                yield self._act(line)
                yield b"".join(lines[number + 1 :]), Then.GO_ON
                return

    def _act(self, line: bytes) -> tuple[bytes, Then]:
        match self._fault:
            case CutMidLine(politely=politely):
                return line[: len(line) // 2], Then.END if politely else Then.CLOSE
            case ReplaceLine(line=other, then_end=then_end):
                return other, Then.END if then_end else Then.GO_ON
            case HalfOpen():
                raise AssertionError("a connection that is held forwards no more lines")
