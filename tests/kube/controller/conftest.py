"""The whole controller on an API server of its own, with daemons that only report."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import pytest
from kube.bed import assets, definitions
from kube.bed.proxy import Proxy
from kube.bed.reconciling import eventually
from kube.bed.server import ADMIN, ApiServer

from virtfn.cluster.kinds import NODE_STATES, POLICIES
from virtfn.controller.app import App, AppSettings
from virtfn.controller.services import ControllerSettings
from virtfn.errors import LeaseLost, VirtfnError
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.leader import LeaseSettings
from virtfn.kube.meter import Tally
from virtfn.kube.resource import NAMESPACES, NODES, Json

CRDS = Path(__file__).resolve().parents[3] / "deploy" / "crds"
SHORT = LeaseSettings(duration=4, renew_deadline=2.5, retry=0.4)
NUMBERS = itertools.count(1)


class Controller:
    """One controller in this process, behind a proxy that sees all it asks."""

    def __init__(self, server: ApiServer, *, namespace: str, name: str, **settings: Any) -> None:
        self.name = name
        self.tally = Tally()
        self.lost: LeaseLost | None = None
        self._settings = ControllerSettings(namespace, "example.org", **settings)
        self._server = server
        self._stop = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Controller:
        tls = self._server.server_certificate()
        self.proxy = self._stack.enter_context(Proxy(self._server.url, self._server.ca_file, client_tls=tls))
        configured = configuration(environment={}, kubeconfig=self._server.kubeconfig(ADMIN, server=self.proxy.url))
        client = connect(configured, user_agent=self.name, random=Random())
        self._stack.callback(client.close)
        run_as = AppSettings(self.name, lease=SHORT, health_address="127.0.0.1", health_port=0)
        self.app = App(client, settings=self._settings, run_as=run_as, meter=self.tally)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._stack.close()

    def _run(self) -> None:
        try:
            self.app.run(self._stop)
        except LeaseLost as error:
            self.lost = error

    @property
    def has_ended(self) -> bool:
        """Whether `run` has returned."""
        return not self._thread.is_alive()

    def writes(self, pattern: str = "") -> list[Any]:
        """Requests so far that change something, but for leases and events."""
        return [
            request
            for request in self.proxy.requests("*", pattern)
            if request.method != "GET" and "/leases" not in request.target and "/events" not in request.target
        ]


@dataclass
class Daemons:
    """What all daemons of a namespace do, without cards: they say that what is wanted is there."""

    client: KubeClient
    namespace: str
    inventory: dict[str, list[Json]] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Daemons:
        self._thread = threading.Thread(target=self._run, name="daemons", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            try:
                for state in self.client.list(NODE_STATES, namespace=self.namespace):
                    self._report(state)
            except VirtfnError:
                continue  # deleted meanwhile; or the server is away

    def _report(self, state: Json) -> None:
        name, generation = state["metadata"]["name"], state["metadata"]["generation"]
        if name not in self.inventory:
            return
        error = self.failing.get(name, "")
        status = {
            "syncStatus": "Failed" if error else "Succeeded",
            "observedGeneration": generation,
            "neededState": "Idle",
            "interfaces": self.inventory[name],
            **({"lastSyncError": error} if error else {}),
        }
        live = state.get("status") or {}
        if all(live.get(key) == value for key, value in status.items()):
            return
        body = {
            "apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind, "metadata": {"name": name},
            "status": status,
        }  # fmt: skip
        self.client.patch(
            NODE_STATES, name=name, namespace=self.namespace, body=body, kind=PatchKind.APPLY, subresource="status",
            field_manager="virtfn-daemon", force=True,
        )  # fmt: skip


class Site:
    """A namespace, its nodes, and those who run there."""

    def __init__(self, server: ApiServer, client: KubeClient, *, namespace: str, stack: ExitStack) -> None:
        self.server = server
        self.client = client
        self.namespace = namespace
        self._stack = stack
        self.daemons = stack.enter_context(Daemons(client, namespace))

    def controller(self, name: str = "one", **settings: Any) -> Controller:
        """Start one; it ends with the test."""
        return self._stack.enter_context(Controller(self.server, namespace=self.namespace, name=name, **settings))

    def node(self, name: str, *interfaces: Json, **labels: str) -> str:
        """A worker; with interfaces it has a daemon that reports them."""
        found = {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": "", **labels}
        self.client.create(
            NODES, body={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": found}}
        )
        if interfaces:
            self.daemons.inventory[name] = list(interfaces)
        return name

    def policy(self, name: str, **spec: Any) -> Json:
        """Apply a policy, as kubectl would."""
        whole = {"resourceName": "r", "nodeSelector": {}, "numVfs": 4, "nicSelector": {"vendor": "15b3"}, **spec}
        body = {
            "apiVersion": POLICIES.api_version, "kind": POLICIES.kind,
            "metadata": {"name": name, "namespace": self.namespace}, "spec": whole,
        }  # fmt: skip
        return self.client.patch(
            POLICIES, name=name, namespace=self.namespace, body=body, kind=PatchKind.APPLY, field_manager="kubectl"
        )

    def state(self, name: str) -> Json | None:
        """A node state."""
        return self.client.find(NODE_STATES, name=name, namespace=self.namespace)

    def spec(self, name: str) -> Json:
        """What is wanted of a node; empty while there is no node state."""
        return (self.state(name) or {}).get("spec") or {}

    def num_vfs(self, name: str) -> int:
        """Of its first PF."""
        return int(next((entry["numVfs"] for entry in self.spec(name).get("interfaces", ())), 0))

    def condition(self, name: str, *, kind: str = "Ready") -> Json:
        """Of a policy, at its newest generation; empty until then."""
        policy = self.client.get(POLICIES, name=name, namespace=self.namespace)
        for entry in (policy.get("status") or {}).get("conditions", ()):
            if entry["type"] == kind and entry["observedGeneration"] == policy["metadata"]["generation"]:
                return dict(entry)
        return {}

    def until_ready(self, name: str) -> Json:
        """A policy's condition, once it is True."""
        return eventually(lambda: found if (found := self.condition(name)).get("status") == "True" else None) or {}


def nic(name: str = "ens41f0np0", address: str = "0000:3b:00.0", **rest: Any) -> Json:
    """A PF as a daemon reports it."""
    return {
        "pciAddress": address, "name": name, "vendor": "15b3", "deviceID": "1017", "driver": "mlx5_core", "mtu": 1500,
        "totalvfs": 8, "linkType": "ETH", "eSwitchMode": "legacy", "linkAdminState": "up", **rest,
    }  # fmt: skip


@pytest.fixture(scope="session")
def quiet_server(binaries: assets.Assets) -> Iterator[ApiServer]:
    """An API server for the tests here, as nodes are of no namespace: nobody else's are in it, nor Multus' kinds."""
    with ApiServer(binaries) as server:
        with server.client() as api:
            definitions.install(api, definitions.read([CRDS]))
        yield server


@pytest.fixture
def site(quiet_server: ApiServer) -> Iterator[Site]:
    """A fresh namespace, and no node."""
    configured = configuration(environment={}, kubeconfig=quiet_server.kubeconfig(ADMIN))
    client = connect(configured, user_agent="virtfn/test", random=Random())
    namespace = f"site-{next(NUMBERS)}"
    client.create(NAMESPACES, body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    with ExitStack() as stack:
        yield Site(quiet_server, client, namespace=namespace, stack=stack)
    for node in list(client.list(NODES, metadata_only=True)):
        client.delete(NODES, name=node["metadata"]["name"])
    client.close()


class Kit:
    """What tests build with, as this file cannot be imported."""

    nic = staticmethod(nic)
    lease = SHORT


@pytest.fixture
def kit() -> Kit:
    return Kit()
