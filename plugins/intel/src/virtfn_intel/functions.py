"""The order that the ice driver wants: the eswitch mode is only changed while there is no VF, and VFs come after it.

So a change of mode takes all VFs of the PF away first. The other drivers have no switchdev mode, and take the common
order.
"""

from __future__ import annotations

from virtfn.model import Adapter, DesiredAdapter, DesiredPf, Pf, Step, functions, steps
from virtfn_intel.tables import ICE, IGB, IXGBE


def changes_mode(adapter: Adapter, desired: DesiredAdapter) -> bool:
    """Whether a PF of the adapter is an ice whose eswitch mode is not the wanted one."""
    return any(
        pf.driver == ICE.name and not want.externally_managed and functions.new_mode(pf, want) is not None
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
    return functions.plan_pf(pf, want, _plan_count_and_mode(pf, want))


def _plan_count_and_mode(pf: Pf, want: DesiredPf) -> list[Step]:
    mode = functions.new_mode(pf, want)
    if mode is None:
        return functions.plan_count(pf, want)
    return functions.plan_mode_before_vfs(pf, want, mode, gone_why=f"ice goes to {mode} mode only while there is no VF")
