"""virtio-pci: the netdev hangs below a virtio device, which has a bus of its own."""

from __future__ import annotations

from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.drivers.base import NicDriver


class VirtioPci(NicDriver):
    """A paravirtual NIC; it makes no VFs."""

    makes_vfs = False

    def probe(self, function: PciFunction) -> None:
        """`<address>/virtio<N>/net/<name>`, and nothing in `<address>/net`."""
        tree = self.machine.tree
        number = 0
        while tree.exists(f"sys/bus/virtio/devices/virtio{number}"):
            number += 1
        function.bus_number = number
        device = f"{function.folder}/virtio{number}"
        tree.folder(device)
        tree.link(f"sys/bus/virtio/devices/virtio{number}", device)
        tree.folder("sys/bus/virtio/drivers/virtio_net")
        tree.link(f"{device}/driver", "sys/bus/virtio/drivers/virtio_net")
        self.add_netdev(function, folder=device)

    def remove(self, function: PciFunction) -> Steps[None]:
        """The virtio device goes with the netdev."""
        yield from super().remove(function)
        self.machine.tree.remove(f"sys/bus/virtio/devices/virtio{function.bus_number}")
        self.machine.tree.remove(f"{function.folder}/virtio{function.bus_number}")

    def ethtool_info(self, function: PciFunction) -> dict[str, str]:
        """The virtio driver's name, the PCI device's address."""
        return super().ethtool_info(function) | {"driver": "virtio_net"}
