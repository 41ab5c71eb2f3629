"""`virtfn plan`, `virtfn apply` and `virtfn reset`: the same cycle, stopped before or after it touches the machine."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit, exit_of_problems, exit_of_reason
from virtfn.cli.output import print_data
from virtfn.cli.plan_view import Progress, show_plan, show_problems
from virtfn.errors import RequestError
from virtfn.model import DesiredState, Disruption, PciAddress, Plan, Problem, Severity
from virtfn.model.codec import to_data
from virtfn.planning import given_back

if TYPE_CHECKING:
    from virtfn.node import Observation


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands' words."""
    plan = commands.add_parser("plan", help="show what apply would do, step by step, and touch nothing")
    apply = commands.add_parser("apply", help="make the cards as the files say")
    reset = commands.add_parser("reset", help="give PFs back: as they were before virtfn first touched them")
    for parser in (plan, apply):
        parser.add_argument(
            "-f",
            dest="files",
            metavar="FILE",
            action="append",
            required=True,
            help="file or folder with SriovNetworkNodePolicy or SriovNetworkNodeState documents, or - (repeatable)",
        )
        parser.add_argument(
            "--prune", action="store_true", help="also give back PFs that virtfn configured and the files do not name"
        )
    reset.add_argument("pfs", metavar="PF", nargs="*", help="PCI address or netdev name; default: all virtfn touched")
    reset.add_argument("--plan", action="store_true", help="show what would be done, and touch nothing")
    for parser in (plan, reset):
        parser.add_argument(
            "-o", "--output", choices=("table", "json", "yaml", "sh"), default="table", help="form of the plan"
        )
    plan.add_argument("--exit-code", action="store_true", help=f"exit {int(Exit.PENDING)} if there is something to do")
    for parser in (apply, reset):
        parser.add_argument(
            "--keep-going", action="store_true", help="go on with the other PFs when some cannot be done as asked"
        )
    plan.set_defaults(run=run_plan)
    apply.set_defaults(run=run_apply)
    reset.set_defaults(run=run_reset)


def run_plan(context: Context, args: argparse.Namespace) -> Exit:
    """`virtfn plan`."""
    observation, desired, plan = _plan_files(context, args)
    return _show(context, plan, observation, desired, form=args.output, exit_code=args.exit_code)


def run_apply(context: Context, args: argparse.Namespace) -> Exit:
    """`virtfn apply`."""
    observation, desired, plan = _plan_files(context, args)
    return _perform(context, plan, observation, desired, keep_going=args.keep_going)


def run_reset(context: Context, args: argparse.Namespace) -> Exit:
    """`virtfn reset`."""
    observation = context.node.observe()
    chosen = [_choose(observation, name) for name in args.pfs] or _present(context, observation)
    desired = context.node.release(observation, chosen)
    if not args.pfs:
        desired = given_back(observation.inventory, desired)
    plan = context.node.plan(observation, desired)
    if args.plan or args.output != "table":
        return _show(context, plan, observation, desired, form=args.output)
    if not desired.pfs and not plan.steps:
        show_problems(context, plan.problems)
        context.console.print("Nothing to give back: the journal knows no PF.", style="green")
        return Exit.OK
    return _perform(context, plan, observation, desired, keep_going=args.keep_going)


def _present(context: Context, observation: Observation) -> list[PciAddress]:
    """The journaled PFs that are on this machine now."""
    for address in sorted(observation.records):
        if observation.inventory.pf(address) is None:
            context.error_console.print("warning: ", style="yellow", end="")
            context.error_console.print(f"{address}: is not on this machine now, so it is not given back")
    return [address for address in sorted(observation.records) if observation.inventory.pf(address) is not None]


def _choose(observation: Observation, name: str) -> PciAddress:
    """The journaled PF that a person means. Raises `RequestError`."""
    for address, record in observation.records.items():
        pf = observation.inventory.pf(address)
        names = {str(address), record.baseline.name}
        if pf is not None and pf.netdev is not None:
            names = {str(address), pf.netdev.name, *pf.netdev.alt_names}
        if name in names:
            return address
    known = ", ".join(str(address) for address in sorted(observation.records)) or "none"
    raise RequestError(f"{name}: virtfn has not touched such a PF (the journal knows: {known})", field="PF")


def _plan_files(context: Context, args: argparse.Namespace) -> tuple[Observation, DesiredState, Plan]:
    from virtfn.cli.request import read_request  # the models of the API take long to import, and help needs none

    observation = context.node.observe()
    desired, problems = read_request(context, args.files, observation.inventory)
    if args.prune and not any(problem.severity is Severity.ERROR for problem in problems):
        # a PF that only a typo keeps from being named must not be given back
        named = {want.address for want in desired.pfs} | set(desired.refused)
        rest = context.node.release(observation, sorted(set(observation.records) - named))
        desired = given_back(observation.inventory, replace(desired, pfs=(*desired.pfs, *rest.pfs)))
    plan = context.node.plan(observation, desired)
    return observation, desired, replace(plan, problems=_once((*problems, *plan.problems)))


def _once(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problems))


def _show(
    context: Context,
    plan: Plan,
    observation: Observation,
    desired: DesiredState,
    *,
    form: str,
    exit_code: bool = False,
) -> Exit:
    if form == "sh":
        from virtfn.performing import shell_script

        context.stdout.write(shell_script(plan, observation.inventory))
    elif form == "table":
        show_plan(context, plan, observation.inventory)
        _show_in_sync(context, plan, desired)
    else:
        data = to_data(plan)
        data["disruption"] = plan.disruption.name
        data["affects"] = [str(address) for address in plan.affects]
        print_data(context, data, form)
    show_problems(context, plan.problems)
    if plan.errors:
        return exit_of_problems(plan.errors)
    return Exit.PENDING if exit_code and plan.steps else Exit.OK


def _show_in_sync(context: Context, plan: Plan, desired: DesiredState) -> None:
    if plan.steps or plan.errors:
        return
    words = "In sync: nothing to do." if desired.pfs else "Nothing is wanted of the cards of this host."
    context.console.print(words, style="green")


def _perform(
    context: Context, plan: Plan, observation: Observation, desired: DesiredState, *, keep_going: bool
) -> Exit:
    show_problems(context, plan.problems)
    refused = exit_of_problems(plan.errors)
    if plan.errors and not keep_going:
        context.error_console.print("Nothing was changed.", style="bold")
        return refused
    outcome = context.node.perform(plan, observation, desired, listener=Progress(context, plan, observation.inventory))
    if outcome.failed is not None:
        for failed in outcome.failures:
            context.error_console.print("error: ", style="bold red", end="")
            context.error_console.print(f"{failed.detail} [{failed.reason}]")
        done = len(outcome.steps) - len(outcome.failures)
        context.error_console.print(
            f"Stopped: {done} of {len(plan.steps)} steps done, {len(outcome.not_begun)} not begun. "
            "The same command goes on from here."
        )
        return exit_of_reason(outcome.failed.reason)
    if not plan.steps:
        _show_in_sync(context, plan, desired)
        return refused
    return _verify(context, desired) or refused


def _verify(context: Context, desired: DesiredState) -> Exit:
    """Look again: only an empty plan is success."""
    left = context.node.plan(context.node.observe(), desired)
    steps_left = [step for step in left.steps if not step.optional]
    if steps_left and left.disruption >= Disruption.REBOOT:
        how = "rebooted" if left.disruption is Disruption.REBOOT else "switched off and on"
        why = next(step.why for step in steps_left if step.disruption is left.disruption)
        context.console.print(f"Set, and not in force yet: this node has to be {how}, then the same command goes on")
        context.console.print(f"({why}).")
        return Exit.PENDING
    if steps_left:
        context.error_console.print("error: ", style="bold red", end="")
        context.error_console.print(
            f"every step was done, and {len(steps_left)} would be needed again, first: {steps_left[0].op} on "
            f"{steps_left[0].target} ({steps_left[0].why})"
        )
        return Exit.HOST
    context.console.print("Done: in sync.", style="green")
    return Exit.OK
