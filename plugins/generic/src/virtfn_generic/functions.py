"""The PFs: link, MTU, eswitch mode and number of VFs, in an order that every driver without a plugin accepts.

* The link goes up first: bnxt takes a number of VFs while the link is down and makes none, and the VF drivers of igb
  and ixgbe find no PF to talk to.
* VFs are made without a driver, and bound one by one later: so each VF is probed once, with its final MAC, and one
  meant for user space never shows up as a netdev that a network manager could grab.
* Switchdev is set when the VFs exist and have no driver, as older mlx5 wants the VFs first and its firmware refuses
  the change while VFs are bound.
"""

from __future__ import annotations

from virtfn.model import DesiredPf, EswitchMode, Pf, Step, functions, steps


def plan_pf(pf: Pf, want: DesiredPf) -> list[Step]:
    """All steps of one PF, without those of its VFs."""
    return functions.plan_pf(pf, want, _plan_count_and_mode(pf, want))


def _plan_count_and_mode(pf: Pf, want: DesiredPf) -> list[Step]:
    mode = functions.new_mode(pf, want)
    if mode is None:
        return functions.plan_count(pf, want)
    reason = functions.mode_reason(pf, want, mode)
    if pf.num_vfs == want.num_vfs:
        bound = [vf for vf in pf.vfs if vf.driver is not None]
        taken = [steps.unbind_driver(pf, vf, why=f"VF drivers are in the way of eswitch mode {mode}") for vf in bound]
        return [*taken, steps.set_eswitch_mode(pf, mode, why=reason)]
    if mode is EswitchMode.SWITCHDEV:
        return [
            steps.set_num_vfs(pf, want.num_vfs, why=functions.count_reason(pf, want)),
            steps.set_eswitch_mode(pf, mode, existing=(), why=reason),
        ]
    return functions.plan_mode_before_vfs(
        pf, want, mode, gone_why=f"VFs of {pf.eswitch_mode} mode go before the mode changes"
    )
