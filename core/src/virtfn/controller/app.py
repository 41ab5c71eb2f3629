"""Puts the controller together and runs it: views, lease, reconcilers, health.

A standby watches everything and does nothing. Whoever holds the lease starts its workers; whoever loses it stops, and
every write asks once more just before it is sent, so that a turn which was begun in time writes nothing too late.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from virtfn.cluster.health import HealthServer
from virtfn.cluster.metrics import PrometheusMeter
from virtfn.controller.device_plugin import DevicePluginReconciler
from virtfn.controller.drain import DrainReconciler
from virtfn.controller.networks import NetworkReconciler
from virtfn.controller.node_states import NodeStateReconciler
from virtfn.controller.operator_config import OperatorConfigReconciler
from virtfn.controller.policy_status import PolicyStatusReconciler
from virtfn.controller.pools import PoolReconciler
from virtfn.controller.services import FIELD_MANAGER, ControllerSettings, Reconciler, Services, View
from virtfn.controller.views import Views
from virtfn.errors import LeaseLost
from virtfn.kube.apply import Applier
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock, SystemClock
from virtfn.kube.events import EventRecorder
from virtfn.kube.leader import LeaderElector, LeaseSettings
from virtfn.kube.meter import Meter, NoMeter
from virtfn.kube.queue import Workers
from virtfn.model.handshake import APPLIED_ANNOTATION

logger = logging.getLogger(__name__)

LEASE_NAME: Final = "virtfn-controller"
CONTROLLER_NAME: Final = "virtfn.io/controller"
_STOP_SECONDS: Final = 15.0
"""How long turns that go on may take to end, when the process is asked to."""
_REST_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.1
_LOOK_SELDOM_SECONDS: Final = 1.0

MakeReconcilers = Callable[[Services, Mapping[str, View]], Sequence[Reconciler]]


def reconcilers(services: Services, views: Mapping[str, View]) -> Sequence[Reconciler]:
    """All parts of the controller."""
    return (
        NodeStateReconciler(services, views),
        PolicyStatusReconciler(services, views),
        PoolReconciler(services, views),
        DrainReconciler(services, views),
        DevicePluginReconciler(services, views),
        NetworkReconciler(services, views),
        OperatorConfigReconciler(services, views),
    )


@dataclass(frozen=True, slots=True)
class AppSettings:
    """How the process runs, beside what it is for."""

    identity: str
    """Unique among all that want the lease."""
    elect: bool = True
    """Whether a lease is needed; without one there must be no second process."""
    lease: LeaseSettings | None = None
    """Its times; None for the usual ones."""
    health_address: str = ""
    health_port: int | None = None
    """Where health and metrics are served; None: nowhere, 0: any port that is free."""


class App:
    """One controller, to be run once.

    :param client: as whom it acts.
    :param settings: what it is for.
    :param run_as: how the process runs.
    :param make: which reconcilers; all of them by default.
    :raises OSError: the port for health is taken.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        settings: ControllerSettings,
        run_as: AppSettings,
        clock: Clock | None = None,
        random: Random | None = None,
        meter: Meter | None = None,
        make: MakeReconcilers = reconcilers,
    ) -> None:
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._prometheus = PrometheusMeter() if run_as.health_port is not None and meter is None else None
        self._meter: Meter = meter or self._prometheus or NoMeter()
        self._ended = threading.Event()
        self._closing = threading.Event()
        self._leads = threading.Event()
        self._lost: LeaseLost | None = None
        guarded = client.guarded(self._before_write)
        self._recorder = EventRecorder(
            client,  # what happened may still be told when nothing may be changed any more
            controller=CONTROLLER_NAME,
            instance=run_as.identity,
            clock=self._clock,
            random=self._random,
            meter=self._meter,
        )
        self.views = Views(
            client, namespace=settings.namespace, clock=self._clock, random=self._random, meter=self._meter
        )
        self.services = Services(
            client=guarded,
            applier=Applier(
                guarded,
                field_manager=FIELD_MANAGER,
                digest_annotation=APPLIED_ANNOTATION,
                random=self._random,
                meter=self._meter,
            ),
            recorder=self._recorder,
            clock=self._clock,
            random=self._random,
            meter=self._meter,
            settings=settings,
        )
        self._elector = self._make_elector(client, settings=settings, run_as=run_as) if run_as.elect else None
        self._waiting = list(make(self.services, self.views))
        for reconciler in self._waiting:
            for name, handler in reconciler.handlers().items():
                self.views.listen(name, handler=handler)
        self._working: dict[str, Workers[str]] = {}
        self._health = (
            HealthServer(
                address=run_as.health_address,
                port=run_as.health_port,
                live={"views": self.views.dead, "workers": self._dead_workers, "lease": self._dead_elector},
                ready={"views": self.views.unsynced},
                metrics=self._prometheus.text if self._prometheus is not None else bytes,
            )
            if run_as.health_port is not None
            else None
        )

    @property
    def is_leader(self) -> bool:
        """Whether it may write now."""
        return not self._closing.is_set() and (self._elector is None or self._elector.is_leader)

    @property
    def health_port(self) -> int | None:
        """Where health and metrics are served."""
        return self._health.port if self._health is not None else None

    def run(self, stop: threading.Event) -> None:
        """Run until the event is set.

        :raises LeaseLost: another process may lead now; everything has stopped, and this process should end.
        """
        self._recorder.start()
        self.views.start()
        if self._elector is not None:
            self._elector.start()
        else:
            self._on_started()
        if self._health is not None:  # now, as it would tell of threads that have not begun
            self._health.start()
        try:
            self._work(stop)
        finally:
            self._stop_all()
        if self._lost is not None:
            raise self._lost

    # --- while it runs ------------------------------------------------------------------------------------------------

    def _work(self, stop: threading.Event) -> None:
        """Start each reconciler when it is its turn, and wait for the end."""
        waker = threading.Thread(target=self._end_with, args=(stop,), name="stop", daemon=True)
        waker.start()
        while not self._ended.is_set():
            if self._leads.is_set():
                self._start_ready()
            seldom = self._leads.is_set() and bool(self._working)
            self._clock.wait(self._ended, seconds=_LOOK_SELDOM_SECONDS if seldom else _LOOK_SECONDS)

    def _end_with(self, stop: threading.Event) -> None:
        while not self._ended.is_set():
            if stop.wait(_LOOK_SELDOM_SECONDS):
                self._ended.set()

    def _start_ready(self) -> None:
        for reconciler in list(self._waiting):
            if not all(self.views[name].reflector.has_synced for name in reconciler.needs):
                continue
            self._waiting.remove(reconciler)
            workers = Workers(
                reconciler.queue,
                handle=self._guarded(reconciler.handle),
                count=reconciler.workers,
                name=reconciler.name,
                clock=self._clock,
                meter=self._meter,
            )
            workers.start()
            self._working = {**self._working, reconciler.name: workers}  # the health server reads it meanwhile
            logger.info("%s: started", reconciler.name)

    def _stop_all(self) -> None:
        self._ended.set()
        end = self._clock.monotonic() + _STOP_SECONDS
        for reconciler in self._waiting:
            reconciler.queue.shut_down(drain=False)
        for workers in self._working.values():
            workers.stop(seconds=0, drain=False)
        for name, workers in self._working.items():
            if not workers.stop(seconds=max(end - self._clock.monotonic(), 0.0), drain=False):
                logger.warning("%s: still in the middle of something; it writes nothing any more", name)
        # The lease is given back when nothing can be written any more, whoever is still in the middle of something.
        self._closing.set()
        if self._elector is not None:
            self._elector.stop(seconds=_REST_SECONDS)
        self._meter.level("leading", 0)
        self.views.stop(seconds=_REST_SECONDS)
        self._recorder.stop(seconds=_REST_SECONDS)
        if self._health is not None:
            self._health.stop()

    # --- the lease ----------------------------------------------------------------------------------------------------

    def _make_elector(self, client: KubeClient, *, settings: ControllerSettings, run_as: AppSettings) -> LeaderElector:
        return LeaderElector(
            client,
            name=LEASE_NAME,
            namespace=settings.namespace,
            identity=run_as.identity,
            on_started=self._on_started,
            on_lost=self._on_lost,
            clock=self._clock,
            random=Random(self._random.getrandbits(64)),
            meter=self._meter,
            settings=run_as.lease,
        )

    def _on_started(self) -> None:
        self._meter.level("leading", 1)
        self._leads.set()

    def _on_lost(self, error: LeaseLost) -> None:
        self._lost = error
        self._closing.set()
        self._ended.set()

    def _guarded(self, handle: Callable[[str], float | None]) -> Callable[[str], float | None]:
        """No turn begins without the lease, not even in the moment before the queues are shut."""

        def turn(key: str) -> float | None:
            self._before_write()
            return handle(key)

        return turn

    def _before_write(self) -> None:
        if not self.is_leader:
            raise LeaseLost("nothing is done: this process does not hold the lease (any more)")

    # --- health -------------------------------------------------------------------------------------------------------

    def _dead_workers(self) -> str:
        return "; ".join(f"{name}: a worker is dead" for name, each in self._working.items() if not each.is_alive)

    def _dead_elector(self) -> str:
        if self._elector is None or self._ended.is_set() or self._elector.is_alive:
            return ""
        return "the elector's thread is dead"
