"""Who holds a vfio device open: the processes that a number of VFs, or an unbind, would wait for without end.

The kernel tells it by /proc only. A vfio device is open in one of two ways:

* as a character device of its own, `/dev/vfio/devices/vfioN` (iommufd);
* through its group: `/dev/vfio/GROUP` is opened, and a second, anonymous file made from it, `anon_inode:[vfio-device]`.
  The group file alone blocks nothing. Newer kernels write the device's sysfs path in the anonymous file's fdinfo
  (`vfio-device-syspath:`); for older ones the group file in the same process says which device it may be.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from virtfn.host.kernel import Process

_log = logging.getLogger(__name__)

_ANONYMOUS_DEVICE = "anon_inode:[vfio-device]"
# By the end of the path: a container may have its /dev anywhere.
_DEVICE = re.compile(r"/vfio/devices/(vfio\d+)(?: \(deleted\))?$")
_GROUP = re.compile(r"/vfio/(?:noiommu-)?(\d+)(?: \(deleted\))?$")
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


class ProcProcesses:
    """`Processes` from `/proc` below `root`, which must be the managed host's (in a container: its PID namespace)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"

    def vfio_users(self, address: str, *, group: int | None, devices: Sequence[str]) -> Sequence[Process]:
        """Processes that hold the vfio device of a PCI function open, by pid; our own process counts too.

        Where the kernel does not name an anonymous device, a process with such a file is taken for a holder if it has
        the function's group open as well. If it has no group open at all (it was handed the file, or closed the group
        since), it is taken for one only while some process has the function's group open: the file must belong to a
        group in use, and this one is. Otherwise one such process would make every VF of the machine look busy; a write
        that then blocks is given up on by `Files.write_slow`.
        Processes that end meanwhile, or that we may not look into, are left out.
        """
        found = [holdings for holdings in self._scan() if holdings is not None]
        group_in_use = any(group in holdings.groups for holdings in found)
        users = []
        for holdings in found:
            named = address in holdings.addresses or not holdings.devices.isdisjoint(devices)
            inferred = holdings.unnamed and group_in_use and (group in holdings.groups or not holdings.groups)
            if named or inferred:
                users.append(holdings.process)
        return users

    def _scan(self) -> Iterator[_Holdings | None]:
        pids = sorted(int(entry.name) for entry in self._proc.iterdir() if entry.name.isdecimal())
        for pid in pids:
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
        name = (folder / "comm").read_bytes().decode(errors="replace").strip()
        return _Holdings(Process(pid, name), frozenset(groups), frozenset(devices), frozenset(addresses), unnamed)


def _named(fdinfo: Path) -> str | None:
    """PCI address in the fdinfo of a vfio device file, if this kernel gives it."""
    try:
        text = fdinfo.read_text(errors="replace")
    except OSError:
        return None
    match = _SYSPATH.search(text)
    return match[1].rpartition("/")[2] if match else None
