"""What is read of a card beyond what the kernel shows of every card: its firmware and the settings kept in it.

The settings come from `mstconfig`, once for the whole card, and from devlink where the driver offers them (permanent
parameters of newer kernels). To run the tool takes seconds and bothers the card, and a node is looked at every half
minute. So its answer is kept by the machine (`HostReader.run_seldom`) for as long as it cannot have changed: what is in
force changes by a reset only, which the boot's id, the driver and the number of the netdev betray, and what is set for
the next one is read again after each step of ours. If somebody else sets something, that is seen within the hour; until
then nothing worse happens than that a plan counts on it, and the step that performs it reads anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from virtfn.errors import CommandFailed, LockdownActive
from virtfn.host.api import CommandResult, HostReader, ParamMode
from virtfn.model import Adapter, PciAddress, Platform
from virtfn_mellanox.bluefield import SETTINGS as CPU_SETTINGS
from virtfn_mellanox.bluefield import cpu_mode, is_bluefield
from virtfn_mellanox.mstconfig import PACKAGE, SECONDS, TOOL, Version, read_settings, read_version
from virtfn_mellanox.settings import Setting, Settings, Value

SRIOV: Final = "SRIOV_EN"
NUM_OF_VFS: Final = "NUM_OF_VFS"
PER_PF: Final = "PF_NUM_OF_VF_VALID"
LINK_TYPES: Final = ("LINK_TYPE_P1", "LINK_TYPE_P2")
ROCE_CONTROL: Final = "ROCE_CONTROL"
SHOWN: Final = (SRIOV, NUM_OF_VFS, PER_PF, *LINK_TYPES, ROCE_CONTROL, *CPU_SETTINGS)
"""Of some two hundred settings, those that matter here."""

ENABLE_SRIOV: Final = "enable_sriov"
TOTAL_VFS: Final = "total_vfs"

RESET_TOOL: Final = "mstfwreset"

_MOST_TOLD: Final = 4
_LOCKDOWN: Final = "/sys/kernel/security/lockdown"
_LOCKED = re.compile(r"\[(integrity|confidentiality)\]")
_FIRMWARE = re.compile(r"(\d+\.\d+\.\d+)(?:\s+\((\w+)\))?")


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why the settings cannot be known, and so not be changed."""

    why: str
    hint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """The facts of a card, read back for plan and validate."""

    looked: bool = True
    """False: nobody has looked, as where a node state is all there is."""
    firmware: Version | None = None
    tool: Version | None = None
    settings: Settings = field(default_factory=dict)
    unknown: Unknown | None = None
    mode: str | None = None
    """Of a BlueField."""
    devlink: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """Permanent parameters by PCI address: values for the next reset."""
    no_reset: str | None = None
    """Why the card must not be reset while the node runs; empty: it may. None: nobody has allowed it."""

    @classmethod
    def of(cls, adapter: Adapter) -> Known:
        """From the facts that `facts_of` gave."""
        facts = adapter.facts
        if "settings" not in facts and "unknown" not in facts:
            return cls(looked=False)
        unknown = facts.get("unknown")
        return cls(
            firmware=version_of((facts.get("firmware") or {}).get("version")),
            tool=version_of((facts.get("tool") or {}).get("version")),
            settings={name: Setting(**row) for name, row in (facts.get("settings") or {}).items()},
            unknown=Unknown(**unknown) if unknown else None,
            mode=facts.get("mode"),
            devlink=facts.get("devlink") or {},
            no_reset=facts.get("noReset"),
        )


def version_of(text: str | None) -> Version | None:
    """`16.28.2006` in numbers."""
    return tuple(int(part) for part in text.split(".")) if text else None


def facts_of(adapter: Adapter, host: HostReader, platform: Platform) -> Mapping[str, Any]:
    """Firmware, settings and mode; or why they cannot be known."""
    facts: dict[str, Any] = {}
    firmware = _firmware(adapter, host)
    if firmware:
        facts["firmware"] = firmware
    if devlink := _devlink(adapter, host):
        facts["devlink"] = devlink
    try:
        refuse_under_lockdown(host, str(adapter.pfs[0].address))
        facts |= _settings(adapter, host, per=_per(adapter, host, firmware))
    except LockdownActive as error:
        hint = "boot without lockdown (Secure Boot switches it on), or set the firmware from another system"
        facts["unknown"] = {"why": str(error), "hint": hint, "reason": error.reason}
    except CommandFailed as error:
        facts["unknown"] = _why_unknown(error)
    if platform.firmware_reset:
        facts["noReset"] = _no_reset(adapter, host, platform)
    return facts


def _no_reset(adapter: Adapter, host: HostReader, platform: Platform) -> str:
    """Why the card must not be reset while the node runs; empty: it may."""
    if platform.virtual:
        return f"{RESET_TOOL} does nothing in a VM"
    if platform.lockdown in ("integrity", "confidentiality"):
        return f"kernel lockdown is {platform.lockdown}"
    try:
        tool = host.run_seldom((RESET_TOOL, "-v"), per="", timeout=SECONDS)
    except CommandFailed as error:
        return str(error)
    if tool.code != 0:
        return f"{RESET_TOOL} -v fails (exit code {tool.code})"
    return users_of(adapter, host)


def users_of(adapter: Adapter, host: HostReader) -> str:
    """What of this host would lose its network by a reset, for people; empty: nothing that can be seen."""
    for pf in adapter.pfs:
        if pf.driver is not None and pf.netdev is None:
            return f"{pf.address} has its netdev in another network namespace, or none ({pf.driver})"
    functions = [address for pf in adapter.pfs for address in (pf.address, *(vf.address for vf in pf.vfs))]
    users = host.netdev_users(functions)
    return f"this host uses it: {', '.join(users[:_MOST_TOLD])}" if users else ""


def refuse_under_lockdown(host: HostReader, device: str) -> None:
    """:raises LockdownActive: the kernel lets nobody write a card's configuration space, which the tool needs."""
    if match := _LOCKED.search(host.read_text(_LOCKDOWN) or ""):
        raise LockdownActive(
            f"{device}: {TOOL} cannot reach the firmware (kernel lockdown is {match[1]}: it takes a boot without)",
            device=device,
        )


def _settings(adapter: Adapter, host: HostReader, *, per: str) -> dict[str, Any]:
    def ask(argv: Sequence[str], device: str) -> CommandResult:
        depends = per if device else ""  # the version is the same for all cards
        return host.run_seldom(argv, per=depends, timeout=SECONDS, device=device)

    version = read_version(ask)
    seen = read_settings(ask, [pf.address for pf in adapter.pfs], version)
    facts: dict[str, Any] = {
        "settings": {
            name: {"default": row.default, "current": row.current, "next": row.next}
            | ({"read_only": True} if row.read_only else {})
            for name in SHOWN
            if (row := seen.get(name)) is not None
        }
    }
    if version is not None:
        facts["tool"] = {"name": TOOL, "version": ".".join(map(str, version))}
    if is_bluefield(adapter.pfs[0].id):
        facts["mode"] = cpu_mode(seen).value
    return facts


def _why_unknown(error: CommandFailed) -> dict[str, str]:
    text = str(error)
    if error.code is None and "not installed" in text:
        hint = f"install the package {PACKAGE} on the host, and the number can be raised from here"
    elif error.code is None:
        hint = f"run `{TOOL} -e -d {error.device} q` on the host and see what it waits for"
    else:
        hint = "it is tried again after a while"
    return {"why": text, "hint": hint, "reason": error.reason}


def _firmware(adapter: Adapter, host: HostReader) -> dict[str, str]:
    """Version and board id as the driver tells them."""
    for pf in adapter.pfs:
        told = host.driver_info(pf.netdev.name).get("firmware-version", "") if pf.netdev else ""
        if match := _FIRMWARE.match(told):
            return {"version": match[1]} | ({"psid": match[2]} if match[2] else {})
    return {}


def _devlink(adapter: Adapter, host: HostReader) -> dict[str, dict[str, Value]]:
    """The PFs whose number of VFs the kernel itself can set in their firmware."""
    found: dict[str, dict[str, Value]] = {}
    for pf in adapter.pfs:
        read = partial(permanent, host, pf.address)
        enabled, total = read(ENABLE_SRIOV), read(TOTAL_VFS)
        if isinstance(enabled, bool) and isinstance(total, int):
            found[str(pf.address)] = {ENABLE_SRIOV: enabled, TOTAL_VFS: total}
    return found


def permanent(host: HostReader, address: PciAddress, name: str) -> Value | None:
    """A devlink parameter's value for the next reset; None: there is none."""
    param = host.devlink_param(address, name)
    return param.value(ParamMode.PERMANENT) if param is not None else None


def _per(adapter: Adapter, host: HostReader, firmware: Mapping[str, str]) -> str:
    """What the settings in force depend on."""
    boot = host.read_text("/proc/sys/kernel/random/boot_id") or ""
    functions = [
        f"{pf.address}/{pf.driver}/{pf.netdev.ifindex if pf.netdev else ''}/{pf.total_vfs}" for pf in adapter.pfs
    ]
    return " ".join([boot, firmware.get("version", ""), *functions])
