"""virtfn on a ground: one machine with its journal, and the cycle observe, plan, perform, as often as a law wants.

A bench can be restarted, which is a new process on the same machine: plugins are made anew, the journal is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredState, Disruption, Inventory, Outcome, PciAddress, Pf, Plan
from virtfn.node import Node, Observation
from virtfn.performing import Listener
from virtfn.registry import Registry
from virtfn.testing.fakehost import temporary_folder
from virtfn.testing.grounds import Ability, Ground
from virtfn.testing.subject import Subject
from virtfn.testing.watch import Watch

_REBOOTS = 2
"""Reboots that one request may take: firmware settings, and what they make possible."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One observe, plan, perform."""

    observation: Observation
    plan: Plan
    outcome: Outcome

    @property
    def refused(self) -> bool:
        """Whether something of the request was refused before anything was done."""
        return bool(self.plan.errors)


class Bench:
    """A ground from its start, with virtfn on it. A context manager, for the journal's folder.

    :param registry: the plugins of the first process, where they are loaded already.
    """

    def __init__(self, ground: Ground, subject: Subject, *, registry: Registry | None = None) -> None:
        self._ground = ground
        self._subject = subject
        self.registry: Registry = registry or subject.registry()
        self.watch = Watch(ground.start())
        self._folder = temporary_folder("virtfn-bench-")
        self._boot()

    def restart(self) -> None:
        """A new process: nothing is left of the old one but the machine and the journal."""
        if self.watch.dead:
            self.watch = Watch(self.watch.ground)
        self.registry = self._subject.registry()
        self._boot()

    def _boot(self) -> None:
        self.machine = Machine(self.watch.kernel, timeouts=self._ground.timeouts)
        self.node = Node(
            self.machine,
            journal=Journal(Path(self._folder.name) / "journal"),
            now=self.watch.kernel.clock.monotonic,
            registry=lambda _ids: self.registry,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the journal."""
        self._folder.cleanup()

    # --- the cycle ----------------------------------------------------------------------------------------------------

    def observe(self) -> Inventory:
        """What is there."""
        return self.node.observe().inventory

    def pfs(self) -> tuple[Pf, ...]:
        """The PFs of the adapter under test as they are now."""
        inventory = self.observe()
        return tuple(pf for address in self._ground.pfs if (pf := inventory.pf(address)) is not None)

    def cycle(self, desired: DesiredState, *, listener: Listener | None = None) -> Cycle:
        """Observe, plan, perform, once."""
        observation = self.node.observe()
        plan = self.node.plan(observation, desired)
        outcome = self.node.perform(plan, observation, desired, listener=listener)
        return Cycle(observation, plan, outcome)

    def converge(self, desired: DesiredState, *, listener: Listener | None = None) -> Cycle:
        """The cycle, with the reboots its plan asks for, where the ground can be rebooted. Returns the last one."""
        done = self.cycle(desired, listener=listener)
        for _ in range(_REBOOTS):
            if done.plan.disruption < Disruption.REBOOT or done.outcome.failed or not self._can(Ability.REBOOT):
                break
            kernel = self._ground.reboot(power_cycle=done.plan.disruption is Disruption.POWER_CYCLE)
            self.watch = Watch(kernel)
            self.restart()
            done = self.cycle(desired, listener=listener)
        return done

    def release(self, addresses: Sequence[PciAddress]) -> Cycle:
        """Give PFs back."""
        return self.converge(self.node.release(self.node.observe(), addresses))

    def _can(self, ability: Ability) -> bool:
        return ability in self._ground.abilities
