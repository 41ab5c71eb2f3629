"""RoCE of an Ethernet PF: switched on where VFs with RDMA are wanted, and as it was on release.

Sources: Linux drivers/net/ethernet/mellanox/mlx5/core (devlink.c, main.c), net/devlink, and the kernel's page on mlx5.

* devlink's `enable_roce` is on unless somebody switched it off. Off, the function still has an RDMA device, which does
  nothing but raw Ethernet: the parameter is what tells, not the device. Each VF has a parameter of its own, on too: so
  nobody who has a VF is disturbed for the PF's, which waits for VFs to be made anew.
* What is set takes effect when the driver takes the device anew (`devlink dev reload`), and until then the kernel shows
  it as if it had. That a reload is owed is therefore known from the journal only.
* A reload leaves the eswitch in legacy mode and makes another netdev, down and with an MTU of 1500. It is refused to
  ports in a bond, and "unfavorable" with VFs: these go before and come after, and the netdev gets back what it had.
  Flow steering and inline mode stay.
* The driver refuses to switch RoCE on where firmware has it off, and says so before anything else has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from virtfn.errors import UnsupportedSetting
from virtfn.host.api import HostReader, ParamMode
from virtfn.model import (
    Adapter,
    DesiredPf,
    DeviceType,
    EswitchMode,
    LinkType,
    Pf,
    Platform,
    Problem,
    Severity,
    Step,
    VfGroup,
    functions,
    steps,
)
from virtfn_mellanox.facts import ROCE_CONTROL, Known
from virtfn_mellanox.tables import ROCE

_OFF = "ROCE_DISABLE"
_USERS = "users"
_OPEN_VSWITCH = ("ovs-system ", "ovs-netdev ")
"""What stands above a port of Open vSwitch, which takes it back by its name when it comes again."""


def roce_facts(adapter: Adapter, host: HostReader) -> Mapping[str, Any]:
    """As a fact, what of this host would go with the netdev of a PF that may have to be reloaded; empty: nothing."""
    found: dict[str, list[str]] = {}
    for pf in adapter.pfs:
        told = host.netdev_users([pf.address]) if ROCE in pf.params else ()
        if users := [user for user in told if not user.startswith(_OPEN_VSWITCH)]:
            found[str(pf.address)] = users
    return {_USERS: found} if found else {}


def plan_reload(adapter: Adapter, pf: Pf, want: DesiredPf) -> list[Step]:
    """From the PF as it is to the PF as `reloaded` has it; nothing where RoCE is as it should be, or must be left."""
    value, now = _wanted(pf, want), pf.params.get(ROCE)
    if value is None or (value == now and not want.reload) or _waits(adapter, pf, want):
        return []
    if _hindrance(adapter, pf, want, value=value) is not None:
        return []
    found: list[Step] = []
    word = "on" if value else "off"
    if value != now:
        why = (
            f"RoCE was {word} before virtfn touched the PF" if want.release else "VFs with RDMA wanted, and RoCE is off"
        )
        found.append(steps.set_devlink_param(pf, ROCE, value, mode=ParamMode.DRIVERINIT, why=why))
    if pf.num_vfs:
        found.append(steps.set_num_vfs(pf, 0, why="VFs go before the driver takes their PF anew"))
    found.append(steps.reload_driver(pf, why=f"RoCE is {word} from then on"))
    if pf.netdev is not None:
        why = "as it was: the driver has made the netdev anew"
        found.append(steps.set_link(pf, mtu=pf.netdev.mtu, up=pf.netdev.up or None, why=why))
        if pf.netdev.tc_offload and pf.eswitch_mode is not EswitchMode.SWITCHDEV:
            found.append(steps.set_offload(pf, True, why=why))
    return found


def reloaded(pf: Pf) -> Pf:
    """The PF after the steps of `plan_reload`."""
    mode = EswitchMode.LEGACY if pf.eswitch_mode is not None else None
    offload = pf.netdev.tc_offload if pf.netdev is not None and pf.eswitch_mode is mode else None
    netdev = replace(pf.netdev, tc_offload=offload) if pf.netdev is not None else None
    return replace(pf, netdev=netdev, eswitch_mode=mode, vfs=())


def _wanted(pf: Pf, want: DesiredPf) -> bool | None:
    """None: RoCE is left as it is."""
    ethernet = pf.netdev is not None and pf.netdev.link_type is LinkType.ETH
    if not ethernet or want.externally_managed or not isinstance(pf.params.get(ROCE), bool):
        return None
    if want.release:
        was = want.params.get(ROCE)
        return was if isinstance(was, bool) else None
    return True if _first_rdma(want) is not None else None


def _off_in_firmware(adapter: Adapter) -> bool:
    """For the whole card, as far as it is known."""
    control = Known.of(adapter).settings.get(ROCE_CONTROL)
    return control is not None and control.current == _OFF


def _waits(adapter: Adapter, pf: Pf, want: DesiredPf) -> bool:
    """Whether the VFs, which have RoCE themselves, stay as they are: another number or mode disturbs them anyhow."""
    if want.release or want.reload or want.externally_managed or not pf.vfs or _off_in_firmware(adapter):
        return False
    return not functions.plan_vfs_before_mode(pf, want)


def _is_rdma(group: VfGroup) -> bool:
    return group.is_rdma and group.device_type is DeviceType.NETDEVICE


def _first_rdma(want: DesiredPf) -> int | None:
    """Place of the first group whose VFs are to have RDMA devices on this host."""
    wanted = (place for place, group in enumerate(want.groups) if _is_rdma(group))
    return next(wanted, None)


def _hindrance(adapter: Adapter, pf: Pf, want: DesiredPf, *, value: bool) -> tuple[str, str] | None:
    """Why RoCE cannot be switched, and what to do; None: it can."""
    by_hand = (
        f"`devlink dev param set pci/{pf.address} name {ROCE} value {str(value).lower()} cmode driverinit` and "
        f"`devlink dev reload pci/{pf.address}`"
    )
    if want.externally_managed:
        return "the PF is managed by somebody else", f"whoever manages it has to run {by_hand}, or leave isRdma out"
    if value and _off_in_firmware(adapter):
        set_on = f"`mstconfig -d {pf.address} set {ROCE_CONTROL}=ROCE_ENABLE` and a reboot"
        return f"the firmware has it off ({ROCE_CONTROL} {_OFF})", f"it takes {set_on}"
    if pf.netdev is not None and pf.netdev.bond is not None:
        return (
            f"it takes a reload of the driver, which is not possible while the PF is in {pf.netdev.bond}",
            f"take it out of the bond meanwhile, or run {by_hand} before it is put in",
        )
    if users := (adapter.facts.get(_USERS) or {}).get(str(pf.address)):
        return (
            f"it takes a reload of the driver, and this host would lose {', '.join(users)}",
            f"run {by_hand} when the host can do without, or give it its network on another port",
        )
    return None


def roce_problems(adapter: Adapter, pf: Pf, want: DesiredPf, platform: Platform) -> Sequence[Problem]:
    """Why VFs with RDMA cannot be had; and on release, that RoCE is left on."""
    if want.release:
        value = _wanted(pf, want)
        if (
            value is None
            or value == pf.params.get(ROCE)
            or (found := _hindrance(adapter, pf, want, value=value)) is None
        ):
            return ()
        message = f"RoCE was {'on' if value else 'off'} before virtfn touched the PF, and stays as it is: {found[0]}"
        return (_problem(pf, "", message, found[1], severity=Severity.WARNING),)
    place = _first_rdma(want)
    if place is None or pf.netdev is None or pf.netdev.link_type is not LinkType.ETH:
        return ()
    field = f"vfGroups[{place}].isRdma"
    if pf.params.get(ROCE) is False or want.reload:
        if _waits(adapter, pf, want):
            message = "RoCE is off on the PF, and is switched on when its VFs, which have it themselves, are made anew"
            hint = "to have it now, take numVfs to 0 and back when its VFs are free"
            return (_problem(pf, field, message, hint, severity=Severity.WARNING),)
        found = _hindrance(adapter, pf, want, value=True)
        return () if found is None else (_problem(pf, field, f"RDMA wanted, and RoCE is off: {found[0]}", found[1]),)
    if pf.rdma is not None or adapter.rdma_module not in platform.modules:
        return ()
    why, hint = _no_device(pf)
    return (_problem(pf, field, f"RDMA wanted, and the PF has no RDMA device ({why})", hint),)


def _no_device(pf: Pf) -> tuple[str, str]:
    if ROCE not in pf.params:
        return (
            f"its driver offers no parameter {ROCE}: the kernel is too old to switch it, or firmware has RoCE off",
            f"see {ROCE_CONTROL} in `mstconfig -d {pf.address} query`, or leave isRdma out",
        )
    shown = f"`devlink dev param show pci/{pf.address} name enable_rdma`"
    return "mlx5_ib makes none of it, though RoCE is on", f"see {shown} and the kernel log, or leave isRdma out"


def _problem(pf: Pf, field: str, message: str, hint: str, *, severity: Severity = Severity.ERROR) -> Problem:
    reason = UnsupportedSetting.reason
    return Problem(object=pf.label, field=field, message=message, hint=hint, reason=reason, severity=severity)
