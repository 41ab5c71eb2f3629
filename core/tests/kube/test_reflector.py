"""The reflector's laws: what it asks, what it keeps, and that nothing it receives ends it.

`run` is called on the test's own thread; the fake clock ends it after a given number of rests.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from virtfn.errors import NotFound
from virtfn.kube.client import KubeClient
from virtfn.kube.reflector import Reflector, ReflectorSettings, without_managed_fields
from virtfn.kube.store import Change, ChangeKind, Store

ALL = "/apis/example.org/v1/widgets"


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def changes() -> list[Change]:
    return []


@pytest.fixture
def reflect(
    kit: Any, client: KubeClient, store: Store, clock: Any, random: Any, tally: Any, changes: list[Change]
) -> Callable[..., Reflector]:
    """Make a reflector that stops after `rests` of them, and run it."""

    def build(*, rests: int = 1, run: bool = True, **more: Any) -> Reflector:
        more.setdefault("handlers", [changes.append])
        reflector = Reflector(
            client, resource=kit.widgets, store=store, clock=clock, random=random, meter=tally, **more
        )
        start = len(clock.waits)
        clock.on_wait = lambda seconds: reflector.stop() if len(clock.waits) - start >= rests else None
        if run:
            reflector.run()
        return reflector

    return build


def told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.kind.value, change.key) for change in changes]


def watches(server: Any) -> list[str]:
    """The resource version of each watch."""
    return [each.query["resourceVersion"] for each in server.asked("GET", ALL) if "watch" in each.query]


def lists(server: Any) -> list[dict[str, str]]:
    return [each.query for each in server.asked("GET", ALL) if "watch" not in each.query]


# --- list -------------------------------------------------------------------------------------------------------------


def test_it_lists_in_pages_and_watches_from_the_lists_version(
    kit: Any, server: Any, reflect: Any, store: Store, changes: Any
) -> None:
    server.answer(
        "GET", ALL, kit.listed(kit.widget("a"), version="50", more="x"), kit.listed(kit.widget("b"), version="50"),
        kit.watched(),
    )  # fmt: skip
    reflector = reflect(labels="l=1", fields="metadata.name!=z")
    assert reflector.has_synced
    selectors = {"labelSelector": "l=1", "fieldSelector": "metadata.name!=z"}
    assert lists(server) == [{**selectors, "limit": "500"}, {**selectors, "limit": "500", "continue": "x"}]
    assert watches(server) == ["50"]
    assert server.requests[-1].query | selectors == server.requests[-1].query
    assert store.keys() == ("there/a", "there/b")
    assert told(changes) == [("ADDED", "there/a"), ("ADDED", "there/b")]


def test_it_is_not_synced_before_the_list_is_whole(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    server.answer("GET", ALL, kit.listed(kit.widget("a"), version="50", more="x"), kit.refused(500))
    reflector = reflect()
    assert not reflector.has_synced
    assert not reflector.wait_synced(seconds=0.0)
    assert len(store) == 0


def test_a_list_that_expires_between_pages_is_taken_whole(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    server.answer(
        "GET", ALL, kit.listed(kit.widget("a"), version="50", more="x"), kit.refused(410, "Expired"),
        kit.listed(kit.widget("a"), kit.widget("b"), version="60"), kit.watched(),
    )  # fmt: skip
    reflect()
    assert lists(server)[-1] == {}
    assert watches(server) == ["60"]
    assert len(store) == 2


@pytest.mark.parametrize("body", [{"items": [{"kind": "x"}], "metadata": {"resourceVersion": "1"}}, {"items": []}])
def test_a_list_that_is_none_is_asked_for_again(kit: Any, server: Any, reflect: Any, body: Any) -> None:
    server.answer("GET", ALL, kit.Answer(body=body), kit.listed(version="3"), kit.watched())
    assert reflect(rests=2).has_synced


def test_only_metadata_is_asked_for_where_that_is_enough(kit: Any, server: Any, reflect: Any) -> None:
    server.answer("GET", ALL, kit.listed(version="3"), kit.watched())
    reflect(metadata_only=True)
    accepts = [each.headers["Accept"] for each in server.requests]
    assert "as=PartialObjectMetadataList;" in accepts[0]
    assert "as=PartialObjectMetadata;" in accepts[1]


# --- watch ------------------------------------------------------------------------------------------------------------


def test_events_reach_the_store_and_the_handlers(
    kit: Any, server: Any, reflect: Any, store: Store, changes: Any
) -> None:
    server.answer(
        "GET", ALL, kit.listed(kit.widget("a", version="5"), version="10"),
        kit.watched(
            kit.event("ADDED", kit.widget("b", version="11")),
            kit.event("MODIFIED", kit.widget("a", version="12", spec=1)),
            kit.event("DELETED", kit.widget("b", version="13")),
        ),
    )  # fmt: skip
    reflector = reflect()
    assert told(changes) == [
        ("ADDED", "there/a"), ("ADDED", "there/b"), ("MODIFIED", "there/a"), ("DELETED", "there/b"),
    ]  # fmt: skip
    assert changes[2].old is not None
    assert changes[2].old["metadata"]["resourceVersion"] == "5"
    assert store.get("there/a") == kit.widget("a", version="12", spec=1)
    assert reflector.resource_version == "13"


def test_lines_come_in_any_pieces(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    import json

    line = json.dumps(kit.event("ADDED", kit.widget("ä", version="11")), ensure_ascii=False).encode() + b"\r\n\n"
    server.answer("GET", ALL, kit.listed(version="10"), kit.watched(*[line[n : n + 1] for n in range(len(line))]))
    reflect()
    assert store.keys() == ("there/ä",)


def test_the_version_of_events_and_bookmarks_is_carried_over_connections(
    kit: Any, server: Any, reflect: Any, clock: Any
) -> None:
    mark = {"kind": "Widget", "metadata": {"resourceVersion": "40"}}
    server.answer(
        "GET", ALL, kit.listed(version="10"), kit.watched(kit.event("ADDED", kit.widget("b", version="11"))),
        kit.watched(kit.event("BOOKMARK", mark)), kit.watched(), kit.watched(),
    )  # fmt: skip
    reflect(rests=4)
    assert watches(server) == ["10", "11", "40", "40"]
    assert len(lists(server)) == 1
    assert all(1.0 <= wait <= 2.0 for wait in clock.waits), "at least a second after a clean close"


def test_each_watch_asks_for_a_time_of_its_own(kit: Any, server: Any, reflect: Any) -> None:
    server.answer("GET", ALL, kit.listed(version="10"), *[kit.watched() for _ in range(20)])
    reflect(rests=20)
    asked = {int(each.query["timeoutSeconds"]) for each in server.requests if "watch" in each.query}
    assert all(240 <= seconds <= 420 for seconds in asked)
    assert len(asked) > 10
    assert all(each.query["allowWatchBookmarks"] == "true" for each in server.requests if "watch" in each.query)


@pytest.mark.parametrize("how", ["http", "event"])
def test_too_old_means_another_list_and_what_went_meanwhile_is_deleted(
    kit: Any, server: Any, reflect: Any, store: Store, changes: Any, how: str
) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    server.answer(
        "GET", ALL,
        kit.listed(kit.widget("a"), kit.widget("b"), kit.widget("c"), kit.widget("d", uid="old"), version="10"),
        kit.refused(410, "Expired") if how == "http" else kit.watched(kit.event("ERROR", status)),
        kit.listed(kit.widget("a"), kit.widget("c", version="2"), kit.widget("d", version="3"), version="90"),
        kit.watched(),
    )  # fmt: skip
    reflect(rests=2)
    assert told(changes[4:]) == [
        ("DELETED", "there/b"), ("MODIFIED", "there/c"), ("DELETED", "there/d"), ("ADDED", "there/d"),
    ]  # fmt: skip
    assert store.keys() == ("there/a", "there/c", "there/d")
    assert watches(server) == ["10", "90"]


def test_a_server_that_is_always_too_old_is_not_asked_in_a_tight_loop(
    kit: Any, server: Any, reflect: Any, clock: Any
) -> None:
    for _ in range(12):
        server.answer("GET", ALL, kit.listed(version="10"), kit.refused(410, "Expired"))
    reflect(rests=12)
    assert all(wait >= 1.0 for wait in clock.waits)
    assert sum(clock.waits) > 60


# --- failures ---------------------------------------------------------------------------------------------------------


def test_failures_wait_longer_and_longer_and_never_the_same(
    kit: Any, server: Any, reflect: Any, clock: Any, store: Store
) -> None:
    server.answer("GET", ALL, kit.listed(kit.widget("a"), version="10"), *[kit.refused(500)] * 40)
    reflect(rests=40)
    assert all(1.0 <= wait <= 30.0 for wait in clock.waits)
    assert max(clock.waits[:3]) <= 8.0
    assert max(clock.waits) > 20.0
    assert len(set(clock.waits)) == 40, "with jitter"
    assert set(watches(server)) == {"10"}, "a server that fails is no reason to list again"
    assert len(store) == 1


def test_health_forgives(kit: Any, server: Any, reflect: Any, clock: Any) -> None:
    server.answer("GET", ALL, kit.listed(version="10"), *[kit.refused(500)] * 10)
    server.answer("GET", ALL, kit.watched(kit.event("ADDED", kit.widget("a", version="11"))), kit.refused(500))
    reflect(rests=12, handlers=[lambda change: clock.advance(61)])
    assert clock.waits[-1] <= 2.0


def test_the_server_may_ask_for_more_time(kit: Any, server: Any, reflect: Any, clock: Any) -> None:
    slow = {"Retry-After": "77"}
    server.answer("GET", ALL, kit.refused(429, headers=slow), kit.listed(version="1"), kit.refused(503, headers=slow))
    reflect(rests=2)
    assert clock.waits == [77.0, 77.0]


def test_a_connection_that_breaks_in_a_line_loses_nothing(
    kit: Any, server: Any, reflect: Any, store: Store, changes: Any
) -> None:
    whole = kit.event("ADDED", kit.widget("b", version="11"))
    server.answer(
        "GET", ALL, kit.listed(version="10"), kit.watched(whole, b'{"type": "ADDED", "obj', kit.Cut()),
        kit.watched(kit.event("ADDED", kit.widget("c", version="12"))),
    )  # fmt: skip
    reflect(rests=2)
    assert watches(server) == ["10", "11"]
    assert told(changes) == [("ADDED", "there/b"), ("ADDED", "there/c")]


BAD_LINES = {
    "no json": b"{{{\n",
    "no object": b"3\n",
    "no type": b'{"object": {}}\n',
    "unknown type": b'{"type": "SHRUNK", "object": {"metadata": {"name": "a", "resourceVersion": "1"}}}\n',
    "no name": b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "1"}}}\n',
    "no version": b'{"type": "ADDED", "object": {"metadata": {"name": "a"}}}\n',
    "object is a list": b'{"type": "ADDED", "object": []}\n',
    "error without status": b'{"type": "ERROR", "object": null}\n',
    "error": b'{"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd"}}\n',
    "no utf-8": b"\xff\xfe\n",
    "bookmark without version": b'{"type": "BOOKMARK", "object": {"metadata": {}}}\n',
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_asked_for_again(
    kit: Any, server: Any, reflect: Any, store: Store, tally: Any, line: bytes
) -> None:
    good = kit.event("ADDED", kit.widget("b", version="11"))
    server.answer(
        "GET", ALL, kit.listed(version="10"),
        kit.watched(good, line, kit.event("ADDED", kit.widget("no", version="99"))),
        kit.watched(kit.event("ADDED", kit.widget("c", version="12"))),
    )  # fmt: skip
    reflect(rests=2)
    assert watches(server) == ["10", "11"]
    assert store.keys() == ("there/b", "there/c")
    assert tally.counted("watch_errors", of="widgets.example.org") == 1


def test_a_line_that_stays_bad_leads_to_a_list(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    bad = kit.watched(b"{{{\n")
    server.answer("GET", ALL, kit.listed(version="10"), bad, bad, bad, kit.listed(kit.widget("a"), version="20"))
    server.answer("GET", ALL, kit.watched())
    reflect(rests=4)
    assert watches(server) == ["10", "10", "10", "20"]
    assert len(store) == 1


def test_a_watch_that_drips_is_given_up(kit: Any, server: Any, reflect: Any, clock: Any, caplog: Any) -> None:
    hold = kit.Hold()

    def late(change: Change) -> None:
        clock.advance(450)
        hold.go.set()

    drip = [b'{"type":', hold]
    server.answer(
        "GET", ALL, kit.listed(version="10"),
        kit.watched(kit.event("ADDED", kit.widget("a", version="11")), *drip, *[b" "] * 5, kit.Hold()),
        kit.watched(),
    )  # fmt: skip
    reflect(rests=2, handlers=[late])
    assert watches(server) == ["10", "11"]
    assert "outlived its time" in caplog.text


def test_a_watch_that_is_silent_is_given_up(kit: Any, server: Any, reflect: Any) -> None:
    server.answer("GET", ALL, kit.listed(version="10"), kit.watched(kit.Hold()), kit.watched())
    reflect(rests=2, settings=ReflectorSettings(quiet=0.05))
    assert watches(server) == ["10", "10"]


def test_a_handler_that_fails_does_not_hold_up_the_others(
    kit: Any, server: Any, reflect: Any, changes: Any, tally: Any, caplog: Any
) -> None:
    def broken(change: Change) -> None:
        raise RuntimeError("bug")

    server.answer("GET", ALL, kit.listed(kit.widget("a"), kit.widget("b"), version="10"), kit.watched())
    reflector = reflect(handlers=[broken, changes.append])
    assert reflector.has_synced
    assert len(changes) == 2
    assert tally.counted("handler_errors") == 2
    assert "bug" in caplog.text


def test_a_bug_does_not_end_the_thread(
    kit: Any, server: Any, client: KubeClient, clock: Any, random: Any, tally: Any, caplog: Any
) -> None:
    broken = Store(indexers={"node": lambda thing: [thing["spec"]["node"]]})
    reflector = Reflector(client, resource=kit.widgets, store=broken, clock=clock, random=random, meter=tally)
    clock.on_wait = lambda seconds: reflector.stop() if len(clock.waits) == 2 else None
    good = kit.widget("a", spec={"node": "n"})
    server.answer("GET", ALL, kit.listed(kit.widget("a"), version="1"), kit.listed(good, version="2"), kit.watched())
    with caplog.at_level(logging.ERROR):
        reflector.run()
    assert broken.keys_by("node", word="n") == ("there/a",)
    assert "KeyError" in caplog.text


# --- what is kept, and life -------------------------------------------------------------------------------------------


def test_objects_are_made_small_before_they_are_kept(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    def shrink(thing: dict[str, Any]) -> dict[str, Any]:
        thing.pop("status", None)
        return without_managed_fields(thing)

    large = kit.widget("a", status={"vfs": list(range(100))})
    large["metadata"]["managedFields"] = [{"manager": "x"}]
    larger = kit.widget("b", version="11", status={"vfs": list(range(100))})
    server.answer("GET", ALL, kit.listed(large, version="10"), kit.watched(kit.event("ADDED", larger)))
    reflect(transform=shrink)
    assert store.objects() == (kit.widget("a"), kit.widget("b", version="11"))


def test_managed_fields_go_without_being_told(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    large = kit.widget("a")
    large["metadata"]["managedFields"] = [{"manager": "x"}]
    server.answer("GET", ALL, kit.listed(large, version="10"), kit.watched())
    reflect()
    assert store.objects() == (kit.widget("a"),)


def test_a_transform_that_fails_keeps_the_object(
    kit: Any, server: Any, reflect: Any, store: Store, tally: Any, caplog: Any
) -> None:
    server.answer("GET", ALL, kit.listed(kit.widget("a"), version="10"), kit.watched())
    reflect(transform=lambda thing: thing["nothing"])
    assert store.get("there/a") == kit.widget("a")
    assert tally.counted("transform_errors") == 1


def test_it_tells_when_the_server_was_last_heard(kit: Any, server: Any, reflect: Any, clock: Any) -> None:
    reflector = reflect(run=False, rests=3)
    assert reflector.last_seen is None
    server.answer("GET", ALL, kit.listed(version="10"), kit.watched(), kit.refused(500), kit.refused(500))
    begin = clock.monotonic()
    reflector.run()
    assert reflector.last_seen == begin
    assert clock.monotonic() > begin + 3


def test_it_counts(kit: Any, server: Any, reflect: Any, tally: Any) -> None:
    server.answer(
        "GET", ALL, kit.listed(kit.widget("a"), version="10"),
        kit.watched(kit.event("ADDED", kit.widget("b", version="11"))), kit.refused(410), kit.listed(version="20"),
        kit.refused(403),
    )  # fmt: skip
    reflect(rests=3)
    what = ("lists", "watches", "watch_events", "watch_errors", "watch_expired")
    assert [tally.counted(each, of="widgets.example.org") for each in what] == [2, 1, 1, 1, 1]
    assert tally.last_level("objects", of="widgets.example.org") == 0


def test_it_stops_out_of_a_silent_watch(kit: Any, server: Any, reflect: Any, store: Store) -> None:
    hold = kit.Hold()
    arrived = threading.Event()
    server.answer(
        "GET", ALL, kit.listed(version="10"), kit.watched(kit.event("ADDED", kit.widget("a", version="11")), hold)
    )
    reflector = reflect(run=False, handlers=[lambda change: arrived.set()])
    reflector.start()
    assert arrived.wait(kit.patience)
    reflector.stop()
    assert reflector.join(seconds=kit.patience)
    assert store.keys() == ("there/a",)
    assert len(watches(server)) == 1


def test_kinds_of_changes_are_those_of_the_api() -> None:
    assert {kind.value for kind in ChangeKind} == {"ADDED", "MODIFIED", "DELETED"}


def test_it_says_why_nothing_comes_until_something_does(kit: Any, server: Any, reflect: Any, clock: Any) -> None:
    server.answer("GET", ALL, kit.refused(404, "NotFound"))
    reflector = reflect(rests=1)
    assert isinstance(reflector.last_error, NotFound)
    assert reflector.last_active == clock.monotonic() - clock.waits[-1]
    assert not reflector.has_synced
    server.answer("GET", ALL, kit.listed(version="7"), kit.watched())
    reflector = reflect(rests=1)
    assert reflector.last_error is None
    assert not reflector.is_alive  # it ran on this thread


def test_a_kind_that_is_not_there_is_told_once(kit: Any, server: Any, reflect: Any, caplog: Any) -> None:
    server.answer("GET", ALL, *(kit.refused(404, "NotFound") for _ in range(5)))
    reflect(rests=5)
    assert [each.levelname for each in caplog.records if "found nothing" in each.message] == ["WARNING"]
