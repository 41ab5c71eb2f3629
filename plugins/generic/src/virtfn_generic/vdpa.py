"""vDPA devices on VFs: steps from what is there to what the VF's group wants, and what stands in the way.

A device stands on a VF that is on its network driver, in switchdev mode, and goes when the VF loses that driver. Only
a device that is named as virtfn names its own is ever removed; one of another name is bound to the wanted driver where
a vDPA device is wanted, as a VF can have only one.
"""

from __future__ import annotations

from virtfn.model import Adapter, DesiredPf, DeviceType, EswitchMode, Pf, Problem, Step, Vf, VfBaseline, VfGroup, steps
from virtfn.model.inventory import VDPA_DRIVERS, VdpaDevice, vdpa_name


def plan_group_vdpa(pf: Pf, index: int, vf: Vf | None, group: VfGroup, *, rebound: bool, module: str) -> list[Step]:
    """Steps for one VF of a group, after its driver and MTU.

    :param rebound: the VF gets its driver in this plan, so that a device it has now is gone by then.
    :param module: kernel module that the VF's driver needs for vDPA.
    """
    seen = None if vf is None or rebound else vf.vdpa
    if group.vdpa_type is None:
        if vf is None or seen is None or seen.name != vdpa_name(vf.address):
            return []
        return [steps.remove_vdpa(pf, vf, why=f"no vDPA wanted{group.for_resource}, {seen.driver or 'a device'} seen")]
    why = f"vDPA of type {group.vdpa_type} wanted{group.for_resource}"
    return _have(pf, index, None if rebound else vf, seen, VDPA_DRIVERS[group.vdpa_type], why=why, module=module)


def plan_release_vdpa(
    pf: Pf, index: int, vf: Vf | None, was: VfBaseline, *, rebound: bool, module: str, why: str
) -> list[Step]:
    """Back to the vDPA device that was there before the first touch, or to none."""
    seen = None if vf is None or rebound else vf.vdpa
    if was.vdpa_name is None:
        ours = vf is not None and seen is not None and seen.name == vdpa_name(vf.address)
        return [steps.remove_vdpa(pf, vf, why=why)] if ours and vf is not None else []
    before = None if rebound else vf
    return _have(pf, index, before, seen, was.vdpa_driver, why=why, module=module, name=was.vdpa_name)


def _have(
    pf: Pf,
    index: int,
    vf: Vf | None,
    seen: VdpaDevice | None,
    driver: str | None,
    *,
    why: str,
    module: str,
    name: str | None = None,
) -> list[Step]:
    """A device on that driver. `vf` is the VF if it has a driver when the steps run: it is not to lose it unsaid."""
    lost = vf if vf is not None and vf.driver is not None else None
    if seen is None:
        named = None if vf is not None and name == vdpa_name(vf.address) else name
        add = steps.add_vdpa(pf, index, module=module, lost=lost, name=named, why=f"{why}, none seen")
        # a new device is on whichever driver the kernel tries first
        return [add, steps.bind_vdpa(pf, index, driver, lost=lost, why=why)]
    if seen.driver == driver:
        return []
    return [steps.bind_vdpa(pf, index, driver, lost=lost, why=f"{why}, {seen.driver or 'no driver'} seen")]


def vdpa_problems(adapter: Adapter, pf: Pf, want: DesiredPf) -> list[Problem]:
    """What is in the way of the vDPA devices that are wanted, as far as the kernel and the device table show it."""
    return [
        Problem(
            object=pf.label,
            field=f"vfGroups[{index}].vdpaType",
            message=f"vDPA of type {group.vdpa_type} wanted, {wrong[0]}",
            hint=wrong[1],
            reason="UnsupportedSetting",
        )
        for index, group in enumerate(want.groups)
        if group.vdpa_type is not None and (wrong := _wrong(adapter, pf, want, group))
    ]


def _wrong(adapter: Adapter, pf: Pf, want: DesiredPf, group: VfGroup) -> tuple[str, str] | None:
    if group.vdpa_type not in VDPA_DRIVERS:
        return "and there is no such type", f"use {' or '.join(VDPA_DRIVERS)}"
    if group.device_type is not DeviceType.NETDEVICE:
        return f"and {group.device_type} takes the VF from the driver that makes it", "set deviceType netdevice"
    mode = pf.eswitch_mode if want.externally_managed else want.eswitch_mode
    if mode is not EswitchMode.SWITCHDEV:
        return f"and the eswitch is to be in {mode or EswitchMode.LEGACY} mode", "set eSwitchMode switchdev"
    if adapter.vdpa_module or any(vf.makes_vdpa or vf.vdpa for vf in pf.vfs):
        return None
    return (
        f"and driver {pf.driver or '(none)'} is not known to make vDPA devices on this card",
        "leave vdpaType out; if the card can, make the VFs without it and load the vDPA module of their driver: once "
        "`vdpa mgmtdev show` lists them, it is taken",
    )
