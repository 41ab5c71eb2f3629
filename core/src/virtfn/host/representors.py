"""Whose representor a netdev is, told by the port it stands for and never by its name.

`phys_port_name` has the forms of Linux net/devlink/port.c: `p<port>` for an uplink, `pf<function>vf<index>` for a VF,
`pf<function>sf<number>` for a subfunction and `pf<function>` for a PF, with `c<controller>` before it where the
function is another machine's (a DPU shows its host's so). Port and function mostly have the same number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from virtfn.host.kernel import LinkInfo
from virtfn.model.functions import representor_bases

_UPLINK_PORT = re.compile(r"(?:c\d+)?p(\d+)(?:s\d+)?")
_VF_PORT = re.compile(r"(c\d+)?pf(\d+)vf(\d+)")
_FUNCTION_PORT = re.compile(r"(c\d+)?pf\d+([vs]f\d+)?")

_TAKEN = re.compile(r".*_h")
"""What kube-ovn calls a representor that it has put in its bridge, and after that for good."""


def is_uplink_port(link: LinkInfo) -> bool:
    """Whether it is the way out of the switch."""
    return _UPLINK_PORT.fullmatch(link.phys_port_name or "") is not None


def is_representor(link: LinkInfo) -> bool:
    """Whether it stands for another function: it is then no function's own netdev, in whatever folder it is shown."""
    return _FUNCTION_PORT.fullmatch(link.phys_port_name or "") is not None


def representors_of(
    uplink: LinkInfo, links: Mapping[str, LinkInfo], *, below: Collection[str] = ()
) -> dict[int, LinkInfo]:
    """VF representors of a PF by VF index: same switch, and in the PF's folder or with the uplink's port number.

    A VF of this machine has no controller in its port's name; one that has stands in only where there is no other.

    :param below: netdevs in the PF's folder, where kernels show representors from 5.8 on.
    """
    port = _UPLINK_PORT.fullmatch(uplink.phys_port_name or "")
    if uplink.phys_switch_id is None or port is None:
        return {}
    found = []
    for link in links.values():
        match = _VF_PORT.fullmatch(link.phys_port_name or "")
        if match is not None and link.phys_switch_id == uplink.phys_switch_id:
            found.append((match, link))
    own = [(match, link) for match, link in found if link.name in below]
    own = own or [(match, link) for match, link in found if match[2] == port[1]]
    far = {int(match[3]): link for match, link in own if match[1]}
    return far | {int(match[3]): link for match, link in own if not match[1]}


def taken_names(
    uplink: LinkInfo, representors: Mapping[int, LinkInfo], links: Mapping[str, LinkInfo]
) -> tuple[str, ...]:
    """Names such as a PF's representors get that other netdevs have."""
    own = {link.ifindex: index for index, link in representors.items()}
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
