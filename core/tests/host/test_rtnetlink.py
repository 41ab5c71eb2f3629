"""rtnetlink: VF settings as bytes, and the loopback netdev of this machine."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from typing import Any

import pytest

from virtfn.host import netlink
from virtfn.host.rtnetlink import RtnetlinkLinks, vf_attributes
from virtfn.model import VfSettings

NESTED = 0x8000
GUID = "00:11:22:33:44:55:66:77"


def attribute(kind: int, payload: bytes) -> bytes:
    """`struct nlattr` and what it holds, padded to four bytes."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def number(kind: int, *values: int) -> bytes:
    return attribute(kind, struct.pack(f"={len(values)}I", *values))


def encoded(settings: Mapping[str, Any], *, index: int = 2, now: VfSettings | None = None) -> bytes:
    """The attributes inside IFLA_VF_INFO as they go out."""
    inside = {"attrs": vf_attributes(index, settings, now=now or VfSettings())}
    message = netlink.link_message(3, attributes=[("IFLA_VFINFO_LIST", {"attrs": [("IFLA_VF_INFO", inside)]})])
    message.encode()
    sent = bytes(message.data)
    assert struct.unpack_from("=I", sent) == (len(sent),)
    (list_length, list_kind, info_length, info_kind) = struct.unpack_from("=4H", sent, 32)
    assert (list_kind & ~NESTED, info_kind & ~NESTED, list_length) == (22, 1, info_length + 4)
    return sent[40:]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mac": "02:AB:00:00:00:01"}, attribute(1, struct.pack("=I32s", 2, bytes.fromhex("02ab00000001")))),
        ({"vlan": 100}, number(2, 2, 100, 0)),
        ({"vlan": 100, "qos": 5, "vlan_proto": "802.1q"}, number(2, 2, 100, 5)),
        ({"trust": True}, number(9, 2, 1)),
        ({"spoof_check": False}, number(4, 2, 0)),
        ({"link_state": "auto"}, number(5, 2, 0)),
        ({"link_state": "enable"}, number(5, 2, 1)),
        ({"link_state": "disable"}, number(5, 2, 2)),
        ({"min_tx_rate": 10, "max_tx_rate": 1000}, number(6, 2, 10, 1000)),
        ({"node_guid": GUID}, attribute(10, struct.pack("=IxxxxQ", 2, 0x0011223344556677))),
        ({"port_guid": GUID}, attribute(11, struct.pack("=IxxxxQ", 2, 0x0011223344556677))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_setting_as_bytes(settings: dict[str, Any], expected: bytes) -> None:
    assert encoded(settings) == expected


def test_vlan_with_protocol_has_the_size_of_the_kernels_structure() -> None:
    inner = attribute(1, struct.pack("=III", 2, 100, 3) + struct.pack(">H", 0x88A8) + bytes(2))
    assert len(inner) == 4 + 16
    sent = encoded({"vlan": 100, "qos": 3, "vlan_proto": "802.1ad"})
    assert sent == attribute(12, inner)


def test_several_settings_in_one_message() -> None:
    sent = encoded({"trust": True, "mac": "02:00:00:00:00:01", "spoof_check": False})
    assert sent == attribute(1, struct.pack("=I32s", 2, bytes.fromhex("020000000001"))) + number(9, 2, 1) + number(
        4, 2, 0
    )


def test_the_callers_settings_are_left_alone() -> None:
    settings = {"mac": "02:00:00:00:00:01", "vlan": 5, "trust": True}
    encoded(settings)
    assert settings == {"mac": "02:00:00:00:00:01", "vlan": 5, "trust": True}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"qos": 3}, number(2, 2, 100, 3)),
        ({"vlan": 7}, number(2, 2, 7, 6)),
        ({"vlan": 0}, number(2, 2, 0, 0)),
        ({"min_tx_rate": 5}, number(6, 2, 5, 800)),
        ({"max_tx_rate": 900}, number(6, 2, 40, 900)),
    ],
)
def test_what_travels_together_is_completed_with_what_is(settings: dict[str, Any], expected: bytes) -> None:
    now = VfSettings(vlan=100, qos=6, vlan_proto="802.1q", min_tx_rate=40, max_tx_rate=800)
    assert encoded(settings, now=now) == expected


def test_the_vlan_protocol_is_kept_too_unless_the_vlan_goes() -> None:
    now = VfSettings(vlan=100, qos=6, vlan_proto="802.1ad")
    kept = struct.pack("=III", 2, 100, 1) + struct.pack(">H", 0x88A8) + bytes(2)
    assert encoded({"qos": 1}, now=now) == attribute(12, attribute(1, kept))
    assert encoded({"vlan": 0}, now=now) == number(2, 2, 0, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"mac": "02:00:00:00:00"},
        {"mac": "02:00:00:00:00:zz"},
        {"node_guid": "02:00:00:00:00:01"},
        {"link_state": "up"},
        {"vlan": 1, "vlan_proto": "802.1x"},
    ],
    ids=str,
)
def test_a_value_without_a_form_is_einval(settings: dict[str, Any]) -> None:
    with pytest.raises(OSError, match=r"octets|none of") as caught:
        vf_attributes(0, settings, now=VfSettings())
    assert caught.value.errno == errno.EINVAL


def test_unknown_setting() -> None:
    with pytest.raises(ValueError, match="colour"):
        vf_attributes(0, {"colour": "red"}, now=VfSettings())


class TestThisMachine:
    """Nothing here changes a netdev: what is written is refused."""

    links = RtnetlinkLinks()

    def test_loopback(self) -> None:
        loopback = self.links.link("lo")
        assert (loopback.ifindex, loopback.name, loopback.arp_type) == (1, "lo", 772)
        assert loopback.mac == "00:00:00:00:00:00"
        assert self.links.links()["lo"].ifindex == 1

    def test_loopback_has_no_vfs(self) -> None:
        assert self.links.vf_settings(1) == {}

    @pytest.mark.parametrize("name", ["nosuchdev", "a-name-that-only-an-alternative-one-can-have"])
    def test_absent_link(self, name: str) -> None:
        with pytest.raises(OSError, match="No such device") as caught:
            self.links.link(name)
        assert caught.value.errno == errno.ENODEV

    def test_changes_that_are_refused(self) -> None:
        absent = 2**30
        refused = {errno.ENODEV, errno.EPERM}  # the latter without privileges
        with pytest.raises(OSError, match=r".") as caught:
            self.links.set_link(absent, mtu=1500, up=True)
        assert caught.value.errno in refused
        with pytest.raises(OSError, match=r".") as caught:
            self.links.set_vf(absent, 0, {"trust": True})
        assert caught.value.errno in refused

    def test_nothing_to_set_is_no_request(self) -> None:
        self.links.set_vf(2**30, 0, {"trust": None})
