"""Convergence and idempotence: the machine gets to where it was asked to be, and then stays there."""

from __future__ import annotations

from virtfn.testing.cycle import Bench
from virtfn.testing.grounds import Ability
from virtfn.testing.judging import differences, unmet, view_of
from virtfn.testing.laws.trial import Broken, Law, Trial, converged, failure_of, planned
from virtfn.testing.scenarios import Scenario, full


def _convergence(trial: Trial) -> None:
    def check(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            _reach(bench, scenario)

    simplest = trial.scenarios()[0]
    with trial.bench(simplest.start) as bench:
        before = bench.observe()
        if errors := bench.node.plan(bench.node.observe(), simplest.desired).errors:
            raise Broken(f"{simplest}: refused, though every PF of {len(before.adapters)} can do it: {errors[0]}")
    trial.each(check)
    pf = trial.pfs[0]
    if Ability.MANY in trial.ground.abilities and pf.total_vfs:
        check(full(pf))


def _reach(bench: Bench, scenario: Scenario) -> None:
    before = bench.observe()
    done = bench.converge(scenario.desired)
    after = bench.observe()
    if done.refused:
        refused = {problem.object for problem in done.plan.errors}
        for pf in bench.pfs():
            if {pf.label, str(pf.address)} & refused and any(
                step.target == str(pf.address) for step in done.plan.steps
            ):
                raise Broken(f"{scenario}: {pf.label} is refused, and the plan has steps for it: {planned(done)}")
        return
    if failure := failure_of(done):
        raise Broken(f"{scenario}: {failure}")
    if missing := unmet(before, scenario.desired, after):
        raise Broken(f"{scenario}: performed, and still {'; '.join(missing)} (plan: {planned(done)})")


CONVERGENCE = Law(
    "convergence",
    "After the plan is performed, what is observed is what was desired.",
    _convergence,
)


def _idempotence(trial: Trial) -> None:
    def check(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            if converged(bench, scenario) is None:
                return
            before = view_of(bench.observe())
            for process in ("same", "new"):
                if process == "new":
                    bench.restart()
                again = bench.node.plan(bench.node.observe(), scenario.desired)
                if again.steps:
                    steps = ", ".join(f"{step.op} {dict(step.args)} ({step.why})" for step in again.steps)
                    raise Broken(f"{scenario}: in sync, and the next plan of the {process} process is {steps}")
            bench.watch.clear()
            bench.converge(scenario.desired)
            if bench.watch.writes:
                raise Broken(f"{scenario}: in sync, and the next cycle wrote {bench.watch.writes[0]}")
            if changed := differences(before, view_of(bench.observe())):
                raise Broken(f"{scenario}: in sync, and the next cycle changed {'; '.join(changed)}")

    trial.each(check)


IDEMPOTENCE = Law(
    "idempotence",
    "When the machine is as desired, the next plan is empty.",
    _idempotence,
)
