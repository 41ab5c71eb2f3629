"""Honest disruption and serialisable: a plan says what it takes away, and can be sent as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from virtfn.host.reader import Reader
from virtfn.model import (
    DesiredState,
    Disruption,
    Inventory,
    Outcome,
    PciAddress,
    Plan,
    Step,
    StepOutcome,
)
from virtfn.model.codec import from_data, to_data
from virtfn.model.inventory import VdpaDevice
from virtfn.testing.laws.trial import Broken, Law, Trial, converged
from virtfn.testing.scenarios import Scenario
from virtfn.testing.watch import Access

# --- honest disruption ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _VfInUse:
    """What a VF that is in use has to lose."""

    driver: str | None
    ifindex: int | None
    carried: bool
    """Its PF's link is up."""
    vdpa: VdpaDevice | None


def _in_use(reader: Reader) -> dict[PciAddress, _VfInUse]:
    return {
        vf.address: _VfInUse(
            vf.driver, vf.netdev.ifindex if vf.netdev else None, bool(pf.netdev and pf.netdev.up), vf.vdpa
        )
        for pf in reader.network_functions()
        for vf in pf.vfs
    }


def _loss(was: _VfInUse, now: _VfInUse | None) -> str:
    """What a VF has lost, in words; empty: nothing."""
    if now is None:
        return "is gone"
    if was.driver is not None and now.driver != was.driver:
        return f"lost its driver {was.driver}"
    if was.ifindex is not None and now.ifindex != was.ifindex:
        return "lost its netdev"
    if was.vdpa is not None and now.vdpa != was.vdpa:
        return f"lost its vDPA device {was.vdpa.name} on {was.vdpa.driver}"
    if was.carried and not now.carried:
        return "lost its link"
    return ""


class _Ledger:
    """Listens to the executor and looks at the VFs after each write: what each step took, against what it said."""

    def __init__(self, reader: Reader, scenario: Scenario) -> None:
        self._reader = reader
        self._scenario = scenario
        self._unharmed: dict[PciAddress, _VfInUse] = _in_use(reader)
        self._existed = frozenset(self._unharmed)
        self._step: Step | None = None
        self.broken = ""

    def begin(self, number: int, step: Step) -> None:  # noqa: ARG002 - the Protocol's
        """See `Listener`."""
        self._step = step
        if invented := sorted(set(step.affects) - self._existed):
            self._break(step, f"says that it affects {invented[0]}, which did not exist when it was planned")

    def end(self, number: int, outcome: StepOutcome) -> None:  # noqa: ARG002 - the Protocol's
        """See `Listener`."""
        self._look(outcome.step)
        self._step = None

    def handler(self, _access: Access, action: Callable[[], Any]) -> Any:
        """Looks after each write, so that a VF that was made anew meanwhile is not taken for the old one."""
        try:
            return action()
        finally:
            if self._step is not None:
                self._look(self._step)

    def _look(self, step: Step) -> None:
        now = _in_use(self._reader)
        for address, was in list(self._unharmed.items()):
            loss = _loss(was, now.get(address))
            if not loss:
                self._unharmed[address] = now[address]
                continue
            del self._unharmed[address]  # what it loses from now on it had not to lose
            if step.disruption < Disruption.VFS:
                self._break(step, f"says {step.disruption.name}, and VF {address} {loss}")
            elif address not in step.affects:
                self._break(step, f"does not say that it affects VF {address}, which {loss}")
            elif loss == "is gone" and step.disruption < Disruption.PF:
                self._break(step, f"says {step.disruption.name}, and VF {address} {loss}")

    def _break(self, step: Step, text: str) -> None:
        if not self.broken:
            self.broken = f"{self._scenario}: {step.op} {dict(step.args)} on {step.target} {text}"


def _honest(trial: Trial) -> None:
    trial.require_vfs()

    def check(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            ledger = _Ledger(Reader(bench.watch.ground), scenario)
            bench.watch.handler = ledger.handler
            bench.cycle(scenario.desired, listener=ledger)
            if ledger.broken:
                raise Broken(ledger.broken)

    trial.each(check)

    def check_release(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            if converged(bench, scenario) is None:
                return
            given_back = Scenario(scenario.start, bench.node.release(bench.node.observe(), [trial.pfs[0].address]))
            ledger = _Ledger(Reader(bench.watch.ground), given_back)
            bench.watch.handler = ledger.handler
            bench.cycle(given_back.desired, listener=ledger)
            if ledger.broken:
                raise Broken(ledger.broken)

    for scenario in trial.scenarios():
        check_release(scenario)


HONEST_DISRUPTION = Law(
    "honest-disruption",
    "A step never takes from a VF what it did not say: existence, driver, netdev, vDPA device or link.",
    _honest,
)


# --- serialisable -----------------------------------------------------------------------------------------------------


def _serialisable(trial: Trial) -> None:
    def check(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            _there_and_back(Inventory, bench.observe(), scenario)
            done = bench.cycle(scenario.desired)
            _there_and_back(DesiredState, scenario.desired, scenario)
            _there_and_back(Plan, done.plan, scenario)
            _there_and_back(Outcome, done.outcome, scenario)
            _there_and_back(Inventory, bench.observe(), scenario)

    trial.each(check)


def _there_and_back(kind: type[Any], value: Any, scenario: Scenario) -> None:
    name = kind.__name__
    try:
        back = from_data(kind, json.loads(json.dumps(to_data(value), allow_nan=False)))
    except Exception as error:
        raise Broken(f"{scenario}: the {name} cannot be sent as JSON: {type(error).__name__}: {error}") from error
    if back == value:
        return
    raise Broken(f"{scenario}: the {name} comes back from JSON as another: {_first_difference(value, back)}")


def _first_difference(value: Any, back: Any, path: str = "") -> str:
    """Where two values of the model differ first."""
    if isinstance(value, tuple) and isinstance(back, tuple) and len(value) == len(back):
        pairs = [(f"{path}[{index}]", one, two) for index, (one, two) in enumerate(zip(value, back, strict=True))]
    elif isinstance(value, Mapping) and isinstance(back, Mapping) and value.keys() == back.keys():
        pairs = [(f"{path}.{key}", value[key], back[key]) for key in value]
    elif type(value) is type(back) and hasattr(value, "__dataclass_fields__"):
        pairs = [(f"{path}.{key}", getattr(value, key), getattr(back, key)) for key in value.__dataclass_fields__]
    else:
        pairs = []
    for where, one, two in pairs:
        if one != two:
            return _first_difference(one, two, where)
    return f"{path.lstrip('.')} was {value!r}, and is {back!r}"


SERIALISABLE = Law(
    "serialisable",
    "Inventory, plan and outcome go to JSON and come back equal.",
    _serialisable,
)
