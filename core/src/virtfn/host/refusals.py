"""From an errno to an error of our tree: what the kernel's refusal means for the operation, and what to do about it."""

from __future__ import annotations

import errno

from virtfn.errors import (
    DeviceBusy,
    DeviceFault,
    DeviceGone,
    HostError,
    KernelRefused,
    NoMemory,
    NotPermitted,
    WaitTimeout,
)

_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT})
_FAULT = frozenset({errno.EIO, errno.EPROTO, errno.EREMOTEIO, errno.EFAULT, errno.ETIMEDOUT})
_HINTS = {
    errno.ENOMEM: "the firmware left no room for the VFs' memory or bus numbers: try the kernel argument pci=realloc, "
    "or 'SR-IOV' and 'Above 4G decoding' in the BIOS",
    errno.ENOSPC: "the device or the machine has too few interrupts or queues for that many VFs: ask for fewer",
    errno.EOPNOTSUPP: "the driver does not support it",
    errno.EAGAIN: "the driver is busy with something else: try again",
    errno.ERANGE: "the number is larger than the device allows",
    errno.EINVAL: "the driver does not accept the value in its present state; the kernel log may say why",
    errno.EPERM: "not root, the kernel is locked down, or the driver refuses: the kernel log may say why",
    errno.EACCES: "not root, or not allowed in this container",
    errno.EROFS: "the file system is read-only: in a container /sys must be mounted writable",
    errno.EADDRNOTAVAIL: "the address is kept by the PF for an untrusted VF",
}


def strerror(error: OSError) -> str:
    """The kernel's words, or those of the errno."""
    return error.strerror or errno.errorcode.get(error.errno or 0, "") or str(error)


def host_error(error: OSError, *, device: str, what: str, present: bool = True, hint: str = "") -> HostError:
    """The error for an `OSError` met while doing `what` ("cannot set the MTU to 9000") to `device`.

    :param present: whether the device is still there; ENODEV and ENOENT mean "gone" only when it is not.
    """
    if isinstance(error, TimeoutError) and error.errno in (None, errno.ETIMEDOUT):
        return WaitTimeout(f"{device}: {what} (no answer from the kernel in time)", device=device)
    code = error.errno or 0
    text = f"{device}: {what} ({strerror(error)}{'; ' + advice if (advice := hint or _HINTS.get(code, '')) else ''})"
    if code == errno.EBUSY:
        return DeviceBusy(text, device=device)
    if code == errno.ENOMEM:
        return NoMemory(text, device=device)
    if code in _GONE and not present:
        return DeviceGone(f"{device}: {what} (the device is no longer there)", device=device)
    if code in _FAULT:
        return DeviceFault(text, device=device)
    if code in (errno.EACCES, errno.EROFS, errno.EPERM):
        return NotPermitted(text, device=device)
    return KernelRefused(text, device=device, errno=code)
