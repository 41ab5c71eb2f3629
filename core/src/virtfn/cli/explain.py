"""`virtfn explain`: why the VFs of a node are as they are, as a tree. Touches nothing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.objects import add_files, add_node, nodes_of, policies_of, read_objects
from virtfn.cli.output import print_data
from virtfn.errors import RequestError
from virtfn.policy.explain import explain
from virtfn.policy.explanation import Explanation, NicExplained, Part, PfExplained, PolicyExplained, Setting

if TYPE_CHECKING:
    from rich.tree import Tree

_COLOURS = {Part.WINS: "green", Part.REPLACED: "yellow", Part.NO_VFS: "yellow", Part.REFUSED: "red"}
_WORDS = {
    Part.WINS: "has VFs here",
    Part.REPLACED: "has no VFs here: other policies have taken them",
    Part.NO_VFS: "numVfs is 0, so it makes no VFs",
    Part.NO_NIC: "selects no NIC here",
    Part.OTHER_NODE: "does not select this node",
    Part.REFUSED: "is refused",
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("explain", help="say which policy has which VFs and why, and why one selects nothing")
    add_files(parser)
    add_node(parser)
    parser.add_argument("--policy", metavar="NAME", help="only this policy's part")
    parser.add_argument("--pf", metavar="PF", help="only this PF: a netdev name, altname or PCI address")
    parser.add_argument("-o", "--output", choices=("tree", "yaml", "json"), default="tree", help="form of the output")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    given = read_objects(context, args.files)
    policies = policies_of(given)
    told = []
    pfs: set[str] = set()
    for one in nodes_of(context, args, given):
        found = explain(policies, one.node, one.state, rdma_mode=one.rdma_mode)
        found = replace(found, node=one.name)
        names = [{pf.pci_address, pf.name, *pf.alt_names} - {""} for pf in one.state.status.interfaces]
        pfs.update(*names)
        if args.policy is not None:
            found = _of_policy(found, args.policy)
        if args.pf is not None:
            meant = {name for group in names if args.pf in group for name in group}
            found = _of_pf(found, meant)
        told.append(found)
    if args.pf is not None and args.pf not in pfs:
        raise RequestError(f"--pf: there is no {args.pf} (there is: {', '.join(sorted(pfs)) or 'none'})", field="--pf")
    if args.output == "tree":
        for found in told:
            _print(context, _tree(found))
    else:
        data = [found.to_wire() for found in told]
        print_data(context, data[0] if len(data) == 1 else {"nodes": data}, args.output)
    return Exit.OK


def _of_policy(found: Explanation, name: str) -> Explanation:
    policy = found.policy(name)
    if policy is None:
        known = ", ".join(each.name for each in found.policies) or "none"
        raise RequestError(f"--policy: there is no policy {name} (there is: {known})", field="--policy")
    pfs = tuple(pf for pf in found.pfs if any(applied.policy == name for applied in pf.applied))
    return replace(found, policies=(policy,), pfs=pfs)


def _of_pf(found: Explanation, names: set[str]) -> Explanation:
    policies = tuple(
        replace(policy, nics=tuple(nic for nic in policy.nics if nic.pci_address in names)) for policy in found.policies
    )
    return replace(found, policies=policies, pfs=tuple(pf for pf in found.pfs if pf.pci_address in names))


# --- the tree -------------------------------------------------------------------------------------------------------


def _print(context: Context, tree: Tree) -> None:
    console = context.console
    if console.is_terminal:
        console.print(tree)
        return
    with console.capture() as captured:
        console.print(tree)
    context.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _tree(found: Explanation) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

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
    from rich.text import Text

    branch = tree.add(f"{pf.label}: {pf.num_vfs} VF{'' if pf.num_vfs == 1 else 's'}")
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
    from rich.text import Text

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
