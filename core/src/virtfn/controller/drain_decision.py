"""What is to be done about one node's drain, from what its objects say. Pure.

All that must outlive the controller stands in annotations of the node state, so that whoever leads next goes on where
the last one was cut off: the handshake's two states, the plan that the drain is for, and the record below.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from random import Random
from typing import Any, Final

from virtfn.controller.membership import annotations_of, spec_of
from virtfn.controller.services import FIELD_MANAGER
from virtfn.kube.clock import whole_time
from virtfn.kube.conditions import condition_of
from virtfn.kube.resource import Object, metadata_of, uid_of
from virtfn.model.handshake import (
    CORDONED_ANNOTATION,
    CURRENT_STATE_ANNOTATION,
    DESIRED_STATE_ANNOTATION,
    DRAIN_RECORD_ANNOTATION,
    DRAINED_FOR_ANNOTATION,
    EXTERNAL_DRAINER_ANNOTATION,
    RETRY_ANNOTATION,
    DrainState,
)

NEEDS: Final = (DrainState.IDLE, DrainState.DRAIN_REQUIRED, DrainState.REBOOT_REQUIRED)
_BEGUN: Final = (DrainState.DRAINING, DrainState.DRAIN_COMPLETE)
CONDITION: Final = "Drained"
"""The one condition of a node state that is the controller's."""


class Reason(Enum):
    """Reasons of the condition `Drained`."""

    NOT_NEEDED = "NotNeeded"
    WAITING = "WaitingForSlot"
    NONE_ALLOWED = "PoolAllowsNone"
    POOL_CONFLICT = "PoolConflict"
    NODE_SILENT = "NodeNotReady"
    BLOCKED = "EvictionBlocked"
    DRAINING = "Draining"
    DEADLINE = "DeadlineExceeded"
    UNCORDONED = "CordonRemoved"
    DRAINED = "Drained"
    DISABLED = "DrainDisabled"
    ONLY_NODE = "OnlyNode"
    EXTERNAL = "ExternalDrainer"


class Cordon(Enum):
    """Whose cordon is on a node."""

    NONE = "none"
    OURS = "ours"
    FOREIGN = "somebody else's"
    LIFTED = "ours, which somebody took away"
    REPLACED = "somebody else's, put there after ours was taken away"

    @classmethod
    def of(cls, node: Object) -> Cordon:
        """By `spec.unschedulable`, our annotation, and, where the node was read whole, who set the field last.

        Before Kubernetes 1.22 a server may not know who did: then the annotation decides.
        """
        marked = CORDONED_ANNOTATION in annotations_of(node)
        if not spec_of(node).get("unschedulable"):
            return cls.LIFTED if marked else cls.NONE
        if not marked:
            return cls.FOREIGN
        setters = {
            entry.get("manager")
            for entry in metadata_of(node).get("managedFields") or ()
            if "f:unschedulable" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        }
        return cls.REPLACED if setters and FIELD_MANAGER not in setters else cls.OURS


@dataclass(frozen=True, slots=True)
class DrainRecord:
    """What is remembered of a drain that is wanted, in an annotation of the node state."""

    cause: str = ""
    """Which plan (and value of the retry annotation) `attempts` and `not_before` are about."""
    queued: datetime | None = None
    """Since when the node is in line for a slot."""
    kind: str = ""
    """What the drain that goes on, or is complete, was made for: Drain_Required or Reboot_Required."""
    started: datetime | None = None
    """When it began."""
    attempts: int = 0
    """How often it was given up, or not even begun because pods could not go."""
    not_before: datetime | None = None
    """When it may be tried again."""

    @classmethod
    def parse(cls, text: str) -> DrainRecord:
        """What `text` says; where it is malformed (somebody edited it), as if there were none."""
        try:
            found = json.loads(text)
            attempts = found.get("attempts", 0)
            return cls(
                cause=str(found.get("cause", "")),
                queued=_moment(found.get("queued")),
                kind=str(found.get("kind", "")),
                started=_moment(found.get("started")),
                attempts=attempts if isinstance(attempts, int) and attempts > 0 else 0,
                not_before=_moment(found.get("notBefore")),
            )
        except (ValueError, AttributeError, TypeError):
            return cls()

    def __str__(self) -> str:
        """As it is kept."""
        made: dict[str, Any] = {
            "cause": self.cause,
            "queued": self.queued and whole_time(self.queued),
            "kind": self.kind,
            "started": self.started and whole_time(self.started),
            "attempts": self.attempts,
            "notBefore": self.not_before and whole_time(self.not_before),
        }
        return json.dumps({name: value for name, value in made.items() if value}, separators=(",", ":"))


class Move(Enum):
    """What to do next."""

    REST = "nothing is needed, and nothing is left over"
    LEAVE = "somebody else drains"
    RELEASE = "let the node go: the cordon, if it is ours, and the handshake's states"
    HOLD = "it was given up, and is tried again later"
    QUEUE = "wait for a slot"
    BEGIN = "it has a slot: look whether the pods may go, and begin"
    PASS = "say that it is drained without draining"
    DRAIN = "go on draining"
    AGAIN = "drained for another plan than the one there is now: drain for this one, too"
    STAND = "it is drained, and the daemon works"
    UNMARK = "it is drained, and the cordon is not ours any more: take our mark away, so that nobody's is lifted for it"
    DEADLINE = "give up: it took too long"
    UNCORDONED = "give up: somebody took our cordon away"


@dataclass(frozen=True, slots=True)
class Situation:
    """One node as it stands."""

    needed: DrainState = DrainState.IDLE
    current: DrainState = DrainState.IDLE
    digest: str = ""
    """Of the plan that the daemon has published; empty: none."""
    drained_for: str = ""
    retry: str = ""
    record: DrainRecord = field(default_factory=DrainRecord)
    cordon: Cordon = Cordon.NONE
    is_external: bool = False
    """Whether another drainer does all this."""

    @classmethod
    def of(cls, state: Object, node: Object) -> Situation:
        """What node state and node say; words that are none of the handshake's count as Idle."""
        annotations = annotations_of(state)
        plan = (state.get("status") or {}).get("plan") or {}
        current = annotations.get(CURRENT_STATE_ANNOTATION)
        return cls(
            needed=needed_of(state),
            current=DrainState(current)
            if current in (DrainState.DRAINING, DrainState.DRAIN_COMPLETE)
            else DrainState.IDLE,
            digest=str(plan.get("digest") or ""),
            drained_for=annotations.get(DRAINED_FOR_ANNOTATION, ""),
            retry=annotations.get(RETRY_ANNOTATION, ""),
            record=DrainRecord.parse(annotations.get(DRAIN_RECORD_ANNOTATION, "")),
            cordon=Cordon.of(node),
            is_external=annotations.get(EXTERNAL_DRAINER_ANNOTATION) == "true",
        )

    @property
    def cause(self) -> str:
        """What `DrainRecord.cause` is for the plan there is now."""
        return f"{self.digest}/{self.retry}"

    @property
    def memory(self) -> DrainRecord:
        """The record as far as it is about the plan there is now: another plan, or a new retry, begins anew."""
        if self.record.cause == self.cause:
            return self.record
        return DrainRecord(self.cause, self.record.queued, self.record.kind, self.record.started)

    @property
    def takes_slot(self) -> bool:
        """Whether the node's drain has begun and not ended."""
        return self.current is not DrainState.IDLE

    def waits(self, *, now: datetime) -> bool:
        """Whether it wants to be drained now, and has not begun."""
        not_before = self.memory.not_before
        return (
            not self.is_external
            and self.needed is not DrainState.IDLE
            and self.current is DrainState.IDLE
            and (not_before is None or now >= not_before)
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What does not come from the node's own objects."""

    now: datetime
    deadline: float
    """Seconds that a drain may take."""
    granted: bool = False
    """Whether the node has a slot."""
    is_disabled: bool = False
    """`spec.disableDrain` of the operator's configuration."""
    is_alone: bool = False
    """Whether it is the only node of the cluster: its pods have nowhere to go, and a reboot takes them along."""


def needed_of(state: Object) -> DrainState:
    """What the daemon needs: by its status, or, of a daemon that has no such field, by the annotation it writes."""
    said = (state.get("status") or {}).get("neededState") or annotations_of(state).get(DESIRED_STATE_ANNOTATION)
    return DrainState(said) if said in NEEDS else DrainState.IDLE


def current_of(state: Object) -> str:
    """The annotation of how far the drain is."""
    return str(annotations_of(state).get(CURRENT_STATE_ANNOTATION, DrainState.IDLE))


def has_begun(state: Object) -> bool:
    """Whether the node's drain has begun and not ended; by metadata alone."""
    return current_of(state) in _BEGUN


def still_rests(old: Object, new: Object) -> bool:
    """Whether a node needed nothing, needs nothing, and all that would be looked at then is what it was.

    Nearly all changes are like that: policies that reach their nodes, and daemons that report of it.
    """
    if needed_of(new) is not DrainState.IDLE or has_begun(new):
        return False
    return _seen_at_rest(old) == _seen_at_rest(new)


def _seen_at_rest(state: Object) -> tuple[Any, ...]:
    said = (state.get("status") or {}).get("neededState")
    return (uid_of(state), annotations_of(state), said, condition_of(state, name=CONDITION))


def decide(at: Situation, terms: Terms) -> Move:
    """The next thing to do."""
    if at.is_external:
        return Move.LEAVE
    if at.needed is DrainState.IDLE:
        leftovers = at.takes_slot or at.drained_for or at.record != DrainRecord()
        return Move.RELEASE if leftovers or at.cordon not in (Cordon.NONE, Cordon.FOREIGN) else Move.REST
    reboots = at.needed is DrainState.REBOOT_REQUIRED
    passes = terms.is_alone if reboots else terms.is_disabled
    if at.current is DrainState.DRAIN_COMPLETE:
        same = at.drained_for == at.digest and at.record.kind in ("", at.needed)
        if same:
            return Move.UNMARK if at.cordon in (Cordon.LIFTED, Cordon.REPLACED) else Move.STAND
        return Move.PASS if passes else Move.AGAIN
    if passes:
        return Move.PASS
    if at.current is DrainState.DRAINING:
        if at.cordon is Cordon.LIFTED:
            return Move.UNCORDONED
        return Move.DEADLINE if seconds_left(at, terms) <= 0 else Move.DRAIN
    if not at.waits(now=terms.now):
        return Move.HOLD
    return Move.BEGIN if terms.granted else Move.QUEUE


def seconds_left(at: Situation, terms: Terms) -> float:
    """Until the deadline of a drain that goes on. A beginning that is unknown, or in the future, is now."""
    started = at.record.started
    if started is None or started > terms.now:
        return terms.deadline
    return terms.deadline - (terms.now - started).total_seconds()


def pause_after(attempts: int, *, least: float, most: float, random: Random) -> timedelta:
    """How long to leave a node alone after it was given up so often: doubled each time, with a tenth at random."""
    seconds = min(least * 2.0 ** min(max(attempts - 1, 0), 60), most)
    return timedelta(seconds=seconds * (1.0 + random.random() / 10))


def _moment(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
