"""Networks of the API to NetworkAttachmentDefinitions, and who owns which.

What a definition says, and whether one may be touched, `virtfn.policy.networks` decides. Here are the order of the
writes, so that a crash between any two of them leaves nothing behind, and what to look at again when something changes:

* the network's annotation names the namespace *before* a definition is made there. So the definition in the former
  namespace is found after any crash, also one that was taken over;
* the finalizer is there before a definition in another namespace is. In its own namespace the owner reference does
  that work, and nobody has to wait for this controller;
* a definition is replaced, and deleted, only as long as it is the one that was looked at.

Annotations, finalizer, conditions and their reasons are those of the existing operators.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from virtfn.cluster.kinds import ATTACHMENT_DEFINITIONS, IB_NETWORKS, NETWORKS, OVS_NETWORKS
from virtfn.controller.reporting import READY, report
from virtfn.controller.services import FIELD_MANAGER, Services, View
from virtfn.errors import ClusterError, NotFound, RequestError
from virtfn.kube.conditions import Condition, Status
from virtfn.kube.events import EventType
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import Json, Object, Resource, key_of, metadata_of, uid_of, version_of
from virtfn.kube.store import Change, ChangeKind
from virtfn.model.crd import GROUP, OVSNetwork, SriovIBNetwork, SriovNetwork
from virtfn.policy.networks import Action, Network, action_on, owner_of, reference, render_network
from virtfn.policy.reading import read_object

logger = logging.getLogger(__name__)

FINALIZER: Final = f"netattdef.finalizers.{GROUP}"
"""On a network whose definition is in another namespace: the definition has to go first."""
LAST_NAMESPACE_ANNOTATION: Final = f"operator.{GROUP}/last-network-namespace"
"""On a network: where its definition is, or was about to be made."""

KINDS: Final[Mapping[str, Resource]] = {
    "networks": NETWORKS,
    "ib_networks": IB_NETWORKS,
    "ovs_networks": OVS_NETWORKS,
}
"""The views of networks, and what is in each."""
_VIEWS: Final = {resource.kind: view for view, resource in KINDS.items()}

DEFINITIONS: Final = "attachment_definitions"
DEFINITIONS_RETRY: Final = 30.0
"""Seconds between two looks whether the cluster knows NetworkAttachmentDefinitions by now."""


class NetworkReconciler:
    """Keys are `<view>/<namespace>/<name>` of networks."""

    name = "networks"
    workers = 4
    needs = (*KINDS, "namespaces")
    # Not the definitions: where their kind is missing, every network has to say so.

    def __init__(self, services: Services, views: Mapping[str, View]) -> None:
        self._services = services
        self._views = views
        self.queue: WorkQueue[str] = WorkQueue(
            name=self.name, clock=services.clock, random=services.random, meter=services.meter
        )
        self._lock = threading.Lock()
        self._waiting: dict[str, set[str]] = {}
        """Networks that wait for a namespace, by its name."""

    # --- what to look at ----------------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Handler]:
        """See `Reconciler`."""
        return {
            **{view: self._network_handler(view) for view in KINDS},
            DEFINITIONS: self._definition_changed,
            "namespaces": self._namespace_changed,
        }

    def _network_handler(self, view: str) -> Handler:
        return lambda change: self.queue.add(f"{view}/{change.key}")

    def _definition_changed(self, change: Change) -> None:
        """Whose it is or was, and those who would like to have it: all networks of its name."""
        for definition in (change.old, change.new):
            if definition is not None and (key := _key_of_owner(owner_of(definition))):
                self.queue.add(key)
        namespace, _, name = change.key.rpartition("/")
        for view in KINDS:
            for where in {namespace, self._services.settings.namespace}:
                if f"{where}/{name}" in self._views[view].store:
                    self.queue.add(f"{view}/{where}/{name}")

    def _namespace_changed(self, change: Change) -> None:
        if change.kind is ChangeKind.ADDED:
            with self._lock:
                waiting = self._waiting.pop(change.key, set())
            for key in waiting:
                self.queue.add(key)

    # --- one network --------------------------------------------------------------------------------------------------

    def handle(self, key: str) -> float | None:
        """See `Reconciler`."""
        view, _, rest = key.partition("/")
        live = self._views[view].store.get(rest)
        resource = KINDS[view]
        if live is None:
            self._sweep(resource, rest)
            return None
        if metadata_of(live).get("deletionTimestamp"):
            self._let_go(resource, live)
            return None
        try:
            network = _read(resource, live)
            settings = self._services.settings
            rendered = render_network(
                network, resource_prefix=settings.resource_prefix, operator_namespace=settings.namespace
            )
        except RequestError as error:
            self._report(resource, live, reason="NetworkAttachmentDefinitionInvalid", message=str(error))
            return None
        return self._provide(key, resource, live, rendered)

    def _provide(self, key: str, resource: Resource, live: Object, rendered: Json) -> float | None:
        namespace = metadata_of(rendered)["namespace"]
        if missing := self._missing_namespace(namespace, key=key):
            self._report(resource, live, reason="NamespaceNotFound", message=missing)
            return None
        live = self._take_place(resource, live, namespace)
        if namespace == metadata_of(live)["namespace"]:
            rendered["metadata"]["ownerReferences"] = [_owner_reference(resource, live)]
        existing = self._definition(key_of(rendered))
        action = Action.REFUSE if existing and _controlled_elsewhere(existing) else action_on(existing, rendered)
        if action is Action.REFUSE:
            assert existing is not None
            self._report(
                resource,
                live,
                reason="NetworkAttachmentDefinitionInvalid",
                message=f"NetworkAttachmentDefinition '{key_of(rendered)}' already exists and is owned by"
                f" {owner_of(existing) or _controlled_elsewhere(existing)}",
            )
            return None
        try:
            if action is Action.CREATE:
                self._services.client.create(ATTACHMENT_DEFINITIONS, body=rendered, field_manager=FIELD_MANAGER)
                self._services.meter.count("writes", of=str(ATTACHMENT_DEFINITIONS))
            elif existing is not None:
                self._replace(existing, rendered)
        except ClusterError as error:
            if isinstance(error, NotFound) and not self._views[DEFINITIONS].reflector.has_synced:
                message = f"the cluster knows no NetworkAttachmentDefinitions ({error}; install Multus)"
                self._report(resource, live, reason="NetworkAttachmentDefinitionNotFound", message=message)
                return DEFINITIONS_RETRY
            if not error.retryable:
                self._report(resource, live, reason="NetworkAttachmentDefinitionInvalid", message=str(error))
            raise
        message = "NetworkAttachmentDefinition is provisioned and ready"
        self._report(resource, live, reason="NetworkReady", message=message, ready=True)
        return None

    def _missing_namespace(self, namespace: str, *, key: str) -> str:
        """Why there can be no definition in a namespace; then the network is looked at when it comes."""
        with self._lock:  # before the look, so that one that comes in between is not missed
            self._waiting.setdefault(namespace, set()).add(key)
        found = self._views["namespaces"].store.get(namespace)
        if found is None:
            return f'target namespace "{namespace}" does not exist'
        if metadata_of(found).get("deletionTimestamp"):
            return f'target namespace "{namespace}" is being deleted'
        with self._lock:
            self._waiting.get(namespace, set()).discard(key)
            if not self._waiting.get(namespace):
                self._waiting.pop(namespace, None)
        return ""

    def _take_place(self, resource: Resource, live: Object, namespace: str) -> Object:
        """Clear the former place, and note the new one, before anything is made there. The network as it is then."""
        metadata = metadata_of(live)
        last = (metadata.get("annotations") or {}).get(LAST_NAMESPACE_ANNOTATION, "")
        if last and last != namespace:
            self._remove(resource, live, last)
        wanted: Json = {}
        if last != namespace:
            wanted["annotations"] = {LAST_NAMESPACE_ANNOTATION: namespace}
        finalizers = list(metadata.get("finalizers") or ())
        needed = namespace != metadata["namespace"]
        if needed and FINALIZER not in finalizers:
            wanted["finalizers"] = [*finalizers, FINALIZER]
        elif not needed and FINALIZER in finalizers:
            wanted["finalizers"] = [word for word in finalizers if word != FINALIZER]
        if not wanted:
            return live
        return self._services.applier.patch(resource, live=live, wanted={"metadata": wanted}, guarded=True).thing

    def _definition(self, key: str) -> Object | None:
        view = self._views[DEFINITIONS]
        if view.reflector.has_synced:
            return view.store.get(key)
        namespace, _, name = key.rpartition("/")
        return self._services.client.find(ATTACHMENT_DEFINITIONS, name=name, namespace=namespace)

    def _replace(self, existing: Object, rendered: Json) -> None:
        """Make a definition what was rendered, all of it, if it is still the one that was seen."""
        metadata = metadata_of(existing)
        annotations = dict.fromkeys(metadata.get("annotations") or {}) | rendered["metadata"]["annotations"]
        wanted: Json = {"metadata": {"annotations": annotations}, "spec": rendered["spec"]}
        if references := rendered["metadata"].get("ownerReferences"):
            found = metadata.get("ownerReferences") or ()
            if references[0]["uid"] not in {reference.get("uid") for reference in found}:
                others = [reference for reference in found if not _is_network(reference)]
                wanted["metadata"]["ownerReferences"] = [*others, *references]
        self._services.applier.patch(
            ATTACHMENT_DEFINITIONS, live=existing, wanted=wanted, exact=("spec",), guarded=True
        )

    # --- the end ------------------------------------------------------------------------------------------------------

    def _let_go(self, resource: Resource, live: Object) -> None:
        """Delete what was made in another namespace, and let the network go."""
        metadata = metadata_of(live)
        finalizers = list(metadata.get("finalizers") or ())
        if FINALIZER not in finalizers:
            return
        named = (live.get("spec") or {}).get("networkNamespace") or metadata["namespace"]
        last = (metadata.get("annotations") or {}).get(LAST_NAMESPACE_ANNOTATION, "")
        for namespace in dict.fromkeys(filter(None, (last, named))):
            self._remove(resource, live, namespace)
        left = [word for word in finalizers if word != FINALIZER]
        # What is no longer there was let go by an earlier turn, which the store has not seen yet.
        with suppress(NotFound):
            self._services.applier.patch(resource, live=live, wanted={"metadata": {"finalizers": left}}, guarded=True)

    def _sweep(self, resource: Resource, key: str) -> None:
        """Delete what a network that is gone has left: its finalizer was taken away, or came as it was deleted.

        The API server does not look again for finalizers that come while it deletes. Where the network is gone in
        its own namespace the owner reference does the same. Only what this controller wrote: a copy that somebody made,
        or a backup that came back before its network, names the same owner.
        """
        namespace, _, name = key.rpartition("/")
        owner = reference(resource.kind, namespace=namespace, name=name)
        left = [
            metadata
            for each in self._views[DEFINITIONS].store.objects()
            if owner_of(each) == owner and (metadata := metadata_of(each))["namespace"] != namespace
        ]
        if not left or self._services.client.find(resource, name=name, namespace=namespace, metadata_only=True):
            return
        for metadata in left:
            # The view is without managed fields.
            found = self._services.client.find(
                ATTACHMENT_DEFINITIONS, name=metadata["name"], namespace=metadata["namespace"]
            )
            if found is not None and owner_of(found) == owner and _is_written_here(found):
                self._delete(found)

    def _remove(self, resource: Resource, live: Object, namespace: str) -> None:
        """Delete the network's definition in a namespace; one that is somebody else's, or nobody's, stays."""
        name = metadata_of(live)["name"]
        # Not from the store: it may not know yet of the one that was just made.
        existing = self._services.client.find(ATTACHMENT_DEFINITIONS, name=name, namespace=namespace)
        if existing is None:
            return
        if owner_of(existing) == reference(resource.kind, namespace=metadata_of(live)["namespace"], name=name):
            self._delete(existing)
            return
        owner = owner_of(existing) or "nobody"
        self._services.recorder.tell(
            {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata_of(live)},
            level=EventType.NORMAL,
            reason="NetworkAttachmentDefinitionKept",
            action="Delete",
            note=f"NetworkAttachmentDefinition '{namespace}/{name}' stays: it is owned by {owner}",
        )

    def _delete(self, definition: Object) -> None:
        """Delete a definition, if it is still the one that was looked at."""
        metadata = metadata_of(definition)
        self._services.client.delete(
            ATTACHMENT_DEFINITIONS,
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=uid_of(definition),
            resource_version=version_of(definition),
        )
        self._services.meter.count("deletes", of=str(ATTACHMENT_DEFINITIONS))

    def _report(self, resource: Resource, live: Object, *, reason: str, message: str, ready: bool = False) -> None:
        generation = int(metadata_of(live).get("generation") or 0)
        condition = Condition(READY, Status.of(ready), reason, message, generation)
        report(self._services, resource, live=live, conditions=[condition])


def _read(resource: Resource, live: Object) -> Network:
    network = read_object({**live, "apiVersion": resource.api_version, "kind": resource.kind})
    assert isinstance(network, SriovNetwork | SriovIBNetwork | OVSNetwork)
    return network


def _owner_reference(resource: Resource, live: Object) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": metadata_of(live)["name"],
        "uid": uid_of(live),
    }


def _is_written_here(definition: Object) -> bool:
    entries = metadata_of(definition).get("managedFields") or ()
    return any(entry.get("manager") == FIELD_MANAGER for entry in entries)


def _is_network(owner: Mapping[str, Any]) -> bool:
    return str(owner.get("apiVersion", "")).startswith(f"{GROUP}/") and owner.get("kind") in _VIEWS


def _controlled_elsewhere(existing: Object) -> str:
    """What made and keeps a definition, where that is no network of ours; empty if nothing does."""
    for owner in metadata_of(existing).get("ownerReferences") or ():
        if owner.get("controller") and not _is_network(owner):
            return f"{owner.get('kind')} {owner.get('name')}"
    return ""


def _key_of_owner(owner: str) -> str:
    """The key of the network that a definition names as its owner; empty for what names none."""
    kind, _, rest = owner.partition(f".{GROUP}/")
    return f"{_VIEWS[kind]}/{rest}" if kind in _VIEWS and rest else ""
