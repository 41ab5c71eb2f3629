"""The RDMA subsystem's netlink (include/uapi/rdma/rdma_netlink.h), of which virtfn needs two requests.

pyroute2 knows nothing of it. The answer to RDMA_NLDEV_CMD_SYS_GET comes without an acknowledgement behind it.
"""

from __future__ import annotations

import errno
import socket
import struct

from virtfn.host.netlink_socket import attributes
from virtfn.host.oserror import os_error
from virtfn.model.rdma import EXCLUSIVE, SHARED

_NETLINK_RDMA = 20
_NLDEV = 5 << 10
_SYS_GET, _SYS_SET = _NLDEV | 6, _NLDEV | 7
_MODE = 66  # RDMA_NLDEV_SYS_ATTR_NETNS_MODE, one byte
_MODES = {1: SHARED, 0: EXCLUSIVE}
_NUMBERS = {mode: number for number, mode in _MODES.items()}
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port id
_F_REQUEST, _F_ACK = 0x1, 0x4
_ERROR = 2
_SECONDS = 10.0  # the kernel answers from within send(2)
_LARGEST = 65536


class NetlinkRdma:
    """`virtfn.host.kernel.Rdma`. Threads may share one: every call opens its own socket."""

    def netns_mode(self) -> str | None:
        """See `Rdma`."""
        kind, body = _ask(_SYS_GET, flags=_F_REQUEST)
        if kind == _ERROR:
            return None
        return next((_MODES.get(value[0]) for number, value in attributes(body) if number == _MODE and value), None)

    def set_netns_mode(self, mode: str) -> None:
        """See `Rdma`."""
        value = struct.pack("=HHB3x", 5, _MODE, _NUMBERS[mode])
        _ask(_SYS_SET, value, flags=_F_REQUEST | _F_ACK)


def _ask(command: int, data: bytes = b"", *, flags: int) -> tuple[int, bytes]:
    """Type and body of the one message that comes back. OSError with what the kernel refused."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_RDMA) as rdma:
        rdma.bind((0, 0))
        rdma.settimeout(_SECONDS)
        rdma.send(_HEADER.pack(_HEADER.size + len(data), command, flags, 1, 0) + data)
        answer = rdma.recv(_LARGEST)
    if len(answer) < _HEADER.size + 4:
        raise os_error(errno.EBADMSG, "a netlink message is shorter than its header")
    length, kind, _, _, _ = _HEADER.unpack_from(answer)
    body = answer[_HEADER.size : length]
    if kind == _ERROR and (code := -struct.unpack_from("=i", body)[0]):
        raise os_error(code)
    return kind, body
