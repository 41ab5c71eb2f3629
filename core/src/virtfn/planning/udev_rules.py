"""What udev and systemd-networkd are told about one PF: names that stay, and whose interfaces are not theirs.

Text only, made of what is wanted and of the PF's place on the bus, so that it is the same before and after the mode
changes. Everything is matched by udev itself: no program is run for an event.

* A netdev is a VF's, or that of a vDPA device on one, when something above it has the PF as its `physfn`. A
  representor has the PF as its parent, the name of its port and a switch id (before Linux 5.8 it has no parent, and
  switch and port number tell).
* `NAME` is given on `add` only, never to a port of a bridge, and never to what kube-ovn has named (`..._h`): whoever
  plugs a representor in may rename it, and must find it again.
* That they are not to be managed has to be said for every event, also after a rename (`move`): the last one counts.
"""

from __future__ import annotations

import re

from virtfn.model import DesiredPf, EswitchMode, Pf, Platform, functions
from virtfn.model.owned_files import MARK

UNMANAGED = "VIRTFN_UNMANAGED"
"""Property of the udev database by which the .network file finds VFs and representors."""

_KEPT = f'ENV{{NM_UNMANAGED}}="1", ENV{{ID_NET_MANAGED_BY}}="virtfn", ENV{{{UNMANAGED}}}="1"'
"""The second is for systemd-networkd from 256 on, which then asks no file."""

_PLAIN = re.compile(r"[\w.@+-]+")
"""Names of netdevs that mean nothing else in a rule."""

_PARENTS_SINCE = (5, 8)
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def udev_rules(pf: Pf, want: DesiredPf, platform: Platform) -> str:
    """The rules file of one PF."""
    lines = [
        _header(pf, want),
        'SUBSYSTEM!="net", GOTO="virtfn_end"',
        'ACTION=="remove", GOTO="virtfn_end"',
        "",
        "# its VFs",
        f'ATTRS{{physfn/uevent}}=="*PCI_SLOT_NAME={pf.address}*", {_KEPT}, GOTO="virtfn_end"',
    ]
    if want.eswitch_mode is EswitchMode.SWITCHDEV and pf.netdev is not None:
        lines += _switchdev(pf, want, platform)
    return "\n".join([*lines, "", 'LABEL="virtfn_end"']) + "\n"


def _switchdev(pf: Pf, want: DesiredPf, platform: Platform) -> list[str]:
    assert pf.netdev is not None
    whose, number = f'KERNELS=="{pf.address}", ATTR{{phys_switch_id}}=="?*"', "*"
    if _before_parents(platform) and pf.netdev.phys_switch_id:
        port = (pf.netdev.phys_port_name or "").removeprefix("p")
        whose, number = f'ATTR{{phys_switch_id}}=="{pf.netdev.phys_switch_id}"', port if port.isdigit() else "*"
    own = functions.own_name(pf, want)
    lines = [
        "",
        "# representors of its VFs",
        f'{whose}, ATTR{{phys_port_name}}=="pf{number}vf*|c[0-9]*pf{number}vf*", {_KEPT}',
    ]
    if not _PLAIN.fullmatch(own):
        return lines
    lines += [
        "",
        "# the PF, which some kernels make anew when the eswitch mode changes",
        f'ACTION=="add", KERNELS=="{pf.address}", ATTR{{phys_port_name}}=="p[0-9]*", NAME="{own}"',
    ]
    names = functions.representor_names(pf, want)
    if names:
        lines += ['ACTION!="add", GOTO="virtfn_end"', 'KERNEL=="*_h", GOTO="virtfn_end"']
        lines += ['TEST=="master", GOTO="virtfn_end"']
    lines += [f'{whose}, ATTR{{phys_port_name}}=="pf{number}vf{index}", NAME="{name}"' for index, name in names.items()]
    return lines


def network_file(pf: Pf, want: DesiredPf) -> str:
    """systemd-networkd's file about the VFs and representors of one PF.

    Before systemd 243 neither `Property=` nor `!` is known: the file then matches no interface at all, and least of all
    the PF.
    """
    name = functions.own_name(pf, want) or "lo"
    return "\n".join(
        [_header(pf, want), "[Match]", f"Name=!{name}", f"Property={UNMANAGED}=1", "", "[Link]", "Unmanaged=yes", ""]
    )


def _header(pf: Pf, want: DesiredPf) -> str:
    policies = ", ".join(dict.fromkeys(group.policy_name for group in want.groups if group.policy_name))
    by = f", for policy {policies}" if policies else ""
    name = f" ({functions.own_name(pf, want)})" if pf.netdev is not None else ""
    told = " ".join(f"{MARK} about {pf.address}{name}{by}".split())  # a line feed would begin a rule
    return f"# {told}. Changes are overwritten; it goes when the PF is given back.\n"


def _before_parents(platform: Platform) -> bool:
    release = _RELEASE.match(platform.kernel)
    return release is not None and (int(release[1]), int(release[2])) < _PARENTS_SINCE
