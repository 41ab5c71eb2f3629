"""A plan, its problems and its progress, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtfn.cli.context import Context
from virtfn.cli.output import new_table, print_table
from virtfn.model import Disruption, Inventory, OutcomeStatus, Plan, Problem, Severity, Step, StepOutcome, steps
from virtfn.model.wording import number_of

if TYPE_CHECKING:
    from rich.status import Status

_COLOURS = {
    Disruption.NONE: "green",
    Disruption.REFRESH: "green",
    Disruption.VFS: "yellow",
    Disruption.PF: "red",
    Disruption.RESET: "bold red",
    Disruption.REBOOT: "bold red",
    Disruption.POWER_CYCLE: "bold red",
}
_MEANINGS = {
    Disruption.NONE: "nothing in use is taken away",
    Disruption.REFRESH: "the device plugin has to read the devices again, no traffic is lost",
    Disruption.VFS: "the VFs named lose traffic",
    Disruption.PF: "all VFs of a PF lose traffic",
    Disruption.RESET: "a card is reset with all its ports",
    Disruption.REBOOT: "the node has to be rebooted",
    Disruption.POWER_CYCLE: "the node has to be switched off and on",
}


def target_name(step: Step, inventory: Inventory) -> str:
    """`0000:3b:00.0 (ens1f0)`, or `node`."""
    label = next((pf.label for pf in inventory.pfs() if str(pf.address) == step.target), None)
    return label or step.target


def show_problems(context: Context, problems: tuple[Problem, ...]) -> None:
    """Errors and warnings on standard error, one a line."""
    for problem in problems:
        error = problem.severity is Severity.ERROR
        context.error_console.print(
            f"{'error' if error else 'warning'}: ", style="bold red" if error else "yellow", end=""
        )
        context.error_console.print(f"{problem} [{problem.reason}]")


def show_plan(context: Context, plan: Plan, inventory: Inventory) -> None:
    """The steps in order, with disruption and reason."""
    from rich.text import Text

    if not plan.steps:
        return
    table = new_table("#", "DEVICE", "STEP", "DISRUPTION", "WHY")
    for number, step in enumerate(plan.steps, start=1):
        affected = f" {number_of(len(step.affects), 'VF')}" if step.affects else ""
        table.add_row(
            str(number),
            target_name(step, inventory),
            steps.describe(step),
            Text(step.disruption.name + affected, style=_COLOURS[step.disruption]),
            step.why,
        )
    print_table(context, table)
    context.console.print()
    context.console.print(f"{number_of(len(plan.steps), 'step')}. Disruption: ", end="")
    context.console.print(plan.disruption.name, style=_COLOURS[plan.disruption], end="")
    context.console.print(f" ({_MEANINGS[plan.disruption]}).")
    if plan.affects:
        context.console.print(f"VFs that lose traffic: {', '.join(str(address) for address in plan.affects)}")


class Progress:
    """Tells each step as it is done: a line a step, and on a terminal what is being done now."""

    def __init__(self, context: Context, plan: Plan, inventory: Inventory) -> None:
        self._console = context.console
        self._total = len(plan.steps)
        self._inventory = inventory
        self._status: Status | None = None

    def begin(self, number: int, step: Step) -> None:
        """See `Listener`."""
        if self._console.is_terminal:
            from rich.console import Console
            from rich.text import Text

            line = Text(self._line(number, step), no_wrap=True, overflow="ellipsis")
            self._status = Console(file=self._console.file).status(line)
            self._status.start()

    def end(self, number: int, outcome: StepOutcome) -> None:
        """See `Listener`."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        self._console.print(self._line(number, outcome.step), end="  ")
        colour = {OutcomeStatus.DONE: "green", OutcomeStatus.SKIPPED: "yellow", OutcomeStatus.FAILED: "bold red"}
        self._console.print(outcome.status.value, style=colour[outcome.status], end="")
        self._console.print(f"  {outcome.seconds:.2f} s")
        if outcome.status is OutcomeStatus.SKIPPED:
            self._console.print(f"      {outcome.detail}", style="yellow")

    def _line(self, number: int, step: Step) -> str:
        return f"[{number:>{len(str(self._total))}}/{self._total}] {target_name(step, self._inventory)}: " + (
            steps.describe(step)
        )
