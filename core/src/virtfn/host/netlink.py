"""The only module that imports pyroute2: sockets for rtnetlink and devlink, and link messages with the VF attributes.

pyroute2 takes long to import, so `rtnetlink` and `devlink` import this module when they are first asked something.

The link message is our own, not pyroute2's `ifinfmsg`, which writes a VF's VLAN with protocol two bytes shorter than
the kernel reads it, and reads VF GUIDs past the end of their attribute. Numbers and structures are those of
linux/if_link.h.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyroute2.netlink import NETLINK_ROUTE, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, nla, nlmsg
from pyroute2.netlink.devlink import DEVLINK_NAMES, AsyncDevlinkSocket, DevlinkSocket, devlinkcmd
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket, Marshal, NetlinkSocket
from pyroute2.netlink.rtnl import RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK

from virtfn.host.oserror import os_error

Attributes = Sequence[tuple[str, Any]]


class LinkMessage(nlmsg):  # type: ignore[misc]
    """`struct ifinfomsg` and the attributes of a netdev that virtfn reads or writes."""

    prefix = "IFLA_"
    fields = (("family", "B"), ("pad", "B"), ("ifi_type", "H"), ("index", "i"), ("flags", "I"), ("change", "I"))
    nla_map = (
        (1, "IFLA_ADDRESS", "cdata"),
        (3, "IFLA_IFNAME", "asciiz"),
        (4, "IFLA_MTU", "uint32"),
        (22, "IFLA_VFINFO_LIST", "vf_list"),
        (29, "IFLA_EXT_MASK", "uint32"),
        (36, "IFLA_PHYS_SWITCH_ID", "cdata"),
        (38, "IFLA_PHYS_PORT_NAME", "asciiz"),
        (50, "IFLA_MIN_MTU", "uint32"),
        (51, "IFLA_MAX_MTU", "uint32"),
        (52, "IFLA_PROP_LIST", "properties"),
        (53, "IFLA_ALT_IFNAME", "asciiz"),
        (54, "IFLA_PERM_ADDRESS", "cdata"),
    )

    class properties(nla):  # type: ignore[misc]
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


class _LinkMarshal(Marshal):  # type: ignore[misc]
    msg_map = {RTM_NEWLINK: LinkMessage, RTM_SETLINK: LinkMessage, RTM_GETLINK: LinkMessage}  # noqa: RUF012


class _AsyncRouteSocket(AsyncNetlinkSocket):  # type: ignore[misc]
    marshal_class = _LinkMarshal


class _RouteSocket(NetlinkSocket):  # type: ignore[misc]
    async_class = _AsyncRouteSocket
    class_gen_sync = False


class _AsyncQuietDevlinkSocket(AsyncDevlinkSocket):  # type: ignore[misc]
    module_err_level = "debug"  # a kernel without devlink is nothing to complain about


class _QuietDevlinkSocket(DevlinkSocket):  # type: ignore[misc]
    async_class = _AsyncQuietDevlinkSocket


@contextmanager
def kernel_errors() -> Iterator[None]:
    """NetlinkError as OSError: the errno, and the kernel's extended acknowledgement as `strerror` where it gave one."""
    try:
        yield
    except NetlinkError as error:
        raise os_error(error.code, error.args[1] if len(error.args) > 1 else None) from error


def link_message(index: int = 0, *, attributes: Attributes = (), flags: int = 0, change: int = 0) -> LinkMessage:
    """A link message; nested attributes are `{"attrs": [...]}`."""
    message = LinkMessage()
    message["index"], message["flags"], message["change"] = index, flags, change
    message["attrs"] = list(attributes)
    return message


def get_link(message: LinkMessage) -> Any:
    """RTM_GETLINK of one netdev."""
    with kernel_errors(), _RouteSocket(family=NETLINK_ROUTE, ext_ack=True) as route:
        (answer,) = route.nlm_request(message, msg_type=RTM_GETLINK, msg_flags=NLM_F_REQUEST)
    return answer


def dump_links(message: LinkMessage) -> Sequence[Any]:
    """RTM_GETLINK of all netdevs of this network namespace."""
    with kernel_errors(), _RouteSocket(family=NETLINK_ROUTE, ext_ack=True) as route:
        answers: Sequence[Any] = route.nlm_request(message, msg_type=RTM_GETLINK, msg_flags=NLM_F_REQUEST | NLM_F_DUMP)
    return answers


def change_link(message: LinkMessage) -> None:
    """RTM_SETLINK. The kernel works through the attributes, and stops at the first that it refuses."""
    with kernel_errors(), _RouteSocket(family=NETLINK_ROUTE, ext_ack=True) as route:
        route.nlm_request(message, msg_type=RTM_SETLINK, msg_flags=NLM_F_REQUEST | NLM_F_ACK)


def devlink_request(
    command: str, *, attributes: Attributes = (), dump: bool = False, ack: bool = False
) -> Sequence[Any]:
    """A devlink command by its name (`DEVLINK_CMD_INFO_GET`); the kernel's answers. ENOENT: it has no devlink."""
    message = devlinkcmd()
    message["cmd"] = DEVLINK_NAMES[command]
    message["version"] = 1
    message["attrs"] = list(attributes)
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0) | (NLM_F_ACK if ack else 0)
    with kernel_errors(), _QuietDevlinkSocket(ext_ack=True) as devlink:
        devlink.bind()
        answers: Sequence[Any] = devlink.nlm_request(message, msg_type=devlink.prid, msg_flags=flags)
    return answers
