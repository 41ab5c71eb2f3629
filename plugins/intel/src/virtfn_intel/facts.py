"""What is read of an Intel card beyond what the kernel shows of every card: firmware, DDP package, what its driver can.

The facts of a PF stand below its address. Plan and validate read them back through `in_safe_mode`; everything else is
for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virtfn.errors import HostError
from virtfn.host.api import DevlinkInfo, HostReader
from virtfn.model import Adapter, EswitchMode, Pf
from virtfn_intel.tables import DRIVERS, ICE, Driver

NO_PACKAGE = "0.0.0.0"
"""`fw.app` of devlink when no DDP package is active: the driver prints a version that was never filled in."""


def facts_of(adapter: Adapter, host: HostReader) -> Mapping[str, Any]:
    """Facts of every PF with a driver of ours, by PCI address."""
    return {
        str(pf.address): _pf_facts(pf, driver, host)
        for pf in adapter.pfs
        if (driver := DRIVERS.get(pf.driver or "")) is not None
    }


def in_safe_mode(adapter: Adapter, pf: Pf) -> bool:
    """Whether the PF was seen in Safe Mode: ice without its DDP package, with one queue and no SR-IOV."""
    facts = adapter.facts.get(str(pf.address))
    ddp = facts.get("ddp") if isinstance(facts, Mapping) else None
    return isinstance(ddp, Mapping) and ddp.get("safeMode") is True


def _pf_facts(pf: Pf, driver: Driver, host: HostReader) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if pf.netdev is not None:
        firmware = host.driver_info(pf.netdev.name).get("firmware-version")
        if firmware:
            facts["firmware"] = firmware
    info = _devlink_info(pf, host)
    if info is not None:
        facts["versions"] = {**info.fixed, **info.running}
        pending = {name: version for name, version in info.stored.items() if info.running.get(name) != version}
        if pending:
            facts["versionsAfterReset"] = pending
    safe_mode = False
    if driver is ICE and info is not None and info.running:
        ddp = _ddp(info)
        safe_mode = ddp["safeMode"]
        facts["ddp"] = ddp
    facts["eswitchModes"] = [EswitchMode.LEGACY.value]
    if driver.has_eswitch and not safe_mode:
        facts["eswitchModes"].append(EswitchMode.SWITCHDEV.value)
    forbidden = driver.not_in_switchdev if pf.eswitch_mode is EswitchMode.SWITCHDEV else frozenset()
    facts["vfSettings"] = [] if safe_mode else [name for name in driver.vf_settings if name not in forbidden]
    facts["spoofCheckDefault"] = driver.spoof_check_default
    return facts


def _ddp(info: DevlinkInfo) -> dict[str, Any]:
    """`fw.app.name` and `fw.app`: name and version of the package that the card runs; without one there is no name."""
    package, version = info.running.get("fw.app.name"), info.running.get("fw.app")
    active = bool(package) or version not in (None, "", NO_PACKAGE)
    ddp: dict[str, Any] = {"safeMode": not active}
    if active:
        ddp |= {"package": package, "version": version}
    return ddp


def _devlink_info(pf: Pf, host: HostReader) -> DevlinkInfo | None:
    try:
        return host.devlink_info(pf.address)
    except HostError:  # a fact that cannot be read is left out
        return None
