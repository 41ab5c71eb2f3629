"""metav1.Condition lists, merged as the API conventions ask ("Typical status properties"). Pure.

`lastTransitionTime` says since when the *status* is what it is: a new reason or message under the same status keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from virtfn.kube.clock import whole_time
from virtfn.kube.resource import Json, Object

LONGEST_MESSAGE = 32768
_REASON = re.compile(r"[A-Za-z](?:[A-Za-z0-9_,:]*[A-Za-z0-9_])?")


class Status(Enum):
    """Whether the condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"

    @classmethod
    def of(cls, truth: bool) -> Status:
        """TRUE or FALSE."""
        return cls.TRUE if truth else cls.FALSE


@dataclass(frozen=True, slots=True)
class Condition:
    """What is to be said.

    :raises ValueError: if the API server would refuse it for its reason.
    """

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_generation: int = 0

    def __post_init__(self) -> None:
        if not _REASON.fullmatch(self.reason) or len(self.reason) > 1024:
            raise ValueError(f"condition {self.type}: {self.reason!r} is no reason (a CamelCase word)")


class Turn(Enum):
    """How a condition changed; upstream's event reasons are `<type><turn>`."""

    ADDED = "Added"
    CHANGED = "Changed"
    REMOVED = "Removed"


@dataclass(frozen=True, slots=True)
class Merged:
    """The list to write, and what is new in it; nothing to write if nothing is."""

    conditions: tuple[Json, ...]
    turns: Mapping[str, Turn]

    @property
    def changed(self) -> bool:
        """Whether a write is needed."""
        return bool(self.turns)


def merge_conditions(
    current: Iterable[Object], *, wanted: Sequence[Condition], now: datetime, remove: Iterable[str] = ()
) -> Merged:
    """The current list with what is wanted in it, in the current order, new ones at the end.

    :param current: `status.conditions` as it is; conditions that are not wanted stay.
    :param remove: types that shall not be there any more.
    """
    merged: dict[str, Json] = {str(entry.get("type")): dict(entry) for entry in current}
    turns: dict[str, Turn] = {}
    for condition in wanted:
        old = merged.get(condition.type)
        new = _entry(condition, since=whole_time(now))
        if old is not None and old.get("status") == new["status"] and old.get("lastTransitionTime"):
            new["lastTransitionTime"] = old["lastTransitionTime"]
        if old != new:
            turns[condition.type] = Turn.ADDED if old is None else Turn.CHANGED
            merged[condition.type] = new
    for word in remove:
        if merged.pop(word, None) is not None:
            turns[word] = Turn.REMOVED
    return Merged(tuple(merged.values()), turns)


def condition_of(thing: Object, *, name: str) -> Object | None:
    """One condition of an object's status by its type, or None."""
    status = thing.get("status")
    conditions: Any = status.get("conditions") if isinstance(status, Mapping) else None
    for entry in conditions or ():
        if isinstance(entry, Mapping) and entry.get("type") == name:
            return entry
    return None


def holds(thing: Object, *, name: str, generation: int | None = None) -> bool:
    """Whether a condition of the object is True, and, with `generation`, was last decided for that generation."""
    entry = condition_of(thing, name=name)
    if entry is None or entry.get("status") != Status.TRUE.value:
        return False
    return generation is None or entry.get("observedGeneration") == generation


def _entry(condition: Condition, *, since: str) -> Json:
    entry: Json = {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason,
        "message": condition.message[:LONGEST_MESSAGE],
        "lastTransitionTime": since,
    }
    if condition.observed_generation:
        entry["observedGeneration"] = condition.observed_generation
    return entry
