"""What became of each policy, told in its status: which nodes and NICs it selects, why not, who overrides it, and
whether the nodes are as it wants them.

All policies are looked at in one turn, as one policy's VFs depend on the others. Thousands of nodes that report one
after the other make few turns: the larger the cluster, the longer a turn waits for more, and none takes more than a
tenth of the time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from virtfn.cluster.kinds import POLICIES
from virtfn.controller.membership import has_daemon, labels_of
from virtfn.controller.policy_summary import CONFLICT, READY, Facts, NodeSeen, Summary, Sync, facts_of
from virtfn.controller.rendering import INPUTS, CurrentRendering, Rendering, interfaces_of, read_interfaces
from virtfn.controller.reporting import ACTION
from virtfn.controller.services import Services, View
from virtfn.errors import Conflict, InvalidDocument, NotFound, VirtfnError
from virtfn.kube.conditions import Condition, Status, condition_of, holds, merge_conditions
from virtfn.kube.events import EventType
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import Object, generation_of, metadata_of, name_of
from virtfn.kube.store import Change
from virtfn.model.crd import IGNORED_POLICY, PolicySpec
from virtfn.model.handshake import SyncStatus
from virtfn.policy.explain import explain
from virtfn.policy.reading import policy_label

logger = logging.getLogger(__name__)

ALL: Final = "*"
GATHER_SECONDS: Final = 0.5
"""How long to wait for more when policies change."""
LONGEST_GATHER: Final = 30.0
NODES_A_SECOND: Final = 200.0
"""When nodes report, a turn waits for more of them: this many take a second."""
SHARE: Final = 10.0
"""A turn that took so long is followed by a rest so many times as long."""
BLOCKED: Final = "Blocked"
"""Condition of a node state: a drain or reboot was given up, because it had no effect."""
_WATCHED: Final = ("syncStatus", "lastSyncError", "observedGeneration")


class PolicyStatusReconciler:
    """See the module. The status of policies is its own."""

    name = "policy_status"
    workers = 1
    needs: Sequence[str] = (*INPUTS, "nodes", "node_states")

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._services = services
        self._namespace = services.settings.namespace
        self._policies = views["policies"].store
        self._nodes = views["nodes"].store
        self._states = views["node_states"].store
        self._current = CurrentRendering(views, settings=services.settings)
        self._rest_until = 0.0
        self.queue: WorkQueue[str] = WorkQueue(
            name=self.name, clock=services.clock, random=services.random, meter=services.meter
        )

    def handlers(self) -> Mapping[str, Handler]:
        """What to call when an object of a view changes."""
        return {
            **dict.fromkeys(INPUTS, self._input_changed),
            "nodes": self._node_changed,
            "node_states": self._state_changed,
        }

    def handle(self, key: str) -> float | None:  # noqa: ARG002  there is one key
        """Look at all policies."""
        clock = self._services.clock
        begun = clock.monotonic()
        if begun < self._rest_until:
            return self._rest_until - begun
        summaries = self._summaries()
        failed: VirtfnError | None = None
        for policy in self._policies.objects():
            name = name_of(policy)
            if name == IGNORED_POLICY or name not in summaries:
                continue
            try:
                self._write(policy, summaries[name])
            except (NotFound, Conflict):
                continue  # deleted, or another one by now: the view tells
            except VirtfnError as error:
                failed = failed or error
        now = clock.monotonic()
        self._rest_until = now + SHARE * (now - begun)
        if failed is not None:
            raise failed
        return None

    # --- what is to be looked at --------------------------------------------------------------------------------------

    def _input_changed(self, change: Change) -> None:
        if change.old is not None and change.new is not None and generation_of(change.old) == generation_of(change.new):
            return
        self._current.outdate()
        self.queue.add_after(ALL, seconds=GATHER_SECONDS)

    def _node_changed(self, change: Change) -> None:
        if change.old is None or change.new is None or labels_of(change.old) != labels_of(change.new):
            self._node_told()

    def _state_changed(self, change: Change) -> None:
        if change.old is None or change.new is None or _told(change.old) != _told(change.new):
            self._node_told()

    def _node_told(self) -> None:
        seconds = min(max(len(self._states) / NODES_A_SECOND, 1.0), LONGEST_GATHER)
        self.queue.add_after(ALL, seconds=seconds)

    # --- summing up ---------------------------------------------------------------------------------------------------

    def _summaries(self) -> Mapping[str, Summary]:
        """By the policy's name; also of those that cannot be used, which have nothing but faults."""
        rendering = self._current.get()
        ready = rendering.inputs.policies
        off = not rendering.inputs.manage_bridges
        summaries = {
            each.policy.name: Summary(each.policy.spec.num_vfs, lacks_bridge=off and _asks_for_bridge(each.policy.spec))
            for each in ready.policies
        }
        for problem in ready.problems:
            name = problem.object.removeprefix(policy_label(""))
            if name not in summaries:
                summary = summaries.setdefault(name, Summary(0))
                where = f"{problem.field}: " if problem.field else ""
                hint = f" ({problem.hint})" if problem.hint else ""
                summary.faults.setdefault(problem.reason, f"{where}{problem.message}{hint}")
        usable = {each.policy.name for each in ready.policies}
        known: dict[tuple[Any, ...], Mapping[str, Facts]] = {}
        counted: Counter[Sync] = Counter()
        for node in self._nodes.objects():
            labels = labels_of(node)
            if not has_daemon(labels, selector=rendering.inputs.node_selector):
                continue
            seen, facts_by_name = self._look(node, labels, rendering, known)
            counted[seen.sync] += 1
            for name, facts in facts_by_name.items():
                if name in usable:
                    summaries[name].add(seen, facts)
        for sync in Sync:
            self._services.meter.level("nodes", counted[sync], of=sync.value)
        blocked = sum(1 for state in self._states.objects() if holds(state, name=BLOCKED))
        self._services.meter.level("nodes", blocked, of="blocked")
        return summaries

    def _look(
        self,
        node: Object,
        labels: Mapping[str, str],
        rendering: Rendering,
        known: dict[tuple[Any, ...], Mapping[str, Facts]],
    ) -> tuple[NodeSeen, Mapping[str, Facts]]:
        name = name_of(node)
        state = self._states.get(f"{self._namespace}/{name}")
        interfaces = interfaces_of(state) if state is not None else ()
        rdma_mode = rendering.rdma_mode(labels, live=state)
        group = rendering.group(labels, interfaces=interfaces, rdma_mode=rdma_mode)
        try:
            if group not in known:
                known[group] = facts_of(
                    explain(
                        rendering.inputs.policies,
                        {"metadata": {"name": name, "labels": labels}},
                        read_interfaces(interfaces),
                        rdma_mode=rdma_mode,
                        manage_bridges=rendering.inputs.manage_bridges,
                    )
                )
            wanted = rendering.spec(labels, interfaces=interfaces, rdma_mode=rdma_mode)
        except InvalidDocument as error:
            logger.warning("%s: what its daemon reports cannot be read: %s", name, error)
            return NodeSeen(name, Sync.FAILED, str(error)), {}
        return _seen(name, state, wanted), known[group]

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, policy: Object, summary: Summary) -> None:
        generation = int(metadata_of(policy).get("generation") or 0)
        live = policy.get("status")
        current = live.get("conditions") if isinstance(live, Mapping) else None
        wanted = summary.conditions(generation=generation)
        gone = [CONFLICT] if len(wanted) == 1 else []
        merged = merge_conditions(current or (), wanted=wanted, now=self._services.clock.now(), remove=gone)
        status = {**summary.status(generation=generation), "conditions": list(merged.conditions)}
        self._services.applier.patch_status(POLICIES, live=policy, status=status, metadata_only=True)
        for condition in wanted:
            old = condition_of(policy, name=condition.type) or {}
            # How many nodes are in sync changes all the time; only a new state is told.
            if (old.get("status"), old.get("reason")) != (condition.status.value, condition.reason):
                self._tell(policy, condition, turn=merged.turns[condition.type].value)

    def _tell(self, policy: Object, condition: Condition, *, turn: str) -> None:
        about = {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata_of(policy)}
        worrying = condition.type == CONFLICT or (
            condition.type == READY and condition.status is Status.FALSE and condition.reason != "Progressing"
        )
        self._services.recorder.tell(
            about,
            level=EventType.WARNING if worrying else EventType.NORMAL,
            reason=f"{condition.type}{turn}",
            action=ACTION,
            note=condition.message or condition.reason,
        )


def _asks_for_bridge(spec: PolicySpec) -> bool:
    return spec.bridge is not None and spec.bridge.ovs is not None


def _told(state: Object) -> tuple[Any, ...]:
    status = state.get("status")
    told = status if isinstance(status, Mapping) else {}
    blocked = holds(state, name=BLOCKED)
    return (metadata_of(state).get("generation"), interfaces_of(state), blocked, *map(told.get, _WATCHED))


def _seen(name: str, state: Object | None, wanted: Object) -> NodeSeen:
    status = state.get("status") if state is not None else None
    if state is None or not isinstance(status, Mapping) or (state.get("spec") or {}) != wanted:
        return NodeSeen(name, Sync.WAITING)
    # Older daemons do not say which generation they speak of.
    if status.get("observedGeneration") not in (None, metadata_of(state).get("generation")):
        return NodeSeen(name, Sync.WAITING)
    if status.get("syncStatus") == SyncStatus.FAILED:
        return NodeSeen(name, Sync.FAILED, str(status.get("lastSyncError") or ""))
    return NodeSeen(name, Sync.DONE if status.get("syncStatus") == SyncStatus.SUCCEEDED else Sync.WAITING)
