"""The PFs: link, MTU, eswitch mode and number of VFs, in an order that every driver without a plugin accepts.

* The link goes up first: bnxt takes a number of VFs while the link is down and makes none, and the VF drivers of igb
  and ixgbe find no PF to talk to.
* VFs are made without a driver, and bound one by one later: so each VF is probed once, with its final MAC, and one
  meant for user space never shows up as a netdev that a network manager could grab.
* Switchdev is set when the VFs exist and have no driver, as older mlx5 wants the VFs first and its firmware refuses
  the change while VFs are bound.
"""

from __future__ import annotations

from virtfn.model import DesiredPf, Pf, Step, functions


def plan_pf(pf: Pf, want: DesiredPf) -> list[Step]:
    """All steps of one PF, without those of its VFs."""
    return functions.plan_pf(pf, want, functions.plan_vfs_before_mode(pf, want))
