"""The one ethtool request that virtfn needs, by ioctl(2): which driver and firmware stand behind a netdev.

Structures from linux/ethtool.h (`struct ethtool_drvinfo`) and linux/if.h (`struct ifreq`).
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
    """`Ethtool` on a throw-away socket."""

    def driver_info(self, netdev: str) -> Mapping[str, str]:
        """ETHTOOL_GDRVINFO: driver, version, firmware-version, bus-info, as far as the driver gives them.

        OSError: ENODEV there is no such netdev, EOPNOTSUPP its driver does not answer.
        """
        name = netdev.encode()
        if not 0 < len(name) <= _NAME_SIZE:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), netdev)
        answer = ctypes.create_string_buffer(_DRVINFO.pack(_ETHTOOL_GDRVINFO, *[b""] * 6, *[0] * 5), _DRVINFO.size)
        request = _IFREQ.pack(name, ctypes.addressof(answer))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            try:
                fcntl.ioctl(control, _SIOCETHTOOL, request)
            except OSError as error:
                error.filename = netdev
                raise
        return drvinfo(answer.raw)
