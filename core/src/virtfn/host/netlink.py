"""The only module that imports pyroute2: requests of rtnetlink, devlink and vDPA, and link messages of VFs.

pyroute2 takes long to import, so the modules that use this one import it when they are first asked something; and as a
whole it takes 11 MiB for its database of networks and other things, so only its messages are imported.

The link message is our own, not pyroute2's `ifinfmsg`, which writes a VF's VLAN with protocol two bytes shorter than
the kernel reads it. Numbers and structures are those of linux/if_link.h. Link messages that the kernel sends are read
in `link_message`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from virtfn.host.netlink_socket import NetlinkSocket
from virtfn.host.package_parts import parts_of

with parts_of("pyroute2"):
    from pyroute2.netlink import CTRL_CMD_GETFAMILY, GENL_ID_CTRL, NLA_F_NESTED, ctrlmsg, genlmsg, nla, nlmsg
    from pyroute2.netlink.devlink import DEVLINK_NAMES, devlinkcmd
    from pyroute2.netlink.rtnl import RTM_DELLINKPROP, RTM_GETLINK, RTM_SETLINK

Attributes = Sequence[tuple[str, Any]]

_NETLINK_GENERIC = 16


class LinkMessage(nlmsg):  # type: ignore[misc]
    """`struct ifinfomsg` and the attributes of a netdev that virtfn asks with, or sets."""

    prefix = "IFLA_"
    fields = (("family", "B"), ("pad", "B"), ("ifi_type", "H"), ("index", "i"), ("flags", "I"), ("change", "I"))
    nla_map = (
        (3, "IFLA_IFNAME", "asciiz"),
        (4, "IFLA_MTU", "uint32"),
        (22, "IFLA_VFINFO_LIST", "vf_list"),
        (29, "IFLA_EXT_MASK", "uint32"),
        (52, "IFLA_PROP_LIST", "prop_list"),
        (53, "IFLA_ALT_IFNAME", "asciiz"),
    )

    class prop_list(nla):  # type: ignore[misc]
        nla_flags = NLA_F_NESTED
        nla_map = ((53, "IFLA_ALT_IFNAME", "asciiz"),)

    class vf_list(nla):  # type: ignore[misc]
        nla_map = ((1, "IFLA_VF_INFO", "vf_info"),)

        class vf_info(nla):  # type: ignore[misc]
            nla_map = (
                (1, "IFLA_VF_MAC", "vf_mac"),
                (2, "IFLA_VF_VLAN", "vf_vlan"),
                (4, "IFLA_VF_SPOOFCHK", "vf_setting"),
                (5, "IFLA_VF_LINK_STATE", "vf_setting"),
                (6, "IFLA_VF_RATE", "vf_rate"),
                (9, "IFLA_VF_TRUST", "vf_setting"),
                (10, "IFLA_VF_IB_NODE_GUID", "vf_guid"),
                (11, "IFLA_VF_IB_PORT_GUID", "vf_guid"),
                (12, "IFLA_VF_VLAN_LIST", "vf_vlan_list"),
            )

            class vf_mac(nla):  # type: ignore[misc]
                fields = (("vf", "I"), ("mac", "32s"))

            class vf_vlan(nla):  # type: ignore[misc]
                fields = (("vf", "I"), ("vlan", "I"), ("qos", "I"))

            class vf_setting(nla):  # type: ignore[misc]
                fields = (("vf", "I"), ("setting", "I"))

            class vf_rate(nla):  # type: ignore[misc]
                fields = (("vf", "I"), ("min_tx_rate", "I"), ("max_tx_rate", "I"))

            class vf_guid(nla):  # type: ignore[misc]
                fields = (("vf", "I"), ("padding", "I"), ("guid", "Q"))

            class vf_vlan_list(nla):  # type: ignore[misc]
                nla_map = ((1, "IFLA_VF_VLAN_INFO", "vf_vlan_info"),)

                class vf_vlan_info(nla):  # type: ignore[misc]
                    fields = (("vf", "I"), ("vlan", "I"), ("qos", "I"), ("proto", ">H"), ("padding", "H"))


class DevlinkMessage(genlmsg):  # type: ignore[misc]
    """A devlink message about a parameter or a reload, which pyroute2 has no form for.

    A parameter's value goes as bytes: what they are depends on the parameter.
    """

    prefix = "DEVLINK_ATTR_"
    nla_map = (
        (1, "DEVLINK_ATTR_BUS_NAME", "asciiz"),
        (2, "DEVLINK_ATTR_DEV_NAME", "asciiz"),
        (81, "DEVLINK_ATTR_PARAM_NAME", "asciiz"),
        (83, "DEVLINK_ATTR_PARAM_TYPE", "uint8"),
        (86, "DEVLINK_ATTR_PARAM_VALUE_DATA", "cdata"),
        (87, "DEVLINK_ATTR_PARAM_VALUE_CMODE", "uint8"),
        (153, "DEVLINK_ATTR_RELOAD_ACTION", "uint8"),
    )


def link_message(index: int = 0, *, attributes: Attributes = (), flags: int = 0, change: int = 0) -> LinkMessage:
    """A link message; nested attributes are `{"attrs": [...]}`."""
    message = LinkMessage()
    message["index"], message["flags"], message["change"] = index, flags, change
    message["attrs"] = list(attributes)
    return message


def get_link(message: LinkMessage) -> bytes:
    """RTM_GETLINK of one netdev; the kernel's message."""
    with NetlinkSocket(socket.NETLINK_ROUTE) as route:
        (answer,) = route.request(message, kind=RTM_GETLINK, decode=bytes)
    return bytes(answer)


def dump_links(message: LinkMessage) -> Sequence[bytes]:
    """RTM_GETLINK of all netdevs of this network namespace; the kernel's messages."""
    with NetlinkSocket(socket.NETLINK_ROUTE) as route:
        return route.request(message, kind=RTM_GETLINK, decode=bytes, dump=True)


def change_link(message: LinkMessage) -> None:
    """RTM_SETLINK. The kernel works through the attributes, and stops at the first that it refuses."""
    with NetlinkSocket(socket.NETLINK_ROUTE) as route:
        route.request(message, kind=RTM_SETLINK, decode=bytes)


def drop_alt_name(index: int, name: str) -> None:
    """RTM_DELLINKPROP of an alternative name."""
    names = {"attrs": [("IFLA_ALT_IFNAME", name)]}
    with NetlinkSocket(socket.NETLINK_ROUTE) as route:
        message = link_message(index, attributes=[("IFLA_PROP_LIST", names)])
        route.request(message, kind=RTM_DELLINKPROP, decode=bytes)


class VdpaMessage(genlmsg):  # type: ignore[misc]
    """A message of the family "vdpa": those attributes of `enum vdpa_attr` that virtfn sends or reads."""

    prefix = "VDPA_ATTR_"
    nla_map = (
        (1, "VDPA_ATTR_MGMTDEV_BUS_NAME", "asciiz"),
        (2, "VDPA_ATTR_MGMTDEV_DEV_NAME", "asciiz"),
        (4, "VDPA_ATTR_DEV_NAME", "asciiz"),
        (12, "VDPA_ATTR_DEV_NET_CFG_MAX_VQP", "uint16"),
    )


_VDPA_COMMANDS = {"VDPA_CMD_MGMTDEV_GET": 2, "VDPA_CMD_DEV_NEW": 3, "VDPA_CMD_DEV_DEL": 4}


def devlink_family() -> int:
    """The number that devlink's messages have; the same until the kernel is another. ENOENT: it has no devlink."""
    return generic_family("devlink")


def generic_family(name: str) -> int:
    """The number that messages of a generic netlink family have. ENOENT: the kernel has no such family."""
    message = _generic_message(ctrlmsg(), CTRL_CMD_GETFAMILY, [("CTRL_ATTR_FAMILY_NAME", name)])
    with NetlinkSocket(_NETLINK_GENERIC) as generic:
        (found,) = generic.request(message, kind=GENL_ID_CTRL, decode=_family)
    return int(found.get_attr("CTRL_ATTR_FAMILY_ID"))


def devlink_request(command: str, *, family: int, attributes: Attributes = (), dump: bool = False) -> Sequence[Any]:
    """A devlink command by its name (`DEVLINK_CMD_INFO_GET`); the kernel's answers."""
    message = _generic_message(devlinkcmd(), DEVLINK_NAMES[command], attributes)
    with NetlinkSocket(_NETLINK_GENERIC) as generic:
        return generic.request(message, kind=family, decode=_devlink, dump=dump)


def devlink_bytes(command: str, *, family: int, attributes: Attributes) -> Sequence[bytes]:
    """A devlink command with attributes of `DevlinkMessage`; the kernel's answers as they came."""
    message = _generic_message(DevlinkMessage(), DEVLINK_NAMES[command], attributes)
    with NetlinkSocket(_NETLINK_GENERIC) as generic:
        return generic.request(message, kind=family, decode=bytes)


def vdpa_request(command: str, *, attributes: Attributes = (), dump: bool = False) -> Sequence[Any]:
    """A command of the family "vdpa" by its name (`VDPA_CMD_DEV_NEW`); the kernel's answers."""
    message = _generic_message(VdpaMessage(), _VDPA_COMMANDS[command], attributes)
    family = generic_family("vdpa")
    with NetlinkSocket(_NETLINK_GENERIC) as generic:
        return generic.request(message, kind=family, decode=_vdpa, dump=dump)


def _generic_message(message: Any, command: int, attributes: Attributes) -> Any:
    message["cmd"], message["version"] = command, 1
    message["attrs"] = list(attributes)
    return message


def _family(data: bytes) -> Any:
    return _decoded(ctrlmsg(data))


def _devlink(data: bytes) -> Any:
    return _decoded(devlinkcmd(data))


def _vdpa(data: bytes) -> Any:
    return _decoded(VdpaMessage(data))


def _decoded(message: Any) -> Any:
    message.decode()
    return message
