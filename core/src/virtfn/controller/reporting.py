"""Conditions of the controller's objects, and the event that goes with each that changed.

A condition that says what it said before is not written. Conditions of others on the same object are left alone: the
list is a map by type, and only our own entries are applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtfn.controller.services import Services
from virtfn.kube.conditions import Condition, Status, Turn, condition_of, merge_conditions
from virtfn.kube.events import EventType
from virtfn.kube.resource import Object, Resource, metadata_of

READY = "Ready"
ACTION = "StatusChange"
"""Word and event reasons (`ReadyChanged`) are those of the existing operators."""


def report(services: Services, resource: Resource, *, live: Object, conditions: Sequence[Condition]) -> bool:
    """Say how an object of ours is doing; whether anything had to be written.

    :param live: as a store has it; it may be without `apiVersion` and `kind`.
    :param conditions: all that this controller says of the object; what it said once and no longer says is removed.
    :raises ClusterError: the status could not be written. Then no event is told either.
    """
    current = (live.get("status") or {}).get("conditions") or ()
    merged = merge_conditions(current, wanted=conditions, now=services.clock.now())
    if not merged.changed:
        return False
    said = {condition.type for condition in conditions}
    ours = [entry for entry in merged.conditions if entry["type"] in said]
    services.applier.apply_status(resource, live=live, status={"conditions": ours})
    about = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata_of(live)}
    for condition in conditions:
        turn = merged.turns.get(condition.type)
        if turn is None or _only_a_newer_generation(live, condition, turn):
            continue
        services.recorder.tell(
            about,
            level=EventType.WARNING if condition.status is Status.FALSE else EventType.NORMAL,
            reason=f"{condition.type}{turn.value}",
            action=ACTION,
            note=condition.message or condition.reason,
        )
    return True


def _only_a_newer_generation(live: Object, condition: Condition, turn: Turn) -> bool:
    """Nothing that a person would want to read: the same was found for the object's newest generation."""
    old = condition_of(live, name=condition.type) or {}
    was = (old.get("status"), old.get("reason"), old.get("message"))
    return turn is Turn.CHANGED and was == (condition.status.value, condition.reason, condition.message)
