"""devlink parameters: messages to values and back, and the rules of setting one, on the simulated ground."""

from __future__ import annotations

import errno
import struct

import pytest

from virtfn.errors import DeviceBusy, KernelRefused, NotEffective, WaitTimeout
from virtfn.host import netlink
from virtfn.host.api import DevlinkParam, ParamMode, ParamValue
from virtfn.host.devlink import GenericNetlinkDevlink
from virtfn.host.devlink_param import param_attributes, read_param
from virtfn.host.machine import Machine
from virtfn.testing.fakehost import FakeHost
from virtfn.testing.ground.card import Quirks

RUNTIME, DRIVERINIT, PERMANENT = ParamMode.RUNTIME, ParamMode.DRIVERINIT, ParamMode.PERMANENT


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def answer(name: str, kind: int, *values: tuple[int, bytes | None]) -> bytes:
    """DEVLINK_CMD_PARAM_GET as the kernel answers it."""
    listed = b"".join(
        attribute(85 | 0x8000, (b"" if data is None else attribute(86, data)) + attribute(87, bytes([mode])))
        for mode, data in values
    )
    about = attribute(81, name.encode() + b"\0") + attribute(83, bytes([kind])) + attribute(84 | 0x8000, listed)
    body = struct.pack("=BBH", 38, 1, 0) + attribute(1, b"pci\0") + attribute(80 | 0x8000, about)
    return struct.pack("=IHHII", 16 + len(body), 20, 0, 1, 0) + body


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (
            answer("flow_steering_mode", 5, (0, b"smfs\0")),
            DevlinkParam("flow_steering_mode", "string", {RUNTIME: "smfs"}),
        ),
        (answer("max_macs", 3, (1, struct.pack("=I", 128))), DevlinkParam("max_macs", "u32", {DRIVERINIT: 128})),
        (answer("enable_sriov", 6, (2, b"")), DevlinkParam("enable_sriov", "bool", {PERMANENT: True})),
        (answer("enable_roce", 6, (1, None)), DevlinkParam("enable_roce", "bool", {DRIVERINIT: False})),
        (
            answer("both", 1, (0, b"\x07"), (2, b"\x09"), (9, b"\x01")),
            DevlinkParam("both", "u8", {RUNTIME: 7, PERMANENT: 9}),
        ),
        (answer("new", 12, (0, b"")), None),
        (answer("cut", 3)[:30], None),
    ],
)
def test_what_the_kernel_says(message: bytes, param: DevlinkParam | None) -> None:
    assert read_param(message) == param


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        ("string", "smfs", b"smfs\0"),
        ("u32", 16, struct.pack("=I", 16)),
        ("u8", 255, b"\xff"),
        ("bool", True, b""),
        ("bool", False, None),
    ],
)
def test_what_the_kernel_is_told(kind: str, value: ParamValue, data: bytes | None) -> None:
    told = dict(param_attributes(DevlinkParam("name", kind), value, mode=PERMANENT))
    assert told.get("DEVLINK_ATTR_PARAM_VALUE_DATA") == data
    assert told["DEVLINK_ATTR_PARAM_VALUE_CMODE"] == 2
    message = netlink.DevlinkMessage()
    message["cmd"], message["version"], message["attrs"] = 39, 1, list(told.items())
    message.encode()
    expected = b"" if data is None else attribute(86, data)
    assert expected in bytes(message.data)
    assert attribute(81, b"name\0") in bytes(message.data)


@pytest.mark.parametrize(
    ("kind", "value"), [("u8", 256), ("u32", -1), ("u32", True), ("bool", 1), ("string", "s" * 32)]
)
def test_a_value_of_another_type(kind: str, value: ParamValue) -> None:
    with pytest.raises(OSError, match=f"no value of type {kind}") as caught:
        param_attributes(DevlinkParam("name", kind), value, mode=RUNTIME)
    assert caught.value.errno == errno.EINVAL


def test_setting_one() -> None:
    with FakeHost() as host:
        pf = host.add_card("connectx-5").pf_address(0)
        machine = Machine(host.kernel)
        machine.set_devlink_param(pf, "flow_steering_mode", "smfs", mode=RUNTIME)
        found = machine.devlink_param(pf, "flow_steering_mode")
        assert found is not None
        assert found.value() == "smfs"
        done = len(host.writes)
        machine.set_devlink_param(pf, "flow_steering_mode", "smfs", mode=RUNTIME)
        assert len(host.writes) == done
        assert machine.devlink_param(pf, "no_such_thing") is None
        host.reboot()
        found = machine.devlink_param(pf, "flow_steering_mode")
        assert found is not None
        assert found.value() == "dmfs"


def test_what_is_refused() -> None:
    with FakeHost() as host:
        pf = host.add_card("connectx-4lx").pf_address(0)
        machine = Machine(host.kernel)
        with pytest.raises(KernelRefused, match="not supported by current device") as refused:
            machine.set_devlink_param(pf, "flow_steering_mode", "smfs", mode=RUNTIME)
        assert refused.value.errno == errno.EOPNOTSUPP
        with pytest.raises(KernelRefused, match="has no such parameter") as absent:
            machine.set_devlink_param(pf, "no_such_thing", 1, mode=RUNTIME)
        assert absent.value.errno == errno.EOPNOTSUPP
        host.fail("set_param *", lie=True)
        other = host.add_card("connectx-5", address="0000:5e:00").pf_address(0)
        with pytest.raises(NotEffective, match="reads dmfs afterwards"):
            machine.set_devlink_param(other, "flow_steering_mode", "smfs", mode=RUNTIME)


# --- reload -----------------------------------------------------------------------------------------------------------


def reload_answer(performed: int) -> bytes:
    """DEVLINK_CMD_RELOAD as the kernel answers it."""
    body = struct.pack("=BBH", 37, 1, 0) + attribute(1, b"pci\0") + attribute(154, struct.pack("=II", performed, 6))
    return struct.pack("=IHHII", 16 + len(body), 20, 0, 1, 0) + body


@pytest.mark.parametrize(("answers", "told"), [([reload_answer(2)], True), ([reload_answer(4)], False), ([], False)])
def test_what_the_kernel_says_of_a_reload(monkeypatch: pytest.MonkeyPatch, answers: list[bytes], told: bool) -> None:
    asked: list[tuple[str, list[tuple[str, object]]]] = []

    def answer_with(command: str, *, family: int, attributes: list[tuple[str, object]]) -> list[bytes]:
        assert family == 20
        asked.append((command, attributes))
        return answers

    monkeypatch.setattr(netlink, "devlink_family", lambda: 20)
    monkeypatch.setattr(netlink, "devlink_bytes", answer_with)
    assert GenericNetlinkDevlink().reload(("pci", "0000:3b:00.0")) is told
    ((command, given),) = asked
    assert (command, given[-1]) == ("DEVLINK_CMD_RELOAD", ("DEVLINK_ATTR_RELOAD_ACTION", 1))
    message = netlink.DevlinkMessage()
    message["cmd"], message["version"], message["attrs"] = 37, 1, given
    message.encode()
    assert attribute(153, b"\x01") in bytes(message.data)


def test_a_reload_is_waited_for_and_read_back() -> None:
    with FakeHost() as host:
        pf = host.add_card("connectx-5", up=True, quirks=Quirks(netdev_delay=3.0)).pf_address(0)
        machine = Machine(host.kernel)
        before = machine.own_link(pf)
        machine.reload_driver(pf)
        after = machine.own_link(pf)
        assert before is not None
        assert after is not None
        assert (after.name, after.up, after.ifindex != before.ifindex) == (before.name, False, True)
        machine.set_num_vfs(pf, 2)
        with pytest.raises(DeviceBusy, match="it has 2 VFs"):
            machine.reload_driver(pf)
        machine.set_num_vfs(pf, 0)
        host.fail("reload *", lie=True, times=1)
        with pytest.raises(NotEffective, match="does not say that it did"):
            machine.reload_driver(pf)
        host.fail("reload *", error=errno.EOPNOTSUPP, text="mlx5_core: reload is unsupported in Lag mode", times=1)
        with pytest.raises(KernelRefused, match="unsupported in Lag mode"):
            machine.reload_driver(pf)


def test_a_netdev_that_does_not_come_back_is_told() -> None:
    with FakeHost() as host:
        pf = host.add_card("connectx-5", up=True, quirks=Quirks(netdev_delay=90.0)).pf_address(0)
        with pytest.raises(WaitTimeout, match=f"{pf}: waited 60 s for its netdev"):
            Machine(host.kernel).reload_driver(pf)


def test_a_driver_that_cannot_be_had_take_it_anew() -> None:
    with FakeHost() as host:
        pf = host.add_card("x710", up=True).pf_address(0)
        with pytest.raises(KernelRefused):
            Machine(host.kernel).reload_driver(pf)
