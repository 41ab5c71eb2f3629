"""The node's RDMA mode: from what it is and what is wanted to steps. Pure.

The kernel changes the mode while it runs only if nobody has a network namespace of his own, which on a node with pods
is never so; what lasts is an option of the module `ib_core`, in force at the next boot. Which of the two it takes
follows from what was observed. The same step is planned as long as the mode is another: so a reboot that did not
bring it is recognised, and not made again.
"""

from __future__ import annotations

from virtfn.errors import NotPermitted, UnsupportedSetting
from virtfn.model import DesiredState, Disruption, Platform, Problem, Severity, Step
from virtfn.model.owned_files import FOREIGN, MODPROBE, digest_of
from virtfn.model.rdma import ARGUMENT, OPTION_FILE, SHARED, RdmaFacts, option_text
from virtfn.model.steps import NODE, remove_file, set_rdma_mode, write_file

FIELD = "spec.system.rdmaMode"


def plan_rdma_mode(desired: DesiredState, platform: Platform) -> tuple[list[Step], list[Problem]]:
    """The steps to the wanted mode, and what is in its way."""
    facts, mode, file = platform.rdma, desired.rdma_mode, platform.owned_files.get(OPTION_FILE)
    if mode is None:
        if file in (None, FOREIGN) or not desired.whole:
            return [], []
        why = f"no RDMA mode is wanted of this node any more: {facts.mode or 'the present one'} stays till it is booted"
        return [remove_file(NODE, OPTION_FILE, why=why)], []
    seen = f"RDMA mode {mode} wanted, {facts.mode or 'no RDMA'} seen"
    live = facts.mode not in (None, mode) and facts.namespaces is False and not facts.fixed
    steps = [set_rdma_mode(mode, why=seen)] if live else []
    problems = [_no_rdma(mode)] if facts.mode is None else []
    by_boot_only = facts.mode not in (None, mode) and not live
    there = file == digest_of(option_text(mode))
    if (hindrance := _hindrance(mode, facts, file)) is not None:
        kind, message, hint = hindrance
        severity = Severity.ERROR if by_boot_only else Severity.WARNING
        problems.append(Problem(NODE, f"{seen}: {message}", kind.reason, field=FIELD, hint=hint, severity=severity))
    elif by_boot_only:
        steps.append(_option(mode, why=f"{seen}; {_NO_BOOT if there else _BOOT}", disruption=Disruption.REBOOT))
    elif not there and not facts.built_in and not facts.fixed:
        steps.append(_option(mode, why=f"RDMA mode {mode} wanted after the next boot too"))
    return steps, problems


_BOOT = "the kernel changes it only without other network namespaces, or when it boots"
_NO_BOOT = (
    f"{OPTION_FILE} asks for it: where a boot does not bring it, an initramfs loads ib_core without that file "
    "(rebuild it: update-initramfs -u, or dracut -f)"
)


def _option(mode: str, *, why: str, disruption: Disruption = Disruption.NONE) -> Step:
    return write_file(NODE, OPTION_FILE, option_text(mode), why=why, disruption=disruption)


def _hindrance(
    mode: str, facts: RdmaFacts, file: str | None
) -> tuple[type[UnsupportedSetting | NotPermitted], str, str] | None:
    """Why no option brings the mode at the next boot, and what to do; None: it does, or it comes by itself."""
    argument = f"{ARGUMENT}={int(mode == SHARED)}"
    if facts.fixed:
        hint = "leave rdmaMode out, or take a newer kernel"
        return None if mode == SHARED else (UnsupportedSetting, "this kernel's RDMA knows no other mode", hint)
    if facts.argument not in (None, mode):
        message = f"the kernel was booted with {ARGUMENT} of the other mode, which stands over any option of modprobe's"
        return UnsupportedSetting, message, f"take that kernel argument away, or boot with {argument}"
    if facts.built_in:
        if mode == (facts.argument or SHARED):
            return None
        return UnsupportedSetting, "this kernel has RDMA built in: no option reaches it", f"boot with {argument}"
    if file == FOREIGN:
        return NotPermitted, f"{OPTION_FILE}, where it would be kept for a boot, is somebody else's", "move it away"
    if not facts.options:
        return NotPermitted, f"{MODPROBE} of this host cannot be written", f"boot with {argument}"
    return None


def _no_rdma(mode: str) -> Problem:
    return Problem(
        object=NODE,
        field=FIELD,
        message=f"RDMA mode {mode} is wanted, and this node has no RDMA (ib_core is not loaded)",
        hint="it is in force as soon as a card's RDMA driver is loaded",
        reason=UnsupportedSetting.reason,
        severity=Severity.WARNING,
    )
