"""Events for people who read `kubectl describe`: told from anywhere, written by one thread, never in anybody's way.

`events.k8s.io/v1`. An event that is told again becomes one object with a `series`; an object that is told about too
often is told about less; and when the server does not take events, they are dropped and counted. Telling never blocks
and never fails.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from random import Random

from virtfn.errors import AlreadyExists, InvalidObject, NotFound, VirtfnError
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock, micro_time
from virtfn.kube.meter import Meter, NoMeter
from virtfn.kube.resource import EVENTS, Json, Object, metadata_of

logger = logging.getLogger(__name__)

LONGEST_NOTE = 1024
LONGEST_WORD = 128
"""Bytes; the server refuses more (events.k8s.io/v1, Event)."""


class EventType(Enum):
    """Whether somebody should worry."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Times in seconds."""

    waiting: int = 1000
    """Events that may wait for the server; more are dropped."""

    remembered: int = 4096
    """Different events, and objects, that are remembered for series and limits."""

    burst: int = 25
    refill: float = 300.0
    """New events about one object: so many at once, and one more after each such time. client-go's numbers."""

    flush: float = 60.0
    """Least time between two writes of one series; it is counted in between."""

    series_end: float = 360.0
    """After so long without a repeat, the next one is a new event."""

    tries: int = 3
    pause: float = 2.0
    """Between tries."""

    request_timeout: float = 10.0


@dataclass(slots=True)
class _Series:
    body: Json
    last_told: float
    last_written: float
    count: int = 1
    created: bool = False
    queued: bool = False


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float


class EventRecorder:
    """Takes events and writes them.

    :param controller: who tells, such as `virtfn.io/controller`.
    :param instance: which of several, such as the pod's name.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        controller: str,
        instance: str,
        clock: Clock,
        random: Random,
        meter: Meter | None = None,
        settings: EventSettings | None = None,
    ) -> None:
        self._client = client
        self._controller = controller
        self._instance = instance[:LONGEST_WORD]
        self._clock = clock
        self._random = random
        self._meter = meter or NoMeter()
        self._settings = settings or EventSettings()
        self._changed = threading.Condition()
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self._waiting: deque[tuple[str, ...]] = deque()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(
        self, about: Object, *, level: EventType, reason: str, action: str, note: str, related: Object | None = None
    ) -> None:
        """Say that something happened to an object.

        :param about: the object, with `apiVersion`, `kind` and `metadata`; of an item of a list, which has neither of
            the first two, a copy with them.
        :param reason: CamelCase, without numbers that change.
        :param action: what was done or tried, CamelCase.
        :param note: one sentence for a person.
        :param related: another object that has to do with it.
        """
        try:
            self._tell(about, level=level, reason=reason, action=action, note=note, related=related)
        except (TypeError, KeyError, AttributeError, ValueError):
            # A broken event is the teller's mistake, and not worth the teller's work.
            self._meter.count("events_dropped", of=reason)
            logger.exception("an event could not be made: %s %s", reason, note)

    def start(self) -> None:
        """Write on a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="events", daemon=True)
        self._thread.start()

    def stop(self, *, seconds: float) -> bool:
        """Write what waits, as far as the time allows, and end; whether it ended."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Write until `stop`, and then what is left."""
        while True:
            with self._changed:
                while not self._waiting and not self._stop.is_set():
                    self._changed.wait()
                if not self._waiting:
                    return
            self.write_next()

    def write_next(self) -> bool:
        """Write one event that waits; False if none does."""
        with self._changed:
            if not self._waiting:
                return False
            key = self._waiting.popleft()
            series = self._series.get(key)
            if series is None:
                return True
            series.queued = False
            series.last_written = self._clock.monotonic()
            created, count = series.created, series.count
        for left in reversed(range(self._settings.tries)):
            try:
                self._write(series, created=created, count=count)
            except NotFound:
                # Events expire on the server; the next telling makes a new one. Or the namespace is gone.
                self._forget(key)
                return True
            except VirtfnError as error:
                again = left and error.retryable and not self._stop.is_set()
                if not again:
                    self._meter.count("events_dropped", of=str(series.body["reason"]))
                    logger.warning("an event was not written: %s", error)
                    if not created:
                        self._forget(key)
                    return True
                self._clock.wait(self._stop, seconds=self._settings.pause * (1.0 + self._random.random()))
            else:
                self._meter.count("events_written", of=str(series.body["reason"]))
                return True
        return True

    def _tell(
        self, about: Object, *, level: EventType, reason: str, action: str, note: str, related: Object | None
    ) -> None:
        regarding = _reference(about)
        other = _reference(related) if related is not None else None
        if len(note.encode()) > LONGEST_NOTE:
            note = note.encode()[: LONGEST_NOTE - 3].decode("utf-8", "ignore") + "..."
        who = (regarding["kind"], regarding.get("namespace", ""), regarding["name"], regarding.get("uid", ""))
        whom = () if other is None else (other["kind"], other.get("namespace", ""), other["name"])
        key = (*who, level.value, reason, action, note, *whom)
        now = self._clock.monotonic()
        with self._changed:
            series = self._series.get(key)
            if series is not None and now - series.last_told > self._settings.series_end:
                series = None
            if series is not None:
                self._series.move_to_end(key)
                series.count += 1
                series.last_told = now
                series.body["series"] = {"count": series.count, "lastObservedTime": micro_time(self._clock.now())}
                # The first repeat is written at once, so that a reader sees that it repeats; then now and then.
                due = series.count == 2 or now - series.last_written >= self._settings.flush
                if due and not series.queued:
                    self._enqueue(key, series=series)
                return
            if not self._allowed("/".join(who), now=now) or len(self._waiting) >= self._settings.waiting:
                self._meter.count("events_dropped", of=reason)
                logger.debug("event dropped, there are too many: %s %s", reason, note)
                return
            moment = self._clock.now()
            name = f"{regarding['name'][:200]}.{int(moment.timestamp() * 1e6):x}{self._random.getrandbits(24):06x}"
            body: Json = {
                "apiVersion": EVENTS.api_version,
                "kind": EVENTS.kind,
                "metadata": {"name": name, "namespace": regarding.get("namespace") or "default"},
                "eventTime": micro_time(moment),
                "type": level.value,
                "reason": reason[:LONGEST_WORD],
                "action": action[:LONGEST_WORD],
                "note": note,
                "regarding": regarding,
                "reportingController": self._controller,
                "reportingInstance": self._instance,
            }
            if other is not None:
                body["related"] = other
            series = self._series[key] = _Series(body, last_told=now, last_written=now)
            self._series.move_to_end(key)
            while len(self._series) > self._settings.remembered:
                self._series.popitem(last=False)
            self._enqueue(key, series=series)

    def _enqueue(self, key: tuple[str, ...], *, series: _Series) -> None:
        series.queued = True
        self._waiting.append(key)
        self._changed.notify()

    def _allowed(self, who: str, *, now: float) -> bool:
        burst = float(self._settings.burst)
        allowance = self._allowances.setdefault(who, _Allowance(burst, now))
        self._allowances.move_to_end(who)
        while len(self._allowances) > self._settings.remembered:
            self._allowances.popitem(last=False)
        allowance.left = min(burst, allowance.left + (now - allowance.at) / self._settings.refill)
        allowance.at = now
        if allowance.left < 1.0:
            return False
        allowance.left -= 1.0
        return True

    def _write(self, series: _Series, *, created: bool, count: int) -> None:
        metadata = series.body["metadata"]
        if not created:
            body = {field: value for field, value in series.body.items() if field != "series" or count > 1}
            try:
                self._client.create(EVENTS, body=body, timeout=self._settings.request_timeout, patient=False)
            except AlreadyExists:
                logger.debug("event %s was written by a try that seemed to fail", metadata["name"])
            except InvalidObject as error:
                # Before Kubernetes 1.21 new events of cluster-wide objects had to be in another namespace.
                misplaced = any(field == "involvedObject.namespace" for field, _ in error.causes)
                if not misplaced or metadata["namespace"] != "default":
                    raise
                metadata["namespace"] = "kube-system"
                self._write(series, created=False, count=count)
            series.created = True
            return
        self._client.patch(
            EVENTS,
            name=metadata["name"],
            namespace=metadata["namespace"],
            body={"series": series.body["series"]},
            timeout=self._settings.request_timeout,
            metadata_only=True,
            patient=False,
        )

    def _forget(self, key: tuple[str, ...]) -> None:
        with self._changed:
            self._series.pop(key, None)


def _reference(thing: Object) -> Json:
    """core/v1 ObjectReference."""
    metadata = metadata_of(thing)
    made = {
        "apiVersion": thing["apiVersion"],
        "kind": thing["kind"],
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {field: value for field, value in made.items() if value}
