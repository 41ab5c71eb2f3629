"""Eswitch mode and device information by devlink, the kernel's generic netlink family for whole devices.

pyroute2 lists devlink instances only; the rest is a few attributes of linux/devlink.h. How they travel is in `netlink`.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Sequence
from typing import Any

from virtfn.host.api import DevlinkInfo, DevlinkParam, ParamMode, ParamValue
from virtfn.host.devlink_param import param_attributes, read_param
from virtfn.host.netlink_socket import attributes
from virtfn.model import EswitchMode

_log = logging.getLogger(__name__)

_MODES = {0: EswitchMode.LEGACY, 1: EswitchMode.SWITCHDEV}
INLINE_MODES = ("none", "link", "network", "transport")  # enum devlink_eswitch_inline_mode
_DRIVER_REINIT = 1  # enum devlink_reload_action
_ACTIONS_PERFORMED = 154
_HEADERS = 20  # struct nlmsghdr and struct genlmsghdr
_NUMBERS = {mode: number for number, mode in _MODES.items()}
# ENOENT: the kernel has no devlink. ENODEV: the device has no instance. EOPNOTSUPP: its driver lacks the request.
_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP})

Handle = tuple[str, str]


class GenericNetlinkDevlink:
    """`Devlink` of the process's own network namespace. Threads may share one: every call opens its own socket."""

    def __init__(self) -> None:
        self._family: int | None = None

    def eswitch_mode(self, handle: Handle) -> EswitchMode | None:
        """DEVLINK_CMD_ESWITCH_GET; None when the device has no devlink instance or no eswitch."""
        answers = self._ask("DEVLINK_CMD_ESWITCH_GET", handle)
        return eswitch_mode(answers[0]) if answers else None

    def set_eswitch_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """DEVLINK_CMD_ESWITCH_SET; comes back when the driver is done. OSError with the driver's own text."""
        attributes = [*_address(handle), ("DEVLINK_ATTR_ESWITCH_MODE", _NUMBERS[mode])]
        self._request("DEVLINK_CMD_ESWITCH_SET", attributes=attributes)

    def inline_mode(self, handle: Handle) -> str | None:
        """DEVLINK_CMD_ESWITCH_GET; None when the device has no eswitch, or its driver no inline mode."""
        answers = self._ask("DEVLINK_CMD_ESWITCH_GET", handle)
        number = answers[0].get_attr("DEVLINK_ATTR_ESWITCH_INLINE_MODE") if answers else None
        return INLINE_MODES[number] if number is not None and number < len(INLINE_MODES) else None

    def set_inline_mode(self, handle: Handle, mode: str) -> None:
        """DEVLINK_CMD_ESWITCH_SET. OSError with the driver's own text."""
        attributes = [*_address(handle), ("DEVLINK_ATTR_ESWITCH_INLINE_MODE", INLINE_MODES.index(mode))]
        self._request("DEVLINK_CMD_ESWITCH_SET", attributes=attributes)

    def info(self, handle: Handle) -> DevlinkInfo | None:
        """DEVLINK_CMD_INFO_GET; None when the device has no devlink instance, or its driver nothing to tell."""
        answers = self._ask("DEVLINK_CMD_INFO_GET", handle)
        return devlink_info(answers[0]) if answers else None

    def param(self, handle: Handle, name: str) -> DevlinkParam | None:
        """DEVLINK_CMD_PARAM_GET; None when the device has no devlink instance, or its driver no such parameter."""
        from virtfn.host import netlink

        try:
            answers = netlink.devlink_bytes(
                "DEVLINK_CMD_PARAM_GET",
                family=self._number(),
                attributes=[*_address(handle), ("DEVLINK_ATTR_PARAM_NAME", name)],
            )
        except OSError as error:
            if error.errno in _NOTHING_THERE or error.errno == errno.EINVAL:  # EINVAL: no parameter of that name
                return None
            raise
        return next((found for answer in answers if (found := read_param(answer)) is not None), None)

    def set_param(self, handle: Handle, param: DevlinkParam, value: ParamValue, *, mode: ParamMode) -> None:
        """DEVLINK_CMD_PARAM_SET. OSError with the driver's own text."""
        from virtfn.host import netlink

        netlink.devlink_bytes(
            "DEVLINK_CMD_PARAM_SET",
            family=self._number(),
            attributes=[*_address(handle), *param_attributes(param, value, mode=mode)],
        )

    def reload(self, handle: Handle) -> bool:
        """DEVLINK_CMD_RELOAD, `driver_reinit`. OSError with the driver's own text."""
        from virtfn.host import netlink

        answers = netlink.devlink_bytes(
            "DEVLINK_CMD_RELOAD",
            family=self._number(),
            attributes=[*_address(handle), ("DEVLINK_ATTR_RELOAD_ACTION", _DRIVER_REINIT)],
        )
        return any(_performed(answer) & 1 << _DRIVER_REINIT for answer in answers)

    def handles(self) -> frozenset[Handle]:
        """All devlink instances (DEVLINK_CMD_GET); empty when the kernel has no devlink."""
        try:
            answers = self._request("DEVLINK_CMD_GET", dump=True)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return frozenset()
            raise
        return frozenset(
            (answer.get_attr("DEVLINK_ATTR_BUS_NAME"), answer.get_attr("DEVLINK_ATTR_DEV_NAME")) for answer in answers
        )

    def _ask(self, command: str, handle: Handle) -> Sequence[Any]:
        try:
            return self._request(command, attributes=_address(handle))
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return ()
            raise

    def _request(
        self, command: str, *, attributes: Sequence[tuple[str, Any]] = (), dump: bool = False
    ) -> Sequence[Any]:
        from virtfn.host import netlink

        return netlink.devlink_request(command, family=self._number(), attributes=attributes, dump=dump)

    def _number(self) -> int:
        """The family's number, asked for once."""
        from virtfn.host import netlink

        if self._family is None:
            self._family = netlink.devlink_family()
        return self._family


def eswitch_mode(message: Any) -> EswitchMode | None:
    """The mode in an answer to DEVLINK_CMD_ESWITCH_GET; None for one that this program does not know."""
    number = message.get_attr("DEVLINK_ATTR_ESWITCH_MODE")
    if number is not None and number not in _MODES:
        _log.warning("unknown eswitch mode %d of %s", number, message.get_attr("DEVLINK_ATTR_DEV_NAME"))
    return _MODES.get(number)


def _performed(answer: bytes) -> int:
    """DEVLINK_ATTR_RELOAD_ACTIONS_PERFORMED of an answer to DEVLINK_CMD_RELOAD: one bit an action."""
    field = dict(attributes(answer, _HEADERS)).get(_ACTIONS_PERFORMED, b"")
    return int.from_bytes(field[:4], sys.byteorder)  # struct nla_bitfield32: value and selector


def devlink_info(message: Any) -> DevlinkInfo:
    """An answer to DEVLINK_CMD_INFO_GET."""
    return DevlinkInfo(
        driver=message.get_attr("DEVLINK_ATTR_INFO_DRIVER_NAME"),
        serial_number=message.get_attr("DEVLINK_ATTR_INFO_SERIAL_NUMBER"),
        fixed=_versions(message, "FIXED"),
        running=_versions(message, "RUNNING"),
        stored=_versions(message, "STORED"),
    )


def _versions(message: Any, kind: str) -> dict[str, str]:
    return {
        version.get_attr("DEVLINK_ATTR_INFO_VERSION_NAME"): version.get_attr("DEVLINK_ATTR_INFO_VERSION_VALUE")
        for version in message.get_attrs(f"DEVLINK_ATTR_INFO_VERSION_{kind}")
    }


def _address(handle: Handle) -> list[tuple[str, Any]]:
    bus, device = handle
    return [("DEVLINK_ATTR_BUS_NAME", bus), ("DEVLINK_ATTR_DEV_NAME", device)]
