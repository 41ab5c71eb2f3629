"""The standard operations: what each does on a host. The ops' names and arguments are made in `virtfn.model.steps`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from virtfn.errors import CommandFailed, ContractViolation, HostError, KernelRefused, NotEffective, WaitTimeout
from virtfn.host.api import Host, ParamMode
from virtfn.model import EswitchMode, OutcomeStatus, PciAddress, Step, steps
from virtfn.performing.bridges import BRIDGE_ARGUMENTS, BRIDGE_OPERATIONS

Done = tuple[OutcomeStatus, str]
"""Done or skipped, and a detail for people."""

_DONE: Done = (OutcomeStatus.DONE, "")


def perform_standard(step: Step, host: Host) -> Done:
    """Do a standard step. Raises `HostError` or `RequestError` of what the machine refuses."""
    try:
        return _OPERATIONS[step.op](step, host)
    except KernelRefused as error:
        if step.optional and error.errno == errno.EOPNOTSUPP:
            return OutcomeStatus.SKIPPED, str(error)
        raise


def _function(step: Step, host: Host) -> PciAddress:
    """The VF named by the step, or its PF."""
    pf = PciAddress.parse(step.target)
    return host.vf_address(pf, step.args["vf"]) if "vf" in step.args else pf


def _load_module(step: Step, host: Host) -> Done:
    try:
        host.load_module(step.args["module"], device="" if step.target == steps.NODE else step.target)
    except (CommandFailed, NotEffective) as error:
        if step.optional:
            return OutcomeStatus.SKIPPED, str(error)
        raise
    return _DONE


def _set_num_vfs(step: Step, host: Host) -> Done:
    host.set_num_vfs(PciAddress.parse(step.target), step.args["count"], probe=step.args.get("probe", True))
    return _DONE


def _set_autoprobe(step: Step, host: Host) -> Done:
    host.set_drivers_autoprobe(PciAddress.parse(step.target), step.args["enabled"])
    return _DONE


def _set_eswitch_mode(step: Step, host: Host) -> Done:
    host.set_eswitch_mode(PciAddress.parse(step.target), EswitchMode(step.args["mode"]))
    return _DONE


def _set_link(step: Step, host: Host) -> Done:
    host.set_link(_function(step, host), mtu=step.args.get("mtu"), up=step.args.get("up"))
    return _DONE


def _set_vf(step: Step, host: Host) -> Done:
    settings = {name: value for name, value in step.args.items() if name != "vf"}
    host.set_vf(PciAddress.parse(step.target), step.args["vf"], settings)
    return _DONE


def _bind_driver(step: Step, host: Host) -> Done:
    function = _function(step, host)
    bound = host.bind_driver(function, step.args["driver"])
    if bound is not None:
        return OutcomeStatus.DONE, f"{function} is on {bound}"
    if step.optional:
        return OutcomeStatus.SKIPPED, f"{function}: no driver on this host takes it"
    raise NotEffective(
        f"{function}: no driver on this host takes it (load the VF driver's module: igbvf, ixgbevf, iavf, mlx5_core, "
        "bnxt_en ...)",
        device=str(function),
    )


def _unbind_driver(step: Step, host: Host) -> Done:
    host.unbind_driver(_function(step, host))
    return _DONE


def _add_vdpa(step: Step, host: Host) -> Done:
    host.add_vdpa(_function(step, host), name=step.args.get("name"))
    return _DONE


def _bind_vdpa(step: Step, host: Host) -> Done:
    host.bind_vdpa(_function(step, host), step.args["driver"])
    return _DONE


def _remove_vdpa(step: Step, host: Host) -> Done:
    host.remove_vdpa(_function(step, host))
    return _DONE


def _set_param(step: Step, host: Host) -> Done:
    args = step.args
    host.set_devlink_param(PciAddress.parse(step.target), args["name"], args["value"], mode=ParamMode(args["mode"]))
    return _DONE


def _reload(step: Step, host: Host) -> Done:
    host.reload_driver(PciAddress.parse(step.target))
    return _DONE


def _set_inline_mode(step: Step, host: Host) -> Done:
    host.set_inline_mode(PciAddress.parse(step.target), step.args["mode"])
    return _DONE


def _name_representors(step: Step, host: Host) -> Done:
    names = {int(index): name for index, name in step.args["names"].items()}
    try:
        kept = host.name_representors(PciAddress.parse(step.target), names)
    except WaitTimeout as error:
        if step.optional:
            return OutcomeStatus.SKIPPED, str(error)
        raise
    return OutcomeStatus.DONE, "; ".join(kept)


def _set_offload(step: Step, host: Host) -> Done:
    host.set_tc_offload(PciAddress.parse(step.target), bool(step.args["enabled"]))
    return _DONE


def _write_file(step: Step, host: Host) -> Done:
    host.write_file(step.args["path"], step.args["text"], mode=step.args.get("mode", 0o644))
    return _DONE


def _remove_file(step: Step, host: Host) -> Done:
    host.remove_file(step.args["path"])
    return _DONE


def _reload_udev(step: Step, host: Host) -> Done:
    try:
        host.reload_udev(PciAddress.parse(step.target))
    except HostError as error:
        if step.optional:
            return OutcomeStatus.SKIPPED, str(error)
        raise
    return _DONE


def _set_rdma_mode(step: Step, host: Host) -> Done:
    host.set_rdma_mode(step.args["mode"])
    return _DONE


_OPERATIONS: Mapping[str, Callable[[Step, Host], Done]] = {
    steps.LOAD_MODULE: _load_module,
    steps.SET_NUM_VFS: _set_num_vfs,
    steps.SET_AUTOPROBE: _set_autoprobe,
    steps.SET_ESWITCH_MODE: _set_eswitch_mode,
    steps.SET_LINK: _set_link,
    steps.SET_VF: _set_vf,
    steps.BIND_DRIVER: _bind_driver,
    steps.UNBIND_DRIVER: _unbind_driver,
    **BRIDGE_OPERATIONS,
    steps.ADD_VDPA: _add_vdpa,
    steps.BIND_VDPA: _bind_vdpa,
    steps.REMOVE_VDPA: _remove_vdpa,
    steps.SET_PARAM: _set_param,
    steps.RELOAD: _reload,
    steps.SET_INLINE_MODE: _set_inline_mode,
    steps.NAME_REPRESENTORS: _name_representors,
    steps.SET_OFFLOAD: _set_offload,
    steps.WRITE_FILE: _write_file,
    steps.REMOVE_FILE: _remove_file,
    steps.RELOAD_UDEV: _reload_udev,
    steps.SET_RDMA_MODE: _set_rdma_mode,
}


def check_args(step: Step) -> None:
    """Raises `ContractViolation` when a standard step lacks an argument: a plan can come from a file."""
    lacking = [name for name in _ARGUMENTS[step.op] if name not in step.args]
    if lacking:
        raise ContractViolation(f"{step.target}: {step.op} lacks {', '.join(lacking)}", plugin=step.op.split(".")[0])


_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    steps.LOAD_MODULE: ("module",),
    steps.SET_NUM_VFS: ("count",),
    steps.SET_AUTOPROBE: ("enabled",),
    steps.SET_ESWITCH_MODE: ("mode",),
    steps.SET_LINK: (),
    steps.SET_VF: ("vf",),
    steps.BIND_DRIVER: ("vf", "driver"),
    **BRIDGE_ARGUMENTS,
    steps.UNBIND_DRIVER: ("vf",),
    steps.ADD_VDPA: ("vf",),
    steps.BIND_VDPA: ("vf", "driver"),
    steps.REMOVE_VDPA: ("vf",),
    steps.SET_PARAM: ("name", "value", "mode"),
    steps.RELOAD: (),
    steps.SET_INLINE_MODE: ("mode",),
    steps.NAME_REPRESENTORS: ("names",),
    steps.SET_OFFLOAD: ("enabled",),
    steps.WRITE_FILE: ("path", "text"),
    steps.REMOVE_FILE: ("path",),
    steps.RELOAD_UDEV: (),
    steps.SET_RDMA_MODE: ("mode",),
}
