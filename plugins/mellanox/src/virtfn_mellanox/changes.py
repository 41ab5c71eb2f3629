"""Which settings a request wants in a card's firmware, and what stands in the way. Pure.

* A card has one `NUM_OF_VFS` for all its ports: it has to do for the port that wants most, and for VFs that are there.
* A larger number than is wanted does no harm, so it is never lowered, on release neither: that would be a reboot for
  nothing. What is set for the next boot already is kept if it is enough.
* A step is the same before and after it was performed, until it is in force: so it can be told that a reboot was in
  vain. It is planned for each PF that lacks something, so that a port that lacks nothing goes on if it was.
* BlueField-2 goes on through a reboot. What it takes is set at once, which changes nothing yet; the power cycle that
  brings it into force is a step of its own, and a person's.
* Where it is allowed and nothing is known against it, a reset of the card comes after the settings: whether it has
  helped is seen afterwards, and the steps that take a reboot or a power cycle stand as they do without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virtfn.errors import LockdownActive, RequestError, TooManyVfs, UnsupportedSetting
from virtfn.model import (
    IN_FIRMWARE,
    Adapter,
    Capability,
    DesiredAdapter,
    DesiredPf,
    Disruption,
    EswitchMode,
    Pf,
    Platform,
    Problem,
    Severity,
    Step,
)
from virtfn_mellanox.bluefield import CpuMode, is_bluefield, needs_power_cycle
from virtfn_mellanox.facts import ENABLE_SRIOV, LINK_TYPES, NUM_OF_VFS, PER_PF, SRIOV, TOTAL_VFS, Known
from virtfn_mellanox.mstconfig import READ_ONLY
from virtfn_mellanox.settings import Setting, Value, same, told
from virtfn_mellanox.tables import DEVICES, MAX_VFS

SET_NVCONFIG: Final = "mellanox.set_nvconfig"
AWAIT_POWER_CYCLE: Final = "mellanox.await_power_cycle"
AWAIT_REBOOT: Final = "mellanox.await_reboot"
RESET_CARD: Final = "mellanox.reset_card"

SETTINGS: Final = "settings"
"""Argument: settings for the tool, by name."""
DEVLINK: Final = "devlink"
"""Argument: permanent devlink parameters, by name."""

_NUMBER, _LINK = "numVfs", "linkType"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comes of a request."""

    steps: tuple[Step, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why the firmware is not written."""

    why: str
    hint: str
    reason: str = UnsupportedSetting.reason


def judge(adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Judgement:
    """Steps and problems together, as one follows from the other."""
    return _Case(adapter, desired, platform).judge()


class _Case:
    """One card and what is wanted of it."""

    def __init__(self, adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> None:
        self._adapter = adapter
        self._desired = desired
        self._platform = platform
        self._known = Known.of(adapter)
        self._need = max((self._need_of(pf) for pf in adapter.pfs), default=0)
        self._no_reset = self._against_reset()
        self._steps: list[Step] = []
        self._problems: list[Problem] = []

    def _need_of(self, pf: Pf) -> int:
        want = self._desired.pf(pf.address)
        return pf.num_vfs if want is None or want.externally_managed else want.num_vfs

    def judge(self) -> Judgement:
        for want in self._desired.pfs:
            pf = self._adapter.pf(want.address)
            if pf is not None and not want.release:
                if want.externally_managed:
                    self._externally(pf, want)
                else:
                    self._change(pf, want)
        if not self._steps:
            self._keep()
        elif self._no_reset == "" and all(_waits_for_reset(step) for step in self._steps):
            self._reset()
        return Judgement(tuple(self._steps), tuple(self._problems))

    # --- what is lacking ----------------------------------------------------------------------------------------------

    def _externally(self, pf: Pf, want: DesiredPf) -> None:
        if want.num_vfs > (pf.total_vfs or 0):
            allowed = f"allows {pf.total_vfs}" if pf.total_vfs is not None else "has SR-IOV off"
            self._error(
                pf,
                _NUMBER,
                f"externally managed: {want.num_vfs} VFs are waited for, and the card's firmware {allowed}",
                "whoever manages the PF has to raise NUM_OF_VFS in its firmware",
                reason=RequestError.reason,
            )

    def _change(self, pf: Pf, want: DesiredPf) -> None:
        settings: dict[str, Value] = {}
        devlink: Mapping[str, Value] = {}
        whys: list[str] = []
        if want.num_vfs > (pf.total_vfs or 0) and self._is_unread(pf, want):
            self._await_reboot(pf, want)
        elif want.num_vfs > (pf.total_vfs or 0) and self._known.looked:
            number = self._number(pf, want)
            if number is None:
                return
            settings, devlink, why = number
            whys.append(why)
        if _other_link(pf, want):
            link = self._link(pf, want)
            if link is None:
                return
            settings |= link
            if link:
                now = pf.netdev.link_type if pf.netdev else None
                whys.append(f"link type {want.link_type} is wanted, and the port is {now}")
        if settings or devlink:
            if want.eswitch_mode is EswitchMode.SWITCHDEV and pf.eswitch_mode is None:
                self._pending(pf, "eSwitchMode", "switchdev mode wanted, and there is no eswitch yet", "what it takes")
            self._plan(pf, settings, devlink, "; ".join(whys))

    def _number(self, pf: Pf, want: DesiredPf) -> tuple[dict[str, Value], dict[str, Value], str] | None:
        """Settings for the tool, devlink parameters and the reason; None: it cannot be done, and that is told."""
        now = f"the card allows {pf.total_vfs}" if pf.total_vfs is not None else "SR-IOV is off in the card"
        lead = f"{want.num_vfs} VFs wanted"
        if want.num_vfs > MAX_VFS:
            hint = f"ask for at most {MAX_VFS}"
            self._error(pf, _NUMBER, f"{lead}, a PF has at most {MAX_VFS}", hint, reason=TooManyVfs.reason)
            return None
        if self._known.mode in (CpuMode.DPU, CpuMode.UNCLEAR):
            self._blocked(pf, _NUMBER, f"{lead}, {now}", self._obstacle())
            return None
        offered = self._known.devlink.get(str(pf.address))
        if offered is not None:
            total = max(want.num_vfs, _int(offered.get(TOTAL_VFS)))
            self._pending(pf, _NUMBER, f"{lead}, and {now}", f"total_vfs {total}")
            return {}, {ENABLE_SRIOV: True, TOTAL_VFS: total}, f"{lead}, and {now}"
        obstacle = self._obstacle() or self._no_room(want) or self._read_only(NUM_OF_VFS, SRIOV)
        if obstacle is not None:
            self._blocked(pf, _NUMBER, f"{lead}, and {now}", obstacle)
            return None
        number = max(self._need, _int(self._next(NUM_OF_VFS)))
        values: dict[str, Value] = {SRIOV: True} if SRIOV in self._known.settings else {}
        values[NUM_OF_VFS] = number
        self._pending(pf, _NUMBER, f"{lead}, and {now}", f"NUM_OF_VFS {number}")
        in_force = ", ".join(f"{name} is {told(self._current(name))}" for name in values)
        return values, {}, f"{lead}, and in the firmware {in_force}"

    def _no_room(self, want: DesiredPf) -> _Obstacle | None:
        """What is in the way of the number, if the settings can be read."""
        settings = self._known.settings
        if NUM_OF_VFS not in settings:
            return _Obstacle("its firmware has no setting NUM_OF_VFS", "ask the card's vendor for one with SR-IOV")
        if self._next(PER_PF) is True:
            return _Obstacle(
                "its firmware keeps a number for each PF (PF_NUM_OF_VF_VALID), which virtfn does not write",
                "set PF_NUM_OF_VF of each PF with mstconfig, or PF_NUM_OF_VF_VALID=0",
            )
        if self._in_force() >= want.num_vfs:
            return _Obstacle(
                f"that is not the firmware's doing: NUM_OF_VFS {self._in_force()} is in force",
                "switch SR-IOV and Above 4G Decoding on in the BIOS; in a VM no VFs can be made; after a reset of the"
                " card reboot the node",
            )
        return None

    def _in_force(self) -> int:
        """How many VFs the firmware allows each PF now."""
        heard = self._current(SRIOV) is not False and self._current(PER_PF) is not True
        return _int(self._current(NUM_OF_VFS)) if heard else 0

    def _is_unread(self, pf: Pf, want: DesiredPf) -> bool:
        """Whether the firmware allows enough, and the kernel has read another number: before the card was reset."""
        known = pf.total_vfs is not None and str(pf.address) not in self._known.devlink
        return known and self._in_force() >= want.num_vfs and self._obstacle() is None

    def _await_reboot(self, pf: Pf, want: DesiredPf) -> None:
        lead, has = f"{want.num_vfs} VFs wanted", f"the firmware has NUM_OF_VFS {self._in_force()} in force"
        message = f"{lead}, and the card allows {pf.total_vfs}: {has}, which the kernel reads at the next boot"
        self._warn(pf, _NUMBER, message, "", reason=IN_FIRMWARE)
        why = f"{lead}, {has}, and the kernel has read {pf.total_vfs} before"
        self._steps.append(Step(AWAIT_REBOOT, str(pf.address), why, disruption=Disruption.REBOOT))

    def _read_only(self, *names: str) -> _Obstacle | None:
        """What this host may only read."""
        name = next((name for name in names if self._known.settings.get(name, Setting()).read_only), None)
        return _Obstacle(f"its firmware lets {name} be read only", READ_ONLY) if name is not None else None

    def _link(self, pf: Pf, want: DesiredPf) -> dict[str, Value] | None:
        """The setting; None: it cannot be done, and that is told."""
        assert want.link_type is not None
        now = pf.netdev.link_type if pf.netdev else None
        lead = f"link type {want.link_type} wanted, the port is {now}"
        name = _link_setting(pf)
        row = next((row for row in DEVICES if row.pf == pf.id), None)
        if row is not None and Capability.INFINIBAND not in row.capabilities:
            self._error(pf, _LINK, f"{lead}, and {row.product} is a card for Ethernet only", "leave linkType out")
            return None
        if not self._known.looked:
            self._pending(pf, _LINK, lead, f"{name or 'LINK_TYPE'} {want.link_type}")
            return {}
        obstacle = self._obstacle() or self._read_only(name or "")
        if obstacle is None and (name is None or name not in self._known.settings):
            obstacle = _Obstacle("the card has no setting LINK_TYPE for it: it can do one type only", "leave it out")
        if obstacle is None and name is not None and same(self._current(name), want.link_type.value):
            obstacle = _Obstacle(
                f"that is not the firmware's doing: {name} {want.link_type} is in force",
                "load the card's driver anew, and look at the kernel's log",
            )
        if obstacle is not None or name is None:
            self._blocked(pf, _LINK, lead, obstacle)
            return None
        self._pending(pf, _LINK, lead, f"{name} {want.link_type}")
        return {name: want.link_type.value}

    # --- what is in the way -------------------------------------------------------------------------------------------

    def _obstacle(self) -> _Obstacle | None:
        """Why the card's firmware cannot be written at all."""
        known = self._known
        if self._platform.lockdown in ("integrity", "confidentiality"):
            return _Obstacle(
                f"under kernel lockdown ({self._platform.lockdown}) its firmware cannot be reached",
                "boot without lockdown (Secure Boot switches it on), or set the firmware from another system",
                LockdownActive.reason,
            )
        if known.unknown is not None:
            return _Obstacle(
                f"its firmware cannot be read: {known.unknown.why}", known.unknown.hint, known.unknown.reason
            )
        if known.mode == CpuMode.DPU:
            return _Obstacle(
                "the card is in DPU mode, in which its own processor has the say",
                "set it there, or put the card in NIC mode (INTERNAL_CPU_OFFLOAD_ENGINE=DISABLED and a power cycle)",
            )
        if known.mode == CpuMode.UNCLEAR:
            return _Obstacle(
                "the card is in neither DPU mode nor NIC mode by its INTERNAL_CPU settings",
                "set it up as one of them with mstconfig, and power cycle the node",
            )
        return None

    def _against_reset(self) -> str | None:
        """Why the card must not be reset while the node runs; empty: it may. None: nobody has allowed it."""
        known = self._known
        if known.no_reset is None or known.no_reset:
            return known.no_reset
        if is_bluefield(self._adapter.pfs[0].id) and known.mode != CpuMode.NIC:
            return "whether the card is in NIC mode is not known"
        for pf in self._adapter.pfs:
            want = self._desired.pf(pf.address)
            if pf.vfs and (want is None or want.externally_managed):
                return f"{pf.address} has VFs that are not virtfn's"
        return ""

    def _blocked(self, pf: Pf, field: str, lead: str, obstacle: _Obstacle | None) -> None:
        if obstacle is not None:
            self._error(pf, field, f"{lead}; {obstacle.why}", obstacle.hint, reason=obstacle.reason)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _plan(self, pf: Pf, settings: Mapping[str, Value], devlink: Mapping[str, Value], why: str) -> None:
        args = _args(settings, devlink)
        why += f" (no reset is tried: {self._no_reset})" if self._no_reset else ""
        target, ready = str(pf.address), self._is_set(pf, settings, devlink)
        if not needs_power_cycle(pf.id, self._known.firmware):
            why += " (set already for the next boot)" if ready else ""
            self._steps.append(Step(SET_NVCONFIG, target, why, args=args, disruption=Disruption.REBOOT))
        elif not ready:
            self._steps.append(Step(SET_NVCONFIG, target, f"{why} (in force after a power cycle)", args=args))
        else:
            why += ", and what has to be set is set"
            self._steps.append(Step(AWAIT_POWER_CYCLE, target, why, args=args, disruption=Disruption.POWER_CYCLE))

    def _is_set(self, pf: Pf, settings: Mapping[str, Value], devlink: Mapping[str, Value]) -> bool:
        offered = self._known.devlink.get(str(pf.address), {})
        return all(same(self._next(name), value) for name, value in settings.items()) and all(
            same(offered.get(name), value) for name, value in devlink.items()
        )

    def _keep(self) -> None:
        """What is in force is enough: see to it that the next boot does not take it away."""
        for want in self._desired.pfs:
            pf = self._adapter.pf(want.address)
            if pf is None or want.release or want.externally_managed:
                continue
            settings, devlink = self._endangered(pf, want), self._endangered_in_devlink(pf, want)
            if not settings and not devlink:
                continue
            offered = self._known.devlink.get(str(pf.address), {})
            pending = [f"{name} {told(self._next(name))}" for name in settings]
            what = ", ".join([*pending, *(f"{name} {told(offered[name])}" for name in devlink)])
            if settings and (obstacle := self._obstacle() or self._read_only(*settings)) is not None:
                self._warn(pf, _NUMBER, f"at the next boot {what} comes into force; {obstacle.why}", obstacle.hint)
                return
            why = f"at the next boot {what} would come into force, and {want.num_vfs} VFs are wanted"
            self._steps.append(Step(SET_NVCONFIG, str(pf.address), why, args=_args(settings, devlink)))
            if settings:  # they are the whole card's
                return

    def _endangered(self, pf: Pf, want: DesiredPf) -> dict[str, Value]:
        values: dict[str, Value] = {}
        enough = want.num_vfs <= (pf.total_vfs or 0) and self._current(PER_PF) is not True
        if want.num_vfs and enough and str(pf.address) not in self._known.devlink:
            if self._next(SRIOV) is False:
                values[SRIOV] = True
            number = self._next(NUM_OF_VFS)
            if isinstance(number, int) and number < self._need:
                values[NUM_OF_VFS] = self._need
        name = _link_setting(pf)
        if want.link_type is not None and name is not None and not _other_link(pf, want):
            wanted, after = want.link_type.value, self._next(name)
            if after is not None and not same(after, wanted) and same(self._current(name), wanted):
                values[name] = wanted
        return values

    def _endangered_in_devlink(self, pf: Pf, want: DesiredPf) -> dict[str, Value]:
        offered = self._known.devlink.get(str(pf.address))
        if offered is None or not want.num_vfs or want.num_vfs > (pf.total_vfs or 0):
            return {}
        values: dict[str, Value] = {} if offered.get(ENABLE_SRIOV) is True else {ENABLE_SRIOV: True}
        if _int(offered.get(TOTAL_VFS)) < want.num_vfs:
            values[TOTAL_VFS] = want.num_vfs
        return values

    def _reset(self) -> None:
        """What may spare the node what all the steps so far take."""
        settings: dict[str, Value] = {}
        devlink: dict[str, Any] = {}
        for step in self._steps:
            settings |= step.args.get(SETTINGS) or {}
            devlink |= {step.target: values} if (values := step.args.get(DEVLINK)) else {}
        vfs = tuple(sorted(vf.address for pf in self._adapter.pfs for vf in pf.vfs))
        why = "a reset of the card may bring into force what is set"
        first, args = self._steps[0].target, _args(settings, devlink)
        self._steps.append(Step(RESET_CARD, first, why, args=args, disruption=Disruption.RESET, affects=vfs))

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _current(self, name: str) -> Value | None:
        return self._known.settings.get(name, Setting()).current

    def _next(self, name: str) -> Value | None:
        return self._known.settings.get(name, Setting()).next

    def _pending(self, pf: Pf, field: str, lead: str, what: str) -> None:
        cycle = "a power cycle" if needs_power_cycle(pf.id, self._known.firmware) else "a reboot"
        message = f"{lead}: its firmware is set to {what}, which comes into force by {cycle}"
        self._warn(pf, field, message, "", reason=IN_FIRMWARE)

    def _warn(self, pf: Pf, field: str, message: str, hint: str, *, reason: str = UnsupportedSetting.reason) -> None:
        self._problems.append(Problem(pf.label, message, reason, field=field, hint=hint, severity=Severity.WARNING))

    def _error(self, pf: Pf, field: str, message: str, hint: str, *, reason: str = UnsupportedSetting.reason) -> None:
        self._problems.append(Problem(pf.label, message, reason, field=field, hint=hint))


def _waits_for_reset(step: Step) -> bool:
    """Whether what it takes is set by then, and a reset may bring it into force."""
    return step.disruption >= Disruption.REBOOT and step.op != AWAIT_REBOOT


def _args(settings: Mapping[str, Value], devlink: Mapping[str, Value]) -> dict[str, Any]:
    args = {SETTINGS: dict(settings), DEVLINK: dict(devlink)}
    return {name: values for name, values in args.items() if values}


def _other_link(pf: Pf, want: DesiredPf) -> bool:
    now = pf.netdev.link_type if pf.netdev is not None else None
    return want.link_type is not None and now is not None and now is not want.link_type


def _link_setting(pf: Pf) -> str | None:
    """Function 0 is port 1."""
    return LINK_TYPES[pf.address.function] if pf.address.function < len(LINK_TYPES) else None


def _int(value: Value | None) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
