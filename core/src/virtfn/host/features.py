"""Writes of what a device can do besides VFs: devlink parameters. The rules are as in `virtfn.host.machine`."""

from __future__ import annotations

import errno
import logging

from virtfn.errors import KernelRefused, NotEffective
from virtfn.host.api import ParamMode, ParamValue
from virtfn.host.reader import Reader
from virtfn.host.refusals import host_error
from virtfn.model import PciAddress

_log = logging.getLogger(__name__)


class Features(Reader):
    """The part of `virtfn.host.api.Host` that is not about VFs and their drivers."""

    def set_devlink_param(self, pf: PciAddress, name: str, value: ParamValue, *, mode: ParamMode) -> None:
        """See `Host`."""
        self.require(pf)
        what = f"cannot set the devlink parameter {name} to {value}"
        devlink, handle = self._kernel.devlink, ("pci", str(pf))
        try:
            known = devlink.param(handle, name)
            if known is None:
                raise KernelRefused(
                    f"{pf}: {what} (its driver has no such parameter)", device=str(pf), errno=errno.EOPNOTSUPP
                )
            if known.value(mode) == value:
                return
            _log.debug("%s: devlink parameter %s to %s", pf, name, value, extra={"device": str(pf)})
            devlink.set_param(handle, known, value, mode=mode)
            now = devlink.param(handle, name)
        except OSError as error:
            raise host_error(error, device=str(pf), what=what, present=self.exists(pf)) from error
        if now is None or now.value(mode) != value:
            seen = None if now is None else now.value(mode)
            raise NotEffective(f"{pf}: {what} (it reads {seen} afterwards)", device=str(pf))
