"""The operations on the RDMA subsystem: what each does on a host, and what a person would type for it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from virtfn.host.api import Host
from virtfn.model import OutcomeStatus, Pf, Step
from virtfn.model.rdma import OPTION_FILE, option_text
from virtfn.model.rdma_steps import SET_MODE, SET_OPTION

_DONE = (OutcomeStatus.DONE, "")


def _set_mode(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    host.set_rdma_mode(step.args["mode"])
    return _DONE


def _set_option(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    host.set_rdma_option(step.args["mode"])
    return _DONE


def _shell_mode(step: Step, _pf: Pf | None) -> list[str]:
    return [f"rdma system set netns {shlex.quote(step.args['mode'])}"]


def _shell_option(step: Step, _pf: Pf | None) -> list[str]:
    mode = step.args["mode"]
    if mode is None:
        return [f"rm -f {OPTION_FILE}"]
    return [f"printf %s {shlex.quote(option_text(mode))} > {OPTION_FILE}"]


RDMA_OPERATIONS: Mapping[str, Callable[[Step, Host], tuple[OutcomeStatus, str]]] = {
    SET_MODE: _set_mode,
    SET_OPTION: _set_option,
}
RDMA_ARGUMENTS: Mapping[str, tuple[str, ...]] = {SET_MODE: ("mode",), SET_OPTION: ("mode",)}
RDMA_SHELL: Mapping[str, Callable[[Step, Pf | None], list[str]]] = {SET_MODE: _shell_mode, SET_OPTION: _shell_option}
