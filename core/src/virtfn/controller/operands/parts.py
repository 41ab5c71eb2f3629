"""What the DaemonSets have in common, and the reasons for what they are allowed on the host.

Every mount and every privilege carries its reason: the manifests of `deploy/` show them, and a test asks for them.
Fields that would be false or empty are left out, as the server drops them, and they would look like a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virtfn.kube.resource import Json

PART_OF: Final = "virtfn"
NODE_CRITICAL: Final = "system-node-critical"
DROP_ALL: Final[Mapping[str, Any]] = {"drop": ["ALL"]}
SECCOMP: Final[Mapping[str, Any]] = {"type": "RuntimeDefault"}
"""Containers that are privileged run without it all the same (Kubernetes documentation, "Seccomp")."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host in a container."""

    name: str
    host_path: str
    at: str
    why: str
    read_only: bool = False
    create: bool = False
    """Whether the folder is made on the host where it is missing."""
    follows_host: bool = False
    """Whether what the host mounts later is seen too."""

    def volume(self) -> Json:
        """The pod's part."""
        path: Json = {"path": self.host_path}
        path["type"] = "DirectoryOrCreate" if self.create else "Directory"
        return {"name": self.name, "hostPath": path}

    def in_container(self) -> Json:
        """The container's part."""
        made: Json = {"name": self.name, "mountPath": self.at}
        if self.read_only:
            made["readOnly"] = True
        if self.follows_host:
            made["mountPropagation"] = "HostToContainer"
        return made

    def reason(self) -> str:
        """One line for people."""
        return f"{self.host_path}{' (read only)' if self.read_only else ''}: {self.why}"


def daemon_set(
    name: str,
    *,
    namespace: str,
    pod: Json,
    placement: Mapping[str, Any],
    max_unavailable: str,
    annotations: Mapping[str, str] | None = None,
) -> Json:
    """A DaemonSet whose pods tolerate everything: what is configured on a node does not depend on its taints.

    :param pod: of the pod's spec what is its own.
    :param placement: `nodeSelector` or `affinity`.
    """
    labels = {"app": name, "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": PART_OF}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": max_unavailable}},
            "template": {
                "metadata": {"labels": labels, **({"annotations": dict(annotations)} if annotations else {})},
                "spec": {
                    "priorityClassName": NODE_CRITICAL,
                    "tolerations": [{"operator": "Exists"}],
                    "securityContext": {"seccompProfile": dict(SECCOMP)},
                    **placement,
                    **pod,
                },
            },
        },
    }


def variables(values: Mapping[str, str], *, fields: Mapping[str, str] | None = None) -> list[Json]:
    """`env`: values, and fields of the pod by their paths."""
    made: list[Json] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in (fields or {}).items()
    ]
    return made + [{"name": name, "value": value} if value else {"name": name} for name, value in values.items()]


def pull_secrets(names: Sequence[str]) -> Json:
    """`imagePullSecrets`, nothing without any."""
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def scc(openshift: bool) -> dict[str, str]:
    """Annotation that pins the security context constraint on OpenShift."""
    return {"openshift.io/required-scc": "privileged"} if openshift else {}
