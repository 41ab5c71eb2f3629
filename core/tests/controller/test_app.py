"""The app: who works when, and what ends it. The API server is a few lines that know leases and empty lists."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import pytest

from virtfn.cluster.kinds import POLICIES
from virtfn.controller.app import App, AppSettings, reconcilers
from virtfn.controller.services import ControllerSettings, Services, View
from virtfn.errors import Conflict, LeaseLost, NotFound, Unavailable
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.leader import LeaseSettings
from virtfn.kube.queue import WorkQueue
from virtfn.kube.resource import Json

PATIENCE = 30.0
LEASE = LeaseSettings(duration=3, renew_deadline=1.0, retry=0.1)


class Reply:
    def __init__(self, body: Json) -> None:
        self._body = body

    def json(self) -> Json:
        return self._body


class Silence:
    """A watch in which nothing happens."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        self._closed.wait()
        return iter(())

    def close(self) -> None:
        self._closed.set()

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()


class Server:
    """Stands in for the transport."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.lease: Json | None = None
        self.missing: set[str] = set()
        self.is_away_for_leases = False
        self.writes: list[str] = []
        self._lock = threading.Lock()

    def request(self, method: str, *, path: str, body: Any = None, before: Any = None, **_: Any) -> Reply:
        if before is not None:
            before()
        with self._lock:
            if "/leases" in path:
                return self._on_lease(method, body)
            if method != "GET":
                self.writes.append(path)
            if path.rpartition("/")[2] in self.missing:
                raise NotFound(f"{path}: no such kind", status=404)
            return Reply({"metadata": {"resourceVersion": "1"}, "items": []})

    def stream(self, **_: Any) -> Silence:
        return Silence()

    def _on_lease(self, method: str, body: Any) -> Reply:
        if self.is_away_for_leases:
            raise Unavailable("no answer")
        if method == "GET":
            if self.lease is None:
                raise NotFound("no lease", status=404)
            return Reply(self.lease)
        version = int(self.lease["metadata"]["resourceVersion"]) if self.lease else 0
        if method == "PUT" and body["metadata"]["resourceVersion"] != str(version):
            raise Conflict("too late", status=409)
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(version + 1)}}
        return Reply(self.lease)


class Part:
    """A reconciler that notes its turns."""

    workers = 2

    def __init__(self, services: Services, *, name: str = "part", needs: tuple[str, ...] = ("policies",)) -> None:
        self.services = services
        self.name = name
        self.needs = needs
        self.turns: list[str] = []
        self.act: Callable[[str], None] = lambda key: None
        self.queue: WorkQueue[str] = WorkQueue(name=name, clock=services.clock, random=services.random)

    def handlers(self) -> Mapping[str, Any]:
        return {}

    def handle(self, key: str) -> float | None:
        self.turns.append(key)
        self.act(key)
        return None


class Running:
    """An app on a thread of its own."""

    def __init__(self, server: Server, *, identity: str, elect: bool, parts: Mapping[str, tuple[str, ...]]) -> None:
        self.parts: dict[str, Part] = {}
        self.error: BaseException | None = None
        self.stop = threading.Event()

        def make(services: Services, _: Mapping[str, View]) -> list[Part]:
            self.parts = {name: Part(services, name=name, needs=needs) for name, needs in parts.items()}
            return list(self.parts.values())

        run_as = AppSettings(identity, elect=elect, lease=LEASE, health_address="127.0.0.1", health_port=0)
        client = KubeClient(server)  # type: ignore[arg-type]
        settings = ControllerSettings("virtfn", "example.org")
        self.app = App(client, settings=settings, run_as=run_as, random=Random(1), make=make)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.app.run(self.stop)
        except LeaseLost as error:
            self.error = error

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.app.health_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def run(server: Server) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(*, identity: str = "one", elect: bool = True, **parts: tuple[str, ...]) -> Running:
        made.append(Running(server, identity=identity, elect=elect, parts=parts or {"part": ("policies",)}))
        return made[-1]

    yield start
    for each in made:
        each.end()


def until(done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_standby_works_only_when_it_leads(run: Callable[..., Running], server: Server) -> None:
    one = run()
    until(lambda: one.app.is_leader)
    two = run(identity="two")
    for each in (one, two):
        each.parts["part"].queue.add("key")
    until(lambda: one.parts["part"].turns)
    until(lambda: two.page("/readyz")[0] == 200)
    assert two.parts["part"].turns == []
    with pytest.raises(LeaseLost):
        two.app.services.client.delete(POLICIES, name="a", namespace="virtfn")
    assert server.writes == []
    one.end()
    assert server.lease is not None
    until(lambda: two.parts["part"].turns == ["key"])
    assert one.error is None
    assert two.app.services.client.delete(POLICIES, name="a", namespace="virtfn")


def test_losing_the_lease_ends_it_and_what_goes_on_writes_nothing(run: Callable[..., Running], server: Server) -> None:
    one = run()
    begun, go = threading.Event(), threading.Event()
    refused: list[LeaseLost] = []

    def act(key: str) -> None:
        begun.set()
        go.wait(PATIENCE)
        try:
            one.app.services.client.delete(POLICIES, name=key, namespace="virtfn")
        except LeaseLost as error:
            refused.append(error)
            raise

    one.parts["part"].act = act
    one.parts["part"].queue.add("key")
    assert begun.wait(PATIENCE)
    server.is_away_for_leases = True
    until(lambda: not one.app.is_leader)
    one.parts["part"].queue.add("another")
    go.set()
    one.thread.join(PATIENCE)
    assert isinstance(one.error, LeaseLost)
    assert len(refused) == 1
    assert server.writes == []
    assert one.parts["part"].turns == ["key"]


def test_without_election_it_works_at_once(run: Callable[..., Running], server: Server) -> None:
    one = run(elect=False)
    one.parts["part"].queue.add("key")
    until(lambda: one.parts["part"].turns)
    assert server.lease is None


def test_a_kind_that_is_missing_holds_up_only_those_who_need_it(run: Callable[..., Running], server: Server) -> None:
    server.missing.add("network-attachment-definitions")
    one = run(some=("policies",), other=("policies", "attachment_definitions"))
    for part in one.parts.values():
        part.queue.add("key")
    until(lambda: one.parts["some"].turns)
    assert one.parts["other"].turns == []
    assert one.page("/readyz") == (200, "views: ok\n")
    server.missing.clear()
    until(lambda: one.parts["other"].turns)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_is_dead_is_told(run: Callable[..., Running]) -> None:
    one = run()

    def die(_: str) -> None:
        raise SystemExit

    one.parts["part"].act = die
    until(lambda: one.page("/healthz")[0] == 200)
    one.parts["part"].queue.add("key")
    until(lambda: one.page("/healthz")[0] == 503)
    assert one.page("/healthz") == (503, "views: ok\nworkers: part: a worker is dead\nlease: ok\n")


def test_its_numbers_are_there_to_be_read(run: Callable[..., Running]) -> None:
    one = run()
    one.parts["part"].queue.add("key")
    until(lambda: one.parts["part"].turns)
    until(lambda: 'virtfn_turns_seconds_count{of="part"} 1.0' in one.page("/metrics")[1])
    assert 'virtfn_leading{of=""} 1.0' in one.page("/metrics")[1]


def test_all_parts_are_there(cluster: Any) -> None:
    made = reconcilers(cluster.services, cluster.views)
    assert [each.name for each in made] == [
        "node_states", "policy_status", "pools", "drain", "device_plugin", "networks", "operator_config"
    ]  # fmt: skip
    for each in made:
        assert set(each.needs) | set(each.handlers()) <= set(cluster.views)
        assert each.workers > 0
