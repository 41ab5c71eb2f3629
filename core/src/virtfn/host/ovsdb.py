"""Open vSwitch's database over its unix socket: JSON-RPC 1.0 as RFC 7047 has it, with the standard library alone.

One connection a call: a look at the node is two of them in half a minute, and a connection that is kept would have to
answer the server's probes meanwhile.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from virtfn.host.oserror import os_error

DATABASE: Final = "Open_vSwitch"
SOCKETS: Final = ("run/openvswitch/db.sock", "var/run/openvswitch/db.sock")
"""Below the root. `/var/run` is mostly a link to `/run`, which in a container would lead into the container's own."""
TIMEOUT: Final = 15.0
"""Seconds for a whole call. The existing operators give it as many."""
_MOST_BYTES: Final = 64 << 20
_NOBODY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED})
"""No socket, or one that is left from a server that has ended."""


class SocketOvsDb:
    """`virtfn.host.kernel.OvsDb` on the machine below `root`."""

    def __init__(self, root: Path = Path("/"), *, timeout: float = TIMEOUT) -> None:
        self._root = root
        self._timeout = timeout

    def select(self, tables: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[Mapping[str, Any]]] | None:
        """See `OvsDb`."""
        operations = [
            {"op": "select", "table": table, "where": [], "columns": list(columns)} for table, columns in tables.items()
        ]
        try:
            results = self.transact(operations)
        except OSError as error:
            if error.errno in _NOBODY:
                return None
            raise
        found = {}
        for table, result in zip(tables, results, strict=False):
            rows = result.get("rows") if result else None
            if not isinstance(rows, list):
                raise os_error(errno.EPROTO, f"Open vSwitch's database: table {table} cannot be read: {result}")
            found[table] = rows
        return found

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """See `OvsDb`."""
        deadline = time.monotonic() + self._timeout
        with self._connect() as connection:
            request = {"method": "transact", "params": [DATABASE, *operations], "id": 0}
            _send(connection, request, deadline)
            answer = _receive(connection, deadline)
        if answer.get("error") is not None:
            raise os_error(errno.EPROTO, f"Open vSwitch's database refused the request: {_text(answer['error'])}")
        results = answer.get("result")
        if not isinstance(results, list):
            raise os_error(errno.EPROTO, f"Open vSwitch's database gave no result: {_text(answer)}")
        return results

    def _connect(self) -> socket.socket:
        """A connection to the first socket that is there. OSError of the last."""
        paths = [self._root / path for path in SOCKETS]
        path = next((path for path in paths if os.path.lexists(path)), paths[0])
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(self._timeout)
            connection.connect(str(path))
        except TimeoutError:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            raise os_error(error.errno or errno.EIO, error.strerror, filename=str(path)) from error
        return connection


def _send(connection: socket.socket, message: Mapping[str, Any], deadline: float) -> None:
    connection.settimeout(_left(deadline))
    connection.sendall(json.dumps(message).encode())


def _receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """The answer to our request; the server's own probes are answered meanwhile."""
    decoder = json.JSONDecoder()
    data = b""
    while True:
        connection.settimeout(_left(deadline))
        part = connection.recv(1 << 16)
        if not part:
            raise os_error(errno.EPROTO, "Open vSwitch's database hung up before it had answered")
        data += part
        if len(data) > _MOST_BYTES:
            raise os_error(errno.EPROTO, f"Open vSwitch's database sends more than {_MOST_BYTES} bytes")
        while data.rstrip().endswith(b"}"):  # nothing stands between two messages, and one may come in pieces
            try:
                text = data.decode().lstrip()
                message, end = decoder.raw_decode(text)
            except (ValueError, RecursionError):
                break
            data = text[end:].encode()
            if not isinstance(message, dict):
                raise os_error(errno.EPROTO, f"Open vSwitch's database sends what is no message: {_text(message)}")
            if message.get("method") == "echo":
                _send(connection, {"result": message.get("params"), "error": None, "id": message.get("id")}, deadline)
            elif message.get("method") is None and message.get("id") == 0:
                return message
        if data.lstrip()[:1] not in (b"", b"{"):
            raise os_error(errno.EPROTO, f"Open vSwitch's database sends no JSON: {_text(data)}")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("Open vSwitch's database does not answer")
    return left


def _text(value: Any) -> str:
    return str(value)[:300]
