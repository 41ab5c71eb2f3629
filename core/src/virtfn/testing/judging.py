"""The kit's own judgement, apart from any plugin's and from the planner's: what a request means on a machine.

Views are plain nested values by PCI address, made to be compared: what changes by itself from one creation of a VF to
the next (interface numbers, the kernel's names, random addresses) is not in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from virtfn.model import DesiredPf, DesiredState, DeviceType, EswitchMode, Inventory, LinkType, PciAddress, Pf, Vf
from virtfn.model.guids import is_set
from virtfn.model.inventory import UNSET_MAC

View = dict[str, dict[str, Any]]


def view_of(inventory: Inventory) -> View:
    """Everything of PFs and VFs that virtfn can change."""
    view: View = {}
    for pf in inventory.pfs():
        view[str(pf.address)] = _pf(pf)
        for vf in pf.vfs:
            view[str(vf.address)] = _vf(vf, physfn=pf.address)
    return view


def _pf(pf: Pf) -> dict[str, Any]:
    return {
        "id": str(pf.id),
        "driver": pf.driver,
        "netdev": pf.netdev.name if pf.netdev else None,
        "mac": pf.netdev.mac if pf.netdev else None,
        "mtu": pf.netdev.mtu if pf.netdev else None,
        "up": pf.netdev.up if pf.netdev else None,
        "total_vfs": pf.total_vfs,
        "num_vfs": pf.num_vfs,
        "drivers_autoprobe": pf.drivers_autoprobe,
        "eswitch_mode": pf.eswitch_mode,
        "tc_offload": pf.netdev.tc_offload if pf.netdev else None,
        "inline_mode": pf.inline_mode,
        "params": dict(pf.params),
    }


def _vf(vf: Vf, *, physfn: PciAddress) -> dict[str, Any]:
    settings = asdict(vf.settings) if vf.settings else {}
    if "mac" in settings:
        settings["mac"] = "unset" if settings["mac"] in (None, UNSET_MAC) else "set"
    return {
        "physfn": str(physfn),
        "index": vf.index,
        "driver": vf.driver,
        "driver_override": vf.driver_override,
        "netdev": vf.netdev is not None,
        "mtu": vf.netdev.mtu if vf.netdev else None,
        "representor": vf.representor is not None,
        "settings": settings,
        "vdpa": (vf.vdpa.name, vf.vdpa.driver) if vf.vdpa is not None else None,
    }


def differences(
    wanted: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Mapping[str, Any]], *, leaving_out: Iterable[str] = ()
) -> list[str]:
    """Where two views differ, in words; empty: they are equal.

    :param leaving_out: addresses that are not compared.
    """
    found = []
    for address in sorted({*wanted, *seen} - set(leaving_out)):
        if address not in seen:
            found.append(f"{address} is gone")
        elif address not in wanted:
            found.append(f"{address} is new")
        else:
            old, new = wanted[address], seen[address]
            found += [
                f"{address}: {key} is {new.get(key)!r}, and should be {old.get(key)!r}"
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
    return found


def of_adapter(view: View, addresses: Iterable[PciAddress]) -> frozenset[str]:
    """The PFs and their VFs, as a view names them."""
    pfs = {str(address) for address in addresses}
    return frozenset(name for name, facts in view.items() if name in pfs or facts.get("physfn") in pfs)


# --- requests ---------------------------------------------------------------------------------------------------------


def unmet(before: Inventory, desired: DesiredState, seen: Inventory) -> list[str]:
    """What of a request does not hold on the machine, in words; empty: all of it does.

    :param before: the machine when it was asked, for what is not to change.
    """
    found = []
    for want in desired.pfs:
        pf, was = seen.pf(want.address), before.pf(want.address)
        if pf is None or was is None:
            found.append(f"{want.address}: is gone")
            continue
        if not want.externally_managed:
            found += [f"{want.address}: {text}" for text in _unmet_pf(was, want, pf)]
        for vf in pf.vfs:
            found += [f"VF {vf.index} of {want.address}: {text}" for text in _unmet_vf(was, want, pf, vf)]
    return found


def _unmet_pf(was: Pf, want: DesiredPf, pf: Pf) -> list[str]:
    found = []
    if pf.num_vfs != want.num_vfs:
        found.append(f"{want.num_vfs} VFs wanted, {pf.num_vfs} are there")
    mode = want.eswitch_mode or EswitchMode.LEGACY
    if pf.eswitch_mode not in (None, mode):
        found.append(f"eswitch mode {mode} wanted, it is in {pf.eswitch_mode}")
    if mode is EswitchMode.SWITCHDEV and pf.netdev is not None and pf.netdev.tc_offload is False:
        found.append("hw-tc-offload is off in switchdev mode")
    if was.netdev is not None and pf.netdev is None:
        found.append("its netdev is gone")
    if was.netdev is not None and pf.netdev is not None:
        mtu = max(want.mtu or 0, was.netdev.mtu)
        if pf.netdev.mtu != mtu:
            found.append(f"MTU {want.mtu or 'as it was'} wanted, it was {was.netdev.mtu} and is {pf.netdev.mtu}")
        if want.link_up and not pf.netdev.up:
            found.append("link up wanted, it is down")
    if pf.drivers_autoprobe is not was.drivers_autoprobe:
        found.append(f"sriov_drivers_autoprobe was {was.drivers_autoprobe}, and is {pf.drivers_autoprobe}")
    return found


def _unmet_vf(was: Pf, want: DesiredPf, pf: Pf, vf: Vf) -> list[str]:
    found = []
    if vf.driver_override is not None:
        found.append(f"driver_override {vf.driver_override} was left behind")
    group = want.group_of(vf.index)
    if group is None:
        old = was.vf(vf.index)
        if old is not None and was.num_vfs == pf.num_vfs and was.eswitch_mode is pf.eswitch_mode:
            if old.driver != vf.driver:
                found.append(f"is in no group, was on {old.driver}, and is on {vf.driver}")
        elif vf.driver is None and (old is None or old.driver is not None or was.num_vfs != pf.num_vfs):
            found.append("is in no group, is new or was on a driver, and has none")
        return found
    if group.device_type is DeviceType.VFIO_PCI:
        if vf.driver != DeviceType.VFIO_PCI:
            found.append(f"vfio-pci wanted, it is on {vf.driver}")
        return found
    if vf.driver is None or vf.in_userspace:
        found.append(f"a network driver wanted, it is on {vf.driver}")
    elif vf.netdev is None:
        found.append(f"a netdev wanted, driver {vf.driver} shows none")
    elif group.mtu is not None and vf.netdev.mtu != group.mtu:
        found.append(f"MTU {group.mtu} wanted, it is {vf.netdev.mtu}")
    vdpa = vf.vdpa.type if vf.vdpa is not None else None
    if vdpa != group.vdpa_type:
        found.append(f"vDPA of type {group.vdpa_type} wanted, it is {vdpa}")
    return [*found, *_unmet_rdma(pf, vf, wanted=group.is_rdma)]


def _unmet_rdma(pf: Pf, vf: Vf, *, wanted: bool) -> list[str]:
    """On InfiniBand every VF of a group needs a GUID that its driver knows of, elsewhere those with RDMA."""
    infiniband = pf.netdev is not None and pf.netdev.link_type is LinkType.IB
    if wanted and pf.rdma is not None and vf.rdma is None:
        return ["RDMA wanted, it has no RDMA device"]
    if (wanted or infiniband) and vf.rdma is not None and not is_set(vf.rdma.node_guid):
        return [f"a GUID wanted, that of its RDMA device is {vf.rdma.node_guid}"]
    return []


# --- words ------------------------------------------------------------------------------------------------------------


def tell(desired: DesiredState) -> str:
    """A request in one line."""
    return "; ".join(_tell(want) for want in desired.pfs) or "nothing"


def _tell(want: DesiredPf) -> str:
    words = [f"{want.num_vfs} VFs"]
    words += ["given back"] if want.release else []
    words += ["externally managed"] if want.externally_managed else []
    words += [want.eswitch_mode.value] if want.eswitch_mode else []
    words += [f"MTU {want.mtu}"] if want.mtu is not None else []
    for group in want.groups:
        mtu = f" MTU {group.mtu}" if group.mtu is not None else ""
        vdpa = f" vDPA {group.vdpa_type}" if group.vdpa_type is not None else ""
        words.append(f"{group.vf_range} {group.device_type}{vdpa}{mtu}")
    return f"{want.address}: {', '.join(words)}"
