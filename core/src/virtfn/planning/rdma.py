"""The node's RDMA mode: from what it is and what is wanted to steps. Pure.

The kernel changes the mode while it runs only if nobody has a network namespace of his own, which on a node with pods
is never so; what lasts is an option of the module `ib_core`, in force at the next boot. Which of the two it takes
follows from what was observed. The same step is planned as long as the mode is another: so a reboot that did not
bring it is recognised, and not made again.
"""

from __future__ import annotations

from virtfn.errors import UnsupportedSetting
from virtfn.model import DesiredState, Platform, Problem, Severity, Step
from virtfn.model.rdma import OPTION_FILE, SHARED, RdmaFacts
from virtfn.model.rdma_steps import set_rdma_mode, set_rdma_option
from virtfn.model.steps import NODE

FIELD = "spec.system.rdmaMode"


def plan_rdma_mode(desired: DesiredState, platform: Platform) -> tuple[list[Step], list[Problem]]:
    """The steps to the wanted mode, and what is in its way."""
    facts, mode = platform.rdma, desired.rdma_mode
    if mode is None:
        if facts.option is None or not desired.whole:
            return [], []
        why = f"no RDMA mode is wanted of this node any more: {facts.mode or 'the present one'} stays till it is booted"
        return [set_rdma_option(None, why=why)], []
    if facts.built_in and facts.mode != mode:
        return [], [_built_in(mode, facts)]
    if facts.mode is None:
        return _keep(mode, facts), [_no_rdma(mode)]
    if facts.mode == mode:
        return _keep(mode, facts), []
    seen = f"RDMA mode {mode} wanted, {facts.mode} seen"
    if facts.namespaces is False:
        return [set_rdma_mode(mode, why=seen), *_keep(mode, facts)], []
    why = f"{seen}; the kernel changes it only without other network namespaces, or when it boots"
    return [set_rdma_option(mode, why=why, reboot=True)], []


def _keep(mode: str, facts: RdmaFacts) -> list[Step]:
    """The mode is kept over the next boot."""
    if facts.option == mode or facts.built_in:
        return []
    seen = "nothing" if facts.option is None else facts.option or "something else"
    return [set_rdma_option(mode, why=f"RDMA mode {mode} wanted after the next boot too, {OPTION_FILE} says {seen}")]


def _built_in(mode: str, facts: RdmaFacts) -> Problem:
    return Problem(
        object=NODE,
        field=FIELD,
        message=f"RDMA mode {mode} wanted, {facts.mode} seen, and this kernel has RDMA built in: no option reaches it",
        hint=f"boot with the kernel argument ib_core.netns_mode={int(mode == SHARED)}",
        reason=UnsupportedSetting.reason,
    )


def _no_rdma(mode: str) -> Problem:
    return Problem(
        object=NODE,
        field=FIELD,
        message=f"RDMA mode {mode} is wanted, and this node has no RDMA (ib_core is not loaded)",
        hint="it is in force as soon as a card's RDMA driver is loaded",
        reason=UnsupportedSetting.reason,
        severity=Severity.WARNING,
    )
