"""Whose representor a netdev is, told by the port it stands for and never by its name.

`phys_port_name` has the forms of Linux net/devlink/port.c: `p<port>` for an uplink, `pf<port>vf<index>` for a VF, with
`c<controller>` before it where the function is another machine's (a DPU shows its host's so).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from virtfn.host.kernel import LinkInfo
from virtfn.model.functions import representor_bases

_UPLINK_PORT = re.compile(r"(?:c\d+)?p(\d+)(?:s\d+)?")
_VF_PORT = re.compile(r"(c\d+)?pf(\d+)vf(\d+)")

_TAKEN = re.compile(r".*_h")
"""What kube-ovn calls a representor that it has put in its bridge, and after that for good."""


def is_uplink_port(link: LinkInfo) -> bool:
    """Whether it is the way out of the switch."""
    return _UPLINK_PORT.fullmatch(link.phys_port_name or "") is not None


def is_vf_port(link: LinkInfo) -> bool:
    """Whether it stands for a VF."""
    return _VF_PORT.fullmatch(link.phys_port_name or "") is not None


def representors_of(uplink: LinkInfo, links: Mapping[str, LinkInfo]) -> dict[int, LinkInfo]:
    """VF representors of a PF by VF index: same switch, and the uplink's port number.

    A VF of this machine has no controller in its port's name; one that has stands in only where there is no other.
    """
    port = _UPLINK_PORT.fullmatch(uplink.phys_port_name or "")
    if uplink.phys_switch_id is None or port is None:
        return {}
    near: dict[int, LinkInfo] = {}
    far: dict[int, LinkInfo] = {}
    for link in links.values():
        match = _VF_PORT.fullmatch(link.phys_port_name or "")
        if match and match[2] == port[1] and link.phys_switch_id == uplink.phys_switch_id:
            (far if match[1] else near)[int(match[3])] = link
    return far | near


def taken_names(uplink: LinkInfo, links: Mapping[str, LinkInfo]) -> tuple[str, ...]:
    """Names such as a PF's representors get that other netdevs have."""
    own = {link.ifindex: index for index, link in representors_of(uplink, links).items()}
    bases = representor_bases(uplink.name)
    found = set()
    for link in links.values():
        names, index = {link.name, *link.alt_names}, own.get(link.ifindex)
        if index is not None:  # its name can be changed; an alternative one gives way to itself only
            names = {*link.alt_names} - {f"{base}_{index}" for base in bases}
        found |= {name for name in names if name.startswith(tuple(f"{base}_" for base in bases))}
    return tuple(sorted(found))


def keeps_name(link: LinkInfo) -> bool:
    """Whether somebody may know a representor by its name: it is up, a port of a bridge, or named by kube-ovn."""
    return link.up or link.master is not None or _TAKEN.fullmatch(link.name) is not None
