"""The VFs: administrative MAC, driver and MTU, one VF after the other. A VF that is as wanted gets no step."""

from __future__ import annotations

from collections.abc import Sequence

from virtfn.model import DesiredPf, DeviceType, LinkType, Pf, Step, Vf, VfBaseline, VfGroup, steps
from virtfn.model.guids import GuidPools
from virtfn.model.inventory import UNSET_MAC, USERSPACE_DRIVERS
from virtfn_generic.identity import (
    Identity,
    is_infiniband,
    keep_mac,
    plan_existing,
    plan_new,
    plan_release,
    stale_on_ethernet,
)
from virtfn_generic.rdma import wants_rdma
from virtfn_generic.vdpa import plan_group_vdpa, plan_release_vdpa

_OVERRIDDEN = "with a driver_override that keeps other drivers away"


def plan_vfs_of(
    pf: Pf,
    want: DesiredPf,
    planned: Sequence[Step],
    *,
    vdpa_module: str = "",
    rdma_modules: Sequence[Step] = (),
    pools: GuidPools | None = None,
) -> list[Step]:
    """All VF steps of one PF.

    :param planned: steps that come before: they may make the VFs anew or take some from their driver.
    :param vdpa_module: kernel module that the VFs' driver needs for vDPA.
    :param rdma_modules: steps for the kernel modules that RDMA takes.
    :param pools: the administrator's GUIDs.
    """
    anew = steps.creates_vfs(planned, pf)
    unbound = steps.unbound_vfs(planned, pf)
    found = list(rdma_modules) if any(wants_rdma(group) for group in want.groups) and not want.release else []
    for index in range(want.num_vfs):
        vf = None if anew else pf.vf(index)
        if vf is None and want.externally_managed:
            continue  # somebody else will make it
        taken = index in unbound
        was = next((baseline for baseline in want.vfs if baseline.index == index), None)
        if want.release:
            found += _plan_release(pf, index, vf, was, taken=taken, vdpa_module=vdpa_module)
        elif group := want.group_of(index):
            found += _plan_group(pf, index, vf, group, taken=taken, vdpa_module=vdpa_module, pools=pools)
        elif vf is None:
            found.append(
                steps.bind_driver(pf, index, None, optional=True, why="new VF in no group: left on its default driver")
            )
        elif taken:
            driver = vf.driver if vf.in_userspace else None
            found.append(steps.bind_driver(pf, index, driver, why=f"back to {vf.driver}, as before"))
        elif was is not None and (vf.driver is None or vf.driver_override is not None):
            why = "an apply that was cut off left it " + (_OVERRIDDEN if vf.driver else "without its driver")
            found.append(steps.bind_driver(pf, index, was.driver, optional=was.driver is None, why=why))
    return found


def _plan_group(
    pf: Pf, index: int, vf: Vf | None, group: VfGroup, *, taken: bool, vdpa_module: str, pools: GuidPools | None
) -> list[Step]:
    driver = None if vf is None or taken else vf.driver
    userspace = group.device_type is DeviceType.VFIO_PCI
    found: list[Step] = []
    if vf is not None and driver is not None and (driver == DeviceType.VFIO_PCI) is userspace:
        known = plan_existing(pf, vf, pools) if is_infiniband(pf) else Identity(stale=stale_on_ethernet(vf, group))
        found += known.settings
        if known.stale:
            found += [*keep_mac(pf, index, vf), steps.unbind_driver(pf, vf, why=known.stale)]
            driver = None
    bind = driver != DeviceType.VFIO_PCI if userspace else driver is None or driver in USERSPACE_DRIVERS
    if bind:
        seen = driver or ("new VF" if vf is None else "no driver")
        wanted = "vfio-pci" if userspace else "the network driver"
        settled = [step for step in found if step.op == steps.SET_VF]
        if not settled:
            found += plan_new(pf, index, vf, pools) if is_infiniband(pf) else keep_mac(pf, index, vf)
        found.append(
            steps.bind_driver(
                pf,
                index,
                DeviceType.VFIO_PCI.value if userspace else None,
                lost=vf if driver is not None else None,
                why=f"{wanted} wanted{group.for_resource}, {seen} seen",
            )
        )
    elif vf is not None and vf.driver_override is not None:
        named = driver if userspace else None
        found.append(steps.bind_driver(pf, index, named, why=f"on {driver} already, and {_OVERRIDDEN}"))
    if group.mtu is not None and not userspace:
        seen_mtu = vf.netdev.mtu if vf and vf.netdev and not bind else None
        # a bound VF without a netdev here is in a pod's network namespace: its MTU is not known, and not ours
        if bind or (seen_mtu is not None and seen_mtu != group.mtu):
            seen = "a new netdev" if seen_mtu is None else str(seen_mtu)
            found.append(
                steps.set_vf_link(
                    pf, index, mtu=group.mtu, why=f"MTU {group.mtu} wanted{group.for_resource}, {seen} seen"
                )
            )
    if not userspace:
        found += plan_group_vdpa(pf, index, vf, group, rebound=bind, module=vdpa_module)
    return found


def _plan_release(
    pf: Pf, index: int, vf: Vf | None, was: VfBaseline | None, *, taken: bool, vdpa_module: str
) -> list[Step]:
    """A VF that was there before virtfn first touched the PF goes back to the MAC, driver, MTU and vDPA it had."""
    if was is None:
        return []
    found: list[Step] = []
    why = f"VF {index} was so before virtfn touched the PF"
    mac = was.mac or UNSET_MAC
    now = UNSET_MAC if vf is None or vf.settings is None else vf.settings.mac or UNSET_MAC
    if pf.netdev is not None and pf.netdev.link_type is LinkType.ETH and mac != now:
        found.append(steps.set_vf(pf, index, mac=mac, optional=True, why=why))
    if is_infiniband(pf):
        found += plan_release(pf, index, vf, was, why=why)
    driver = None if vf is None or taken else vf.driver
    lost = vf if driver is not None else None
    if was.driver == driver:
        if vf is not None and vf.driver_override is not None and was.driver_override is None and driver is not None:
            named = driver if vf.in_userspace else None
            found.append(steps.bind_driver(pf, index, named, why=f"on {driver} already, and {_OVERRIDDEN}"))
        seen = vf.netdev.mtu if vf is not None and vf.netdev is not None else None
        if was.mtu is not None and seen is not None and seen != was.mtu:
            found.append(steps.set_vf_link(pf, index, mtu=was.mtu, why=why))
    elif was.driver is None:
        if vf is not None and not taken:
            found.append(steps.unbind_driver(pf, vf, why=why))
    elif was.driver in USERSPACE_DRIVERS:
        found.append(steps.bind_driver(pf, index, was.driver, lost=lost, why=why))
    elif driver is None or driver in USERSPACE_DRIVERS:
        found.append(steps.bind_driver(pf, index, None, lost=lost, why=why))
        if was.mtu is not None:
            found.append(steps.set_vf_link(pf, index, mtu=was.mtu, why=why))
    if was.driver is not None and was.driver not in USERSPACE_DRIVERS:
        rebound = driver is None or driver in USERSPACE_DRIVERS
        found += plan_release_vdpa(pf, index, vf, was, rebound=rebound, module=vdpa_module, why=why)
    return found
