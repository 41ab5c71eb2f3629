"""The DaemonSet of the daemon.

Its name and the label that selects its pods are those of the existing operators: there can be one daemon on a node, and
one DaemonSet of that name in the namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtfn.controller.membership import CAPABLE_LABEL, OS_LABEL, WORKER_LABEL
from virtfn.controller.operands.parts import Mount, daemon_set, pull_secrets, scc, variables
from virtfn.kube.resource import Json

if TYPE_CHECKING:
    from virtfn.controller.operands.settings import OperandSettings

CONFIG_DAEMON: Final = "sriov-network-config-daemon"
SERVICE_ACCOUNT: Final = "virtfn-daemon"
HEALTH_PORT: Final = 8082
STATE_FOLDER: Final = "/var/lib/virtfn"
RUN_FOLDER: Final = "/run/virtfn"

MOUNTS: Final = (
    Mount(
        "host",
        "/",
        "/host",
        "the host's own modprobe, systemd-run and others run in it; its /proc and /dev show who holds a VF;"
        " nothing is written to it but by the kernel's files",
        read_only=True,
        follows_host=True,
    ),
    Mount(
        "etc",
        "/etc",
        "/host/etc",
        "udev's rules, systemd's files and modprobe's options about PFs, each marked as virtfn's; where it is read only"
        " on the host none are written",
    ),
    Mount("sys", "/sys", "/host/sys", "VFs are made, bound to drivers and configured by writes to sysfs"),
    Mount(
        "state",
        STATE_FOLDER,
        STATE_FOLDER,
        "the journal of how each PF was before the first touch, and what drains and reboots came to",
        create=True,
    ),
    Mount(
        "boot",
        STATE_FOLDER,
        f"/host{STATE_FOLDER}",
        "the script that makes VFs again after a boot, before the network starts",
        create=True,
    ),
    Mount("run", RUN_FOLDER, RUN_FOLDER, "the device plugin's configuration is handed over here", create=True),
)
PRIVILEGES: Final = (
    "privileged: the device cgroup lets it open /dev/vfio/* to see who holds a VF, SELinux and AppArmor let it write to"
    " sysfs; of the capabilities it needs NET_ADMIN (netlink, devlink), SYS_MODULE (modprobe), SYS_CHROOT and"
    " SYS_ADMIN (programs of the host), SYS_PTRACE (open files of other processes)",
    "hostNetwork: PFs and VFs are in the host's network namespace, and netlink speaks of the caller's",
    "no hostPID: the host's processes are seen through its /proc",
)


def config_daemon(settings: OperandSettings) -> Json:
    """The DaemonSet."""
    container: Json = {
        "name": "daemon",
        "image": settings.daemon_image,
        "command": ["virtfn", *(["--verbose"] if settings.verbose else []), "daemon"],
        "args": [
            "--root=/host",
            f"--state-dir={STATE_FOLDER}/journal",
            f"--run-dir={RUN_FOLDER}",
            f"--health-port={HEALTH_PORT}",
            *(["--firmware-reset"] if settings.firmware_reset else []),
        ],
        "env": variables(
            settings.daemon_variables,
            fields={"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name", "NAMESPACE": "metadata.namespace"},
        ),
        "ports": [{"name": "health", "containerPort": HEALTH_PORT, "hostPort": HEALTH_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", every=5, times=24),
        "livenessProbe": _probe("/healthz", every=20, times=3),
        "readinessProbe": _probe("/readyz", every=10, times=3),
        "resources": {"requests": {"cpu": "50m", "memory": "80Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True, "runAsUser": 0},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*(mount.in_container() for mount in MOUNTS), {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod: Json = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": 30,
        **pull_secrets(settings.pull_secrets),
        "containers": [container],
        "volumes": [
            *(mount.volume() for mount in MOUNTS),
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    }
    return daemon_set(
        CONFIG_DAEMON,
        namespace=settings.namespace,
        pod=pod,
        placement=_placement(settings),
        max_unavailable="33%",
        annotations=scc(settings.openshift),
    )


def _placement(settings: OperandSettings) -> Json:
    """On the nodes of `membership.has_daemon`: a node selector has no "or"."""
    if settings.node_selector:
        return {"nodeSelector": dict(settings.node_selector)}
    linux = {"key": OS_LABEL, "operator": "In", "values": ["linux"]}
    ways = (
        {"key": WORKER_LABEL, "operator": "In", "values": [""]},
        {"key": CAPABLE_LABEL, "operator": "In", "values": ["true"]},
    )
    terms = [{"matchExpressions": [linux, way]} for way in ways]
    required = {"nodeSelectorTerms": terms}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def _probe(path: str, *, every: int, times: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": every,
        "timeoutSeconds": 5,
        "failureThreshold": times,
    }
