"""`virtfn conformance NAME`: the laws that every plugin keeps, tried on a simulated host."""

from __future__ import annotations

import argparse

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("conformance", help="try a plugin against the laws, on simulated cards")
    parser.add_argument("name", metavar="NAME", help="entry point key or name of an installed plugin, e.g. generic")
    parser.add_argument(
        "--profile",
        dest="profiles",
        metavar="PROFILE",
        action="append",
        help="card to try (name or .toml file; repeatable)",
    )
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="form of the output")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    raise NotImplementedError
