"""`virtfn get`: nodes, PFs, VFs, policies and pools of a cluster on one screen, what is wrong first. Only reads."""

from __future__ import annotations

import argparse
import os
import shutil
import threading
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.output import print_data
from virtfn.errors import VirtfnError

if TYPE_CHECKING:
    from virtfn.cli.get_cluster import ClusterReader
    from virtfn.cli.get_report import ClusterReport

WIDTH = 100
"""Columns where there is no terminal to ask."""
LEAST_SECONDS = 2.0
"""Between two looks: each reads all node states."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser(
        "get", help="show nodes, PFs, VFs, policies and sync state of a cluster, what is wrong first"
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="how to reach the cluster (default: KUBECONFIG, the pod's service account, ~/.kube/config)",
    )
    parser.add_argument("--context", dest="kube_context", metavar="NAME", help="of the kubeconfig (default: its own)")
    parser.add_argument(
        "-n",
        "--namespace",
        default="",
        metavar="NAME",
        help="the operator's (default: NAMESPACE, or else the one that has policies or node states)",
    )
    parser.add_argument("--node", default="", metavar="NAME", help="only this node, with its VFs and who has them")
    parser.add_argument("--all", action="store_true", help="every node, however many there are")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="again every so many seconds, until Ctrl-C")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="form of the output")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    from virtfn.cli.get_cluster import ClusterReader
    from virtfn.kube.access import configuration, connect

    configured = configuration(environment=os.environ, kubeconfig=args.kubeconfig, context=args.kube_context)
    client = connect(configured, user_agent="virtfn-get", random=Random())
    namespace = args.namespace or os.environ.get("NAMESPACE", "")
    reader = ClusterReader(client, server=configured.host)
    try:
        if args.watch is None:
            show(context, reader.read(namespace=namespace, node=args.node), args)
            return Exit.OK
        never = threading.Event()
        while True:
            _look_again(context, reader, args, namespace=namespace)
            client.clock.wait(never, seconds=max(args.watch, LEAST_SECONDS))
    finally:
        client.close()


def _look_again(context: Context, reader: ClusterReader, args: argparse.Namespace, *, namespace: str) -> None:
    """Once more; a server that is away now is told of, and is there again at some time.

    :raises VirtfnError: what waiting does not mend.
    """
    try:
        report = reader.read(namespace=namespace, node=args.node)
    except VirtfnError as error:
        if not error.retryable:
            raise
        context.error_console.print(f"{error} [{error.reason}]", style="red")
        return
    if context.console.is_terminal:
        context.console.clear()
    show(context, report, args)
    context.stdout.flush()


def show(context: Context, report: ClusterReport, args: argparse.Namespace) -> None:
    """Print it in the form that was asked for; as data it is whole, however many nodes there are."""
    if args.output != "text":
        from virtfn.model.codec import to_data

        print_data(context, to_data(report), args.output)
        return
    from virtfn.cli.get_view import view

    width = shutil.get_terminal_size((WIDTH, 0)).columns
    for line in view(report, width=width, whole=args.all, vfs=bool(args.node)):
        context.console.print(line)
