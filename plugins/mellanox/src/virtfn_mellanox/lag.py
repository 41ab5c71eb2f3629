"""VF-LAG: ports of a card in one bond carry the traffic of each VF, if the card can stand for the bond.

For that it takes all of its ports and no other one, a bond mode that it knows, and the same of each port: eswitch mode
and RoCE (Linux drivers/net/ethernet/mellanox/mlx5/core/lag/lag.c). The driver tells the kernel log and whoever makes
the bond, at most.

virtfn makes no bonds. Where a resource is made of VFs of several ports, and these are in one bond, it says what keeps
the card from it; nothing is refused for it, as the VFs work over their own port all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from virtfn.host.api import HostReader
from virtfn.model import Adapter, DesiredAdapter, DesiredPf, EswitchMode, Pf, Problem, Severity
from virtfn_mellanox.tables import ROCE

_BONDS = "bonds"
_MODES = ("active-backup", "balance-xor", "802.3ad")


def bonds_of(adapter: Adapter, host: HostReader) -> Mapping[str, Any]:
    """As a fact, mode and ports of the bonds that ports of the card are in; empty: they are in none."""
    found: dict[str, dict[str, Any]] = {}
    for bond in sorted({pf.netdev.bond for pf in adapter.pfs if pf.netdev is not None and pf.netdev.bond is not None}):
        folder = f"/sys/class/net/{bond}/bonding"
        mode, ports = (host.read_text(f"{folder}/{name}") or "" for name in ("mode", "slaves"))
        found[bond] = {"mode": mode.partition(" ")[0], "ports": ports.split()}
    return {_BONDS: found} if found else {}


def lag_problems(adapter: Adapter, desired: DesiredAdapter) -> list[Problem]:
    """Warnings for each bond over several ports of the card that share a resource, and cannot be a VF-LAG."""
    bonds: dict[str, list[tuple[Pf, DesiredPf]]] = defaultdict(list)
    for want in desired.pfs:
        pf = adapter.pf(want.address)
        if pf is not None and pf.netdev is not None and pf.netdev.bond is not None and not want.release:
            bonds[pf.netdev.bond].append((pf, want))
    found = []
    for bond, ports in sorted(bonds.items()):
        if shared := _shared([want for _, want in ports]):
            known = (adapter.facts.get(_BONDS) or {}).get(bond) or {}
            found += [
                _not_ready(bond, shared, pf, why, hint) for pf, why, hint in _hindrances(adapter, bond, ports, known)
            ]
    return found


def _hindrances(
    adapter: Adapter, bond: str, ports: Sequence[tuple[Pf, DesiredPf]], known: Mapping[str, Any]
) -> list[tuple[Pf, str, str]]:
    """A port, why the card does not stand for its bond, and what to do."""
    first = ports[0][0]
    found: list[tuple[Pf, str, str]] = []
    if legacy := [pf for pf, want in ports if want.eswitch_mode is not EswitchMode.SWITCHDEV]:
        why = f"{_labels(legacy)} is not wanted in switchdev mode"
        hint = "want eSwitchMode switchdev for all ports of the bond, or give each port a resource of its own"
        found.append((legacy[0], why, hint))
    mode = known.get("mode")
    if mode and mode not in _MODES:
        found.append((first, f"{bond} is in mode {mode}", f"the card knows the modes {', '.join(_MODES)}"))
    own = {pf.netdev.name: pf for pf in adapter.pfs if pf.netdev is not None}
    if strange := [name for name in known.get("ports") or () if name not in own]:
        why = f"{', '.join(strange)} is in {bond} too, and is no port of the card"
        found.append((first, why, "have the ports of one card in the bond, and no other"))
    if left := [pf for pf in own.values() if pf.netdev is not None and pf.netdev.bond != bond]:
        found.append((first, f"{_labels(left)} is not in {bond}", "it takes all ports of the card"))
    off = [pf for pf, _ in ports if pf.params.get(ROCE) is False]
    if off and len(off) < len(ports):
        hint = f"set devlink's {ROCE} alike on all ports, and put them in the bond again"
        found.append((off[0], f"RoCE is off on {_labels(off)}, and on on the others", hint))
    return found


def _labels(pfs: Sequence[Pf]) -> str:
    return ", ".join(pf.label for pf in pfs)


def _shared(wanted: list[DesiredPf]) -> list[str]:
    """Resources with VFs of more than one of the ports."""
    names = [{group.resource_name for group in want.groups if group.resource_name} for want in wanted]
    return sorted({name for at, first in enumerate(names) for second in names[at + 1 :] for name in first & second})


def _not_ready(bond: str, shared: list[str], pf: Pf, why: str, hint: str) -> Problem:
    return Problem(
        object=pf.label,
        field="eSwitchMode",
        message=f"its port is in {bond}, and {', '.join(shared)} has VFs of several ports of it: a VF's traffic goes "
        f"over its own port only, as {why}",
        hint=hint,
        reason="UnsupportedSetting",
        severity=Severity.WARNING,
    )
