"""The order that the ice driver wants: the eswitch mode is only changed while there is no VF, and VFs come after it.

So a change of mode takes all VFs of the PF away first. The other drivers have no switchdev mode, and take the common
order.
"""

from __future__ import annotations

from virtfn.model import Adapter, DesiredAdapter, DesiredPf, EswitchMode, Pf, Step, steps
from virtfn_intel.tables import ICE, IGB, IXGBE


def changes_mode(adapter: Adapter, desired: DesiredAdapter) -> bool:
    """Whether a PF of the adapter is an ice whose eswitch mode is not the wanted one."""
    return any(
        pf.driver == ICE.name and _new_mode(pf, want) is not None
        for want in desired.pfs
        if (pf := adapter.pf(want.address)) is not None
    )


def plan_links(adapter: Adapter, desired: DesiredAdapter) -> tuple[Step, ...]:
    """igb and ixgbe: the PF is up before a VF is probed, even where nobody manages the PF's link.

    igbvf and ixgbevf ask their PF for MAC and link when they probe; one that is down does not answer, and the VF comes
    up with a random MAC in spite of the one it was given.
    """
    found = []
    for want in desired.pfs:
        pf = adapter.pf(want.address)
        if pf is None or pf.netdev is None or pf.driver not in (IGB.name, IXGBE.name):
            continue
        unmanaged = want.link_up is None and not want.release and not want.externally_managed
        if unmanaged and want.num_vfs and not pf.netdev.up:
            found.append(steps.set_link(pf, up=True, why=f"VFs of {pf.driver} need their PF up when they are probed"))
    return tuple(found)


def plan_pf(pf: Pf, want: DesiredPf) -> list[Step]:
    """All steps of one PF, without those of its VFs."""
    if want.externally_managed:
        return []
    planned: list[Step] = []
    if pf.netdev is not None and want.link_up and not pf.netdev.up:
        planned.append(steps.set_link(pf, up=True, why="the link is down, and VFs need their PF up"))
    if want.drivers_autoprobe is not None and pf.drivers_autoprobe not in (None, want.drivers_autoprobe):
        planned.append(
            steps.set_drivers_autoprobe(pf, want.drivers_autoprobe, why="as it was before virtfn touched the PF")
        )
    count, mtu = _plan_count_and_mode(pf, want), _plan_mtu(pf, want)
    planned += [*count, *mtu] if want.release else [*mtu, *count]
    if pf.netdev is not None and want.release and want.link_up is False and pf.netdev.up:
        planned.append(steps.set_link(pf, up=False, why="the link was down before virtfn touched the PF"))
    return planned


def _new_mode(pf: Pf, want: DesiredPf) -> EswitchMode | None:
    """The mode to change to; None when it is as wanted, or there is no eswitch."""
    wanted = want.eswitch_mode or EswitchMode.LEGACY
    if want.externally_managed or pf.eswitch_mode is None or wanted is pf.eswitch_mode:
        return None
    return wanted


def _plan_count_and_mode(pf: Pf, want: DesiredPf) -> list[Step]:
    mode = _new_mode(pf, want)
    before = "before virtfn touched the PF" if want.release else "wanted"
    count_why = f"{want.num_vfs} VFs {before}, {pf.num_vfs} seen"
    if mode is None:
        return [steps.set_num_vfs(pf, want.num_vfs, why=count_why)] if want.num_vfs != pf.num_vfs else []
    planned = []
    if pf.num_vfs:
        planned.append(steps.set_num_vfs(pf, 0, why=f"ice goes to {mode} mode only while there is no VF"))
    planned.append(
        steps.set_eswitch_mode(pf, mode, existing=(), why=f"eswitch mode {mode} {before}, {pf.eswitch_mode} seen")
    )
    if want.num_vfs:
        planned.append(steps.set_num_vfs(pf, want.num_vfs, existing=(), why=count_why))
    return planned


def _plan_mtu(pf: Pf, want: DesiredPf) -> list[Step]:
    """Raised to what is wanted and never lowered, except to what it was on release."""
    if want.mtu is None or pf.netdev is None or pf.netdev.mtu == want.mtu:
        return []
    if want.release:
        return [steps.set_link(pf, mtu=want.mtu, why=f"the MTU was {want.mtu} before virtfn touched the PF")]
    if pf.netdev.mtu > want.mtu:
        return []
    return [steps.set_link(pf, mtu=want.mtu, why=f"MTU {want.mtu} wanted, {pf.netdev.mtu} seen")]
