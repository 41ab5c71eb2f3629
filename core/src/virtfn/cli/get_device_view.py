"""What `virtfn get` shows of the network functions of nodes, and of the bridges on them. Pure: lines out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from virtfn.cli.get_layout import Row, table
from virtfn.cli.get_report import BridgeReport, GroupReport, NodeReport, PfReport, VfReport
from virtfn.model.wording import number_of


def pf_table(nodes: Sequence[NodeReport], *, width: int, whole: bool) -> list[Text]:
    """PFs that have VFs or are to have some; `whole`: all."""
    rows, left_out = [], 0
    for node in nodes:
        for pf in node.pfs:
            if not whole and pf.wanted_vfs is None and not pf.num_vfs:
                left_out += 1
                continue
            groups = "; ".join(_group(group) for group in pf.groups) or ("no policy" if pf.wanted_vfs is None else "-")
            if pf.externally_managed:
                groups += "; VFs are made by somebody else"
            cells = (node.name, pf.pci_address, pf.name or "-", _vf_count(pf), _mode(pf), pf.link or "-")
            style = "red" if not pf.is_there else "yellow" if pf.wanted_vfs not in (None, pf.num_vfs) else ""
            rows.append(Row(tuple(Text(cell, style=style if cell == cells[3] else "") for cell in cells), groups))
    lines = table(("NODE", "PF", "NETDEV", "VFS", "MODE", "LINK", "VF GROUPS"), rows, width=width)
    if left_out:
        lines.append(Text(f"{number_of(left_out, 'PF')} without VFs and without policy not shown", style="dim"))
    return lines


def _vf_count(pf: PfReport) -> str:
    if not pf.is_there:
        return f"not there, wanted {pf.wanted_vfs}"
    if pf.total_vfs == 0 and pf.wanted_vfs is None:
        return "no SR-IOV"
    want = "" if pf.wanted_vfs in (None, pf.num_vfs) or pf.externally_managed else f", wanted {pf.wanted_vfs}"
    return f"{pf.num_vfs}/{pf.total_vfs}{want}"


def _mode(pf: PfReport) -> str:
    if not pf.wanted_eswitch_mode or pf.wanted_eswitch_mode == pf.eswitch_mode:
        return pf.eswitch_mode or "-"
    return f"{pf.eswitch_mode or '-'}, wanted {pf.wanted_eswitch_mode}"


def _group(group: GroupReport) -> str:
    made = "" if group.made == group.wanted else f", {group.made} of {group.wanted} there"
    return f"{group.resource} {group.vf_range} by {group.policy}{made}, {in_pods([group])} in pods"


def in_pods(groups: Iterable[GroupReport]) -> str:
    """`3`, `3+` where there may be more, `?` where nobody knows."""
    known, unknown = 0, 0
    for group in groups:
        known += group.in_pods
        unknown += group.unknown
    if unknown:
        return f"{known}+" if known else "?"
    return str(known)


def vf_table(nodes: Sequence[NodeReport], *, width: int) -> list[Text]:
    """VFs one by one. What few cards have is a column only where a VF has it."""
    found = [(pf.name or pf.pci_address, vf) for node in nodes for pf in node.pfs for vf in pf.vfs]
    with_vdpa, with_guid = any(vf.vdpa for _, vf in found), any(vf.guid for _, vf in found)
    headings = ["PF", "VF", "ADDRESS", "DRIVER", "NETDEV", "MTU", "REPRESENTOR"]
    headings += ["VDPA"] if with_vdpa else []
    headings += ["GUID"] if with_guid else []

    def row(pf: str, vf: VfReport) -> Row:
        cells = [pf, str(vf.index), vf.pci_address, vf.driver, vf.netdev, str(vf.mtu or ""), vf.representor]
        cells += [vf.vdpa] if with_vdpa else []
        cells += [vf.guid] if with_guid else []
        cells.append(vf.resource)
        return Row([Text(cell or "-") for cell in cells], vf.holder or ("some pod" if vf.in_pod else "-"))

    return table((*headings, "RESOURCE", "POD"), [row(pf, vf) for pf, vf in found], width=width)


def bridge_table(nodes: Sequence[NodeReport], *, width: int) -> list[Text]:
    """Bridges that virtfn made or is to make."""
    rows = []
    for node in nodes:
        for bridge in node.bridges:
            said = _bridge_state(bridge)
            cells = (node.name, bridge.name, bridge.pf, bridge.uplink)
            style = "green" if said == "ok" else "yellow" if bridge.is_there else "red"
            rows.append(Row([Text(cell or "-") for cell in cells], said, style=style))
    return table(("NODE", "BRIDGE", "PF", "UPLINK", "STATE"), rows, width=width)


def _bridge_state(bridge: BridgeReport) -> str:
    if not bridge.is_there:
        return "not there"
    if not bridge.is_wanted:
        return "virtfn made it, and it is no longer wanted"
    if not bridge.uplink:
        return "it has no uplink that Open vSwitch can use"
    return f"other than wanted: {', '.join(bridge.differing)}" if bridge.differing else "ok"
