"""`virtfn demo`: the main job on a simulated node, with the real commands."""

from __future__ import annotations

import argparse

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("demo", help="show the main job on a simulated node: no root, no card needed")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    raise NotImplementedError
