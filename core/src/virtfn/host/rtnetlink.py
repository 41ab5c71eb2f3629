"""Netdevs and the VF settings of PFs, by rtnetlink: what is asked and set. Answers are read in `link_message`."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from virtfn.host.kernel import LinkInfo
from virtfn.host.link_message import IFF_UP, LINK_STATES, MAC_BYTES, VLAN_PROTOCOLS, VfTable, link_info
from virtfn.host.oserror import os_error
from virtfn.model import VfSettings

_EXT_VF = 1 << 0  # RTEXT_FILTER_*: VFs are left out unless asked for
_EXT_SKIP_STATS = 1 << 3  # with statistics, 200 VFs outgrow the 64 KiB that an attribute can have
_LONGEST_NAME = 15
_VLAN_PROTOCOL_NUMBERS = {name: number for number, name in VLAN_PROTOCOLS.items()}
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
                flags=IFF_UP if up else 0,
                change=0 if up is None else IFF_UP,
            )
        )

    def rename(self, ifindex: int, name: str) -> None:
        """RTM_SETLINK with a new name. The kernel has it free first where udev made it an alternative name of the same.

        OSError: EEXIST another netdev has the name.
        """
        from virtfn.host import netlink

        request = netlink.link_message(ifindex, attributes=[("IFLA_IFNAME", name)])
        try:
            netlink.change_link(request)
        except OSError as error:
            if error.errno != errno.EEXIST or self.link(name).ifindex != ifindex:
                raise
            netlink.drop_alt_name(ifindex, name)
            netlink.change_link(request)

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


def vf_attributes(index: int, wanted: Mapping[str, Any], *, now: VfSettings) -> Attributes:
    """IFLA_VF_* attributes for the wanted settings; `now` completes those that travel in one structure.

    :raises OSError: EINVAL, a value that has no form in the message; the text names it.
    """
    if unknown := wanted.keys() - _KNOWN:
        raise ValueError(f"no settings of a VF: {', '.join(sorted(unknown))}")
    attributes: Attributes = []
    if "mac" in wanted:
        attributes.append(("IFLA_VF_MAC", {"vf": index, "mac": _octets(wanted["mac"], MAC_BYTES)}))
    if wanted.keys() & set(_VLAN):
        attributes.append(_vlan(index, wanted, now))
    if wanted.keys() & set(_RATE):
        low, high = (_known(wanted, now, name) or 0 for name in _RATE)
        attributes.append(("IFLA_VF_RATE", {"vf": index, "min_tx_rate": low, "max_tx_rate": high}))
    for name, attribute in _SIMPLE.items():
        if name in wanted:
            value = _one_of(LINK_STATES, wanted[name]) if name == "link_state" else int(bool(wanted[name]))
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


def _one_of(words: Sequence[str], word: str) -> int:
    if word not in words:
        raise os_error(errno.EINVAL, f"{word!r} is none of {', '.join(words)}")
    return words.index(word)


def _octets(text: str, count: int) -> bytes:
    try:
        octets = bytes.fromhex(str(text).replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != count:
        raise os_error(errno.EINVAL, f"{text!r} is not {count} octets")
    return octets
