"""Writes what the daemon has to say into its node state, and only what is new.

Nothing is queued: what could not be written is made again from what is seen, at the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from virtfn.cluster.kinds import NODE_STATES
from virtfn.daemon.status import BLOCKED, DRIFTED, READY, Judgement, Report, conditions_of, judge_report, status_of
from virtfn.errors import NotFound
from virtfn.kube.apply import Applier
from virtfn.kube.clock import Clock
from virtfn.kube.conditions import merge_conditions
from virtfn.kube.difference import same
from virtfn.kube.events import EventRecorder, EventType
from virtfn.kube.resource import Object, uid_of, version_of
from virtfn.model.handshake import SyncStatus

logger = logging.getLogger(__name__)

FIELD_MANAGER: Final = "virtfn-daemon"
_OWN: Final = (READY, DRIFTED, BLOCKED)


class Publisher:
    """The status of one node state. One thread uses it.

    :param newest: the node state as it was last seen.
    """

    def __init__(
        self, applier: Applier, *, recorder: EventRecorder, newest: Callable[[], Object | None], clock: Clock
    ) -> None:
        self._applier = applier
        self._recorder = recorder
        self._seen = newest
        self._clock = clock
        self._based_on = ""
        self._written: Object | None = None
        self._wanted: Object = {}

    def newest(self) -> Object | None:
        """The node state as it was last seen, or as it was after our own write if nothing was seen since."""
        seen = self._seen()
        if seen is None or self._written is None or uid_of(seen) != uid_of(self._written):
            return seen
        return self._written if version_of(seen) in (self._based_on, version_of(self._written)) else seen

    def publish(self, report: Report) -> None:
        """Say it, if it is new.

        :raises ClusterError: it could not be written; nothing that has to be told before it is done may be done.
        """
        live = self.newest()
        if live is None and report.acting:
            raise NotFound("the node state is gone: nothing is done that cannot be told")
        if live is None:
            return
        before = _own_part(live)
        merged = merge_conditions(before["conditions"], wanted=conditions_of(report), now=self._clock.now())
        wanted = {**status_of(report).to_wire(), "conditions": list(merged.conditions)}
        if same(wanted, before):
            return
        if self._written is not None and same(wanted, self._wanted) and same(before, _own_part(self._written)):
            return  # that is what the server made of it
        based_on = version_of(self._seen() or live)
        # Without the old status nobody takes a field that is to go for one that need not be written.
        bare = {name: value for name, value in live.items() if name != "status"}
        made = self._applier.apply_status(NODE_STATES, live=bare, status=wanted).thing
        if left := [field for field in _own_part(made) if field not in wanted]:
            # Another daemon wrote it, or a person: what one manager does not own, it cannot take away by not naming it.
            gone = {"status": dict.fromkeys(left)}
            made = self._applier.patch(NODE_STATES, live=made, wanted=gone, subresource="status").thing
        self._written = made
        self._based_on, self._wanted = based_on, wanted
        self._tell(live, before, wanted)

    def tell(self, *, reason: str, action: str, note: str, level: EventType = EventType.NORMAL) -> None:
        """An event about the node state."""
        live = self.newest()
        if live is not None:
            about = {**live, "apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind}
            self._recorder.tell(about, level=level, reason=reason, action=action, note=note)

    def _tell(self, live: Object, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        old, new = before.get("syncStatus") or "Unknown", wanted.get("syncStatus") or "Unknown"
        error = wanted.get("lastSyncError") or ""
        logger.info("status: %s%s", new, f": {error}" if error else "")
        if old == new and (before.get("lastSyncError") or "") == error:
            return
        note = f"Status changed from: {old} to: {new}" + (f". Last Error: {error}" if error else "")
        level = EventType.WARNING if new == SyncStatus.FAILED else EventType.NORMAL
        about = {**live, "apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind}
        self._recorder.tell(about, level=level, reason="SyncStatusChanged", action="SyncStatusChange", note=note)


def _own_part(node_state: Object) -> Mapping[str, Any]:
    """The status without what others say in it."""
    status = node_state.get("status")
    known: Mapping[str, Any] = status if isinstance(status, Mapping) else {}
    own = [condition for condition in known.get("conditions") or () if condition.get("type") in _OWN]
    return {**known, "conditions": own}


class LogTeller:
    """Says it to the log, where nobody else listens."""

    def __init__(self) -> None:
        self._said: Judgement | None = None

    def publish(self, report: Report) -> None:
        """See `Publisher`."""
        judged = judge_report(report)
        if judged != self._said:
            level = logging.ERROR if judged.sync is SyncStatus.FAILED else logging.INFO
            logger.log(level, "%s: %s", judged.reason, judged.error or judged.message)
            self._said = judged

    def tell(self, *, reason: str, action: str, note: str, level: EventType = EventType.NORMAL) -> None:
        """See `Publisher`."""
        logger.log(logging.INFO if level is EventType.NORMAL else logging.WARNING, "%s %s: %s", action, reason, note)
