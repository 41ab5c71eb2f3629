"""What `virtfn.kube` is tried with on a real API server: clients of it, straight or through the proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from kube.bed.proxy import Proxy
from kube.bed.server import ADMIN, ApiServer, User

from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.meter import Tally
from virtfn.kube.resource import CONFIG_MAPS, Json
from virtfn.kube.transport import TransportSettings

PATIENCE = 60.0


@pytest.fixture
def patience() -> float:
    """Seconds after which a test gives up waiting."""
    return PATIENCE


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def connected() -> Iterator[Callable[..., KubeClient]]:
    """A client by a kubeconfig: `connected(server, ADMIN, url=proxy.url)`."""
    made: list[KubeClient] = []

    def make(
        server: ApiServer, user: User | str = ADMIN, *, url: str = "", settings: TransportSettings | None = None
    ) -> KubeClient:
        configured = configuration(environment={}, kubeconfig=server.kubeconfig(user, server=url))
        client = connect(configured, user_agent="virtfn/test", random=Random(), settings=settings)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def kube(api_server: ApiServer, connected: Callable[..., KubeClient]) -> KubeClient:
    """The client of an administrator."""
    return connected(api_server)


@pytest.fixture
def through(api_server: ApiServer, connected: Callable[..., KubeClient], tls_proxy: Proxy) -> KubeClient:
    """The same through the proxy, with TLS all the way."""
    return connected(api_server, url=tls_proxy.url)


@pytest.fixture
def config_map(namespace: str) -> Callable[..., Json]:
    """A config map of the test's namespace."""

    def make(name: str, *, labels: dict[str, str] | None = None, **data: Any) -> Json:
        metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
        return {"apiVersion": "v1", "kind": CONFIG_MAPS.kind, "metadata": metadata, "data": data}

    return make
