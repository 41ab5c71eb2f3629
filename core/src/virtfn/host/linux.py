"""The machine we run on, put together: the kernel's interfaces as `virtfn.host.machine.Machine` wants them."""

from __future__ import annotations

from pathlib import Path

from virtfn.host.clock import SystemClock
from virtfn.host.command import HostCommands
from virtfn.host.devlink import GenericNetlinkDevlink
from virtfn.host.ethtool import IoctlEthtool
from virtfn.host.files import HostFiles
from virtfn.host.kernel import Kernel
from virtfn.host.ovsdb import SocketOvsDb
from virtfn.host.processes import ProcProcesses
from virtfn.host.rdma_netlink import NetlinkRdma
from virtfn.host.rtnetlink import RtnetlinkLinks
from virtfn.host.vdpa import GenericNetlinkVdpa


def linux_kernel(root: Path = Path("/")) -> Kernel:
    """The real ground, with the managed host's files below `root` (`/host` in a container).

    Netlink and ethtool speak to the network namespace of this process: a container must use the host's. Nothing is
    opened or started before it is needed.
    """
    return Kernel(
        files=HostFiles(root),
        links=RtnetlinkLinks(),
        devlink=GenericNetlinkDevlink(),
        vdpa=GenericNetlinkVdpa(),
        ethtool=IoctlEthtool(),
        rdma=NetlinkRdma(),
        processes=ProcProcesses(root),
        commands=HostCommands(root),
        ovsdb=SocketOvsDb(root),
        clock=SystemClock(),
    )
