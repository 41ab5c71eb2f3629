"""The reflector's laws against a real API server, with harm on the way: in the end the store is what the server has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from kube.bed import faults
from kube.bed.proxy import Proxy
from kube.bed.server import ApiServer

from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.meter import Tally
from virtfn.kube.reflector import Reflector, ReflectorSettings, without_managed_fields
from virtfn.kube.resource import CONFIG_MAPS, Json, key_of
from virtfn.kube.store import Change, ChangeKind, Store
from virtfn.kube.transport import TransportSettings

QUICK = ReflectorSettings(pause=0.05, backoff_least=0.05, backoff_most=0.3, page_size=3)


class Seen:
    """Changes as they come."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self.changes: list[Change] = []

    def __call__(self, change: Change) -> None:
        with self._lock:
            self.changes.append(change)
            self._lock.notify_all()

    def wait(self, until: Callable[[list[Change]], bool], *, seconds: float) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: until(self.changes), seconds), self.changes


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def reflected(tally: Tally, seen: Seen, patience: float) -> Iterator[Callable[..., Reflector]]:
    """Start a reflector of config maps, and wait for its first list."""
    started: list[Reflector] = []

    def start(
        client: KubeClient, *, synced: bool = True, settings: ReflectorSettings = QUICK, **more: Any
    ) -> Reflector:
        reflector = Reflector(
            client, resource=CONFIG_MAPS, store=Store(), clock=SystemClock(), random=Random(), handlers=[seen],
            meter=tally, settings=settings, **more,
        )  # fmt: skip
        started.append(reflector)
        reflector.start()
        assert not synced or reflector.wait_synced(seconds=patience)
        return reflector

    yield start
    for reflector in started:
        reflector.stop()
    for reflector in started:
        assert reflector.join(seconds=patience)


@pytest.fixture
def same_as_server(kube: KubeClient, namespace: str, patience: float) -> Callable[[Reflector], None]:
    """Wait until the store is what the server has."""

    def check(reflector: Reflector) -> None:
        end = time.monotonic() + patience
        while True:
            wanted = {
                key_of(each): without_managed_fields(each) for each in kube.list(CONFIG_MAPS, namespace=namespace)
            }
            found = {key_of(each): each for each in reflector.store.objects()}
            # Items of a list name no kind, objects of a watch do.
            facts = [{key: thing["metadata"] for key, thing in each.items()} for each in (wanted, found)]
            if facts[0] == facts[1]:
                return
            assert time.monotonic() < end, facts
            time.sleep(0.05)

    return check


def watches(proxy: Proxy) -> int:
    return len([each for each in proxy.requests("GET", "/configmaps") if each.is_watch])


def test_it_follows(
    kube: KubeClient, through: KubeClient, tls_proxy: Proxy, namespace: str, config_map: Callable[..., Json],
    reflected: Callable[..., Reflector], seen: Seen, same_as_server: Callable[..., None], patience: float,
) -> None:  # fmt: skip
    for n in range(8):
        kube.create(CONFIG_MAPS, body=config_map(f"c{n}"))
    reflector = reflected(through, namespace=namespace)
    assert len(reflector.store) >= 8
    lists = [each for each in tls_proxy.requests("GET", "/configmaps") if not each.is_watch]
    assert len(lists) >= 3
    assert all("limit=3" in each.target for each in lists)
    kube.patch(CONFIG_MAPS, name="c0", namespace=namespace, body={"data": {"x": "1"}})
    kube.delete(CONFIG_MAPS, name="c1", namespace=namespace)
    kube.create(CONFIG_MAPS, body=config_map("new"))
    seen.wait(lambda changes: changes[-1].key == f"{namespace}/new", seconds=patience)
    assert [(change.kind.value, change.key.rpartition("/")[2]) for change in seen.changes[-3:]] == [
        ("MODIFIED", "c0"), ("DELETED", "c1"), ("ADDED", "new"),
    ]  # fmt: skip
    same_as_server(reflector)
    assert all("managedFields" not in each["metadata"] for each in reflector.store.objects())


HARM: dict[str, tuple[faults.Fault, bool]] = {
    "reset": (faults.Refuse(), False),
    "cut in a line": (faults.CutMidLine(after_lines=1), True),
    "cut in a line, politely": (faults.CutMidLine(after_lines=1, politely=True), True),
    "silence": (faults.HalfOpen(after_lines=1), True),
    "no answer": (faults.Swallow(), False),
    "bad line": (faults.ReplaceLine(line=b'{"type": \n', after_lines=1), True),
    "error event": (faults.ReplaceLine(line=faults.error_event(500, reason="InternalError"), after_lines=1), True),
    "too old, in the watch": (faults.ReplaceLine(line=faults.error_event(410, reason="Expired"), after_lines=1), True),
    "too old": (faults.GONE, False),
    "too many": (faults.TOO_MANY, False),
    "internal": (faults.INTERNAL, False),
    "unavailable": (faults.UNAVAILABLE, False),
    "web page": (faults.WEB_PAGE, False),
    "garbage": (faults.GARBAGE, False),
    "trickle": (faults.Trickle(size=7), True),
}


@pytest.mark.parametrize(("fault", "strikes_late"), HARM.values(), ids=HARM)
def test_it_survives(
    kube: KubeClient, through: KubeClient, tls_proxy: Proxy, namespace: str, config_map: Callable[..., Json],
    reflected: Callable[..., Reflector], same_as_server: Callable[..., None], patience: float, fault: faults.Fault,
    strikes_late: bool,
) -> None:  # fmt: skip
    """The watch is harmed while objects come, change and go, and every change is seen in the end."""
    for n in range(6):
        kube.create(CONFIG_MAPS, body=config_map(f"c{n}"))
    rule = tls_proxy.on("GET", "configmaps.*watch=1", fault=fault)
    settings = ReflectorSettings(pause=0.05, backoff_least=0.05, backoff_most=0.3, page_size=3, quiet=1.0)
    reflector = reflected(through, namespace=namespace, settings=settings)
    kube.delete(CONFIG_MAPS, name="c0", namespace=namespace)
    kube.patch(CONFIG_MAPS, name="c1", namespace=namespace, body={"data": {"x": "1"}})
    kube.delete(CONFIG_MAPS, name="c2", namespace=namespace)
    kube.create(CONFIG_MAPS, body=config_map("c2"))
    kube.create(CONFIG_MAPS, body=config_map("c9"))
    if not isinstance(fault, faults.Trickle):
        tls_proxy.wait_for(2, "GET", "configmaps.*watch=1", timeout=patience)
    same_as_server(reflector)
    assert rule.hits, "the harm was done"
    kube.create(CONFIG_MAPS, body=config_map("afterwards"))
    same_as_server(reflector)


def test_a_watch_goes_on_where_it_was_and_is_not_a_list(
    kube: KubeClient, through: KubeClient, tls_proxy: Proxy, namespace: str, config_map: Callable[..., Json],
    reflected: Callable[..., Reflector], same_as_server: Callable[..., None], seen: Seen, patience: float, tally: Tally,
) -> None:  # fmt: skip
    reflector = reflected(through, namespace=namespace)
    for n in range(5):
        tls_proxy.wait_for(n + 1, "GET", "configmaps.*watch=1", timeout=patience)
        kube.create(CONFIG_MAPS, body=config_map(f"c{n}"))
        key = f"{namespace}/c{n}"
        seen.wait(lambda changes, key=key: any(change.key == key for change in changes), seconds=patience)
        tls_proxy.cut()
    same_as_server(reflector)
    assert tally.counted("lists") == 1
    kinds = [change.kind for change in seen.changes if change.key.rpartition("/")[2] != "kube-root-ca.crt"]
    assert kinds == [ChangeKind.ADDED] * 5, "each once"


def test_one_object_by_its_name_and_only_its_metadata(
    kube: KubeClient, namespace: str, config_map: Callable[..., Json], reflected: Callable[..., Reflector], seen: Seen,
    patience: float,
) -> None:  # fmt: skip
    kube.create(CONFIG_MAPS, body=config_map("mine", x="1"))
    kube.create(CONFIG_MAPS, body=config_map("others", x="1"))
    reflector = reflected(kube, namespace=namespace, fields="metadata.name=mine", metadata_only=True)
    assert reflector.store.keys() == (f"{namespace}/mine",)
    kube.patch(CONFIG_MAPS, name="others", namespace=namespace, body={"data": {"x": "2"}})
    kube.patch(CONFIG_MAPS, name="mine", namespace=namespace, body={"metadata": {"labels": {"l": "1"}}})
    seen.wait(lambda changes: changes[-1].kind is ChangeKind.MODIFIED, seconds=patience)
    (mine,) = reflector.store.objects()
    assert mine["metadata"]["labels"] == {"l": "1"}
    assert "data" not in mine
    assert len(seen.changes) == 2


def test_the_server_goes_away_and_comes_back(
    own_api_server: ApiServer, connected: Callable[..., KubeClient], reflected: Callable[..., Reflector], seen: Seen,
    patience: float,
) -> None:  # fmt: skip
    kube = connected(own_api_server)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "kube-system"}}
    reflector = reflected(connected(own_api_server), namespace="kube-system")
    own_api_server.kill()
    time.sleep(1.0)
    own_api_server.start()
    kube.create(CONFIG_MAPS, body=body)
    seen.wait(lambda changes: any(change.key == "kube-system/a" for change in changes), seconds=patience)
    assert reflector.last_seen is not None


def test_a_server_that_is_not_there_yet(
    kube: KubeClient, through: KubeClient, tls_proxy: Proxy, namespace: str, reflected: Callable[..., Reflector],
    patience: float, tally: Tally,
) -> None:  # fmt: skip
    tls_proxy.down()
    reflector = reflected(through, namespace=namespace, synced=False)
    end = time.monotonic() + patience
    while tally.counted("watch_errors") < 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert not reflector.has_synced
    tls_proxy.up()
    assert reflector.wait_synced(seconds=patience)


def test_many_kinds_of_harm_while_much_happens(
    kube: KubeClient, through: KubeClient, tls_proxy: Proxy, namespace: str, config_map: Callable[..., Json],
    reflected: Callable[..., Reflector], same_as_server: Callable[..., None],
) -> None:  # fmt: skip
    random = Random(11)
    settings = ReflectorSettings(pause=0.02, backoff_least=0.02, backoff_most=0.1, page_size=3, quiet=0.5)
    reflector = reflected(through, namespace=namespace, settings=settings)
    names = [f"c{n}" for n in range(12)]
    for step in range(150):
        name = random.choice(names)
        there = kube.find(CONFIG_MAPS, name=name, namespace=namespace)
        if there is None:
            kube.create(CONFIG_MAPS, body=config_map(name, step=str(step)))
        elif random.random() < 0.4:
            kube.delete(CONFIG_MAPS, name=name, namespace=namespace)
        else:
            kube.patch(CONFIG_MAPS, name=name, namespace=namespace, body={"data": {"step": str(step)}})
        if step % 10 == 0:
            fault, _ = random.choice(list(HARM.values()))
            tls_proxy.on("GET", random.choice(["configmaps.*watch=1", "configmaps"]), fault=fault)
        if step % 25 == 0:
            tls_proxy.cut()
    tls_proxy.clear()
    same_as_server(reflector)


def test_it_stops_at_once_out_of_a_silent_watch(
    through: KubeClient, tls_proxy: Proxy, namespace: str, reflected: Callable[..., Reflector], patience: float,
    tally: Tally,
) -> None:  # fmt: skip
    reflector = reflected(through, namespace=namespace)
    end = time.monotonic() + patience
    while not tally.counted("watches") and time.monotonic() < end:
        time.sleep(0.02)
    tls_proxy.freeze()
    reflector.stop()
    assert reflector.join(seconds=patience)
    tls_proxy.thaw()


def test_a_server_that_does_not_even_begin_is_given_up_soon(
    api_server: ApiServer, connected: Callable[..., KubeClient], tls_proxy: Proxy, namespace: str,
    reflected: Callable[..., Reflector], patience: float,
) -> None:  # fmt: skip
    tls_proxy.on("GET", "configmaps.*watch=1", fault=faults.Swallow())
    hasty = TransportSettings(request_timeout=0.5)
    reflected(connected(api_server, url=tls_proxy.url, settings=hasty), namespace=namespace)
    tls_proxy.wait_for(2, "GET", "configmaps.*watch=1", timeout=patience)
