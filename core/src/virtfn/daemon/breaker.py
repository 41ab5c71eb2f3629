"""The circuit breaker: a drain or a reboot that did not help is not made again for the same cause. Pure.

The cause is one device's disruptive steps, together with what is wanted of it and the value of the annotation
`virtfn.io/retry`: something else wanted, or a new word there, and it may be tried once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from virtfn.daemon.plan_report import LONGEST_TEXT, fingerprint
from virtfn.daemon.record import Attempt, AttemptKind
from virtfn.model import DesiredPf, DesiredState, Disruption, PciAddress, Plan, Step
from virtfn.model.codec import to_data

DRAIN_TRIES: Final = 3
"""How often steps are tried under one drain, before it counts as having been in vain."""
SETTING_TRIES: Final = 6
"""How often it is tried to set what a reboot is to bring into force: for some minutes, as others may be at work."""


class Refusal(StrEnum):
    """Why something is not made; each is a condition's reason."""

    DRAIN_INEFFECTIVE = "DrainIneffective"
    REBOOT_INEFFECTIVE = "RebootIneffective"
    POWER_CYCLE = "PowerCycleRequired"
    """Only a person can switch the node off and on."""


@dataclass(frozen=True, slots=True)
class Want:
    """What one device's steps take to be done."""

    target: str
    kind: AttemptKind
    key: str
    steps: tuple[Step, ...]
    """The disruptive ones."""

    @property
    def cause(self) -> str:
        """For people."""
        return "; ".join(dict.fromkeys(step.why for step in self.steps))[:LONGEST_TEXT]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A device that is left as it is, and why."""

    target: str
    reason: Refusal
    message: str


def takes_drain(step: Step) -> bool:
    """Whether somebody loses traffic by the step."""
    return step.disruption >= Disruption.VFS and bool(step.affects)


def takes_reboot(step: Step) -> bool:
    """Whether the step comes into force by a reboot only."""
    return step.disruption is Disruption.REBOOT


def takes_reset(step: Step) -> bool:
    """Whether the step resets a card."""
    return step.disruption is Disruption.RESET


def empties_node(step: Step) -> bool:
    """Whether the node is drained as a whole for the step."""
    return takes_reboot(step) or takes_reset(step)


def wants(plan: Plan, desired: DesiredState, *, retry: str) -> Iterator[Want]:
    """What each device of the plan takes, those that take nothing left out; and each reset for itself.

    :param retry: value of the annotation that lets it be tried again.
    """
    for target in dict.fromkeys(step.target for step in plan.steps):
        steps = [step for step in plan.steps if step.target == target and not takes_reset(step)]
        if reboot := [step for step in steps if takes_reboot(step)]:
            kind, disruptive = AttemptKind.REBOOT, reboot
        elif drain := [step for step in steps if takes_drain(step)]:
            kind, disruptive = AttemptKind.DRAIN, drain
        else:
            continue
        wanted = [_asked(pf) for pf in desired.pfs if target in (str(pf.address), pf.address.slot)]
        yield Want(target, kind, fingerprint(disruptive, also=[*wanted, retry]), tuple(disruptive))
    for step in filter(takes_reset, plan.steps):
        yield Want(step.target, AttemptKind.RESET, _reset_key(step, retry), (step,))


def _asked(pf: DesiredPf) -> str:
    """What is asked for, without the netdev's name, which may be another after each boot (`net.ifnames=0`)."""
    bridge = replace(pf.bridge, uplink_name="") if pf.bridge is not None else None
    return str(to_data(replace(pf, name="", first_name="", bridge=bridge)))


def _reset_key(step: Step, retry: str) -> str:
    """VFs come and go by the reset itself, so they do not make another cause of it."""
    return fingerprint([step], also=[retry])


def without_vain_resets(plan: Plan, attempts: Iterable[Attempt], *, retry: str) -> Plan:
    """The plan without resets that were made for the same cause before, or that would spare the node nothing."""
    made = {attempt.key for attempt in attempts if attempt.kind is AttemptKind.RESET}
    new = {step.card for step in plan.steps if takes_reset(step) and _reset_key(step, retry) not in made}
    reboots = {step.card for step in plan.steps if takes_reboot(step)}
    if reboots - new:  # the node is rebooted in any case, which does what these would do
        new -= reboots
    left = tuple(step for step in plan.steps if not takes_reset(step) or step.card in new)
    return plan if left == plan.steps else replace(plan, steps=left)


def attempt_for(want: Want, attempts: Iterable[Attempt]) -> Attempt | None:
    """The attempt that was made for this very cause, or None."""
    found = (attempt for attempt in attempts if (attempt.kind, attempt.target) == (want.kind, want.target))
    return next((attempt for attempt in found if attempt.key == want.key), None)


def judge(want: Want, attempts: Iterable[Attempt], *, boot_id: str) -> Blocked | None:
    """Whether it must not be made; None: it may.

    :param boot_id: of the boot that runs.
    """
    made = attempt_for(want, attempts)
    if made is None:
        return None
    times = "once" if made.count == 1 else f"{made.count} times"
    advice = f"want something else, or give the annotation virtfn.io/retry a new value (made {made.at})"
    if want.kind is AttemptKind.REBOOT and made.count and (made.seen or made.boot_id != boot_id):
        message = made.seen or f"the node was rebooted {times}, and it is still so: {want.cause}"
        message = f"{want.target}: {message}: {advice}"
        return Blocked(want.target, Refusal.REBOOT_INEFFECTIVE, message)
    if made.seen and (want.kind is AttemptKind.DRAIN or (want.kind is AttemptKind.REBOOT and not made.count)):
        message = f"{want.target}: the node was drained for it, and {made.seen}: {advice}"
        return Blocked(want.target, Refusal.DRAIN_INEFFECTIVE, message)
    return None


def power_cycles(plan: Plan) -> tuple[Blocked, ...]:
    """Devices whose steps take what nothing here ever does by itself, and for which no reset is left to be tried."""
    found: dict[str, Blocked] = {}
    hopes = {step.card for step in plan.steps if takes_reset(step)}
    for step in plan.steps:
        if step.disruption is Disruption.POWER_CYCLE and step.card not in hopes:
            message = f"{step.target}: {step.why}: it takes a power cycle of the node, which is for a person to do"
            found.setdefault(step.target, Blocked(step.target, Refusal.POWER_CYCLE, message))
    return tuple(found.values())


def without(desired: DesiredState, targets: Iterable[str]) -> tuple[PciAddress, ...]:
    """The PFs that belong to blocked devices."""
    blocked = set(targets)
    return tuple(pf.address for pf in desired.pfs if blocked & {str(pf.address), pf.address.slot})
