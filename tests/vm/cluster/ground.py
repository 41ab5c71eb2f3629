"""A cluster of one node for controller and daemon together: the node is a guest with real SR-IOV cards.

API server and controller run on the host, the daemon in the guest, which reaches the host's loopback by QEMU's user
network. What is deployed is one of the overlays; both programs have the rights of their accounts there, and no others.
There is no kubelet and no controller manager: the node, its conditions and pods are made here, and pods have no grace
period, so that the API server itself removes what is evicted.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from bed.command import BedError, tail
from bed.machine import Machine
from bed.remote import RemoteGuest
from cluster.history import History
from kube.bed import definitions
from kube.bed.assets import Assets
from kube.bed.process import Program, free_ports
from kube.bed.server import FROM_A_GUEST, ApiServer
from kubernetes import client

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
PROGRAM = Path(sys.executable).with_name("virtfn")
NODE = "vmguest"
GROUP, VERSION, NODE_STATES = "sriovnetwork.openshift.io", "v1", "sriovnetworknodestates"
DAEMON_PORT = 8082
LIMIT = 90.0
Json = dict[str, Any]

AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """What is deployed where, on a node of which kind."""

    overlay: str
    namespace: str
    prefix: str
    """Of resources."""
    modules: tuple[str, ...]
    """That the guest loads when it boots."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the node."""
    daemon: tuple[str | Path, ...] = (PROGRAM,)
    """The program that the guest runs as `virtfn`."""


DEFAULT = Site(
    overlay="default",
    namespace="sriov-network-operator",
    prefix="openshift.io",
    modules=("igb", "igbvf", "vfio-pci", "virtio_net"),
    labels={"node-role.kubernetes.io/worker": ""},
)


class Cluster:
    """All of it, for as long as a `with` block. Enter it in the main thread."""

    def __init__(self, assets: Assets, site: Site = DEFAULT, *, machine: Machine | None = None) -> None:
        """`machine` is the guest's; by default with all its cards."""
        if assets.kubectl is None:
            raise BedError(f"there is no kubectl in {assets.folder}")
        self._kubectl = assets.kubectl
        self._site = site
        self.namespace = site.namespace
        self.guest = RemoteGuest(machine or Machine(host_network=True), modules=site.modules)
        self._assets = assets
        self._life = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as life:
            self._folder = Path(tempfile.mkdtemp(prefix="virtfn-cluster-"))
            life.callback(shutil.rmtree, self._folder, ignore_errors=True)
            life.enter_context(self.guest)  # boots while the rest starts
            policy = self._folder / "audit.yaml"
            policy.write_text(AUDIT, encoding="utf-8")
            self._audit = self._folder / "audit.log"
            arguments = [f"--audit-policy-file={policy}", f"--audit-log-path={self._audit}"]
            self.server = life.enter_context(ApiServer(self._assets, arguments=arguments))
            self.api = life.enter_context(self.server.client())
            self._config = self.server.kubeconfig()
            self.controller = Program("virtfn controller", self._folder / "controller.log")
            life.callback(self.controller.stop, grace=10.0)
            definitions.install(self.api, definitions.read([DEPLOY / "crds", ROOT / "tests" / "kube" / "data"]))
            self.kubectl("apply", "-k", str(DEPLOY / "overlays" / self._site.overlay))
            self._create_node()
            self.history = life.enter_context(History(self.server, self.namespace, NODE))
            self._life = life.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._life.close()

    # --- controller and daemon --------------------------------------------------------------------------------------

    def start_controller(self) -> None:
        """Start it, as its own service account, and wait until it is ready. In the main thread."""
        (port,) = free_ports(1)
        config = self.server.kubeconfig(self.token("virtfn-controller"))
        words = ["controller", "--kubeconfig", str(config), "--health-port", str(port)]
        self.controller.start([*self._environment(), str(PROGRAM), *words])

    def _keep_controller(self) -> None:
        """What a kubelet does: a controller that lost its lease, as it could not be renewed, is started again."""
        if not self.controller.running and self.controller.log.exists():
            assert "[LeaseLost]" in self.controller.tail(1), f"the controller ended\n{self.last_words()}"
            self.start_controller()

    def start_daemon(self, *options: str) -> None:
        """Start it in the guest, as its own service account."""
        config = self.guest.share / "daemon.kubeconfig"
        if not config.exists():
            self.write_daemon_config(config)
        words = ["daemon", "--node-name", NODE, "--kubeconfig", "/run/vm/daemon.kubeconfig"]
        words += ["--health-port", str(DAEMON_PORT), *options]
        self.guest.start("daemon", *self._environment(), *self._site.daemon, *words)

    def _environment(self) -> list[str]:
        return ["env", f"NAMESPACE={self.namespace}", f"RESOURCE_PREFIX={self._site.prefix}"]

    def write_daemon_config(self, path: Path) -> None:
        """Write a kubeconfig as a guest can use it: with the certificate in it."""
        server = f"https://{FROM_A_GUEST}:{self.server.port}"
        content = json.loads(self.server.kubeconfig(self.token("virtfn-daemon"), server=server).read_text())
        cluster = content["clusters"][0]["cluster"]
        authority = Path(cluster.pop("certificate-authority")).read_bytes()
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
        path.write_text(json.dumps(content), encoding="utf-8")

    def stop_daemon(self) -> None:
        """Ask the daemon to end; it has to end well."""
        status = self.guest.stop("daemon")
        assert status == 0, f"the daemon ended with {status}\n{self.last_words()}"

    def daemon_page(self, path: str) -> str:
        """A page of the daemon's HTTP server, `/readyz`; empty when it does not answer with 200."""
        url = f"http://127.0.0.1:{DAEMON_PORT}{path}"
        status, text, _ = self.guest.run("busybox", "wget", "-q", "-O", "-", url)
        return text if status == 0 else ""

    def token(self, account: str) -> str:
        """Of a service account of the operator's namespace."""
        spec = {"spec": {"expirationSeconds": 7200, "audiences": []}}
        answer = client.CoreV1Api(self.api).create_namespaced_service_account_token(account, self.namespace, spec)
        return str(answer.status.token)

    # --- what is there ----------------------------------------------------------------------------------------------

    def kubectl(self, *words: str, stdin: str = "", limit: float = LIMIT) -> str:
        """What a person does. Raises AssertionError with kubectl's words when it fails."""
        done = subprocess.run(
            [self._kubectl, f"--kubeconfig={self._config}", f"--cache-dir={self._folder}", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}\n{self.last_words()}"
        return done.stdout

    def node_state(self) -> Json | None:
        """The node's; None when there is none."""
        try:
            found: Json = client.CustomObjectsApi(self.api).get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, NODE_STATES, NODE
            )
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def node(self) -> Json:
        """The node's object."""
        found: Json = self.api.sanitize_for_serialization(client.CoreV1Api(self.api).read_node(NODE))
        return found

    def writes(self, account: str) -> Counter[str]:
        """What a service account has written so far, by the server's audit: `patch sriovnetworknodestates/status`."""
        name = f"system:serviceaccount:{self.namespace}:{account}"
        found: Counter[str] = Counter()
        for line in self._audit.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["user"]["username"] == name:
                target = event["objectRef"]
                parts = [target["resource"], *([target["subresource"]] if "subresource" in target else [])]
                found[f"{event['verb']} {'/'.join(parts)}"] += 1
        return found

    def until(self, what: str, condition: Callable[[], Any], *, limit: float = LIMIT) -> Any:
        """Wait until something is true, and return it. Raises AssertionError with all that is known."""
        deadline = time.monotonic() + limit
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not in {limit:.0f} s: {what}\n{self.last_words()}"
            self._keep_controller()
            time.sleep(0.1)
        return found

    def until_in_sync(self, *, limit: float = LIMIT) -> Json:
        """Wait until the daemon has done all that the present spec wants; the node state."""

        def in_sync() -> Json | None:
            state = self.node_state()
            if state is None:
                return None
            status = state.get("status", {})
            seen = status.get("observedGeneration") == state["metadata"]["generation"]
            return state if seen and status.get("syncStatus") == "Succeeded" else None

        found: Json = self.until("in sync", in_sync, limit=limit)
        return found

    def quiet(self, seconds: float) -> None:
        """Give everybody so much time to do what they should not."""
        time.sleep(seconds)

    def last_words(self) -> str:
        """What is known, for an error message."""
        try:
            state = json.dumps(self.node_state(), indent=1)
        except Exception as error:  # the server may be stopped
            state = repr(error)
        logs = [self.controller.tail(), f"end of the daemon's log:\n{tail(self.guest.log('daemon'), 40)}"]
        return "\n".join([*logs, f"node state:\n{state}", *self.guest.kernel_trouble()])

    # --- its objects ------------------------------------------------------------------------------------------------

    def _create_node(self) -> None:
        core = client.CoreV1Api(self.api)
        labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE, **self._site.labels}
        core.create_node({"metadata": {"name": NODE, "labels": labels}})
        core.patch_node(NODE, {"spec": {"taints": None}})
        ready = {"type": "Ready", "status": "True", "reason": "Bed", "message": "there is no kubelet"}
        core.patch_node_status(NODE, {"status": {"conditions": [ready]}})

    def create_pod(self, name: str, *, vfs: Sequence[str] = (), labels: Mapping[str, str] | None = None) -> None:
        """A pod that runs on the node, as a kubelet and Multus would leave it; it holds VFs by their addresses."""
        core = client.CoreV1Api(self.api)
        networks = [
            {
                "name": "default/net",
                "interface": f"net{number}",
                "device-info": {"type": "pci", "version": "1.1.0", "pci": {"pci-address": vf}},
            }
            for number, vf in enumerate(vfs, start=1)
        ]
        annotations = {"k8s.v1.cni.cncf.io/network-status": json.dumps(networks)} if networks else {}
        metadata = {"name": name, "annotations": annotations, "labels": dict(labels or {})}
        spec = {
            "nodeName": NODE,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "only", "image": "nowhere/none"}],
        }
        core.create_namespaced_pod("default", {"metadata": metadata, "spec": spec})
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        core.patch_namespaced_pod_status(name, "default", {"status": status})

    def pods(self) -> dict[str, str]:
        """Names and UIDs of the pods on the node."""
        listed = client.CoreV1Api(self.api).list_pod_for_all_namespaces(field_selector=f"spec.nodeName={NODE}")
        return {pod.metadata.name: pod.metadata.uid for pod in listed.items}
