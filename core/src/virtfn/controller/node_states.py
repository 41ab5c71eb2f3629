"""Policies, pools and what daemons found, to the spec of each node's state.

A turn is about one node. When a policy changes, one turn looks at all nodes and adds those that are not as they should
be; what nodes alike have in common is worked out once (`rendering`), so the turns are left with their write.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.membership import annotations_of, has_daemon, labels_of
from virtfn.controller.rendering import INPUTS, CurrentRendering, Rendering, interfaces_of
from virtfn.controller.services import FIELD_MANAGER, Services, View
from virtfn.controller.stale import StaleNodeStates
from virtfn.errors import AlreadyExists
from virtfn.kube.fanout import CONNECTIONS
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import Json, Object, generation_of, metadata_of
from virtfn.kube.store import Change, ChangeKind
from virtfn.model.handshake import KEEP_UNTIL_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL

logger = logging.getLogger(__name__)

ALL: Final = "*"
"""The key of the turn that looks at all nodes; no node can have this name."""
GATHER_SECONDS: Final = 0.25
"""How long to wait for more when policies change: several are often applied together."""
RESYNC_SECONDS: Final = 600.0
"""How often all nodes are looked at unasked. Nothing is read or written for that where nothing is wrong."""
_SEEN_SOON: Final = 2.0
"""After so long the view should have seen what was just written; its event makes for an earlier look."""


class NodeStateReconciler:
    """See the module. Existence and spec of node states are its own; it never touches a status."""

    name = "node_states"
    workers = CONNECTIONS
    needs: Sequence[str] = (*INPUTS, "nodes", "node_states")

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._services = services
        self._nodes = views["nodes"].store
        self._states = views["node_states"].store
        self._namespace = services.settings.namespace
        self._current = CurrentRendering(views, settings=services.settings)
        self._stale = StaleNodeStates(services)
        self._last: dict[str, Json] = {}
        """What was last found to be wanted of a node: an event that brings just that needs no turn."""
        self._written: dict[str, tuple[str, int]] = {}
        """UID and generation that a node state has since our last write of its spec."""
        self._left: set[str] = set()
        """Nodes whose state was deleted, and that may have something of ours on them."""
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

    def handle(self, key: str) -> float | None:
        """One node by its name, or all of them."""
        if key == ALL:
            return self._look_at_all()
        rendering = self._current.get()
        state = self._states.get(f"{self._namespace}/{key}")
        node = self._nodes.get(key)
        if node is None or not has_daemon(labels_of(node), selector=rendering.inputs.node_selector):
            self._last.pop(key, None)
            self._written.pop(key, None)
            if state is not None:
                return self._stale.handle(state)
            if key in self._left:
                self._stale.leave(node)
                self._left.discard(key)
            return None
        if state is None:
            return self._create(key, labels=labels_of(node), rendering=rendering)
        if wanted := self._wanted(labels_of(node), state=state, rendering=rendering):
            if self._is_behind(key, state=state):
                return _SEEN_SOON
            self._write(key, state=state, wanted=wanted)
        return None

    # --- what is to be looked at --------------------------------------------------------------------------------------

    def _input_changed(self, change: Change) -> None:
        if change.old is not None and change.new is not None and generation_of(change.old) == generation_of(change.new):
            return
        self._current.outdate()
        self.queue.add_after(ALL, seconds=GATHER_SECONDS)

    def _node_changed(self, change: Change) -> None:
        if change.old is None or change.new is None or labels_of(change.old) != labels_of(change.new):
            self.queue.add(change.key)

    def _state_changed(self, change: Change) -> None:
        _, _, name = change.key.rpartition("/")
        if change.kind is not ChangeKind.MODIFIED:
            self._last.pop(name, None)
            if change.kind is ChangeKind.DELETED:
                self._left.add(name)
            self.queue.add(name)
            return
        old, new = change.old, change.new
        assert old is not None
        assert new is not None
        # Most changes of a status, and our own writes, need no turn; nodes alike share their parts, so `is` is enough.
        found, before = interfaces_of(new), interfaces_of(old)
        spec = new.get("spec") or {}
        if (
            (found is not before and found != before)
            or (spec is not old.get("spec") and spec != self._last.get(name))
            or _our_metadata(old) != _our_metadata(new)
        ):
            self.queue.add(name)

    def _look_at_all(self) -> float:
        rendering = self._current.get()
        for node in self._nodes.objects():
            name = metadata_of(node)["name"]
            labels = labels_of(node)
            state = self._states.get(f"{self._namespace}/{name}")
            ours = has_daemon(labels, selector=rendering.inputs.node_selector)
            if not ours or state is None:
                if ours or state is not None:
                    self.queue.add(name)
                continue
            try:
                wanted = self._wanted(labels, state=state, rendering=rendering)
            except Exception:  # whatever is wrong with one node is told in its own turn, and holds up no other
                wanted = {"spec": None}
            if wanted:
                self.queue.add(name)
        for state in self._states.objects():
            if (name := metadata_of(state)["name"]) not in self._nodes:
                self.queue.add(name)
        return RESYNC_SECONDS

    # --- writing ------------------------------------------------------------------------------------------------------

    def _wanted(self, labels: Mapping[str, str], *, state: Object, rendering: Rendering) -> Json:
        """What of the object is not as it should be, as `Applier.patch` takes it; empty if nothing is."""
        metadata: Json = {}
        if KEEP_UNTIL_ANNOTATION in annotations_of(state):
            metadata["annotations"] = {KEEP_UNTIL_ANNOTATION: None}
        owner = rendering.inputs.owner
        if owner is not None and metadata_of(state).get("ownerReferences") != [owner]:
            metadata["ownerReferences"] = [owner]
        if labels_of(state).get(MANAGED_BY_LABEL) != MANAGED_BY:
            metadata["labels"] = {MANAGED_BY_LABEL: MANAGED_BY}
        wanted: Json = {"metadata": metadata} if metadata else {}
        # Before a daemon has told what there is, and while it tells of nothing, nothing follows from policies: what
        # was wanted before stays.
        if interfaces := interfaces_of(state):
            rdma_mode = rendering.rdma_mode(labels, live=state)
            spec = rendering.spec(labels, interfaces=interfaces, rdma_mode=rdma_mode)
            self._last[metadata_of(state)["name"]] = spec
            if (state.get("spec") or {}) != spec:
                wanted["spec"] = spec
        return wanted

    def _write(self, name: str, *, state: Object, wanted: Json) -> None:
        if metadata_of(state).get("deletionTimestamp"):
            return  # it comes again as one that is not there
        written = self._services.applier.patch(
            NODE_STATES,
            live=state,
            wanted=wanted,
            exact=("spec",) if "spec" in wanted else (),
            metadata_only=True,
        )
        self._written[name] = generation_of(written.thing)

    def _is_behind(self, name: str, *, state: Object) -> bool:
        """Whether the view has not seen our last write yet: what it says now was decided on already."""
        uid, generation = self._written.get(name, ("", 0))
        seen = generation_of(state)
        return uid == seen[0] and seen[1] < generation

    def _create(self, name: str, *, labels: Mapping[str, str], rendering: Rendering) -> float | None:
        metadata: Json = {"name": name, "namespace": self._namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
        if rendering.inputs.owner is not None:
            metadata["ownerReferences"] = [rendering.inputs.owner]
        rdma_mode = rendering.rdma_mode(labels, live=None)
        body: Json = {
            "apiVersion": NODE_STATES.api_version,
            "kind": NODE_STATES.kind,
            "metadata": metadata,
            "spec": {"system": {"rdmaMode": rdma_mode}} if rdma_mode else {},
        }
        try:
            self._services.client.create(NODE_STATES, body=body, field_manager=FIELD_MANAGER)
        except AlreadyExists:
            return _SEEN_SOON  # the view has not seen it yet
        self._services.meter.count("writes", of=str(NODE_STATES))
        logger.info("%s: node state created", name)
        return None


def _our_metadata(state: Object) -> tuple[Any, ...]:
    metadata = metadata_of(state)
    return (
        annotations_of(state).get(KEEP_UNTIL_ANNOTATION),
        metadata.get("ownerReferences"),
        labels_of(state).get(MANAGED_BY_LABEL),
    )
