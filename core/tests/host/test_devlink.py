"""devlink answers as values, and this machine's kernel, whether it has devlink or not."""

from __future__ import annotations

import errno
import logging
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from pyroute2.netlink.devlink import devlinkcmd

from virtfn.host import netlink
from virtfn.host.api import DevlinkInfo
from virtfn.host.devlink import GenericNetlinkDevlink, devlink_info, eswitch_mode
from virtfn.host.oserror import os_error
from virtfn.model import EswitchMode

HANDLE = ("pci", "0000:3b:00.0")
FAMILY = 20
BUS_NAME, DEV_NAME, ESWITCH_MODE = 1, 2, 25
DRIVER, SERIAL, FIXED, RUNNING, STORED, NAME, VALUE = range(98, 105)


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def answer(*attributes: bytes) -> Any:
    """A devlink message as the kernel sends it: netlink header, generic netlink header, attributes."""
    body = struct.pack("=BBH", 1, 1, 0) + text(BUS_NAME, HANDLE[0]) + text(DEV_NAME, HANDLE[1]) + b"".join(attributes)
    message = devlinkcmd(data=struct.pack("=IHHII", 16 + len(body), 20, 0, 1, 0) + body)
    message.decode()
    return message


class Kernel:
    """In place of the request function: says what it was asked, and answers."""

    def __init__(self, *, answers: Sequence[Any] = (), error: int = 0) -> None:
        self.asked: list[tuple[str, list[tuple[str, Any]], bool]] = []
        self._answers, self._error = answers, error

    def __call__(
        self, command: str, *, family: int, attributes: Sequence[tuple[str, Any]] = (), dump: bool = False
    ) -> Sequence[Any]:
        assert family == FAMILY
        self.asked.append((command, list(attributes), dump))
        if self._error:
            raise os_error(self._error, "said the driver")
        return self._answers


@pytest.fixture(autouse=True)
def family(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each time that the family's number was looked up."""
    asked: list[None] = []

    def look_up() -> int:
        asked.append(None)
        return FAMILY

    monkeypatch.setattr(netlink, "devlink_family", look_up)
    return asked


def test_the_familys_number_is_looked_up_once(monkeypatch: pytest.MonkeyPatch, family: list[None]) -> None:
    monkeypatch.setattr(netlink, "devlink_request", Kernel())
    devlink = GenericNetlinkDevlink()
    assert not family
    devlink.handles()
    devlink.handles()
    assert len(family) == 1


def test_a_kernel_without_devlink(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> int:
        raise os_error(errno.ENOENT)

    monkeypatch.setattr(netlink, "devlink_family", missing)
    assert (GenericNetlinkDevlink().handles(), GenericNetlinkDevlink().info(HANDLE)) == (frozenset(), None)


@pytest.mark.parametrize(("number", "mode"), [(0, EswitchMode.LEGACY), (1, EswitchMode.SWITCHDEV)])
def test_eswitch_mode(monkeypatch: pytest.MonkeyPatch, number: int, mode: EswitchMode) -> None:
    kernel = Kernel(answers=[answer(attribute(ESWITCH_MODE, struct.pack("=H", number)))])
    monkeypatch.setattr(netlink, "devlink_request", kernel)
    assert GenericNetlinkDevlink().eswitch_mode(HANDLE) is mode
    address = [("DEVLINK_ATTR_BUS_NAME", "pci"), ("DEVLINK_ATTR_DEV_NAME", "0000:3b:00.0")]
    assert kernel.asked == [("DEVLINK_CMD_ESWITCH_GET", address, False)]


def test_no_mode_and_a_new_mode(caplog: pytest.LogCaptureFixture) -> None:
    assert eswitch_mode(answer()) is None
    assert not caplog.records
    assert eswitch_mode(answer(attribute(ESWITCH_MODE, struct.pack("=H", 9)))) is None
    assert "unknown eswitch mode 9 of 0000:3b:00.0" in caplog.text


@pytest.mark.parametrize(("mode", "number"), [(EswitchMode.LEGACY, 0), (EswitchMode.SWITCHDEV, 1)])
def test_set_eswitch_mode(monkeypatch: pytest.MonkeyPatch, mode: EswitchMode, number: int) -> None:
    kernel = Kernel()
    monkeypatch.setattr(netlink, "devlink_request", kernel)
    GenericNetlinkDevlink().set_eswitch_mode(HANDLE, mode)
    ((command, attributes, _),) = kernel.asked
    assert (command, attributes[2:]) == ("DEVLINK_CMD_ESWITCH_SET", [("DEVLINK_ATTR_ESWITCH_MODE", number)])


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP])
def test_nothing_there(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(netlink, "devlink_request", Kernel(error=code))
    devlink = GenericNetlinkDevlink()
    assert (devlink.eswitch_mode(HANDLE), devlink.info(HANDLE), devlink.handles()) == (None, None, frozenset())
    with pytest.raises(OSError, match="said the driver"):
        devlink.set_eswitch_mode(HANDLE, EswitchMode.SWITCHDEV)


def test_other_errors_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "devlink_request", Kernel(error=errno.EBUSY))
    devlink = GenericNetlinkDevlink()
    for call in (lambda: devlink.eswitch_mode(HANDLE), lambda: devlink.info(HANDLE), devlink.handles):
        with pytest.raises(OSError, match="said the driver") as caught:
            call()
        assert caught.value.errno == errno.EBUSY


def test_info() -> None:
    def version(kind: int, name: str, value: str) -> bytes:
        return attribute(kind | 0x8000, text(NAME, name) + text(VALUE, value))

    message = answer(
        text(DRIVER, "mlx5_core"),
        text(SERIAL, "MT2042X00001"),
        version(FIXED, "fw.psid", "MT_0000000359"),
        version(RUNNING, "fw.version", "22.39.2048"),
        version(RUNNING, "fw", "22.39.2048"),
        version(STORED, "fw", "22.41.1000"),
    )
    assert devlink_info(message) == DevlinkInfo(
        driver="mlx5_core",
        serial_number="MT2042X00001",
        fixed={"fw.psid": "MT_0000000359"},
        running={"fw.version": "22.39.2048", "fw": "22.39.2048"},
        stored={"fw": "22.41.1000"},
    )
    assert devlink_info(answer()) == DevlinkInfo()


def test_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(answers=[answer(), answer()])
    monkeypatch.setattr(netlink, "devlink_request", kernel)
    assert GenericNetlinkDevlink().handles() == {HANDLE}
    assert kernel.asked == [("DEVLINK_CMD_GET", [], True)]


def test_an_absent_device_on_this_machine(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real one
    devlink = GenericNetlinkDevlink()
    with caplog.at_level(logging.INFO):
        assert devlink.eswitch_mode(("pci", "ffff:ff:1f.7")) is None
        assert devlink.info(("pci", "ffff:ff:1f.7")) is None
        assert ("pci", "ffff:ff:1f.7") not in devlink.handles()
    assert not caplog.records  # a kernel without devlink is no news
    with pytest.raises(OSError, match=r".") as caught:
        devlink.set_eswitch_mode(("pci", "ffff:ff:1f.7"), EswitchMode.SWITCHDEV)
    assert caught.value.errno in {errno.ENODEV, errno.ENOENT, errno.EPERM}
