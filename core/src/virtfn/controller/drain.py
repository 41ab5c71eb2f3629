"""Drains: one node at a time through the handshake, as many at once as their pools allow.

One key is one node. Its turn looks at node and node state, decides (`drain_decision`) and does one thing; it never
waits, but says when to come again, and all that counts is written to the node state, so that another controller can go
on at any point. Slots are given in a turn of a key of their own: a key is only ever worked on once at a time, so no two
nodes can be given the same slot.

What is decided at rest is decided on the views. Before anything is done, both objects are read anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.cordon import Cordons, is_marked
from virtfn.controller.drain_decision import (
    Cordon,
    DrainRecord,
    Move,
    Reason,
    Situation,
    Terms,
    current_of,
    decide,
    has_begun,
    needed_of,
    pause_after,
    seconds_left,
    still_rests,
)
from virtfn.controller.drain_pods import Manner, NodePods, Remaining, in_the_way, what_goes
from virtfn.controller.drain_report import DrainReport
from virtfn.controller.drain_slots import SlotKeeper, readiness
from virtfn.controller.holders import Owner
from virtfn.controller.membership import annotations_of, labels_of, operator_config, spec_of
from virtfn.controller.services import Services, View
from virtfn.controller.slots import Ruling
from virtfn.errors import Conflict
from virtfn.kube.backoff import Backoff
from virtfn.kube.clock import whole_time
from virtfn.kube.conditions import Status
from virtfn.kube.events import EventType
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import NODES, Object, metadata_of, name_of
from virtfn.kube.store import Change
from virtfn.model.handshake import PLUGIN_REVISION_ANNOTATION, RETRY_ANNOTATION, DrainState

SLOTS: Final = ""
"""The key in whose turn slots are given. No node has this name."""
SLOTS_SECONDS: Final = 30.0
"""Between two looks at the slots while nodes wait; whatever frees one makes for an earlier look."""
SLOTS_REST: Final = 4.0
"""After a look at the slots, so many times as long as it took."""
STALE_SECONDS: Final = 2.0
"""To a look at a node whose objects have changed since the views saw them."""
WAITING_SECONDS: Final = 300.0
"""After so long a node that waits says anew what it waits for."""
POLL_LEAST: Final = 0.5
POLL_MOST: Final = 15.0
"""Between two looks at the pods of a node that is drained; longer and longer while none has gone."""
CORDON_SECONDS: Final = 1.0
"""From a new cordon to the look that may find the node empty: until then the scheduler may not have seen it."""
BLOCKED_LEAST: Final = 15.0
BLOCKED_MOST: Final = 300.0
"""Until a drain is tried again that could not even begin."""
AGAIN_LEAST: Final = 60.0
AGAIN_MOST: Final = 3600.0
"""Until a drain is tried again that was given up."""
PLUGIN_SECONDS: Final = 150.0
"""A node is not let go before its device plugin offers the new VFs, but after this at the latest: pods that come
while it starts are refused by the kubelet for good."""

_TO_BE_DONE: Final = frozenset(Move) - {Move.REST, Move.LEAVE, Move.HOLD, Move.QUEUE, Move.STAND}
_REASONS: Final = {
    Ruling.WAITS: Reason.WAITING,
    Ruling.NONE_ALLOWED: Reason.NONE_ALLOWED,
    Ruling.POOL_CONFLICT: Reason.POOL_CONFLICT,
    Ruling.NODE_SILENT: Reason.NODE_SILENT,
}


class DrainReconciler:
    """See `Reconciler`. Keys are names of nodes, and `SLOTS`."""

    name = "drain"
    workers = 8
    needs: Sequence[str] = ("nodes", "node_states", "pools", "operator_configs")

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._services = services
        self._settings = services.settings
        self._nodes = views["nodes"].store
        self._states = views["node_states"].store
        self._configs = views["operator_configs"]
        self.queue: WorkQueue[str] = WorkQueue(
            name=self.name, clock=services.clock, random=services.random, meter=services.meter
        )
        self._pods = NodePods(services)
        self._cordons = Cordons(services)
        self._report = DrainReport(services)
        self._slots = SlotKeeper(services, views)
        self._has_looked = False
        self._slots_from = 0.0
        self._polls: dict[str, tuple[int, Backoff]] = {}
        self._plugin_since: dict[str, float] = {}

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "node_states": self._on_state,
            "nodes": self._on_node,
            "pools": lambda _: self.queue.add(SLOTS),
            "operator_configs": self._on_config,
        }

    def handle(self, key: str) -> float | None:
        return self._give_slots() if key == SLOTS else self._look_at(key)

    # --- events -------------------------------------------------------------------------------------------------------

    def _on_state(self, change: Change) -> None:
        old, new = change.old, change.new
        if old is None or new is None or not still_rests(old, new):
            self.queue.add(name_of(change.thing))
        if old is not None and (new is None or current_of(old) != current_of(new)):
            self.queue.add(SLOTS)

    def _on_node(self, change: Change) -> None:
        if change.old is None or change.new is None or _presence(change.old) != _presence(change.new):
            self.queue.add(change.key)
            if change.old is not None:
                self.queue.add(SLOTS)

    def _on_config(self, _: Change) -> None:
        for state in self._states.objects():
            if needed_of(state) is not DrainState.IDLE:
                self.queue.add(name_of(state))
        self.queue.add(SLOTS)

    # --- slots --------------------------------------------------------------------------------------------------------

    def _give_slots(self) -> float | None:
        begun = self._services.clock.monotonic()
        if begun < self._slots_from:
            return self._slots_from - begun
        if not self._has_looked:
            for name in self._slots.look_first():
                self.queue.add(name)
            self._has_looked = True
        table, news = self._slots.give(self._terms(granted=False))
        for name in news:
            self.queue.add(name)
        # With thousands that wait a look takes a while, and each drain that ends wants one: a fifth of all time at most
        now = self._services.clock.monotonic()
        self._slots_from = now + SLOTS_REST * (now - begun)
        waiting = len(table.verdicts) - len(table.chosen)
        self._services.meter.level("drains_waiting", waiting)
        return SLOTS_SECONDS if waiting else None

    def _give_back(self, name: str) -> None:
        self._polls.pop(name, None)
        self._plugin_since.pop(name, None)
        if self._slots.give_back(name):
            self.queue.add(SLOTS)

    # --- one node -----------------------------------------------------------------------------------------------------

    def _look_at(self, name: str) -> float | None:
        node, state = self._nodes.get(name), self._state_of(name)
        if node is None or state is None:
            self._give_back(name)
            if node is not None and is_marked(node):
                self._let_go_of(name)
            return None
        try:
            state = self._report.repeat(state, node)
        except Conflict:
            return STALE_SECONDS
        move = decide(Situation.of(state, node), self._terms(granted=self._slots.has(name)))
        if move not in _TO_BE_DONE and not self._slots.has(name):
            return self._stay(move, state, node)
        fresh = self._services.client.find(NODE_STATES, name=name, namespace=self._settings.namespace)
        node = self._services.client.find(NODES, name=name)
        if fresh is None or node is None:
            return STALE_SECONDS
        at = Situation.of(fresh, node)
        terms = self._terms(granted=self._slots.has(name))
        move = decide(at, terms)
        if at.takes_slot and move is not Move.LEAVE:
            self._slots.take(name)
        elif move is not Move.BEGIN:
            self._give_back(name)
        doing: dict[Move, Callable[[Object, Object], float | None]] = {
            Move.RELEASE: self._release,
            Move.BEGIN: self._begin,
            Move.PASS: self._pass,
            Move.DRAIN: self._drain,
            Move.AGAIN: self._again,
            Move.UNMARK: self._unmark,
            Move.DEADLINE: self._give_up_late,
            Move.UNCORDONED: self._give_up_uncordoned,
        }
        return doing[move](fresh, node) if move in doing else self._stay(move, fresh, node)

    def _let_go_of(self, name: str) -> None:
        # Virtfn does not look after this node any more.
        client, namespace = self._services.client, self._settings.namespace
        is_gone = client.find(NODE_STATES, name=name, namespace=namespace, metadata_only=True) is None
        if is_gone and (node := client.find(NODES, name=name)) is not None:
            self._cordons.lift(node)

    def _stay(self, move: Move, state: Object, node: Object) -> float | None:
        """Nothing is done; what is waited for is said."""
        at = Situation.of(state, node)
        now = self._services.clock.now()
        if move is Move.LEAVE:
            if at.needed is DrainState.IDLE:
                self._report.say_idle(state)
            else:
                message = "another drainer is in charge (USE_EXTERNAL_DRAINER)"
                self._report.say(state, Status.FALSE, reason=Reason.EXTERNAL, message=message)
        elif move is Move.REST:
            self._report.say_idle(state)
        elif move is Move.HOLD:
            not_before = at.memory.not_before or now
            return max((not_before - now).total_seconds(), 1.0)
        elif move is Move.QUEUE:
            verdict = self._slots.verdict(name_of(state))
            if verdict is None:
                self.queue.add(SLOTS)
            elif verdict.ruling in _REASONS:
                self._report.say(state, Status.FALSE, reason=_REASONS[verdict.ruling], message=verdict.message)
            return WAITING_SECONDS * (1.0 + self._services.random.random())
        return None

    # --- beginning ----------------------------------------------------------------------------------------------------

    def _begin(self, state: Object, node: Object) -> float | None:
        """Ask first: a node whose pods may not go is not cordoned in vain."""
        at, now = Situation.of(state, node), self._services.clock.now()
        remaining = self._remaining(state, at.needed)
        refused = {} if self._manner.deletes else self._pods.rehearse(remaining.pods)
        if remaining.stuck or refused:
            return self._put_off_begin(state, at, remaining.only(refused), refused=refused)
        record = replace(at.memory, kind=str(at.needed), started=now, not_before=None)
        state = self._report.mark_draining(state, record)
        why = "the node reboots" if at.needed is DrainState.REBOOT_REQUIRED else "their VFs are taken away"
        note = f"draining; pods that go, as {why}: {what_goes(remaining)}"
        self._report.tell(state, level=EventType.NORMAL, reason="DrainStarted", note=note)
        self._services.meter.count("drains_begun")
        return self._drain(state, node)

    def _put_off_begin(
        self, state: Object, at: Situation, blocked: Remaining, *, refused: Mapping[str, str]
    ) -> float | None:
        record = self._put_off(at, least=BLOCKED_LEAST, most=BLOCKED_MOST)
        state = self._report.mark_idle(state, record)
        message = f"not begun, as pods may not go: {in_the_way(blocked, refused=refused)}"
        self._report.say(state, Status.FALSE, reason=Reason.BLOCKED, message=message)
        self._report.tell(state, level=EventType.WARNING, reason=Reason.BLOCKED.value, note=message)
        self._services.meter.count("drains_blocked")
        self._give_back(name_of(state))
        return self._seconds_until(record)

    def _pass(self, state: Object, node: Object) -> float | None:
        at = Situation.of(state, node)
        if at.needed is DrainState.REBOOT_REQUIRED:
            why = "this is the only node: its pods have nowhere to go, and end with the reboot"
            self._complete(state, at, reason=Reason.ONLY_NODE, message=why)
        else:
            why = "not drained, as disableDrain of the operator's configuration says"
            self._complete(state, at, reason=Reason.DISABLED, message=why)
        return None

    def _again(self, state: Object, node: Object) -> float | None:
        """Most new plans are less than the one before: where no pod is in their way, the handshake stays as it is."""
        at, now = Situation.of(state, node), self._services.clock.now()
        if at.cordon not in (Cordon.NONE, Cordon.LIFTED) and not self._remaining(state, at.needed):
            self._complete(state, at, reason=Reason.DRAINED, message=_drained(at))
            return None
        record = replace(at.memory, kind=str(at.needed), started=now)
        state = self._report.mark_draining(state, record)
        return self._drain(state, node)

    # --- draining -----------------------------------------------------------------------------------------------------

    def _drain(self, state: Object, node: Object) -> float | None:
        name, now = name_of(state), self._services.clock.now()
        at = Situation.of(state, node)
        if at.record.started is None or at.record.started > now:
            state = self._report.mark_draining(state, replace(at.record, started=now))
        is_new = at.cordon is Cordon.NONE
        if is_new:
            node = self._cordons.put(node)
        remaining = self._remaining(state, at.needed)
        refused: dict[str, str] = {}
        if remaining.first:
            refused = self._pods.send_away(remaining.first, manner=self._manner)
        elif remaining.last:
            if any(pod.owner is Owner.DAEMON_SET for pod in remaining.last):
                self._cordons.keep_out(node)
            refused = self._pods.send_away(remaining.last, manner=self._manner)
        if not remaining and is_new:
            return CORDON_SECONDS
        if not remaining:
            self._complete(state, at, reason=Reason.DRAINED, message=_drained(at))
            return None
        reason = Reason.BLOCKED if refused or remaining.stuck else Reason.DRAINING
        message = f"waiting for pods: {in_the_way(remaining, refused=refused)}"
        self._report.say(state, Status.FALSE, reason=reason, message=message)
        if reason is Reason.BLOCKED:
            self._report.tell(state, level=EventType.WARNING, reason=reason.value, note=message)
        left = seconds_left(at, self._terms(granted=True))
        return min(self._poll(name, left_over=len(remaining.pods)), max(left, 0.1))

    def _complete(self, state: Object, at: Situation, *, reason: Reason, message: str) -> None:
        name = name_of(state)
        record = DrainRecord(at.cause, at.record.queued, str(at.needed), at.record.started)
        state = self._report.mark_complete(state, record, digest=at.digest)
        self._report.say(state, Status.TRUE, reason=reason, message=message)
        self._report.tell(state, level=EventType.NORMAL, reason="DrainComplete", note=message)
        self._polls.pop(name, None)
        self._services.meter.count("drains_complete")

    def _unmark(self, state: Object, node: Object) -> float | None:
        self._cordons.lift(node)
        return self._stay(Move.STAND, state, node)

    # --- ending -------------------------------------------------------------------------------------------------------

    def _give_up_late(self, state: Object, node: Object) -> float | None:
        at = Situation.of(state, node)
        remaining = self._remaining(state, at.needed)
        refused = self._pods.rehearse(remaining.pods)
        what = in_the_way(remaining, refused=refused) or "no pod"
        message = f"given up after {self._settings.drain_deadline:.0f} s, in the way: {what}"
        return self._give_up(state, node, reason=Reason.DEADLINE, message=message)

    def _give_up_uncordoned(self, state: Object, node: Object) -> float | None:
        message = "given up, as somebody uncordoned the node while it was drained"
        return self._give_up(state, node, reason=Reason.UNCORDONED, message=message)

    def _give_up(self, state: Object, node: Object, *, reason: Reason, message: str) -> float | None:
        record = self._put_off(Situation.of(state, node), least=AGAIN_LEAST, most=AGAIN_MOST)
        self._cordons.lift(node)
        state = self._report.mark_idle(state, record)
        when = whole_time(record.not_before) if record.not_before else "a while"
        message += f" (tried again after {when}, or with a new value of the annotation {RETRY_ANNOTATION})"
        self._report.say(state, Status.FALSE, reason=reason, message=message)
        self._report.tell(state, level=EventType.WARNING, reason=reason.value, note=message)
        self._services.meter.count("drains_given_up", of=reason.value)
        self._give_back(name_of(state))
        return self._seconds_until(record)

    def _release(self, state: Object, node: Object) -> float | None:
        name = name_of(state)
        if Cordon.of(node) is Cordon.OURS and self._waits_for_plugin(name, state):
            return 1.0
        lifted = self._cordons.lift(node)
        begun = has_begun(state)
        state = self._report.mark_idle(state, None)
        self._report.say_idle(state)
        if begun or lifted:
            note = "uncordoned" if lifted else "the node stays as it was: its cordon, if it has one, is not virtfn's"
            self._report.tell(state, level=EventType.NORMAL, reason="DrainEnded", action="CompleteDrain", note=note)
        self._give_back(name)
        return None

    def _waits_for_plugin(self, name: str, state: Object) -> bool:
        plugin = (state.get("status") or {}).get("devicePlugin") or {}
        revision = plugin.get("revision")
        if not plugin.get("resources") or annotations_of(state).get(PLUGIN_REVISION_ANNOTATION) == revision:
            return False
        now = self._services.clock.monotonic()
        return now - self._plugin_since.setdefault(name, now) < PLUGIN_SECONDS

    # --- small things -------------------------------------------------------------------------------------------------

    @property
    def _manner(self) -> Manner:
        return Manner.of(operator_config(self._configs, namespace=self._settings.namespace))

    def _terms(self, *, granted: bool) -> Terms:
        config = operator_config(self._configs, namespace=self._settings.namespace)
        return Terms(
            now=self._services.clock.now(),
            deadline=self._settings.drain_deadline,
            granted=granted,
            is_disabled=spec_of(config).get("disableDrain") is True,
            is_alone=len(self._nodes) == 1,
        )

    def _remaining(self, state: Object, needed: DrainState) -> Remaining:
        if self._terms(granted=True).is_disabled:
            return Remaining()
        return self._pods.of(name_of(state), state=state, needed=needed)

    def _state_of(self, name: str) -> Object | None:
        return self._states.get(f"{self._settings.namespace}/{name}")

    def _put_off(self, at: Situation, *, least: float, most: float) -> DrainRecord:
        """It goes to the end of the line, and may not come before a time that grows."""
        now, attempts = self._services.clock.now(), at.memory.attempts + 1
        pause = pause_after(attempts, least=least, most=most, random=self._services.random)
        return DrainRecord(at.cause, queued=now, attempts=attempts, not_before=now + pause)

    def _seconds_until(self, record: DrainRecord) -> float | None:
        if record.not_before is None:
            return None
        return max((record.not_before - self._services.clock.now()).total_seconds(), 1.0)

    def _poll(self, name: str, *, left_over: int) -> float:
        """Until the next look: longer and longer while the pods do not become fewer."""
        before, backoff = self._polls.get(name, (0, None))
        if backoff is None or left_over < before:
            backoff = Backoff(self._services.random, least=POLL_LEAST, most=POLL_MOST)
        self._polls[name] = (left_over, backoff)
        return backoff.failed()


def _presence(node: Object) -> tuple[Any, ...]:
    """What of a node matters here."""
    spec, metadata = spec_of(node), metadata_of(node)
    return (
        *(metadata.get("uid"), labels_of(node), annotations_of(node)),
        *(spec.get("unschedulable"), spec.get("taints"), readiness(node)),
    )


def _drained(at: Situation) -> str:
    what = "reboot" if at.needed is DrainState.REBOOT_REQUIRED else f"plan {at.digest or 'unknown'}"
    return f"no pod is in the way any more; its daemon goes on ({what})"
