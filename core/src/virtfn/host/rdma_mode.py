"""The RDMA subsystem's mode, changed while the node runs."""

from __future__ import annotations

import errno
import logging

from virtfn.errors import NotEffective
from virtfn.host.kernel import Rdma
from virtfn.host.refusals import host_error

_log = logging.getLogger(__name__)

_ABOUT = "RDMA"
_IN_THE_WAY = "there are other network namespaces, of pods for example: it changes without them, or at boot"


def set_rdma_mode(rdma: Rdma, mode: str) -> None:
    """`shared` or `exclusive`, read back.

    :raises DeviceBusy: there are other network namespaces.
    """
    what = f"cannot set the mode to {mode}"
    _log.debug("RDMA: mode to %s", mode)
    try:
        rdma.set_netns_mode(mode)
        now = rdma.netns_mode()
    except OSError as error:
        hint = _IN_THE_WAY if error.errno == errno.EBUSY else ""
        raise host_error(error, device=_ABOUT, what=what, hint=hint) from error
    if now not in (None, mode):
        raise NotEffective(f"{_ABOUT}: {what} (it reads {now} afterwards)", device=_ABOUT)
