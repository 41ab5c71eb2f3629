"""The RDMA subsystem's mode, changed while the node runs."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace

from virtfn.errors import NotEffective
from virtfn.host.kernel import Kernel
from virtfn.host.rdma import other_namespaces
from virtfn.host.refusals import host_error
from virtfn.model.rdma import RdmaFacts

_log = logging.getLogger(__name__)

_ABOUT = "RDMA"
_IN_THE_WAY = "there are other network namespaces, of pods for example: it changes without them, or at boot"


class RdmaSwitch:
    """Changes the mode, and remembers a refusal that nothing else would explain.

    A network namespace that is held by an open file alone, or mounted where one container sees it, is shown by no
    process and no mount of the host: that the kernel refused is then all there is to know it by.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._hidden = False

    def set(self, mode: str) -> None:
        """See `virtfn.host.api.Host.set_rdma_mode`."""
        what = f"cannot set the mode to {mode}"
        _log.debug("RDMA: mode to %s", mode)
        try:
            self._kernel.rdma.set_netns_mode(mode)
            now = self._kernel.rdma.netns_mode()
        except OSError as error:
            busy = error.errno == errno.EBUSY
            self._hidden = busy and other_namespaces(self._kernel.files) is False
            raise host_error(error, device=_ABOUT, what=what, hint=_IN_THE_WAY if busy else "") from error
        if now not in (None, mode):
            raise NotEffective(f"{_ABOUT}: {what} (it reads {now} afterwards)", device=_ABOUT)
        self._hidden = False

    def seen(self, facts: RdmaFacts) -> RdmaFacts:
        """What was read, with what the kernel has said since."""
        return replace(facts, namespaces=True) if self._hidden and facts.namespaces is False else facts
