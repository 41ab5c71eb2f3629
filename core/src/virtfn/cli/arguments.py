"""Words that several commands have in common. Nothing is imported here: `virtfn --help` is to be quick."""

from __future__ import annotations

import argparse

_FORMS = "file, folder or - for standard input (repeatable)"


def add_files(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """`-f`."""
    parser.add_argument(
        "-f", dest="files", metavar="FILE", action="append", required=required, help=f"objects to read: {_FORMS}"
    )


def add_node(parser: argparse.ArgumentParser) -> None:
    """What the policies are rendered for."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--node", metavar="FILE", action="append", help=f"Node objects, for their labels: {_FORMS}")
    whose.add_argument(
        "--labels", metavar="KEY=VALUE", nargs="+", help="labels of the node (default: node selectors are passed over)"
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        action="append",
        help="node states, for the NICs of nodes, as `kubectl get sriovnetworknodestates -o yaml` prints them "
        f"(default: those among the objects of -f, else this host): {_FORMS}",
    )
