"""`virtfn explain`: why the VFs of a node are as they are, as a tree. Touches nothing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from virtfn.cli.arguments import add_files, add_node
from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.output import print_data
from virtfn.errors import RequestError

if TYPE_CHECKING:
    from virtfn.policy.explanation import Explanation


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
    from virtfn.cli.explain_tree import show_tree
    from virtfn.cli.objects import nodes_of, policies_of, read_objects
    from virtfn.policy.explain import explain

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
            show_tree(context, found)
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
