"""The ethtool requests that virtfn needs, by ioctl(2): driver and firmware behind a netdev, and its features.

Structures from linux/ethtool.h (`struct ethtool_drvinfo`, `ethtool_sset_info`, `ethtool_gstrings`, `ethtool_gfeatures`
and `ethtool_sfeatures`) and linux/if.h (`struct ifreq`).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

_SIOCETHTOOL = 0x8946
_ETHTOOL_GDRVINFO = 3
_ETHTOOL_GSTRINGS, _ETHTOOL_GSSET_INFO = 0x1B, 0x37
_ETHTOOL_GFEATURES, _ETHTOOL_SFEATURES = 0x3A, 0x3B
_SET_FEATURES = 4  # ETH_SS_FEATURES
_STRING = 32  # ETH_GSTRING_LEN
_SSET_INFO = struct.Struct("=IIQI")
_GET_BLOCK = struct.Struct("=IIII")  # available, requested, active, never changed
_DRVINFO = struct.Struct("=I32s32s32s32s32s12s5I")
_IFREQ = struct.Struct("@16sP16x")
_NAME_SIZE = 15  # IFNAMSIZ without the final zero


def drvinfo(data: bytes) -> dict[str, str]:
    """The texts of a `struct ethtool_drvinfo`, by the names that `ethtool -i` prints; empty ones are left out."""
    _, driver, version, firmware, bus, *_ = _DRVINFO.unpack(data)
    named = {"driver": driver, "version": version, "firmware-version": firmware, "bus-info": bus}
    texts = {name: raw.partition(b"\0")[0].decode(errors="replace").strip() for name, raw in named.items()}
    return {name: text for name, text in texts.items() if text}


class IoctlEthtool:
    """`Ethtool` on throw-away sockets."""

    def __init__(self) -> None:
        self._features: dict[str, int] = {}
        """Bit of each feature: the same for all netdevs, until the kernel is another."""

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        """ETHTOOL_GDRVINFO: driver, version, firmware-version, bus-info, as far as the driver gives them.

        OSError: ENODEV there is no such netdev, EOPNOTSUPP its driver does not answer.
        """
        return drvinfo(_ask(netdev, _DRVINFO.pack(_ETHTOOL_GDRVINFO, *[b""] * 6, *[0] * 5)))

    def feature(self, netdev: str, name: str) -> bool | None:
        """ETHTOOL_GFEATURES; None when the feature is off and the driver does not let it be changed."""
        bit = self._bit(netdev, name)
        if bit is None:
            return None
        blocks = max(self._features.values()) // 32 + 1
        request = struct.pack("=II", _ETHTOOL_GFEATURES, blocks) + bytes(blocks * _GET_BLOCK.size)
        available, _, active, never = _GET_BLOCK.unpack_from(_ask(netdev, request), 8 + bit // 32 * _GET_BLOCK.size)
        mask = 1 << bit % 32
        if active & mask:
            return True
        return False if available & mask and not never & mask else None

    def set_feature(self, netdev: str, name: str, enabled: bool) -> None:
        """ETHTOOL_SFEATURES of one feature. OSError(EOPNOTSUPP) when the driver does not let it be changed."""
        bit = self._bit(netdev, name)
        if bit is None:
            raise OSError(errno.EOPNOTSUPP, f"the kernel knows no feature {name}", netdev)
        words = [0] * (2 * (max(self._features.values()) // 32 + 1))  # valid and requested, of each block
        words[bit // 32 * 2] = 1 << bit % 32
        words[bit // 32 * 2 + 1] = enabled << bit % 32
        request = struct.pack(f"=II{len(words)}I", _ETHTOOL_SFEATURES, len(words) // 2, *words)
        try:
            _ask(netdev, request)
        except OSError as error:
            if error.errno == errno.EINVAL:  # the bit is none that this driver lets be changed
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), netdev) from error
            raise

    def _bit(self, netdev: str, name: str) -> int | None:
        if not self._features:
            told = _SSET_INFO.unpack(_ask(netdev, _SSET_INFO.pack(_ETHTOOL_GSSET_INFO, 0, 1 << _SET_FEATURES, 0)))
            count = told[3] if told[2] else 0
            request = struct.pack("=III", _ETHTOOL_GSTRINGS, _SET_FEATURES, count) + bytes(count * _STRING)
            raw = _ask(netdev, request)[12:]
            self._features = {
                raw[at * _STRING : (at + 1) * _STRING].partition(b"\0")[0].decode(errors="replace"): at
                for at in range(count)
            }
        return self._features.get(name)


def _ask(netdev: str, request: bytes) -> bytes:
    """One ioctl; the structure as the kernel left it."""
    name = netdev.encode()
    if not 0 < len(name) <= _NAME_SIZE:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), netdev)
    answer = ctypes.create_string_buffer(request, len(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, _IFREQ.pack(name, ctypes.addressof(answer)))
        except OSError as error:
            error.filename = netdev
            raise
    return answer.raw
