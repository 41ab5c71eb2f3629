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
    process and no mount of the host: that the kernel refused is then all there is to know it by. A kernel that refuses
    for whatever else would do so again: what is left is the next boot.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._refused = False

    def set(self, mode: str) -> None:
        """See `virtfn.host.api.Host.set_rdma_mode`."""
        what = f"cannot set the mode to {mode}"
        _log.debug("RDMA: mode to %s", mode)
        try:
            self._kernel.rdma.set_netns_mode(mode)
            now = self._kernel.rdma.netns_mode()
        except OSError as error:
            self._refused = other_namespaces(self._kernel.files) is False
            hint = _IN_THE_WAY if error.errno == errno.EBUSY else ""
            raise host_error(error, device=_ABOUT, what=what, hint=hint) from error
        self._refused = now not in (None, mode)
        if self._refused:
            raise NotEffective(f"{_ABOUT}: {what} (it reads {now} afterwards)", device=_ABOUT)

    def seen(self, facts: RdmaFacts) -> RdmaFacts:
        """What was read, with what the kernel has said since."""
        return replace(facts, namespaces=True) if self._refused and facts.namespaces is False else facts
