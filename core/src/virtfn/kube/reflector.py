"""Keeps a store equal to what the API server has of one kind: list once, then watch, and survive whatever comes.

The laws it keeps: lists are paged; the watch goes on at the resource version of the last event or bookmark, over any
number of connections; only a version that is too old (410) leads to another list, and that list is compared with the
store, so that nothing deleted meanwhile stays; a server that closes gets a second of rest, one that fails gets longer
and longer ones; a connection that says nothing is given up; and nothing that is received ends the thread.

Handlers only note what is to be done (`WorkQueue.add`): they run on this thread, and hold up the watch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from virtfn.errors import BadReply, ClusterError, Gone, NotFound, TooManyRequests, Unavailable
from virtfn.kube.backoff import Backoff
from virtfn.kube.client import PAGE_SIZE, KubeClient
from virtfn.kube.clock import Clock
from virtfn.kube.meter import Meter, NoMeter
from virtfn.kube.resource import Json, Object, Resource, key_of
from virtfn.kube.store import Change, Store
from virtfn.kube.watching import EventKind, LineCutter, read_event

if TYPE_CHECKING:
    from virtfn.kube.transport import Stream

logger = logging.getLogger(__name__)

Transform = Callable[[Json], Json]
"""Makes an object smaller before it is kept. May change what it is given; must keep name, namespace, UID, version."""

Handler = Callable[[Change], None]


def without_managed_fields(thing: Json) -> Json:
    """The usual `Transform`: who wrote which field is half of a small object, and nobody here reads it."""
    metadata = thing.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    return thing


@dataclass(frozen=True, slots=True)
class ReflectorSettings:
    """Times in seconds."""

    page_size: int = PAGE_SIZE
    watch_least: int = 240
    watch_most: int = 420
    """The server ends a watch after a random time between these, so that watchers do not come back together."""

    slack: float = 15.0
    """How much longer than that a watch may take here, before the connection counts as dead."""

    quiet: float = 180.0
    """Longest silence. Servers send a bookmark about every minute."""

    pause: float = 1.0
    """Least time between a closed watch and the next; as much again is added at random."""

    backoff_least: float = 1.0
    backoff_most: float = 30.0
    healthy: float = 60.0
    """See `Backoff`."""

    stuck_times: int = 3
    """After so many failures of a watch at one and the same version, list anew instead."""


class Reflector:
    """One kind, one store, one thread.

    :param namespace: empty for all.
    :param labels: label selector.
    :param fields: field selector, such as `metadata.name=worker-1`.
    :param metadata_only: keep and fetch `PartialObjectMetadata` only.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        resource: Resource,
        store: Store,
        clock: Clock,
        random: Random,
        handlers: Sequence[Handler] = (),
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        transform: Transform = without_managed_fields,
        meter: Meter | None = None,
        settings: ReflectorSettings | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._store = store
        self._clock = clock
        self._random = random
        self._handlers = tuple(handlers)
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._transform = transform
        self._meter = meter or NoMeter()
        self._settings = settings or ReflectorSettings()
        self._subject = resource.subject(namespace=namespace)
        self._backoff = Backoff(
            random,
            least=self._settings.backoff_least,
            most=self._settings.backoff_most,
            healthy=self._settings.healthy,
        )
        self._version = ""
        self._stuck = ("", 0)
        self._last_seen: float | None = None
        self._last_active = clock.monotonic()
        self._last_error: ClusterError | None = None
        self._synced = threading.Event()
        self._stop = threading.Event()
        self._stream_lock = threading.Lock()
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> Store:
        """What it fills."""
        return self._store

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in the store, and its handlers were called."""
        return self._synced.is_set()

    @property
    def last_seen(self) -> float | None:
        """When the server last said anything, on the monotonic clock; None before the first time."""
        return self._last_seen

    @property
    def last_error(self) -> ClusterError | None:
        """Why the last list or watch failed; None if the server has answered since."""
        return self._last_error

    @property
    def last_active(self) -> float:
        """When it last did anything, also in vain, on the monotonic clock: a thread that hangs does nothing."""
        return self._last_active

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def resource_version(self) -> str:
        """Where the watch goes on; empty if a list comes next."""
        return self._version

    def wait_synced(self, *, seconds: float) -> bool:
        """Wait for the first list, at most so long; whether it is there."""
        return self._clock.wait(self._synced, seconds=seconds)

    def start(self) -> None:
        """Run on a thread of its own."""
        self._thread = threading.Thread(target=self.run, name=f"reflector {self._subject}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end, also out of a silent watch."""
        self._stop.set()
        with self._stream_lock:
            if self._stream is not None:
                self._stream.close()

    def join(self, *, seconds: float) -> bool:
        """Wait for its thread; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def run(self) -> None:
        """List and watch until `stop`."""
        while not self._stop.is_set():
            self._clock.wait(self._stop, seconds=self._round())

    def _round(self) -> float:
        """List if needed, and watch once; how long to rest then."""
        try:
            if not self._version:
                self._list()
            self._watch()
        except Gone as error:
            self._version = ""
            self._meter.count("watch_expired", of=str(self._resource))
            logger.info("%s; listing again", error)
            return self._backoff.failed()
        except ClusterError as error:
            return self._failed(error)
        except Exception:  # the top of a thread: whatever is wrong with one object, the others must go on being seen
            logger.exception("%s: the reflector failed; going on", self._subject)
            self._version, self._last_active = "", self._clock.monotonic()
            self._meter.count("watch_errors", of=str(self._resource))
            return self._backoff.failed()
        return self._settings.pause * (1.0 + self._random.random())

    def _failed(self, error: ClusterError) -> float:
        if self._stop.is_set():
            return 0.0
        self._meter.count("watch_errors", of=str(self._resource))
        # A kind that is not installed is told once, and not for ever.
        known = isinstance(error, NotFound) and isinstance(self._last_error, NotFound)
        self._last_error, self._last_active = error, self._clock.monotonic()
        delay = self._backoff.failed()
        if isinstance(error, Unavailable | TooManyRequests) and error.retry_after is not None:
            delay = max(delay, error.retry_after)
        level = logging.DEBUG if known else logging.WARNING
        logger.log(level, "%s; %s in %.1f s", error, "watching again" if self._version else "listing again", delay)
        return delay

    # --- list ---------------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        try:
            everything, version = self._fetch(limit=self._settings.page_size)
        except Gone:
            # Paged too slowly for the server's history: all at once cannot expire on the way.
            self._meter.count("list_expired", of=str(self._resource))
            everything, version = self._fetch(limit=0)
        if self._stop.is_set():
            return
        changes = self._store.replace(everything)
        self._version = version
        self._meter.count("lists", of=str(self._resource))
        self._tell(changes)
        self._synced.set()

    def _fetch(self, *, limit: int) -> tuple[dict[str, Object], str]:
        everything: dict[str, Object] = {}
        continuation = ""
        while True:
            page = self._client.page(
                self._resource,
                namespace=self._namespace,
                labels=self._labels,
                fields=self._fields,
                limit=limit,
                continuation=continuation,
                metadata_only=self._metadata_only,
                patient=False,
            )
            self._seen()
            if not page.resource_version:
                raise BadReply(f"{self._subject}: a list without a resource version", subject=self._subject)
            for item in page.items:
                try:
                    key = key_of(item)
                except (KeyError, TypeError, AttributeError) as error:
                    text = f"{self._subject}: the list holds something without a name ({error!r})"
                    raise BadReply(text, subject=self._subject) from error
                everything[key] = self._made_small(item)
            continuation = page.continuation
            if not continuation or self._stop.is_set():
                return everything, page.resource_version

    # --- watch --------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._stop.is_set():
            return
        seconds = self._random.randint(self._settings.watch_least, self._settings.watch_most)
        end = self._clock.monotonic() + seconds + self._settings.slack
        stream = self._client.watch(
            self._resource,
            resource_version=self._version,
            seconds=seconds,
            quiet=min(self._settings.quiet, seconds + self._settings.slack),
            namespace=self._namespace,
            labels=self._labels,
            fields=self._fields,
            metadata_only=self._metadata_only,
        )
        self._meter.count("watches", of=str(self._resource))
        with stream:
            with self._stream_lock:
                self._stream = stream
            try:
                if not self._stop.is_set():
                    self._seen()
                    self._read(stream, end=end)
            finally:
                with self._stream_lock:
                    self._stream = None
        if not self._stop.is_set():
            self._seen()

    def _read(self, stream: Stream, *, end: float) -> None:
        cutter = LineCutter()
        for chunk in stream.chunks():
            try:
                for line in cutter.feed(chunk):
                    if self._stop.is_set():
                        return
                    self._take(line)
            except Gone:
                raise
            except ClusterError:
                self._stumbled()
                raise
            if self._clock.monotonic() > end:
                # Something arrives, but the server should have ended this long ago: a proxy that drips.
                text = f"{self._subject}: the watch outlived its time (is there a proxy in between?)"
                raise Unavailable(text, subject=self._subject)

    def _stumbled(self) -> None:
        """The server sent something unusable. It is asked for the same again, and not for ever."""
        version, times = self._stuck
        self._stuck = (self._version, times + 1 if version == self._version else 1)
        if self._stuck[1] >= self._settings.stuck_times:
            self._version, self._stuck = "", ("", 0)

    def _take(self, line: bytes) -> None:
        event = read_event(line, subject=self._subject)
        self._seen()
        self._meter.count("watch_events", of=str(self._resource))
        if event.kind is EventKind.DELETED:
            self._tell(self._store.remove(event.key))
        elif event.kind is not EventKind.BOOKMARK:
            self._tell(self._store.put(event.key, thing=self._made_small(event.thing)))
        self._version = event.version

    def _made_small(self, thing: Json) -> Json:
        try:
            return self._transform(thing)
        except Exception:  # a foreign function: a large object is better than one that is not there
            logger.exception("%s %s: the transform failed; kept whole", self._subject, key_of(thing))
            self._meter.count("transform_errors", of=str(self._resource))
            return thing

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            for handler in self._handlers:
                try:
                    handler(change)
                except Exception:  # a foreign function: the others must hear of it still
                    logger.exception("%s %s: a handler failed; going on", self._subject, change.key)
                    self._meter.count("handler_errors", of=str(self._resource))
        if changes:
            self._meter.level("objects", len(self._store), of=str(self._resource))

    def _seen(self) -> None:
        self._last_seen = self._last_active = self._clock.monotonic()
        self._last_error = None
        self._backoff.good(now=self._last_seen)
