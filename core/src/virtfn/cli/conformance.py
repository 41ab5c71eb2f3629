"""`virtfn conformance NAME`: the laws that every plugin keeps, tried on simulated cards."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.output import new_table, print_data, print_table

if TYPE_CHECKING:
    from virtfn.testing.report import LawResult, Report

_COLOURS = {"kept": "green", "broken": "bold red", "not-tried": "yellow"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("conformance", help="try a plugin against the laws, on simulated cards")
    parser.add_argument("name", metavar="NAME", help="entry point key or name of an installed plugin, e.g. generic")
    parser.add_argument(
        "--profile",
        dest="profiles",
        metavar="PROFILE",
        action="append",
        default=[],
        help="card to try it on, by name or as a .toml file (repeatable; default: those of its own)",
    )
    parser.add_argument(
        "--examples", type=int, default=10, metavar="N", help="generated scenarios a law and card (default: 10)"
    )
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="form of the output")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    from virtfn.testing import conformance

    def tell(result: LawResult) -> None:
        context.error_console.print(f"{result.ground}: {result.law}: ", end="")
        context.error_console.print(result.verdict, style=_COLOURS[result.verdict], end="")
        context.error_console.print(f"  {result.seconds:.1f} s")

    live = tell if context.stderr.isatty() else None
    report = conformance.run(args.name, profiles=args.profiles, examples=args.examples, on_result=live)
    if args.output == "table":
        _show(context, report)
    else:
        from virtfn.model.codec import to_data

        print_data(context, to_data(report), args.output)
    return Exit.OK if report.conforms else Exit.PLUGIN


def _show(context: Context, report: Report) -> None:
    """Laws as rows, cards as columns; then what was broken or not tried, and why."""
    from rich.text import Text

    grounds = report.grounds
    laws = list(dict.fromkeys(result.law for result in report.results))
    verdicts = {(result.law, result.ground): result.verdict for result in report.results}
    context.console.print(f"{report.plugin} (keys {', '.join(report.keys)}; {report.distribution})")
    table = new_table("LAW", *(ground.upper() for ground in grounds))
    for law in laws:
        told = [verdicts[law, ground] for ground in grounds]
        table.add_row(law, *(Text(verdict, style=_COLOURS[verdict]) for verdict in told))
    print_table(context, table)
    for result in report.results:
        if result.detail:
            context.console.print(f"{result.ground}: {result.law}: {result.verdict}: {result.detail}")
    conforms = report.conforms
    context.console.print("Conforms." if conforms else "Does not conform.", style="green" if conforms else "bold red")
