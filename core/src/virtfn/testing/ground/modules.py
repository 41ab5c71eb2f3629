"""Kernel modules: which there are, which are loaded, and the drivers they bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from virtfn.model import PciId
from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.drivers.base import Driver
from virtfn.testing.ground.pci import PciBus
from virtfn.testing.ground.rdma import RdmaCore
from virtfn.testing.ground.tree import Tree
from virtfn.testing.profiles import Profile

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "vfio_pci_core": ("vfio", "irqbypass"),
    "vfio_pci": ("vfio_pci_core", "vfio_iommu_type1"),
    "virtio_pci": ("virtio", "virtio_net"),
    "mlx5_vdpa": ("mlx5_core", "vdpa"),
    "ib_uverbs": ("ib_core",),
    "rdma_ucm": ("ib_uverbs",),
    "mlx5_ib": ("mlx5_core", "ib_uverbs"),
    "vhost_net": ("vhost", "tun"),
    "vhost_vdpa": ("vhost", "vdpa"),
    "virtio_vdpa": ("virtio", "virtio_net", "vdpa"),
}
"""Modules that another one loads first, leaving out those that make no difference here."""

_PLAIN = frozenset(
    {"vfio", "vfio_iommu_type1", "vfio_pci_core", "irqbypass", "virtio", "virtio_net", "vdpa", "mlx5_vdpa", "vhost"}
    | {"vhost_net", "vhost_vdpa", "virtio_vdpa", "tun", "ib_core", "mlx5_ib", "irdma", "openvswitch"}
    | {"ib_uverbs", "rdma_ucm"}
)
"""Modules that only have to be there."""

_USERSPACE = {"vfio_pci": "vfio-pci", "uio_pci_generic": "uio_pci_generic"}
"""Modules whose driver takes no function by its ids."""


class Modules:
    """What `modprobe`, the boot, and udev load."""

    def __init__(
        self,
        tree: Tree,
        pci: PciBus,
        *,
        new_driver: Callable[[str, str, set[PciId]], Driver],
        autoload: bool,
        rdma: RdmaCore,
    ) -> None:
        self._tree = tree
        self._rdma = rdma
        self._pci = pci
        self._new_driver = new_driver
        self._autoload = autoload
        self._drivers: dict[str, dict[str, set[PciId]]] = {
            module: {driver: set()} for module, driver in _USERSPACE.items()
        }
        self.listeners: list[Callable[[str], None]] = []
        """Told the name of each module that has been loaded."""
        self.loaded: set[str] = set()
        self.by_udev: set[str] = set()
        """Those of them that nobody asked for."""
        self.at_boot: set[str] = set()
        """Loaded again after a reboot."""
        tree.folder("sys/module")

    def learn(self, profile: Profile) -> None:
        """The drivers of a card and of its VFs, and the ids they take, are in the kernel from now on."""
        driver = profile.driver
        self._drivers.setdefault(driver.module_name, {}).setdefault(driver.name, set()).add(profile.pci.id)
        if profile.sriov is not None and profile.vf_id is not None:
            name = profile.sriov.vf_driver
            module = driver.module_name if name == driver.name else name.replace("-", "_")
            self._drivers.setdefault(module, {}).setdefault(name, set()).add(profile.vf_id)

    def load(self, name: str) -> bool:
        """Load a module with those it needs; False when there is none of that name."""
        module = name.replace("-", "_")
        if module in self.loaded:
            return True
        if module not in self._drivers and module not in _PLAIN:
            return False
        for needed in _NEEDS.get(module, ()):
            self.load(needed)
        self.loaded.add(module)
        self._tree.file(f"sys/module/{module}/initstate", "live\n")
        if module == "vfio":
            self._tree.plain("dev/vfio/vfio", "")
        for driver, ids in self._drivers.get(module, {}).items():
            self._pci.register(self._new_driver(driver, module, ids))
        for listener in self.listeners:
            listener(module)
        self._rdma.loaded(module)
        return True

    def load_for(self, function: PciFunction, module: str) -> None:
        """What udev does for a device that a driver makes below a function: load the module that takes it."""
        if self._autoload and function.driver is not None and module and module not in self.loaded:
            before = set(self.loaded)
            self.load(module)
            self.by_udev |= self.loaded - before

    def unload(self, name: str) -> Steps[None]:
        """Take a module out: its drivers leave their functions."""
        module = name.replace("-", "_")
        for driver in [driver for driver in self._pci.drivers.values() if driver.module == module]:
            yield from self._pci.unregister(driver)
        self.loaded.discard(module)
        self.by_udev.discard(module)
        self._tree.remove(f"sys/module/{module}")
        self._rdma.unloaded(module)

    def autoload(self, function: PciFunction) -> None:
        """What udev does for a new function: load the module whose driver takes its ids."""
        if not self._autoload:
            return
        for module, drivers in self._drivers.items():
            if module not in self.loaded and any(function.id in ids for ids in drivers.values()):
                self.load(module)
                self.by_udev.add(module)

    def restart(self) -> None:
        """Nothing is loaded any more but what is loaded at boot."""
        for driver in list(self._pci.drivers.values()):
            del self._pci.drivers[driver.name]
            self._tree.remove(f"sys/bus/pci/drivers/{driver.name}")
        for module in sorted(self.loaded):
            self._tree.remove(f"sys/module/{module}")
        self.loaded.clear()
        self.by_udev.clear()
        for module in sorted(self.at_boot):
            self.load(module)
