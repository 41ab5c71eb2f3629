"""What the drain of a node leaves on its node state: annotations for programs, a condition and events for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.drain_decision import CONDITION, DrainRecord, Reason, Situation, has_begun, needed_of
from virtfn.controller.membership import annotations_of
from virtfn.controller.services import Services
from virtfn.kube.conditions import Condition, Status, condition_of, merge_conditions
from virtfn.kube.events import EventType
from virtfn.kube.resource import NODES, Object, metadata_of
from virtfn.model.handshake import (
    CURRENT_STATE_ANNOTATION,
    DESIRED_STATE_ANNOTATION,
    DRAIN_RECORD_ANNOTATION,
    DRAINED_FOR_ANNOTATION,
    EXTERNAL_DRAINER_ANNOTATION,
    NODE_STATE_ANNOTATION,
    DrainState,
)

logger = logging.getLogger(__name__)


class DrainReport:
    """Writes node states, only where something is new. Used from many threads."""

    def __init__(self, services: Services) -> None:
        self._applier = services.applier
        self._recorder = services.recorder
        self._clock = services.clock
        self._use_external = services.settings.use_external_drainer

    def repeat(self, state: Object, node: Object) -> Object:
        """Say on node and node state what the daemon needs, in the annotations that people and other drainers read.

        :raises Conflict: the node state has changed since it was seen, so that this could undo something.
        """
        annotations, needed = annotations_of(state), needed_of(state)
        wanted: dict[str, str | None] = {}
        is_external = annotations.get(EXTERNAL_DRAINER_ANNOTATION) == "true"
        if self._use_external != is_external and needed is DrainState.IDLE and not has_begun(state):
            is_external = self._use_external
            wanted[EXTERNAL_DRAINER_ANNOTATION] = "true" if is_external else None
        if CURRENT_STATE_ANNOTATION not in annotations and not is_external:
            wanted[CURRENT_STATE_ANNOTATION] = DrainState.IDLE
        at = Situation.of(state, node)
        if needed is not DrainState.IDLE and not is_external and at.record.queued is None:
            wanted[DRAIN_RECORD_ANNOTATION] = str(replace(at.memory, queued=self._clock.now()))
        is_ours = bool(wanted)
        if (state.get("status") or {}).get("neededState") or DESIRED_STATE_ANNOTATION not in annotations:
            wanted[DESIRED_STATE_ANNOTATION] = needed
        state = self._annotate(state, wanted, guarded=is_ours)
        annotation = {NODE_STATE_ANNOTATION: str(needed)}
        self._applier.patch(NODES, live=node, wanted={"metadata": {"annotations": annotation}}, metadata_only=True)
        return state

    def mark_draining(self, state: Object, record: DrainRecord) -> Object:
        """The drain has begun. Nothing of the kind is written over what others wrote meanwhile.

        :raises Conflict: the node state has changed since it was read.
        """
        return self._annotate(state, _handshake(DrainState.DRAINING, record), guarded=True)

    def mark_complete(self, state: Object, record: DrainRecord, *, digest: str) -> Object:
        """The daemon may go on with the plan of this digest."""
        return self._annotate(state, _handshake(DrainState.DRAIN_COMPLETE, record, digest=digest))

    def mark_idle(self, state: Object, record: DrainRecord | None) -> Object:
        """The drain has ended, or could not be; None where nothing is to be remembered of it."""
        return self._annotate(state, _handshake(DrainState.IDLE, record))

    def _annotate(self, state: Object, annotations: Mapping[str, str | None], *, guarded: bool = False) -> Object:
        plain = {word: None if value is None else str(value) for word, value in annotations.items()}
        written = self._applier.patch(
            NODE_STATES,
            live=state,
            wanted={"metadata": {"annotations": plain}} if plain else {},
            guarded=guarded,
            metadata_only=True,
        )
        # What comes back is metadata only; status and spec are what they were.
        return {**state, "metadata": metadata_of(written.thing)}

    def say(self, state: Object, status: Status, *, reason: Reason, message: str) -> None:
        """Set the condition `Drained`."""
        generation = metadata_of(state).get("generation") or 0
        wanted = Condition(CONDITION, status, reason.value, message, observed_generation=generation)
        found = condition_of(state, name=CONDITION)
        merged = merge_conditions([found] if found else [], wanted=[wanted], now=self._clock.now())
        if merged.changed:
            conditions: list[Any] = list(merged.conditions)
            self._applier.apply_status(NODE_STATES, live=state, status={"conditions": conditions})

    def say_idle(self, state: Object) -> None:
        """Set the condition, where there is one, to say that nothing is needed.

        A node that never needed a drain has none, and a new spec alone is no reason to write it: this is what nearly
        all nodes of a cluster are like nearly always.
        """
        found = condition_of(state, name=CONDITION)
        if found is not None and found.get("reason") != Reason.NOT_NEEDED.value:
            message = "nothing is planned that needs a drain"
            self.say(state, Status.FALSE, reason=Reason.NOT_NEEDED, message=message)

    def tell(self, state: Object, *, level: EventType, reason: str, note: str, action: str = "DrainNode") -> None:
        """Make an event about the node state, and a line in the log."""
        log = logger.warning if level is EventType.WARNING else logger.info
        log("%s: %s: %s", metadata_of(state).get("name"), reason, note)
        about = {**state, "apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind}
        self._recorder.tell(about, level=level, reason=reason, action=action, note=note)


def _handshake(current: DrainState, record: DrainRecord | None, *, digest: str = "") -> dict[str, str | None]:
    return {
        CURRENT_STATE_ANNOTATION: current,
        DRAINED_FOR_ANNOTATION: digest or None,
        DRAIN_RECORD_ANNOTATION: str(record) if record is not None else None,
    }
