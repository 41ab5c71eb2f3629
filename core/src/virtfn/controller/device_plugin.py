"""The stock device plugin on each node: whether it runs there, and its restart when its configuration has changed.

The plugin reads its configuration and its devices when it starts, and never again. The daemon writes the configuration
to the node and then publishes a revision; here the plugin's pod is deleted when the revision is another one than the
pod was started for, and its DaemonSet makes a new one. While a plugin is away the kubelet refuses pods that want its
resources for good, so it is restarted as seldom as can be: exactly once for each revision. Which pods have to go is
written down before the first one is deleted, so that a controller that is cut off does not begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from virtfn.cluster.kinds import NODE_STATES
from virtfn.controller.membership import annotations_of, labels_of
from virtfn.controller.services import Services, View
from virtfn.errors import Conflict
from virtfn.kube.clock import whole_time
from virtfn.kube.conditions import holds
from virtfn.kube.events import EventType
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import NODES, PODS, Json, Object, metadata_of, name_of, uid_of
from virtfn.kube.store import Change
from virtfn.model.handshake import (
    DEVICE_PLUGIN_LABEL,
    PLUGIN_RESTART_ANNOTATION,
    PLUGIN_REVISION_ANNOTATION,
)

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
POD_LABELS: Final = "app=sriov-device-plugin"
"""Of the device plugin's pods, as with the existing operators."""
POLL_SECONDS: Final = 2.0
RETURN_SECONDS: Final = 120.0
"""So long the new pod is waited for; then people are told, and the restart counts as done."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart that goes on."""

    revision: str
    since: datetime
    pods: tuple[str, ...]
    """UIDs of the pods that have to go."""

    @classmethod
    def parse(cls, text: str) -> Restart | None:
        """What the annotation says; None where there is none, or where somebody has edited it."""
        try:
            found = json.loads(text)
            since = datetime.fromisoformat(str(found["since"]).replace("Z", "+00:00"))
            pods = tuple(str(uid) for uid in found["pods"])
            return cls(str(found["revision"]), since if since.tzinfo else since.replace(tzinfo=UTC), pods)
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        """As it is kept."""
        made = {"revision": self.revision, "since": whole_time(self.since), "pods": list(self.pods)}
        return json.dumps(made, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What one node needs, by its node state."""

    label: str | None
    """Value of the node's label; None: it is left as it is."""
    revision: str = ""
    """That the plugin has to be started for; empty: nothing is known yet."""
    started: str = ""
    """That it was last started for."""
    restart: Restart | None = None

    @classmethod
    def of(cls, state: Object) -> Wish:
        """By status and annotations."""
        annotations = annotations_of(state)
        plugin = (state.get("status") or {}).get("devicePlugin")
        if not isinstance(plugin, Mapping):
            return cls(None)
        return cls(
            ENABLED if plugin.get("resources") else DISABLED,
            str(plugin.get("revision") or ""),
            annotations.get(PLUGIN_REVISION_ANNOTATION, ""),
            Restart.parse(annotations.get(PLUGIN_RESTART_ANNOTATION, "")),
        )

    @property
    def is_settled(self) -> bool:
        """Whether no restart is needed or goes on."""
        return not self.revision or (self.started == self.revision and self.restart is None)


def pods_to_go(pods: Sequence[Object]) -> tuple[str, ...]:
    """UIDs of pods of the plugin that were started before the revision was seen, and are not leaving already."""
    return tuple(uid_of(pod) for pod in pods if not metadata_of(pod).get("deletionTimestamp"))


def is_back(pods: Sequence[Object], *, but: Sequence[str]) -> bool:
    """Whether a new pod of the plugin is ready."""
    return any(uid_of(pod) not in but and holds(pod, name="Ready") for pod in pods)


class DevicePluginReconciler:
    """See `Reconciler`. Keys are names of nodes."""

    name = "device_plugin"
    workers = 4
    needs: Sequence[str] = ("nodes", "node_states")

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._services = services
        self._namespace = services.settings.namespace
        self._nodes = views["nodes"].store
        self._states = views["node_states"].store
        self.queue: WorkQueue[str] = WorkQueue(
            name=self.name, clock=services.clock, random=services.random, meter=services.meter
        )

    def handlers(self) -> Mapping[str, Handler]:
        return {"node_states": self._on_state, "nodes": self._on_node}

    def handle(self, key: str) -> float | None:
        node, state = self._nodes.get(key), self._states.get(f"{self._namespace}/{key}")
        if node is None or state is None:
            return None
        wish = Wish.of(state)
        if wish.label is not None:
            # Before the restart: where no plugin is wanted, its DaemonSet takes the pod away by itself.
            self._services.applier.patch(
                NODES,
                live=node,
                wanted={"metadata": {"labels": {DEVICE_PLUGIN_LABEL: wish.label}}},
                metadata_only=True,
            )
        if wish.is_settled:
            return None
        fresh = self._services.client.find(NODE_STATES, name=key, namespace=self._namespace)
        return self._restart(fresh) if fresh is not None else None

    def _on_state(self, change: Change) -> None:
        self.queue.add(name_of(change.thing))

    def _on_node(self, change: Change) -> None:
        before = labels_of(change.old).get(DEVICE_PLUGIN_LABEL) if change.old is not None else None
        after = labels_of(change.new).get(DEVICE_PLUGIN_LABEL) if change.new is not None else None
        if change.old is None or before != after:
            self.queue.add(change.key)

    def _restart(self, state: Object) -> float | None:
        wish, name = Wish.of(state), str(metadata_of(state)["name"])
        if wish.is_settled:
            return None
        pods = tuple(
            self._services.client.list(
                PODS, namespace=self._namespace, labels=POD_LABELS, fields=f"spec.nodeName={name}"
            )
        )
        restart = wish.restart
        if restart is None or restart.revision != wish.revision:
            restart = Restart(wish.revision, self._services.clock.now(), pods_to_go(pods))
            if not restart.pods or wish.label == DISABLED:
                # The next one to start reads what is there; and where none is wanted, its DaemonSet takes it away.
                self._settle(state, wish)
                return None
            state = self._annotate(state, {PLUGIN_RESTART_ANNOTATION: str(restart)}, guarded=True)
        old = [pod for pod in pods if uid_of(pod) in restart.pods]
        for pod in old:
            self._delete(pod)
        waited = (self._services.clock.now() - restart.since).total_seconds()
        if old:
            if waited >= RETURN_SECONDS:
                names = ", ".join(str(metadata_of(pod)["name"]) for pod in old)
                note = f"pod {names} of the device plugin does not end; look at the node's kubelet"
                self._tell(state, level=EventType.WARNING, reason="DevicePluginNotBack", note=note)
            return POLL_SECONDS
        if wish.label == ENABLED and not is_back(pods, but=restart.pods):
            if waited < RETURN_SECONDS:
                return POLL_SECONDS
            note = f"no pod with label {POD_LABELS} is ready on this node {waited:.0f} s after its restart"
            self._tell(state, level=EventType.WARNING, reason="DevicePluginNotBack", note=note)
        else:
            note = f"the device plugin was restarted for revision {restart.revision} of its configuration"
            self._tell(state, level=EventType.NORMAL, reason="DevicePluginRestarted", note=note)
        self._settle(state, wish)
        return None

    def _delete(self, pod: Object) -> None:
        metadata = metadata_of(pod)
        if metadata.get("deletionTimestamp"):
            return
        try:
            self._services.client.delete(PODS, name=str(metadata["name"]), namespace=self._namespace, uid=uid_of(pod))
        except Conflict:
            return  # another one has its name
        self._services.meter.count("device_plugin_restarts")

    def _settle(self, state: Object, wish: Wish) -> None:
        self._annotate(state, {PLUGIN_REVISION_ANNOTATION: wish.revision, PLUGIN_RESTART_ANNOTATION: None})

    def _annotate(self, state: Object, annotations: Mapping[str, str | None], *, guarded: bool = False) -> Object:
        written = self._services.applier.patch(
            NODE_STATES,
            live=state,
            wanted={"metadata": {"annotations": dict(annotations)}},
            guarded=guarded,
            metadata_only=True,
        )
        return {**state, "metadata": metadata_of(written.thing)}

    def _tell(self, state: Object, *, level: EventType, reason: str, note: str) -> None:
        about: Json = {**state, "apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind}
        self._services.recorder.tell(about, level=level, reason=reason, action="RestartDevicePlugin", note=note)
