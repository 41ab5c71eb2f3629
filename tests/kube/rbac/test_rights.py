"""What each account may not do is refused, and what it has to do is allowed: with real requests and its own token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kube.bed.assets import Assets
from kube.bed.deploying import as_account, deployed

from virtfn.cluster import kinds
from virtfn.errors import ClusterError, Forbidden, Unauthorized
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.resource import CONFIG_MAPS, EVENTS, LEASES, NAMESPACES, NODES, PODS, Json, Resource

OPERATOR = "sriov-network-operator"
CONTROLLER, DAEMON = "virtfn-controller", "virtfn-daemon"
RBAC = "rbac.authorization.k8s.io"
SECRETS = Resource("", "v1", "secrets", "Secret")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
CLUSTER_ROLES = Resource(RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_BINDINGS = Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
ADMISSION = "admissionregistration.k8s.io"
WEBHOOKS = Resource(
    ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False
)  # fmt: skip
LABEL = {"metadata": {"labels": {"tried": "yes"}}}

FAILED = {"status": {"syncStatus": "Failed"}}

Attempt = Callable[[KubeClient], Any]


def body(resource: Resource, name: str, *, namespace: str = "", **rest: Any) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}


def creates(resource: Resource, name: str = "tried", *, namespace: str = OPERATOR, **rest: Any) -> Attempt:
    where = namespace if resource.namespaced else ""
    return lambda kube: kube.create(resource, body=body(resource, name, namespace=where, **rest), namespace=where)


def patches(
    resource: Resource, name: str, *, namespace: str = OPERATOR, subresource: str = "", patch: Json | None = None
) -> Attempt:
    where = namespace if resource.namespaced else ""
    return lambda kube: kube.patch(
        resource, name=name, namespace=where, body=patch or LABEL, subresource=subresource
    )  # fmt: skip


def applies(resource: Resource, name: str, *, namespace: str = OPERATOR, subresource: str = "", **rest: Any) -> Attempt:
    def attempt(kube: KubeClient) -> Any:
        return kube.patch(
            resource, name=name, namespace=namespace, body=body(resource, name, **rest), kind=PatchKind.APPLY,
            field_manager="test", force=True, subresource=subresource,
        )  # fmt: skip

    return attempt


def deletes(resource: Resource, name: str, *, namespace: str = OPERATOR) -> Attempt:
    return lambda kube: kube.delete(resource, name=name, namespace=namespace if resource.namespaced else "")


def lists(resource: Resource, *, namespace: str = "") -> Attempt:
    return lambda kube: list(kube.list(resource, namespace=namespace))


def posts(path: str, thing: Json) -> Attempt:
    return lambda kube: kube.call("POST", path=path, subject=path, body=thing)


def daemon_set(name: str) -> Json:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.org/i:1"}]}}
    return {"selector": {"matchLabels": labels}, "template": pod}


RULES = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
ADMIN_ROLE = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
BINDS = {"roleRef": ADMIN_ROLE, "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": OPERATOR}]}
TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
EVICTION = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}
POD_SPEC = {"containers": [{"name": "c", "image": "example.org/i:1"}]}

BY_NOBODY: dict[str, Attempt] = {
    "make a role": creates(kinds.ROLES, **RULES),
    "change its role": patches(kinds.ROLES, CONTROLLER, patch=RULES),
    "bind cluster-admin in the namespace": creates(kinds.ROLE_BINDINGS, **BINDS),
    "make a cluster role": creates(CLUSTER_ROLES, **RULES),
    "change its cluster role": patches(CLUSTER_ROLES, CONTROLLER, patch=RULES),
    "bind cluster-admin": creates(CLUSTER_BINDINGS, **BINDS),
    "make a service account": creates(kinds.SERVICE_ACCOUNTS),
    "get a token": posts(f"/api/v1/namespaces/{OPERATOR}/serviceaccounts/virtfn-controller/token", TOKEN),
    "get a token in kube-system": posts("/api/v1/namespaces/kube-system/serviceaccounts/default/token", TOKEN),
    "read a secret": lambda kube: kube.get(SECRETS, name="any", namespace=OPERATOR),
    "list all secrets": lists(SECRETS),
    "make a secret": creates(SECRETS),
    "make a config map": creates(CONFIG_MAPS),
    "make a pod": creates(PODS, spec=POD_SPEC),
    "change a pod": patches(PODS, "any"),
    "run something in a pod": posts(f"/api/v1/namespaces/{OPERATOR}/pods/any/exec?command=id", {}),
    "post a DaemonSet": creates(kinds.DAEMON_SETS, "sriov-device-plugin", spec=daemon_set("sriov-device-plugin")),
    "apply a DaemonSet of another name": applies(kinds.DAEMON_SETS, "other", spec=daemon_set("other")),
    "apply a DaemonSet in kube-system": applies(
        kinds.DAEMON_SETS, "sriov-device-plugin", namespace="kube-system", spec=daemon_set("sriov-device-plugin")
    ),
    "change the controller's Deployment": patches(DEPLOYMENTS, CONTROLLER),
    "make a node": creates(NODES),
    "delete a node": deletes(NODES, "worker"),
    "say how a node is": patches(NODES, "worker", subresource="status"),
    "make a namespace": creates(NAMESPACES),
    "label the namespace": patches(NAMESPACES, OPERATOR),
    "make a policy": creates(kinds.POLICIES),
    "change a policy": patches(kinds.POLICIES, "any"),
    "delete a policy": deletes(kinds.POLICIES, "any"),
    "change a pool": patches(kinds.POOL_CONFIGS, "any"),
    "make an operator configuration": creates(kinds.OPERATOR_CONFIGS, "other"),
    "delete the operator configuration": deletes(kinds.OPERATOR_CONFIGS, "default"),
    "make a network": creates(kinds.NETWORKS, spec={"resourceName": "nics"}),
    "delete a network": deletes(kinds.NETWORKS, "any"),
    "change a definition of a kind": patches(DEFINITIONS, "sriovnetworks.sriovnetwork.openshift.io"),
    "make a webhook": creates(WEBHOOKS),
    "take another lease": patches(LEASES, "any", namespace="kube-system"),
    "delete events": deletes(EVENTS, "any"),
    "be somebody else": lambda kube: kube.call(
        "POST",
        path="/apis/authorization.k8s.io/v1/subjectaccessreviews",
        subject="review",
        body={"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"user": "admin"}},
    ),
}  # fmt: skip
"""Neither the controller nor the daemon may."""

NOT_BY_THE_DAEMON: dict[str, Attempt] = {
    "make a node state": creates(kinds.NODE_STATES),
    "delete a node state": deletes(kinds.NODE_STATES, "worker"),
    "change what a node shall be like": patches(kinds.NODE_STATES, "worker", patch={"spec": {"interfaces": []}}),
    "annotate a node state": patches(kinds.NODE_STATES, "worker"),
    "say how a node is, in another namespace": patches(
        kinds.NODE_STATES, "worker", namespace="default", subresource="status", patch=FAILED
    ),
    "label a node": patches(NODES, "worker"),
    "list nodes": lists(NODES),
    "list pods": lists(PODS),
    "delete a pod": deletes(PODS, "any"),
    "evict a pod": posts("/api/v1/namespaces/default/pods/p/eviction", EVICTION),
    "say how a policy is": patches(kinds.POLICIES, "any", subresource="status"),
    "read the policies": lists(kinds.POLICIES, namespace=OPERATOR),
    "read the operator configuration": lists(kinds.OPERATOR_CONFIGS, namespace=OPERATOR),
    "say how a network is": patches(kinds.NETWORKS, "any", subresource="status"),
    "make a NetworkAttachmentDefinition": creates(kinds.ATTACHMENT_DEFINITIONS),
    "list DaemonSets": lists(kinds.DAEMON_SETS, namespace=OPERATOR),
    "apply a DaemonSet": applies(kinds.DAEMON_SETS, "sriov-device-plugin", spec=daemon_set("sriov-device-plugin")),
    "take the controller's lease": patches(LEASES, CONTROLLER),
    "make a lease": creates(LEASES),
    "tell events elsewhere": creates(EVENTS, namespace="default"),
}  # fmt: skip

REFUSED = [
    *((account, what) for account in (CONTROLLER, DAEMON) for what in BY_NOBODY),
    *((DAEMON, what) for what in NOT_BY_THE_DAEMON),
]


def test_there_are_enough_of_them() -> None:
    assert len(BY_NOBODY) >= 20
    assert len(NOT_BY_THE_DAEMON) >= 20


@pytest.mark.parametrize(("account", "what"), REFUSED)
def test_it_may_not(account: str, what: str, acting: Callable[[str], KubeClient]) -> None:
    attempt = BY_NOBODY.get(what) or NOT_BY_THE_DAEMON[what]
    with pytest.raises(Forbidden):
        attempt(acting(account))


@pytest.mark.parametrize("account", ["virtfn-device-plugin", "virtfn-cni"])
@pytest.mark.parametrize("resource", [NODES, PODS, kinds.NODE_STATES, kinds.NETWORKS, SECRETS], ids=str)
def test_what_only_runs_on_nodes_may_not_even_read(
    account: str, resource: Resource, acting: Callable[[str], KubeClient]
) -> None:
    with pytest.raises(Forbidden):
        lists(resource, namespace=OPERATOR if resource.namespaced else "")(acting(account))


def test_the_attempts_are_good_ones(binaries: Assets) -> None:
    """An administrator is not refused: so it is the right that the others lack, and not the request that is wrong."""
    with deployed(binaries) as server, as_account(server, "") as admin:
        for what, attempt in {**BY_NOBODY, **NOT_BY_THE_DAEMON}.items():
            try:
                attempt(admin)
            except (Forbidden, Unauthorized) as error:
                raise AssertionError(f"{what}: {error}") from error
            except ClusterError:
                pass  # there is no such object, or it would have to say more: it was looked at


@pytest.fixture(scope="module")
def node_state(acting: Callable[[str], KubeClient]) -> str:
    """A node state's name."""
    acting("").create(kinds.NODE_STATES, body=body(kinds.NODE_STATES, "mine", namespace=OPERATOR))
    return "mine"


def test_the_daemon_reads_node_states_and_says_how_its_node_is(
    node_state: str, acting: Callable[[str], KubeClient]
) -> None:
    daemon = acting(DAEMON)
    assert daemon.get(kinds.NODE_STATES, name=node_state, namespace=OPERATOR)
    assert list(daemon.list(kinds.NODE_STATES, namespace=OPERATOR, fields=f"metadata.name={node_state}"))
    version = daemon.page(kinds.NODE_STATES, namespace=OPERATOR).resource_version
    stream = daemon.watch(
        kinds.NODE_STATES, resource_version=version, seconds=1, quiet=10, namespace=OPERATOR,
        fields=f"metadata.name={node_state}",
    )  # fmt: skip
    with stream:
        list(stream.chunks())
    status = {"syncStatus": "Succeeded"}
    made = applies(kinds.NODE_STATES, node_state, subresource="status", status=status)(daemon)
    assert made["status"]["syncStatus"] == "Succeeded"
    event = {
        "eventTime": "2030-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Tried", "action": "Try", "note": "n",
        "reportingController": "virtfn.io/daemon", "reportingInstance": "test",
        "regarding": {"kind": "SriovNetworkNodeState", "name": node_state, "namespace": OPERATOR},
    }  # fmt: skip
    creates(EVENTS, "told", **event)(daemon)
    series = {"series": {"count": 2, "lastObservedTime": "2030-01-01T00:00:01.000000Z"}}
    patches(EVENTS, "told", patch=series)(daemon)


def test_the_status_changes_nothing_else(node_state: str, acting: Callable[[str], KubeClient]) -> None:
    before = acting("").get(kinds.NODE_STATES, name=node_state, namespace=OPERATOR)
    more = {**LABEL, "spec": {"system": {"rdmaMode": "shared"}}, "status": {"lastSyncError": "tried"}}
    patches(kinds.NODE_STATES, node_state, subresource="status", patch=more)(acting(DAEMON))
    after = acting("").get(kinds.NODE_STATES, name=node_state, namespace=OPERATOR)
    assert after["status"]["lastSyncError"] == "tried"
    assert after.get("spec") == before.get("spec")
    assert after["metadata"].get("labels") == before["metadata"].get("labels")
