"""`virtfn render`: policies in, node states out, as the controller would write them. Touches nothing."""

from __future__ import annotations

import argparse

from virtfn.cli.arguments import add_files, add_node
from virtfn.cli.context import Context
from virtfn.cli.exits import Exit, exit_of_problems
from virtfn.cli.output import print_data
from virtfn.cli.plan_view import show_problems
from virtfn.model import Problem, Severity


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("render", help="show the node state that policies come to, without a cluster")
    add_files(parser)
    add_node(parser)
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="form of the output")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    from virtfn.cli.objects import nodes_of, policies_of, read_objects
    from virtfn.model.crd import API_VERSION, NODE_STATE_KIND
    from virtfn.policy import render_node_state

    given = read_objects(context, args.files)
    policies = policies_of(given)
    states = []
    problems: list[Problem] = []
    for one in nodes_of(context, args, given):
        rendered = render_node_state(policies, one.node, one.state, rdma_mode=one.rdma_mode)
        states.append(
            {
                "apiVersion": API_VERSION,
                "kind": NODE_STATE_KIND,
                "metadata": {"name": one.name},
                "spec": rendered.spec.to_wire(),
            }
        )
        problems += rendered.problems
    whole = states[0] if len(states) == 1 else {"apiVersion": "v1", "kind": "List", "items": states}
    print_data(context, whole, args.output)
    told = tuple(dict.fromkeys(problems))
    show_problems(context, told)
    return exit_of_problems(problem for problem in told if problem.severity is Severity.ERROR)
