"""Contract, claim and purity: the plugin is as the contract says, takes what is its own, and writes only in perform."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from virtfn.errors import PluginError, VirtfnError
from virtfn.model import (
    Adapter,
    DeviceModel,
    Disruption,
    Inventory,
    Netdev,
    PciAddress,
    PciId,
    Pf,
    Plan,
    Platform,
    Problem,
    Step,
)
from virtfn.model.codec import to_data
from virtfn.model.inventory import ParamMode
from virtfn.model.steps import NODE, SET_PARAM, STANDARD_OPS
from virtfn.performing.operations import check_args
from virtfn.registry import GENERIC, VIRTUAL, Registry
from virtfn.registry.entries import keys_for
from virtfn.testing.judging import differences, tell, view_of
from virtfn.testing.laws.trial import Broken, Law, Trial, Unable, reasons
from virtfn.testing.scenarios import Scenario

_CHANGED_MODES = (ParamMode.RUNTIME, ParamMode.DRIVERINIT)
_HEX4 = re.compile(r"[0-9a-f]{4}")


def _loaded(trial: Trial) -> Registry:
    try:
        return trial.subject.registry()
    except PluginError as error:
        raise Unable(f"the plugin cannot be loaded: {error}") from error


# --- contract ---------------------------------------------------------------------------------------------------------


def _contract(trial: Trial) -> None:
    try:
        registry = trial.subject.registry()
    except PluginError as error:
        raise Broken(f"it cannot be loaded: {error}") from error
    plugin = registry.plugin(trial.subject.keys[0])
    if plugin is None:
        raise Broken(f"no plugin is found by the key {trial.subject.keys[0]}")
    if not plugin.summary.strip():
        raise Broken("it has no summary, so nobody can see what it serves")
    _check_table(plugin.device_table, trial.subject.keys)

    def check(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            observation = bench.node.observe()
            for adapter in observation.inventory.adapters:
                if adapter.fault.partition(":")[0] in reasons(PluginError):
                    raise Broken(f"observe: {adapter.fault}")
            plan = bench.node.plan(observation, scenario.desired)
            _check_plan(plan, observation.inventory, scenario, performs="perform" in plugin.hooks)

    trial.each(check)


def _check_table(table: tuple[DeviceModel, ...], keys: tuple[str, ...]) -> None:
    hardware = [key for key in keys if key not in (GENERIC, VIRTUAL)]
    for row in table:
        about = f"device table: {row.name or row.pf}"
        texts = (row.pf.vendor, row.pf.device, row.vf.vendor, row.vf.device)
        if not row.name.strip():
            raise Broken(f"{about}: has no name")
        if not all(_HEX4.fullmatch(text) for text in texts):
            raise Broken(f"{about}: {row.pf} and {row.vf} are not ids (four lower-case hex digits, vendor:device)")
        if not row.driver.strip():
            raise Broken(f"{about}: names no driver")
        if strange := sorted(set(row.params.values()).difference(_CHANGED_MODES)):
            allowed = ", ".join(_CHANGED_MODES)
            raise Broken(f"{about}: {str(strange[0])!r} is not when a devlink parameter is changed ({allowed})")
        if row.max_vfs is not None and row.max_vfs < 1:
            raise Broken(f"{about}: {row.max_vfs} VFs at most")
        if hardware and not set(keys_for(row.pf)) & set(keys):
            raise Broken(
                f"{about}: {row.pf} matches none of the plugin's keys ({', '.join(keys)}), so it is never asked"
            )
    for pf, count in Counter(row.pf for row in table).items():
        if count > 1:
            raise Broken(f"device table: {pf} has {count} rows")


def _check_plan(plan: Plan, inventory: Inventory, scenario: Scenario, *, performs: bool) -> None:
    for problem in plan.problems:
        _check_problem(problem, inventory, scenario)
    for step in plan.steps:
        if wrong := _wrong_with(step, inventory, performs=performs):
            raise Broken(f"{scenario}: step {step.op} {dict(step.args)} on {step.target}: {wrong}")


def _check_problem(problem: Problem, inventory: Inventory, scenario: Scenario) -> None:
    if problem.reason in reasons(PluginError):
        raise Broken(f"{scenario}: {problem}")
    known = {NODE, *(adapter.address for adapter in inventory.adapters)}
    known |= {name for pf in inventory.pfs() for name in (str(pf.address), pf.label)}
    if problem.object not in known:
        raise Broken(f"{scenario}: a problem is about {problem.object!r}, which is no device here: {problem}")
    if not problem.message.strip() or problem.reason not in reasons(VirtfnError):
        raise Broken(f"{scenario}: a problem needs a message and a reason of virtfn's errors: {problem!r}")


def _wrong_with(step: Step, inventory: Inventory, *, performs: bool) -> str:
    """What of a step the contract does not allow; empty: it is in order."""
    if not step.why.strip():
        return "does not say why"
    if step.op in STANDARD_OPS:
        try:
            check_args(step)
        except PluginError as error:
            return str(error)
    elif not performs:
        return "is the plugin's own, and it has no hook perform"
    if step.op == SET_PARAM and not _is_recorded(step, inventory):
        return "changes a devlink parameter that the device table does not name: it would not be put back on release"
    if type(step.disruption) is not Disruption:
        return f"disruption is {step.disruption!r}"
    if step.affects and step.disruption < Disruption.VFS:
        return f"affects {len(step.affects)} VFs, and its disruption is {step.disruption.name}"
    if step.disruption is Disruption.VFS and not step.affects:
        return "its disruption is VFS, and it affects none"
    if step.target == NODE:
        return ""
    served = [pf for pf in inventory.pfs() if step.target in (str(pf.address), pf.address.slot)]
    strange = set(step.affects) - {vf.address for pf in served for vf in pf.vfs}
    return f"affects {sorted(strange)[0]}, which is no VF of its target" if strange else ""


def _is_recorded(step: Step, inventory: Inventory) -> bool:
    """Whether the parameter is read and recorded before the plugin changes it; what is kept in firmware need not be."""
    if step.args["mode"] not in _CHANGED_MODES:
        return True
    served = (adapter for adapter in inventory.adapters if any(str(pf.address) == step.target for pf in adapter.pfs))
    return any(adapter.params.get(step.args["name"]) == step.args["mode"] for adapter in served)


CONTRACT = Law(
    "contract",
    "The plugin loads, its table is sound, and what its hooks return is what the contract allows.",
    _contract,
)


# --- claim ------------------------------------------------------------------------------------------------------------

_STRANGE = PciId("fffe", "0001")
"""An id that no vendor has."""


def _claim(trial: Trial) -> None:
    registry, keys = _loaded(trial), trial.subject.keys
    for adapter in trial.untouched.adapters:
        if adapter.pfs[0].address not in trial.ground.pfs:
            continue
        if adapter.owner not in keys:
            raise Broken(f"{adapter.address} ({adapter.pfs[0].id}) is not taken: {adapter.owner_reason}")
        again = registry.assign(Inventory((adapter,), trial.platform)).adapters[0]
        if (again.owner, again.owner_reason) != (adapter.owner, adapter.owner_reason):
            raise Broken(f"{adapter.address}: {adapter.owner} at first, {again.owner} when asked again")
    functions = list(_functions(registry, keys))
    told = [_owner(registry, pf, platform) for pf, platform, _, _ in functions]
    for (pf, _, expected, what), owner in zip(functions, told, strict=True):
        if (owner in keys) is not expected:
            raise Broken(f"{what} ({pf.id}) is {'not ' if expected else ''}taken")
    backwards = [_owner(registry, pf, platform) for pf, platform, _, _ in reversed(functions)]
    if told != backwards[::-1]:
        raise Broken("who takes a function depends on what was asked before")


def _functions(registry: Registry, keys: tuple[str, ...]) -> Iterator[tuple[Pf, Platform, bool, str]]:
    """Functions to be asked about: each with a platform, whether the plugin is to take it, and what it is."""
    bare, guest = Platform(iommu=True), Platform(virtual=True)
    plugin = registry.plugin(keys[0])
    table = plugin.device_table if plugin is not None else ()
    hardware = not {GENERIC, VIRTUAL} & set(keys)
    pf_ids = {row.pf for row in table}
    for row in table:
        if VIRTUAL in keys:
            yield _function(row.pf, row.driver, None), guest, True, f"{row.label} in a VM"
            yield _function(row.pf, row.driver, 8), bare, GENERIC in keys, f"{row.label} with SR-IOV"
            continue
        yield _function(row.pf, row.driver, row.max_vfs or 8), bare, True, f"{row.label} of the device table"
        if hardware and row.vf not in pf_ids:
            yield _function(row.vf, None, None), guest, False, f"a VF of {row.label} that was handed to a VM"
    yield _function(_STRANGE, "strange", None), bare, False, "a function of an unknown vendor, without SR-IOV"
    yield _function(_STRANGE, "strange", 8), bare, GENERIC in keys, "a function of an unknown vendor"


def _function(ident: PciId, driver: str | None, total_vfs: int | None) -> Pf:
    netdev = Netdev("net0", 7, "02:00:00:00:00:01", 1500, True) if driver else None
    return Pf(PciAddress(0, 0xAB, 0, 0), ident, driver=driver, netdev=netdev, total_vfs=total_vfs)


def _owner(registry: Registry, pf: Pf, platform: Platform) -> str | None:
    return registry.assign(Inventory((Adapter(pf.address.slot, (pf,)),), platform)).adapters[0].owner


CLAIM = Law(
    "claim",
    "The plugin takes the functions of its table and of its keys, no others, and the same ones each time.",
    _claim,
)


# --- purity -----------------------------------------------------------------------------------------------------------


def _purity(trial: Trial) -> None:
    def check(scenario: Scenario) -> None:
        with trial.bench(scenario.start) as bench:
            seen, state = view_of(bench.observe()), trial.ground.state()
            bench.watch.clear()
            observation = bench.node.observe()
            if bench.watch.writes:
                raise Broken(f"{scenario}: observe wrote {bench.watch.writes[0]}")
            changed = differences(seen, view_of(observation.inventory)) + differences(state, trial.ground.state())
            if changed:
                by = f" (it ran {bench.watch.effects[0]})" if bench.watch.effects else ""
                raise Broken(f"{scenario}: observe changed the machine: {'; '.join(changed)}{by}")
            data = to_data(observation.inventory)
            bench.watch.clear()
            plan = bench.node.plan(observation, scenario.desired)
            for other in trial.scenarios():
                bench.node.plan(observation, other.desired)
                if bench.node.plan(observation, scenario.desired) != plan:
                    raise Broken(
                        f"{scenario}: the plan is another after [{tell(other.desired)}] was planned in between"
                    )
            if bench.watch.accesses:
                raise Broken(f"{scenario}: planning asked the machine: {bench.watch.accesses[0]}")
            if to_data(observation.inventory) != data:
                raise Broken(f"{scenario}: planning changed what was observed")

    first = trial.scenarios()[0].start
    with trial.bench(first) as bench:
        state = trial.ground.state()
        bench.observe()
        if changed := differences(state, trial.ground.state()):
            raise Broken(f"the first observe changed the machine: {'; '.join(changed)} (ran {bench.watch.effects})")
    trial.each(check)


PURITY = Law(
    "purity",
    "Observe writes nothing, and plan does not even look: the same arguments give the same plan.",
    _purity,
)
