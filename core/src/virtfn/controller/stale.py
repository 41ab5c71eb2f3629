"""Node states of nodes that are gone: kept for a while, as a node that is replaced or relabelled often comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.membership import annotations_of, labels_of
from virtfn.controller.services import Services
from virtfn.kube.clock import whole_time
from virtfn.kube.resource import NODES, Object
from virtfn.model.handshake import DEVICE_PLUGIN_LABEL, KEEP_UNTIL_ANNOTATION


class StaleNodeStates:
    """Marks them with the time until which they are kept, and deletes them then."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def handle(self, state: Object) -> float | None:
        """Look at the node state of a node that is not ours (any more); seconds after which to look again."""
        services = self._services
        now = services.clock.now()
        minutes = services.settings.stale_state_minutes
        if minutes > 0:
            until = read_time(annotations_of(state).get(KEEP_UNTIL_ANNOTATION, ""))
            if until is None:
                until = now + timedelta(minutes=minutes)
                services.applier.patch(
                    NODE_STATES,
                    live=state,
                    wanted={"metadata": {"annotations": {KEEP_UNTIL_ANNOTATION: whole_time(until)}}},
                    metadata_only=True,
                )
            left = (until - now).total_seconds()
            if left > 0:
                return left + 1.0  # the annotation has whole seconds
        services.applier.delete(NODE_STATES, live=state)
        return None

    def leave(self, node: Object | None) -> None:
        """The state of a node that is not ours is gone: take away the label that brings a device plugin there.

        Not before: as long as there is a state, the label follows from it.
        """
        if node is not None and DEVICE_PLUGIN_LABEL in labels_of(node):
            self._services.applier.patch(
                NODES, live=node, wanted={"metadata": {"labels": {DEVICE_PLUGIN_LABEL: None}}}, metadata_only=True
            )


def read_time(text: str) -> datetime | None:
    """RFC 3339 as a moment; None for what is none, which counts as not written."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
