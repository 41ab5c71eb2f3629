"""OSErrors from bare error numbers, for the modules that get them from another process or by netlink."""

from __future__ import annotations

import errno
import os


class DeviceTimedOut(OSError):
    """ETIMEDOUT from the kernel: a driver waited in vain for its device, and the request is over.

    A class of its own because Python makes `OSError(ETIMEDOUT)` a `TimeoutError`, which below `virtfn.host.machine`
    says that a write has not come back.
    """


def os_error(code: int, text: str | None = None, *, filename: str | None = None) -> OSError:
    """The exception for an errno; `text` is the kernel's own explanation if it gave one."""
    kind = DeviceTimedOut if code == errno.ETIMEDOUT else OSError
    return kind(code, text or os.strerror(code), filename)
