"""The PFs: link, MTU, eswitch mode and number of VFs, in an order that every driver without a plugin accepts.

* The link goes up first: bnxt takes a number of VFs while the link is down and makes none, and the VF drivers of igb
  and ixgbe find no PF to talk to.
* VFs are made without a driver, and bound one by one later: so each VF is probed once, with its final MAC, and one
  meant for user space never shows up as a netdev that a network manager could grab.
* Switchdev is set when the VFs exist and have no driver, as older mlx5 wants the VFs first and its firmware refuses
  the change while VFs are bound.
"""

from __future__ import annotations

from virtfn.model import DesiredPf, EswitchMode, Pf, Step, steps


def wanted_mode(pf: Pf, want: DesiredPf) -> EswitchMode | None:
    """The eswitch mode to be in; None where the PF has no eswitch."""
    if pf.eswitch_mode is None:
        return None
    return want.eswitch_mode or EswitchMode.LEGACY


def plan_pf(pf: Pf, want: DesiredPf) -> list[Step]:
    """All steps of one PF, without those of its VFs."""
    if want.externally_managed:
        return []
    before = [*plan_link_up(pf, want), *plan_autoprobe(pf, want)]
    if want.release:
        return [*before, *plan_count_and_mode(pf, want), *plan_mtu(pf, want), *plan_link_down(pf, want)]
    return [*before, *plan_mtu(pf, want), *plan_count_and_mode(pf, want)]


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


def plan_count_and_mode(pf: Pf, want: DesiredPf) -> list[Step]:
    """Number of VFs and eswitch mode."""
    mode = wanted_mode(pf, want)
    switch = mode is not None and mode is not pf.eswitch_mode
    recount = pf.num_vfs != want.num_vfs
    if not switch or mode is None:
        return [steps.set_num_vfs(pf, want.num_vfs, why=count_reason(pf, want))] if recount else []
    reason = mode_reason(pf, want, mode)
    if not recount:
        bound = [vf for vf in pf.vfs if vf.driver is not None]
        taken = [steps.unbind_driver(pf, vf, why=f"VF drivers are in the way of eswitch mode {mode}") for vf in bound]
        return [*taken, steps.set_eswitch_mode(pf, mode, why=reason)]
    if mode is EswitchMode.SWITCHDEV:
        return [
            steps.set_num_vfs(pf, want.num_vfs, why=count_reason(pf, want)),
            steps.set_eswitch_mode(pf, mode, existing=(), why=reason),
        ]
    planned = []
    if pf.num_vfs:
        planned.append(steps.set_num_vfs(pf, 0, why=f"VFs of {pf.eswitch_mode} mode go before the mode changes"))
    planned.append(steps.set_eswitch_mode(pf, mode, existing=(), why=reason))
    if want.num_vfs:
        planned.append(steps.set_num_vfs(pf, want.num_vfs, existing=(), why=count_reason(pf, want)))
    return planned
