"""The simulated kernel: the bus, the network core, SR-IOV and modules on one tree and one clock."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping

from virtfn.model import PciAddress, PciId
from virtfn.testing.ground.blocking import Operations
from virtfn.testing.ground.card import Card, PciFunction
from virtfn.testing.ground.clock import VirtualClock
from virtfn.testing.ground.drivers import driver_class
from virtfn.testing.ground.drivers.base import Driver
from virtfn.testing.ground.modules import Modules
from virtfn.testing.ground.nic import NetCore
from virtfn.testing.ground.pci import PciBus
from virtfn.testing.ground.rdma import RdmaCore
from virtfn.testing.ground.sriov import SriovCore, capability
from virtfn.testing.ground.tree import Tree, oserror
from virtfn.testing.ground.vdpa import VdpaBus
from virtfn.testing.profiles import Profile

_CLASS_NETWORK = 0x02
_CLASS_INFINIBAND = 0x020700
_CLASS_ETHERNET = 0x020000


class KernelModel:
    """Everything a driver can reach."""

    def __init__(self, tree: Tree, clock: VirtualClock, *, iommu: bool, autoload: bool, seed: int) -> None:
        self.tree = tree
        self.clock = clock
        self.dmesg: list[str] = []
        self.operations = Operations()
        self.net = NetCore(tree, seed=seed)
        self.pci = PciBus(tree, self.operations, iommu=iommu)
        self.rdma = RdmaCore(tree, self.pci)
        self.modules = Modules(tree, self.pci, new_driver=self._new_driver, autoload=autoload, rdma=self.rdma)
        self.sriov = SriovCore(tree, self.pci, self.modules, self.operations, clock, self.dmesg)
        self.vdpa = VdpaBus(self)
        self.modules.listeners.append(self.vdpa.loaded)
        self._networks: dict[str, bool] = {}
        self._numbers: dict[str, Iterator[int]] = {}

    def log(self, line: str) -> None:
        """One line of the kernel log."""
        self.dmesg.append(line)

    def learn(self, profile: Profile) -> None:
        """The kernel has the drivers of this card."""
        network = profile.pci.class_code >> 16 == _CLASS_NETWORK
        self._networks[profile.driver.name] = network
        if profile.sriov is not None:
            self._networks.setdefault(profile.sriov.vf_driver, network)
        self.modules.learn(profile)

    def _new_driver(self, name: str, module: str, ids: set[PciId]) -> Driver:
        kind = driver_class(name, network=self._networks.get(name, False))
        return kind(self, name=name, module=module, ids=ids)

    # --- cards --------------------------------------------------------------------------------------------------------

    def power_up(self, card: Card) -> None:
        """Enumerate a card's functions and let the drivers that are loaded take them."""
        profile = card.profile
        for port in range(card.ports):
            class_code = profile.pci.class_code
            if class_code in (_CLASS_INFINIBAND, _CLASS_ETHERNET):
                class_code = _CLASS_INFINIBAND if card.link_type(port).value == "IB" else _CLASS_ETHERNET
            pf = PciFunction(
                address=card.pf_address(port), id=profile.pci.id, card=card, port=port, class_code=class_code
            )
            pf.sriov = capability(card, port)
            card.functions.append(pf)
            self.pci.add(pf)
            if pf.sriov is not None:
                self.sriov.publish(pf, pf.sriov)
            if card.bound:
                self.pci.probe(pf)

    def remove(self, function: PciFunction) -> None:
        """The function is pulled out: nobody is asked, nothing blocks."""
        for vf in list(function.vfs):
            self.remove(vf)
        if function.gone:
            return
        function.holders.clear()
        for device in self.vdpa.on(function):
            device.holders.clear()
        for _ in self.pci.detach(function):
            raise AssertionError(f"{function.name}: nothing holds it, and yet its driver waits")
        self.pci.remove(function)
        if function.physfn is not None:
            self.tree.remove(f"{function.physfn.folder}/virtfn{function.vf_index}")

    # --- look-ups -----------------------------------------------------------------------------------------------------

    def function(self, address: str | PciAddress) -> PciFunction:
        """The function with this address. OSError(ENODEV)."""
        try:
            return self.pci.functions[str(address)]
        except KeyError:
            raise oserror(errno.ENODEV) from None

    def devlink_functions(self) -> Mapping[str, PciFunction]:
        """Functions that have a devlink instance, by address."""
        return {
            name: function
            for name, function in self.pci.functions.items()
            if function.driver is not None and function.driver.has_devlink(function)
        }
