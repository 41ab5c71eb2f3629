"""An explanation as a tree, for people."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from virtfn.cli.context import Context
from virtfn.model.wording import number_of
from virtfn.policy.explanation import Explanation, NicExplained, Part, PfExplained, PolicyExplained, Setting

_COLOURS = {Part.WINS: "green", Part.REPLACED: "yellow", Part.NO_VFS: "yellow", Part.REFUSED: "red"}
_WORDS = {
    Part.WINS: "has VFs here",
    Part.REPLACED: "has no VFs here: other policies have taken them",
    Part.NO_VFS: "numVfs is 0, so it makes no VFs",
    Part.NO_NIC: "selects no NIC here",
    Part.OTHER_NODE: "does not select this node",
    Part.REFUSED: "is refused",
}


def show_tree(context: Context, found: Explanation) -> None:
    """Print it, without blanks at the ends of lines where nobody sees them."""
    tree = _tree(found)
    console = context.console
    if console.is_terminal:
        console.print(tree)
        return
    with console.capture() as captured:
        console.print(tree)
    context.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _tree(found: Explanation) -> Tree:
    tree = Tree(Text(f"node {found.node}", style="bold"))
    pfs = tree.add(Text("PFs", style="bold"))
    for pf in found.pfs:
        _add_pf(pfs, pf)
    if not found.pfs:
        pfs.add("no policy makes VFs here")
    policies = tree.add(Text("policies, in the order they are applied", style="bold"))
    for policy in found.policies:
        _add_policy(policies, policy)
    return tree


def _add_pf(tree: Tree, pf: PfExplained) -> None:
    branch = tree.add(f"{pf.label}: {number_of(pf.num_vfs, 'VF')}")
    spans = [(group.vf_range, Text(f"{group.resource}, by policy {group.policy}")) for group in pf.groups]
    spans += [(gap, Text("in no group: left to the kernel", style="yellow")) for gap in pf.in_no_group]
    for vf_range, words in sorted(spans, key=lambda span: span[0]):
        branch.add(Text(f"VFs {vf_range}: ") + words)
    for setting in pf.settings:
        branch.add(_setting(setting))
    for loss in pf.losses:
        branch.add(Text(str(loss), style="yellow"))


def _setting(setting: Setting) -> str:
    value = "not set" if setting.value is None else _word(setting.value)
    before = "" if setting.instead_of is None else f", in place of {_word(setting.instead_of)}"
    return f"{setting.field} {value}, by policy {setting.policy}{before}"


def _word(value: int | str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _add_policy(tree: Tree, policy: PolicyExplained) -> None:
    priority = "" if policy.priority is None else f" (priority {policy.priority})"
    colour = _COLOURS.get(policy.part, "dim")
    branch = tree.add(Text(f"{policy.name}{priority}: ") + Text(_WORDS[policy.part], style=colour))
    if policy.node_mismatch is not None:
        why = policy.node_mismatch
        seen = f"is {why.seen[0]}" if why.seen else "is not set"
        branch.add(f"label {why.part} {seen}, not {why.wanted[0]}")
    for fault in policy.faults:
        branch.add(fault)
    if policy.part is not Part.OTHER_NODE:
        for nic in policy.nics:
            branch.add(f"{nic.label}: {_nic(nic)}")


def _nic(nic: NicExplained) -> str:
    if nic.mismatch is not None:
        why = nic.mismatch
        listed = f" ({', '.join(why.wanted)})" if why.part in ("pfNames", "rootDevices") else ""
        return f"not selected: {why}{listed}"
    if nic.has is not None:
        return f"has VFs {nic.has}"
    return str(nic.lost) if nic.lost is not None else "selected"
