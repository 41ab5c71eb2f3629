"""RDMA: devices below functions, the mode of the subsystem, and the network namespaces that stand in its way."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from virtfn.model import LinkType
from virtfn.model.guids import kernel_guid
from virtfn.model.inventory import UNSET_MAC
from virtfn.model.rdma import EXCLUSIVE, SHARED, UNSET_GUID
from virtfn.testing.ground.calls import Call, Calls
from virtfn.testing.ground.card import PciFunction
from virtfn.testing.ground.pci import PciBus
from virtfn.testing.ground.tree import Tree, oserror

_CORE = "ib_core"
_PARAMETERS = f"sys/module/{_CORE}/parameters"
_OPTION = re.compile(r"^options\s+ib_core\s.*\bnetns_mode=(\S+)", re.MULTILINE)
_ARGUMENT = re.compile(r"\bib_core\.netns_mode=(\S+)")
_FIRST_NAMESPACE = 4026531840
_FIRST_POD = 5001


class RdmaCore:
    """The module `ib_core`, and the devices that drivers register with it."""

    def __init__(self, tree: Tree, pci: PciBus) -> None:
        self._tree = tree
        self._pci = pci
        self.mode: str | None = None
        """None: the module is not loaded."""
        self._modules: set[str] = set()
        self._namespaces: list[int] = []
        self._number = 0
        tree.folder("proc")
        self._process(1, _FIRST_NAMESPACE)
        tree.plain("proc/1/mountinfo", "21 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n")

    # --- modules ------------------------------------------------------------------------------------------------------

    def loaded(self, module: str) -> None:
        """A module was loaded: it may be the subsystem itself, or make devices of functions whose driver is there."""
        if module == _CORE:
            self.mode = self._option()
            self._tree.attribute(f"{_PARAMETERS}/netns_mode", read=lambda: "Y\n" if self.mode == SHARED else "N\n")
        self._modules.add(module)
        for function in list(self._pci.functions.values()):
            if function.driver is not None and function.driver.rdma_module == module:
                self.attach(function)

    def unloaded(self, module: str) -> None:
        """A module was taken out, and its devices with it."""
        self._modules.discard(module)
        for function in list(self._pci.functions.values()):
            if function.driver is not None and function.driver.rdma_module == module:
                self.detach(function)
        if module == _CORE:
            self.mode = None

    def restart(self) -> None:
        """The machine goes off: nothing is loaded, no process runs, and numbers begin anew."""
        self.remove_namespaces()
        self._modules.clear()
        self.mode = None
        self._number = 0

    def _option(self) -> str:
        """What modprobe gives the module: the last word in `/etc/modprobe.d`, by names of files, then the argument."""
        word = "1"
        for name in self._tree.listdir("etc/modprobe.d"):
            if name.endswith(".conf"):
                for found in _OPTION.finditer(self._tree.read(f"etc/modprobe.d/{name}")):
                    word = found[1]
        for found in _ARGUMENT.finditer(self._tree.read("proc/cmdline")):
            word = found[1]
        return SHARED if word.lower() in ("1", "y", "on") else EXCLUSIVE

    # --- devices ------------------------------------------------------------------------------------------------------

    def attach(self, function: PciFunction) -> None:
        """A device for the function, if its driver has a module for that, and its card lets it."""
        driver = function.driver
        if driver is None or driver.rdma_module not in self._modules or function.rdma or function.card.quirks.no_rdma:
            return
        infiniband = function.card.link_type(function.port) is LinkType.IB
        function.rdma = f"{driver.rdma_module.removesuffix('_ib')}_{self._number}"
        self._number += 1
        here = f"{function.folder}/infiniband/{function.rdma}"
        guid = _node_guid(function)
        self._tree.file(f"{here}/node_guid", f"{guid}\n")
        self._tree.file(f"{here}/node_type", "1: CA\n")
        self._tree.file(f"{here}/ports/1/link_layer", "InfiniBand\n" if infiniband else "Ethernet\n")
        self._tree.link(f"sys/class/infiniband/{function.rdma}", here)

    def detach(self, function: PciFunction) -> None:
        """The function's device goes."""
        if function.rdma is not None:
            self.hide(function)
            function.rdma = None

    def hide(self, function: PciFunction) -> None:
        """It goes to another network namespace, or wherever: here it is as if it were not there."""
        self._tree.remove(f"sys/class/infiniband/{function.rdma}")
        self._tree.remove(f"{function.folder}/infiniband")

    # --- namespaces ---------------------------------------------------------------------------------------------------

    def set_mode(self, mode: str) -> None:
        """OSError(EBUSY) while there are other network namespaces."""
        if self.mode is None:
            raise oserror(errno.EPROTONOSUPPORT)
        if mode != self.mode and self._namespaces:
            raise oserror(errno.EBUSY)
        self.mode = mode
        self._tree.refresh(_PARAMETERS)

    def add_namespace(self) -> int:
        """A process begins in a network namespace of its own; its pid."""
        pid = _FIRST_POD + len(self._namespaces)
        self._namespaces.append(pid)
        self._process(pid, _FIRST_NAMESPACE + pid)
        return pid

    def remove_namespaces(self) -> None:
        """Those processes end."""
        for pid in self._namespaces:
            self._tree.remove(f"proc/{pid}")
        self._namespaces.clear()

    def _process(self, pid: int, namespace: int) -> None:
        self._tree.folder(f"proc/{pid}/ns")
        link = self._tree.root / f"proc/{pid}/ns/net"
        if not link.is_symlink():
            link.symlink_to(f"net:[{namespace}]")


def _node_guid(function: PciFunction) -> str:
    """What the device has when its driver takes it: a VF learns of a new one only then."""
    pf = function.physfn
    if pf is None:
        first = function.card.mac(function.port).split(":")
        return kernel_guid(":".join([*first[:3], "03", "00", *first[3:]]))
    if pf.sriov is None or function.vf_index is None or function.vf_index >= len(pf.sriov.admin):
        return UNSET_GUID
    settings = pf.sriov.admin[function.vf_index]
    if pf.card.link_type(pf.port) is LinkType.IB:
        return kernel_guid(settings.node_guid) or UNSET_GUID
    mac = settings.mac or UNSET_MAC
    octets = mac.split(":")
    return UNSET_GUID if mac == UNSET_MAC else kernel_guid(":".join([*octets[:3], "ff", "fe", *octets[3:]]))


@dataclass(frozen=True, slots=True)
class FakeRdma:
    """`virtfn.host.kernel.Rdma`."""

    core: RdmaCore
    calls: Calls

    def netns_mode(self) -> str | None:
        """See `Rdma`."""
        return self.calls.perform(Call("netns_mode", "rdma"), lambda: self.core.mode)

    def set_netns_mode(self, mode: str) -> None:
        """See `Rdma`."""
        self.calls.perform(Call("set_netns_mode", "rdma", mode), lambda: self.core.set_mode(mode), writes=True)
