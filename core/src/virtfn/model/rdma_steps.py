"""The steps that concern the RDMA mode of the whole node."""

from __future__ import annotations

from virtfn.model.plan import Disruption, Step
from virtfn.model.rdma import OPTION_FILE

SET_MODE = "rdma.set_netns_mode"
SET_OPTION = "rdma.set_netns_option"

RDMA_OPS = frozenset({SET_MODE, SET_OPTION})
"""Operations on the RDMA subsystem that core performs."""

_NODE = "node"


def set_rdma_mode(mode: str, *, why: str) -> Step:
    """Change the mode now. The kernel does so only without other network namespaces, so no pod loses anything."""
    return Step(op=SET_MODE, target=_NODE, args={"mode": mode}, why=why)


def set_rdma_option(mode: str | None, *, why: str, reboot: bool = False) -> Step:
    """The mode of the next boot; None: the node's own again.

    :param reboot: whether it is wanted now, so that the node has to be rebooted for it.
    """
    disruption = Disruption.REBOOT if reboot else Disruption.NONE
    return Step(op=SET_OPTION, target=_NODE, args={"mode": mode}, disruption=disruption, why=why)


def describe_rdma_step(step: Step) -> str:
    """In a few words."""
    mode = step.args["mode"]
    if step.op == SET_MODE:
        return f"RDMA mode {mode}"
    return f"RDMA mode {mode} from the next boot on" if mode else f"remove {OPTION_FILE}"
