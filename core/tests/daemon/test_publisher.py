"""The status is written when it is new, and not otherwise."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from virtfn.daemon.publisher import Publisher
from virtfn.daemon.status import Report
from virtfn.errors import NotFound, Unavailable
from virtfn.kube.apply import Outcome, Written
from virtfn.model import Inventory

Rig = Any


class Server:
    """One node state, the writes to it, and a watch that is late."""

    def __init__(self) -> None:
        self.thing: dict[str, Any] | None = {
            "metadata": {"name": "n", "namespace": "v", "uid": "1", "resourceVersion": "1", "generation": 2}
        }
        self.watched = deepcopy(self.thing)
        self.writes: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.unreachable = False
        self.drops: tuple[str, ...] = ()
        self.foreign: dict[str, Any] = {}

    # as the applier

    def apply_status(self, resource: Any, *, live: Any, status: dict[str, Any]) -> Written:
        assert self.thing is not None
        if self.unreachable:
            raise Unavailable("no server")
        assert "status" not in live, "what is to go must not be taken for what is there"
        self.writes.append(deepcopy(status))
        kept = {name: value for name, value in status.items() if name not in self.drops}
        self.thing = self._next({**self.foreign, **deepcopy(kept)})
        return Written(Outcome.WRITTEN, deepcopy(self.thing))

    def patch(self, resource: Any, *, live: Any, wanted: Any, subresource: str) -> Written:
        assert self.thing is not None
        assert set(wanted["status"].values()) == {None}
        self.removed += list(wanted["status"])
        left = {name: value for name, value in self.thing["status"].items() if name not in wanted["status"]}
        self.thing = self._next(left)
        return Written(Outcome.WRITTEN, deepcopy(self.thing))

    def _next(self, status: dict[str, Any]) -> dict[str, Any]:
        assert self.thing is not None
        metadata = self.thing["metadata"]
        version = str(int(metadata["resourceVersion"]) + 1)
        return {**self.thing, "metadata": {**metadata, "resourceVersion": version}, "status": status}

    # as the recorder

    def tell(self, about: Any, *, reason: str, note: str, **_: Any) -> None:
        assert about["kind"] == "SriovNetworkNodeState"
        self.events.append((reason, note))

    # as the watch

    def newest(self) -> Any:
        return self.watched

    def catch_up(self) -> None:
        self.watched = deepcopy(self.thing)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def publisher(server: Server, rig: Rig) -> Publisher:
    made: Any = Publisher(server, recorder=server, newest=server.newest, clock=rig.clock)  # type: ignore[arg-type]
    return made  # type: ignore[no-any-return]


def report(refused: str = "it cannot be read") -> Report:
    return Report(Inventory(), {}, 2, refused=refused, refused_reason="InvalidDocument")


def test_the_same_is_said_once_however_late_the_watch_is(server: Server, publisher: Publisher) -> None:
    publisher.publish(report())
    publisher.publish(report())
    server.catch_up()
    publisher.publish(report())
    assert len(server.writes) == 1
    assert server.events == [
        ("SyncStatusChanged", "Status changed from: Unknown to: Failed. Last Error: it cannot be read")
    ]


def test_the_newest_is_what_was_written_until_the_watch_shows_more(server: Server, publisher: Publisher) -> None:
    publisher.publish(report())
    newest = publisher.newest()
    assert newest is not None
    assert newest["status"]["syncStatus"] == "Failed"
    server.catch_up()
    assert server.watched is not None
    server.watched["metadata"] |= {"resourceVersion": "9", "annotations": {"a": "b"}}
    newest = publisher.newest()
    assert newest is not None
    assert newest["metadata"]["annotations"] == {"a": "b"}


def test_after_a_restart_what_stands_there_is_not_written_again(server: Server, publisher: Publisher, rig: Rig) -> None:
    publisher.publish(report())
    server.catch_up()
    rig.clock.seconds += 100
    again: Any = Publisher(server, recorder=server, newest=server.newest, clock=rig.clock)  # type: ignore[arg-type]
    again.publish(report())
    assert len(server.writes) == 1


def test_since_when_a_condition_holds_is_kept_while_it_holds(server: Server, publisher: Publisher, rig: Rig) -> None:
    publisher.publish(report())
    rig.clock.seconds += 100
    publisher.publish(report("something else"))
    first, last = ({c["type"]: c for c in write["conditions"]} for write in server.writes)
    assert first["Ready"]["lastTransitionTime"] == last["Ready"]["lastTransitionTime"]
    assert first["Ready"]["message"] != last["Ready"]["message"]


def test_what_others_say_is_neither_taken_nor_repeated(server: Server, publisher: Publisher) -> None:
    assert server.watched is not None
    server.watched["status"] = {"conditions": [{"type": "Drained", "status": "True", "reason": "X", "message": ""}]}
    publisher.publish(report())
    assert {c["type"] for c in server.writes[0]["conditions"]} == {"Ready", "Drifted", "Blocked"}


def test_what_another_daemon_left_is_taken_away_once(server: Server, publisher: Publisher) -> None:
    server.foreign = {"system": {"rdmaMode": "shared"}}
    publisher.publish(report())
    assert server.removed == ["system"]
    server.catch_up()
    publisher.publish(report())
    assert len(server.writes) == 1


def test_what_the_server_does_not_keep_is_not_written_for_ever(server: Server, publisher: Publisher) -> None:
    server.drops = ("observedGeneration",)
    for _ in range(3):
        publisher.publish(report())
        server.catch_up()
    assert len(server.writes) == 1
    publisher.publish(report("something else"))
    assert len(server.writes) == 2


def test_what_could_not_be_written_is_written_the_next_time(server: Server, publisher: Publisher) -> None:
    server.unreachable = True
    with pytest.raises(Unavailable):
        publisher.publish(report())
    assert server.events == []
    server.unreachable = False
    publisher.publish(report())
    assert len(server.writes) == 1


def test_a_node_state_of_the_same_name_is_another_one(server: Server, publisher: Publisher) -> None:
    publisher.publish(report())
    server.thing = {"metadata": {"name": "n", "namespace": "v", "uid": "2", "resourceVersion": "1"}}
    server.catch_up()
    publisher.publish(report())
    assert len(server.writes) == 2
    server.watched = None
    publisher.publish(report("something else"))
    publisher.tell(reason="X", action="X", note="x")
    assert len(server.writes) == 2


def test_nothing_is_begun_for_a_node_state_that_is_gone(server: Server, publisher: Publisher) -> None:
    server.watched = None
    with pytest.raises(NotFound):
        publisher.publish(Report(Inventory(), {}, 2, acting=True))
