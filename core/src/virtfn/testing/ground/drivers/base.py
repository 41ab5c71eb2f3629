"""What all drivers have in common, and what most NIC drivers do."""

# ruff: noqa: ARG002 - a driver's callbacks take what the kernel hands them
from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from virtfn.host.api import DevlinkInfo, DevlinkParam, ParamMode, ParamValue
from virtfn.model import EswitchMode, LinkType, PciId, VfSettings
from virtfn.model.inventory import UNSET_MAC
from virtfn.testing.ground import names
from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import Netdev, PciFunction
from virtfn.testing.ground.tree import oserror

if TYPE_CHECKING:
    from virtfn.testing.ground.kernel_model import KernelModel

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GUID = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){7}")


class VfOperation(StrEnum):
    """What rtnetlink can ask a driver to do to a VF; one driver callback each."""

    MAC = "mac"
    VLAN = "vlan"
    RATE = "rate"
    SPOOF_CHECK = "spoof_check"
    LINK_STATE = "link_state"
    TRUST = "trust"
    NODE_GUID = "node_guid"
    PORT_GUID = "port_guid"


_FIELDS: Mapping[VfOperation, tuple[str, ...]] = {
    VfOperation.MAC: ("mac",),
    VfOperation.VLAN: ("vlan", "qos", "vlan_proto"),
    VfOperation.RATE: ("min_tx_rate", "max_tx_rate"),
    VfOperation.SPOOF_CHECK: ("spoof_check",),
    VfOperation.LINK_STATE: ("link_state",),
    VfOperation.TRUST: ("trust",),
    VfOperation.NODE_GUID: ("node_guid",),
    VfOperation.PORT_GUID: ("port_guid",),
}
"""Fields of `VfSettings` by operation, in the order in which rtnetlink does them."""


class Driver:
    """A PCI driver."""

    makes_vfs: ClassVar[bool] = False
    """Whether it has a `sriov_configure` callback."""
    rdma_module: ClassVar[str] = ""
    """The module that makes RDMA devices on its functions."""

    def __init__(self, machine: KernelModel, *, name: str, module: str, ids: set[PciId]) -> None:
        self.machine = machine
        self.name = name
        self.module = module
        self.ids = ids
        self.dynamic_ids: set[PciId] = set()

    def probe(self, function: PciFunction) -> None:
        """Take the function. OSError: it cannot."""

    def remove(self, function: PciFunction) -> Steps[None]:
        """Let go of the function, with its VFs if it has any."""
        if function.vfs:
            yield from self.machine.sriov.disable(function)

    def configure_sriov(self, pf: PciFunction, count: int) -> Steps[int]:
        """The `sriov_configure` callback; the result is the number it says it made."""
        if count == 0:
            yield from self.machine.sriov.disable(pf)
            return 0
        self.machine.sriov.enable(pf, count)
        return count

    def makes_vdpa(self, function: PciFunction) -> bool:
        """Whether the function is a vDPA management device."""
        return False

    # --- rtnetlink ----------------------------------------------------------------------------------------------------

    def vf_settings(self, pf: PciFunction) -> dict[int, VfSettings]:
        """What `ndo_get_vf_config` tells of each VF; empty without one."""
        return {}

    def set_vf(self, pf: PciFunction, index: int, wanted: Mapping[str, Any]) -> None:
        """IFLA_VFINFO_LIST: one callback after the other; those before a refusal have happened."""
        raise oserror(errno.EOPNOTSUPP)

    def ethtool_info(self, function: PciFunction) -> dict[str, str]:
        """ETHTOOL_GDRVINFO, without the version."""
        firmware = function.card.profile.driver.firmware_version if function.physfn is None else ""
        return {"driver": self.name, "firmware-version": firmware, "bus-info": function.name}

    # --- devlink ------------------------------------------------------------------------------------------------------

    def has_devlink(self, function: PciFunction) -> bool:
        """Whether the function has a devlink instance."""
        return False

    def eswitch_mode(self, function: PciFunction) -> EswitchMode | None:
        """OSError(EOPNOTSUPP) without an eswitch; None where the kernel answers without the attribute."""
        raise oserror(errno.EOPNOTSUPP)

    def set_eswitch_mode(self, function: PciFunction, mode: EswitchMode) -> None:
        """OSError as the driver refuses, with the text it gives."""
        raise oserror(errno.EOPNOTSUPP)

    def inline_mode(self, function: PciFunction) -> str | None:
        """Of the eswitch; None without one."""
        return None

    def set_inline_mode(self, function: PciFunction, mode: str) -> None:
        """OSError as the driver refuses."""
        raise oserror(errno.EOPNOTSUPP)

    def reload(self, function: PciFunction) -> None:
        """Take the function anew (`devlink dev reload`). OSError(EOPNOTSUPP): the driver cannot."""
        raise oserror(errno.EOPNOTSUPP)

    def devlink_info(self, function: PciFunction) -> DevlinkInfo:
        """Driver, serial number and versions; a VF has no versions."""
        if function.physfn is not None:
            return DevlinkInfo(driver=self.name)
        facts = function.card.profile.devlink
        return DevlinkInfo(
            driver=self.name,
            serial_number=facts.serial_number or None,
            fixed=facts.fixed,
            running=facts.running,
            stored=facts.stored,
        )

    def devlink_param(self, function: PciFunction, name: str) -> DevlinkParam | None:
        """As the profile says it is at boot, or as it was set; PFs only."""
        facts = function.card.profile.devlink.params.get(name) if function.physfn is None else None
        if facts is None:
            return None
        return DevlinkParam(name, facts.kind, {facts.mode: function.params.get((name, facts.mode), facts.value)})

    def set_devlink_param(self, function: PciFunction, name: str, value: ParamValue, mode: ParamMode) -> None:
        """The driver's check, then the value is kept. OSError(EINVAL) for a name or a value that is none."""
        known = self.devlink_param(function, name)
        if known is None:
            raise oserror(errno.EINVAL)
        if mode not in known.values:
            raise oserror(errno.EOPNOTSUPP)
        self.check_param(function, name, value)
        function.params[name, mode] = value

    def check_param(self, function: PciFunction, name: str, value: ParamValue) -> None:
        """OSError as the driver refuses a value."""
        choices = function.card.profile.devlink.params[name].choices
        if choices and value not in choices:
            raise oserror(errno.EINVAL)


class SimpleDriver(Driver):
    """A driver that is no NIC's and makes VFs in the simplest way."""

    makes_vfs = True


class NicDriver(Driver):
    """A NIC's driver: one netdev per function. As it is, an ordinary driver that leaves VFs' settings alone."""

    makes_vfs = True
    vf_operations: ClassVar[frozenset[VfOperation]] = frozenset()
    """VF callbacks the driver has."""
    vf_needs_pf_up: ClassVar[bool] = False
    """Whether a VF that is probed while the PF is down does not learn its address."""

    # --- netdevs ------------------------------------------------------------------------------------------------------

    def probe(self, function: PciFunction) -> None:
        """The netdev; a VF's can be late."""
        facts, sriov = function.card.profile.sriov, function.sriov
        if sriov is not None and facts is not None and facts.driver_max_vfs is not None:
            sriov.total = min(sriov.hardware_total, facts.driver_max_vfs)
        self.machine.modules.load_for(function, self.rdma_module)
        self.machine.rdma.attach(function)
        if function.physfn is None:
            self.add_netdev(function)
            return

        def late() -> None:
            if function.driver is self and function.netdev is None and not function.gone:
                self.add_netdev(function)

        self.machine.clock.after(function.card.quirks.netdev_delay, late)

    def remove(self, function: PciFunction) -> Steps[None]:
        """VFs first, then the netdevs."""
        yield from super().remove(function)
        self.machine.rdma.detach(function)
        function.eswitch_mode = EswitchMode.LEGACY
        for netdev in list(function.netdevs):
            self.machine.net.remove(netdev)
        if function.sriov is not None:
            function.sriov.total = function.sriov.hardware_total

    def add_netdev(self, function: PciFunction, *, folder: str = "") -> None:
        """Register the function's netdev."""
        card, net = function.card, self.machine.net
        ports, sriov = card.profile.ports, card.profile.sriov
        link_type = card.link_type(function.port)
        infiniband = link_type is LinkType.IB
        is_vf = function.physfn is not None
        if is_vf:
            mac, random = self.vf_mac(function)
        else:
            mac, random = card.mac(function.port), False
        netdev = Netdev(
            ifindex=net.new_ifindex(),
            name=net.free_name(names.vf_name(function) if is_vf else names.pf_name(card, function.port)),
            function=function,
            mac=names.infiniband_address(mac) if infiniband else mac,
            permanent_mac=None if infiniband or is_vf else mac,
            mtu=ports.mtu,
            min_mtu=ports.min_mtu,
            max_mtu=(sriov.vf_max_mtu if is_vf and sriov and sriov.vf_max_mtu else ports.max_mtu),
            speed_mbps=ports.speed_mbps,
            link_type=link_type,
            up=card.up and not is_vf,
            mac_is_random=random,
            phys_port_name=None if is_vf else names.port_name(card, function.port),
            alt_names=() if is_vf else names.pf_alt_names(card, function.port),
            phys_switch_id=None if is_vf or infiniband else self.switch_id(function),
            partner=card.quirks.link_partner,
            tc_offload=None if is_vf or infiniband else ports.tc_offload.in_legacy,
        )
        net.add(netdev, folder=folder or function.folder)

    def switch_id(self, pf: PciFunction) -> str | None:
        """`phys_switch_id` of a PF."""
        return names.switch_id(pf.card)

    def vf_mac(self, vf: PciFunction) -> tuple[str, bool]:
        """The address a VF's netdev gets, and whether it is random: the PF's word counts if there is one."""
        pf = vf.physfn
        if pf is not None and pf.sriov is not None and vf.vf_index is not None and vf.vf_index < len(pf.sriov.admin):
            up = pf.netdev is not None and pf.netdev.up
            if self.vf_needs_pf_up and not up:
                self.machine.log(f"{self.name} {vf.name}: PF still in reset state. Is the PF interface up?")
            elif (mac := pf.sriov.admin[vf.vf_index].mac) not in (None, UNSET_MAC):
                assert mac is not None
                return mac, False
        return self.machine.net.random_mac(), True

    # --- SR-IOV -------------------------------------------------------------------------------------------------------

    def configure_sriov(self, pf: PciFunction, count: int) -> Steps[int]:
        """Checks of the driver, then the VFs' settings at their defaults, then the VFs."""
        if count:
            self.check_vfs(pf, count)
            self.reset_settings(pf, count)
        return (yield from super().configure_sriov(pf, count))

    def check_vfs(self, pf: PciFunction, count: int) -> None:
        """OSError when the driver does not want to make so many."""

    def reset_settings(self, pf: PciFunction, count: int) -> None:
        """Fresh VFs have none of the settings of those that were there before."""
        assert pf.sriov is not None
        facts = pf.card.profile.sriov
        plain = VfSettings(
            mac=UNSET_MAC,
            vlan=0,
            qos=0,
            vlan_proto="802.1q",
            trust=False if VfOperation.TRUST in self.operations(pf) else None,
            spoof_check=(facts is not None and facts.spoof_check)
            if VfOperation.SPOOF_CHECK in self.operations(pf)
            else None,
            link_state="auto",
            min_tx_rate=0,
            max_tx_rate=0,
        )
        pf.sriov.admin = [plain] * count

    def operations(self, pf: PciFunction) -> frozenset[VfOperation]:
        """The VF callbacks of this PF's netdev."""
        return self.vf_operations

    def vf_settings(self, pf: PciFunction) -> dict[int, VfSettings]:
        """As the PF keeps them."""
        if not self.operations(pf) or pf.sriov is None:
            return {}
        return dict(enumerate(pf.sriov.admin[: len(pf.sriov.vfs)]))

    def set_vf(self, pf: PciFunction, index: int, wanted: Mapping[str, Any]) -> None:
        """See `Driver`. None stays as it is; VLAN 0 by itself clears priority and protocol too."""
        wanted = {field: value for field, value in wanted.items() if value is not None}
        if wanted.get("vlan") == 0:
            wanted = {"qos": 0, "vlan_proto": "802.1q", **wanted}
        if unknown := set(wanted) - {field for fields in _FIELDS.values() for field in fields}:
            raise ValueError(f"there is no VF setting {', '.join(sorted(unknown))}")
        for operation, fields in _FIELDS.items():
            if not any(field in wanted for field in fields):
                continue
            if operation not in self.operations(pf):
                raise oserror(errno.EOPNOTSUPP)
            if pf.sriov is None or not 0 <= index < len(pf.sriov.vfs):
                raise oserror(errno.EINVAL)
            new = replace(pf.sriov.admin[index], **{field: wanted[field] for field in fields if field in wanted})
            self._check(operation, pf, new)
            pf.sriov.admin[index] = new

    def _check(self, operation: VfOperation, pf: PciFunction, new: VfSettings) -> None:
        match operation:
            case VfOperation.MAC:
                self.check_mac(pf, new.mac or "")
            case VfOperation.VLAN:
                self.check_vlan(pf, new.vlan or 0, new.qos or 0, new.vlan_proto or "802.1q")
            case VfOperation.RATE:
                self.check_rate(pf, new.min_tx_rate or 0, new.max_tx_rate or 0)
            case VfOperation.NODE_GUID | VfOperation.PORT_GUID:
                if not all(_GUID.fullmatch(guid or "") for guid in (new.node_guid, new.port_guid)):
                    raise oserror(errno.EINVAL)
            case VfOperation.LINK_STATE:
                if new.link_state not in ("auto", "enable", "disable"):
                    raise oserror(errno.EINVAL)
                self.check_flag(pf, operation)
            case VfOperation.TRUST | VfOperation.SPOOF_CHECK:
                self.check_flag(pf, operation)

    def check_mac(self, pf: PciFunction, mac: str) -> None:
        """All zero takes the address back; a group address is refused."""
        if not _MAC.fullmatch(mac.lower()) or int(mac[:2], 16) & 1:
            raise oserror(errno.EINVAL)

    def check_vlan(self, pf: PciFunction, vlan: int, qos: int, proto: str) -> None:
        """12 bits and 3 bits; only 802.1Q."""
        if not 0 <= vlan <= 4095 or not 0 <= qos <= 7:
            raise oserror(errno.EINVAL)
        if proto.lower() != "802.1q":
            raise oserror(errno.EPROTONOSUPPORT)

    def check_rate(self, pf: PciFunction, lowest: int, highest: int) -> None:
        """Mb/s, 0 is "no limit"."""

    def check_flag(self, pf: PciFunction, operation: VfOperation) -> None:
        """Trust, spoof checking, link state."""

    @staticmethod
    def link_speed(pf: PciFunction) -> int:
        """Mb/s; 0 while there is no link."""
        netdev = pf.netdev
        return netdev.speed_mbps if netdev is not None and netdev.up and netdev.partner else 0


class VfNicDriver(NicDriver):
    """A driver for VFs only (iavf)."""

    makes_vfs = False
