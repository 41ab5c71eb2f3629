"""The entry point: words to a command.

Imports stay inside the commands: `virtfn --help` loads neither netlink nor tables.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from virtfn.cli import (
    change,
    conformance,
    controller,
    crds,
    daemon,
    demo,
    discover,
    explain,
    get,
    plugins,
    render,
    validate,
)
from virtfn.cli.context import Context, real_machine
from virtfn.cli.exits import Exit
from virtfn.cli.running import run_command

_EXITS = f"""\
exit codes: {Exit.OK:d} in sync or done; {Exit.PENDING:d} changes pending (plan --exit-code); {Exit.REQUEST:d} the \
request is wrong; {Exit.HOST:d} the host refused; {Exit.PLUGIN:d} a plugin is broken or missing; {Exit.CLUSTER:d} the \
API server refused or is out of reach; {Exit.INTERNAL:d} a bug in virtfn"""


class _Parser(argparse.ArgumentParser):
    """A wrong command line is a wrong request: argparse's own code 2 means something else here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.REQUEST, f"{self.prog}: {message}\n")


def _version() -> str:
    from importlib.metadata import version

    return f"virtfn {version('virtfn')}"


class _Version(argparse.Action):
    """`--version`, looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        sys.stdout.write(_version() + "\n")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """All commands with their words."""
    from virtfn.journal import DEFAULT_FOLDER

    parser: argparse.ArgumentParser = _Parser(
        prog="virtfn",
        description="SR-IOV virtual functions from a policy: see what is there, read the plan, apply it.",
        epilog=_EXITS,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="where the host's file system is (default: /)"
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=None,
        metavar="DIR",
        help=f"the journal: what virtfn did to which PF (default: {DEFAULT_FOLDER} below --root)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is read and written to standard error")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    discover.add_parser(commands)
    change.add_parsers(commands)
    render.add_parser(commands)
    explain.add_parser(commands)
    validate.add_parser(commands)
    get.add_parser(commands)
    controller.add_parser(commands)
    plugins.add_parser(commands)
    conformance.add_parser(commands)
    crds.add_parser(commands)
    daemon.add_parser(commands)
    demo.add_parser(commands, whole=parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    from virtfn.journal import DEFAULT_FOLDER

    args = make_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    folder: Path = args.state_dir or args.root / DEFAULT_FOLDER.relative_to("/")
    context = Context(journal_folder=folder, machine=lambda: real_machine(args.root))
    return run_command(context, args)


if __name__ == "__main__":
    sys.exit(main())
