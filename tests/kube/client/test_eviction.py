"""Evictions, in the kind that this server takes, with a real disruption budget."""

from __future__ import annotations

import pytest

from virtfn.errors import EvictionBlocked
from virtfn.kube.client import KubeClient
from virtfn.kube.eviction import Evictor
from virtfn.kube.resource import NAMESPACES, PODS, Json, Resource, uid_of


@pytest.fixture
def pod(kube: KubeClient, namespace: str) -> Json:
    """A pod that a node runs, as far as the API server knows."""
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "example.org/i:1"}]}
    metadata = {"name": "p", "namespace": namespace, "labels": {"app": "a"}}
    kube.create(PODS, body={"metadata": metadata, "spec": spec})
    ready = {"type": "Ready", "status": "True"}
    body = {"status": {"phase": "Running", "conditions": [ready]}}
    return kube.patch(PODS, name="p", namespace=namespace, body=body, subresource="status")


@pytest.fixture
def budget(kube: KubeClient, namespace: str) -> Json:
    """A budget that allows nothing. The controller that would say so is not there, so the test does."""
    groups = kube.call("GET", path="/apis/policy", subject="policy")
    version = groups["preferredVersion"]["version"]
    budgets = Resource("policy", version, "poddisruptionbudgets", "PodDisruptionBudget")
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "a"}}}
    made = kube.create(budgets, body={"metadata": {"name": "b", "namespace": namespace}, "spec": spec})
    counts = {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "disruptionsAllowed": 0}
    status = {"status": {"observedGeneration": made["metadata"]["generation"], **counts}}
    return kube.patch(budgets, name="b", namespace=namespace, body=status, subresource="status")


def test_a_pod_goes(kube: KubeClient, namespace: str, pod: Json) -> None:
    evictor = Evictor(kube)
    assert evictor.evict(name="p", namespace=namespace, uid=uid_of(pod), dry_run=True)
    assert "deletionTimestamp" not in kube.get(PODS, name="p", namespace=namespace)["metadata"]
    assert not evictor.evict(name="p", namespace=namespace, uid="another")
    assert evictor.evict(name="p", namespace=namespace, uid=uid_of(pod))
    assert "deletionTimestamp" in kube.get(PODS, name="p", namespace=namespace)["metadata"]
    assert evictor.evict(name="p", namespace=namespace, uid=uid_of(pod), grace_seconds=0)
    assert kube.find(PODS, name="p", namespace=namespace) is None
    assert not evictor.evict(name="p", namespace=namespace)


def test_a_budget_holds_it(kube: KubeClient, namespace: str, pod: Json, budget: Json) -> None:
    with pytest.raises(EvictionBlocked, match="disruption budget"):
        Evictor(kube).evict(name="p", namespace=namespace, uid=uid_of(pod))
    assert "deletionTimestamp" not in kube.get(PODS, name="p", namespace=namespace)["metadata"]


def test_a_pod_of_a_namespace_that_is_not_there(kube: KubeClient, namespace: str) -> None:
    assert kube.find(NAMESPACES, name=f"no-{namespace}") is None
    assert not Evictor(kube).evict(name="p", namespace=f"no-{namespace}")
