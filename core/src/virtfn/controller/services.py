"""What every reconciler is given: the way to the API server, what is seen of it, and how it is set up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from virtfn.kube.apply import Applier
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock
from virtfn.kube.events import EventRecorder
from virtfn.kube.meter import Meter
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler, Reflector
from virtfn.kube.store import Store

FIELD_MANAGER = "virtfn-controller"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """How the controller is set up; the environment's variables are those of the existing operators."""

    namespace: str
    """`NAMESPACE`: where policies, node states and the rest of the API's objects count."""
    resource_prefix: str
    """`RESOURCE_PREFIX`: what stands before the `/` of the device plugin's resources."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """All variables, for images and switches of what is deployed."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """`VIRTFN_NODE_SELECTOR`: labels of the nodes that have a daemon, where the operator's configuration names none;
    empty: the usual ones (`membership.has_daemon`)."""
    use_external_drainer: bool = False
    """`USE_EXTERNAL_DRAINER`: somebody else drains; the controller only repeats what daemons need."""
    drain_deadline: float = 600.0
    """`VIRTFN_DRAIN_DEADLINE_SECONDS`: a drain that is not done by then is given up, and the node is uncordoned."""
    stale_state_minutes: float = 30.0
    """`STALE_NODE_STATE_CLEANUP_DELAY_MINUTES`: how long the node state of a node that is gone is kept."""


@dataclass(frozen=True, slots=True)
class Services:
    """Shared by all reconcilers, used from many threads."""

    client: KubeClient
    applier: Applier
    recorder: EventRecorder
    clock: Clock
    random: Random
    meter: Meter
    settings: ControllerSettings


@dataclass(frozen=True, slots=True)
class View:
    """One kind as the controller sees it. Objects of its store are shared: nobody changes them."""

    store: Store
    reflector: Reflector


class Reconciler(Protocol):
    """One part of the controller: keys that are to be looked at, and how.

    The app starts `workers` threads that take keys from `queue` and call `handle`, after every view in `needs` has its
    first list; and only while this process holds the lease. `handlers` are called by reflectors before that, too: they
    only add keys.
    """

    name: str
    workers: int
    queue: WorkQueue[str]

    @property
    def needs(self) -> Sequence[str]:
        """Names of the views that must be there before the first key is looked at."""
        ...

    def handlers(self) -> Mapping[str, Handler]:
        """What to call when an object of a view changes, by the view's name."""
        ...

    def handle(self, key: str) -> float | None:
        """Look at one key; seconds after which to look again, None for not before something changes.

        Raises `VirtfnError` when it could not be done: the key comes again, later and later.
        """
        ...
