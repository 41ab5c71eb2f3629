"""What a PF cannot do, as far as the kernel shows it: told before anything is planned."""

from __future__ import annotations

from virtfn.model import DesiredPf, EswitchMode, LinkType, Pf, Platform, Problem, Severity
from virtfn_generic.identity import guid_fault


def problems_of(pf: Pf, want: DesiredPf, platform: Platform) -> list[Problem]:
    """Problems of one PF. A release is never refused here: what was there once is possible."""
    if want.release:
        return []
    found = []
    if want.link_type and pf.netdev and pf.netdev.link_type not in (None, want.link_type):
        found.append(
            Problem(
                object=pf.label,
                field="linkType",
                message=f"link type {want.link_type} wanted, the port is {pf.netdev.link_type}",
                hint="the port type is changed in firmware, if the card can do both",
                reason="UnsupportedSetting",
            )
        )
    if wrong := guid_fault(pf, want, platform.guid_pools):
        found.append(Problem(object=pf.label, message=wrong[0], hint=wrong[1], reason="UnsupportedSetting"))
    if want.eswitch_mode is EswitchMode.SWITCHDEV:
        found += _switchdev(pf)
    if want.externally_managed and want.eswitch_mode not in (None, pf.eswitch_mode) and pf.eswitch_mode is not None:
        found.append(
            Problem(
                object=pf.label,
                field="eSwitchMode",
                message=f"externally managed: {want.eswitch_mode} mode is waited for, it is in {pf.eswitch_mode} mode",
                hint="whoever manages the PF has to change it",
                reason="UnsupportedEswitchMode",
                severity=Severity.WARNING,
            )
        )
    for index, group in enumerate(want.groups):
        if group.mtu is not None and not want.externally_managed:
            found += _mtu(pf, group.mtu, f"vfGroups[{index}].mtu")
    if want.mtu is not None and not want.externally_managed:
        found += _mtu(pf, want.mtu, "mtu")
    if platform.lockdown == "confidentiality" and any(group.device_type == "vfio-pci" for group in want.groups):
        found.append(
            Problem(
                object=pf.label,
                field="deviceType",
                message="the kernel is locked down for confidentiality, which forbids vfio-pci",
                hint="use deviceType netdevice, or boot with lockdown=integrity",
                reason="LockdownActive",
            )
        )
    return found


def _switchdev(pf: Pf) -> list[Problem]:
    if pf.netdev is not None and pf.netdev.link_type is LinkType.IB:
        message, hint = "switchdev mode needs an Ethernet port, this one is InfiniBand", "leave eSwitchMode out"
    elif pf.eswitch_mode is None:
        message = f"switchdev mode wanted, and driver {pf.driver or '(none)'} shows no eswitch"
        hint = "leave eSwitchMode out, or use a card that has one"
    else:
        return []
    return [Problem(object=pf.label, field="eSwitchMode", message=message, hint=hint, reason="UnsupportedEswitchMode")]


def _mtu(pf: Pf, mtu: int, field: str) -> list[Problem]:
    if pf.netdev is None:
        return []
    low, high = pf.netdev.min_mtu or 0, pf.netdev.max_mtu or 0
    if high and not low <= mtu <= high:
        return [
            Problem(
                object=pf.label,
                field=field,
                message=f"MTU {mtu} wanted, driver {pf.driver} allows {low} to {high}",
                hint=f"ask for at most {high}",
                reason="UnsupportedSetting",
            )
        ]
    return []
