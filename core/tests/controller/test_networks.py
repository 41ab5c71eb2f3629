"""Networks and definitions with a cluster in memory: after a crash between any two writes, nothing is left behind.

What a real API server makes of it is in `tests/kube/networks`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from virtfn.cluster.kinds import ATTACHMENT_DEFINITIONS, IB_NETWORKS, NETWORKS, OVS_NETWORKS
from virtfn.controller.networks import FINALIZER, LAST_NAMESPACE_ANNOTATION, NetworkReconciler
from virtfn.controller.services import FIELD_MANAGER, ControllerSettings, Services, View
from virtfn.errors import AlreadyExists, Conflict, NotFound, VirtfnError
from virtfn.kube.apply import Applier
from virtfn.kube.client import KubeClient
from virtfn.kube.events import EventRecorder
from virtfn.kube.meter import Tally
from virtfn.kube.resource import NAMESPACES, Json, Resource
from virtfn.kube.store import Change, ChangeKind, Store
from virtfn.testing.merge_patch import merged

HERE, APPS, OTHER = "operator", "apps", "other"
VIEWS = {
    "networks": NETWORKS,
    "ib_networks": IB_NETWORKS,
    "ovs_networks": OVS_NETWORKS,
    "attachment_definitions": ATTACHMENT_DEFINITIONS,
    "namespaces": NAMESPACES,
}
OWNER = "sriovnetwork.openshift.io/owner-ref"


class Crash(BaseException):
    """The process ends, in the middle of what it does."""


class Clock:
    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        return event.is_set()


class Api:
    """Objects by path, with versions, preconditions and finalizers; it may end its client after so many writes."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.writes: list[str] = []
        self.last_write: int | None = None
        self.on_read: Callable[[str], None] = lambda path: None
        self.clock = Clock()
        self._numbers = count(1)

    def put(self, resource: Resource, name: str, *, namespace: str = "", **rest: Any) -> Json:
        """Somebody else makes an object."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
        return self._keep(resource.path(namespace=namespace, name=name), {"metadata": metadata, **rest})

    def request(self, method: str, *, path: str, body: Any = None, **_: Any) -> Any:
        if method == "GET":
            found = self._found(path)
            self.on_read(path)
            return self._reply(found)
        if self.last_write is not None and len(self.writes) >= self.last_write:
            raise Crash
        self.writes.append(f"{method} {path}")
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise AlreadyExists(path, status=409)
            return self._reply(self._keep(path, deepcopy(body)))
        live = self._found(path.removesuffix("/status"))
        if method == "DELETE":
            self._check(live, body.get("preconditions", {}))
            self.delete(path)
            return self._reply({})
        assert method == "PATCH"
        self._check(live, body.get("metadata", {}))
        made = self._keep(path.removesuffix("/status"), merged(live, body))
        if made["metadata"].get("deletionTimestamp") and not made["metadata"].get("finalizers"):
            del self.objects[path]
        return self._reply(made)

    def delete(self, path: str) -> None:
        """As the server does: with finalizers an object is only marked."""
        metadata = self.objects[path]["metadata"]
        if metadata.get("finalizers"):
            metadata["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        else:
            del self.objects[path]

    def definitions(self) -> set[str]:
        """Namespace and name of those that are there."""
        found = [each["metadata"] for path, each in self.objects.items() if ATTACHMENT_DEFINITIONS.plural in path]
        return {f"{metadata['namespace']}/{metadata['name']}" for metadata in found}

    def _found(self, path: str) -> Json:
        if path not in self.objects:
            raise NotFound(path, status=404)
        return deepcopy(self.objects[path])

    def _keep(self, path: str, thing: Json) -> Json:
        metadata = thing["metadata"]
        metadata.setdefault("uid", f"uid-{path}")
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(next(self._numbers))
        self.objects[path] = thing
        return deepcopy(thing)

    @staticmethod
    def _check(live: Json, wanted: Mapping[str, Any]) -> None:
        for field in ("uid", "resourceVersion"):
            if wanted.get(field) not in (None, live["metadata"][field]):
                raise Conflict(field, status=409)

    @staticmethod
    def _reply(body: Json) -> Any:
        return SimpleNamespace(json=lambda: body)


class Process:
    """One run of the reconciler, with views as fresh as a new process has them before each turn."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.views = {name: View(Store(), SimpleNamespace(has_synced=True)) for name in VIEWS}  # type: ignore[arg-type]
        client, random = KubeClient(api), Random(1)  # type: ignore[arg-type]
        tally, clock = Tally(), api.clock
        applier = Applier(
            client, field_manager=FIELD_MANAGER, digest_annotation="virtfn.io/applied", random=random, meter=tally
        )
        self.recorder = EventRecorder(client, controller="c", instance="i", clock=clock, random=random, meter=tally)
        settings = ControllerSettings(HERE, "example.com")
        services = Services(client, applier, self.recorder, clock, random, tally, settings)
        self.reconciler = NetworkReconciler(services, self.views)

    def look(self, *keys: str) -> None:
        """Turns for keys until none fails."""
        for _ in range(20):
            failed = False
            for key in keys:
                self._refresh()
                try:
                    self.reconciler.handle(key)
                except VirtfnError:
                    failed = True
            if not failed:
                return
        raise AssertionError("it never comes to rest")

    def _refresh(self) -> None:
        for name, resource in VIEWS.items():
            found = {}
            for path, thing in self._api.objects.items():
                if f"/{resource.plural}/" in path and path.split("/")[-2] == resource.plural:
                    metadata = thing["metadata"]
                    where = metadata.get("namespace", "")
                    found[f"{where}/{metadata['name']}" if where else metadata["name"]] = deepcopy(thing)
            self.views[name].store.replace(found)


KEY = f"networks/{HERE}/net"
PATH = NETWORKS.path(namespace=HERE, name="net")


@pytest.fixture
def api() -> Api:
    made = Api()
    for name in (HERE, APPS, OTHER):
        made.put(NAMESPACES, name)
    return made


def created(api: Api) -> None:
    api.put(NETWORKS, "net", namespace=HERE, spec={"resourceName": "nics", "networkNamespace": APPS})


def moved(api: Api) -> None:
    created(api)
    Process(api).look(KEY)
    api.objects[PATH]["spec"]["networkNamespace"] = OTHER


def moved_home(api: Api) -> None:
    created(api)
    Process(api).look(KEY)
    del api.objects[PATH]["spec"]["networkNamespace"]


def deleted(api: Api) -> None:
    created(api)
    Process(api).look(KEY)
    api.delete(PATH)


def moved_and_deleted(api: Api) -> None:
    moved(api)
    api.delete(PATH)


def taken_over_and_moved(api: Api) -> None:
    api.put(ATTACHMENT_DEFINITIONS, "net", namespace=APPS, spec={"config": "{}"})
    moved(api)


STORIES: dict[Callable[[Api], None], set[str]] = {
    created: {f"{APPS}/net"},
    moved: {f"{OTHER}/net"},
    moved_home: {f"{HERE}/net"},
    deleted: set(),
    moved_and_deleted: set(),
    taken_over_and_moved: {f"{OTHER}/net"},
}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_crash_between_any_two_writes_leaves_nothing_behind(story: Callable[[Api], None], api: Api) -> None:
    story(api)
    begin = deepcopy(api.objects)
    api.writes.clear()
    Process(api).look(KEY)
    end, steps = deepcopy(api.objects), len(api.writes)
    assert api.definitions() == STORIES[story]
    assert steps >= 2
    for limit in range(steps):
        api.objects, api.last_write = deepcopy(begin), limit
        api.writes.clear()
        with pytest.raises(Crash):
            Process(api).look(KEY)
        api.last_write = None
        Process(api).look(KEY)
        assert api.definitions() == STORIES[story], f"after {limit} of {steps} writes"
        assert _meaning(api.objects) == _meaning(end), f"after {limit} of {steps} writes"


def _meaning(objects: Mapping[str, Json]) -> dict[str, Any]:
    made = deepcopy(dict(objects))
    for thing in made.values():
        del thing["metadata"]["resourceVersion"]
    return made


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_there_is_never_a_definition_that_nothing_would_find_again(story: Callable[[Api], None], api: Api) -> None:
    """At each moment: a definition elsewhere has a network that names its namespace, and that waits for it."""
    story(api)
    begin = deepcopy(api.objects)
    api.writes.clear()
    Process(api).look(KEY)
    for limit in range(len(api.writes)):
        api.objects, api.last_write = deepcopy(begin), limit
        api.writes.clear()
        with pytest.raises(Crash):
            Process(api).look(KEY)
        for where in api.definitions():
            namespace = where.partition("/")[0]
            network = api.objects[PATH]
            metadata = network["metadata"]
            known = {metadata.get("annotations", {}).get(LAST_NAMESPACE_ANNOTATION)}
            assert namespace in known | {network["spec"].get("networkNamespace", HERE)}
            assert namespace == HERE or FINALIZER in metadata.get("finalizers", ())


def test_one_that_changed_meanwhile_is_looked_at_again(api: Api) -> None:
    created(api)
    Process(api).look(KEY)
    path = ATTACHMENT_DEFINITIONS.path(namespace=APPS, name="net")
    api.objects[path]["spec"]["config"] = "{}"
    process = Process(api)
    process._refresh()
    api._keep(path, merged(api.objects[path], {"metadata": {"annotations": {OWNER: "somebody else"}}}))
    with pytest.raises(Conflict):
        process.reconciler.handle(KEY)
    process.look(KEY)
    assert api.objects[path]["spec"]["config"] == "{}", "it is somebody else's now"
    assert api.objects[path]["metadata"]["annotations"][OWNER] == "somebody else"


def test_one_that_changed_hands_as_it_was_to_be_deleted_stays(api: Api) -> None:
    deleted(api)
    path = ATTACHMENT_DEFINITIONS.path(namespace=APPS, name="net")

    def change_hands(read: str) -> None:
        if read == path:
            api._keep(path, merged(api.objects[path], {"metadata": {"annotations": {OWNER: "somebody else"}}}))

    api.on_read = change_hands
    process = Process(api)
    process._refresh()
    with pytest.raises(Conflict):
        process.reconciler.handle(KEY)
    api.on_read = lambda read: None
    process.look(KEY)
    assert api.objects[path]["metadata"]["annotations"][OWNER] == "somebody else"
    assert PATH not in api.objects, "the network does not wait for it"


def test_one_that_came_meanwhile_is_looked_at_before_it_is_taken(api: Api) -> None:
    created(api)
    process = Process(api)
    process._refresh()
    theirs = {"annotations": {OWNER: "somebody else"}}
    api.put(ATTACHMENT_DEFINITIONS, "net", namespace=APPS, metadata=theirs, spec={"config": "{}"})
    with pytest.raises(AlreadyExists):
        process.reconciler.handle(KEY)
    process.look(KEY)
    (condition,) = api.objects[PATH]["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "NetworkAttachmentDefinitionInvalid")
    assert "owned by somebody else" in condition["message"]


def test_a_malformed_network_can_be_deleted(api: Api) -> None:
    created(api)
    Process(api).look(KEY)
    api.objects[PATH]["spec"] = {"resourceName": 7, "networkNamespace": APPS, "vlan": "x"}
    Process(api).look(KEY)
    (condition,) = api.objects[PATH]["status"]["conditions"]
    assert condition["reason"] == "NetworkAttachmentDefinitionInvalid"
    assert api.definitions() == {f"{APPS}/net"}, "what works is not taken away"
    api.delete(PATH)
    Process(api).look(KEY)
    assert PATH not in api.objects
    assert api.definitions() == set()


def test_a_namespace_that_comes_wakes_those_who_wait_and_nobody_else(api: Api) -> None:
    api.put(NETWORKS, "net", namespace=HERE, spec={"resourceName": "nics", "networkNamespace": "later"})
    process = Process(api)
    process.look(KEY)
    listen = process.reconciler.handlers()["namespaces"]
    queue = process.reconciler.queue
    listen(Change(ChangeKind.ADDED, "unrelated", None, {"metadata": {"name": "unrelated"}}))
    assert queue.get(seconds=0) is None
    listen(Change(ChangeKind.ADDED, "later", None, {"metadata": {"name": "later"}}))
    assert queue.get(seconds=0) == KEY


def test_a_definition_wakes_its_owner_and_all_that_would_have_its_name(api: Api) -> None:
    created(api)
    api.put(IB_NETWORKS, "net", namespace=APPS, spec={"resourceName": "nics"})
    process = Process(api)
    process._refresh()
    definition = {
        "metadata": {
            "name": "net",
            "namespace": APPS,
            "annotations": {OWNER: "OVSNetwork.sriovnetwork.openshift.io/far/away"},
        }
    }
    process.reconciler.handlers()["attachment_definitions"](Change(ChangeKind.DELETED, f"{APPS}/net", definition, None))
    queue = process.reconciler.queue
    keys = {queue.get(seconds=0) for _ in range(len(queue))}
    assert keys == {"ovs_networks/far/away", KEY, f"ib_networks/{APPS}/net"}
