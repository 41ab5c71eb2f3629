"""The kinds that virtfn reads and writes in a cluster, by the words of their URLs."""

from __future__ import annotations

from typing import Final

from virtfn.kube.resource import Resource
from virtfn.model.crd import (
    GROUP,
    VERSION,
    CustomResource,
    OVSNetwork,
    SriovIBNetwork,
    SriovNetwork,
    SriovNetworkNodePolicy,
    SriovNetworkNodeState,
    SriovNetworkPoolConfig,
    SriovOperatorConfig,
)


def _own(model: type[CustomResource]) -> Resource:
    return Resource(GROUP, VERSION, model.plural, str(model.model_fields["kind"].default))


POLICIES: Final = _own(SriovNetworkNodePolicy)
NODE_STATES: Final = _own(SriovNetworkNodeState)
NETWORKS: Final = _own(SriovNetwork)
IB_NETWORKS: Final = _own(SriovIBNetwork)
OVS_NETWORKS: Final = _own(OVSNetwork)
POOL_CONFIGS: Final = _own(SriovNetworkPoolConfig)
OPERATOR_CONFIGS: Final = _own(SriovOperatorConfig)

ATTACHMENT_DEFINITIONS: Final = Resource(
    "k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition"
)
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
