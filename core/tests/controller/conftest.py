"""A cluster in memory: objects, the views of them, and the turns of a reconciler, one after the other.

What reconcilers send goes through the real client and applier; only the transport is a fake, which keeps objects as an
API server would (versions, generations, preconditions) and tells the views of every change at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest

from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS, POLICIES, POOL_CONFIGS
from virtfn.controller.services import FIELD_MANAGER, ControllerSettings, Services, View
from virtfn.controller.small import Shared
from virtfn.controller.views import watched_kinds
from virtfn.errors import AlreadyExists, Conflict, NotFound, VirtfnError
from virtfn.kube.apply import Applier
from virtfn.kube.client import KubeClient
from virtfn.kube.events import EventRecorder
from virtfn.kube.meter import Tally
from virtfn.kube.resource import NODES, Json, Resource
from virtfn.kube.store import Change, ChangeKind, Store
from virtfn.testing.merge_patch import merged

NAMESPACE = "virtfn"


class FakeClock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        self.time += seconds
        return event.is_set()


class Reply:
    def __init__(self, body: Json) -> None:
        self._body = body

    def json(self) -> Json:
        return self._body


class Cluster:
    """See the module."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.objects: dict[str, Json] = {}
        self.writes: list[tuple[str, str, Any]] = []
        self.refuse: dict[str, VirtfnError] = {}
        """Errors for the next write of a path."""
        self.kinds = watched_kinds(Shared())
        self.views = {name: View(Store(), None) for name in self.kinds}  # type: ignore[arg-type]
        self.handlers: list[Mapping[str, Any]] = []
        self.tally = Tally()
        self.is_slow = False
        """Set it to keep all changes from the views, until `deliver`."""
        self._held: list[tuple[Resource, str, Json | None]] = []
        self._numbers = count(1)
        client = KubeClient(self)  # type: ignore[arg-type]
        random = Random(3)
        self.recorder = EventRecorder(
            client, controller="virtfn.io/controller", instance="me", clock=self.clock, random=random, meter=self.tally
        )
        self.services = Services(
            client=client,
            applier=Applier(
                client, field_manager=FIELD_MANAGER, digest_annotation="virtfn.io/applied", random=random,
                meter=self.tally,
            ),
            recorder=self.recorder,
            clock=self.clock,
            random=random,
            meter=self.tally,
            settings=ControllerSettings(NAMESPACE, "example.org", **settings),
        )  # fmt: skip

    # --- what a test does ---------------------------------------------------------------------------------------------

    def put(self, resource: Resource, name: str, *, namespace: str = NAMESPACE, **rest: Any) -> Json:
        """Somebody else makes or replaces an object."""
        namespace = namespace if resource.namespaced else ""
        path = resource.path(namespace=namespace, name=name)
        old = self.objects.get(path, {})
        metadata = {**old.get("metadata", {}), "name": name, **rest.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        return self._keep(resource, path, {**old, "metadata": metadata, **rest})

    def take(self, resource: Resource, name: str) -> None:
        """Somebody else deletes an object."""
        path = resource.path(namespace=NAMESPACE if resource.namespaced else "", name=name)
        del self.objects[path]
        self._tell(resource, path.rpartition("/")[2], None)

    def get(self, resource: Resource, name: str) -> Json | None:
        """What is there now."""
        return self.objects.get(resource.path(namespace=NAMESPACE if resource.namespaced else "", name=name))

    def node(self, name: str, **labels: str) -> Json:
        """A worker."""
        found = {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": "", **labels}
        return self.put(NODES, name, metadata={"labels": found})

    def policy(self, name: str, **spec: Any) -> Json:
        """A policy that selects by vendor, if nothing else is said."""
        whole = {"resourceName": name, "nodeSelector": {}, "numVfs": 4, "nicSelector": {"vendor": "15b3"}, **spec}
        return self.put(POLICIES, name, spec=whole)

    def pool(self, name: str, **spec: Any) -> Json:
        return self.put(POOL_CONFIGS, name, spec=spec)

    def config(self, **spec: Any) -> Json:
        """The operator's configuration."""
        return self.put(OPERATOR_CONFIGS, "default", spec=spec)

    def report(self, name: str, *interfaces: Json, **status: Any) -> Json:
        """A node's daemon reports."""
        state = self.get(NODE_STATES, name)
        assert state is not None
        whole = {"syncStatus": "Succeeded", **status, "interfaces": list(interfaces)}
        return self.put(NODE_STATES, name, status=whole)

    def run(self, *reconcilers: Any, seconds: float = 60.0) -> list[VirtfnError]:
        """Take turns until nothing is in line for so long; what turns raised."""
        errors = []
        end = self.clock.time + seconds
        while self.clock.time < end:
            worked = False
            for reconciler in reconcilers:
                while (key := reconciler.queue.get(seconds=0)) is not None:
                    worked = True
                    try:
                        again = reconciler.handle(key)
                    except VirtfnError as error:
                        errors.append(error)
                        reconciler.queue.add_failed(key)
                    else:
                        reconciler.queue.forget(key)
                        if again is not None:
                            reconciler.queue.add_after(key, seconds=again)
                    finally:
                        reconciler.queue.done(key)
            if not worked:
                self.clock.time += 0.25
        return errors

    def listen(self, reconciler: Any) -> Any:
        """Tell a reconciler of every change, and of what is there."""
        self.handlers.append(reconciler.handlers())
        for name, handler in reconciler.handlers().items():
            for thing in self.views[name].store.objects():
                metadata = thing["metadata"]
                key = f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
                handler(Change(ChangeKind.ADDED, key, None, thing))
        return reconciler

    # --- the transport ------------------------------------------------------------------------------------------------

    def request(self, method: str, *, path: str, body: Any = None, content_type: str = "", **_: Any) -> Reply:
        if method == "GET":
            return Reply(self._found(path))
        self.writes.append((method, path, body))
        if error := self.refuse.pop(path, None):
            raise error
        subresource = path.endswith("/status")
        path = path.removesuffix("/status")
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise AlreadyExists(f"{path} is there", status=409)
            return Reply(self._keep(self._resource(path), path, body))
        if method == "DELETE":
            uid = (body or {}).get("preconditions", {}).get("uid")
            if uid not in (None, self._found(path)["metadata"]["uid"]):
                raise Conflict(f"{path} is another one", status=409)
            del self.objects[path]
            self._tell(self._resource(path), path.rpartition("/")[2], None)
            return Reply({})
        assert method == "PATCH"
        if path not in self.objects and "apply" in content_type:
            return Reply(self._keep(self._resource(path), path, body))
        live = self._found(path)
        for field in ("uid", "resourceVersion"):
            if body.get("metadata", {}).get(field) not in (None, live["metadata"][field]):
                raise Conflict(f"{path}: another {field}", status=409)
        part = {name: value for name, value in body.items() if (name == "status") == subresource or name == "metadata"}
        return Reply(self._keep(self._resource(path), path, merged(live, part)))

    def _found(self, path: str) -> Json:
        if path not in self.objects:
            raise NotFound(f"{path} is not there", status=404)
        return self.objects[path]

    def _resource(self, path: str) -> Resource:
        plural = path.split("/")[-2]
        return next(kind.resource for kind in self.kinds.values() if kind.resource.plural == plural)

    def _keep(self, resource: Resource, path: str, thing: Json) -> Json:
        old = self.objects.get(path, {})
        number = next(self._numbers)
        before = old.get("metadata", {})
        generation = before.get("generation", 0)
        if not old or old.get("spec") != thing.get("spec"):
            generation += 1
        metadata = {
            **thing["metadata"],
            "uid": before.get("uid", f"uid-{number}"),
            "resourceVersion": str(number),
            "generation": generation,
        }
        self.objects[path] = {**thing, "metadata": metadata}
        self._tell(resource, path.rpartition("/")[2], self.objects[path])
        return self.objects[path]

    def deliver(self) -> None:
        """The views see what was kept from them."""
        self.is_slow = False
        held, self._held = self._held, []
        for resource, name, thing in held:
            self._tell(resource, name, thing)

    def _tell(self, resource: Resource, name: str, thing: Json | None) -> None:
        if self.is_slow:
            self._held.append((resource, name, thing))
            return
        for view, kind in self.kinds.items():
            if kind.resource != resource:
                continue
            key = f"{NAMESPACE}/{name}" if resource.namespaced else name
            store = self.views[view].store
            changes = store.remove(key) if thing is None else store.put(key, thing=kind.transform(deepcopy(thing)))
            for change in changes:
                for handlers in self.handlers:
                    if view in handlers:
                        handlers[view](change)


def nic(name: str = "ens1f0", *, address: str = "0000:3b:00.0", **rest: Any) -> Json:
    """A PF as a daemon reports it."""
    return {"pciAddress": address, "name": name, "vendor": "15b3", "deviceID": "101d", "totalvfs": 8, **rest}


class Kit:
    """What tests build with, as this file cannot be imported."""

    Cluster = Cluster
    nic = staticmethod(nic)
    namespace = NAMESPACE


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()
