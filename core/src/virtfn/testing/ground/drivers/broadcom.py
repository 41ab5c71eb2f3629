"""Broadcom: bnxt_en, for PFs and VFs. It says "done" when it has done nothing."""

from __future__ import annotations

import errno

from virtfn.model import EswitchMode
from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.drivers.eswitch import SwitchdevDriver
from virtfn.testing.ground.tree import oserror


class BnxtEn(SwitchdevDriver):
    """The callback for VFs never gives an error: the number that was made has to be read back."""

    def configure_sriov(self, pf: PciFunction, count: int) -> Steps[int]:
        """Nothing is made while the interface is down; fewer, when the device has no room for all."""
        if pf.netdev is None or not pf.netdev.up:
            self.machine.log(f"bnxt_en {pf.name}: Reject SRIOV config request since if is down!")
            return 0
        limit = pf.card.quirks.max_vfs
        if limit is not None and count > limit:
            if limit == 0:
                self.machine.log(f"bnxt_en {pf.name}: Cannot enable VF's as all resources are used by PF")
                return count
            self.machine.log(f"bnxt_en {pf.name}: Requested VFs {count}, can enable {limit}")
            count = limit
        try:
            return (yield from super().configure_sriov(pf, count))
        except OSError:
            return count

    def check_rate(self, pf: PciFunction, lowest: int, highest: int) -> None:
        """Not over the link's speed."""
        if max(lowest, highest) > self.link_speed(pf):
            raise oserror(errno.EINVAL)

    def set_eswitch_mode(self, function: PciFunction, mode: EswitchMode) -> None:
        """The mode it has already is refused."""
        if function.eswitch_mode is mode:
            self.machine.log(f"bnxt_en {function.name}: already in {mode} eswitch mode")
            raise oserror(errno.EINVAL)
        self.change_mode(function, mode)
