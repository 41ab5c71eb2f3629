"""Drift: what was as it is wanted, and is so no more though nothing else is wanted. Pure.

The journal says what was brought about on a PF; if that is what is wanted now, and the PF was as wanted at some time
since this boot, then somebody else changed it. Otherwise something new is wanted, or the boot took the VFs, and there
is nothing to wait for.

A reading of a moment is not drift: a driver that is reloaded, or a container that moves a netdev, passes through states
that nobody wanted. So a difference counts when it was read the same several times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from virtfn.daemon.plan_report import fingerprint
from virtfn.journal import Record
from virtfn.model import DesiredState, Disruption, PciAddress, Plan, Step
from virtfn.model.crd import DriftMode


class Cause(StrEnum):
    """Why a PF has something to be done."""

    REQUEST = "Request"
    """Something else is wanted than what was applied last, or that was never finished."""
    BOOT = "Boot"
    """It has not been as wanted since this boot."""
    DRIFT = "Drift"
    """Somebody else changed it."""


class Hold(StrEnum):
    """Why drift is not repaired now; each is a condition's reason."""

    SUSPECTED = "DriftSuspected"
    """It was not read often enough yet."""
    REPORTED = "DriftReported"
    """The policy wants it to be told only."""
    IN_USE = "DriftInUse"
    """A VF that would lose traffic is in use, or the node would have to be rebooted."""


Readings = Mapping[PciAddress, tuple[str, int]]
"""By PF: a digest of what differs, and how many times in a row it was read."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One PF that drifted."""

    address: PciAddress
    mode: DriftMode
    steps: tuple[Step, ...]
    """What would put it right."""
    hold: Hold | None
    """Why it is not put right now; None: it is."""


def is_sure(drift: Drift) -> bool:
    """Whether it was read often enough to be spoken of."""
    return drift.hold is not Hold.SUSPECTED


def steps_of(plan: Plan, address: PciAddress) -> tuple[Step, ...]:
    """The steps about one PF, or the card it is on. Those that a driver may refuse do not make a difference."""
    targets = (str(address), address.slot)
    return tuple(step for step in plan.steps if step.target in targets and not step.optional)


def causes(
    plan: Plan, desired: DesiredState, records: Mapping[PciAddress, Record], *, settled: tuple[PciAddress, ...]
) -> dict[PciAddress, Cause]:
    """Why each PF that the plan has something for has it.

    :param settled: PFs that were as wanted at some time since this boot.
    """
    found = {}
    for want in desired.pfs:
        if not steps_of(plan, want.address):
            continue
        record = records.get(want.address)
        if want.release or record is None or record.applied != want:
            found[want.address] = Cause.REQUEST
        else:
            found[want.address] = Cause.DRIFT if want.address in settled else Cause.BOOT
    return found


def read_again(
    readings: Readings, plan: Plan, why: Mapping[PciAddress, Cause], *, count: bool
) -> dict[PciAddress, tuple[str, int]]:
    """The readings after one more look.

    :param count: whether enough time has passed since the one before for this to be one of its own.
    """
    found = {}
    for address, cause in why.items():
        if cause is not Cause.DRIFT:
            continue
        digest = fingerprint(steps_of(plan, address))
        before, times = readings.get(address, ("", 0))
        found[address] = (digest, times + count if before == digest else 1)
    return found


def drifts(
    plan: Plan,
    readings: Readings,
    modes: Mapping[PciAddress, DriftMode],
    *,
    enough: int,
    in_use: Callable[[], frozenset[PciAddress]],
) -> tuple[Drift, ...]:
    """The PFs that drifted, with what is to be done about each.

    :param modes: by PF; those that are not named are repaired if free.
    :param enough: equal readings in a row.
    :param in_use: VFs in use; asked only if it matters.
    """
    used: frozenset[PciAddress] | None = None
    found = []
    for address, (_, times) in readings.items():
        steps = steps_of(plan, address)
        mode = modes.get(address, DriftMode.REPAIR_IF_FREE)
        hold: Hold | None = None
        if mode is DriftMode.REPORT:
            hold = Hold.REPORTED if times >= enough else Hold.SUSPECTED
        elif times < enough:
            hold = Hold.SUSPECTED
        elif mode is DriftMode.REPAIR_IF_FREE and any(step.disruption >= Disruption.RESET for step in steps):
            hold = Hold.IN_USE
        elif mode is DriftMode.REPAIR_IF_FREE and (affected := {vf for step in steps for vf in step.affects}):
            used = in_use() if used is None else used
            hold = Hold.IN_USE if affected & used else None
        found.append(Drift(address, mode, steps, hold))
    return tuple(found)
