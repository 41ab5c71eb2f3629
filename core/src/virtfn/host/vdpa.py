"""Making and unmaking vDPA devices by the kernel's generic netlink family "vdpa" (linux/vdpa.h).

Which devices there are, and the drivers that they are bound to, is in sysfs: see `vdpa_devices`. The number of the
family is looked up each time, as it is another one when its module was taken out and loaded again meanwhile.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

Handle = tuple[str, str]
"""Bus and name of a management device: `("pci", "0000:3b:00.2")`; a simulator has a name and no bus (`""`)."""


class GenericNetlinkVdpa:
    """`Vdpa` of this machine. Every call opens its own socket.

    The family is there for the first network namespace only (`netnsok` in drivers/vdpa/vdpa.c): in another one the
    kernel seems to have none.
    """

    def management(self) -> frozenset[Handle]:
        """VDPA_CMD_MGMTDEV_GET; empty when the kernel has no vDPA."""
        try:
            answers = self._request("VDPA_CMD_MGMTDEV_GET", dump=True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                return frozenset()
            raise
        return frozenset(
            (answer.get_attr("VDPA_ATTR_MGMTDEV_BUS_NAME") or "", answer.get_attr("VDPA_ATTR_MGMTDEV_DEV_NAME"))
            for answer in answers
        )

    def add(self, handle: Handle, name: str, *, max_vqp: int | None = None) -> None:
        """VDPA_CMD_DEV_NEW; comes back when the device is on the bus, and bound if a driver is there to take it."""
        bus, device = handle
        attributes: list[tuple[str, Any]] = [("VDPA_ATTR_MGMTDEV_BUS_NAME", bus)] if bus else []
        attributes += [("VDPA_ATTR_MGMTDEV_DEV_NAME", device), ("VDPA_ATTR_DEV_NAME", name)]
        if max_vqp is not None:
            attributes.append(("VDPA_ATTR_DEV_NET_CFG_MAX_VQP", max_vqp))
        self._request("VDPA_CMD_DEV_NEW", attributes=attributes)

    def remove(self, name: str) -> None:
        """VDPA_CMD_DEV_DEL. Waits without end while a process has the device's vhost file open."""
        self._request("VDPA_CMD_DEV_DEL", attributes=[("VDPA_ATTR_DEV_NAME", name)])

    @staticmethod
    def _request(command: str, *, attributes: Sequence[tuple[str, Any]] = (), dump: bool = False) -> Sequence[Any]:
        from virtfn.host import netlink

        return netlink.vdpa_request(command, attributes=attributes, dump=dump)
