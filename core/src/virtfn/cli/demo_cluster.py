"""`virtfn demo --cluster`: a policy's life in a cluster. API server, controller and daemons are real; the three nodes,
their cards and their kubelets are simulated.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import yaml

from virtfn.cli.context import Context
from virtfn.cli.demo_narrator import Narrator
from virtfn.cli.exits import Exit
from virtfn.cli.get_cluster import ClusterReader
from virtfn.cli.get_judging import node_report
from virtfn.cli.get_report import NodeReport, Standing
from virtfn.cli.get_view import view
from virtfn.cluster.kinds import POLICIES
from virtfn.controller.app import App, AppSettings
from virtfn.controller.services import ControllerSettings
from virtfn.daemon.loop import LoopSettings
from virtfn.errors import NotFound, WaitTimeout
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.conditions import holds
from virtfn.kube.resource import PODS, Resource, metadata_of
from virtfn.model.handshake import DrainState
from virtfn.testing.api_server import ApiServer, Binaries, find_binaries
from virtfn.testing.definitions import install_kinds
from virtfn.testing.fakehost import FakeHost
from virtfn.testing.simulated_daemons import SimulatedNode, SimulatedNodeSettings

NAMESPACE: Final = "kube-system"
NODES: Final = ("worker-1", "worker-2", "worker-3")
CARD: Final = "connectx-5"
ADDRESS: Final = "0000:5f:00"
PORTS: Final = ("ens41f0np0", "ens41f1np1")
POLICY: Final = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata:
  name: policy
  namespace: kube-system
spec:
  nodeSelector:
    feature.node.kubernetes.io/network-sriov.capable: "true"
  eSwitchMode: switchdev
  numVfs: 3
  nicSelector:
    pfNames:
    - ens41f0np0
    - ens41f1np1
  resourceName: sriovnics
"""
POD: Final = "database-0"
MORE_VFS: Final = 5
EVICTION_BLOCKED: Final = "EvictionBlocked"
BUDGETS: Final = tuple(
    Resource("policy", version, "poddisruptionbudgets", "PodDisruptionBudget") for version in ("v1", "v1beta1")
)
LONGEST: Final = 60.0
"""Seconds that one step of the story may take."""
WIDTH: Final = 110
_TURN: Final = 0.1


def run(context: Context, *, stay: bool = False, environment: Mapping[str, str] = os.environ) -> Exit:
    """The whole story.

    :param stay: leave everything running at the end, until Ctrl-C.
    :raises NotConfigured: there is no API server that could be started.
    :raises WaitTimeout: something that should have happened did not.
    """
    binaries = find_binaries(environment)
    # The narrator tells what the controller logs of drains.
    with _terminated_as_interrupted(), _quiet("virtfn.controller.drain_report"), _cluster(context, binaries) as cluster:
        _story(cluster)
        if stay:
            cluster.say("Everything stays until Ctrl-C. In another terminal:")
            cluster.print(f"export KUBECONFIG={cluster.kubeconfig}; virtfn get; kubectl get nodes", style="bold")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
    return Exit.OK


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends everything too, and does not leave programs and folders behind. Only in the main thread."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    if logger.getEffectiveLevel() >= logging.WARNING:  # unless much is wanted, by --verbose
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _story(cluster: _Cluster) -> None:
    cluster.say("The daemons report the cards they find; that takes no policy:")
    cluster.wait("the daemons' first reports", lambda node: len(node.pfs) == len(PORTS))

    cluster.say("A policy comes. The controller renders it into node states; each daemon plans, tells it, and does it:")
    cluster.print(POLICY, style="dim")
    cluster.client.create(POLICIES, body=yaml.safe_load(POLICY))
    cluster.wait("the policy's VFs", lambda node: _has(node, vfs=3))
    cluster.wait_for_policy()
    cluster.screen()

    cluster.say(f"A pod on {NODES[0]} is given a VF, and a disruption budget that lets it not go now:")
    vf = cluster.node(NODES[0]).pfs[0].vfs[0].pci_address
    cluster.start_pod(NODES[0], POD, vf=vf)
    budgets = cluster.protect(POD)
    cluster.say(f"The policy wants {MORE_VFS} VFs of each port in place of 3:")
    cluster.print(
        "The kernel wants 0 VFs in between, so all VFs go for a moment. Each daemon asks for a drain; the controller\n"
        "drains one node after the other, and there only the pods that have these VFs. A pod that may not go holds up\n"
        "its own node, and no other."
    )
    cluster.client.patch(POLICIES, namespace=NAMESPACE, name="policy", body={"spec": {"numVfs": MORE_VFS}})
    cluster.wait("more VFs", lambda node: _has(node, vfs=MORE_VFS), nodes=NODES[1:])
    cluster.wait("the budget's say", lambda node: _reason(node) == EVICTION_BLOCKED, nodes=NODES[:1])
    cluster.screen()

    cluster.say("The budget goes, and with the next try the pod:")
    cluster.client.delete(budgets, namespace="default", name=POD)
    cluster.wait("more VFs", lambda node: _has(node, vfs=MORE_VFS))
    cluster.wait_for_policy()
    cluster.screen()

    cluster.say("The policy is deleted. The nodes give their cards back, as they were before the first touch:")
    cluster.client.delete(POLICIES, namespace=NAMESPACE, name="policy")
    cluster.wait("the release", lambda node: _has(node, vfs=0))
    cluster.screen()
    cluster.say(f"That was a policy's life in a cluster, in {cluster.narrator.seconds:.0f} s.")


def _reason(node: NodeReport) -> str:
    """Why it is not drained."""
    drained = node.condition("Drained")
    return drained.reason if drained is not None else ""


def _has(node: NodeReport, *, vfs: int) -> bool:
    """Whether each port has so many VFs and is wanted so, and nobody is to do anything any more."""
    ports = all((pf.num_vfs, pf.wanted_vfs or 0) == (vfs, vfs) for pf in node.pfs)
    at_rest = node.standing is Standing.IN_SYNC and node.needs == node.drain == DrainState.IDLE and node.plan is None
    return ports and at_rest


class _Cluster:
    """What the story acts on, and what it sees."""

    def __init__(self, context: Context, *, client: KubeClient, server: ApiServer, narrator: Narrator) -> None:
        self._context = context
        self._reader = ClusterReader(client, server=server.url)
        self.client = client
        self.kubeconfig = server.kubeconfig()
        self.narrator = narrator
        self.simulated: dict[str, SimulatedNode] = {}

    def say(self, words: str) -> None:
        """A heading."""
        self.print(f"\n# {words}", style="bold cyan")

    def print(self, text: str, *, style: str = "") -> None:
        """Anything."""
        with self.narrator.pause:
            self._context.console.print(text, style=style)

    def screen(self) -> None:
        """What `virtfn get` shows now."""
        lines = view(self._reader.read(namespace=NAMESPACE), width=WIDTH)
        with self.narrator.pause:
            self._context.console.print("\n$ virtfn get", style="bold")
            for line in lines:
                self._context.console.print(line)

    def node(self, name: str) -> NodeReport:
        """A node, as it was last seen. Raises `KeyError` before that."""
        return self._nodes()[name]

    def wait(self, what: str, is_so: Callable[[NodeReport], bool], *, nodes: Sequence[str] = NODES) -> None:
        """Until it is so for all of these nodes, and none of them is cordoned. Raises `WaitTimeout`."""

        def missing() -> list[str]:
            seen, cordoned = self._nodes(), self.narrator.cordoned()
            return [name for name in nodes if name in cordoned or name not in seen or not is_so(seen[name])]

        self._wait(what, missing)

    def wait_for_policy(self) -> None:
        """Until the controller says that all its nodes are in sync. Raises `WaitTimeout`."""

        def missing() -> list[str]:
            policy = self.client.get(POLICIES, namespace=NAMESPACE, name="policy")
            generation = metadata_of(policy)["generation"]
            return [] if holds(policy, name="Ready", generation=generation) else ["policy"]

        self._wait("the word that all nodes are in sync", missing)

    def _wait(self, what: str, missing: Callable[[], list[str]]) -> None:
        deadline = time.monotonic() + LONGEST
        while waiting := missing():
            if time.monotonic() > deadline:
                self.screen()
                raise WaitTimeout(f"{', '.join(waiting)}: {what} did not come within {LONGEST:.0f} s")
            time.sleep(_TURN)

    def start_pod(self, node: str, pod: str, *, vf: str) -> None:
        """A pod with a VF, which the node's daemon notices."""
        self.simulated[node].start_pod(pod, namespace="default", vf=vf)
        self.narrator.tell(f"{node}: pod default/{pod} has VF {vf}")
        self.simulated[node].daemon.look_now()

    def protect(self, pod: str) -> Resource:
        """A disruption budget of which nobody has said yet that a pod may go; its kind, by what the server knows."""
        self.client.patch(PODS, namespace="default", name=pod, body={"metadata": {"labels": {"app": pod}}})
        budgets = next(each for each in BUDGETS if _knows(self.client, each))
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": pod}}}
        self.client.create(budgets, namespace="default", body={"metadata": {"name": pod}, "spec": spec})
        self.narrator.tell(f"pod default/{pod} has a disruption budget")
        return budgets

    def _nodes(self) -> dict[str, NodeReport]:
        return {node.name: node for node in (node_report(each, holders={}) for each in self.narrator.states.objects())}


@contextmanager
def _cluster(context: Context, binaries: Binaries) -> Iterator[_Cluster]:
    """Everything started, and ended in the other order."""
    context.console.print(f"\n# etcd and kube-apiserver start, from {binaries.etcd.parent}", style="bold cyan")
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=f"virtfn-demo-{os.getpid()}-")))
        server = undo.enter_context(ApiServer(binaries))
        configured = server.kubeconfig()

        def connected(who: str) -> KubeClient:
            client = connect(configuration(environment={}, kubeconfig=configured), user_agent=who, random=Random())
            undo.callback(client.close)
            return client

        client = connected("virtfn-demo")
        install_kinds(client)
        narrator = undo.enter_context(Narrator(context, client=client, namespace=NAMESPACE))
        cluster = _Cluster(context, client=client, server=server, narrator=narrator)
        cluster.say(f"The controller starts, and the daemons of {len(NODES)} nodes, each with a two-port card:")
        undo.enter_context(_controller(connected("virtfn-controller")))
        for number, name in enumerate(NODES):
            host = undo.enter_context(FakeHost(seed=number + 1))
            host.add_card(CARD, address=ADDRESS, names=PORTS)
            settings = SimulatedNodeSettings(name, NAMESPACE, folder / name, loop=LoopSettings(period=5.0, settle=5.0))
            daemon = connected(f"virtfn-daemon/{name}")
            node = SimulatedNode(settings, host=host, client=daemon, on_end=_teller(narrator, name))
            cluster.simulated[name] = undo.enter_context(node)
        yield cluster


def _knows(client: KubeClient, resource: Resource) -> bool:
    try:
        client.page(resource, namespace="default", limit=1)
    except NotFound:
        return False
    return True


def _teller(narrator: Narrator, node: str) -> Callable[[str], None]:
    return lambda pod: narrator.tell(f"{node}: pod {pod} was evicted and has ended")


@contextmanager
def _controller(client: KubeClient) -> Iterator[None]:
    """On a thread of its own."""
    settings = ControllerSettings(namespace=NAMESPACE, resource_prefix="openshift.io")
    app = App(client, settings=settings, run_as=AppSettings(identity="virtfn-controller-demo"))
    stop = threading.Event()
    thread = threading.Thread(target=app.run, args=(stop,), name="controller", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
