"""Steps for a PF that every hardware wants alike: link, autoprobe, MTU, and the reasons for count and mode.

Plugins put these in the order their hardware wants; what differs between vendors is the order of number of VFs and
eswitch mode only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from virtfn.model import steps
from virtfn.model.desired import DesiredPf
from virtfn.model.inventory import EswitchMode, Pf
from virtfn.model.plan import Step

LONGEST_NAME = 15
"""Characters of an interface's name (IFNAMSIZ without the final zero)."""

_PORT_AT_THE_END = re.compile(r"(?<=\d)np\d+(s\d+)?$")
"""What udev puts behind the place of a PF: `enp193s0f1np1`."""


def wanted_mode(pf: Pf, want: DesiredPf) -> EswitchMode | None:
    """The eswitch mode to be in; None where the PF has no eswitch."""
    if pf.eswitch_mode is None:
        return None
    return want.eswitch_mode or EswitchMode.LEGACY


def new_mode(pf: Pf, want: DesiredPf) -> EswitchMode | None:
    """The eswitch mode to change to; None where it is as wanted, or there is no eswitch."""
    mode = wanted_mode(pf, want)
    return None if mode is pf.eswitch_mode else mode


def plan_pf(pf: Pf, want: DesiredPf, count_and_mode: list[Step]) -> list[Step]:
    """All steps of one PF around those for its number of VFs and eswitch mode; a release undoes in reverse.

    An externally managed PF gets none.
    """
    if want.externally_managed:
        return []
    before = [*plan_link_up(pf, want), *plan_autoprobe(pf, want)]
    after = [*plan_offload(pf, want), *plan_representors(pf, want, count_and_mode)]
    if want.release:
        return [*before, *count_and_mode, *after, *plan_mtu(pf, want), *plan_link_down(pf, want)]
    return [*before, *plan_mtu(pf, want), *count_and_mode, *after]


def plan_link_up(pf: Pf, want: DesiredPf) -> list[Step]:
    """Link up, if it is wanted up and is down."""
    if pf.netdev is None or not want.link_up or pf.netdev.up:
        return []
    return [steps.set_link(pf, up=True, why="the link is down, and VFs need their PF up")]


def plan_link_down(pf: Pf, want: DesiredPf) -> list[Step]:
    """Link down, where it was so before the first touch."""
    if pf.netdev is None or want.link_up is not False or not pf.netdev.up:
        return []
    return [steps.set_link(pf, up=False, why="the link was down before virtfn touched the PF")]


def plan_autoprobe(pf: Pf, want: DesiredPf) -> list[Step]:
    """`sriov_drivers_autoprobe` back to what it was, should an apply have been cut off."""
    if want.drivers_autoprobe is None or pf.drivers_autoprobe in (None, want.drivers_autoprobe):
        return []
    return [
        steps.set_drivers_autoprobe(
            pf,
            want.drivers_autoprobe,
            why=f"sriov_drivers_autoprobe is {int(not want.drivers_autoprobe)}, and was "
            f"{int(want.drivers_autoprobe)} before virtfn touched the PF",
        )
    ]


def plan_mtu(pf: Pf, want: DesiredPf) -> list[Step]:
    """The PF's MTU: raised to what is wanted and never lowered, except to what it was on release."""
    if want.mtu is None or pf.netdev is None or pf.netdev.mtu == want.mtu:
        return []
    if want.release:
        return [steps.set_link(pf, mtu=want.mtu, why=f"the MTU was {want.mtu} before virtfn touched the PF")]
    if pf.netdev.mtu > want.mtu:
        return []
    return [steps.set_link(pf, mtu=want.mtu, why=f"MTU {want.mtu} wanted, {pf.netdev.mtu} seen")]


def plan_offload(pf: Pf, want: DesiredPf) -> list[Step]:
    """hw-tc-offload: on in switchdev mode, as without it no flow gets into the eswitch; on release as it was.

    Drivers may change it, and whether they have it at all, with the mode: so it is set after each change of mode.
    """
    if pf.netdev is None:
        return []
    seen, changes = pf.netdev.tc_offload, new_mode(pf, want) is not None
    if want.release:
        if want.tc_offload is None or (seen is want.tc_offload and not changes):
            return []
        why = f"hw-tc-offload was {'on' if want.tc_offload else 'off'} before virtfn touched the PF"
        return [steps.set_offload(pf, want.tc_offload, why=why)]
    if wanted_mode(pf, want) is not EswitchMode.SWITCHDEV or (not changes and seen is not False):
        return []
    return [steps.set_offload(pf, True, why="in switchdev mode no flow is offloaded without it")]


def representor_bases(pf_name: str) -> tuple[str, ...]:
    """What the names of a PF's representors begin with, `_<index>` follows: its name, or less where that is too long.

    The port that is left out is told by the function as well: `enp193s0f1` has one port only.
    """
    return tuple(dict.fromkeys((pf_name, _PORT_AT_THE_END.sub("", pf_name))))


def own_name(pf: Pf, want: DesiredPf) -> str:
    """What the PF's netdev is called; in somebody's bridge what it was called before the first touch.

    Who makes the bridge may give it the PF's name, and the PF another one, as kube-ovn does (`exchangeLinkName`): after
    a boot the PF has to be there under its own.
    """
    if pf.netdev is None:
        return ""
    return want.first_name if pf.netdev.in_bridge and want.first_name else pf.netdev.name


def representor_names(pf: Pf, want: DesiredPf) -> dict[int, str]:
    """What the representors of a PF's VFs are to be called, by VF index: `<PF>_<index>`; on release as they were.

    None where the name of the PF leaves no room for it.
    """
    if wanted_mode(pf, want) is not EswitchMode.SWITCHDEV or pf.netdev is None:
        return {}
    if want.release:
        return {vf.index: vf.representor for vf in want.vfs if vf.representor is not None}
    for base in representor_bases(own_name(pf, want)):
        if len(f"{base}_{want.num_vfs - 1}") <= LONGEST_NAME:
            return {index: f"{base}_{index}" for index in range(want.num_vfs)}
    return {}


def names_not_free(pf: Pf, want: DesiredPf, *, anew: bool = False) -> dict[int, str]:
    """Those of the names that another netdev has and goes on having: the representor that was to get it keeps its own.

    :param anew: all representors come anew, so that none of them has a name yet.
    """
    names = representor_names(pf, want)
    now = {} if anew else {vf.index: vf.representor for vf in pf.vfs if vf.representor is not None}
    staying = {vf.index for vf in pf.vfs if vf.index in now and vf.representor_in_use}
    found: dict[int, str] = {}
    while True:
        held = {*pf.taken_names, *(now[index] for index in staying)}
        left = {index: name for index, name in names.items() if index not in staying and index not in found}
        more = {index: name for index, name in left.items() if name in held and now.get(index) != name}
        if not more:
            return found
        found |= more
        staying |= more.keys() & now.keys()


def plan_representors(pf: Pf, want: DesiredPf, count_and_mode: Sequence[Step]) -> list[Step]:
    """Names of the representors, where they come anew or are called otherwise, and neither they nor the names are used.

    On release what the names were is asked for, and whoever has one of them meanwhile keeps it.
    """
    anew = any(step.op in (steps.SET_NUM_VFS, steps.SET_ESWITCH_MODE) for step in count_and_mode)
    names = representor_names(pf, want)
    if not want.release:
        names = {index: name for index, name in names.items() if index not in names_not_free(pf, want, anew=anew)}
    if not anew:
        free = {vf.index: vf.representor for vf in pf.vfs if vf.representor and not vf.representor_in_use}
        names = {index: name for index, name in names.items() if index in free and free[index] != name}
    if not names:
        return []
    why = "before virtfn touched the PF they had these" if want.release else "names that stay the same after a reboot"
    return [steps.name_representors(pf, names, why=why)]


def plan_count(pf: Pf, want: DesiredPf) -> list[Step]:
    """The number of VFs, where the eswitch mode stays."""
    if pf.num_vfs == want.num_vfs:
        return []
    return [steps.set_num_vfs(pf, want.num_vfs, why=count_reason(pf, want))]


def count_reason(pf: Pf, want: DesiredPf) -> str:
    """Why the number of VFs changes."""
    if want.release:
        return f"{want.num_vfs} VFs were there before virtfn touched the PF, {pf.num_vfs} now"
    through = "; the kernel makes another number only through 0" if pf.num_vfs and want.num_vfs else ""
    return f"{want.num_vfs} VFs wanted, {pf.num_vfs} seen{through}"


def mode_reason(pf: Pf, want: DesiredPf, mode: EswitchMode) -> str:
    """Why the eswitch mode changes."""
    if want.release:
        return f"the eswitch was in {mode} mode before virtfn touched the PF"
    return f"eswitch mode {mode} wanted, {pf.eswitch_mode} seen"


def plan_vfs_before_mode(pf: Pf, want: DesiredPf) -> list[Step]:
    """Number of VFs and eswitch mode in an order that most drivers take: VFs without a driver, then the mode."""
    mode = new_mode(pf, want)
    if mode is None:
        return plan_count(pf, want)
    reason = mode_reason(pf, want, mode)
    if pf.num_vfs == want.num_vfs:
        bound = [vf for vf in pf.vfs if vf.driver is not None]
        taken = [steps.unbind_driver(pf, vf, why=f"VF drivers are in the way of eswitch mode {mode}") for vf in bound]
        return [*taken, steps.set_eswitch_mode(pf, mode, why=reason)]
    if mode is EswitchMode.SWITCHDEV:
        return [
            steps.set_num_vfs(pf, want.num_vfs, why=count_reason(pf, want)),
            steps.set_eswitch_mode(pf, mode, existing=(), why=reason),
        ]
    return plan_mode_before_vfs(pf, want, mode, gone_why=f"VFs of {pf.eswitch_mode} mode go before the mode changes")


def plan_mode_before_vfs(pf: Pf, want: DesiredPf, mode: EswitchMode, *, gone_why: str) -> list[Step]:
    """Change the mode while there is no VF: all VFs go, the mode changes, the VFs are made anew.

    :param gone_why: why existing VFs have to go first.
    """
    planned = []
    if pf.num_vfs:
        planned.append(steps.set_num_vfs(pf, 0, why=gone_why))
    planned.append(steps.set_eswitch_mode(pf, mode, existing=(), why=mode_reason(pf, want, mode)))
    if want.num_vfs:
        planned.append(steps.set_num_vfs(pf, want.num_vfs, existing=(), why=count_reason(pf, want)))
    return planned
