"""RDMA devices of VFs: the modules they take, and why a PF or a VF has none.

Drivers of network cards make RDMA devices through a second module, which udev loads for the function's auxiliary
device; programs then want `ib_uverbs` and, to connect by address, `rdma_ucm`.
"""

from __future__ import annotations

from virtfn.model import Adapter, DesiredPf, DeviceType, Pf, Platform, Problem, Severity, Step, VfGroup, steps
from virtfn.model.rdma import PROGRAM_MODULES


def wants_rdma(group: VfGroup) -> bool:
    """Whether the group's VFs are to have RDMA devices; on vfio-pci whoever drives them sees to that himself."""
    return group.is_rdma and group.device_type is DeviceType.NETDEVICE


def module_steps(adapter: Adapter, pf: Pf, platform: Platform) -> list[Step]:
    """Steps for the modules that RDMA takes, but for those that are there. Where the core is built in, all are."""
    if platform.rdma.built_in:
        return []
    why = "RDMA wanted, and the module is not loaded"
    found = [steps.load_module(adapter.rdma_module, pf=pf, why=why)] if adapter.rdma_module else []
    found += [
        steps.load_module(name, pf=pf, why=why, optional=True)
        for name in PROGRAM_MODULES
        if name not in platform.missing_modules
    ]
    return [step for step in found if step.args["module"] not in platform.modules]


def rdma_problems(adapter: Adapter, pf: Pf, want: DesiredPf, platform: Platform) -> list[Problem]:
    """What is in the way of the RDMA devices that are wanted."""
    groups = [(place, group) for place, group in enumerate(want.groups) if wants_rdma(group)]
    if not groups or pf.driver is None or pf.netdev is None:
        return []
    field = f"vfGroups[{groups[0][0]}].isRdma"
    module = adapter.rdma_module
    if module in platform.missing_modules:
        return [_no_module(pf, field, module)]
    if pf.rdma is None:
        if module and module not in platform.modules and not platform.rdma.built_in:
            return []  # it is loaded first
        return [_no_device(pf, field, module)]
    without = [
        vf.index
        for vf in pf.vfs
        # without a netdev it is in a pod, and its RDMA device may be there too
        if vf.netdev is not None and vf.rdma is None and any(vf.index in group.vf_range for _, group in groups)
    ]
    if not without or (adapter.rdma_module and adapter.rdma_module not in platform.modules):
        return []
    return [
        Problem(
            object=pf.label,
            field=field,
            message=f"RDMA wanted, and VF {', '.join(map(str, without))} has no RDMA device here",
            hint="the kernel log says why its RDMA driver did not take it, if it is not in a pod",
            reason="UnsupportedSetting",
            severity=Severity.WARNING,
        )
    ]


def _no_module(pf: Pf, field: str, module: str) -> Problem:
    return Problem(
        object=pf.label,
        field=field,
        message=f"RDMA wanted, and this kernel has no module {module}, which makes RDMA devices of the card",
        hint="install the package that has it (linux-modules-extra, kernel-modules-extra), or leave isRdma out",
        reason="UnsupportedSetting",
    )


def _no_device(pf: Pf, field: str, module: str) -> Problem:
    if module:
        why = f"module {module} makes none of it"
        hint = f"see `devlink dev param show pci/{pf.address}` and the kernel log, or leave isRdma out"
    else:
        why = f"nothing here makes RDMA devices of what {pf.driver} drives"
        hint = "load its RDMA driver, if the card has one, or leave isRdma out"
    return Problem(
        object=pf.label,
        field=field,
        message=f"RDMA wanted, and the PF has no RDMA device ({why})",
        hint=hint,
        reason="UnsupportedSetting",
    )
