"""Apply, patch, edit, many at once, and events, as a real API server keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import pytest
from kube.bed import faults
from kube.bed.proxy import Proxy

from virtfn.errors import Conflict, Unavailable
from virtfn.kube.apply import Applier, Outcome
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.conditions import Condition, Status, merge_conditions
from virtfn.kube.events import EventRecorder, EventSettings, EventType
from virtfn.kube.fanout import FanOut
from virtfn.kube.meter import Tally
from virtfn.kube.resource import CONFIG_MAPS, EVENTS, NODES, PODS, Json, Object, Resource, uid_of, version_of

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
CORE_EVENTS = Resource("", "v1", "events", "Event")


@pytest.fixture
def applier(kube: KubeClient, tally: Tally) -> Applier:
    return Applier(kube, field_manager="us", digest_annotation="example.org/applied", random=Random(), meter=tally)


@pytest.fixture
def events(kube: KubeClient, tally: Tally) -> EventRecorder:
    return EventRecorder(
        kube, controller="example.org/controller", instance="pod-1", clock=SystemClock(), random=Random(), meter=tally,
        settings=EventSettings(pause=0.05),
    )  # fmt: skip


def deployment(namespace: str, **container: object) -> Json:
    labels = {"app": "a"}
    pod = {"containers": [{"name": "c", "image": "example.org/i:1", **container}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "a", "namespace": namespace}, "spec": spec}


def test_an_object_full_of_defaults_is_written_once(kube: KubeClient, applier: Applier, namespace: str) -> None:
    made = applier.apply(DEPLOYMENTS, wanted=deployment(namespace), live=None)
    assert made.outcome is Outcome.WRITTEN
    live = kube.get(DEPLOYMENTS, name="a", namespace=namespace)
    assert live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert applier.apply(DEPLOYMENTS, wanted=deployment(namespace), live=live).outcome is Outcome.UNCHANGED
    changed = applier.apply(DEPLOYMENTS, wanted=deployment(namespace, args=["x"]), live=live)
    assert changed.thing["spec"]["template"]["spec"]["containers"][0]["args"] == ["x"]
    back = applier.apply(DEPLOYMENTS, wanted=deployment(namespace), live=changed.thing)
    assert back.outcome is Outcome.WRITTEN
    assert "args" not in back.thing["spec"]["template"]["spec"]["containers"][0], "what is no longer named is removed"


def test_what_others_set_is_left_and_what_is_ours_is_taken_back(
    kube: KubeClient, applier: Applier, namespace: str, config_map: Callable[..., Json]
) -> None:
    live = applier.apply(CONFIG_MAPS, wanted=config_map("a", ours="1", old="1"), live=None).thing
    kube.patch(CONFIG_MAPS, name="a", namespace=namespace, body={"data": {"ours": "theirs", "theirs": "1"}})
    live = kube.get(CONFIG_MAPS, name="a", namespace=namespace)
    written = applier.apply(CONFIG_MAPS, wanted=config_map("a", ours="1"), live=live)
    assert written.thing["data"] == {"ours": "1", "theirs": "1"}


def test_conditions_by_apply_leave_those_of_others(kube: KubeClient, applier: Applier, namespace: str) -> None:
    name = f"c-{namespace}"[:60].rstrip("-")
    kube.create(NODES, body={"metadata": {"name": name}})
    foreign = {"type": "Foreign", "status": "True", "reason": "X", "message": ""}
    kube.patch(NODES, name=name, body={"status": {"conditions": [foreign]}}, subresource="status")
    live = kube.get(NODES, name=name)
    wanted = [Condition("Ready", Status.TRUE, "AllGood", "fine")]
    ours = merge_conditions([], wanted=wanted, now=datetime.now(UTC)).conditions
    written = applier.apply_status(NODES, live=live, status={"conditions": list(ours)})
    assert {each["type"]: each["status"] for each in written.thing["status"]["conditions"]} == {
        "Foreign": "True", "Ready": "True",
    }  # fmt: skip
    kube.delete(NODES, name=name)


def test_the_smallest_patch_and_no_patch(
    kube: KubeClient, applier: Applier, namespace: str, config_map: Callable[..., Json]
) -> None:
    live = kube.create(CONFIG_MAPS, body=config_map("a", labels={"keep": "1", "drop": "1"}, x="1", y="1"))
    wanted = {"metadata": {"labels": {"drop": None, "new": "1"}}, "data": {"x": "2"}}
    written = applier.patch(CONFIG_MAPS, live=live, wanted=wanted, exact=("data",), guarded=True)
    assert written.thing["metadata"]["labels"] == {"keep": "1", "new": "1"}
    assert written.thing["data"] == {"x": "2"}
    again = applier.patch(CONFIG_MAPS, live=written.thing, wanted=wanted, exact=("data",))
    assert again.outcome is Outcome.UNCHANGED
    with pytest.raises(Conflict):
        applier.patch(CONFIG_MAPS, live=live, wanted={"data": {"x": "3"}}, guarded=True)


def test_an_object_that_was_replaced_is_not_patched_by_mistake(
    kube: KubeClient, applier: Applier, namespace: str, config_map: Callable[..., Json]
) -> None:
    live = kube.create(CONFIG_MAPS, body=config_map("a", x="1"))
    kube.delete(CONFIG_MAPS, name="a", namespace=namespace)
    other = kube.create(CONFIG_MAPS, body=config_map("a", x="1"))
    with pytest.raises(Conflict):
        applier.patch(CONFIG_MAPS, live=live, wanted={"data": {"x": "2"}})
    assert not applier.delete(CONFIG_MAPS, live=live)
    now = kube.get(CONFIG_MAPS, name="a", namespace=namespace)
    assert (uid_of(now), version_of(now)) == (uid_of(other), version_of(other))


def test_edits_from_everywhere_all_count(
    kube: KubeClient, applier: Applier, namespace: str, config_map: Callable[..., Json], tally: Tally
) -> None:
    live = kube.create(CONFIG_MAPS, body=config_map("a", n="0"))

    def add_one(thing: Object) -> Object:
        return {"data": {"n": str(int(thing["data"]["n"]) + 1)}}

    def edit(number: int) -> None:
        while True:
            try:
                applier.edit(CONFIG_MAPS, live=live, change=add_one)
                return
            except Conflict:
                continue

    assert FanOut(size=6).run(range(24), do=edit).done == 24
    assert kube.get(CONFIG_MAPS, name="a", namespace=namespace)["data"] == {"n": "24"}
    assert tally.counted("edit_conflicts") > 0


def test_many_at_once_and_each_on_its_own(
    through: KubeClient, kube: KubeClient, tls_proxy: Proxy, namespace: str, config_map: Callable[..., Json]
) -> None:
    names = [f"c{n}" for n in range(100)]
    made = FanOut(size=8).run(names, do=lambda name: through.create(CONFIG_MAPS, body=config_map(name)))
    assert (made.done, dict(made.errors)) == (100, {})
    assert tls_proxy.open_connections <= 8
    tls_proxy.on("PATCH", "/c7$", fault=faults.INTERNAL, times=None)

    def patch(name: str) -> None:
        through.patch(CONFIG_MAPS, name=name, namespace=namespace, body={"data": {"x": name}}, metadata_only=True)

    results = FanOut(size=8).run(names, do=patch)
    assert results.done == 99
    assert isinstance(results.errors["c7"], Unavailable)
    found = {each["metadata"]["name"]: each.get("data") for each in kube.list(CONFIG_MAPS, namespace=namespace)}
    assert all(found[name] == (None if name == "c7" else {"x": name}) for name in names)


# --- events -----------------------------------------------------------------------------------------------------------


def flush(recorder: EventRecorder) -> None:
    while recorder.write_next():
        pass


def test_events_are_taken_and_counted(
    kube: KubeClient, events: EventRecorder, namespace: str, config_map: Callable[..., Json], tally: Tally
) -> None:
    about = kube.create(CONFIG_MAPS, body=config_map("a"))
    for _ in range(3):
        events.tell(about, level=EventType.WARNING, reason="Broken", action="Configure", note="it is broken, ü")
        flush(events)
    events.tell(about, level=EventType.NORMAL, reason="Mended", action="Configure", note="x" * 3000)
    flush(events)
    assert tally.counted("events_dropped") == 0
    broken, mended = sorted(kube.list(EVENTS, namespace=namespace), key=lambda each: str(each["reason"]))
    assert broken["series"]["count"] == 2, "the third is counted here until the next flush"
    assert broken["regarding"]["uid"] == uid_of(about)
    assert broken["type"] == "Warning"
    assert len(mended["note"].encode()) == 1024
    fields = f"involvedObject.name=a,involvedObject.uid={uid_of(about)}"
    assert len(list(kube.list(CORE_EVENTS, namespace=namespace, fields=fields))) == 2, "as kubectl describe asks"


def test_events_about_nodes(kube: KubeClient, events: EventRecorder, namespace: str, tally: Tally) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace, "uid": namespace}}
    pod = {"apiVersion": "v1", "kind": PODS.kind, "metadata": {"name": "p", "namespace": namespace}}
    events.tell(node, level=EventType.NORMAL, reason="Drained", action="Drain", note="gone", related=pod)
    flush(events)
    assert tally.counted("events_written") == 1
    fields = f"involvedObject.name={namespace}"
    (found,) = kube.list(CORE_EVENTS, fields=fields)
    assert found["related"]["name"] == "p"


def test_events_of_a_server_that_fails_hold_up_nobody(
    through: KubeClient, tls_proxy: Proxy, config_map: Callable[..., Json], tally: Tally, patience: float
) -> None:
    recorder = EventRecorder(
        through, controller="example.org/controller", instance="pod-1", clock=SystemClock(), random=Random(),
        meter=tally, settings=EventSettings(pause=0.01, request_timeout=0.5),
    )  # fmt: skip
    about = through.create(CONFIG_MAPS, body=config_map("a"))
    tls_proxy.on("POST", "/events", fault=faults.Swallow(), times=3)
    recorder.start()
    told = threading.Event()

    def tell() -> None:
        for n in range(5):
            recorder.tell(about, level=EventType.NORMAL, reason="Happened", action="Wait", note=f"number {n}")
        told.set()

    threading.Thread(target=tell).start()
    assert told.wait(patience)
    tls_proxy.wait_for(6, "POST", "/events", timeout=patience)
    assert recorder.stop(seconds=patience)
    assert tally.counted("events_dropped") == 1
    assert tally.counted("events_written") == 4
