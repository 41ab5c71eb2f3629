"""Requests worth trying on any card, made from what its PFs show: the ones that each law begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from virtfn.model import DesiredPf, DesiredState, DeviceType, EswitchMode, Pf, Platform, VfGroup, VfRange
from virtfn.testing.judging import tell
from virtfn.testing.starting import PfStart, Start

FEW = 3
"""VFs that are enough to see what there is to see."""

_MTUS = (9000, 4000, 1600)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A machine as it was found, and what is wanted of it."""

    start: Start
    desired: DesiredState

    def __str__(self) -> str:
        begun = f" from [{'; '.join(str(pf) for pf in self.start)}]" if self.start else ""
        return f"[{tell(self.desired)}]{begun}"


def mtus_of(pf: Pf) -> tuple[int, ...]:
    """MTUs above the present one that the PF's netdev says it can have."""
    if pf.netdev is None:
        return ()
    now, low, high = pf.netdev.mtu, pf.netdev.min_mtu or 0, pf.netdev.max_mtu or 0
    return tuple(mtu for mtu in _MTUS if max(low, now + 1) <= mtu <= high)


def kinds_of(platform: Platform) -> tuple[DeviceType, ...]:
    """Device types that this machine can have."""
    return (DeviceType.NETDEVICE, DeviceType.VFIO_PCI) if platform.iommu else (DeviceType.NETDEVICE,)


def plain(pf: Pf, count: int) -> DesiredPf:
    """VFs on the network driver and nothing else: what every PF with SR-IOV can do."""
    groups = (VfGroup(VfRange(0, count - 1), resource_name="plain"),) if count else ()
    return DesiredPf(pf.address, count, groups=groups)


def mixed(pf: Pf, platform: Platform, *, mode: EswitchMode | None = None) -> DesiredPf:
    """As much of everything as fits on a few VFs: both device types, an MTU, and a VF in no group."""
    count = min(FEW, pf.total_vfs or 0)
    mtu = next(iter(mtus_of(pf)), None)
    kinds = kinds_of(platform)
    rdma = pf.rdma is not None
    groups = [VfGroup(VfRange(0, 0), resource_name="net", mtu=mtu, is_rdma=rdma)] if count else []
    groups += [VfGroup(VfRange(1, 1), resource_name="user", device_type=kinds[-1])] if count > 1 else []
    return DesiredPf(pf.address, count, mtu=mtu, eswitch_mode=mode, groups=tuple(groups))


def with_vdpa(pf: Pf, *kinds: str | None) -> DesiredPf:
    """One VF for each kind of vDPA device, in switchdev mode; None: a VF without."""
    groups = tuple(
        VfGroup(VfRange(index, index), resource_name=f"v{index}", vdpa_type=kind) for index, kind in enumerate(kinds)
    )
    return DesiredPf(pf.address, len(kinds), eswitch_mode=EswitchMode.SWITCHDEV, groups=groups)


def scenarios(pfs: Sequence[Pf], platform: Platform, *, vdpa_module: str = "") -> tuple[Scenario, ...]:
    """The few that every law tries, simplest first.

    :param pfs: of the adapter under test, as the ground shows them before anything is done.
    :param vdpa_module: with which its VFs can have vDPA devices; the last of the scenarios is then about those.
    """
    pf = pfs[0]
    mtu = next(iter(mtus_of(pf)), None)
    if not pf.total_vfs:
        return tuple(Scenario((), DesiredState((want,))) for want in (DesiredPf(pf.address, 0, mtu=mtu), plain(pf, 0)))
    few = min(FEW, pf.total_vfs)
    userspace = (0,) if platform.iommu else ()
    found = [
        Scenario((), DesiredState((plain(pf, few),))),
        Scenario((), DesiredState((mixed(pf, platform),))),
        Scenario((PfStart(pf.address, few, userspace=userspace),), DesiredState((plain(pf, few),))),
        Scenario((PfStart(pf.address, few, userspace=userspace, mtu=mtu),), DesiredState((plain(pf, few - 1),))),
        Scenario((PfStart(pf.address, few),), DesiredState((plain(pf, 0),))),
        Scenario((PfStart(pf.address, few, up=False),), DesiredState((mixed(pf, platform),))),
    ]
    if pf.eswitch_mode is not None:
        switchdev, legacy = EswitchMode.SWITCHDEV, EswitchMode.LEGACY
        found += [
            Scenario((PfStart(pf.address, few),), DesiredState((mixed(pf, platform, mode=switchdev),))),
            Scenario((PfStart(pf.address, few, mode=switchdev),), DesiredState((mixed(pf, platform, mode=legacy),))),
        ]
    if len(pfs) > 1:
        both = DesiredState((mixed(pf, platform), plain(pfs[1], 1)))
        found.append(Scenario((PfStart(pfs[1].address, few, up=False),), both))
    if vdpa_module and pf.eswitch_mode is not None and few == FEW:
        theirs = ("vhost", "vhost", None)
        start = PfStart(pf.address, few, mode=EswitchMode.SWITCHDEV, vdpa=theirs, vdpa_module=vdpa_module)
        found.append(Scenario((start,), DesiredState((with_vdpa(pf, "virtio", None, "vhost"),))))
    return tuple(found)


def full(pf: Pf) -> Scenario:
    """Every VF the PF can make."""
    return Scenario((), DesiredState((plain(pf, pf.total_vfs or 0),)))
