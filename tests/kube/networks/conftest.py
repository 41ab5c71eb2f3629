"""Networks and their NetworkAttachmentDefinitions on a real API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
from kube.bed.reconciling import Reconciling
from kube.bed.server import ADMIN, ApiServer

from virtfn.controller.networks import KINDS, NetworkReconciler
from virtfn.controller.services import ControllerSettings
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient


@pytest.fixture
def connected() -> Iterator[Callable[[ApiServer], KubeClient]]:
    """A client of an administrator, for a server."""
    with ExitStack() as stack:

        def make(server: ApiServer) -> KubeClient:
            configured = configuration(environment={}, kubeconfig=server.kubeconfig(ADMIN))
            client = connect(configured, user_agent="virtfn/test", random=Random())
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def kube(api_server: ApiServer, crds: list[str], connected: Callable[[ApiServer], KubeClient]) -> KubeClient:
    """The session's server, which knows this project's kinds and Multus'."""
    return connected(api_server)


@pytest.fixture
def running(kube: KubeClient, namespace: str) -> Iterator[Callable[..., Any]]:
    """The reconciler, with the test's namespace as the operator's: `with running(): ...`.

    It sees the networks of all namespaces, so what the test made is removed in the end.
    """

    def make(client: KubeClient = kube) -> Reconciling:
        return Reconciling(client, [NetworkReconciler], ControllerSettings(namespace, resource_prefix="openshift.io"))

    yield make
    for kind in KINDS.values():
        for each in kube.list(kind):
            name, where = each["metadata"]["name"], each["metadata"]["namespace"]
            kube.patch(kind, name=name, namespace=where, body={"metadata": {"finalizers": None}})
            kube.delete(kind, name=name, namespace=where)


@pytest.fixture
def apps(kube: KubeClient, namespace: str) -> str:
    """A second namespace, where pods are."""
    name = f"{namespace}-apps"
    kube.call("POST", path="/api/v1/namespaces", subject=name, body={"metadata": {"name": name}, "kind": "Namespace"})
    return name
