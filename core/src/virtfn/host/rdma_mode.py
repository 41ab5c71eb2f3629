"""The RDMA subsystem's mode, changed while the node runs, or for the next boot."""

from __future__ import annotations

import errno
import logging

from virtfn.errors import NotEffective
from virtfn.host.kernel import Files, Rdma
from virtfn.host.refusals import host_error
from virtfn.model.rdma import OPTION_FILE, option_text

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


def set_rdma_option(files: Files, mode: str | None) -> None:
    """Have modprobe give the mode to the module from the next boot on; None: virtfn's own file goes."""
    path = OPTION_FILE.lstrip("/")
    what = f"cannot write {OPTION_FILE}" if mode else f"cannot remove {OPTION_FILE}"
    _log.debug("RDMA: mode of the next boot %s", mode or "is nobody's word")
    try:
        if mode is None:
            files.remove(path)
        else:
            files.replace(path, option_text(mode))
        there = files.read(path) if files.exists(path) else None
    except OSError as error:
        raise host_error(error, device=_ABOUT, what=what) from error
    if there != (None if mode is None else option_text(mode)):
        raise NotEffective(f"{_ABOUT}: {what} (it says something else afterwards)", device=_ABOUT)
