"""Runs chosen reconcilers of the controller against an API server, without the app's lease and health server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import TypeVar

from virtfn.controller.services import FIELD_MANAGER, ControllerSettings, Reconciler, Services, View
from virtfn.controller.views import Views
from virtfn.kube.apply import Applier
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.events import EventRecorder, EventSettings
from virtfn.kube.meter import Tally
from virtfn.kube.queue import Workers
from virtfn.model.handshake import APPLIED_ANNOTATION

PATIENCE = 60.0
T = TypeVar("T")
Make = Callable[[Services, Mapping[str, View]], Reconciler]


def eventually(ask: Callable[[], T], *, seconds: float = PATIENCE) -> T:
    """What `ask` gives once that is true; errors of assertions count as not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            if answer := ask():
                return answer
            said: object = answer
        except AssertionError as error:
            if time.monotonic() > end:
                raise
            said = error
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {said!r}"
        time.sleep(0.05)


@dataclass
class Reconciling:
    """Reconcilers with views and workers of their own, for as long as a `with` block."""

    client: KubeClient
    make: Sequence[Make]
    settings: ControllerSettings
    tally: Tally = field(default_factory=Tally)

    def __enter__(self) -> Reconciling:
        clock, random = SystemClock(), Random()
        applier = Applier(
            self.client,
            field_manager=FIELD_MANAGER,
            digest_annotation=APPLIED_ANNOTATION,
            random=random,
            meter=self.tally,
        )
        recorder = EventRecorder(
            self.client,
            controller="virtfn.io/controller",
            instance="test",
            clock=clock,
            random=random,
            meter=self.tally,
            settings=EventSettings(pause=0.05),
        )
        services = Services(self.client, applier, recorder, clock, random, self.tally, self.settings)
        self.views = Views(self.client, namespace=self.settings.namespace, clock=clock, random=random, meter=self.tally)
        self.reconcilers = [make(services, self.views) for make in self.make]
        for reconciler in self.reconcilers:
            for view, handler in reconciler.handlers().items():
                self.views.listen(view, handler=handler)
        self._recorder = recorder
        recorder.start()
        self.views.start()
        for reconciler in self.reconcilers:
            for name in reconciler.needs:
                assert self.views[name].reflector.wait_synced(seconds=PATIENCE), name
        self._workers = [
            Workers(each.queue, handle=each.handle, count=each.workers, name=each.name, clock=clock, meter=self.tally)
            for each in self.reconcilers
        ]
        for workers in self._workers:
            workers.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for workers in self._workers:
            assert workers.stop(seconds=PATIENCE, drain=False)
        self._recorder.stop(seconds=5)
        self.views.stop(seconds=PATIENCE)

    def is_idle(self) -> bool:
        """Whether nothing is in line; what is worked on now is not seen."""
        return not any(len(each.queue) for each in self.reconcilers)

    def writes(self) -> int:
        """Objects written and deleted so far, without events."""
        return self.tally.counted("writes") + self.tally.counted("deletes")
