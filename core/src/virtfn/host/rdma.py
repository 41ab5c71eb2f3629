"""RDMA as sysfs and procfs show it: a function's device, the mode of the subsystem, and who is in the way of another.

Netlink tells the mode too, but only to open its socket would load `ib_core` (the module has the protocol's alias), and
whoever observes changes nothing. The module's parameter shows the mode as it is, not as it was at load (Linux
drivers/infiniband/core/device.c has one variable for both).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from virtfn.host.kernel import Files
from virtfn.model.guids import POOL_FILE, GuidPools, parse_pools
from virtfn.model.owned_files import MODPROBE
from virtfn.model.rdma import EXCLUSIVE, SHARED, RdmaDevice, RdmaFacts

CLASS = "sys/class/infiniband"
_CORE = "sys/module/ib_core"
_MODPROBE = MODPROBE.lstrip("/")
_MODES = {"Y": SHARED, "N": EXCLUSIVE}
_ARGUMENT = re.compile(r"(?:^|\s)ib[-_]core\.netns[-_]mode(?:=(\S*))?(?!\S)")
_VALUES = dict.fromkeys(("1", "y", "t", "on"), SHARED) | dict.fromkeys(("0", "n", "f", "of"), EXCLUSIVE)
"""As kstrtobool() of the kernel reads them, by what it looks at: the first letter, and one more after an o."""
_NAMESPACE = re.compile(r" net:\[(\d+)\] ")


def rdma_device(files: Files, function: str) -> RdmaDevice | None:
    """The RDMA device of a function, whose folder in sysfs is given; None: it has none in this network namespace.

    Devices made of software (rxe, siw) belong to a netdev, not to a function, and so are none of it.
    """
    names = files.listdir(f"{function}/infiniband")
    if not names:
        return None
    here = f"{function}/infiniband/{names[0]}"
    return RdmaDevice(
        name=names[0],
        node_guid=_read(files, f"{here}/node_guid"),
        link_layer=_read(files, f"{here}/ports/1/link_layer"),
    )


def rdma_facts(files: Files) -> RdmaFacts:
    """The subsystem as it is."""
    parameter = _read(files, f"{_CORE}/parameters/netns_mode")
    fixed = parameter is None and files.exists(_CORE)
    mode = SHARED if fixed else _MODES.get(parameter or "")
    return RdmaFacts(
        mode=mode,
        fixed=fixed,
        options=not files.exists(_MODPROBE) or files.writable(_MODPROBE),
        argument=_argument(_read(files, "proc/cmdline") or ""),
        built_in=mode is not None and not files.exists(f"{_CORE}/initstate"),
        namespaces=None if mode is None else other_namespaces(files),
    )


def other_namespaces(files: Files) -> bool | None:
    """Whether there is a network namespace besides that of process 1, as far as processes and mounts show it."""
    try:
        first = files.readlink("proc/1/ns/net")
        if first is None:
            return None
        if any(found != first for found in _of_processes(files)):
            return True
        mounts = files.read("proc/1/mountinfo")
    except OSError:
        return None
    return any(f"net:[{number}]" != first for number in _NAMESPACE.findall(mounts))


def _argument(line: str) -> str | None:
    """The mode by the kernel's command line: the last word counts, and the name alone is a yes."""
    words = _ARGUMENT.findall(line)
    return _VALUES.get(re.sub(r"^([^o]|o.).*", r"\1", words[-1].lower() or "1")) if words else None


def guid_pools(files: Files) -> GuidPools | None:
    """What the administrator's file of GUIDs says; None: there is none."""
    try:
        return parse_pools(files.read(POOL_FILE.lstrip("/")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return GuidPools(fault=f"it cannot be read ({error.strerror})")


def _of_processes(files: Files) -> Iterator[str]:
    """Of the newest processes first: those of pods are seldom the oldest."""
    for pid in sorted((int(name) for name in files.listdir("proc") if name.isdigit()), reverse=True):
        try:
            found = files.readlink(f"proc/{pid}/ns/net")
        except OSError:
            continue  # it has just ended
        if found is not None:
            yield found


def _read(files: Files, path: str) -> str | None:
    try:
        return files.read(path.lstrip("/")).strip()
    except OSError:
        return None
