"""What a law is, what it is tried on, and how it says that it is broken or cannot be tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from hypothesis import HealthCheck, Phase, given, settings

from virtfn.errors import PluginError, VirtfnError
from virtfn.model import Inventory, Pf, Platform
from virtfn.registry import Registry
from virtfn.testing import strategies
from virtfn.testing.cycle import Bench, Cycle
from virtfn.testing.grounds import Ability, Ground
from virtfn.testing.scenarios import Scenario, scenarios
from virtfn.testing.starting import Start, arrange
from virtfn.testing.subject import Subject


class Broken(AssertionError):
    """The plugin does not keep the law; the text is the counterexample."""


class Unable(Exception):
    """The law cannot be tried on this ground; the text says why."""


@dataclass(frozen=True, slots=True)
class Law:
    """One law."""

    name: str
    """One word or two, with `-`: `honest-disruption`."""
    says: str
    """What every plugin keeps, in one sentence."""
    check: Callable[[Trial], None] = field(repr=False)
    needs: frozenset[Ability] = frozenset()
    """Without one of these the law cannot be tried."""


class Trial:
    """A plugin on a ground.

    :param examples: generated scenarios a law, besides those that it always tries; where the ground carries many.
    """

    def __init__(self, subject: Subject, ground: Ground, *, examples: int = 10) -> None:
        self.subject = subject
        self.ground = ground
        self._registry: Registry | None = None
        self._examples = examples if Ability.MANY in ground.abilities else 0

    def bench(self, start: Start = ()) -> Bench:
        """The ground from its start, brought to where somebody left it, with virtfn on it."""
        try:
            self._registry = self._registry or self.subject.registry()
            bench = Bench(self.ground, self.subject, registry=self._registry)
        except PluginError as error:
            raise Unable(f"the plugin cannot be loaded: {error}") from error
        try:
            arrange(bench.machine, start)
        except BaseException:
            bench.close()
            raise
        bench.watch.clear()
        return bench

    @cached_property
    def untouched(self) -> Inventory:
        """The ground before anything is done, with owners and facts."""
        with self.bench() as bench:
            return bench.observe()

    @property
    def platform(self) -> Platform:
        """Facts of the machine."""
        return self.untouched.platform

    @property
    def pfs(self) -> tuple[Pf, ...]:
        """The PFs under test before anything is done. Raises `Unable` when the plugin does not serve them."""
        found = tuple(pf for address in self.ground.pfs if (pf := self.untouched.pf(address)) is not None)
        for adapter in self.untouched.adapters:
            if adapter.pfs[0] in found and adapter.owner not in self.subject.keys:
                raise Unable(
                    f"{adapter.address}: {self.subject.name} does not serve it, {adapter.owner or 'nobody'} does "
                    f"({adapter.owner_reason})"
                )
        if not found:
            raise Unable("the ground has none of the PFs it was made with")
        return found

    def require_vfs(self) -> None:
        """Raises `Unable` when no VF can be made on the first PF."""
        if not self.pfs[0].total_vfs:
            raise Unable(f"{self.pfs[0].address}: no VFs can be made on it, and the law is about VFs")

    @property
    def vdpa_module(self) -> str:
        """With which VFs of the first PF can have vDPA devices, as the device table says; empty: they cannot."""
        adapters = (adapter for adapter in self.untouched.adapters if self.pfs[0] in adapter.pfs)
        return next((adapter.vdpa_module for adapter in adapters), "")

    def scenarios(self) -> tuple[Scenario, ...]:
        """Those that are always tried."""
        return scenarios(self.pfs, self.platform, vdpa_module=self.vdpa_module)

    def each(self, check: Callable[[Scenario], None], *, examples: int | None = None) -> None:
        """Check the scenarios that are always tried, then generated ones; the first that fails ends it."""
        for scenario in self.scenarios():
            check(scenario)
        count = min(self._examples, examples if examples is not None else self._examples)
        if not count:
            return
        run = given(strategies.scenarios(self.pfs, self.platform, vdpa=bool(self.vdpa_module)))(check)
        settings(
            max_examples=count,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )(run)()


def converged(bench: Bench, scenario: Scenario) -> Cycle | None:
    """One converge of the scenario's request; None when it was refused or failed: those are other laws' business."""
    done = bench.converge(scenario.desired)
    return None if done.refused or done.outcome.failed else done


def failure_of(done: Cycle) -> str:
    """Why a cycle failed, in words; empty when it did not."""
    failed = done.outcome.failed
    return f"{failed.step.op} on {failed.step.target} failed: {failed.detail}" if failed else ""


def planned(done: Cycle) -> str:
    """The steps of a plan in one line."""
    return ", ".join(f"{step.op} {dict(step.args)}" for step in done.plan.steps) or "no step"


def reasons(kind: type[VirtfnError]) -> frozenset[str]:
    """The reasons of an error class and all that derive from it."""
    return frozenset({kind.reason}).union(*(reasons(child) for child in kind.__subclasses__()))
