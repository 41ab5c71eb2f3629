"""The VFs: administrative MAC, driver and MTU, one VF after the other. A VF that is as wanted gets no step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from virtfn.model import DesiredPf, DeviceType, LinkType, Pf, Step, Vf, VfBaseline, VfGroup, steps
from virtfn.model.inventory import UNSET_MAC, USERSPACE_DRIVERS
from virtfn_generic.vdpa import plan_group_vdpa, plan_release_vdpa

_OVERRIDDEN = "with a driver_override that keeps other drivers away"


def derived_mac(pf: Pf, index: int) -> str | None:
    """A MAC for a VF that has none: locally administered, the same after every reboot, from the PF's own and the index.

    None when the PF has no Ethernet address to derive it from.
    """
    if pf.netdev is None or pf.netdev.link_type is not LinkType.ETH:
        return None
    seed = f"{pf.netdev.permanent_mac or pf.netdev.mac}/{index}".encode()
    octets = bytearray(hashlib.sha256(seed).digest()[:6])
    octets[0] = (octets[0] | 0x02) & 0xFE  # locally administered, not multicast
    return ":".join(f"{octet:02x}" for octet in octets)


def plan_vfs_of(pf: Pf, want: DesiredPf, planned: Sequence[Step], *, vdpa_module: str = "") -> list[Step]:
    """All VF steps of one PF.

    :param planned: steps that come before: they may make the VFs anew or take some from their driver.
    :param vdpa_module: kernel module that the VFs' driver needs for vDPA.
    """
    anew = steps.creates_vfs(planned, pf)
    unbound = steps.unbound_vfs(planned, pf)
    found: list[Step] = []
    for index in range(want.num_vfs):
        vf = None if anew else pf.vf(index)
        if vf is None and want.externally_managed:
            continue  # somebody else will make it
        taken = index in unbound
        was = next((baseline for baseline in want.vfs if baseline.index == index), None)
        if want.release:
            found += _plan_release(pf, index, vf, was, taken=taken, vdpa_module=vdpa_module)
        elif group := want.group_of(index):
            found += _plan_group(pf, index, vf, group, taken=taken, vdpa_module=vdpa_module)
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


def _plan_group(pf: Pf, index: int, vf: Vf | None, group: VfGroup, *, taken: bool, vdpa_module: str) -> list[Step]:
    driver = None if vf is None or taken else vf.driver
    userspace = group.device_type is DeviceType.VFIO_PCI
    found: list[Step] = []
    bind = driver != DeviceType.VFIO_PCI if userspace else driver is None or driver in USERSPACE_DRIVERS
    if bind:
        seen = driver or ("new VF" if vf is None else "no driver")
        wanted = "vfio-pci" if userspace else "the network driver"
        found += _keep_mac(pf, index, vf)
        found.append(
            steps.bind_driver(
                pf,
                index,
                DeviceType.VFIO_PCI.value if userspace else None,
                lost=vf if driver is not None else None,
                why=f"{wanted} wanted{_for(group)}, {seen} seen",
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
                steps.set_vf_link(pf, index, mtu=group.mtu, why=f"MTU {group.mtu} wanted{_for(group)}, {seen} seen")
            )
    if not userspace:
        found += plan_group_vdpa(pf, index, vf, group, rebound=bind, module=vdpa_module)
    return found


def _for(group: VfGroup) -> str:
    return f" for {group.resource_name}" if group.resource_name else ""


def _keep_mac(pf: Pf, index: int, vf: Vf | None) -> list[Step]:
    """An administrative MAC before the driver changes, so that the VF has the same one on every driver."""
    if pf.netdev is None or pf.netdev.link_type is not LinkType.ETH:
        return []
    if vf is not None and vf.settings is not None and vf.settings.mac not in (None, UNSET_MAC):
        return []
    if vf is not None and vf.netdev is not None:
        mac, why = vf.netdev.mac, "the VF keeps its MAC whatever driver it is on"
    else:
        derived = derived_mac(pf, index)
        if derived is None:
            return []
        mac, why = derived, "the VF gets a MAC that stays the same over drivers and reboots"
    return [steps.set_vf(pf, index, mac=mac, optional=True, why=why)]


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
