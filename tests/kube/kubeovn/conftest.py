"""The overlay for kube-ovn on an API server: controller and daemons with the rights and settings that it gives them."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.bed.assets import Assets
from kube.bed.deploying import Kubectl, as_account, deployed
from kube.bed.reconciling import eventually
from kube.bed.server import ADMIN, ApiServer

from virtfn.cli import main
from virtfn.cli.context import Context
from virtfn.cli.running import run_command
from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS, POLICIES
from virtfn.controller.app import App, AppSettings
from virtfn.controller.settings import settings_from
from virtfn.daemon.loop import LoopSettings
from virtfn.host.machine import Machine
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import NODES, PODS, Json, Resource, metadata_of
from virtfn.testing import FakeHost
from virtfn.testing.simulated_daemons import SimulatedNode, SimulatedNodeSettings

NAMESPACE = "kube-system"
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "kube-ovn.md").read_text(encoding="utf-8")
PORTS = ("ens41f0np0", "ens41f1np1")
PFS = ("0000:5f:00.0", "0000:5f:00.1")
QUICK = LoopSettings(period=1.0, suspicion=0.2, retry_least=0.2, retry_most=1.0, settle=1.0)


def manifests() -> dict[str, str]:
    """The page's manifests, by kind and name."""
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    found = {}
    for text in texts:
        thing = yaml.safe_load(text)
        if "kind" in thing:
            found[f"{thing['kind']}/{thing['metadata']['name']}"] = text
    return found


class Site:
    """The cluster, by an administrator's hand. What is started ends with the test."""

    def __init__(self, server: ApiServer, kube: KubeClient, *, folder: Path, undo: ExitStack) -> None:
        self.server = server
        self.kube = kube
        self.kubectl = Kubectl.of(server)
        self.folder = folder
        self._undo = undo

    def controller(self) -> None:
        """The overlay's own, as its Deployment has it."""
        deployment = self.kube.get(DEPLOYMENTS, name="virtfn-controller", namespace=NAMESPACE)
        pod = deployment["spec"]["template"]["spec"]
        environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"] if "value" in each}
        client = self._undo.enter_context(as_account(self.server, pod["serviceAccountName"], namespace=NAMESPACE))
        app = App(
            client,
            settings=settings_from({**environment, "NAMESPACE": NAMESPACE}),
            run_as=AppSettings(identity="virtfn-controller-test"),
        )
        stop = threading.Event()
        thread = threading.Thread(target=app.run, args=(stop,), name="controller", daemon=True)
        thread.start()
        self._undo.callback(thread.join, 60)
        self._undo.callback(stop.set)

    def host(self, *, card: Mapping[str, Any] | None = None, **words: Any) -> FakeHost:
        """A machine with a two-port ConnectX-5."""
        host = self._undo.enter_context(FakeHost(**words))
        host.add_card("connectx-5", address=PFS[0], names=PORTS, **card or {})
        return host

    def node(self, name: str, host: FakeHost, *, firmware_reset: bool = False) -> SimulatedNode:
        """A node with its daemon, which has the rights of the overlay's; its label is node feature discovery's."""
        return SimulatedNode(
            SimulatedNodeSettings(name, NAMESPACE, self.folder / name, loop=QUICK, firmware_reset=firmware_reset),
            host=host,
            client=self.kube,
            daemon_client=self._undo.enter_context(as_account(self.server, "virtfn-daemon", namespace=NAMESPACE)),
        )

    def start(self, node: SimulatedNode) -> None:
        """Until the test ends."""
        self._undo.enter_context(node)

    def apply(self, text: str) -> str:
        """By kubectl, which checks it against the server's OpenAPI."""
        file = self.folder / "manifest.yaml"
        file.write_text(text, encoding="utf-8")
        return self.kubectl("apply", "-f", file)

    def state(self, node: str) -> Json:
        found = self.kube.find(NODE_STATES, name=node, namespace=NAMESPACE)
        return found or {}

    def until_synced(self, node: str, *, vfs: int) -> Json:
        """The node state, when the daemon has done what is wanted, and nobody is to do anything any more."""

        def settled() -> Json:
            state = self.state(node)
            status, spec = state.get("status") or {}, state.get("spec") or {}
            wanted = {entry["name"]: entry["numVfs"] for entry in spec.get("interfaces", ())}
            annotations = state.get("metadata", {}).get("annotations", {})
            assert status.get("syncStatus") == "Succeeded", (spec, status)
            assert status.get("observedGeneration") == state["metadata"]["generation"]
            assert wanted == (dict.fromkeys(PORTS, vfs) if vfs else {})
            assert {pf["name"]: pf.get("numVfs", 0) for pf in status["interfaces"]} == dict.fromkeys(PORTS, vfs)
            assert annotations.get("sriovnetwork.openshift.io/current-state", "Idle") == "Idle"
            return state

        return eventually(settled)

    def offer(self, node: str) -> str:
        """What the device plugin's file of a node says; empty: there is none."""
        file = self.folder / node / "run" / "device-plugin" / "config.json"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def pod(self, manifest: str, node: str, *, vf: str, host: FakeHost) -> Json:
        """The page's pod, as it is after scheduler, kubelet and kube-ovn: with a VF of which no annotation tells."""
        body = yaml.safe_load(manifest)
        body["spec"]["nodeName"] = node
        made = self.kube.create(PODS, body=body)
        host.move_to_namespace(vf)
        return made


def as_kube_ovn(host: FakeHost, pf: str, *, index: int, container: str) -> str:
    """kube-ovn renames a VF's representor and puts it into its bridge; the new name."""
    name = f"{container[:12]}_h"
    (netdev,) = (each for each in host.function(pf).netdevs if each.represents == index)
    folder, net = netdev.folder, host.model.net
    net.remove(netdev)
    netdev.name = name
    net.add(netdev, folder=folder)
    host.ovs.add_port("br-int", name)
    return name


def representors(host: FakeHost) -> dict[str, list[str]]:
    """Names of the netdevs of each port that stand for VFs, by the kernel's own word, in the VFs' order."""
    return {
        pf: [
            netdev.name
            for netdev in sorted(host.function(pf).netdevs, key=lambda each: each.phys_port_name or "")
            if re.fullmatch(rf"pf{pf[-1]}vf\d+", netdev.phys_port_name or "") and netdev.phys_switch_id
        ]
        for pf in PFS
    }


@pytest.fixture(scope="module")
def server(binaries: Assets) -> Iterator[ApiServer]:
    """An API server with the overlay, and nothing else of ours."""
    with deployed(binaries, "kube-ovn") as server:
        yield server


@pytest.fixture
def site(server: ApiServer, tmp_path: Path) -> Iterator[Site]:
    with as_account(server, "") as kube:
        with ExitStack() as undo:
            yield Site(server, kube, folder=tmp_path, undo=undo)
        for resource in (POLICIES, NODE_STATES, OPERATOR_CONFIGS, NODES, PODS):
            for thing in list(kube.list(resource)):
                metadata = metadata_of(thing)
                where = {"namespace": metadata["namespace"]} if resource.namespaced else {}
                kube.delete(resource, name=metadata["name"], grace_seconds=0, **where)


@pytest.fixture
def virtfn(server: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """The command, as a person gives it: `virtfn("get", "-n", "kube-system")`; what it prints."""
    monkeypatch.delenv("NAMESPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(ADMIN)))

    def run(*words: str) -> str:
        out = io.StringIO()
        context = Context(journal_folder=tmp_path, machine=lambda: Machine(FakeHost().kernel), stdout=out)
        assert run_command(context, main.make_parser().parse_args(list(words))) == 0
        return out.getvalue()

    return run


@pytest.fixture(scope="session")
def stock_plugin() -> Any:
    """The device plugin's way of choosing devices, as the tests of its configuration have it."""
    path = Path(__file__).resolve().parents[3] / "core" / "tests" / "policy" / "device_plugin" / "conftest.py"
    spec = importlib.util.spec_from_file_location("stock_plugin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
