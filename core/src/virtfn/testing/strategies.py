"""Hypothesis strategies: machines as they may be found, and requests that their PFs, by what they show, can fulfil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from virtfn.model import DesiredPf, DesiredState, DeviceType, EswitchMode, Pf, Platform, VfGroup, VfRange
from virtfn.model.inventory import VDPA_DRIVERS
from virtfn.testing.scenarios import Scenario, kinds_of, mtus_of
from virtfn.testing.starting import PfStart, Start

MOST = 4
"""VFs of a PF in generated requests: more of them show nothing new, and take longer."""


def scenarios(pfs: Sequence[Pf], platform: Platform, *, vdpa: bool = False) -> st.SearchStrategy[Scenario]:
    """Some start and some request for up to two PFs of an adapter.

    :param pfs: as the ground shows them before anything is done.
    :param vdpa: whether their VFs can have vDPA devices in switchdev mode.
    """
    return st.builds(Scenario, starts(pfs, platform), desired_states(pfs, platform, vdpa=vdpa))


def desired_states(pfs: Sequence[Pf], platform: Platform, *, vdpa: bool = False) -> st.SearchStrategy[DesiredState]:
    """A request for one or two of the PFs."""
    both = [desired_pfs(pf, platform, vdpa=vdpa) for pf in pfs[:2]]
    one = st.one_of(*[st.tuples(want) for want in both])
    return st.builds(DesiredState, st.one_of(one, st.tuples(*both)) if len(both) > 1 else one)


@st.composite
def desired_pfs(draw: st.DrawFn, pf: Pf, platform: Platform, *, vdpa: bool = False) -> DesiredPf:
    """A request for one PF: number of VFs, up to two groups with gaps between, MTU, eswitch mode."""
    count = draw(st.integers(0, min(MOST, pf.total_vfs or 0)))
    mtu = draw(st.sampled_from((None, *mtus_of(pf))))
    mode = draw(_modes(pf))
    groups = draw(_groups(count, kinds_of(platform), mtu))
    if vdpa and mode is EswitchMode.SWITCHDEV:
        groups = tuple(
            replace(group, vdpa_type=draw(st.sampled_from((None, *VDPA_DRIVERS))))
            if group.device_type is DeviceType.NETDEVICE
            else group
            for group in groups
        )
    return DesiredPf(pf.address, count, mtu=mtu, eswitch_mode=mode, groups=groups)


@st.composite
def _groups(draw: st.DrawFn, count: int, kinds: Sequence[DeviceType], mtu: int | None) -> tuple[VfGroup, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=4)))
    found: list[VfGroup] = []
    for first, end in zip(cuts[::2], cuts[1::2], strict=False):
        if first < end:
            kind = draw(st.sampled_from(kinds))
            managed = mtu if draw(st.booleans()) else None
            found.append(
                VfGroup(VfRange(first, end - 1), resource_name=f"r{len(found)}", device_type=kind, mtu=managed)
            )
    return tuple(found)


def starts(pfs: Sequence[Pf], platform: Platform) -> st.SearchStrategy[Start]:
    """The machine as it is, or with VFs and settings of somebody's on the first PF."""
    pf = pfs[0]
    if pf.netdev is None:
        return st.just(())
    return st.one_of(st.just(()), st.tuples(_pf_starts(pf, platform)))


@st.composite
def _pf_starts(draw: st.DrawFn, pf: Pf, platform: Platform) -> PfStart:
    count = draw(st.integers(0, min(MOST, pf.total_vfs or 0)))
    fates = draw(st.lists(st.sampled_from(("net", "net", "user", "none")), min_size=count, max_size=count))
    userspace = [index for index, fate in enumerate(fates) if fate == "user" and platform.iommu]
    return PfStart(
        pf.address,
        count,
        up=draw(st.booleans()),
        mtu=draw(st.sampled_from((None, *mtus_of(pf)))),
        mode=draw(_modes(pf)),
        autoprobe=draw(st.sampled_from((None, False))) if pf.total_vfs else None,
        userspace=tuple(userspace),
        driverless=tuple(index for index, fate in enumerate(fates) if fate == "none"),
    )


def _modes(pf: Pf) -> st.SearchStrategy[EswitchMode | None]:
    if pf.eswitch_mode is None:
        return st.none()
    return st.sampled_from((None, EswitchMode.LEGACY, EswitchMode.SWITCHDEV))
