"""A process that holds a function open through vfio, as a virtual machine or a DPDK program does."""

from __future__ import annotations

import subprocess
import sys
from enum import StrEnum
from types import TracebackType
from typing import Self

from bed.sight import iommu_group

PATIENCE = 60.0

# VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU (type 1), VFIO_GROUP_GET_DEVICE_FD of linux/vfio.h.
_PROGRAM = """
import fcntl, os, struct, sys
number, address, what = sys.argv[1:]
container = os.open("/dev/vfio/vfio", os.O_RDWR)
group = os.open(f"/dev/vfio/{number}", os.O_RDWR)
fcntl.ioctl(group, 0x3B68, struct.pack("i", container))
fcntl.ioctl(container, 0x3B66, 1)
if what != "group":
    device = fcntl.ioctl(group, 0x3B6A, bytearray(address.encode() + b"\\0"))
if what == "device only":
    os.close(group)
    os.close(container)
print("holding", flush=True)
sys.stdin.read()
"""


class Holding(StrEnum):
    """What of it the process has open."""

    DEVICE = "device"
    GROUP = "group"
    """The group alone: no device."""
    DEVICE_ONLY = "device only"
    """The device, its group and container closed since."""


class Holder:
    """The process. A context manager; holds when entered, lets go when left."""

    def __init__(self, vf: str, what: Holding = Holding.DEVICE) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _PROGRAM, iommu_group(vf), vf, what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != "holding\n":
            self.let_go()
            raise RuntimeError(f"{vf}: could not be opened through vfio")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def let_go(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
