"""The protocol of netlink, against a kernel made of prepared datagrams, and against the real one."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

import pytest

from virtfn.host.netlink_socket import NetlinkSocket, attributes
from virtfn.host.oserror import DeviceTimedOut

MULTI, INTERRUPTED, CAPPED, HAS_TEXTS = 0x2, 0x10, 0x100, 0x200
ERROR, DONE, ANSWER = 2, 3, 16


def part(kind: int, body: bytes, *, flags: int = 0, sequence: int = 1) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 4711) + body
    return data + b"\0" * (-len(data) % 4)


def acknowledgement(code: int = 0, text: str | None = None) -> bytes:
    """struct nlmsgerr with the header of the request, and perhaps a text after another attribute."""
    body = struct.pack("=i", -code) + bytes(16)
    if text is None:
        return part(ERROR, body, flags=CAPPED)
    octets = text.encode() + b"\0"
    offset = struct.pack("=HHI", 8, 2, 28)
    told = struct.pack("=HH", 4 + len(octets), 1) + octets
    return part(ERROR, body + offset + told, flags=CAPPED | HAS_TEXTS)


class Message(dict[str, Any]):
    """What pyroute2's messages are to the socket."""

    def __init__(self) -> None:
        super().__init__(header={})
        self.data = b""

    def encode(self) -> None:
        self.data = part(self["header"]["type"], b"asked", flags=self["header"]["flags"], sequence=0)


class Peer:
    """Stands in for the socket: answers are (sender's port, datagram)."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(bytes(data))

    def recv_into(self, _buffer: bytearray, _size: int, flags: int) -> int:
        assert flags == socket.MSG_PEEK | socket.MSG_TRUNC
        return len(self.answers[0][1])

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        port, data = self.answers.pop(0)
        assert size == len(data)
        return data, (port, 0)

    def close(self) -> None:
        pass


def asked(*answers: tuple[int, bytes], dump: bool = False) -> tuple[list[bytes], Peer]:
    peer = Peer(*answers)
    with NetlinkSocket(socket.NETLINK_ROUTE) as link:
        link._socket.close()
        link._socket = peer  # type: ignore[assignment]
        return link.request(Message(), kind=99, decode=lambda data: data[16:], dump=dump), peer


def test_one_answer_and_its_acknowledgement() -> None:
    found, peer = asked((0, part(ANSWER, b"told")), (0, acknowledgement()))
    assert found == [b"told"]
    (sent,) = peer.sent
    assert struct.unpack_from("=IHHI", sent) == (21, 99, 0x5, 1)


def test_a_dump_in_several_parts_of_several_datagrams() -> None:
    first = part(ANSWER, b"a", flags=MULTI) + part(ANSWER, b"bc", flags=MULTI)
    last = part(ANSWER, b"def1", flags=MULTI)
    found, peer = asked((0, first), (0, last), (0, part(DONE, struct.pack("=i", 0), flags=MULTI)), dump=True)
    assert found == [b"a", b"bc", b"def1"]
    assert struct.unpack_from("=IHH", peer.sent[0])[2] == 0x301


def test_what_others_send_and_what_is_late_is_passed_over() -> None:
    forged = (4712, part(ANSWER, b"forged") + acknowledgement(errno.EPERM))
    late = (0, part(ANSWER, b"late", sequence=77))
    found, _ = asked(forged, late, (0, part(ANSWER, b"told") + acknowledgement()))
    assert found == [b"told"]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (errno.EINVAL, "Can't offload with VFs bound", "Can't offload with VFs bound"),
        (errno.EBUSY, None, "Device or resource busy"),
        (errno.ETIMEDOUT, None, "Connection timed out"),
    ],
)
def test_a_refusal_with_and_without_the_kernels_text(code: int, text: str | None, expected: str) -> None:
    with pytest.raises(OSError, match=expected) as caught:
        asked((0, acknowledgement(code, text)))
    assert (caught.value.errno, caught.value.strerror) == (code, expected)
    assert isinstance(caught.value, DeviceTimedOut) is (code == errno.ETIMEDOUT)


def test_a_dump_that_ends_with_an_error() -> None:
    with pytest.raises(OSError, match=r"too long") as caught:
        asked((0, part(ANSWER, b"a")), (0, part(DONE, struct.pack("=i", -errno.EMSGSIZE))), dump=True)
    assert caught.value.errno == errno.EMSGSIZE


def test_a_dump_that_was_overtaken_by_a_change_is_begun_anew() -> None:
    done = struct.pack("=i", 0)
    torn = (0, part(ANSWER, b"old", flags=INTERRUPTED) + part(DONE, done, flags=INTERRUPTED))
    whole = (0, part(ANSWER, b"new", sequence=2) + part(DONE, done, sequence=2))
    found, peer = asked(torn, whole, dump=True)
    assert found == [b"new"]
    assert len(peer.sent) == 2


def test_a_message_that_is_longer_than_its_datagram() -> None:
    with pytest.raises(OSError, match="longer than what came") as caught:
        asked((0, part(ANSWER, b"told")[:-2]))
    assert caught.value.errno == errno.EBADMSG


def test_no_file_is_left_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with NetlinkSocket(socket.NETLINK_ROUTE):
        pass
    with pytest.raises(OSError, match=r"."):
        NetlinkSocket(9999)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_attributes_end_at_the_first_that_does_not_fit() -> None:
    sound = b"\x07\0\1\0one\0" + b"\x04\0\2\x80"
    assert list(attributes(sound)) == [(1, b"one"), (2, b"")]
    for torn in (b"\x09\0\1\0four", b"\x03\0\1\0", b"\x08\0\1"):
        assert list(attributes(sound + torn)) == [(1, b"one"), (2, b"")]
    assert list(attributes(b"header" + sound, 6)) == [(1, b"one"), (2, b"")]
