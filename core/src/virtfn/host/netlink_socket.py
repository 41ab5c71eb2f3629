"""One netlink request and its answers, on a socket of its own.

Messages are pyroute2's; the socket is not: opening one there starts an event loop, which takes longer than most
requests, and must not be taken along into a forked process. Here nothing outlives a call, so threads and forks are no
matter.

The protocol is that of Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from virtfn.host.oserror import os_error

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port id
_SEQUENCE, _SEQUENCE_AT = struct.Struct("=I"), 8
_ERROR = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")
_NLMSG_ERROR, _NLMSG_DONE, _FIRST_ANSWER = 2, 3, 16
_F_REQUEST, _F_ACK, _F_DUMP_INTERRUPTED, _F_DUMP, _F_HAS_ATTRIBUTES = 0x1, 0x4, 0x10, 0x300, 0x200
_SOL_NETLINK = 270
_OPT_CAP_ACK, _OPT_EXT_ACK = 10, 11
_ATTRIBUTE_TEXT = 1  # NLMSGERR_ATTR_MSG
_TYPE_BITS = 0x3FFF
_DUMPS = 3
"""How often a dump is begun anew when what it shows changed meanwhile."""

Decode = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """One message of an answer."""

    kind: int
    flags: int
    data: bytes
    """With its header."""


class NetlinkSocket:
    """A socket of one netlink protocol (`socket.NETLINK_ROUTE`). A context manager; OSError with the kernel's errno."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            for option in (_OPT_CAP_ACK, _OPT_EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def request(self, message: Any, *, kind: int, decode: Decode, dump: bool = False) -> list[Any]:
        """Send one of pyroute2's messages as the type `kind`; the answers, decoded. Waits as long as the kernel does.

        :raises OSError: what the kernel refused, with its own explanation as `strerror` where it gave one.
        """
        header = message["header"]
        header["type"], header["flags"] = kind, _F_REQUEST | (_F_DUMP if dump else _F_ACK)
        message.encode()
        for _ in range(_DUMPS):
            parts = list(self._exchange(bytearray(message.data)))
            if not any(part.flags & _F_DUMP_INTERRUPTED for part in parts):
                break
        return [decode(part.data) for part in parts if part.kind >= _FIRST_ANSWER]

    def _exchange(self, request: bytearray) -> Iterator[_Part]:
        self._sequence += 1
        _SEQUENCE.pack_into(request, _SEQUENCE_AT, self._sequence)
        self._socket.send(request)
        while True:
            for part in self._receive():
                yield part
                if part.kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    _raise_error(part)
                    return

    def _receive(self) -> Iterator[_Part]:
        size = self._socket.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
        data, (port, _) = self._socket.recvfrom(size)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            if not _HEADER.size <= length <= len(data) - offset:
                raise os_error(errno.EBADMSG, "a netlink message is longer than what came")
            if port == 0 and sequence == self._sequence:  # anybody may send to the socket; the kernel's port is 0
                yield _Part(kind, flags, data[offset : offset + length])
            offset += (length + 3) & ~3


def _raise_error(part: _Part) -> None:
    """Nothing for an acknowledgement, and for a dump that ended well."""
    body = part.data[_HEADER.size :]
    code = -_ERROR.unpack_from(body)[0] if len(body) >= _ERROR.size else 0
    if code:
        texts = _ERROR.size + (_HEADER.size if part.kind == _NLMSG_ERROR else 0)
        raise os_error(code, _text(body[texts:]) if part.flags & _F_HAS_ATTRIBUTES else None)


def _text(data: bytes) -> str | None:
    """The kernel's explanation among the attributes of an acknowledgement."""
    found = next((payload for kind, payload in attributes(data) if kind == _ATTRIBUTE_TEXT), None)
    return None if found is None else found.rstrip(b"\0").decode(errors="replace")


def attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each attribute from `start` on; ends at the first that does not fit."""
    offset = start
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            return
        yield kind & _TYPE_BITS, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
