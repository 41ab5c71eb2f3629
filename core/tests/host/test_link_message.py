"""Link messages of the kernel, from their bytes."""

from __future__ import annotations

import struct

from virtfn.host.kernel import LinkInfo
from virtfn.host.link_message import VfTable, link_info
from virtfn.model import VfSettings

NESTED = 0x8000
GUID = "00:11:22:33:44:55:66:77"


def attribute(kind: int, payload: bytes) -> bytes:
    """`struct nlattr` and what it holds, padded to four bytes."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def number(kind: int, *values: int) -> bytes:
    return attribute(kind, struct.pack(f"={len(values)}I", *values))


def received(*attributes: bytes, index: int = 3, flags: int = 0x1003, arp_type: int = 1) -> bytes:
    """An RTM_NEWLINK message as the kernel sends it."""
    body = struct.pack("=BxHiII", 0, arp_type, index, flags, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 16, 0, 1, 0) + body


def vf_list(*vfs: bytes) -> bytes:
    return attribute(22 | NESTED, b"".join(attribute(1 | NESTED, vf) for vf in vfs))


def mac_of(index: int, mac: bytes = bytes(6)) -> bytes:
    return attribute(1, struct.pack("=I32s", index, mac))


def test_vf_settings_from_bytes() -> None:
    first = (
        mac_of(0, bytes.fromhex("02ab00000001"))
        + number(2, 0, 100, 3)
        + attribute(12, attribute(1, struct.pack("=III", 0, 100, 3) + struct.pack(">Hxx", 0x88A8)))
        + number(6, 0, 10, 1000)
        + number(4, 0, 1)
        + number(5, 0, 2)
        + number(7, 0, 1)  # IFLA_VF_RSS_QUERY_EN, and others that are not read
        + attribute(13, bytes(32))
        + number(9, 0, 0)
        + attribute(10, struct.pack("=IxxxxQ", 0, 0x0011223344556677))
        + attribute(11, struct.pack("=IxxxxQ", 0, 0x0011223344556678))
    )
    assert VfTable(received(vf_list(first))) == {
        0: VfSettings(
            mac="02:ab:00:00:00:01",
            vlan=100,
            qos=3,
            vlan_proto="802.1ad",
            trust=False,
            spoof_check=True,
            link_state="disable",
            min_tx_rate=10,
            max_tx_rate=1000,
            node_guid=GUID,
            port_guid="00:11:22:33:44:55:66:78",
        )
    }


def test_what_the_driver_does_not_say_is_none() -> None:
    nothing = 0xFFFFFFFF
    vf = mac_of(6) + number(4, 6, nothing) + number(9, 6, nothing) + number(5, 6, nothing)
    assert VfTable(received(vf_list(vf))) == {6: VfSettings(mac="00:00:00:00:00:00")}


def test_many_vfs_and_none() -> None:
    many = VfTable(received(vf_list(*[mac_of(index) + number(2, index, index, 0) for index in range(127)])))
    assert [(index, settings.vlan) for index, settings in many.items()] == [(index, index) for index in range(127)]
    assert (many[100].vlan, many.get(127), many.get(-1)) == (100, None, None)
    gaps = VfTable(received(vf_list(mac_of(3), number(4, 0, 1), mac_of(1))))
    assert (list(gaps), gaps[1], gaps.get(0)) == ([3, 1], VfSettings(mac="00:00:00:00:00:00"), None)
    assert VfTable(received()) == {}


def test_link_from_bytes() -> None:
    message = received(
        attribute(1, bytes.fromhex("020000000001")),
        attribute(3, b"ens1f0np0\0"),
        number(4, 1500),
        attribute(23, bytes(64)),  # IFLA_STATS64, and others that are not read
        attribute(36, bytes.fromhex("0a1bff")),
        attribute(38, b"p0\0"),
        number(50, 68),
        number(51, 9978),
        attribute(52 | NESTED, attribute(53, b"enp59s0f0np0\0") + attribute(53, b"uplink\0")),
        attribute(54, bytes.fromhex("020000000002")),
    )
    assert link_info(message) == LinkInfo(
        ifindex=3,
        name="ens1f0np0",
        mac="02:00:00:00:00:01",
        mtu=1500,
        up=True,
        arp_type=1,
        permanent_mac="02:00:00:00:00:02",
        min_mtu=68,
        max_mtu=9978,
        alt_names=("enp59s0f0np0", "uplink"),
        phys_port_name="p0",
        phys_switch_id="0a1bff",
    )


def test_infiniband_link_that_is_down() -> None:
    address = bytes(range(20))
    message = received(attribute(1, address), attribute(3, b"ib0\0"), number(4, 2044), flags=0x1002, arp_type=32)
    link = link_info(message)
    assert (link.mac, link.up, link.arp_type) == (address.hex(":"), False, 32)
    assert (link.min_mtu, link.max_mtu, link.alt_names, link.permanent_mac) == (None, None, (), None)
