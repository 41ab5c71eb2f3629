"""What became of each pool, told in its status: how many nodes it has, and which of them are in another pool too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from virtfn.cluster.kinds import POOL_CONFIGS
from virtfn.controller.membership import Pool, Pools, labels_of
from virtfn.controller.reporting import READY, report
from virtfn.controller.services import Services, View
from virtfn.errors import Conflict, NotFound, VirtfnError
from virtfn.kube.conditions import Condition, Status
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import Object, generation_of, metadata_of, name_of
from virtfn.kube.store import Change
from virtfn.model.wording import few_texts, number_of

ALL: Final = "*"
GATHER_SECONDS: Final = 0.5
NODE_GATHER_SECONDS: Final = 5.0
_SHOWN: Final = 3


class PoolReconciler:
    """See the module. The status of pools is its own."""

    name = "pools"
    workers = 1
    needs: Sequence[str] = ("pools", "nodes")

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._services = services
        self._pools = views["pools"].store
        self._nodes = views["nodes"].store
        self.queue: WorkQueue[str] = WorkQueue(
            name=self.name, clock=services.clock, random=services.random, meter=services.meter
        )

    def handlers(self) -> Mapping[str, Handler]:
        """What to call when an object of a view changes."""
        return {"pools": self._pool_changed, "nodes": self._node_changed}

    def handle(self, key: str) -> float | None:  # noqa: ARG002  there is one key
        """Look at all pools: whether one overlaps depends on the others."""
        found = self._pools.objects()
        if not found:
            return None
        conditions = judge(Pools.of(found), self._nodes.objects())
        failed: VirtfnError | None = None
        for thing in found:
            status, reason, message = conditions[name_of(thing)]
            generation = int(metadata_of(thing).get("generation") or 0)
            try:
                report(
                    self._services,
                    POOL_CONFIGS,
                    live=thing,
                    conditions=[Condition(READY, status, reason, message, generation)],
                )
            except (NotFound, Conflict):
                continue  # deleted, or another one by now: the view tells
            except VirtfnError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return None

    def _pool_changed(self, change: Change) -> None:
        if change.old is None or change.new is None or generation_of(change.old) != generation_of(change.new):
            self.queue.add_after(ALL, seconds=GATHER_SECONDS)

    def _node_changed(self, change: Change) -> None:
        if change.old is None or change.new is None or labels_of(change.old) != labels_of(change.new):
            self.queue.add_after(ALL, seconds=NODE_GATHER_SECONDS)


def judge(pools: Pools, nodes: Sequence[Object]) -> Mapping[str, tuple[Status, str, str]]:
    """Status, reason and message of each pool's `Ready`, by name. Pure."""
    members: dict[str, int] = {pool.name: 0 for pool in pools.pools}
    shared: dict[str, list[tuple[str, tuple[Pool, ...]]]] = {pool.name: [] for pool in pools.pools}
    for node in nodes:
        name = name_of(node)
        of_node = pools.of_node(labels_of(node))
        for pool in of_node:
            members[pool.name] += 1
            if len(of_node) > 1:
                shared[pool.name].append((name, of_node))
    made = {pool.name: _judge(pool, members=members[pool.name], shared=shared[pool.name]) for pool in pools.pools}
    for name in pools.offload:
        text = "spec.ovsHardwareOffloadConfig is about OpenShift's machine pools, and has no effect here"
        made[name] = (Status.FALSE, "UnsupportedConfiguration", text)
    for name, faults in (pools.faults or {}).items():
        made[name] = (Status.FALSE, faults[0].error.reason, "; ".join(map(str, faults)))
    return made


def _judge(pool: Pool, *, members: int, shared: Sequence[tuple[str, tuple[Pool, ...]]]) -> tuple[Status, str, str]:
    if shared:
        texts = [f"{node} is in {', '.join(each.name for each in pools)}" for node, pools in sorted(shared)]
        what = "nodes that are in several pools are not drained, and keep their RDMA mode"
        return Status.FALSE, "Overlaps", f"{what}: {few_texts(texts, most=_SHOWN)}"
    if not members:
        return Status.FALSE, "NoNodeSelected", "spec.nodeSelector selects no node"
    nodes = number_of(members, "node")
    if pool.spec.max_unavailable == 0:
        return Status.TRUE, "NeverDrained", f"{nodes}; with maxUnavailable 0 none of them is ever drained"
    return Status.TRUE, "PoolReady", nodes
