"""HTTP/1.1 as bytes: heads, and bodies of which one must know where they end. Only what a proxy has to know."""

from __future__ import annotations

import re
import select
import socket
import ssl
from dataclasses import dataclass

CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
MOST_HEAD = 1 << 16
PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Head:
    """First line and headers of a request or an answer."""

    first: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The value of a header, whatever the case of its name; empty without it."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def without(self, *names: str) -> Head:
        """The same without some headers."""
        unwanted = {name.lower() for name in names}
        return Head(self.first, tuple(pair for pair in self.headers if pair[0].lower() not in unwanted))

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in self.get("Transfer-Encoding").lower()

    @property
    def keeps_open(self) -> bool:
        """Whether the connection may be used again."""
        return "close" not in self.get("Connection").lower()

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first.split(" ", 2)[1])

    def encode(self) -> bytes:
        """As it goes over the wire."""
        lines = [self.first, *(f"{key}: {value}" for key, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + HEAD_END


class Line:
    """A connection and what was read from it and not yet taken. Never waits for bytes by itself."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""

    def has_more(self, timeout: float) -> bool:
        """Whether the socket has bytes, or its end, to read within this time (in seconds)."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        poller = select.poll()  # and not select(), which ends at 1,024 files
        poller.register(self.socket, select.POLLIN)
        return bool(poller.poll(timeout * 1000))

    def fill(self) -> bool:
        """Read what there is into the buffer; False at the end. For a socket that has more, see there.

        In TLS not all that can be read is content: then nothing is added.
        """
        try:
            data = self.socket.recv(PIECE)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except ssl.SSLEOFError:
            return False
        self.buffer += data
        return bool(data)

    def take_head(self) -> Head | None:
        """The next head; None when it is not whole yet."""
        if HEAD_END not in self.buffer:
            if len(self.buffer) > MOST_HEAD:
                raise OSError("a head without an end")
            return None
        text, self.buffer = self.buffer.split(HEAD_END, 1)
        first, *lines = text.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Head(first, tuple((key.strip(), value.strip()) for key, _, value in pairs))


class Body:
    """Finds the end of a body, and its content in chunks."""

    def __init__(self, head: Head, *, is_answer: bool, to_method: str = "GET") -> None:
        """`to_method` is that of the request that an answer belongs to."""
        self.chunked = head.chunked
        length = head.get("Content-Length")
        empty = is_answer and (to_method == "HEAD" or head.status in (204, 304) or head.status < 200)
        self.until_close = is_answer and not empty and not self.chunked and not length
        self._left = 0 if empty or self.chunked else int(length or 0)
        self._in_chunk = False
        self.ended = empty or (not self.chunked and not self.until_close and self._left == 0)

    def take(self, line: Line) -> bytes:
        """Content that has come so far; what is not whole yet, and the next message, stay in the buffer."""
        if not self.chunked:
            wanted = len(line.buffer) if self.until_close else self._left
            content, line.buffer = line.buffer[:wanted], line.buffer[wanted:]
            self._left -= 0 if self.until_close else len(content)
            self.ended = not self.until_close and self._left == 0
            return content
        content = b""
        while not self.ended:
            if self._in_chunk and self._left:
                part, line.buffer = line.buffer[: self._left], line.buffer[self._left :]
                self._left -= len(part)
                content += part
                if self._left:
                    break
            if self._in_chunk:
                if len(line.buffer) < 2:
                    break
                line.buffer = line.buffer[2:]
                self._in_chunk = False
            elif self._takes_size(line):
                continue
            else:
                break
        return content

    def _takes_size(self, line: Line) -> bool:
        found = re.match(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n", line.buffer)
        if found is None:
            return False
        if int(found[1], 16) == 0:
            end = line.buffer.find(CRLF, found.end())  # trailers are not told on
            if end != found.end():
                return False
            line.buffer = line.buffer[end + 2 :]
            self.ended = True
            return True
        line.buffer = line.buffer[found.end() :]
        self._left = int(found[1], 16)
        self._in_chunk = True
        return True


def chunk(content: bytes) -> bytes:
    """One chunk; of nothing, the last one."""
    return f"{len(content):x}".encode() + CRLF + content + CRLF
