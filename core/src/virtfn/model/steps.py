"""The standard steps, made so that disruption, affected VFs and needs are always told the same way.

Plan hooks use these constructors; nobody writes `Step(op="sriov...")` by hand. The operations themselves are done by
core (`virtfn.performing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from virtfn.model.bridge_steps import BRIDGE_OPS, describe_bridge_step
from virtfn.model.inventory import DeviceType, EswitchMode, ParamMode, ParamValue, Pf, Vf
from virtfn.model.plan import Disruption, Need, NeedKind, Step

LOAD_MODULE = "host.load_module"
SET_NUM_VFS = "sriov.set_numvfs"
SET_AUTOPROBE = "sriov.set_autoprobe"
SET_ESWITCH_MODE = "eswitch.set_mode"
SET_LINK = "link.set"
SET_VF = "vf.set"
BIND_DRIVER = "driver.bind"
UNBIND_DRIVER = "driver.unbind"
ADD_VDPA = "vdpa.add"
BIND_VDPA = "vdpa.bind"
REMOVE_VDPA = "vdpa.remove"
SET_PARAM = "devlink.set_param"
RELOAD = "devlink.reload"
SET_INLINE_MODE = "eswitch.set_inline_mode"
NAME_REPRESENTORS = "eswitch.name_representors"
SET_OFFLOAD = "link.set_offload"
WRITE_FILE = "host.write_file"
REMOVE_FILE = "host.remove_file"
RELOAD_UDEV = "udev.reload"
SET_RDMA_MODE = "rdma.set_netns_mode"

STANDARD_OPS = frozenset(
    {
        LOAD_MODULE,
        SET_NUM_VFS,
        SET_AUTOPROBE,
        SET_ESWITCH_MODE,
        SET_LINK,
        SET_VF,
        BIND_DRIVER,
        UNBIND_DRIVER,
        ADD_VDPA,
        BIND_VDPA,
        REMOVE_VDPA,
        *BRIDGE_OPS,
        SET_PARAM,
        RELOAD,
        SET_INLINE_MODE,
        NAME_REPRESENTORS,
        SET_OFFLOAD,
        WRITE_FILE,
        REMOVE_FILE,
        RELOAD_UDEV,
        SET_RDMA_MODE,
    }
)
"""Operations that core performs. Any other op belongs to the plugin whose name stands before its dot."""

NODE = "node"
"""Target of steps that concern no single device."""

VFIO_NEEDS = (Need(NeedKind.IOMMU), Need(NeedKind.MODULE, "vfio-pci"))


def load_module(name: str, *, why: str, pf: Pf | None = None, optional: bool = False) -> Step:
    """`modprobe name`.

    :param pf: the PF that it is for; None: for the node.
    :param optional: it is good to have, no more: skip when it cannot be loaded.
    """
    target = NODE if pf is None else str(pf.address)
    return Step(op=LOAD_MODULE, target=target, args={"module": name}, why=why, optional=optional)


def set_num_vfs(pf: Pf, count: int, *, why: str, existing: Sequence[Vf] | None = None, probe: bool = False) -> Step:
    """Make `count` VFs on the PF, through 0 if there are others.

    :param existing: VFs that exist when the step runs, if an earlier step changed them; default: those observed.
    :param probe: whether the kernel binds the new VFs to a driver by itself.
    """
    lost = tuple(vf.address for vf in (pf.vfs if existing is None else existing))
    harmless = Disruption.REFRESH if count else Disruption.NONE
    disruption = Disruption.PF if lost else harmless
    args: dict[str, Any] = {"count": count}
    if count:
        args["probe"] = probe
    return Step(op=SET_NUM_VFS, target=str(pf.address), args=args, disruption=disruption, affects=lost, why=why)


def set_drivers_autoprobe(pf: Pf, enabled: bool, *, why: str) -> Step:
    """`sriov_drivers_autoprobe`; concerns VFs made later only."""
    return Step(op=SET_AUTOPROBE, target=str(pf.address), args={"enabled": enabled}, why=why)


def set_eswitch_mode(pf: Pf, mode: EswitchMode, *, why: str, existing: Sequence[Vf] | None = None) -> Step:
    """Switch the PF's eswitch; takes the traffic of every VF that exists when it runs."""
    lost = tuple(vf.address for vf in (pf.vfs if existing is None else existing))
    return Step(
        op=SET_ESWITCH_MODE,
        target=str(pf.address),
        args={"mode": mode.value},
        disruption=Disruption.PF if lost else Disruption.NONE,
        affects=lost,
        why=why,
    )


def set_link(pf: Pf, *, why: str, mtu: int | None = None, up: bool | None = None) -> Step:
    """MTU (bytes) and administrative state of the PF's netdev. Taking a link down takes its VFs' traffic."""
    args: dict[str, Any] = {}
    if mtu is not None:
        args["mtu"] = mtu
    if up is not None:
        args["up"] = up
    lost = tuple(vf.address for vf in pf.vfs) if up is False else ()
    return Step(
        op=SET_LINK,
        target=str(pf.address),
        args=args,
        disruption=Disruption.PF if lost else Disruption.NONE,
        affects=lost,
        why=why,
    )


def set_vf_link(pf: Pf, index: int, *, mtu: int, why: str) -> Step:
    """MTU (bytes) of the VF's own netdev."""
    return Step(op=SET_LINK, target=str(pf.address), args={"vf": index, "mtu": mtu}, why=why)


def set_vf(pf: Pf, index: int, *, why: str, optional: bool = False, **settings: Any) -> Step:
    """Administrative settings of a VF, by the names of `VfSettings`' fields."""
    return Step(op=SET_VF, target=str(pf.address), args={"vf": index, **settings}, why=why, optional=optional)


def bind_driver(
    pf: Pf, index: int, driver: str | None, *, why: str, lost: Vf | None = None, optional: bool = False
) -> Step:
    """Bind a VF to a driver (None: the kernel's default one).

    :param lost: the VF, if it exists and has a driver now: it loses its traffic.
    :param optional: skip when no default driver takes the VF.
    """
    args: dict[str, Any] = {"vf": index, "driver": driver}
    return Step(
        op=BIND_DRIVER,
        target=str(pf.address),
        args=args,
        disruption=Disruption.VFS if lost else Disruption.NONE,
        affects=(lost.address,) if lost else (),
        needs=VFIO_NEEDS if driver == DeviceType.VFIO_PCI else (),
        why=why,
        optional=optional,
    )


def unbind_driver(pf: Pf, vf: Vf, *, why: str) -> Step:
    """Take a VF from its driver."""
    return Step(
        op=UNBIND_DRIVER,
        target=str(pf.address),
        args={"vf": vf.index},
        disruption=Disruption.VFS,
        affects=(vf.address,),
        why=why,
    )


def add_vdpa(
    pf: Pf, index: int, *, why: str, module: str = "", lost: Vf | None = None, name: str | None = None
) -> Step:
    """Make a vDPA device on a VF that is on its network driver.

    :param module: kernel module that it needs, of the VF's driver.
    :param lost: the VF, if it exists and has a driver now: the vDPA device gets its traffic.
    :param name: of the device, where it is to have another name than its VF's.
    """
    return _vdpa_step(
        ADD_VDPA,
        pf,
        {"vf": index} if name is None else {"vf": index, "name": name},
        why=why,
        lost=lost,
        needs=(Need(NeedKind.MODULE, module),) if module else (),
    )


def bind_vdpa(pf: Pf, index: int, driver: str | None, *, why: str, lost: Vf | None = None) -> Step:
    """Bind a VF's vDPA device to virtio_vdpa or vhost_vdpa (None: to none); `lost` as in `bind_driver`."""
    needs = (Need(NeedKind.MODULE, driver),) if driver is not None else ()
    return _vdpa_step(BIND_VDPA, pf, {"vf": index, "driver": driver}, why=why, lost=lost, needs=needs)


def remove_vdpa(pf: Pf, vf: Vf, *, why: str) -> Step:
    """Remove the vDPA device that virtfn made on a VF."""
    return _vdpa_step(REMOVE_VDPA, pf, {"vf": vf.index}, why=why, lost=vf)


def _vdpa_step(
    op: str, pf: Pf, args: dict[str, Any], *, why: str, lost: Vf | None, needs: tuple[Need, ...] = ()
) -> Step:
    return Step(
        op=op,
        target=str(pf.address),
        args=args,
        disruption=Disruption.VFS if lost else Disruption.NONE,
        affects=(lost.address,) if lost else (),
        needs=needs,
        why=why,
    )


# --- what a PF can do besides making VFs, and files about it ---------------------------------------------------------


def set_devlink_param(
    pf: Pf,
    name: str,
    value: ParamValue,
    *,
    mode: ParamMode,
    why: str,
    disruption: Disruption = Disruption.NONE,
    optional: bool = False,
) -> Step:
    """A devlink parameter of the PF.

    :param mode: when it takes effect; if not `PERMANENT`, as the device table has it.
    :param disruption: what has to happen for it to take effect.
    """
    args = {"name": name, "value": value, "mode": str(mode)}
    return Step(op=SET_PARAM, target=str(pf.address), args=args, disruption=disruption, why=why, optional=optional)


def reload_driver(pf: Pf, *, why: str) -> Step:
    """Have the driver take the PF anew, which brings parameters of the mode `driverinit` into force.

    The PF's VFs have to be gone by then. Its netdev is another one afterwards, with the MTU that the driver begins with
    and down, and its eswitch is in legacy mode.
    """
    return Step(op=RELOAD, target=str(pf.address), disruption=Disruption.PF, why=why)


def set_inline_mode(pf: Pf, mode: str, *, why: str) -> Step:
    """The eswitch's inline mode: VFs learn of it when their driver takes them. Not every card has more than one."""
    return Step(op=SET_INLINE_MODE, target=str(pf.address), args={"mode": mode}, why=why, optional=True)


def set_offload(pf: Pf, enabled: bool, *, why: str) -> Step:
    """hw-tc-offload of the PF's netdev. Not every driver has it."""
    return Step(op=SET_OFFLOAD, target=str(pf.address), args={"enabled": enabled}, why=why, optional=True)


def name_representors(pf: Pf, names: Mapping[int, str], *, why: str) -> Step:
    """Names of the representors of the VFs that are to be there, by VF index, once they have come."""
    args = {"names": {str(index): name for index, name in sorted(names.items())}}
    return Step(op=NAME_REPRESENTORS, target=str(pf.address), args=args, why=why, optional=True)


def write_file(
    target: str, path: str, text: str, *, why: str, mode: int = 0o644, disruption: Disruption = Disruption.NONE
) -> Step:
    """A file of virtfn's own.

    :param target: the PF that it is about, or `NODE`.
    :param disruption: what has to happen for it to take effect.
    """
    args = {"path": path, "text": text, "mode": mode}
    return Step(op=WRITE_FILE, target=target, args=args, disruption=disruption, why=why)


def remove_file(target: str, path: str, *, why: str) -> Step:
    """Take a file of virtfn's own away."""
    return Step(op=REMOVE_FILE, target=target, args={"path": path}, why=why)


def reload_udev(pf: Pf, *, why: str) -> Step:
    """Have udev read its rules anew, and look at the PF's VFs and representors that are there by them."""
    return Step(op=RELOAD_UDEV, target=str(pf.address), why=why, optional=True)


def set_rdma_mode(mode: str, *, why: str) -> Step:
    """The node's RDMA mode, now. The kernel takes it only without other network namespaces, so no pod loses by it."""
    return Step(op=SET_RDMA_MODE, target=NODE, args={"mode": mode}, why=why)


# --- reading steps that were planned before ------------------------------------------------------------------------


def creates_vfs(steps: Iterable[Step], pf: Pf) -> bool:
    """Whether one of the steps makes the PF's VFs anew, so that none of the observed ones remains as it is."""
    return any(step.op == SET_NUM_VFS and step.target == str(pf.address) for step in steps)


def unbound_vfs(steps: Iterable[Step], pf: Pf) -> frozenset[int]:
    """Indices of the VFs that the steps take from their driver."""
    return frozenset(step.args["vf"] for step in steps if step.op == UNBIND_DRIVER and step.target == str(pf.address))


# --- for people -----------------------------------------------------------------------------------------------------


_DESCRIBED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    SET_PARAM: lambda args: f"devlink parameter {args['name']} {args['value']} ({args['mode']})",
    RELOAD: lambda _: "have its driver take it anew",
    SET_INLINE_MODE: lambda args: f"inline mode {args['mode']}",
    SET_OFFLOAD: lambda args: f"hw-tc-offload {'on' if args['enabled'] else 'off'}",
    NAME_REPRESENTORS: lambda args: f"name representors {', '.join(args['names'].values())}",
    WRITE_FILE: lambda args: f"write {args['path']}",
    REMOVE_FILE: lambda args: f"remove {args['path']}",
    RELOAD_UDEV: lambda _: "have udev read its rules anew",
    SET_RDMA_MODE: lambda args: f"RDMA mode {args['mode']}",
}


def describe(step: Step) -> str:
    """The step in a few words: `VF 4: bind to vfio-pci`."""
    args = step.args
    if step.op in BRIDGE_OPS:
        return describe_bridge_step(step)
    vf = f"VF {args['vf']}: " if "vf" in args else ""
    if step.op == LOAD_MODULE:
        return f"load module {args['module']}"
    if step.op == SET_NUM_VFS:
        return f"make {args['count']} VFs" if args["count"] else "remove all VFs"
    if step.op == SET_AUTOPROBE:
        return f"driver autoprobe {'on' if args['enabled'] else 'off'}"
    if step.op == SET_ESWITCH_MODE:
        return f"eswitch mode {args['mode']}"
    if step.op == BIND_DRIVER:
        return f"{vf}bind to {args['driver'] or 'its network driver'}"
    if step.op == UNBIND_DRIVER:
        return f"{vf}unbind from its driver"
    if step.op == ADD_VDPA:
        return f"{vf}make vDPA device {args.get('name') or ''}".rstrip()
    if step.op == BIND_VDPA:
        return f"{vf}bind vDPA device to {args['driver'] or 'no driver'}"
    if step.op == REMOVE_VDPA:
        return f"{vf}remove vDPA device"
    if step.op in _DESCRIBED:
        return _DESCRIBED[step.op](args)
    words = []
    if step.op == SET_LINK:
        words += [f"MTU {args['mtu']}"] if args.get("mtu") is not None else []
        words += [f"link {'up' if args['up'] else 'down'}"] if args.get("up") is not None else []
        return vf + ", ".join(words)
    words = [f"{name} {value}" for name, value in args.items() if name != "vf"]
    return (vf if step.op == SET_VF else f"{step.op} ") + ", ".join(words)
