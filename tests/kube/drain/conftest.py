"""A cluster to be drained: nodes, their daemons' words, pods, disruption budgets, and a controller that only drains.

No controller manager, no scheduler and no kubelet is there: the tests do what those would do.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from kube.bed.server import ADMIN, ApiServer

from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS, POOL_CONFIGS
from virtfn.controller.app import App, AppSettings
from virtfn.controller.device_plugin import DevicePluginReconciler
from virtfn.controller.drain import DrainReconciler
from virtfn.controller.services import ControllerSettings, Reconciler, Services, View
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.conditions import condition_of
from virtfn.kube.meter import Tally
from virtfn.kube.resource import EVENTS, NODES, PODS, Json, Resource, uid_of

PATIENCE = 60.0
TURN = 0.05
PREFIX = "example.com"
PORT = "0000:3b:00.0"
VFS = tuple(f"0000:3b:02.{number}" for number in range(4))
READY = {"type": "Ready", "status": "True", "reason": "Up", "message": ""}
CURRENT = "sriovnetwork.openshift.io/current-state"
DESIRED = "sriovnetwork.openshift.io/desired-state"


class Cluster:
    """One test's nodes, node states and pods, by short names."""

    def __init__(self, kube: KubeClient, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        version = kube.call("GET", path="/apis/policy", subject="policy")["preferredVersion"]["version"]
        self._budgets = Resource("policy", version, "poddisruptionbudgets", "PodDisruptionBudget")

    def name(self, node: str) -> str:
        """Nodes are not in a namespace, so their names must tell the tests apart."""
        return f"{node}.{self.namespace}"

    # --- making -------------------------------------------------------------------------------------------------------

    def add_node(self, node: str, *, pool: str = "", cordoned: bool = False, ready: str = "True") -> None:
        """A node whose daemon needs nothing."""
        labels = {"pool": f"{pool}.{self.namespace}"} if pool else {}
        spec = {"unschedulable": True} if cordoned else {}
        self.kube.create(NODES, body={"metadata": {"name": self.name(node), "labels": labels}, "spec": spec})
        self.set_ready(node, ready)
        self.kube.create(
            NODE_STATES,
            body={
                "apiVersion": NODE_STATES.api_version,
                "kind": NODE_STATES.kind,
                "metadata": {"name": self.name(node), "namespace": self.namespace},
                "spec": {
                    "interfaces": [
                        {"pciAddress": PORT, "numVfs": 4, "vfGroups": [{"resourceName": "fast", "vfRange": "0-3"}]}
                    ]
                },
            },
        )
        self.need(node, "Idle")

    def keep_managers(self, node: str) -> None:
        """Have the server note who sets which field: before Kubernetes 1.22 it does so from the first apply on."""
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name(node), "labels": {"applied": "once"}},
        }
        self.kube.patch(NODES, name=self.name(node), body=body, kind=PatchKind.APPLY, field_manager="somebody")

    def set_ready(self, node: str, ready: str) -> None:
        """What the node's kubelet says (or the node controller, where it says nothing)."""
        status = {"status": {"conditions": [READY | {"status": ready}]}}
        self.kube.patch(NODES, name=self.name(node), body=status, subresource="status")

    def need(
        self,
        node: str,
        needed: str,
        *,
        affects: Sequence[str] = VFS,
        digest: str = "d1",
        plugin: Mapping[str, Any] | None = None,
    ) -> None:
        """What the node's daemon publishes."""
        status: Json = {
            "neededState": needed,
            "syncStatus": "InProgress" if needed != "Idle" else "Succeeded",
            "interfaces": [{"pciAddress": PORT, "Vfs": [{"pciAddress": vf, "vfID": n} for n, vf in enumerate(VFS)]}],
        }
        if needed != "Idle":
            status["plan"] = {"digest": digest, "generation": 1, "disruption": "PF", "affects": list(affects)}
        if plugin is not None:
            status["devicePlugin"] = dict(plugin)
        self.kube.patch(
            NODE_STATES,
            name=self.name(node),
            namespace=self.namespace,
            body={
                "apiVersion": NODE_STATES.api_version,
                "kind": NODE_STATES.kind,
                "metadata": {"name": self.name(node)},
                "status": status,
            },
            kind=PatchKind.APPLY,
            subresource="status",
            field_manager="virtfn-daemon",
            force=True,
        )

    def say_nothing(self, node: str) -> None:
        """Take back all that the daemon has published."""
        path = {"name": self.name(node), "namespace": self.namespace, "subresource": "status"}
        self.kube.patch(NODE_STATES, body={"status": None}, **path)

    def annotate(self, node: str, annotations: Mapping[str, str | None]) -> None:
        """Annotate a node state."""
        body = {"metadata": {"annotations": dict(annotations)}}
        self.kube.patch(NODE_STATES, name=self.name(node), namespace=self.namespace, body=body)

    def add_pool(self, pool: str, limit: int | str, *, of: str = "") -> None:
        """A pool of the nodes that were added with its name, or with that of another one."""
        labels = {"pool": f"{of or pool}.{self.namespace}"}
        spec = {"maxUnavailable": limit, "nodeSelector": {"matchLabels": labels}}
        self._make(POOL_CONFIGS, pool, spec)

    def configure(self, **spec: Any) -> None:
        """The operator's configuration."""
        self._make(OPERATOR_CONFIGS, "default", spec)

    def _make(self, resource: Resource, name: str, spec: Json) -> None:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        self.kube.create(resource, body=body | {"metadata": {"name": name, "namespace": self.namespace}})

    def add_pod(
        self,
        pod: str,
        node: str,
        *,
        vfs: Sequence[str] = (),
        requests: int = 0,
        grace: int = 0,
        namespace: str = "",
        owner: str = "ReplicaSet",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> str:
        """A pod that runs, with VFs as Multus would show them; its UID. With a grace of 0 it ends without a kubelet."""
        entries = [
            {"name": "apps/net", "interface": f"net{n}", "device-info": {"type": "pci", "pci": {"pci-address": vf}}}
            for n, vf in enumerate(vfs, start=1)
        ]
        words = {"k8s.v1.cni.cncf.io/network-status": json.dumps(entries)} if entries else {}
        metadata: Json = {
            "name": pod,
            "namespace": namespace or self.namespace,
            "labels": {"app": pod, **(labels or {})},
            "annotations": words | dict(annotations or {}),
        }
        if owner:
            version = "v1" if owner == "Node" else "apps/v1"
            reference = {"apiVersion": version, "kind": owner, "name": "o", "uid": "o", "controller": True}
            metadata["ownerReferences"] = [reference]
        container: Json = {"name": "c", "image": "example.org/i:1"}
        if requests or vfs:
            quantity = {f"{PREFIX}/fast": str(requests or len(vfs))}
            container["resources"] = {"requests": quantity, "limits": quantity}
        whole = {"nodeName": self.name(node), "terminationGracePeriodSeconds": grace, "containers": [container], **spec}
        made = self.kube.create(PODS, body={"metadata": metadata, "spec": whole})
        status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        self.kube.patch(PODS, name=pod, namespace=metadata["namespace"], body=status, subresource="status")
        return uid_of(made)

    def end_pod(self, pod: str, *, namespace: str = "") -> None:
        """What a kubelet does when a pod's containers have ended."""
        self.kube.delete(PODS, name=pod, namespace=namespace or self.namespace, grace_seconds=0)

    def add_budget(self, name: str, *, app: str, allows: int = 0) -> None:
        """A disruption budget, with the status that its controller would write."""
        spec = {"maxUnavailable": allows, "selector": {"matchLabels": {"app": app}}}
        self.kube.create(self._budgets, body={"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})
        self.let_go(name, allows=allows)

    def let_go(self, name: str, *, allows: int) -> None:
        """Say how many pods may go now."""
        live = self.kube.get(self._budgets, name=name, namespace=self.namespace)
        counts = {"currentHealthy": 1, "desiredHealthy": 1 - min(allows, 1), "expectedPods": 1}
        counts |= {"disruptionsAllowed": allows, "observedGeneration": live["metadata"]["generation"]}
        body = {"status": counts}
        self.kube.patch(self._budgets, name=name, namespace=self.namespace, body=body, subresource="status")

    # --- looking ------------------------------------------------------------------------------------------------------

    def node(self, node: str) -> Json:
        return self.kube.get(NODES, name=self.name(node))

    def state(self, node: str) -> Json:
        return self.kube.get(NODE_STATES, name=self.name(node), namespace=self.namespace)

    def annotation(self, node: str, word: str) -> str:
        return str(self.state(node)["metadata"].get("annotations", {}).get(word, ""))

    def current(self, node: str) -> str:
        return self.annotation(node, CURRENT)

    def reason(self, node: str) -> str:
        return str((condition_of(self.state(node), name="Drained") or {}).get("reason", ""))

    def message(self, node: str) -> str:
        return str((condition_of(self.state(node), name="Drained") or {}).get("message", ""))

    def is_cordoned(self, node: str) -> bool:
        return bool(self.node(node)["spec"].get("unschedulable"))

    def is_ours(self, node: str) -> bool:
        return "virtfn.io/cordoned" in self.node(node)["metadata"].get("annotations", {})

    def taints(self, node: str) -> list[str]:
        return [taint["key"] for taint in self.node(node)["spec"].get("taints", [])]

    def pods(self, node: str) -> set[str]:
        """Names of the pods that are there, those that are leaving too."""
        found = self.kube.list(PODS, namespace=self.namespace, fields=f"spec.nodeName={self.name(node)}")
        return {pod["metadata"]["name"] for pod in found}

    def is_leaving(self, pod: str) -> bool:
        found = self.kube.find(PODS, name=pod, namespace=self.namespace)
        return found is not None and bool(found["metadata"].get("deletionTimestamp"))

    def events(self, node: str, reason: str) -> list[Json]:
        found = self.kube.list(EVENTS, namespace=self.namespace)
        name = self.name(node)
        return [each for each in found if each.get("regarding", {}).get("name") == name and each["reason"] == reason]

    def wait(self, what: Callable[[], object], *, why: str) -> None:
        """Until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                pytest.fail(f"not after {PATIENCE:.0f} s: {why}")
            time.sleep(TURN)

    def wait_current(self, node: str, current: str) -> None:
        """Until the drain is so far."""
        self.wait(lambda: self.current(node) == current, why=f"{node} is {current} (it is {self.state(node)})")

    def wait_reason(self, node: str, reason: str) -> None:
        """Until the condition `Drained` says so."""
        self.wait(lambda: self.reason(node) == reason, why=f"{node}: {reason} (it is {self.state(node)})")

    def settle(self) -> None:
        """Give a controller that would do something wrong the time to do it."""
        time.sleep(1.5)


class Running:
    """A controller in a thread."""

    def __init__(self, app: App, tally: Tally) -> None:
        self.app = app
        self.tally = tally
        self._stop = threading.Event()
        self._thread = threading.Thread(target=app.run, args=(self._stop,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As a pod that is told to end."""
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def kube(api_server: ApiServer) -> Iterator[KubeClient]:
    """The client of an administrator."""
    configured = configuration(environment={}, kubeconfig=api_server.kubeconfig(ADMIN))
    client = connect(configured, user_agent="virtfn/test", random=Random())
    yield client
    client.close()


@pytest.fixture
def cluster(kube: KubeClient, namespace: str, crds: list[str]) -> Iterator[Cluster]:
    """Empty; its nodes and pods are removed in the end, as other tests see them, too."""
    made = Cluster(kube, namespace)
    yield made
    for pod in kube.list(PODS, namespace=namespace):
        kube.delete(PODS, name=pod["metadata"]["name"], namespace=namespace, grace_seconds=0)
    for node in kube.list(NODES):
        if node["metadata"]["name"].endswith(f".{namespace}"):
            kube.delete(NODES, name=node["metadata"]["name"])


@pytest.fixture
def start(api_server: ApiServer, namespace: str) -> Iterator[Callable[..., Running]]:
    """Start a controller that only drains and restarts device plugins: `start(drain_deadline=3)`."""
    running: list[Running] = []
    clients: list[KubeClient] = []

    def only(services: Services, views: Mapping[str, View]) -> Sequence[Reconciler]:
        return DrainReconciler(services, views), DevicePluginReconciler(services, views)

    def run(*, make: Callable[..., Sequence[Reconciler]] = only, url: str = "", **settings: Any) -> Running:
        configured = configuration(environment={}, kubeconfig=api_server.kubeconfig(ADMIN, server=url))
        client, tally = connect(configured, user_agent="virtfn/test", random=Random()), Tally()
        clients.append(client)
        app = App(
            client,
            settings=ControllerSettings(namespace, PREFIX, **settings),
            run_as=AppSettings(identity=f"test-{len(clients)}", elect=False),
            random=Random(),
            meter=tally,
            make=make,
        )
        running.append(Running(app, tally))
        return running[-1]

    yield run
    for each in running:
        each.stop()
    for client in clients:
        client.close()


@pytest.fixture
def vfs() -> tuple[str, ...]:
    """PCI addresses of a node's VFs."""
    return VFS
