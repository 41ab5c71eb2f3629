"""Crash and errors: whatever happens half-way, the next cycle brings the machine to the same place."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from virtfn.errors import ContractViolation, VirtfnError
from virtfn.host.api import CommandResult
from virtfn.model import DesiredState, Outcome, OutcomeStatus, PciAddress, StepOutcome
from virtfn.model.steps import NODE
from virtfn.testing.cycle import Bench
from virtfn.testing.grounds import Ability
from virtfn.testing.judging import View, differences, view_of
from virtfn.testing.laws.trial import Broken, Law, Trial, Unable, failure_of, reasons
from virtfn.testing.scenarios import Scenario
from virtfn.testing.watch import Access, Handler, Killed, proceed


@dataclass(frozen=True, slots=True)
class _Course:
    """How a request goes when nothing happens: what is compared with the courses where something does."""

    effects: tuple[Access, ...]
    view: View
    skipped: int
    """Optional steps that this machine cannot do."""


def _skipped(outcome: Outcome) -> int:
    return sum(step.status is OutcomeStatus.SKIPPED for step in outcome.steps)


def _undisturbed(bench: Bench, desired: DesiredState, *, what: str) -> _Course:
    """The course of a request; `Unable` when it does not get to its end, which convergence tells better."""
    bench.watch.clear()
    done = bench.cycle(desired)
    effects = tuple(bench.watch.effects)
    if done.refused or done.outcome.failed:
        raise Unable(f"{what}: {failure_of(done) or done.plan.errors[0]} (see convergence)")
    return _Course(effects, view_of(bench.observe()), _skipped(done.outcome))


# --- crash ------------------------------------------------------------------------------------------------------------


def _crash(trial: Trial) -> None:
    for scenario in _telling(trial):
        _crash_at_each(trial, scenario, release=False)
        _crash_at_each(trial, scenario, release=True)


def _crash_at_each(trial: Trial, scenario: Scenario, *, release: bool) -> None:
    """The process ends before each write and program of a request, and after the last; then a new one begins.

    :param release: the request is fulfilled already, and it is giving it back that is cut off.
    """
    what = f"release after {scenario}" if release else str(scenario)
    with trial.bench(scenario.start) as bench:
        desired = _request(bench, scenario, release=release)
        course = _undisturbed(bench, desired, what=what)
        baselines = {address: record.baseline for address, record in bench.node.observe().records.items()}
    for number in range(len(course.effects) + 1):
        with trial.bench(scenario.start) as bench:
            _cut_off(bench, _request(bench, scenario, release=release), after=number)
            bench.restart()
            where = f"{what}: ended after {number} writes" + (
                f", before {course.effects[number]}" if number < len(course.effects) else ""
            )
            records = bench.node.observe().records
            again = bench.converge(desired)
            if failure := failure_of(again):
                raise Broken(f"{where}: the next process fails: {failure}")
            if again.refused:
                raise Broken(f"{where}: the next process refuses: {again.plan.errors[0]}")
            if changed := differences(course.view, view_of(bench.observe())):
                raise Broken(f"{where}: the next process leaves {'; '.join(changed)}")
            wrong = [
                address for address, was in baselines.items() if address in records and records[address].baseline != was
            ]
            if wrong:
                raise Broken(f"{where}: the journal's baseline of {wrong[0]} is not what was there at first")


def _request(bench: Bench, scenario: Scenario, *, release: bool) -> DesiredState:
    if not release:
        return scenario.desired
    bench.converge(scenario.desired)
    bench.watch.clear()
    observation = bench.node.observe()
    return bench.node.release(observation, sorted(observation.records))


def _cut_off(bench: Bench, desired: DesiredState, *, after: int) -> None:
    """Begin the cycle, and end the process after so many writes and programs."""
    done = 0

    def handler(_access: Access, action: Callable[[], Any]) -> Any:
        nonlocal done
        if done == after:
            raise bench.watch.kill()
        done += 1
        return action()

    bench.watch.handler = handler
    try:
        bench.cycle(desired)
    except Killed:
        pass
    finally:
        bench.watch.handler = proceed


CRASH = Law(
    "crash",
    "When the process ends anywhere in a plan, a new process gets the machine to where the old one would have.",
    _crash,
    needs=frozenset({Ability.CRASHES}),
)


def _telling(trial: Trial) -> Sequence[Scenario]:
    """The scenarios with most in them: each is tried once for every write, so there are few."""
    chosen = trial.scenarios()
    if not trial.pfs[0].total_vfs:
        return chosen[:1]
    return (chosen[1], chosen[2], *chosen[5:6], *(chosen[-1:] if trial.vdpa_module else ()))


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fault:
    """One way for a write or a program to go wrong."""

    name: str
    answer: Callable[[Access], Any]
    lie: bool = False


def _refuse(code: int) -> Callable[[Access], Any]:
    def answer(_access: Access) -> Any:
        raise OSError(code, os.strerror(code))

    return answer


def _hang(access: Access) -> Any:
    raise TimeoutError(f"{access.target}: no answer")


def _missing(access: Access) -> Any:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), access.target)


def _prints(text: str, code: int) -> Callable[[Access], Any]:
    return lambda access: CommandResult(tuple(access.value), code, text, text)


_GARBAGE = "\x00\ufffd{]: Segmentation fault\n"

_WRITE_FAULTS = (
    _Fault("EBUSY", _refuse(errno.EBUSY)),
    _Fault("ENOMEM", _refuse(errno.ENOMEM)),
    _Fault("EIO", _refuse(errno.EIO)),
    _Fault("a lie (success told, nothing done)", lambda _access: None, lie=True),
)
_HANG = _Fault("no answer", _hang)
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_PROGRAM_FAULTS = (
    _Fault("exit code 1 and garbage", _prints(_GARBAGE, 1)),
    _Fault("garbage and exit code 0", _prints(_GARBAGE, 0), lie=True),
    _Fault("nothing and exit code 0", _prints("", 0), lie=True),
    _Fault("not installed", _missing),
    _HANG,
)


def _faults(access: Access) -> Iterator[_Fault]:
    if access.kind == "run":
        yield from _PROGRAM_FAULTS
        return
    yield from _WRITE_FAULTS
    if access.kind != "write":  # a plain write is one that cannot block
        yield _HANG


def _errors(trial: Trial) -> None:
    _programs_of_observe(trial)
    tried: Counter[str] = Counter()
    for scenario in _telling(trial)[::2]:
        with trial.bench(scenario.start) as bench:
            course = _undisturbed(bench, scenario.desired, what=str(scenario))
        for access in _distinct(course.effects):
            faults = tuple(_faults(access))
            shape = _shape(access)
            # every fault for the first write of a kind, and one of them, in turn, for each that is like it
            chosen = (faults[tried[shape] % len(faults)],) if tried[shape] else faults
            tried[shape] += 1
            for fault in chosen:
                _one_fault(trial, scenario, course, access, fault)


def _shape(access: Access) -> str:
    """What accesses have in common that do the same to different VFs."""
    value = sorted(access.value) if isinstance(access.value, dict) else access.value
    same = _ADDRESS.sub("", f"{access.kind} {access.target} {value}")
    return same if access.kind not in ("set_link", "set_vf") else f"{access.kind} {value}"


def _distinct(effects: Sequence[Access]) -> list[Access]:
    found: list[Access] = []
    for access in effects:
        if access not in found:
            found.append(access)
    return found


def _one_fault(trial: Trial, scenario: Scenario, course: _Course, access: Access, fault: _Fault) -> None:
    where = f"{scenario}: {access} meets {fault.name}"
    with trial.bench(scenario.start) as bench:
        bench.watch.handler = _faulty(access, fault)
        try:
            outcome = bench.cycle(scenario.desired).outcome
        except VirtfnError as error:
            raise Broken(f"{where}: the cycle stops with {type(error).__name__}: {error}") from error
        except Exception as error:
            raise Broken(f"{where}: {type(error).__name__} comes out, no error of virtfn's: {error}") from error
        finally:
            bench.watch.handler = proceed
        if fault.lie and _skipped(outcome) > course.skipped:
            return  # told as not done: nobody can know a program or driver that is not there from one that lies
        if outcome.failed is None:
            if changed := differences(course.view, view_of(bench.observe())):
                raise Broken(f"{where}: success is told, and {'; '.join(changed)}")
        else:
            _judge_failure(outcome.failed, bench, where)
        again = bench.converge(scenario.desired)
        if failure := failure_of(again):
            raise Broken(f"{where}: when that is over, the next cycle fails: {failure}")
        if changed := differences(course.view, view_of(bench.observe())):
            raise Broken(f"{where}: when that is over, the next cycle leaves {'; '.join(changed)}")


def _faulty(access: Access, fault: _Fault) -> Handler:
    def handler(met: Access, action: Callable[[], Any]) -> Any:
        return fault.answer(met) if met == access else action()

    return handler


def _judge_failure(failed: StepOutcome, bench: Bench, where: str) -> None:
    if failed.reason not in reasons(VirtfnError):
        raise Broken(f"{where}: the failure has the reason {failed.reason!r}, which no error of virtfn has")
    if failed.reason == ContractViolation.reason:
        raise Broken(f"{where}: the plugin lets it out as it came: {failed.detail}")
    step = failed.step
    if step.target == NODE:
        names = [str(value) for value in step.args.values()]
    else:
        names = [step.target]
        pf = bench.observe().pf(PciAddress.parse(step.target)) if "." in step.target else None
        names += [str(vf.address) for vf in pf.vfs] if pf is not None else []
    if not any(name in failed.detail for name in names):
        raise Broken(
            f"{where}: the failure does not name the device: {failed.detail!r} (step {step.op} on {step.target})"
        )


def _programs_of_observe(trial: Trial) -> None:
    """Programs that observe runs: their answers are not to be trusted."""
    with trial.bench() as bench:
        bench.observe()
        programs = [access for access in _distinct(bench.watch.effects) if access.kind == "run"]
    for access in programs:
        for fault in _PROGRAM_FAULTS:
            where = f"observe: {access} meets {fault.name}"
            with trial.bench() as bench:
                bench.watch.handler = _faulty(access, fault)
                try:
                    inventory = bench.observe()
                except Exception as error:
                    raise Broken(f"{where}: {type(error).__name__} comes out: {error}") from error
                for adapter in inventory.adapters:
                    if adapter.fault.startswith(ContractViolation.reason):
                        raise Broken(f"{where}: {adapter.fault}")


ERRORS = Law(
    "errors",
    "A refused, hanging, lying or garbled write is a failure that names the device, and the next cycle makes it good.",
    _errors,
    needs=frozenset({Ability.FAULTS}),
)
