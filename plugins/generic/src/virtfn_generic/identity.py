"""What a VF is known by before its driver takes it: an administrative MAC, or on InfiniBand its GUIDs.

A driver learns of either only when it takes the VF. So both are set before, and a VF that has its driver already and
works with no GUID is taken from it and given back: that costs its traffic, and is said. A VF that is in a pod (its
netdev is in another network namespace, and in the RDMA mode `exclusive` its RDMA device too) or in a VM is never
touched; what a CNI set there is the pod's.

An InfiniBand VF is made with its port's link held down. `auto` lets it follow the PF's port: the same field of the
VF's port in firmware that MLNX_OFED shows as the policy `Follow` (ib_virt.c of the kernel's mlx5_ib, sriov_sysfs.c of
OFED's mlx5_core). It is the PF's to keep, whatever driver takes the VF.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from virtfn.model import DesiredPf, LinkType, Pf, Step, Vf, VfBaseline, VfGroup, VfSettings, steps
from virtfn.model.guids import POOL_FILE, GuidPools, derived_guid, guid_of_address, is_set, normal_guid
from virtfn.model.inventory import UNSET_MAC

_FOLLOW = "auto"
_DOWN = "disable"
_UNSET = ":".join(["00"] * 8)


@dataclass(frozen=True, slots=True)
class Identity:
    """Steps for one VF."""

    settings: tuple[Step, ...] = ()
    """To be done before a driver takes it."""
    stale: str = ""
    """Why the driver that has it has to take it anew; empty: it need not."""


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


def keep_mac(pf: Pf, index: int, vf: Vf | None) -> list[Step]:
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


def is_infiniband(pf: Pf) -> bool:
    """Whether the PF's port is one, as far as it shows."""
    return pf.netdev is not None and pf.netdev.link_type is LinkType.IB


def stale_on_ethernet(vf: Vf | None, group: VfGroup) -> str:
    """Why the driver of a VF on Ethernet has to take it anew: its RDMA device gets a GUID from the MAC set before."""
    if vf is None or not group.is_rdma or vf.in_userspace or vf.rdma is None or vf.rdma.node_guid is None:
        return ""
    if is_set(vf.rdma.node_guid):
        return ""
    return "its RDMA device has no GUID: the driver took the VF before that had a MAC"


# --- InfiniBand -------------------------------------------------------------------------------------------------------


def wanted_guid(pf: Pf, index: int, pools: GuidPools | None) -> str | None:
    """The GUID of a VF: the administrator's, or one made of the PF's own and the index. None: there is neither."""
    if pf.netdev is None:
        return None
    if pools is not None:
        return next((pool.of(index) for pool in pools.of_pf(pf.address, pf.netdev.mac)), None)
    parent = _guid_of(pf)
    return derived_guid(parent, index) if parent is not None else None


def _guid_of(pf: Pf) -> str | None:
    """Of its port, or else of its RDMA device; None: it has none."""
    port = guid_of_address(pf.netdev.mac) if pf.netdev is not None else None
    device = normal_guid(pf.rdma.node_guid) if pf.rdma is not None else None
    return next((guid for guid in (port, device) if is_set(guid)), None)


def plan_new(pf: Pf, index: int, vf: Vf | None, pools: GuidPools | None) -> tuple[Step, ...]:
    """Before an InfiniBand VF gets a driver.

    :param vf: as it is, if it exists already.
    """
    guid = wanted_guid(pf, index, pools)
    now = vf.settings if vf is not None else None
    found = []
    if guid is not None and _lacks(now, guid, given=pools is not None):
        found.append(_set_guid(pf, index, guid, optional=True, given=pools is not None))
    if now is None or now.link_state in (None, _DOWN):
        found.append(_follow(pf, index))
    return tuple(found)


def plan_existing(pf: Pf, vf: Vf, pools: GuidPools | None) -> Identity:
    """An InfiniBand VF that stays on its driver. Kernels before 5.5 do not tell what its PF keeps, only its device."""
    settings = vf.settings
    seen = vf.rdma.node_guid if vf.rdma is not None else None
    if settings is None or (settings.node_guid is None and seen is None):
        return Identity()  # the driver knows no GUIDs
    kept = settings if settings.node_guid is not None else replace(settings, node_guid=seen, port_guid=seen)
    if vf.netdev is None and not vf.in_userspace and (vf.rdma is None or is_set(kept.node_guid)):
        return Identity()  # the VF is in a pod
    follow = (_follow(pf, vf.index),) if settings.link_state == _DOWN else ()
    guid = wanted_guid(pf, vf.index, pools)
    if guid is None:
        return Identity(follow)
    given = pools is not None
    if vf.in_userspace:  # a VM may have it: a GUID that it works with is not taken from it
        lacking = not is_set(kept.node_guid)
        return Identity((_set_guid(pf, vf.index, guid, given=given), *follow) if lacking else follow)
    setting = (_set_guid(pf, vf.index, guid, given=given),) if _lacks(kept, guid, given=given) else ()
    if setting:
        stale = f"its driver learns of GUID {guid} when it takes the VF anew"
    elif seen is not None and (not is_set(seen) or (given and normal_guid(seen) != guid)):
        stale = f"its RDMA device has GUID {seen}, from before the present one was set"
    else:
        stale = ""
    return Identity((*setting, *follow), stale)


def _lacks(now: VfSettings | None, guid: str, *, given: bool) -> bool:
    """Whether the GUID has to be set: one that somebody else chose stays, where the administrator names none."""
    seen = (None, None) if now is None else (now.node_guid, now.port_guid)
    if given:
        return any(normal_guid(one) != guid for one in seen)
    return not all(is_set(one) for one in seen)


def _set_guid(pf: Pf, index: int, guid: str, *, given: bool, optional: bool = False) -> Step:
    why = "the administrator's pool has this GUID for the VF" if given else "the VF has no GUID: it gets one that stays"
    return steps.set_vf(pf, index, node_guid=guid, port_guid=guid, optional=optional, why=why)


def _follow(pf: Pf, index: int) -> Step:
    why = "the VF's port follows the PF's"
    return steps.set_vf(pf, index, link_state=_FOLLOW, optional=True, why=why)


def plan_release(pf: Pf, index: int, vf: Vf | None, was: VfBaseline, *, why: str) -> list[Step]:
    """An InfiniBand VF's settings as they were. Its driver, if it stays, hears of them when it takes the VF again."""
    now = vf.settings if vf is not None and vf.settings is not None else VfSettings()
    found = []
    guids = {
        name: before
        for name, before, seen in (
            ("node_guid", was.node_guid, now.node_guid),
            ("port_guid", was.port_guid, now.port_guid),
        )
        if before is not None and before != (seen or _UNSET)
    }
    if guids:
        found.append(steps.set_vf(pf, index, optional=True, why=why, **guids))
    if was.link_state is not None and was.link_state != now.link_state:
        found.append(steps.set_vf(pf, index, link_state=was.link_state, optional=True, why=why))
    return found


def guid_fault(pf: Pf, want: DesiredPf, pools: GuidPools | None) -> tuple[str, str] | None:
    """Why there is no GUID for each of the PF's VFs that are in a group, and what to do; None: there is."""
    wanted = [index for index in range(want.num_vfs) if want.group_of(index) is not None]
    if pf.netdev is None or not is_infiniband(pf) or not wanted:
        return None
    if pools is None:
        missing = "it has no GUID, so that none can be made for its VFs"
        return None if _guid_of(pf) is not None else (missing, f"give them in {POOL_FILE}")
    if pools.fault:
        return f"the pools of GUIDs in {POOL_FILE} cannot be used: {pools.fault}", "put the file right, or take it away"
    named = pools.of_pf(pf.address, pf.netdev.mac)
    if not named:
        message = f"the pools of GUIDs in {POOL_FILE} do not name it"
        return message, "add it, or take the file away: GUIDs are then made up"
    if len(named) > 1:
        found = " and ".join(pool.at for pool in named)
        return f"there are {len(named)} pools of GUIDs for it, by {found}", "leave one of them"
    lacking = [index for index in wanted if named[0].of(index) is None]
    if lacking:
        return f"its pool has no GUID for VF {lacking[0]}", f"give it {wanted[-1] + 1} GUIDs, or ask for fewer VFs"
    return None
