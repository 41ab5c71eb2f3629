"""One node: its machine, its plugins and its journal together, and the cycle observe, plan, perform over them.

What runs the cycle (command line, daemon, conformance kit) differs in where the desired state comes from and in when it
may disturb; the cycle itself is here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from virtfn.host.machine import Machine
from virtfn.journal import Journal, Record
from virtfn.model import DesiredPf, DesiredState, Inventory, Outcome, PciAddress, PciId, Plan, Problem
from virtfn.observing import ids_of, observe, read_inventory
from virtfn.performing import Executor, Listener
from virtfn.planning import as_after_boot, make_plan, release_of
from virtfn.registry import Registry, load_registry


@dataclass(frozen=True, slots=True)
class Observation:
    """What one pass found: the machine, the journal, and what is wrong with the journal."""

    inventory: Inventory
    records: dict[PciAddress, Record]
    problems: tuple[Problem, ...] = ()


class Node:
    """The cycle on one machine.

    :param registry: loads the plugins for the ids present; given by tests to bring their own.
    :param now: monotonic seconds.
    :param firmware_reset: whether a card may be reset while the node runs, to spare a reboot.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        journal: Journal,
        now: Callable[[], float],
        registry: Callable[[frozenset[PciId]], Registry] = load_registry,
        firmware_reset: bool = False,
    ) -> None:
        self._machine = machine
        self._journal = journal
        self._now = now
        self._load = registry
        self._firmware_reset = firmware_reset
        self._registry: Registry | None = None
        self._ids: frozenset[PciId] = frozenset()

    @property
    def registry(self) -> Registry:
        """The plugins for the hardware present, loaded when first asked for."""
        return self._registry_for(read_inventory(self._machine)) if self._registry is None else self._registry

    def _registry_for(self, inventory: Inventory) -> Registry:
        ids = ids_of(inventory)
        if self._registry is None or not ids <= self._ids:  # a card of another kind was plugged in
            self._ids |= ids
            self._registry = self._load(self._ids)
        return self._registry

    def observe(self) -> Observation:
        """One pass over machine and journal. Reads only."""
        base = read_inventory(self._machine)
        base = replace(base, platform=replace(base.platform, firmware_reset=self._firmware_reset))
        inventory = observe(self._machine.reader, self._registry_for(base), base=base)
        records, problems = self._journal.load({pf.address: pf for pf in inventory.pfs()})
        return Observation(inventory, records, problems)

    def plan(self, observation: Observation, desired: DesiredState) -> Plan:
        """The plan from what was observed. Pure."""
        plan = make_plan(
            observation.inventory,
            desired,
            self.registry.hooks,
            baselines={address: record.baseline for address, record in observation.records.items()},
            owed={address: record.owed for address, record in observation.records.items()},
            reloads={address for address, record in observation.records.items() if record.reload},
        )
        return Plan(steps=plan.steps, problems=(*observation.problems, *plan.problems))

    def after_boot(self, observation: Observation, wanted: Sequence[DesiredPf]) -> tuple[Plan, Inventory]:
        """The plan from how the next boot leaves the node to what is wanted of these PFs, and that node. Pure."""
        baselines = {address: record.baseline for address, record in observation.records.items()}
        inventory = as_after_boot(observation.inventory, baselines)
        # Open vSwitch starts later, with its bridges from its own database; the daemon sees to what is left
        alone = tuple(replace(want, bridge=None) for want in wanted)
        return make_plan(inventory, DesiredState(pfs=alone), self.registry.hooks), inventory

    def release(self, observation: Observation, addresses: Sequence[PciAddress]) -> DesiredState:
        """The desired state that gives those PFs back; PFs that the journal does not know are not in it."""
        baselines = {address: record.baseline for address, record in observation.records.items()}
        return release_of(baselines, addresses)

    def perform(
        self,
        plan: Plan,
        observation: Observation,
        desired: DesiredState,
        *,
        listener: Listener | None = None,
        first: int | None = None,
    ) -> Outcome:
        """Do the plan, alone on this host, journal kept.

        :param first: only so many of its steps, for what has to wait in the middle; None: all.
        :raises JournalError: another process is at it, or the journal cannot be written; nothing was done.
        """
        with self._journal.locked():
            self._journal.set_aside({pf.address: pf for pf in observation.inventory.pfs()})
            executor = Executor(
                self._machine, journal=self._journal, hooks=self.registry.hooks, now=self._now, listener=listener
            )
            return executor.run(
                plan, inventory=observation.inventory, desired=desired, records=observation.records, first=first
            )
