"""Events: written once, counted after that, and never in the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from virtfn.kube.client import KubeClient
from virtfn.kube.events import LONGEST_NOTE, EventRecorder, EventSettings, EventType
from virtfn.kube.meter import Tally

PATH = "/apis/events.k8s.io/v1/namespaces/there/events"
THING = {
    "apiVersion": "example.org/v1",
    "kind": "Widget",
    "metadata": {"name": "a", "namespace": "there", "uid": "u", "resourceVersion": "5"},
}


@pytest.fixture
def recorder_of(client: KubeClient, clock: Any, random: Random, tally: Tally) -> Callable[..., EventRecorder]:
    def build(**settings: Any) -> EventRecorder:
        return EventRecorder(
            client, controller="example.org/controller", instance="pod-1", clock=clock, random=random, meter=tally,
            settings=EventSettings(**settings),
        )  # fmt: skip

    return build


@pytest.fixture
def recorder(recorder_of: Callable[..., EventRecorder]) -> EventRecorder:
    return recorder_of()


def tell(recorder: EventRecorder, *, note: str = "it happened", **more: Any) -> None:
    about = more.pop("about", THING)
    recorder.tell(about, level=EventType.NORMAL, reason="Happened", action="Wait", note=note, **more)


def flush(recorder: EventRecorder) -> None:
    while recorder.write_next():
        pass


def test_an_event_is_what_the_server_wants(server: Any, recorder: EventRecorder) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    tell(recorder, related=node)
    assert server.requests == [], "telling writes nothing"
    flush(recorder)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", PATH)
    body = request.body
    assert body["metadata"]["name"].startswith("a.")
    assert body["metadata"]["namespace"] == "there"
    assert {name: body[name] for name in body if name != "metadata"} == {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "eventTime": "2030-01-01T00:16:40.000000Z", "type": "Normal",
        "reason": "Happened", "action": "Wait", "note": "it happened", "reportingController": "example.org/controller",
        "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "example.org/v1", "kind": "Widget", "namespace": "there", "name": "a", "uid": "u",
            "resourceVersion": "5",
        },
        "related": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    }  # fmt: skip


def test_events_of_things_without_namespace_are_in_default(server: Any, recorder: EventRecorder) -> None:
    tell(recorder, about={"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    flush(recorder)
    assert server.requests[0].path == "/apis/events.k8s.io/v1/namespaces/default/events"


def test_repeats_are_a_series(server: Any, recorder: EventRecorder, clock: Any) -> None:
    tell(recorder)
    flush(recorder)
    clock.advance(1)
    tell(recorder)
    flush(recorder)
    made, repeat = server.requests
    assert (repeat.method, repeat.path) == ("PATCH", f"{PATH}/{made.body['metadata']['name']}")
    assert repeat.body == {"series": {"count": 2, "lastObservedTime": "2030-01-01T00:16:41.000000Z"}}
    for _ in range(100):
        clock.advance(0.5)
        tell(recorder)
    flush(recorder)
    assert len(server.requests) == 2, "counted here for a while"
    clock.advance(60)
    tell(recorder)
    flush(recorder)
    assert server.requests[2].body["series"]["count"] == 103


def test_repeats_before_the_first_was_written_are_in_it(server: Any, recorder: EventRecorder) -> None:
    for _ in range(3):
        tell(recorder)
    flush(recorder)
    assert [each.body.get("series", {}).get("count") for each in server.requests] == [3]


def test_after_a_long_silence_it_is_a_new_event(server: Any, recorder: EventRecorder, clock: Any) -> None:
    tell(recorder)
    flush(recorder)
    clock.advance(400)
    tell(recorder)
    flush(recorder)
    assert [each.method for each in server.requests] == ["POST", "POST"]
    names = {each.body["metadata"]["name"] for each in server.requests}
    assert len(names) == 2


def test_an_event_that_expired_on_the_server_is_made_anew(server: Any, recorder: EventRecorder) -> None:
    tell(recorder)
    flush(recorder)
    server.objects.clear()
    tell(recorder)
    flush(recorder)
    tell(recorder)
    flush(recorder)
    assert [each.method for each in server.requests] == ["POST", "PATCH", "POST"]


def test_one_object_cannot_flood(server: Any, recorder: EventRecorder, clock: Any, tally: Tally) -> None:
    other = {**THING, "metadata": {**THING["metadata"], "name": "b"}}  # type: ignore[dict-item]
    for n in range(100):
        tell(recorder, note=f"number {n}")
    tell(recorder, about=other)
    flush(recorder)
    assert len(server.requests) == 26
    assert tally.counted("events_dropped") == 75
    clock.advance(600)
    for n in range(100):
        tell(recorder, note=f"later {n}")
    flush(recorder)
    assert len(server.requests) == 28


def test_what_waits_is_bounded(recorder_of: Callable[..., EventRecorder], server: Any, tally: Tally) -> None:
    recorder = recorder_of(waiting=10, burst=1000)
    for n in range(50):
        tell(recorder, note=f"number {n}")
    flush(recorder)
    assert len(server.requests) == 10
    assert tally.counted("events_dropped", of="Happened") == 40


def test_what_is_remembered_is_bounded(recorder_of: Callable[..., EventRecorder], server: Any) -> None:
    recorder = recorder_of(remembered=5)
    for n in range(20):
        tell(recorder, about={**THING, "metadata": {"name": f"n{n}", "namespace": "there"}})
    flush(recorder)
    assert len(server.requests) == 5
    tell(recorder, about={**THING, "metadata": {"name": "n0", "namespace": "there"}})
    flush(recorder)
    assert len(server.asked("POST")) == 6


@pytest.mark.parametrize("code", [500, 429])
def test_a_server_that_fails_is_tried_a_few_times(
    kit: Any, server: Any, recorder: EventRecorder, clock: Any, tally: Tally, code: int
) -> None:
    server.answer("POST", PATH, kit.refused(code), kit.refused(code))
    tell(recorder)
    flush(recorder)
    assert len(server.requests) == 3
    assert all(2.0 <= wait <= 4.0 for wait in clock.waits)
    assert tally.counted("events_written") == 1
    server.answer("POST", PATH, *[kit.refused(code)] * 9)
    tell(recorder, note="another")
    flush(recorder)
    assert tally.counted("events_dropped") == 1


@pytest.mark.parametrize("code", [403, 422])
def test_a_server_that_does_not_want_it_is_asked_once(
    kit: Any, server: Any, recorder: EventRecorder, tally: Tally, code: int
) -> None:
    server.answer("POST", PATH, kit.refused(code))
    tell(recorder)
    flush(recorder)
    assert len(server.requests) == 1
    assert tally.counted("events_dropped") == 1
    tell(recorder)
    flush(recorder)
    assert [each.method for each in server.requests] == ["POST", "POST"], "nobody repeats what was never written"


def test_a_try_that_arrived_after_all_is_fine(kit: Any, server: Any, recorder: EventRecorder, tally: Tally) -> None:
    server.answer("POST", PATH, kit.refused(500), kit.refused(409, "AlreadyExists"))
    tell(recorder)
    flush(recorder)
    assert tally.counted("events_written") == 1


@pytest.mark.parametrize("about", [{}, {"kind": "x"}, {"apiVersion": "v1", "kind": "Node", "metadata": {}}, 3, None])
def test_telling_never_fails(recorder: EventRecorder, tally: Tally, about: Any, caplog: Any) -> None:
    tell(recorder, about=about)
    assert tally.counted("events_dropped") == 1
    assert "could not be made" in caplog.text


def test_long_notes_are_cut(server: Any, recorder: EventRecorder) -> None:
    tell(recorder, note="x" * 5000)
    tell(recorder, note="ü" * 513)
    flush(recorder)
    plain, accented = (each.body["note"] for each in server.requests)
    assert len(plain.encode()) == LONGEST_NOTE
    assert accented == "ü" * 510 + "..."


def test_older_servers_want_events_of_nodes_elsewhere(kit: Any, server: Any, recorder: EventRecorder) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    causes = [{"field": "involvedObject.namespace", "message": "does not match event.namespace"}]
    path = "/apis/events.k8s.io/v1/namespaces/{}/events"
    server.answer("POST", path.format("default"), kit.refused(422, "Invalid", details={"causes": causes}))
    tell(recorder, about=node)
    flush(recorder)
    tell(recorder, about=node)
    flush(recorder)
    assert [each.path.split("/")[5] for each in server.requests] == ["default", "kube-system", "kube-system"]


def test_what_waits_is_written_before_the_end(kit: Any, server: Any, recorder: EventRecorder) -> None:
    tell(recorder)
    tell(recorder, note="another")
    recorder.start()
    assert recorder.stop(seconds=kit.patience)
    assert len(server.requests) == 2


def test_telling_does_not_wait_for_the_server(kit: Any, server: Any, recorder: EventRecorder) -> None:
    hold = kit.Hold()
    server.answer("POST", PATH, kit.watched(hold, b"{}"))
    recorder.start()
    tell(recorder)
    assert hold.reached.wait(kit.patience)
    for n in range(5):
        tell(recorder, note=f"number {n}")
    assert len(server.requests) == 1
    hold.go.set()
    assert recorder.stop(seconds=kit.patience)
    assert len(server.requests) == 6


def test_many_may_tell(kit: Any, server: Any, recorder_of: Callable[..., EventRecorder], clock: Any) -> None:
    recorder = recorder_of()
    recorder.start()
    threads = [threading.Thread(target=lambda: [tell(recorder) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(kit.patience)
    clock.advance(61)
    tell(recorder)
    assert recorder.stop(seconds=kit.patience)
    assert len(server.asked("POST")) == 1
    last = server.asked("PATCH")[-1] if server.asked("PATCH") else server.asked("POST")[-1]
    assert last.body["series"]["count"] == 401
