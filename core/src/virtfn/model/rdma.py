"""RDMA as a node has it: the devices of its network functions, and whether network namespaces share them.

The kernel has one mode for all devices (rdma-system(8)). In `shared`, its default, every network namespace sees all of
them; in `exclusive` a device is in one, as a netdev is, and can be given to a pod. The mode changes while the node runs
only if there is no network namespace but the first one: the kernel refuses with EBUSY otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtfn.model.owned_files import MARK, MODPROBE

SHARED = "shared"
EXCLUSIVE = "exclusive"

OPTION_FILE = f"{MODPROBE}/zz-virtfn-rdma.conf"
"""Where virtfn keeps the mode for the next boot. modprobe reads the files by name, and the last word counts."""

ARGUMENT = "ib_core.netns_mode"
"""On the kernel's command line: modprobe hands it to the module after all files (measured with kmod 30)."""

_HEADER = f"# {MARK}: the RDMA mode that is wanted of this node. It goes when no mode is wanted any more.\n"
_OPTIONS = {SHARED: "options ib_core netns_mode=1\n", EXCLUSIVE: "options ib_core netns_mode=0\n"}

PROGRAM_MODULES = ("ib_uverbs", "rdma_ucm")
"""What RDMA programs want, besides a driver's own module: verbs, and connections by address."""

UNSET_GUID = "0000:0000:0000:0000"
"""A `node_guid` that nobody has set."""


def option_text(mode: str) -> str:
    """The file that has the mode from the next load of the module `ib_core` on."""
    return _HEADER + _OPTIONS[mode]


@dataclass(frozen=True, slots=True)
class RdmaDevice:
    """The RDMA device of a network function (`/sys/bus/pci/devices/<address>/infiniband/<name>`)."""

    name: str
    node_guid: str | None = None
    """As the kernel writes it: four groups of four hex digits, `0000:0000:0000:0000` while it is not set."""
    link_layer: str | None = None
    """Of its first port: `InfiniBand`, or `Ethernet` for RoCE and iWARP."""


@dataclass(frozen=True, slots=True)
class RdmaFacts:
    """What the node's RDMA subsystem is like."""

    mode: str | None = None
    """`shared` or `exclusive`, as it is now; None: the kernel has no RDMA, or its module is not loaded."""
    argument: str | None = None
    """The mode by the kernel's command line, which modprobe's files do not stand against; None: it names none."""
    options: bool = True
    """modprobe's folder takes files: not so on a host whose /etc is read-only."""
    fixed: bool = False
    """The kernel knows no other mode: network namespaces share what there is, as they did before it had modes."""
    built_in: bool = False
    """`ib_core` is no module, so that modprobe has no say in its mode."""
    namespaces: bool | None = None
    """There are other network namespaces, so the mode cannot change now; None: not known."""
