"""DaemonSets that put CNI plugins on the hosts, one for each plugin: a new version of one restarts nothing else.

They are the plugins' own images, whose entry points copy the binary and then wait (their READMEs). They need to write
one folder of the host, and nothing of the API.
"""

from __future__ import annotations

from typing import Final

from virtfn.controller.membership import OS_LABEL
from virtfn.controller.operands.cni_plugins import TARGET, CniPlugin
from virtfn.controller.operands.parts import DROP_ALL, Mount, daemon_set, pull_secrets, scc
from virtfn.controller.operands.settings import OperandSettings
from virtfn.kube.resource import Json

SERVICE_ACCOUNT: Final = "virtfn-cni"


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
