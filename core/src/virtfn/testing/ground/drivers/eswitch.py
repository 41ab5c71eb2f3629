"""NIC drivers with an eswitch: devlink mode and VF representors."""

from __future__ import annotations

from typing import ClassVar

from virtfn.model import EswitchMode, LinkType
from virtfn.testing.ground import names
from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import Netdev, PciFunction
from virtfn.testing.ground.drivers.base import NicDriver, VfOperation
from virtfn.testing.profiles import TcOffload


class SwitchdevDriver(NicDriver):
    """The mode belongs to the PF and outlives its VFs; representors are there in switchdev mode only."""

    all_operations: ClassVar[frozenset[VfOperation]] = frozenset(VfOperation) - {
        VfOperation.NODE_GUID,
        VfOperation.PORT_GUID,
    }
    vf_operations = all_operations

    offloads_in_switchdev: ClassVar[bool] = False
    """Whether hw-tc-offload goes on by itself with the mode; that it goes off again is not known of any driver."""

    def has_devlink(self, function: PciFunction) -> bool:
        """PFs only."""
        return function.physfn is None

    def eswitch_mode(self, function: PciFunction) -> EswitchMode | None:
        """The present mode."""
        return function.eswitch_mode

    def configure_sriov(self, pf: PciFunction, count: int) -> Steps[int]:
        """Representors come before the VFs and go with them."""
        if count == 0:
            self.remove_representors(pf)
            if pf.card.quirks.legacy_without_vfs:
                self.change_mode(pf, EswitchMode.LEGACY)
        made = yield from super().configure_sriov(pf, count)
        self.add_representors(pf)
        return made

    def change_mode(self, pf: PciFunction, mode: EswitchMode) -> None:
        """The uplink netdev stays as it is but for its features; the representors come or go."""
        pf.eswitch_mode = mode
        if pf.netdev is not None and mode is EswitchMode.SWITCHDEV and self.offloads_in_switchdev:
            pf.netdev.tc_offload = True
        elif pf.netdev is not None and pf.card.profile.ports.tc_offload is TcOffload.SWITCHDEV:
            pf.netdev.tc_offload = None
        if mode is EswitchMode.SWITCHDEV:
            self.add_representors(pf)
        else:
            self.remove_representors(pf)

    def add_representors(self, pf: PciFunction) -> None:
        """One netdev per VF, in the PF's own folder."""
        if pf.eswitch_mode is not EswitchMode.SWITCHDEV or pf.card.link_type(pf.port) is LinkType.IB:
            return
        net, ports = self.machine.net, pf.card.profile.ports
        there = {netdev.represents for netdev in pf.netdevs}
        for index in range(len(pf.vfs)):
            if index in there:
                continue
            netdev = Netdev(
                ifindex=net.new_ifindex(),
                name=net.free_name(names.representor_name(pf, index)),
                function=pf,
                mac=net.random_mac(),
                permanent_mac=None,
                mtu=ports.mtu,
                min_mtu=ports.min_mtu,
                max_mtu=ports.max_mtu,
                speed_mbps=ports.speed_mbps,
                mac_is_random=True,
                phys_port_name=names.representor_port(pf, index),
                phys_switch_id=names.switch_id(pf.card),
                represents=index,
            )
            net.add(netdev, folder=pf.folder)

    def remove_representors(self, pf: PciFunction) -> None:
        """The uplink stays."""
        for netdev in [netdev for netdev in pf.netdevs if netdev.represents is not None]:
            self.machine.net.remove(netdev)
