"""Who has a slot: what `slots` decides, on the cluster as the views show it and with what they do not show yet.

A slot is given in memory first, and is on the API server once the node's drain has begun. A controller that ends in
between has done nothing to that node, and the next one gives the slot anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.drain_decision import Move, Situation, Terms, decide, has_begun, needed_of
from virtfn.controller.membership import Pools, labels_of, spec_of
from virtfn.controller.services import Services, View
from virtfn.controller.slots import Absence, Member, Table, Verdict, judge
from virtfn.kube.clock import whole_time
from virtfn.kube.conditions import condition_of
from virtfn.kube.resource import Object, metadata_of, name_of
from virtfn.model.handshake import DrainState


class SlotKeeper:
    """Used from many threads, but `give` from one at a time: two calls could give the same slot."""

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._client = services.client
        self._clock = services.clock
        self._namespace = services.settings.namespace
        self._nodes = views["nodes"].store
        self._states = views["node_states"].store
        self._pools = views["pools"].store
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._verdicts: Mapping[str, Verdict] = {}

    def look_first(self) -> tuple[str, ...]:
        """Take over what another controller has begun, which the views may not show yet; the nodes' names."""
        listed = self._client.list(NODE_STATES, namespace=self._namespace, metadata_only=True)
        begun = tuple(str(metadata_of(state)["name"]) for state in listed if has_begun(state))
        with self._lock:
            self._held.update(begun)
        return begun

    def give(self, terms: Terms) -> tuple[Table, tuple[str, ...]]:
        """Decide for all nodes that wait, and give slots to those that are chosen.

        :returns: the decision, and the nodes for which it is new.
        """
        members = self._members(terms)
        waits = any(member.waits for member in members)
        table = judge(members, Pools.of(self._pools.objects())) if waits else Table()
        with self._lock:
            self._held.update(table.chosen)
            before, self._verdicts = self._verdicts, table.verdicts
        news = [
            name
            for name, verdict in table.verdicts.items()
            if name in table.chosen or name not in before or before[name].ruling is not verdict.ruling
        ]
        return table, tuple(news)

    def has(self, node: str) -> bool:
        """Whether the node has a slot."""
        with self._lock:
            return node in self._held

    def take(self, node: str) -> None:
        """The node is being drained, whoever gave it the slot."""
        with self._lock:
            self._held.add(node)

    def give_back(self, node: str) -> bool:
        """The node does not need its slot any more; whether it had one."""
        with self._lock:
            had = node in self._held
            self._held.discard(node)
        return had

    def verdict(self, node: str) -> Verdict | None:
        """What was decided last for a node that waits."""
        with self._lock:
            return self._verdicts.get(node)

    def _members(self, terms: Terms) -> list[Member]:
        with self._lock:
            held = set(self._held)
        members = []
        for node in self._nodes.objects():
            name = name_of(node)
            state = self._states.get(f"{self._namespace}/{name}")
            waits, since = False, ""
            if state is not None and name not in held and needed_of(state) is not DrainState.IDLE:
                at = Situation.of(state, node)
                waits = decide(at, terms) is Move.QUEUE
                since = whole_time(at.record.queued) if at.record.queued else ""
            is_drained = name in held or (state is not None and has_begun(state))
            members.append(
                Member(
                    name,
                    labels_of(node),
                    counts=state is not None,
                    absence=Absence.DRAINED if is_drained else _absence(node),
                    is_silent=readiness(node) == "Unknown",
                    waits=waits,
                    since=since,
                )
            )
        return members


def readiness(node: Object) -> str:
    """Status of a node's condition `Ready`; empty where nobody has said anything yet, as of a node that is new."""
    return str((condition_of(node, name="Ready") or {}).get("status", ""))


def _absence(node: Object) -> Absence | None:
    if spec_of(node).get("unschedulable"):
        return Absence.CORDONED
    return Absence.NOT_READY if readiness(node) in ("False", "Unknown") else None
