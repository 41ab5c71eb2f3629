"""DaemonSets that put CNI plugins on the hosts, one for each plugin: a new version of one restarts nothing else.

They are the plugins' own images, whose entry points copy the binary and then wait (their READMEs). They need to write
one folder of the host, and nothing of the API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virtfn.controller.membership import OS_LABEL
from virtfn.controller.operands.parts import DROP_ALL, Mount, daemon_set, pull_secrets, scc
from virtfn.kube.resource import Json

if TYPE_CHECKING:
    from virtfn.controller.operands.settings import OperandSettings

SERVICE_ACCOUNT: Final = "virtfn-cni"
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


def binaries(path: str) -> Mount:
    """The folder of CNI plugins."""
    return Mount("cni-bin", path, TARGET, "the plugin's binary is put here, where the container runtime looks for it")


def cni_installer(plugin: CniPlugin, settings: OperandSettings) -> Json:
    """The DaemonSet of one plugin."""
    mount = binaries(settings.cni_bin_path)
    confined: Json = {"allowPrivilegeEscalation": False, "capabilities": dict(DROP_ALL)}
    container: Json = {
        "name": plugin.name,
        "image": settings.cni_images[plugin.variable],
        **({"command": list(plugin.command)} if plugin.command else {}),
        "resources": {"requests": {"cpu": "1m", "memory": "15Mi"}, "limits": {"memory": "64Mi"}},
        # SELinux lets no confined container write to the folder.
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "runAsUser": 0,
            **({"privileged": True} if settings.openshift else confined),
        },
        "volumeMounts": [mount.in_container()],
    }
    pod: Json = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 5,
        **pull_secrets(settings.pull_secrets),
        "containers": [container],
        "volumes": [mount.volume()],
    }
    return daemon_set(
        plugin.daemon_set,
        namespace=settings.namespace,
        pod=pod,
        placement={"nodeSelector": dict(settings.node_selector) or {OS_LABEL: "linux"}},
        max_unavailable="33%",
        annotations=scc(settings.openshift),
    )
