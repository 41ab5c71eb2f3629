"""What the controller sees of the cluster: one store for each kind, kept by one reflector.

All kinds are watched from the start, by a standby too, so that it can take over at once. A kind whose definition is not
installed holds up only those who need it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from virtfn.cluster import kinds
from virtfn.controller.services import View
from virtfn.controller.small import Shared, small_node, small_node_state, small_object
from virtfn.errors import NotFound
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock
from virtfn.kube.meter import Meter
from virtfn.kube.reflector import Handler, Reflector, ReflectorSettings, Transform
from virtfn.kube.resource import NAMESPACES, NODES, Resource
from virtfn.kube.store import Change, Store

logger = logging.getLogger(__name__)

HUNG_SECONDS: Final = 420.0
"""A reflector that did nothing for so long hangs: a watch may be silent for three minutes, and a pause takes 30 s."""

_SMALL_PAGE: Final = 100
"""Objects a page of the kinds that are large on the wire: a page is in memory whole before it is made small."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind is watched."""

    resource: Resource
    everywhere: bool = False
    """In all namespaces, and not in the controller's own only."""
    metadata_only: bool = False
    transform: Transform = small_object
    page_size: int = 500


def watched_kinds(shared: Shared) -> dict[str, Kind]:
    """All kinds that the controller watches, by the name of their view."""
    return {
        "policies": Kind(kinds.POLICIES),
        "node_states": Kind(
            kinds.NODE_STATES, transform=partial(small_node_state, shared=shared), page_size=_SMALL_PAGE
        ),
        "nodes": Kind(NODES, transform=small_node, page_size=_SMALL_PAGE),
        "pools": Kind(kinds.POOL_CONFIGS),
        "operator_configs": Kind(kinds.OPERATOR_CONFIGS),
        "networks": Kind(kinds.NETWORKS, everywhere=True),
        "ib_networks": Kind(kinds.IB_NETWORKS, everywhere=True),
        "ovs_networks": Kind(kinds.OVS_NETWORKS, everywhere=True),
        "attachment_definitions": Kind(kinds.ATTACHMENT_DEFINITIONS, everywhere=True),
        "namespaces": Kind(NAMESPACES, metadata_only=True),
        "daemon_sets": Kind(kinds.DAEMON_SETS),
    }


@dataclass(slots=True)
class _Hub:
    """Tells all who listen to one kind; they come after the reflector was made, and before it starts."""

    handlers: list[Handler] = field(default_factory=list)

    def __call__(self, change: Change) -> None:
        for handler in self.handlers:
            try:
                handler(change)
            except Exception:  # one reconciler's bug: the others must hear of it still
                logger.exception("%s: a handler failed; going on", change.key)


class Views(Mapping[str, View]):
    """The views by name.

    :param namespace: the controller's own.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        clock: Clock,
        random: Random,
        meter: Meter,
        watched: Mapping[str, Kind] | None = None,
    ) -> None:
        self._clock = clock
        self._views: dict[str, View] = {}
        self._hubs: dict[str, _Hub] = {}
        for name, kind in (watched if watched is not None else watched_kinds(Shared())).items():
            hub = self._hubs[name] = _Hub()
            store = Store()
            reflector = Reflector(
                client,
                resource=kind.resource,
                store=store,
                clock=clock,
                random=Random(random.getrandbits(64)),
                handlers=(hub,),
                namespace="" if kind.everywhere or not kind.resource.namespaced else namespace,
                metadata_only=kind.metadata_only,
                transform=kind.transform,
                meter=meter,
                settings=ReflectorSettings(page_size=kind.page_size),
            )
            self._views[name] = View(store, reflector)

    def __getitem__(self, name: str) -> View:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def listen(self, name: str, *, handler: Handler) -> None:
        """Call a handler for each change of a view; before `start` only."""
        self._hubs[name].handlers.append(handler)

    def start(self) -> None:
        """Begin to list and watch."""
        for view in self._views.values():
            view.reflector.start()

    def stop(self, *, seconds: float) -> bool:
        """End all watches; whether all have ended in that time."""
        for view in self._views.values():
            view.reflector.stop()
        end = self._clock.monotonic() + seconds
        ended = [view.reflector.join(seconds=max(end - self._clock.monotonic(), 0.0)) for view in self._views.values()]
        return all(ended)

    def unsynced(self) -> str:
        """What keeps the controller from being ready: views without their first list, and why, on one line.

        A kind that the server does not know is none of them.
        """
        missing = []
        for name, view in self._views.items():
            reflector = view.reflector
            if not reflector.has_synced and not isinstance(reflector.last_error, NotFound):
                missing.append(f"{name} ({reflector.last_error or 'not listed yet'})")
        return "; ".join(missing)

    def dead(self) -> str:
        """Views whose reflector is dead or hangs, which only a restart can mend; empty if there is none."""
        now = self._clock.monotonic()
        lines = []
        for name, view in self._views.items():
            reflector = view.reflector
            if not reflector.is_alive:
                lines.append(f"{name}: the watch has ended")
            elif now - reflector.last_active > HUNG_SECONDS:
                lines.append(f"{name}: the watch hangs since {now - reflector.last_active:.0f} s")
        return "; ".join(lines)
