"""Netdevs and the VF settings of PFs, by rtnetlink: what the attributes mean. How they travel is in `netlink`."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from virtfn.host.kernel import LinkInfo
from virtfn.host.oserror import os_error
from virtfn.model import VfSettings

_IFF_UP = 1
_EXT_VF = 1 << 0  # RTEXT_FILTER_*: VFs are left out unless asked for
_EXT_SKIP_STATS = 1 << 3  # with statistics, 200 VFs outgrow the 64 KiB that an attribute can have
_LONGEST_NAME = 15
_NOT_SAID = 0xFFFFFFFF  # -1, which the kernel puts where the driver tells nothing
_MAC_BYTES = 6
_VLAN_PROTOCOLS = {0x8100: "802.1q", 0x88A8: "802.1ad"}
_VLAN_PROTOCOL_NUMBERS = {name: number for number, name in _VLAN_PROTOCOLS.items()}
_LINK_STATES = ("auto", "enable", "disable")
_SIMPLE = {"trust": "IFLA_VF_TRUST", "spoof_check": "IFLA_VF_SPOOFCHK", "link_state": "IFLA_VF_LINK_STATE"}
_GUIDS = {"node_guid": "IFLA_VF_IB_NODE_GUID", "port_guid": "IFLA_VF_IB_PORT_GUID"}
_VLAN = ("vlan", "qos", "vlan_proto")
_RATE = ("min_tx_rate", "max_tx_rate")
_KNOWN = {"mac", *_SIMPLE, *_GUIDS, *_VLAN, *_RATE}

Attributes = list[tuple[str, Any]]


class RtnetlinkLinks:
    """`Links` of the process's own network namespace. Threads may share one: every call opens its own socket."""

    def links(self) -> Mapping[str, LinkInfo]:
        """All netdevs of this network namespace by name."""
        from virtfn.host import netlink

        request = netlink.link_message(attributes=[("IFLA_EXT_MASK", _EXT_SKIP_STATS)])
        found = [link_info(message) for message in netlink.dump_links(request)]
        return {link.name: link for link in found}

    def link(self, name: str) -> LinkInfo:
        """One netdev by its name or an alternative one, read afresh. OSError(ENODEV) when it is not there."""
        from virtfn.host import netlink

        attribute = "IFLA_IFNAME" if len(name.encode()) <= _LONGEST_NAME else "IFLA_ALT_IFNAME"
        request = netlink.link_message(attributes=[(attribute, name), ("IFLA_EXT_MASK", _EXT_SKIP_STATS)])
        return link_info(netlink.get_link(request))

    def vf_settings(self, ifindex: int) -> Mapping[int, VfSettings]:
        """Settings of the VFs of a PF's netdev by VF index; empty when the driver gives none."""
        from virtfn.host import netlink

        request = netlink.link_message(ifindex, attributes=[("IFLA_EXT_MASK", _EXT_VF | _EXT_SKIP_STATS)])
        return VfTable(netlink.get_link(request))

    def set_link(self, ifindex: int, *, mtu: int | None = None, up: bool | None = None) -> None:
        """RTM_SETLINK with the MTU in bytes and the administrative state; what is None stays."""
        from virtfn.host import netlink

        attributes = [] if mtu is None else [("IFLA_MTU", mtu)]
        netlink.change_link(
            netlink.link_message(
                ifindex,
                attributes=attributes,
                flags=_IFF_UP if up else 0,
                change=0 if up is None else _IFF_UP,
            )
        )

    def set_vf(self, ifindex: int, index: int, settings: Mapping[str, Any]) -> None:
        """IFLA_VFINFO_LIST of one VF in one message; keys are `VfSettings`' field names, None means "as it is".

        The kernel takes VLAN, QoS and VLAN protocol together, and the two rates together. What of them is not given
        stays as it is, but `vlan` 0 by itself clears all three. Of several settings, those before a refused one are
        made.
        """
        from virtfn.host import netlink

        wanted = {name: value for name, value in settings.items() if value is not None}
        incomplete = any(0 < len(wanted.keys() & group) < len(group) for group in (set(_VLAN), set(_RATE)))
        now = self.vf_settings(ifindex).get(index) if incomplete else None
        attributes = vf_attributes(index, wanted, now=now or VfSettings())
        if attributes:
            vf = ("IFLA_VF_INFO", {"attrs": attributes})
            netlink.change_link(netlink.link_message(ifindex, attributes=[("IFLA_VFINFO_LIST", {"attrs": [vf]})]))


class _Attributes:
    """The attributes of a message by name, found in one pass and decoded when asked for; the first of a name counts."""

    def __init__(self, message: Any) -> None:
        self._found: dict[str, Any] = {}
        for attribute in message["attrs"] if message else ():
            self._found.setdefault(attribute[0], attribute)

    def get(self, name: str) -> Any:
        """The value, None when there is no such attribute."""
        attribute = self._found.get(name)
        return None if attribute is None else attribute[1]


def link_info(message: Any) -> LinkInfo:
    """A link message as `LinkInfo`. An MTU limit of 0 is the kernel's word for "none"."""
    found = _Attributes(message)
    properties = found.get("IFLA_PROP_LIST")
    permanent = found.get("IFLA_PERM_ADDRESS")
    switch = found.get("IFLA_PHYS_SWITCH_ID")
    return LinkInfo(
        ifindex=message["index"],
        name=found.get("IFLA_IFNAME"),
        mac=_colons(found.get("IFLA_ADDRESS") or b""),
        mtu=found.get("IFLA_MTU") or 0,
        up=bool(message["flags"] & _IFF_UP),
        arp_type=message["ifi_type"],
        permanent_mac=_colons(permanent) if permanent else None,
        min_mtu=found.get("IFLA_MIN_MTU") or None,
        max_mtu=found.get("IFLA_MAX_MTU") or None,
        alt_names=tuple(properties.get_attrs("IFLA_ALT_IFNAME")) if properties else (),
        phys_port_name=found.get("IFLA_PHYS_PORT_NAME"),
        phys_switch_id=bytes(switch).hex() if switch else None,
    )


class VfTable(Mapping[int, VfSettings]):
    """The VFs of a link message by their index, each decoded when asked for: one of 128 does not cost 128."""

    def __init__(self, message: Any) -> None:
        listed = _Attributes(message).get("IFLA_VFINFO_LIST")
        self._entries: list[Any] = list(listed["attrs"]) if listed else []

    def __getitem__(self, index: int) -> VfSettings:
        if 0 <= index < len(self._entries):  # the kernel lists them in order
            found = _entry(self._entries[index][1])
            if found is not None and found[0] == index:
                return found[1]
        return self._all[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _all(self) -> dict[int, VfSettings]:
        return dict(found for entry in self._entries if (found := _entry(entry[1])) is not None)


def _entry(info: Any) -> tuple[int, VfSettings] | None:
    told = _Attributes(info)
    mac = told.get("IFLA_VF_MAC")  # in every VF's entry since VFs were first shown
    return None if mac is None else (mac["vf"], _settings(told, mac["mac"]))


def vf_attributes(index: int, wanted: Mapping[str, Any], *, now: VfSettings) -> Attributes:
    """IFLA_VF_* attributes for the wanted settings; `now` completes those that travel in one structure.

    :raises OSError: EINVAL, a value that has no form in the message; the text names it.
    """
    if unknown := wanted.keys() - _KNOWN:
        raise ValueError(f"no settings of a VF: {', '.join(sorted(unknown))}")
    attributes: Attributes = []
    if "mac" in wanted:
        attributes.append(("IFLA_VF_MAC", {"vf": index, "mac": _octets(wanted["mac"], _MAC_BYTES)}))
    if wanted.keys() & set(_VLAN):
        attributes.append(_vlan(index, wanted, now))
    if wanted.keys() & set(_RATE):
        low, high = (_known(wanted, now, name) or 0 for name in _RATE)
        attributes.append(("IFLA_VF_RATE", {"vf": index, "min_tx_rate": low, "max_tx_rate": high}))
    for name, attribute in _SIMPLE.items():
        if name in wanted:
            value = _one_of(_LINK_STATES, wanted[name]) if name == "link_state" else int(bool(wanted[name]))
            attributes.append((attribute, {"vf": index, "setting": value}))
    for name, attribute in _GUIDS.items():
        if name in wanted:
            attributes.append((attribute, {"vf": index, "guid": int.from_bytes(_octets(wanted[name], 8), "big")}))
    return attributes


def _vlan(index: int, wanted: Mapping[str, Any], now: VfSettings) -> tuple[str, Any]:
    cleared = wanted.get("vlan") == 0
    kept = VfSettings() if cleared else now
    vlan, qos = _known(wanted, kept, "vlan") or 0, _known(wanted, kept, "qos") or 0
    protocol = _known(wanted, kept, "vlan_proto") or "802.1q"
    number = _VLAN_PROTOCOL_NUMBERS.get(protocol)
    if number is None:
        raise os_error(errno.EINVAL, f"VLAN protocol {protocol!r} is none of {', '.join(_VLAN_PROTOCOL_NUMBERS)}")
    value = {"vf": index, "vlan": vlan, "qos": qos}
    if number == _VLAN_PROTOCOL_NUMBERS["802.1q"]:  # the form that every driver and kernel knows
        return ("IFLA_VF_VLAN", value)
    return ("IFLA_VF_VLAN_LIST", {"attrs": [("IFLA_VF_VLAN_INFO", {**value, "proto": number})]})


def _known(wanted: Mapping[str, Any], now: VfSettings, name: str) -> Any:
    return wanted.get(name, getattr(now, name))


def _settings(told: _Attributes, mac: bytes) -> VfSettings:
    vlan = told.get("IFLA_VF_VLAN")
    tagged = _Attributes(told.get("IFLA_VF_VLAN_LIST")).get("IFLA_VF_VLAN_INFO")
    rate = told.get("IFLA_VF_RATE")
    state = _setting(told, "IFLA_VF_LINK_STATE")
    trust, spoof_check = _setting(told, "IFLA_VF_TRUST"), _setting(told, "IFLA_VF_SPOOFCHK")
    return VfSettings(
        mac=_colons(mac[:_MAC_BYTES]),
        vlan=vlan["vlan"] if vlan else None,
        qos=vlan["qos"] if vlan else None,
        vlan_proto=_VLAN_PROTOCOLS.get(tagged["proto"]) if tagged else None,
        trust=None if trust is None else bool(trust),
        spoof_check=None if spoof_check is None else bool(spoof_check),
        link_state=_LINK_STATES[state] if state is not None and state < len(_LINK_STATES) else None,
        min_tx_rate=rate["min_tx_rate"] if rate else None,
        max_tx_rate=rate["max_tx_rate"] if rate else None,
        node_guid=_guid(told, "IFLA_VF_IB_NODE_GUID"),
        port_guid=_guid(told, "IFLA_VF_IB_PORT_GUID"),
    )


def _setting(told: _Attributes, attribute: str) -> int | None:
    found = told.get(attribute)
    return None if found is None or found["setting"] == _NOT_SAID else int(found["setting"])


def _guid(told: _Attributes, attribute: str) -> str | None:
    found = told.get(attribute)
    return _colons(struct.pack(">Q", found["guid"])) if found else None


def _one_of(words: Sequence[str], word: str) -> int:
    if word not in words:
        raise os_error(errno.EINVAL, f"{word!r} is none of {', '.join(words)}")
    return words.index(word)


def _colons(octets: bytes) -> str:
    return bytes(octets).hex(":")


def _octets(text: str, count: int) -> bytes:
    try:
        octets = bytes.fromhex(str(text).replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != count:
        raise os_error(errno.EINVAL, f"{text!r} is not {count} octets")
    return octets
