"""Which CNI plugins can be put on the hosts, and the variables that say with which image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TARGET: Final = "/host/opt/cni/bin"
"""Where the images' entry points copy to."""


@dataclass(frozen=True, slots=True)
class CniPlugin:
    """One plugin."""

    name: str
    variable: str
    """Of the controller: the image; it is installed if there is one."""
    command: tuple[str, ...] = ()
    """Instead of the image's own."""

    @property
    def daemon_set(self) -> str:
        """The name of its DaemonSet: not one that other ways of installing it use."""
        return f"virtfn-{self.name}"


CNI_PLUGINS: Final = (
    CniPlugin("sriov-cni", "SRIOV_CNI_IMAGE"),
    CniPlugin("ib-sriov-cni", "SRIOV_INFINIBAND_CNI_IMAGE"),
    CniPlugin("rdma-cni", "RDMA_CNI_IMAGE"),
    CniPlugin(
        "ovs-cni",
        "OVS_CNI_IMAGE",
        # Its image has no entry point that replaces the file in one step, and a running plugin must not be overwritten.
        ("/bin/sh", "-c", f"cp /ovs {TARGET}/.ovs.new && mv -f {TARGET}/.ovs.new {TARGET}/ovs && exec sleep infinity"),
    ),
)
