"""Runs a plan: step after step, with the journal kept; what fails on one card keeps no other from going on.

A crash at any point is harmless: the journal holds each PF's baseline before its first step, and the next plan starts
from what is then observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from virtfn.errors import DeviceGone, KernelRefused, NoOwnerError, VirtfnError
from virtfn.host.api import Host, ParamMode
from virtfn.journal import Journal, Record
from virtfn.model import (
    IN_FIRMWARE,
    Adapter,
    DesiredPf,
    DesiredState,
    Inventory,
    Outcome,
    OutcomeStatus,
    PciAddress,
    Plan,
    Step,
    StepOutcome,
    VfBaseline,
    steps,
)
from virtfn.performing.operations import check_args, perform_standard


class PerformHooks(Protocol):
    """The perform hook of one adapter's owner."""

    def perform(self, step: Step, *, adapter: Adapter, host: Host) -> StepOutcome:
        """See `virtfn.hookspecs`."""
        ...


class Listener(Protocol):
    """Told what happens while a plan runs."""

    def begin(self, number: int, step: Step) -> None:
        """Step `number` (from 1) begins."""
        ...

    def end(self, number: int, outcome: StepOutcome) -> None:
        """Step `number` ended."""
        ...


class NoListener:
    """Nobody wants to know."""

    def begin(self, number: int, step: Step) -> None:
        """Nothing."""

    def end(self, number: int, outcome: StepOutcome) -> None:
        """Nothing."""


class Executor:
    """Performs plans on one host.

    :param hooks: the perform hook for steps that are a plugin's own.
    :param now: monotonic seconds, for the time each step takes.
    """

    def __init__(
        self,
        host: Host,
        *,
        journal: Journal,
        hooks: Callable[[Adapter], PerformHooks],
        now: Callable[[], float],
        listener: Listener | None = None,
    ) -> None:
        self._host = host
        self._journal = journal
        self._hooks = hooks
        self._now = now
        self._listener: Listener = listener or NoListener()

    def run(
        self,
        plan: Plan,
        *,
        inventory: Inventory,
        desired: DesiredState,
        records: Mapping[PciAddress, Record],
        first: int | None = None,
    ) -> Outcome:
        """Perform the plan that was made from `inventory` and `desired`.

        What fails on one card ends what is done to that card; the others go on. A failure that is the node's ends all.
        PFs that are in sync already are recorded too, so that release knows them. PFs with an error among the plan's
        problems are left alone. Raises `JournalError` before anything is done to a PF that cannot be recorded.

        :param records: the journal as it was when the plan was made.
        :param first: only so many steps; PFs with others are then not finished. None: all.
        """
        book = _Book(self._journal, plan, inventory, desired, records)
        outcomes: list[StepOutcome] = []
        not_begun: list[Step] = []
        failed: set[str] = set()
        for number, step in enumerate(plan.steps[:first], start=1):
            if failed & {step.card, steps.NODE}:
                not_begun.append(step)
                continue
            book.begin(step)
            self._listener.begin(number, step)
            outcome = self._perform(step, inventory)
            self._listener.end(number, outcome)
            outcomes.append(outcome)
            if outcome.status is OutcomeStatus.FAILED:
                book.failed(outcome)
                failed.add(step.card)
                continue
            book.end(step)
        book.finish_untouched()
        left = () if first is None else plan.steps[first:]
        return Outcome(tuple(outcomes), not_begun=(*not_begun, *left))

    def _perform(self, step: Step, inventory: Inventory) -> StepOutcome:
        started = self._now()
        try:
            if step.op in steps.STANDARD_OPS:
                check_args(step)
                status, detail = perform_standard(step, self._host)
            else:
                adapter = _adapter_of(step, inventory)
                told = self._hooks(adapter).perform(step, adapter=adapter, host=self._host)
                status, detail = told.status, told.detail
        except VirtfnError as error:
            return StepOutcome(
                step, OutcomeStatus.FAILED, detail=str(error), seconds=self._now() - started, reason=error.reason
            )
        return StepOutcome(step, status, detail=detail, seconds=self._now() - started)


def _adapter_of(step: Step, inventory: Inventory) -> Adapter:
    for adapter in inventory.adapters:
        if step.target == adapter.address or any(str(pf.address) == step.target for pf in adapter.pfs):
            if adapter.owner is None:
                raise NoOwnerError(f"{step.target}: no plugin serves it, so nobody does {step.op}", plugin="")
            return adapter
    raise DeviceGone(f"{step.target}: is not among what was observed", device=step.target)


class _Book:
    """Keeps the journal in step with the plan: baseline before a PF's first step, the result after its last."""

    def __init__(
        self,
        journal: Journal,
        plan: Plan,
        inventory: Inventory,
        desired: DesiredState,
        records: Mapping[PciAddress, Record],
    ) -> None:
        self._journal = journal
        self._inventory = inventory
        self._records = dict(records)
        refused = {problem.object for problem in plan.errors}
        self._later = {problem.object for problem in plan.problems if problem.reason == IN_FIRMWARE}
        """PFs whose plan is a beginning only."""
        self._open: dict[str, DesiredPf] = {}
        """PFs that are not finished, by the text of their address."""
        for want in desired.pfs:
            pf = inventory.pf(want.address)
            if pf is not None and not refused & {pf.label, str(pf.address), pf.address.slot}:
                self._open[str(want.address)] = want
        self._owed = {key: _owed(want, plan) for key, want in self._open.items()}
        self._reload = {
            key: want.address in records and records[want.address].reload for key, want in self._open.items()
        }
        self._owed_before = dict(self._reload)
        self._left = {key: sum(1 for step in plan.steps if key in self._keys(step)) for key in self._open}

    def _keys(self, step: Step) -> tuple[str, ...]:
        """The PFs a step is about: one, or all of an adapter."""
        return tuple(key for key in self._open if step.target in (key, PciAddress.parse(key).slot))

    def begin(self, step: Step) -> None:
        for key in self._keys(step):
            if _takes_a_reload(step):
                self._reload[key] = True
            self._begin(key)

    def _begin(self, key: str) -> Record | None:
        want = self._open[key]
        pf = self._inventory.pf(want.address)
        if pf is None:
            return None
        record = self._journal.begin(
            pf, self._records.get(want.address), want, owed=self._owed[key], reload=self._reload[key]
        )
        self._records[want.address] = record
        return record

    def failed(self, outcome: StepOutcome) -> None:
        """What the kernel has refused to take is not there to be brought into force."""
        if _takes_a_reload(outcome.step) and outcome.reason == KernelRefused.reason:
            for key in self._keys(outcome.step):
                self._reload[key] = self._owed_before[key]
                self._begin(key)

    def end(self, step: Step) -> None:
        for key in self._keys(step):
            if step.op == steps.RELOAD:
                self._reload[key] = False
            self._left[key] -= 1
            if self._left[key] == 0:
                self._finish(key)

    def finish_untouched(self) -> None:
        """PFs that needed no step at all."""
        for key in [key for key, left in self._left.items() if left == 0 and key in self._open]:
            self._finish(key)

    def _finish(self, key: str) -> None:
        want = self._open[key]
        pf = self._inventory.pf(want.address)
        if pf is not None and not self._later & {pf.label, str(pf.address)}:
            if want.release:
                self._journal.forget(want.address)
            elif (record := self._begin(key)) is not None:
                self._records[want.address] = self._journal.applied(record, want)
        del self._open[key]


def _takes_a_reload(step: Step) -> bool:
    return step.op == steps.SET_PARAM and step.args.get("mode") == ParamMode.DRIVERINIT


def _owed(want: DesiredPf, plan: Plan) -> tuple[VfBaseline, ...]:
    """VFs in no group that the plan gives a driver: nothing in the request says so, were the plan cut off before."""
    if want.release:
        return ()
    return tuple(
        VfBaseline(step.args["vf"], driver=step.args["driver"])
        for step in plan.steps
        if step.op == steps.BIND_DRIVER
        and step.target == str(want.address)
        and {"vf", "driver"} <= step.args.keys()
        and want.group_of(step.args["vf"]) is None
    )
