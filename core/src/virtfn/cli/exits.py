"""Exit codes, the same for every command."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from virtfn import errors
from virtfn.model import Problem


class Exit(IntEnum):
    """What the exit code of `virtfn` says."""

    OK = 0
    """In sync, or done."""
    PENDING = 2
    """There is something to do: told by `plan --exit-code`, and by `apply` when the node has to be rebooted for it."""
    REQUEST = 3
    """What was asked for is wrong: the command line, a file, or a wish the hardware cannot fulfil."""
    HOST = 4
    """The machine refused, or something of it is in the way."""
    PLUGIN = 5
    """A plugin is missing, broken, or does not keep the contract."""
    CLUSTER = 6
    """The API server refused, or cannot be reached."""
    INTERNAL = 70
    """A bug in virtfn."""


_FAMILIES = (
    (errors.PluginError, Exit.PLUGIN),
    (errors.HostError, Exit.HOST),
    (errors.RequestError, Exit.REQUEST),
    (errors.ClusterError, Exit.CLUSTER),
)


def _family(kind: type[errors.VirtfnError]) -> Exit:
    return next((code for family, code in _FAMILIES if issubclass(kind, family)), Exit.INTERNAL)


def exit_of(error: errors.VirtfnError) -> Exit:
    """The code for an error that ends a command."""
    return _family(type(error))


def exit_of_reason(reason: str) -> Exit:
    """The code for the reason of an error, as problems and outcomes carry it."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.VirtfnError)]
    return next((_family(kind) for kind in kinds if kind.reason == reason), Exit.REQUEST)


def exit_of_problems(problems: Iterable[Problem]) -> Exit:
    """The code for the errors among a plan's problems: request before plugin before host."""
    codes = {exit_of_reason(problem.reason) for problem in problems}
    return next((code for code in (Exit.REQUEST, Exit.PLUGIN, Exit.HOST) if code in codes), Exit.OK)
