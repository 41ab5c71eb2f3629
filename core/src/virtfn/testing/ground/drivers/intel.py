"""Intel: igb, ixgbe, i40e, ice, and the VF drivers that want their PF up."""

# ruff: noqa: ARG002 - a driver's callbacks take what the kernel hands them
from __future__ import annotations

import errno

from virtfn.model import EswitchMode
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.drivers.base import NicDriver, VfNicDriver, VfOperation
from virtfn.testing.ground.drivers.eswitch import SwitchdevDriver
from virtfn.testing.ground.tree import oserror

_TEN_GIGABIT = 10000


class Igb(NicDriver):
    """82576: no VF link state, no devlink."""

    vf_operations = frozenset(
        {VfOperation.MAC, VfOperation.VLAN, VfOperation.RATE, VfOperation.SPOOF_CHECK, VfOperation.TRUST}
    )

    def check_vfs(self, pf: PciFunction, count: int) -> None:
        """The core refuses more than seven before the driver sees it; firmware can allow fewer."""
        limit = pf.card.quirks.max_vfs
        if limit is not None and count > limit:
            raise oserror(errno.EPERM)

    def check_rate(self, pf: PciFunction, lowest: int, highest: int) -> None:
        """Only an upper limit, only with link, not over the link's speed."""
        if lowest or not 0 <= highest <= self.link_speed(pf) or not self.link_speed(pf):
            raise oserror(errno.EINVAL)


class Igbvf(VfNicDriver):
    """igbvf and ixgbevf: the address comes from the PF only while that is up."""

    vf_needs_pf_up = True


class Ixgbe(NicDriver):
    """82599: traffic classes take VFs away."""

    vf_operations = Igb.vf_operations | {VfOperation.LINK_STATE}

    def check_vfs(self, pf: PciFunction, count: int) -> None:
        """63 VFs without traffic classes, 31 with up to four, 15 with more."""
        classes = pf.card.quirks.traffic_classes
        limit = 15 if classes > 4 else 31 if classes > 1 else 63
        limit = min(limit, pf.card.quirks.max_vfs if pf.card.quirks.max_vfs is not None else limit)
        if count > limit:
            self.machine.log(
                f"ixgbe {pf.name}: Currently configured with {classes} TCs, and 0 offloaded macvlans. "
                f"Creating more than {limit} VFs is not allowed"
            )
            raise oserror(errno.EPERM)

    def check_rate(self, pf: PciFunction, lowest: int, highest: int) -> None:
        """Only an upper limit over 10 Mb/s, only on a link of just 10 Gb/s."""
        speed = self.link_speed(pf)
        if lowest or speed != _TEN_GIGABIT or (highest and not 10 < highest <= speed):
            raise oserror(errno.EINVAL)


class I40e(NicDriver):
    """X710: a devlink instance for information only, no eswitch."""

    vf_operations = Ixgbe.vf_operations

    def check_vfs(self, pf: PciFunction, count: int) -> None:
        """Firmware's limit."""
        limit = pf.card.quirks.max_vfs
        if limit is not None and count > limit:
            self.machine.log(
                f"i40e {pf.name}: Unable to enable {count} VFs. "
                f"Limited to {limit} VFs due to device resource constraints."
            )
            raise oserror(errno.EPERM)

    def check_rate(self, pf: PciFunction, lowest: int, highest: int) -> None:
        """Only an upper limit."""
        if lowest:
            self.machine.log(f"i40e {pf.name}: Invalid min tx rate ({lowest}) (greater than 0) specified for VF.")
        if lowest or highest > self.link_speed(pf):
            raise oserror(errno.EINVAL)

    def has_devlink(self, function: PciFunction) -> bool:
        """PFs only."""
        return function.physfn is None

    def eswitch_mode(self, function: PciFunction) -> EswitchMode | None:
        """The kernel answers, without a mode."""
        return None


class Ice(SwitchdevDriver):
    """E810: the mode can change only while there are no VFs; the representors come with the VFs."""

    def check_vfs(self, pf: PciFunction, count: int) -> None:
        """Safe mode, firmware's limit, interrupts."""
        quirks = pf.card.quirks
        if quirks.safe_mode:
            self.machine.log(f"ice {pf.name}: SR-IOV cannot be configured - Device is in Safe Mode")
            raise oserror(errno.EOPNOTSUPP)
        if quirks.max_vfs is not None and count > quirks.max_vfs:
            self.machine.log(f"ice {pf.name}: Can't enable {count} VFs, max VFs supported is {quirks.max_vfs}")
            raise oserror(errno.EOPNOTSUPP)
        if quirks.msix_vfs is not None and count > quirks.msix_vfs:
            self.machine.log(
                f"ice {pf.name}: Not enough resources for {count} VFs, err -28. Try with fewer number of VFs"
            )
            raise oserror(errno.ENOSPC)

    def check_flag(self, pf: PciFunction, operation: VfOperation) -> None:
        """No trusted VFs in switchdev mode."""
        if operation is VfOperation.TRUST and pf.eswitch_mode is EswitchMode.SWITCHDEV:
            self.machine.log(f"ice {pf.name}: Trusted VF is forbidden in switchdev mode")
            raise oserror(errno.EOPNOTSUPP)

    def set_eswitch_mode(self, function: PciFunction, mode: EswitchMode) -> None:
        """Refused while there are VFs."""
        if function.eswitch_mode is mode:
            return
        if function.vfs:
            raise oserror(errno.EOPNOTSUPP, "ice: Changing eswitch mode is allowed only if there is no VFs created")
        self.change_mode(function, mode)
