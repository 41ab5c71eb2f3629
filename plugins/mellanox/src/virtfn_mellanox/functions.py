"""The PFs of mlx5: what its eswitch wants around the common order of VFs, then mode.

Sources: Linux drivers/net/ethernet/mellanox/mlx5 (eswitch_offloads.c, fs_core.c) and NVIDIA's notes on ASAP2.

* Flow steering by the driver itself (`smfs`) takes rules a hundred times faster than through firmware (`dmfs`). It can
  be chosen only outside switchdev mode, and by cards from ConnectX-5 on; kernels since 5.x choose it by themselves.
* VFs are made without a driver before the mode changes, and bound after: firmware refuses the change while a VF is
  bound, or half way through being bound (`Failed setting eswitch to offloads`, EINVAL).
* ConnectX-4 looks only at those headers of a packet that a VF hands over inline: at `transport` rules can match on
  ports. VFs learn of it when their driver takes them, so it is set while they have none. Newer cards need none of it.
"""

from __future__ import annotations

from virtfn.host.api import ParamMode
from virtfn.model import Adapter, DesiredPf, EswitchMode, Pf, Problem, Severity, Step, functions, steps
from virtfn_mellanox.roce import plan_reload, reloaded
from virtfn_mellanox.tables import STEERING

_INLINE = "transport"
_TOO_LITTLE = frozenset({"link", "network"})


def plan_pf(adapter: Adapter, pf: Pf, want: DesiredPf) -> list[Step]:
    """All steps of one PF, without those of its VFs."""
    first = plan_reload(adapter, pf, want)
    return [*first, *_plan_pf(reloaded(pf) if first else pf, want)]


def _plan_pf(pf: Pf, want: DesiredPf) -> list[Step]:
    core = functions.plan_vfs_before_mode(pf, want)
    if want.release:
        return functions.plan_pf(pf, want, [*core, *_steering_back(pf, want), *_inline_back(pf, want)])
    return functions.plan_pf(pf, want, [*_steering(pf, want), *core, *_inline(pf, want, core)])


def _steering(pf: Pf, want: DesiredPf) -> list[Step]:
    if functions.new_mode(pf, want) is not EswitchMode.SWITCHDEV or pf.params.get(STEERING) != "dmfs":
        return []
    why = "flows are put into the card faster, and it can be chosen only before switchdev mode"
    return [steps.set_devlink_param(pf, STEERING, "smfs", mode=ParamMode.RUNTIME, why=why, optional=True)]


def _steering_back(pf: Pf, want: DesiredPf) -> list[Step]:
    was, now = want.params.get(STEERING), pf.params.get(STEERING)
    if was is None or now in (None, was) or functions.wanted_mode(pf, want) is EswitchMode.SWITCHDEV:
        return []
    why = f"{STEERING} was {was} before virtfn touched the PF"
    return [steps.set_devlink_param(pf, STEERING, was, mode=ParamMode.RUNTIME, why=why)]


def _inline(pf: Pf, want: DesiredPf, core: list[Step]) -> list[Step]:
    if functions.wanted_mode(pf, want) is not EswitchMode.SWITCHDEV or pf.inline_mode not in _TOO_LITTLE:
        return []
    if not core and _bound(pf):
        return []  # their driver would not hear of it: `problems_of` tells
    return [steps.set_inline_mode(pf, _INLINE, why=f"rules are to match on ports, and inline mode is {pf.inline_mode}")]


def _inline_back(pf: Pf, want: DesiredPf) -> list[Step]:
    if want.inline_mode in (None, pf.inline_mode):
        return []
    why = f"inline mode was {want.inline_mode} before virtfn touched the PF"
    return [steps.set_inline_mode(pf, want.inline_mode, why=why)]


def _bound(pf: Pf) -> bool:
    return any(vf.driver is not None for vf in pf.vfs)


def problems_of(pf: Pf, want: DesiredPf) -> list[Problem]:
    """What of a PF in switchdev mode is not as it should be, and is not put right while its VFs are in use."""
    if want.release or want.externally_managed or functions.wanted_mode(pf, want) is not EswitchMode.SWITCHDEV:
        return []
    if pf.eswitch_mode is EswitchMode.SWITCHDEV and pf.inline_mode in _TOO_LITTLE and _bound(pf):
        return [
            Problem(
                object=pf.label,
                field="eSwitchMode",
                message=f"inline mode is {pf.inline_mode} in switchdev mode: rules that name ports stay in software",
                hint="take numVfs to 0 and back when its VFs are free: it is then set along with the mode",
                reason="UnsupportedSetting",
                severity=Severity.WARNING,
            )
        ]
    return []
