"""Who holds a vfio or vDPA device open: the processes that a number of VFs, or an unbind, would wait for without end.

The kernel tells it by /proc only. A vfio device is open in one of two ways:

* as a character device of its own, `/dev/vfio/devices/vfioN` (iommufd);
* through its group: `/dev/vfio/GROUP` is opened, and a second, anonymous file made from it, `anon_inode:[vfio-device]`.
  The group file alone blocks nothing. Newer kernels write the device's sysfs path in the anonymous file's fdinfo
  (`vfio-device-syspath:`); for older ones the group file in the same process says which device it may be.

A group can be opened once only, and an open device keeps its group open even if the group's own file was closed (Linux
drivers/vfio/group.c). So opening the group and closing it at once tells whether anybody has it, seen or not. The same
goes for a vDPA device's `/dev/vhost-vdpa-N` (drivers/vhost/vdpa.c), which is the only way to it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from virtfn.host.kernel import Process

_log = logging.getLogger(__name__)

_ANONYMOUS_DEVICE = "anon_inode:[vfio-device]"
# By the end of the path: a container may have its /dev anywhere.
_DEVICE = re.compile(r"/vfio/devices/(vfio\d+)(?: \(deleted\))?$")
_GROUP = re.compile(r"/vfio/(?:noiommu-)?(\d+)(?: \(deleted\))?$")
_VDPA_DEVICE = re.compile(r"/(vhost-vdpa-\d+)(?: \(deleted\))?$")
_SYSPATH = re.compile(r"^vfio-device-syspath:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Holdings:
    """What one process has open of vfio."""

    process: Process
    groups: frozenset[int]
    devices: frozenset[str]
    """Character devices, `vfio0`."""
    addresses: frozenset[str]
    """PCI functions that the kernel named."""
    unnamed: bool
    """Has a device open that the kernel did not name."""


def is_open(device: Path) -> bool | None:
    """Whether a vfio group or vhost file is open already. None: it cannot be told, it is absent or not to be opened."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return True if error.errno == errno.EBUSY else None
    os.close(handle)
    return False


class ProcProcesses:
    """`Processes` from `/proc` below `root`, which must be the managed host's (in a container: its PID namespace).

    :param group_is_open: asks the kernel about a group's file.
    """

    def __init__(self, root: Path = Path("/"), *, group_is_open: Callable[[Path], bool | None] = is_open) -> None:
        self._proc = root / "proc"
        self._dev = root / "dev"
        self._vfio = self._dev / "vfio"
        self._is_open = group_is_open

    def vfio_users(self, address: str, *, group: int | None, devices: Sequence[str]) -> Sequence[Process]:
        """Processes that hold the vfio device of a PCI function open, by pid; our own process counts too.

        Where the kernel does not name an anonymous device, a process with such a file is taken for a holder if it has
        the function's group open as well. If it has no group open at all (it was handed the file, or closed the group
        since), it is taken for one only while the function's group is open: the file must belong to a group in use, and
        this one is. Otherwise one such process would make every VF of the machine look busy. A group that is open and
        that nobody is seen to have is held by somebody who cannot be seen from here.
        Processes that end meanwhile, or that we may not look into, are left out.
        """
        busy = self._group_is_open(group)
        if busy is False and not any((self._vfio / "devices" / device).exists() for device in devices):
            return []
        found = [holdings for holdings in self._scan() if holdings is not None]
        owned = any(group in holdings.groups for holdings in found)
        users = []
        for holdings in found:
            named = address in holdings.addresses or not holdings.devices.isdisjoint(devices)
            inferred = holdings.unnamed and (group in holdings.groups or ((owned or busy) and not holdings.groups))
            if named or inferred:
                users.append(holdings.process)
        if busy and not users and not owned:
            return [Process(None, "a process that cannot be seen from here")]
        return users

    def vdpa_users(self, device: str) -> Sequence[Process]:
        """Processes that hold `/dev/<device>` open, by pid; "cannot be seen" for a file that is open, and by nobody."""
        busy = self._is_open(self._dev / device)
        if busy is False:
            return []
        users = []
        for pid in self._pids():
            try:
                if device in self._vdpa_devices(pid):
                    users.append(Process(pid, self._name(pid)))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            except PermissionError:
                _log.debug("cannot see the open files of process %d", pid)
        return users or ([Process(None, "a process that cannot be seen from here")] if busy else [])

    def _vdpa_devices(self, pid: int) -> frozenset[str]:
        found = set()
        for file in (self._proc / str(pid) / "fd").iterdir():
            try:
                match = _VDPA_DEVICE.search(str(file.readlink()))
            except FileNotFoundError:
                continue  # closed since
            if match:
                found.add(match[1])
        return frozenset(found)

    def _pids(self) -> list[int]:
        return sorted(int(entry.name) for entry in self._proc.iterdir() if entry.name.isdecimal())

    def _name(self, pid: int) -> str:
        return (self._proc / str(pid) / "comm").read_bytes().decode(errors="replace").strip()

    def _group_is_open(self, group: int | None) -> bool | None:
        if group is None:
            return None
        answers = [self._is_open(self._vfio / name) for name in (str(group), f"noiommu-{group}")]
        return next((answer for answer in answers if answer is not None), None)

    def _scan(self) -> Iterator[_Holdings | None]:
        for pid in self._pids():
            try:
                yield self._holdings(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            except PermissionError:
                _log.debug("cannot see the open files of process %d", pid)

    def _holdings(self, pid: int) -> _Holdings | None:
        folder = self._proc / str(pid)
        groups: set[int] = set()
        devices: set[str] = set()
        addresses: set[str] = set()
        unnamed = False
        for file in (folder / "fd").iterdir():
            try:
                target = str(file.readlink())
            except FileNotFoundError:
                continue  # closed since
            device = _DEVICE.search(target)
            if target == _ANONYMOUS_DEVICE or device:
                if address := _named(folder / "fdinfo" / file.name):
                    addresses.add(address)
                elif device:
                    devices.add(device[1])
                else:
                    unnamed = True
            elif match := _GROUP.search(target):
                groups.add(int(match[1]))
        if not (devices or addresses or unnamed or groups):
            return None
        return _Holdings(
            Process(pid, self._name(pid)), frozenset(groups), frozenset(devices), frozenset(addresses), unnamed
        )


def _named(fdinfo: Path) -> str | None:
    """PCI address in the fdinfo of a vfio device file, if this kernel gives it."""
    try:
        text = fdinfo.read_text(errors="replace")
    except OSError:
        return None
    match = _SYSPATH.search(text)
    return match[1].rpartition("/")[2] if match else None
