"""The planner: checks the request, asks each adapter's plugin for its steps, puts the node's steps ahead of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from virtfn.errors import ContractViolation, KernelRefused, UnsupportedSetting, VirtfnError
from virtfn.model import (
    IN_FIRMWARE,
    Adapter,
    DesiredAdapter,
    DesiredPf,
    DesiredState,
    Inventory,
    NeedKind,
    PciAddress,
    Plan,
    Platform,
    Problem,
    Severity,
    Step,
    VfBaseline,
    steps,
)
from virtfn.planning import bridges, host_files
from virtfn.planning.checks import IN_FIRMWARE_FIELDS, check, missing, put_aside
from virtfn.planning.rdma import plan_rdma_mode


class AdapterHooks(Protocol):
    """The plan hooks of one adapter: its owner's, with generic's behind them."""

    def plan_firmware(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        """See `virtfn.hookspecs`."""
        ...

    def plan_functions(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        """See `virtfn.hookspecs`."""
        ...

    def plan_vfs(
        self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform, planned: Sequence[Step]
    ) -> tuple[Step, ...]:
        """See `virtfn.hookspecs`."""
        ...

    def validate(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Problem, ...]:
        """See `virtfn.hookspecs`."""
        ...


def release_of(baselines: Mapping[PciAddress, DesiredPf], addresses: Sequence[PciAddress]) -> DesiredState:
    """The desired state that gives those PFs back: what the journal recorded before the first touch."""
    return DesiredState(pfs=tuple(baselines[address] for address in addresses if address in baselines))


def make_plan(
    inventory: Inventory,
    desired: DesiredState,
    hooks: Callable[[Adapter], AdapterHooks],
    *,
    baselines: Mapping[PciAddress, DesiredPf] | None = None,
    owed: Mapping[PciAddress, tuple[VfBaseline, ...]] | None = None,
    reloads: Collection[PciAddress] = (),
) -> Plan:
    """The plan from `inventory` to `desired`. A PF that is not named in `desired` is not touched.

    :param hooks: the plan hooks of an adapter that has an owner.
    :param baselines: how PFs were before the first touch, from the journal; what an apply that was cut off left behind
        of virtfn's own doing is put right from it.
    :param owed: VFs in no group that such an apply has left without a driver, from the journal.
    :param reloads: PFs whose driver it has not had take them anew, though it set what takes effect with that.
    """
    planned: list[Step] = []
    problems: list[Problem] = []
    known = {pf.address for pf in inventory.pfs()}
    problems += [missing(want) for want in desired.pfs if want.address not in known]
    mode_steps, mode_problems = plan_rdma_mode(desired, inventory.platform)
    problems += mode_problems
    for adapter in sorted(inventory.adapters, key=lambda adapter: adapter.pfs[0].address):
        wanted = [want for pf in adapter.pfs if (want := desired.pf(pf.address)) is not None]
        if wanted:
            wanted = [_with_baseline(want, baselines or {}, owed or {}, reloads) for want in wanted]
            try:
                found, wrong = _plan_adapter(adapter, wanted, inventory.platform, hooks)
            except VirtfnError as error:  # one plugin's failure is its adapter's problem only
                found, wrong = [], [_failed(adapter, error)]
            found, more = bridges.plan_with(inventory, desired, wanted, planned=found, problems=wrong)
            planned += found
            problems += [*wrong, *more]
    offload, more = bridges.plan_offload(inventory, desired)
    alone, strange = bridges.plan_alone(inventory, desired)
    planned += alone
    problems += [*more, *strange]
    node = (*mode_steps, *_node_steps(planned, inventory.platform))
    # Last, as a failure of the node's ends all that comes after it, and PFs do not wait for Open vSwitch.
    return Plan(steps=(*node, *planned, *offload), problems=tuple(problems))


def _failed(adapter: Adapter, error: VirtfnError) -> Problem:
    return Problem(object=adapter.address, message=str(error), reason=error.reason)


def _with_baseline(
    want: DesiredPf,
    baselines: Mapping[PciAddress, DesiredPf],
    owed: Mapping[PciAddress, tuple[VfBaseline, ...]],
    reloads: Collection[PciAddress],
) -> DesiredPf:
    want = replace(want, reload=want.address in reloads)
    baseline = baselines.get(want.address)
    if want.release or baseline is None or want.externally_managed:
        return want
    return replace(
        want,
        first_name=baseline.name,
        drivers_autoprobe=baseline.drivers_autoprobe,
        vfs=owed.get(want.address, ()),
    )


def _plan_adapter(
    adapter: Adapter, wanted: Sequence[DesiredPf], platform: Platform, hooks: Callable[[Adapter], AdapterHooks]
) -> tuple[list[Step], list[Problem]]:
    problems: list[Problem] = []
    sound = []
    for want in wanted:
        pf = adapter.pf(want.address)
        found = check(adapter, pf, want) if pf else [missing(want)]
        problems += found
        if not any(problem.severity is Severity.ERROR and problem.field not in IN_FIRMWARE_FIELDS for problem in found):
            sound.append(want)
    if not sound:
        return [], problems
    bound = hooks(adapter)
    told = bound.validate(adapter, desired=DesiredAdapter(adapter.address, tuple(sound)), platform=platform)
    problems, aside = put_aside([*problems, *told])
    later = {problem.object for problem in problems if problem.reason == IN_FIRMWARE}
    refused = {problem.object for problem in problems if problem.severity is Severity.ERROR}
    labels = {pf.address: {pf.label, str(pf.address)} for pf in adapter.pfs}
    sound = [want for want in sound if not labels[want.address] & refused]
    if refused - set().union(*labels.values(), {str(want.address) for want in wanted}):
        sound = []  # about the adapter as a whole
    if not sound:
        return [], [*problems, *aside]
    firmware = bound.plan_firmware(adapter, desired=DesiredAdapter(adapter.address, tuple(sound)), platform=platform)
    waiting = [want for want in sound if labels[want.address] & later]
    targets = {step.target for step in firmware}
    unkept = {want.address for want in waiting if not targets & {str(want.address), adapter.address}}
    problems += [problem for problem in aside if any(problem.object in labels[address] for address in unkept)]
    desired = DesiredAdapter(adapter.address, tuple(want for want in sound if want not in waiting))
    planned = list(firmware)
    if desired.pfs:
        planned += host_files.plan_files(adapter, desired.pfs, platform)
        problems += host_files.problems_of(adapter, desired.pfs, platform)
        planned += bound.plan_functions(adapter, desired=desired, platform=platform)
        planned += bound.plan_vfs(adapter, desired=desired, platform=platform, planned=tuple(planned))
    desired = DesiredAdapter(adapter.address, tuple(sound))
    _keep_to(adapter, desired, planned)
    unmet = _unmet(adapter, planned, platform)
    return [step for step in planned if step.target not in unmet], [*problems, *unmet.values()]


def _keep_to(adapter: Adapter, desired: DesiredAdapter, planned: Sequence[Step]) -> None:
    """A plugin plans for the PFs it was asked for, and nothing else."""
    allowed = {str(want.address) for want in desired.pfs} | {adapter.address}
    for step in planned:
        if step.target not in allowed:
            raise ContractViolation(
                f"plugin {adapter.owner}: planned {step.op} for {step.target}, which it was not asked for "
                f"(adapter {adapter.address})",
                plugin=adapter.owner or "",
            )


def _unmet(adapter: Adapter, planned: Sequence[Step], platform: Platform) -> dict[str, Problem]:
    """By target of the steps: what they need of the node, and cannot have there."""
    labels = {str(pf.address): pf.label for pf in adapter.pfs}
    found: dict[str, Problem] = {}
    for step in planned:
        label = labels.get(step.target, step.target)
        for need in step.needs:
            if need.kind is NeedKind.IOMMU and not platform.iommu:
                found.setdefault(step.target, _no_iommu(label))
            elif need.kind is NeedKind.MODULE and need.value.replace("-", "_") in platform.missing_modules:
                found.setdefault(step.target, _no_module(label, need.value, step))
    return found


def _no_iommu(label: str) -> Problem:
    return Problem(
        object=label,
        field="deviceType",
        message="vfio-pci wanted, and the IOMMU is off (the kernel shows no IOMMU groups)",
        hint="switch the IOMMU (VT-d, AMD-Vi) on in the BIOS and boot with intel_iommu=on or amd_iommu=on",
        reason=KernelRefused.reason,
    )


def _no_module(label: str, module: str, step: Step) -> Problem:
    return Problem(
        object=label,
        message=f"{step.why}: that takes kernel module {module}, and this kernel has none of that name",
        hint="install the package that has it (linux-modules-extra, kernel-modules-extra, the card's drivers)",
        reason=UnsupportedSetting.reason,
    )


def _node_steps(planned: Sequence[Step], platform: Platform) -> list[Step]:
    """One step for each thing the adapters' steps need of the node and it does not have."""
    needed: dict[str, str] = {}
    for step in planned:
        for need in step.needs:
            if need.kind is NeedKind.MODULE and need.value.replace("-", "_") not in platform.modules:
                needed.setdefault(need.value, f"needed by {step.op} on {step.target}, and not loaded")
    return [steps.load_module(name, why=why) for name, why in needed.items()]
