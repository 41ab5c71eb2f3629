"""Release and isolation: what is given back is as it was, and what was not asked for is never touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from virtfn.host.reader import Reader
from virtfn.journal import baseline_of
from virtfn.model import DesiredPf, DesiredState, Pf, Step, StepOutcome, VfGroup, VfRange
from virtfn.model.steps import NODE
from virtfn.testing.cycle import Bench
from virtfn.testing.grounds import Ability
from virtfn.testing.judging import differences, of_adapter, tell, view_of
from virtfn.testing.laws.trial import Broken, Law, Trial, Unable, converged, failure_of, planned
from virtfn.testing.scenarios import FEW, Scenario, mixed, mtus_of, plain
from virtfn.testing.starting import PfStart
from virtfn.testing.watch import Access, Handler

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


# --- release ----------------------------------------------------------------------------------------------------------


def _release(trial: Trial) -> None:
    def check(scenario: Scenario) -> None:
        _give_back(trial, scenario)

    trial.each(check)
    for scenario in trial.scenarios():
        _give_back(trial, scenario, then=DesiredState((plain(trial.pfs[0], min(2, trial.pfs[0].total_vfs or 0)),)))


def _give_back(trial: Trial, scenario: Scenario, *, then: DesiredState | None = None) -> None:
    """Fulfil a request and give it back.

    :param then: a second request in between: it is the machine before the first one that counts.
    """
    about = f"release after {scenario}" + (f" and [{tell(then)}]" if then else "")
    with trial.bench(scenario.start) as bench:
        before = bench.observe()
        if converged(bench, scenario) is None:
            return
        if then is not None:
            bench.converge(then)
        bench.restart()
        addresses = [want.address for want in (*scenario.desired.pfs, *(then.pfs if then else ()))]
        done = bench.release(sorted(set(addresses)))
        if failure := failure_of(done) or "; ".join(str(problem) for problem in done.plan.errors):
            raise Broken(f"{about}: {failure}")
        after = bench.observe()
        for address in addresses:
            was, now = before.pf(address), after.pf(address)
            if was is None or now is None:
                raise Broken(f"{about}: {address} is gone")
            if baseline_of(now) != baseline_of(was):
                raise Broken(f"{about}: {_unlike(was, now)} (plan: {planned(done)})")
        if changed := differences(view_of(before), view_of(after)):
            raise Broken(f"{about}: {'; '.join(changed)} (plan: {planned(done)})")
        if left := set(addresses) & set(bench.node.observe().records):
            raise Broken(f"{about}: the journal still has {left.pop()}")


def _unlike(was: Pf, now: Pf) -> str:
    old, new = baseline_of(was), baseline_of(now)
    names = ("num_vfs", "mtu", "eswitch_mode", "link_up", "drivers_autoprobe", "vfs")
    return f"{was.address}: " + "; ".join(
        f"{name} was {getattr(old, name)}, and is {getattr(new, name)}"
        for name in names
        if getattr(old, name) != getattr(new, name)
    )


RELEASE = Law(
    "release",
    "A PF that is given back is as it was before virtfn first touched it, and nothing else has changed.",
    _release,
)


# --- isolation --------------------------------------------------------------------------------------------------------


def _isolation(trial: Trial) -> None:
    for scenario in trial.scenarios():
        with trial.bench(scenario.start) as bench:
            _touches_only(bench, scenario)
    _plans_apart(trial)
    _leaves_to_others(trial)


def _touches_only(bench: Bench, scenario: Scenario) -> None:
    """Neither other adapters nor other PFs of the same one."""
    before = view_of(bench.observe())
    asked = of_adapter(before, [want.address for want in scenario.desired.pfs])
    touched: list[tuple[Access, str]] = []
    performing = _Performing()
    bench.watch.handler = _noting(bench, touched, performing)
    bench.converge(scenario.desired, listener=performing)
    bench.watch.handler = lambda _access, action: action()
    after = view_of(bench.observe())
    allowed = asked | of_adapter(after, [want.address for want in scenario.desired.pfs])
    for access, address in touched:
        # VFs that came and went in between are in no view: they are those of the PFs asked for
        if address not in allowed and address in {**before, **after}:
            raise Broken(f"{scenario}: {access} touches {address}, which was not asked for")
    if changed := differences(before, after, leaving_out=allowed):
        raise Broken(f"{scenario}: {'; '.join(changed)}, and was not asked for")


class _Performing:
    """Whether a step is being done. A program that runs at another time was asked to tell something: see purity."""

    def __init__(self) -> None:
        self.now = False

    def begin(self, _number: int, _step: Step) -> None:
        """See `Listener`."""
        self.now = True

    def end(self, _number: int, _outcome: StepOutcome) -> None:
        """See `Listener`."""
        self.now = False


def _noting(bench: Bench, touched: list[tuple[Access, str]], performing: _Performing) -> Handler:
    """Notes which function each write, and each program that a step runs, is about."""

    def handler(access: Access, action: Callable[[], Any]) -> Any:
        if access.writes or performing.now:
            touched.extend((access, address) for address in _functions(access, bench))
        return action()

    return handler


def _functions(access: Access, bench: Bench) -> list[str]:
    """Addresses of the functions that an access is about: named in it, or by an interface number."""
    if access.target.startswith("link "):
        owners = _owners(Reader(bench.watch.ground))
        address = owners.get(int(access.target.removeprefix("link ")))
        return [address] if address else []
    value = " ".join(access.value) if isinstance(access.value, tuple) else str(access.value)
    named: list[str] = _ADDRESS.findall(f"{access.target} {value}")
    return named


def _owners(reader: Reader) -> Mapping[int, str]:
    """PCI function by interface number."""
    found = {}
    for pf in reader.network_functions():
        if pf.netdev is not None:
            found[pf.netdev.ifindex] = str(pf.address)
        found |= {vf.netdev.ifindex: str(vf.address) for vf in pf.vfs if vf.netdev is not None}
    return found


def _plans_apart(trial: Trial) -> None:
    """The plan of two adapters is the plan of the one and then of the other."""
    if Ability.NEIGHBOURS not in trial.ground.abilities:
        return
    first = trial.pfs[0]
    others = [
        adapter.pfs[0]
        for adapter in trial.untouched.adapters
        if adapter.owner in trial.subject.keys and first not in adapter.pfs
    ]
    if not others:
        return
    ones = [DesiredState((mixed(pf, trial.platform),)) for pf in (first, others[0])]
    both = DesiredState(tuple(want for one in ones for want in one.pfs))
    with trial.bench() as bench:
        seen = bench.node.observe()
        # what the node needs is brought about once for all
        apart = [step for one in ones for step in bench.node.plan(seen, one).steps if step.target != NODE]
        together = [step for step in bench.node.plan(seen, both).steps if step.target != NODE]
        missing = [step for step in apart if step not in together] + [step for step in together if step not in apart]
        if missing:
            raise Broken(
                f"{first.address} and {others[0].address}: planned together, {missing[0]} is not as planned alone"
            )


def _leaves_to_others(trial: Trial) -> None:
    """A PF that somebody else manages: its VFs are given drivers, and nothing is written to the PF."""
    pf = trial.pfs[0]
    if not pf.total_vfs:
        return
    count = min(FEW, pf.total_vfs)
    mtu = next(iter(mtus_of(pf)), None)
    device_type = mixed(pf, trial.platform).groups[-1].device_type
    groups = (VfGroup(VfRange(0, 0), resource_name="user", device_type=device_type),)
    for up in (True, False):
        want = DesiredPf(pf.address, count, mtu=mtu, externally_managed=True, groups=groups)
        scenario = Scenario((PfStart(pf.address, count, up=up),), DesiredState((want,)))
        with trial.bench(scenario.start) as bench:
            before = _pf_view(bench, pf)
            touched: list[tuple[Access, str]] = []
            performing = _Performing()
            bench.watch.handler = _noting(bench, touched, performing)
            done = bench.converge(scenario.desired, listener=performing)
            bench.watch.handler = lambda _access, action: action()
            if done.refused or done.outcome.failed:
                raise Unable(f"{scenario}: {failure_of(done) or done.plan.errors[0]}")
            for access, address in touched:
                # the address of a VF is kept by its PF, and is the VF's all the same
                if address == str(pf.address) and access.kind != "set_vf":
                    raise Broken(f"{scenario}: {access} writes to a PF that somebody else manages")
            if changed := differences(before, _pf_view(bench, pf)):
                raise Broken(f"{scenario}: {'; '.join(changed)}, though somebody else manages the PF")


def _pf_view(bench: Bench, pf: Pf) -> dict[str, dict[str, Any]]:
    name = str(pf.address)
    return {name: view_of(bench.observe())[name]}


ISOLATION = Law(
    "isolation",
    "Only the PFs that were asked for are touched, and never one that somebody else manages.",
    _isolation,
)
