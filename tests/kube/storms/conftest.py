"""A cluster that is not shared with other tests: nodes with a card each, and controllers that are processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kube.bed import assets, definitions
from kube.bed.processes import ControllerProcess
from kube.bed.reconciling import eventually
from kube.bed.server import ApiServer

from virtfn.cluster.kinds import NODE_STATES, POLICIES
from virtfn.errors import NotFound
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import NAMESPACES, NODES, PODS

NAMESPACE = "virtfn"
ROOT = Path(__file__).resolve().parents[3]
VF = "0000:3b:00.2"
CARD = {
    "pciAddress": "0000:3b:00.0",
    "name": "ens1f0",
    "mac": "0c:42:a1:00:00:01",
    "driver": "mlx5_core",
    "vendor": "15b3",
    "deviceID": "1017",
    "mtu": 1500,
    "totalvfs": 16,
    "linkType": "ETH",
    "linkAdminState": "up",
    "eSwitchMode": "legacy",
}


@dataclass
class Cluster:
    """Nodes, and what is wanted of them, by an administrator's hand."""

    server: ApiServer
    kube: KubeClient
    directory: Path
    started: list[ControllerProcess] = field(default_factory=list)

    def controller(self, name: str, **words: Any) -> ControllerProcess:
        """A controller, not started; it ends with the test."""
        made = ControllerProcess(
            name, kubeconfig=self.server.kubeconfig(), namespace=NAMESPACE, directory=self.directory, **words
        )
        self.started.append(made)
        return made

    def add_nodes(self, count: int) -> list[str]:
        """Ready workers, by name."""
        names = [f"node-{number}" for number in range(count)]
        for name in names:
            self.add_node(name)
        return names

    def add_node(self, name: str) -> None:
        """One ready worker."""
        labels = {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": "", "kubernetes.io/hostname": name}
        self.kube.create(NODES, body={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        self.kube.patch(NODES, name=name, body=status, subresource="status")
        # The API server's admission taints and thereby excludes what has not been ready yet; nobody else removes it.
        self.kube.patch(NODES, name=name, body={"spec": {"taints": None}})

    def report(self, name: str, **status: Any) -> None:
        """What a daemon would tell of a node."""
        body = {"status": {"interfaces": [CARD]} | status}
        self.kube.patch(NODE_STATES, name=name, namespace=NAMESPACE, body=body, subresource="status")

    def need(self, name: str, needed: str, *, digest: str = "") -> None:
        """What a daemon publishes of a plan that takes the VF away, or that there is none."""
        vfs = [{"pciAddress": VF, "vfID": 0}]
        plan = {"digest": digest, "generation": 1, "disruption": "VFS", "affects": [VF]} if digest else None
        self.report(name, neededState=needed, plan=plan, interfaces=[CARD | {"Vfs": vfs, "numVfs": 1}])

    def add_pod(self, name: str, *, node: str, vf: str) -> None:
        """A pod with a VF, as Multus shows it; it ends without a kubelet."""
        shown = [{"name": "net", "device-info": {"type": "pci", "pci": {"pci-address": vf}}}]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "o", "uid": "o", "controller": True}
        body = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "annotations": {"k8s.v1.cni.cncf.io/network-status": json.dumps(shown)},
                "ownerReferences": [owner],
            },
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "example.org/i:1"}],
            },
        }
        self.kube.create(PODS, namespace="default", body=body)

    def report_all(self, names: list[str]) -> None:
        """All daemons tell what there is, as soon as there is something to write it to."""
        eventually(lambda: self.states().keys() >= set(names))
        for name in names:
            self.report(name)

    def states(self) -> dict[str, Any]:
        """All node states by name."""
        return {each["metadata"]["name"]: each for each in self.kube.list(NODE_STATES, namespace=NAMESPACE)}

    def want(self, name: str, **spec: Any) -> None:
        """Create or change a policy."""
        body = {
            "apiVersion": POLICIES.api_version,
            "kind": POLICIES.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "resourceName": name.replace("-", "_"),
                "nodeSelector": {},
                "nicSelector": {"pfNames": ["ens1f0"]},
                **spec,
            },
        }
        try:
            self.kube.patch(POLICIES, name=name, namespace=NAMESPACE, body={"spec": body["spec"]})
        except NotFound:
            self.kube.create(POLICIES, body=body)

    def wanted_vfs(self) -> dict[str, int | None]:
        """Number of VFs in the spec of each node state; None without an interface in it."""
        found: dict[str, int | None] = {}
        for name, state in self.states().items():
            interfaces = state.get("spec", {}).get("interfaces", [])
            found[name] = interfaces[0]["numVfs"] if interfaces else None
        return found


@pytest.fixture
def cluster(binaries: assets.Assets, tmp_path: Path) -> Iterator[Cluster]:
    """An API server of the test's own, with all kinds, the operator's namespace and an administrator."""
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer(binaries))
        with server.client() as api:
            definitions.install(api, definitions.read([ROOT / "deploy" / "crds", ROOT / "tests" / "kube" / "data"]))
        kube = connect(
            configuration(environment={}, kubeconfig=server.kubeconfig()), user_agent="virtfn/test", random=Random()
        )
        stack.callback(kube.close)
        kube.create(NAMESPACES, body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        made = Cluster(server, kube, tmp_path)
        stack.callback(lambda: [each.kill() for each in made.started])
        yield made


@pytest.fixture
def no_crash() -> Callable[[ControllerProcess], None]:
    """Fails if a controller has met what nobody thought of."""

    def check(controller: ControllerProcess) -> None:
        assert "Traceback" not in controller.log(), controller.log()[-8000:]

    return check
