"""A daemon on a simulated node, with a real API server; the test is its controller."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kube.bed.server import ADMIN, ApiServer

from virtfn.cluster.kinds import NODE_STATES
from virtfn.daemon.app import Daemon, DaemonSettings
from virtfn.daemon.decision import Rules
from virtfn.daemon.loop import LoopSettings
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.meter import Tally
from virtfn.kube.queue import QueueSettings
from virtfn.kube.resource import CONFIG_MAPS, Json, Object
from virtfn.model import PciAddress, PciId
from virtfn.model.handshake import CURRENT_STATE_ANNOTATION, DESIRED_STATE_ANNOTATION, DRAINED_FOR_ANNOTATION
from virtfn.node import Node
from virtfn.registry import GENERIC, Registry, load_registry
from virtfn.testing import FakeHost
from virtfn.testing.ground.calls import Call, Fault
from virtfn.testing.subject import subject_of

PATIENCE = 60.0
PF = "0000:01:00.0"
OTHER_PF = "0000:21:00.0"
NAME = "worker-1"
QUICK = LoopSettings(rules=Rules(), period=1.0, suspicion=0.2, retry_least=0.2, retry_most=1.0, settle=3.0,
                     reboot_wait=5.0)  # fmt: skip


def interface(pf: str = PF, *, vfs: int = 4, **more: Any) -> Json:
    groups = [{"resourceName": "net", "deviceType": "netdevice", "vfRange": f"0-{vfs - 1}", "policyName": "p"}]
    return {"pciAddress": pf, "numVfs": vfs, "vfGroups": groups, **more}


class Halt:
    """A point at which the daemon waits."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._reached, self._go = threading.Event(), threading.Event()

    def match(self, call: Call) -> bool:
        if call.target.endswith(self._target):
            self._reached.set()
            assert self._go.wait(PATIENCE)
        return False

    def wait_reached(self) -> None:
        assert self._reached.wait(PATIENCE)

    def go_on(self) -> None:
        self._go.set()


class Bench:
    """One node, its node state, and a daemon that can be ended and begun."""

    def __init__(self, client: KubeClient, own: KubeClient, *, namespace: str, host: FakeHost, folder: Path) -> None:
        self.client = client
        self.own = own
        """The daemon's client."""
        self.namespace = namespace
        self.host = host
        self.tally = Tally()
        self.random = Random()
        self.registry: Callable[[frozenset[PciId]], Registry] = load_registry
        self.settings = DaemonSettings(
            NAME,
            namespace=namespace,
            state_dir=folder / "journal",
            run_dir=folder / "run",
            loop=QUICK,
            queue=QueueSettings(retry_least=0.2, retry_most=1.0),
        )
        self.daemon: Daemon | None = None

    # --- the daemon ---------------------------------------------------------------------------------------------------

    def begin(self, **loop: Any) -> Daemon:
        if loop:
            self.settings = replace(self.settings, loop=replace(self.settings.loop, **loop))
        machine = Machine(self.host.kernel)
        node = Node(machine, journal=Journal(self.settings.state_dir), now=time.monotonic, registry=self.registry)
        self.daemon = Daemon(
            self.settings, node=node, machine=machine, client=self.own, random=Random(), meter=self.tally
        )
        self.daemon.start()
        return self.daemon

    def end(self) -> None:
        if self.daemon is not None:
            assert self.daemon.stop(seconds=PATIENCE)
            self.daemon = None

    @property
    def offer(self) -> Path:
        assert self.settings.run_dir is not None
        return self.settings.run_dir / "device-plugin" / "config.json"

    # --- the node state -----------------------------------------------------------------------------------------------

    def create(self, *interfaces: Json) -> Json:
        body = {
            "apiVersion": NODE_STATES.api_version,
            "kind": NODE_STATES.kind,
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {"interfaces": list(interfaces)},
        }
        return self.client.create(NODE_STATES, body=body)

    def want(self, *interfaces: Any) -> int:
        """Another spec; its generation."""
        made = self.client.patch(
            NODE_STATES, name=NAME, namespace=self.namespace, body={"spec": {"interfaces": list(interfaces)}}
        )
        return int(made["metadata"]["generation"])

    def annotate(self, **annotations: str | None) -> None:
        body = {"metadata": {"annotations": annotations}}
        self.client.patch(NODE_STATES, name=NAME, namespace=self.namespace, body=body)

    def drained(self) -> None:
        """What the controller does when it has drained the node for the plan."""
        state = self.state
        self.annotate(
            **{
                DESIRED_STATE_ANNOTATION: state["status"]["neededState"],
                DRAINED_FOR_ANNOTATION: state["status"]["plan"]["digest"],
                CURRENT_STATE_ANNOTATION: "DrainComplete",
            }
        )

    def idle(self) -> None:
        """What it does when nothing is needed any more."""
        self.annotate(
            **{DESIRED_STATE_ANNOTATION: "Idle", DRAINED_FOR_ANNOTATION: None, CURRENT_STATE_ANNOTATION: "Idle"}
        )

    @property
    def state(self) -> Json:
        return self.client.get(NODE_STATES, name=NAME, namespace=self.namespace)

    @property
    def status(self) -> Json:
        found: Json = self.state.get("status") or {}
        return found

    def condition(self, name: str) -> Json:
        return next((c for c in self.status.get("conditions", ()) if c["type"] == name), {})

    def say(self, node: str, wanted: Json) -> None:
        """What a ConfigMap says of a node."""
        self.client.patch(
            CONFIG_MAPS, name="sriov-configmap", namespace=self.namespace, body={"data": {node: json.dumps(wanted)}}
        )

    # --- the node -----------------------------------------------------------------------------------------------------

    @property
    def pf(self) -> PciAddress:
        return PciAddress.parse(PF)

    @property
    def machine(self) -> Machine:
        return Machine(self.host.kernel)

    def vfs(self, pf: str = PF) -> int:
        return len(self.machine.vf_addresses(PciAddress.parse(pf)))

    def end_at(self, target: str) -> Fault:
        """The daemon's thread ends at a call, as if it were killed."""

        def end(call: Call) -> bool:
            if call.target.endswith(target) and threading.current_thread() is not threading.main_thread():
                raise SystemExit
            return False

        return self.host.fail(end, hang=True)

    def halt_at(self, target: str) -> Halt:
        """The daemon waits at a call until it is told to go on."""
        halt = Halt(target)
        self.host.fail(halt.match, hang=True)
        return halt

    # --- waiting ------------------------------------------------------------------------------------------------------

    def until(self, holds: Callable[[Object], bool], *, what: str = "") -> Json:
        """Wait until the node state is so; it."""
        end = time.monotonic() + PATIENCE
        while True:
            state = self.state
            if holds(state):
                return state
            if time.monotonic() > end:
                raise AssertionError(f"{what or 'it'} did not come; the node state is {state}")
            time.sleep(0.05)

    def until_vfs(self, count: int) -> None:
        end = time.monotonic() + PATIENCE
        while self.vfs() != count:
            assert time.monotonic() < end, f"there are {self.vfs()} VFs, not {count}"
            time.sleep(0.05)

    def until_synced(self, generation: int) -> Json:
        return self.until(
            lambda state: (
                (state.get("status") or {}).get("syncStatus") == "Succeeded"
                and state["status"].get("observedGeneration") == generation
            ),
            what=f"Succeeded for generation {generation}",
        )["status"]  # type: ignore[no-any-return]

    def until_needed(self, needed: str) -> Json:
        return self.until(
            lambda state: (state.get("status") or {}).get("neededState") == needed, what=f"neededState {needed}"
        )["status"]  # type: ignore[no-any-return]

    def quiet(self, seconds: float = 2.5) -> None:
        """Let some of the daemon's looks pass."""
        threading.Event().wait(seconds)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        host.add_card("82576", address="0000:21:00", names=("eth1",), ports=1)
        yield host


@pytest.fixture
def connected() -> Iterator[Callable[..., KubeClient]]:
    """A client of a server: `connected(server)`, `connected(server, url=proxy.url)`."""
    made: list[KubeClient] = []

    def make(server: ApiServer, *, url: str = "") -> KubeClient:
        configured = configuration(environment={}, kubeconfig=server.kubeconfig(ADMIN, server=url))
        made.append(connect(configured, user_agent="virtfn/test", random=Random()))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def bench(
    api_server: ApiServer,
    crds: list[str],
    connected: Callable[..., KubeClient],
    namespace: str,
    host: FakeHost,
    tmp_path: Path,
) -> Iterator[Bench]:
    """A bench in the test's namespace; no node state yet, and no daemon."""
    made = Bench(connected(api_server), connected(api_server), namespace=namespace, host=host, folder=tmp_path)
    yield made
    made.end()


@pytest.fixture
def knobs(bench: Bench) -> Any:
    """The cards of the bench want a reboot for VFs, as those of the daemon's own tests."""
    path = Path(__file__).resolve().parents[3] / "core" / "tests" / "daemon" / "conftest.py"
    spec = importlib.util.spec_from_file_location("daemon_rig", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    generic = subject_of(GENERIC).kind
    bench.registry = lambda ids: Registry.for_testing({"8086.10c9": module.Knob, GENERIC: generic})
    return module.Knobs(bench.host)
