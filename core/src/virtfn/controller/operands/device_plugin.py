"""The DaemonSet of the SR-IOV network device plugin, as it is released.

It reads configuration and devices once, when it starts (its README), so it must not start before the daemon has made
the VFs. It has no health endpoint; without a device it ends, and is started again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtfn.controller.membership import OS_LABEL
from virtfn.controller.operands.parts import DROP_ALL, Mount, daemon_set, pull_secrets, scc
from virtfn.kube.resource import Json
from virtfn.model.handshake import DEVICE_PLUGIN_LABEL

if TYPE_CHECKING:
    from virtfn.controller.operands.settings import OperandSettings

DEVICE_PLUGIN: Final = "sriov-device-plugin"
"""Also the label `app` of its pods, by which the one on a node is found and restarted."""
SERVICE_ACCOUNT: Final = "virtfn-device-plugin"
CONFIG_FOLDER: Final = "/etc/pcidp"
CONFIG_FILE: Final = f"{CONFIG_FOLDER}/config.json"

CONFIG: Final = Mount(
    "config",
    "/run/virtfn/device-plugin",
    CONFIG_FOLDER,
    "what the daemon of this node has found to offer; gone after a boot, until the VFs are there again",
    read_only=True,
    create=True,
)
MOUNTS: Final = (
    CONFIG,
    Mount(
        "device-plugins",
        "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet/device-plugins",
        "the kubelet's socket, and the plugin's own where the kubelet has no registry",
    ),
    Mount(
        "plugins-registry",
        "/var/lib/kubelet/plugins_registry",
        "/var/lib/kubelet/plugins_registry",
        "the plugin's sockets, which the kubelet watches for",
    ),
    Mount(
        "device-info",
        "/var/run/k8s.cni.cncf.io/devinfo/dp",
        "/var/run/k8s.cni.cncf.io/devinfo/dp",
        "which VF a container was given, for Multus",
        create=True,
    ),
)
CDI: Final = Mount("cdi", "/var/run/cdi", "/var/run/cdi", "CDI specifications of the devices", create=True)
PRIVILEGES: Final = (
    "privileged: as it is released; SELinux lets nothing else write to the kubelet's folders",
    "hostNetwork: it finds VFs by their netdevs and link types, which are in the host's network namespace",
)


def device_plugin(settings: OperandSettings) -> Json:
    """The DaemonSet."""
    mounts = (*MOUNTS, CDI) if settings.use_cdi else MOUNTS
    container: Json = {
        "name": DEVICE_PLUGIN,
        "image": settings.device_plugin_image,
        "args": [
            "--log-level=10",
            f"--resource-prefix={settings.resource_prefix}",
            f"--config-file={CONFIG_FILE}",
            *(["--use-cdi"] if settings.use_cdi else []),
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "50Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
        "volumeMounts": [*(mount.in_container() for mount in mounts), {"name": "log", "mountPath": "/var/log"}],
    }
    waiting: Json = {
        "name": "wait-for-config",
        "image": settings.device_plugin_image,
        "command": ["/bin/sh", "-c", f"until [ -s {CONFIG_FILE} ]; do sleep 1; done"],
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": dict(DROP_ALL),
        },
        "volumeMounts": [CONFIG.in_container()],
    }
    pod: Json = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 10,
        **pull_secrets(settings.pull_secrets),
        **({"initContainers": [waiting]} if settings.block_device_plugin else {}),
        "containers": [container],
        "volumes": [*(mount.volume() for mount in mounts), {"name": "log", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    where = settings.node_selector or {OS_LABEL: "linux"}
    return daemon_set(
        DEVICE_PLUGIN,
        namespace=settings.namespace,
        pod=pod,
        placement={"nodeSelector": {**where, DEVICE_PLUGIN_LABEL: "Enabled"}},
        max_unavailable="10%",
        annotations=scc(settings.openshift),
    )
