"""The daemon put together: what watches, what works, what tells how it is; and its life from start to stop.

Everything it stands on is handed in, so that several of them can run in one process, on simulated machines.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from virtfn.cluster.kinds import NODE_STATES
from virtfn.daemon.boot import BootKeeper
from virtfn.daemon.loop import LoopSettings, NodeLoop, Teller, Turn
from virtfn.daemon.memory import give_back
from virtfn.daemon.publisher import FIELD_MANAGER, LogTeller, Publisher
from virtfn.daemon.record import RecordFile
from virtfn.daemon.sources import ConfigMapSource, FileSource, NodeStateSource, Source
from virtfn.errors import NotConfigured
from virtfn.host.machine import Machine
from virtfn.kube.apply import Applier
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock, SystemClock
from virtfn.kube.events import EventRecorder
from virtfn.kube.meter import Meter, NoMeter
from virtfn.kube.queue import QueueSettings, Workers, WorkQueue
from virtfn.kube.reflector import Reflector, ReflectorSettings
from virtfn.kube.resource import CONFIG_MAPS, Object, Resource, metadata_of
from virtfn.kube.store import Change, Store
from virtfn.model.handshake import APPLIED_ANNOTATION
from virtfn.node import Node

logger = logging.getLogger(__name__)

RECORD: Final = Path("daemon", "record.json")
"""Below the folder of the journal."""
_UNSYNCED_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 25.0
"""A pod is given 30 s. What goes on after that is cut off, and gone on with by the next daemon."""


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """How one daemon is set up."""

    node_name: str
    namespace: str = ""
    """Where node states and the ConfigMap are."""
    config_map: str = ""
    """Name of a ConfigMap to read in place of the node state."""
    file: Path | None = None
    """A file to read in place of both; then there need be no API server."""
    state_dir: Path = Path("/var/lib/virtfn/journal")
    """Folder of the journal, on a disk that outlives a reboot."""
    run_dir: Path | None = None
    """Where the device plugin's configuration is written, gone after a boot; None: it is not written."""
    instance: str = ""
    """Which pod this is, for events."""
    stuck_after: float = 900.0
    """Seconds of one turn, or without any, after which only a restart helps."""
    loop: LoopSettings = field(default_factory=LoopSettings)
    queue: QueueSettings = field(default_factory=lambda: QueueSettings(retry_least=0.5, retry_most=30.0))
    reflector: ReflectorSettings = field(default_factory=ReflectorSettings)


class Daemon:
    """One node's daemon.

    :param node: the cycle on its machine; its journal is in `state_dir`.
    :param client: None only where a file says what is wanted.
    :raises NotConfigured: there is no client, and one is needed.
    """

    def __init__(
        self,
        settings: DaemonSettings,
        *,
        node: Node,
        machine: Machine,
        client: KubeClient | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._meter = meter or NoMeter()
        self._reflector: Reflector | None = None
        self._recorder: EventRecorder | None = None
        self._queue: WorkQueue[str] = WorkQueue(
            name="node", clock=self._clock, random=self._random, meter=self._meter, settings=settings.queue
        )
        source, teller = self._surroundings(client)
        self._loop = NodeLoop(
            node,
            machine=machine,
            source=source,
            teller=teller,
            record=RecordFile(settings.state_dir / RECORD),
            run_dir=settings.run_dir,
            boot=BootKeeper(node, machine, journal=settings.state_dir),
            clock=self._clock,
            meter=self._meter,
            settings=settings.loop,
        )
        self._workers = Workers(
            self._queue, handle=self._handle, count=1, name="node", clock=self._clock, meter=self._meter
        )
        self._begun: float | None = None
        self._ended: float = self._clock.monotonic()
        self._done_once = threading.Event()
        self._started = False

    def _surroundings(self, client: KubeClient | None) -> tuple[Source, Teller]:
        settings = self._settings
        if settings.file is not None:
            return FileSource(settings.file), LogTeller()
        if client is None:
            raise NotConfigured("the daemon needs an API server, or a file that says what is wanted (--source file)")
        if settings.config_map:
            newest = self._watch(client, CONFIG_MAPS, settings.config_map)
            return ConfigMapSource(newest, node=settings.node_name), LogTeller()
        newest = self._watch(client, NODE_STATES, settings.node_name)
        self._recorder = EventRecorder(
            client,
            controller="virtfn.io/daemon",
            instance=settings.instance or settings.node_name,
            clock=self._clock,
            random=self._random,
            meter=self._meter,
        )
        applier = Applier(
            client,
            field_manager=FIELD_MANAGER,
            digest_annotation=APPLIED_ANNOTATION,
            random=self._random,
            meter=self._meter,
        )
        publisher = Publisher(applier, recorder=self._recorder, newest=newest, clock=self._clock)
        return NodeStateSource(publisher.newest), publisher

    def _watch(self, client: KubeClient, resource: Resource, name: str) -> Callable[[], Object | None]:
        """One object, as it was last seen."""
        store = Store()
        self._reflector = Reflector(
            client,
            resource=resource,
            store=store,
            clock=self._clock,
            random=self._random,
            handlers=[self._changed],
            namespace=self._settings.namespace,
            fields=f"metadata.name={name}",
            meter=self._meter,
            settings=self._settings.reflector,
        )
        key = f"{self._settings.namespace}/{name}"
        return lambda: store.get(key)

    # --- its life -----------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Work until the event is set, and come back when what is being done is done, or soon after."""
        self.start()
        stop.wait()
        self.stop()

    def start(self) -> None:
        """Begin, on threads of its own."""
        self._started = True
        if self._recorder is not None:
            self._recorder.start()
        if self._reflector is not None:
            self._reflector.start()
        self._workers.start()
        self._queue.add(self._settings.node_name)

    def stop(self, *, seconds: float = _STOP_SECONDS) -> bool:
        """End; whether all threads have ended in that time."""
        if not self._started:
            return True
        if self._reflector is not None:
            self._reflector.stop()
        ended = self._workers.stop(seconds=seconds, drain=False)
        if self._recorder is not None:
            ended = self._recorder.stop(seconds=2.0) and ended
        if self._reflector is not None:
            ended = self._reflector.join(seconds=2.0) and ended
        return ended

    def look_now(self) -> None:
        """Have the node looked at without waiting for the next time."""
        self._queue.add(self._settings.node_name)

    # --- health -------------------------------------------------------------------------------------------------------

    def live(self) -> Mapping[str, Callable[[], str]]:
        """What only a restart can mend."""
        return {"watch": self._watch_trouble, "loop": self._loop_trouble}

    def ready(self) -> Mapping[str, Callable[[], str]]:
        """What is there to do its work."""
        return {"first look": lambda: "" if self._done_once.is_set() else "the node was not looked at yet"}

    def _watch_trouble(self) -> str:
        if self._reflector is None or not self._started or not self._reflector.join(seconds=0):
            return ""
        return "the watch's thread is dead"

    def _loop_trouble(self) -> str:
        now, most = self._clock.monotonic(), self._settings.stuck_after
        begun = self._begun
        if begun is not None:
            return f"a turn goes on for {now - begun:.0f} s" if now - begun > most else ""
        most = max(most, 2 * self._settings.loop.period)
        return f"the last turn ended {now - self._ended:.0f} s ago" if now - self._ended > most else ""

    # --- its work -----------------------------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        """Something that is not our own report changed."""
        if change.old is None or change.new is None or _asked(change.old) != _asked(change.new):
            self._queue.add(self._settings.node_name)

    def _handle(self, _key: str) -> float:
        if self._reflector is not None and not self._reflector.has_synced:
            self._ended = self._clock.monotonic()
            return _UNSYNCED_SECONDS
        self._begun = self._clock.monotonic()
        try:
            turn = self._loop.turn()
        finally:
            self._begun, self._ended = None, self._clock.monotonic()
        if not self._done_once.is_set() or turn.outcome is not None:
            give_back()
        if turn.look is not None:
            self._done_once.set()
        return turn.again

    def once(self, *, seconds: float = 30.0) -> Turn:
        """Turns on this thread until there is nothing to do now; the last one.

        :param seconds: longest wait for the API server.
        :raises ClusterError: nothing could be told, or nothing was heard.
        """
        if self._reflector is not None:
            self._reflector.start()
            if not self._reflector.wait_synced(seconds=seconds):
                self._reflector.stop()
                raise NotConfigured(f"nothing was heard from the API server within {seconds:g} s")
        try:
            turn = self._loop.turn()
            while turn.again == 0.0:
                turn = self._loop.turn()
        finally:
            if self._reflector is not None:
                self._reflector.stop()
                self._reflector.join(seconds=2.0)
        return turn


def _asked(thing: Object) -> tuple[object, ...]:
    """What of an object may ask for something: not its status."""
    metadata = metadata_of(thing)
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
        thing.get("spec"),
        thing.get("data"),
    )
