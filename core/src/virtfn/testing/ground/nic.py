"""The network core: netdevs with their files below /sys/class/net, link state and MTU."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from virtfn.host.kernel import ARPHRD_ETHER, ARPHRD_INFINIBAND, LinkInfo
from virtfn.model import LinkType
from virtfn.testing.ground.card import Netdev
from virtfn.testing.ground.tree import Tree, oserror

_ARP_TYPES = {LinkType.ETH: ARPHRD_ETHER, LinkType.IB: ARPHRD_INFINIBAND}


class NetCore:
    """All netdevs of the machine, and those of this network namespace."""

    def __init__(self, tree: Tree, *, seed: int) -> None:
        self._tree = tree
        self._random = random.Random(seed)
        self._ifindex = 1
        self._kernel_names = 0
        self.devices: dict[int, Netdev] = {}
        """By ifindex, this network namespace only."""

    # --- making and unmaking ------------------------------------------------------------------------------------------

    def new_ifindex(self) -> int:
        """A number that no netdev ever had."""
        self._ifindex += 1
        return self._ifindex

    def free_name(self, wanted: str | None) -> str:
        """The name, or the kernel's next (`eth0`, `eth1`) when there is none or it is taken."""
        taken = {netdev.name for netdev in self.devices.values()}
        if wanted is not None and wanted not in taken:
            return wanted
        while (name := f"eth{self._kernel_names}") in taken:
            self._kernel_names += 1
        return name

    def random_mac(self) -> str:
        """A locally administered unicast address; the same sequence in every run."""
        return ":".join(f"{byte:02x}" for byte in (0x02, *self._random.randbytes(5)))

    def add(self, netdev: Netdev, *, folder: str) -> None:
        """Register a netdev below the folder of its parent device."""
        netdev.folder = folder
        self.devices[netdev.ifindex] = netdev
        netdev.function.netdevs.append(netdev)
        self._publish(netdev)

    def remove(self, netdev: Netdev) -> None:
        """Unregister, wherever it is."""
        self.hide(netdev)
        if netdev in netdev.function.netdevs:
            netdev.function.netdevs.remove(netdev)

    def hide(self, netdev: Netdev) -> None:
        """Take it out of this network namespace: here it is as if it were not there."""
        if not netdev.folder:
            return
        self.devices.pop(netdev.ifindex, None)
        self._tree.remove(f"sys/class/net/{netdev.name}")
        self._tree.remove(f"{netdev.folder}/net/{netdev.name}")
        self._tree.remove_if_empty(f"{netdev.folder}/net")
        netdev.folder = ""

    def refresh(self, netdev: Netdev) -> None:
        """Its files say what it is now."""
        if netdev.folder:
            self._tree.refresh(f"{netdev.folder}/net/{netdev.name}")

    def rename(self, netdev: Netdev, name: str) -> None:
        """Its folder moves along. OSError(EEXIST) when another netdev has the name."""
        if any(other is not netdev and name in (other.name, *other.alt_names) for other in self.devices.values()):
            raise oserror(errno.EEXIST)
        self._tree.remove(f"sys/class/net/{netdev.name}")
        self._tree.remove(f"{netdev.folder}/net/{netdev.name}")
        netdev.name = name
        netdev.alt_names = tuple(other for other in netdev.alt_names if other != name)
        self._publish(netdev)

    def restart(self) -> None:
        """Numbers and kernel names begin anew with the machine."""
        self._ifindex = 1
        self._kernel_names = 0

    # --- using --------------------------------------------------------------------------------------------------------

    def by_index(self, ifindex: int) -> Netdev:
        """OSError(ENODEV) when it is not there."""
        try:
            return self.devices[ifindex]
        except KeyError:
            raise oserror(errno.ENODEV) from None

    def by_name(self, name: str) -> Netdev:
        """By its name or an alternative one. OSError(ENODEV) when it is not there."""
        for netdev in self.devices.values():
            if name == netdev.name or name in netdev.alt_names:
                return netdev
        raise oserror(errno.ENODEV)

    def set_mtu(self, netdev: Netdev, mtu: int) -> None:
        """OSError(EINVAL) outside the driver's limits."""
        if not netdev.min_mtu <= mtu <= netdev.max_mtu:
            word = "less than device minimum" if mtu < netdev.min_mtu else "greater than device maximum"
            raise oserror(errno.EINVAL, f"mtu {word}")
        netdev.mtu = mtu
        self.refresh(netdev)

    def set_up(self, netdev: Netdev, up: bool) -> None:
        """IFF_UP."""
        netdev.up = up
        self.refresh(netdev)

    @staticmethod
    def link_info(netdev: Netdev) -> LinkInfo:
        """As RTM_GETLINK tells it."""
        return LinkInfo(
            ifindex=netdev.ifindex,
            name=netdev.name,
            mac=netdev.mac,
            mtu=netdev.mtu,
            up=netdev.up,
            arp_type=_ARP_TYPES[netdev.link_type],
            permanent_mac=netdev.permanent_mac,
            min_mtu=netdev.min_mtu,
            max_mtu=netdev.max_mtu,
            alt_names=netdev.alt_names,
            phys_port_name=netdev.phys_port_name,
            phys_switch_id=netdev.phys_switch_id,
            master=netdev.master,
        )

    # --- files --------------------------------------------------------------------------------------------------------

    def _publish(self, netdev: Netdev) -> None:
        here = f"{netdev.folder}/net/{netdev.name}"

        def running() -> bool:
            return netdev.up and netdev.partner

        def when_up(text: Callable[[], str]) -> Callable[[], str]:
            def read() -> str:
                if not netdev.up:
                    raise oserror(errno.EINVAL)
                return text()

            return read

        def supported(value: Callable[[], str | None]) -> Callable[[], str]:
            def read() -> str:
                if (text := value()) is None:
                    raise oserror(errno.EOPNOTSUPP)
                return f"{text}\n"

            return read

        def write_mtu(text: str) -> None:
            try:
                mtu = int(text)
            except ValueError:
                raise oserror(errno.EINVAL) from None
            self.set_mtu(netdev, mtu)

        constants = {
            "ifindex": netdev.ifindex,
            "iflink": netdev.ifindex,
            "type": _ARP_TYPES[netdev.link_type],
            "addr_len": len(netdev.mac.split(":")),
            "addr_assign_type": int(netdev.mac_is_random),
            "dev_id": "0x0",
            "dev_port": netdev.function.port if netdev.link_type is LinkType.IB else 0,
        }
        for name, value in constants.items():
            self._tree.file(f"{here}/{name}", f"{value}\n")
        readers: dict[str, Callable[[], str]] = {
            "address": lambda: f"{netdev.mac}\n",
            "flags": lambda: f"0x{0x1003 if netdev.up else 0x1002:x}\n",
            "operstate": lambda: "up\n" if running() else "down\n",
            "carrier": when_up(lambda: f"{int(running())}\n"),
            "speed": when_up(lambda: f"{netdev.speed_mbps if running() else -1}\n"),
            "duplex": when_up(lambda: "full\n" if running() else "unknown\n"),
            "phys_port_name": supported(lambda: netdev.phys_port_name),
            "phys_switch_id": supported(lambda: netdev.phys_switch_id),
            "phys_port_id": supported(lambda: None),
        }
        for name, read in readers.items():
            self._tree.attribute(f"{here}/{name}", read=read)
        self._tree.attribute(f"{here}/mtu", read=lambda: f"{netdev.mtu}\n", write=write_mtu)
        about = f"INTERFACE={netdev.name}\nIFINDEX={netdev.ifindex}\n"
        self._tree.attribute(f"{here}/uevent", read=lambda: about, write=_check_action)
        self._tree.link(f"{here}/device", netdev.folder)
        self._tree.link(f"sys/class/net/{netdev.name}", here)


def _check_action(text: str) -> None:
    """The kernel sends the event to whoever listens (Linux lib/kobject_uevent.c)."""
    if text.strip() not in ("add", "remove", "change", "move", "online", "offline", "bind", "unbind"):
        raise oserror(errno.EINVAL)
