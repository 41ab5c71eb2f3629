"""Netdevs and the VF settings of PFs from the bytes of the kernel's link messages (RTM_NEWLINK).

pyroute2 makes an object of each of the fifty attributes of a netdev, which took longer than everything else in an
observation; a node has hundreds of netdevs, and of each a dozen attributes are read here. Numbers and structures are
those of linux/if_link.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cached_property

from virtfn.host.kernel import LinkInfo
from virtfn.host.netlink_socket import attributes
from virtfn.model import VfSettings

IFF_UP = 1
VLAN_PROTOCOLS = {0x8100: "802.1q", 0x88A8: "802.1ad"}
LINK_STATES = ("auto", "enable", "disable")
MAC_BYTES = 6

_HEADER_BYTES = 32  # struct nlmsghdr and struct ifinfomsg
_INFO = struct.Struct("=BxHiI")  # family, ARP type, index, flags
_INFO_AT = 16
_NOT_SAID = 0xFFFFFFFF  # -1, which the kernel puts where the driver tells nothing

_ADDRESS, _NAME, _MTU, _MASTER, _VF_LIST, _SWITCH_ID, _PORT_NAME = 1, 3, 4, 10, 22, 36, 38
_MIN_MTU, _MAX_MTU, _PROPERTIES, _ALT_NAME, _PERMANENT_ADDRESS = 50, 51, 52, 53, 54
_VF_INFO = 1
_VF_MAC, _VF_VLAN, _VF_SPOOF_CHECK, _VF_LINK_STATE, _VF_RATE, _VF_TRUST = 1, 2, 4, 5, 6, 9
_VF_NODE_GUID, _VF_PORT_GUID, _VF_VLAN_LIST, _VF_VLAN_INFO = 10, 11, 12, 1


def link_info(message: bytes) -> LinkInfo:
    """A whole message as `LinkInfo`. An MTU limit of 0 is the kernel's word for "none"."""
    found = dict(attributes(message, _HEADER_BYTES))
    _, arp_type, ifindex, flags = _INFO.unpack_from(message, _INFO_AT)
    switch = found.get(_SWITCH_ID)
    permanent = found.get(_PERMANENT_ADDRESS)
    return LinkInfo(
        ifindex=ifindex,
        name=_text(found[_NAME]),
        mac=colons(found.get(_ADDRESS, b"")),
        mtu=_number(found.get(_MTU)) or 0,
        up=bool(flags & IFF_UP),
        arp_type=arp_type,
        permanent_mac=colons(permanent) if permanent else None,
        min_mtu=_number(found.get(_MIN_MTU)) or None,
        max_mtu=_number(found.get(_MAX_MTU)) or None,
        alt_names=tuple(_text(name) for kind, name in attributes(found.get(_PROPERTIES, b"")) if kind == _ALT_NAME),
        phys_port_name=_text(found[_PORT_NAME]) if _PORT_NAME in found else None,
        phys_switch_id=switch.hex() if switch else None,
        master=_number(found.get(_MASTER)) or None,
    )


class VfTable(Mapping[int, VfSettings]):
    """The VFs of a link message by their index, each read when asked for: one of 128 does not cost 128."""

    def __init__(self, message: bytes) -> None:
        listed = dict(attributes(message, _HEADER_BYTES)).get(_VF_LIST, b"")
        self._entries = [payload for kind, payload in attributes(listed) if kind == _VF_INFO]

    def __getitem__(self, index: int) -> VfSettings:
        if 0 <= index < len(self._entries):  # the kernel lists them in order
            found = _entry(self._entries[index])
            if found is not None and found[0] == index:
                return found[1]
        return self._all[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _all(self) -> dict[int, VfSettings]:
        return dict(found for entry in self._entries if (found := _entry(entry)) is not None)


def colons(octets: bytes) -> str:
    """`02:00:00:00:00:01`."""
    return octets.hex(":")


def _entry(data: bytes) -> tuple[int, VfSettings] | None:
    """Index and settings of one IFLA_VF_INFO; each structure in it begins with the index of the VF."""
    found = dict(attributes(data))
    if _VF_MAC not in found:  # in every VF's entry since VFs were first shown
        return None
    index, mac = struct.unpack_from(f"=I{MAC_BYTES}s", found[_VF_MAC])
    _, vlan, qos = _three(found.get(_VF_VLAN))
    _, low, high = _three(found.get(_VF_RATE))
    state = _setting(found.get(_VF_LINK_STATE))
    trust, spoof_check = _setting(found.get(_VF_TRUST)), _setting(found.get(_VF_SPOOF_CHECK))
    return index, VfSettings(
        mac=colons(mac),
        vlan=vlan,
        qos=qos,
        vlan_proto=_vlan_protocol(found.get(_VF_VLAN_LIST)),
        trust=None if trust is None else bool(trust),
        spoof_check=None if spoof_check is None else bool(spoof_check),
        link_state=LINK_STATES[state] if state is not None and state < len(LINK_STATES) else None,
        min_tx_rate=low,
        max_tx_rate=high,
        node_guid=_guid(found.get(_VF_NODE_GUID)),
        port_guid=_guid(found.get(_VF_PORT_GUID)),
    )


def _three(data: bytes | None) -> tuple[int | None, int | None, int | None]:
    return struct.unpack_from("=III", data) if data else (None, None, None)


def _setting(data: bytes | None) -> int | None:
    value = struct.unpack_from("=4xI", data)[0] if data else _NOT_SAID
    return None if value == _NOT_SAID else int(value)


def _vlan_protocol(data: bytes | None) -> str | None:
    tagged = dict(attributes(data or b"")).get(_VF_VLAN_INFO)
    return VLAN_PROTOCOLS.get(struct.unpack_from(">12xH", tagged)[0]) if tagged else None


def _guid(data: bytes | None) -> str | None:
    """The number after index and padding, highest octet first."""
    return colons(struct.pack(">Q", struct.unpack_from("=8xQ", data)[0])) if data else None


def _number(data: bytes | None) -> int | None:
    return int(struct.unpack_from("=I", data)[0]) if data else None


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
