"""VF-LAG: both ports of a card in one bond carry the traffic of each VF, if both eswitches are in switchdev mode.

virtfn makes no bonds. Where a resource is made of VFs of both ports, and both are in one bond, it says what keeps the
card from doing so; nothing is refused for it, as the VFs work over their own port all the same.
"""

from __future__ import annotations

from collections import defaultdict

from virtfn.model import Adapter, DesiredAdapter, DesiredPf, EswitchMode, Pf, Problem, Severity


def lag_problems(adapter: Adapter, desired: DesiredAdapter) -> list[Problem]:
    """One warning for each bond over several ports of the card that share a resource, and cannot be a VF-LAG."""
    bonds: dict[str, list[tuple[Pf, DesiredPf]]] = defaultdict(list)
    for want in desired.pfs:
        pf = adapter.pf(want.address)
        if pf is not None and pf.netdev is not None and pf.netdev.bond is not None and not want.release:
            bonds[pf.netdev.bond].append((pf, want))
    found = []
    for bond, ports in sorted(bonds.items()):
        legacy = [pf for pf, want in ports if want.eswitch_mode is not EswitchMode.SWITCHDEV]
        shared = _shared([want for _, want in ports])
        if shared and legacy:
            found.append(_not_ready(bond, shared, legacy))
    return found


def _shared(wanted: list[DesiredPf]) -> list[str]:
    """Resources with VFs of more than one of the ports."""
    names = [{group.resource_name for group in want.groups if group.resource_name} for want in wanted]
    return sorted({name for at, first in enumerate(names) for second in names[at + 1 :] for name in first & second})


def _not_ready(bond: str, shared: list[str], legacy: list[Pf]) -> Problem:
    return Problem(
        object=legacy[0].label,
        field="eSwitchMode",
        message=f"its port is in {bond}, and {', '.join(shared)} has VFs of several ports of it: a VF's traffic goes "
        f"over its own port only, as {', '.join(pf.label for pf in legacy)} is not wanted in switchdev mode",
        hint="want eSwitchMode switchdev for all ports of the bond, or give each port a resource of its own",
        reason="UnsupportedSetting",
        severity=Severity.WARNING,
    )
