"""Everything at once: others who write, things that vanish, processes that are killed. In the end all is as wanted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from kube.bed.processes import ControllerProcess
from kube.bed.reconciling import eventually

from virtfn.cluster.kinds import ATTACHMENT_DEFINITIONS, NETWORKS, NODE_STATES, POLICIES
from virtfn.errors import VirtfnError
from virtfn.kube.clock import SystemClock
from virtfn.kube.reflector import Reflector
from virtfn.kube.resource import NODES, PODS, Resource
from virtfn.kube.store import Change, Store
from virtfn.model.handshake import CURRENT_STATE_ANNOTATION, DRAINED_FOR_ANNOTATION, DrainState

from .conftest import NAMESPACE, VF, Cluster

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NODE_COUNT = 12
STORM_SECONDS = 8.0


@contextmanager
def storm(do: Callable[[Random], Any], *, threads: int = 3) -> Iterator[None]:
    """Do it again and again beside the block; what the server refuses is refused. Errors of the test itself fail it."""
    over = threading.Event()
    failures: list[BaseException] = []

    def blow(seed: int) -> None:
        random = Random(seed)
        while not over.is_set():
            try:
                with suppress(VirtfnError):
                    do(random)
            except BaseException as error:
                failures.append(error)
                return
            time.sleep(random.uniform(0, 0.02))

    blowing = [threading.Thread(target=blow, args=(seed,)) for seed in range(threads)]
    for each in blowing:
        each.start()
    try:
        yield
    finally:
        over.set()
        for each in blowing:
            each.join()
    assert not failures, failures


def versions(cluster: Cluster) -> dict[str, str]:
    """Resource versions of all that the controller may write, but for its lease."""
    kinds = (NODE_STATES, POLICIES, NETWORKS, ATTACHMENT_DEFINITIONS)
    return {
        f"{kind} {each['metadata']['namespace']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for kind in kinds
        for each in cluster.kube.list(kind)
    }


def comes_to_rest(cluster: Cluster) -> None:
    """Nothing is written any more: two looks, far enough apart for every debounce, are the same."""

    def is_still() -> bool:
        before = versions(cluster)
        time.sleep(3)
        return versions(cluster) == before

    assert eventually(is_still)


class Cordons:
    """Which nodes are cordoned, with every change that the API server tells of."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.most = 0
        self.counts: Counter[str] = Counter()

    def __call__(self, change: Change) -> None:
        if change.new is not None and change.new["spec"].get("unschedulable"):
            if change.key not in self.now:
                self.counts[change.key] += 1
            self.now.add(change.key)
        else:
            self.now.discard(change.key)
        self.most = max(self.most, len(self.now))


@contextmanager
def cordons_of(cluster: Cluster) -> Iterator[Cordons]:
    """Look at all nodes beside the block."""
    seen = Cordons()
    reflector = Reflector(
        cluster.kube, resource=NODES, store=Store(), clock=SystemClock(), random=Random(), handlers=(seen,)
    )
    reflector.start()
    assert reflector.wait_synced(seconds=30)
    try:
        yield seen
    finally:
        reflector.stop()
        reflector.join(seconds=30)


def test_others_write_the_same_objects(cluster: Cluster, no_crash: Callable[[ControllerProcess], None]) -> None:
    names = cluster.add_nodes(NODE_COUNT)
    controller = cluster.controller("one")
    controller.start()
    cluster.report_all(names)

    def meddle(random: Random) -> None:
        name = random.choice(names)
        live = cluster.kube.get(NODE_STATES, name=name, namespace=NAMESPACE)
        match random.randrange(4):
            case 0:  # a whole object, as `kubectl replace` sends it
                live["spec"] = {"interfaces": [{"pciAddress": "0000:3b:00.0", "numVfs": random.randrange(1, 9)}]}
                cluster.kube.update(NODE_STATES, body=live)
            case 1:
                live["metadata"].setdefault("labels", {})["team"] = str(random.random())
                cluster.kube.update(NODE_STATES, body=live)
            case 2:
                cluster.report(name, lastSyncError=str(random.random()))
            case _:
                cluster.kube.patch(NODE_STATES, name=name, namespace=NAMESPACE, body={"spec": {"interfaces": None}})

    with storm(meddle):
        end, count = time.monotonic() + STORM_SECONDS, 0
        while time.monotonic() < end:
            count += 1
            cluster.want("everywhere", numVfs=1 + count % 8)
            time.sleep(0.3)
        cluster.want("everywhere", numVfs=5)
    eventually(lambda: cluster.wanted_vfs() == dict.fromkeys(names, 5))
    groups = {str(state["spec"]["interfaces"][0].get("vfGroups")) for state in cluster.states().values()}
    assert len(groups) == 1, groups
    assert all("team" in state["metadata"].get("labels", {}) for state in cluster.states().values())
    comes_to_rest(cluster)
    no_crash(controller)


def test_what_was_there_vanishes(cluster: Cluster, no_crash: Callable[[ControllerProcess], None]) -> None:
    names = cluster.add_nodes(NODE_COUNT)
    controller = cluster.controller("one")
    controller.start()
    cluster.report_all(names)
    cluster.want("stays", numVfs=4)

    def vanish(random: Random) -> None:
        match random.randrange(4):
            case 0:
                cluster.kube.delete(NODE_STATES, name=random.choice(names), namespace=NAMESPACE)
            case 1:
                name = f"comes-and-goes-{random.randrange(3)}"
                cluster.want(name, numVfs=8, priority=random.randrange(1, 50))
                cluster.kube.delete(POLICIES, name=name, namespace=NAMESPACE)
            case 2:
                name = f"net-{random.randrange(3)}"
                spec = {"resourceName": "stays", "networkNamespace": "default"}
                body = {"apiVersion": NETWORKS.api_version, "kind": NETWORKS.kind, "spec": spec}
                body["metadata"] = {"name": name, "namespace": NAMESPACE}
                cluster.kube.create(NETWORKS, body=body)
                cluster.kube.delete(NETWORKS, name=name, namespace=NAMESPACE)
            case _:
                for each in cluster.kube.list(ATTACHMENT_DEFINITIONS, namespace="default"):
                    cluster.kube.delete(ATTACHMENT_DEFINITIONS, name=each["metadata"]["name"], namespace="default")

    with storm(vanish):
        time.sleep(STORM_SECONDS)
    for policy in list(cluster.kube.list(POLICIES, namespace=NAMESPACE)):
        if policy["metadata"]["name"] != "stays":
            cluster.kube.delete(POLICIES, name=policy["metadata"]["name"], namespace=NAMESPACE)
    for network in list(cluster.kube.list(NETWORKS, namespace=NAMESPACE)):
        with suppress(VirtfnError):
            cluster.kube.delete(NETWORKS, name=network["metadata"]["name"], namespace=NAMESPACE)
    cluster.report_all(names)
    eventually(lambda: cluster.wanted_vfs() == dict.fromkeys(names, 4))

    def nothing_is_left() -> bool:
        left = [*cluster.kube.list(NETWORKS), *cluster.kube.list(ATTACHMENT_DEFINITIONS)]
        assert not left, left
        return True

    eventually(nothing_is_left)
    comes_to_rest(cluster)
    no_crash(controller)


def test_the_controller_is_killed_again_and_again(
    cluster: Cluster, no_crash: Callable[[ControllerProcess], None]
) -> None:
    names = cluster.add_nodes(NODE_COUNT)
    controller = cluster.controller("one")
    controller.start()
    cluster.report_all(names)
    random = Random(7)
    wishes = []
    for life in range(6):
        wishes.append(1 + life)
        cluster.want("everywhere", numVfs=wishes[-1])
        time.sleep(random.uniform(0.2, 0.6))  # in the midst of writing it to twelve nodes, or just before or after
        controller.kill()
        controller.start()
    eventually(lambda: cluster.wanted_vfs() == dict.fromkeys(names, wishes[-1]))
    comes_to_rest(cluster)
    # Each wish was written at most once to a node, whoever began it: created with generation 1, then a change each.
    assert all(state["metadata"]["generation"] <= 1 + len(wishes) for state in cluster.states().values())
    no_crash(controller)


def test_two_controllers_and_the_leader_is_killed(
    cluster: Cluster, no_crash: Callable[[ControllerProcess], None]
) -> None:
    names = cluster.add_nodes(NODE_COUNT)
    pair = [cluster.controller(name, elect=True) for name in ("one", "two")]
    for each in pair:
        each.start()
    cluster.report_all(names)
    cluster.want("everywhere", numVfs=2)
    eventually(lambda: cluster.wanted_vfs() == dict.fromkeys(names, 2))
    cluster.want("everywhere", numVfs=3)
    holder = cluster.kube.get(LEASES, name="virtfn-controller", namespace=NAMESPACE)["spec"]["holderIdentity"]
    leader = pair[0] if holder.startswith("one_") else pair[1]
    leader.kill()
    leader.start()
    eventually(lambda: cluster.wanted_vfs() == dict.fromkeys(names, 3))
    comes_to_rest(cluster)
    assert all(state["metadata"]["generation"] <= 3 for state in cluster.states().values())
    for each in pair:
        no_crash(each)


def test_drains_go_on_through_kills_one_node_at_a_time(
    cluster: Cluster, no_crash: Callable[[ControllerProcess], None]
) -> None:
    names = cluster.add_nodes(5)
    controller = cluster.controller("one")
    controller.start()
    cluster.report_all(names)
    digests = {name: f"plan-of-{name}" for name in names}
    for name in names:
        cluster.add_pod(f"user-of-{name}", node=name, vf=VF)
        cluster.need(name, "Drain_Required", digest=digests[name])
    with cordons_of(cluster) as seen:
        random = Random(11)
        open_nodes = set(names)
        end = time.monotonic() + 180
        kill_at = time.monotonic()
        while open_nodes:
            assert time.monotonic() < end, cluster.states()
            if time.monotonic() > kill_at and len(open_nodes) > 1:
                controller.kill()
                controller.start()
                kill_at = time.monotonic() + random.uniform(0.2, 1.5)
            for name, state in cluster.states().items():
                annotations = state["metadata"].get("annotations", {})
                if name in open_nodes and annotations.get(CURRENT_STATE_ANNOTATION) == DrainState.DRAIN_COMPLETE:
                    assert annotations[DRAINED_FOR_ANNOTATION] == digests[name]
                    assert not list(cluster.kube.list(PODS, fields=f"spec.nodeName={name}")), name
                    cluster.need(name, "Idle")
                    open_nodes.discard(name)
            time.sleep(0.05)

        def all_are_free() -> bool:
            states = cluster.states().values()
            return not seen.now and all(
                state["metadata"]["annotations"][CURRENT_STATE_ANNOTATION] == DrainState.IDLE for state in states
            )

        eventually(all_are_free)
    assert seen.most == 1, "two nodes of the pool were cordoned at the same time"
    assert seen.counts == dict.fromkeys(names, 1), "a node was cordoned more than once"
    no_crash(controller)
