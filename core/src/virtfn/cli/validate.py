"""`virtfn validate`: all that is wrong with objects in files, by the rules that admission has."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from virtfn.cli.arguments import add_files
from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.output import print_data
from virtfn.errors import RequestError
from virtfn.model import Problem, Severity
from virtfn.model.wording import number_of

if TYPE_CHECKING:
    from virtfn.cli.objects import Given
    from virtfn.policy.documents import Entry
    from virtfn.policy.validation import Cluster, Verdict
    from virtfn.vendor_rules import PluginRules


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser(
        "validate", help="say all that is wrong with policies, pool configs, networks and the like"
    )
    add_files(parser, required=False)
    parser.add_argument(
        "--operator-namespace", metavar="NAME", help="where the operator runs (default: rules about it are not applied)"
    )
    parser.add_argument("--rules", action="store_true", help="show all rules, as Markdown, and validate nothing")
    parser.add_argument("-o", "--output", choices=("text", "yaml", "json"), default="text", help="form of the output")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    from virtfn.cli.objects import NODE_KIND, read_objects
    from virtfn.policy.validation import Validator
    from virtfn.policy.validation.page import rules_page

    if args.rules:
        context.stdout.write(rules_page())
        return Exit.OK
    if not args.files:
        raise RequestError("-f: no file was given (or give --rules)", field="-f")
    given = read_objects(context, args.files)
    validator = Validator(_cluster(context, given, namespace=args.operator_namespace))
    judged = [(entry, validator.validate(entry.data)) for entry in given.entries if entry.data["kind"] != NODE_KIND]
    if args.output == "text":
        _tell(context, judged)
    else:
        print_data(context, {"objects": [_data(entry, verdict) for entry, verdict in judged]}, args.output)
    return Exit.OK if all(verdict.allowed for _, verdict in judged) else Exit.REQUEST


def _cluster(context: Context, given: Given, *, namespace: str | None) -> Cluster:
    """The objects are each other's surroundings; nodes and states are known where some are given."""
    from virtfn.cli.objects import NODE_KIND
    from virtfn.model.crd import NODE_STATE_KIND, POLICY_KIND, POOL_CONFIG_KIND
    from virtfn.policy.validation import Cluster

    states = given.of(NODE_STATE_KIND) or None
    return Cluster(
        policies=given.of(POLICY_KIND),
        nodes=given.of(NODE_KIND) or None,
        states=states,
        pools=given.of(POOL_CONFIG_KIND),
        operator_namespace=namespace,
        vendor=_vendor(context) if states else None,
    )


def _vendor(context: Context) -> PluginRules:
    from virtfn.registry import load_registry
    from virtfn.vendor_rules import PluginRules

    registry = load_registry((), load_all=True)
    for error in registry.problems:
        context.error_console.print(f"plugin problem: {error} [{error.reason}]", style="yellow")
    return PluginRules(registry)


def _tell(context: Context, judged: list[tuple[Entry, Verdict]]) -> None:
    console = context.console
    counts = dict.fromkeys(Severity, 0)
    skipped: dict[str, dict[str, None]] = defaultdict(dict)
    for entry, verdict in judged:
        for problem in verdict.problems:
            counts[problem.severity] += 1
            error = problem.severity is Severity.ERROR
            console.print(f"{problem.severity}: ", style="bold red" if error else "yellow", end="")
            console.print(f"{problem} [{problem.reason}]", end="")
            console.print(f"  {entry.where}", style="dim")
        for each in verdict.skipped:
            skipped[each.why][each.rule] = None
    for why, rules in sorted(skipped.items()):
        console.print(f"not applied ({why}): {', '.join(rules)}", style="dim")
    console.print(
        f"{number_of(len(judged), 'object')}, {number_of(counts[Severity.ERROR], 'error')},"
        f" {number_of(counts[Severity.WARNING], 'warning')}",
        style="bold red" if counts[Severity.ERROR] else "green",
    )


def _data(entry: Entry, verdict: Verdict) -> dict[str, Any]:
    from virtfn.policy.reading import name_of

    metadata = entry.data.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    about = {"kind": entry.data["kind"], "name": name_of(entry.data), "namespace": namespace, "where": entry.where}
    return {
        **{name: value for name, value in about.items() if value},
        "allowed": verdict.allowed,
        "problems": [_problem(problem) for problem in verdict.problems],
        "skipped": [{"rule": each.rule, "why": each.why} for each in verdict.skipped],
    }


def _problem(problem: Problem) -> dict[str, str]:
    return {
        "rule": problem.reason,
        "severity": problem.severity.value,
        "field": problem.field,
        "message": problem.message,
        "hint": problem.hint,
    }
