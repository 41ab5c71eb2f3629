"""devlink parameters to and from their messages: each has a type of its own, which pyroute2 has no form for.

Numbers are those of linux/devlink.h and, for the types, of linux/netlink.h (`NLA_U8` and those after it).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from virtfn.host.api import DevlinkParam, ParamMode, ParamValue
from virtfn.host.netlink_socket import attributes
from virtfn.host.oserror import os_error

_HEADERS: Final = 20  # struct nlmsghdr and struct genlmsghdr
_PARAM, _NAME, _TYPE, _LIST, _VALUE, _DATA, _MODE = 80, 81, 83, 84, 85, 86, 87
_KINDS: Final[Mapping[int, str]] = MappingProxyType({1: "u8", 2: "u16", 3: "u32", 4: "u64", 5: "string", 6: "bool"})
_NUMBERS: Final = MappingProxyType({kind: number for number, kind in _KINDS.items()})
_SIZES: Final = MappingProxyType({"u8": 1, "u16": 2, "u32": 4, "u64": 8})
_MODES: Final = (ParamMode.RUNTIME, ParamMode.DRIVERINIT, ParamMode.PERMANENT)
_LONGEST: Final = 31  # __DEVLINK_PARAM_MAX_STRING_VALUE without the final zero
_ORDER: Final = "little" if memoryview(b"\1\0").cast("H")[0] == 1 else "big"


def read_param(message: bytes) -> DevlinkParam | None:
    """An answer to DEVLINK_CMD_PARAM_GET; None for a type that this program does not know."""
    told = dict(attributes(dict(attributes(message, _HEADERS)).get(_PARAM, b"")))
    kind = _KINDS.get(int.from_bytes(told.get(_TYPE, b""), _ORDER))
    if kind is None or _NAME not in told:
        return None
    values = {}
    for number, entry in attributes(told.get(_LIST, b"")):
        value = dict(attributes(entry)) if number == _VALUE else {}
        mode = int.from_bytes(value.get(_MODE, b"\xff"), _ORDER)
        if mode < len(_MODES):
            values[_MODES[mode]] = _decoded(kind, value.get(_DATA))
    return DevlinkParam(_text(told[_NAME]), kind, values)


def param_attributes(param: DevlinkParam, value: ParamValue, *, mode: ParamMode) -> list[tuple[str, Any]]:
    """What DEVLINK_CMD_PARAM_SET wants beside the device.

    :raises OSError: EINVAL, the value is none of the parameter's type.
    """
    found: list[tuple[str, Any]] = [
        ("DEVLINK_ATTR_PARAM_NAME", param.name),
        ("DEVLINK_ATTR_PARAM_TYPE", _NUMBERS[param.kind]),
        ("DEVLINK_ATTR_PARAM_VALUE_CMODE", _MODES.index(mode)),
    ]
    data = _encoded(param, value)
    return found if data is None else [*found, ("DEVLINK_ATTR_PARAM_VALUE_DATA", data)]


def _decoded(kind: str, data: bytes | None) -> ParamValue:
    if kind == "bool":  # a flag: there or not
        return data is not None
    return _text(data or b"") if kind == "string" else int.from_bytes(data or b"", _ORDER)


def _encoded(param: DevlinkParam, value: ParamValue) -> bytes | None:
    """None: the flag is left out, which is how false is told."""
    if param.kind == "bool" and isinstance(value, bool):
        return b"" if value else None
    if param.kind == "string" and isinstance(value, str) and len(value.encode()) <= _LONGEST:
        return value.encode() + b"\0"
    size = _SIZES.get(param.kind)
    if size is not None and type(value) is int and 0 <= value < 1 << 8 * size:
        return value.to_bytes(size, _ORDER)
    raise os_error(errno.EINVAL, f"{value!r} is no value of type {param.kind}")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
