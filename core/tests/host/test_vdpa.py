"""Requests of the family "vdpa" as they go to the kernel, and its answers."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from virtfn.host import netlink
from virtfn.host.oserror import os_error
from virtfn.host.vdpa import GenericNetlinkVdpa

HEADER, FAMILY = 16, 41
MGMTDEV_GET, DEV_NEW, DEV_DEL = 2, 3, 4
BUS, DEVICE, NAME, MAX_VQP = 1, 2, 4, 12


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def answer(*attributes: bytes) -> bytes:
    body = struct.pack("=BBH", 1, 1, 0) + b"".join(attributes)
    return struct.pack("=IHHII", HEADER + len(body), FAMILY, 0, 1, 0) + body


class Socket:
    """In place of the netlink socket: what was sent, without its header, and whether it was a dump."""

    sent: list[tuple[bytes, bool]]
    answers: Sequence[bytes]
    error: int

    def __init__(self, _protocol: int) -> None:
        pass

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, message: Any, *, kind: int, decode: Callable[[bytes], Any], dump: bool = False) -> list[Any]:
        assert kind == FAMILY
        message.encode()
        self.sent.append((bytes(message.data)[HEADER:], dump))
        if self.error:
            raise os_error(self.error, "said the kernel")
        return [decode(data) for data in self.answers]


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> type[Socket]:
    kind = type("Sockets", (Socket,), {"sent": [], "answers": (), "error": 0})
    monkeypatch.setattr(netlink, "NetlinkSocket", kind)
    monkeypatch.setattr(netlink, "generic_family", {"vdpa": FAMILY}.__getitem__)
    return kind


def command(number: int, *attributes: bytes) -> bytes:
    return struct.pack("=BBH", number, 1, 0) + b"".join(attributes)


def test_a_device_is_made(sockets: type[Socket]) -> None:
    GenericNetlinkVdpa().add(("pci", "0000:3b:00.2"), "vdpa:0000:3b:00.2", max_vqp=32)
    GenericNetlinkVdpa().add(("", "vdpasim_net"), "simulated")
    assert sockets.sent == [
        (
            command(
                DEV_NEW,
                text(BUS, "pci"),
                text(DEVICE, "0000:3b:00.2"),
                text(NAME, "vdpa:0000:3b:00.2"),
                attribute(MAX_VQP, struct.pack("=H", 32)),
            ),
            False,
        ),
        (command(DEV_NEW, text(DEVICE, "vdpasim_net"), text(NAME, "simulated")), False),
    ]


def test_a_device_is_removed(sockets: type[Socket]) -> None:
    GenericNetlinkVdpa().remove("simulated")
    assert sockets.sent == [(command(DEV_DEL, text(NAME, "simulated")), False)]


def test_management_devices(sockets: type[Socket]) -> None:
    sockets.answers = [answer(text(BUS, "pci"), text(DEVICE, "0000:3b:00.2")), answer(text(DEVICE, "vdpasim_net"))]
    assert GenericNetlinkVdpa().management() == {("pci", "0000:3b:00.2"), ("", "vdpasim_net")}
    assert sockets.sent == [(command(MGMTDEV_GET), True)]


def test_a_kernel_without_vdpa_has_none_and_other_errors_come_through(sockets: type[Socket]) -> None:
    sockets.error = errno.ENOENT
    assert GenericNetlinkVdpa().management() == frozenset()
    sockets.error = errno.EPERM
    for call in (GenericNetlinkVdpa().management, lambda: GenericNetlinkVdpa().remove("simulated")):
        with pytest.raises(OSError, match="said the kernel") as caught:
            call()
        assert caught.value.errno == errno.EPERM
