"""Leadership on a real API server, with harm done to one of two candidates: never two, and soon again one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from kube.bed import faults
from kube.bed.proxy import Proxy
from kube.bed.server import ApiServer

from virtfn.errors import LeaseLost
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.leader import LeaderElector, LeaseSettings
from virtfn.kube.resource import LEASES

SHORT = LeaseSettings(duration=3, renew_deadline=1.5, retry=0.2)
LEASE = "/leases"


@dataclass
class Candidate:
    """An elector, and what it told."""

    elector: LeaderElector
    started: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def candidate(namespace: str, patience: float) -> Iterator[Callable[..., Candidate]]:
    made: list[Candidate] = []

    def make(client: KubeClient, identity: str) -> Candidate:
        def lost(error: LeaseLost) -> None:
            one.lost.set()

        one: Candidate
        elector = LeaderElector(
            client, name="lock", namespace=namespace, identity=identity, on_started=lambda: one.started.set(),
            on_lost=lost, clock=SystemClock(), random=Random(), settings=SHORT,
        )  # fmt: skip
        one = Candidate(elector)
        made.append(one)
        return one

    yield make
    for one in made:
        assert one.elector.stop(seconds=patience)


@pytest.fixture
def overlap(patience: float) -> Iterator[Callable[..., None]]:
    """Look all the time whether more than one leads; fails at the end if that was so."""
    twice: list[list[bool]] = []
    over = threading.Event()
    threads: list[threading.Thread] = []

    def watch(*electors: LeaderElector) -> None:
        def look() -> None:
            while not over.wait(0.002):
                # One after the other: leadership can pass on in between, so it is asked of the first one again.
                found = [elector.is_leader for elector in electors]
                again = [elector.is_leader for elector in electors]
                both = [before and after for before, after in zip(found, again, strict=True)]
                if sum(both) > 1:
                    twice.append(both)

        threads.append(threading.Thread(target=look))
        threads[-1].start()

    yield watch
    over.set()
    for thread in threads:
        thread.join(patience)
    assert twice == []


HARM: dict[str, Callable[[Proxy], Any]] = {
    "frozen": lambda proxy: proxy.freeze(),
    "no answer": lambda proxy: proxy.on("*", LEASE, fault=faults.Swallow(), times=None),
    "answers withheld": lambda proxy: proxy.on("PUT", LEASE, fault=faults.WithholdAnswer(), times=3),
    "internal": lambda proxy: proxy.on("*", LEASE, fault=faults.INTERNAL, times=None),
    "too many": lambda proxy: proxy.on("*", LEASE, fault=faults.TOO_MANY, times=None),
    "garbage": lambda proxy: proxy.on("*", LEASE, fault=faults.GARBAGE, times=None),
    "reset": lambda proxy: proxy.on("*", LEASE, fault=faults.Refuse(), times=None),
    "away": lambda proxy: (proxy.down(), proxy.cut()),
    "trickle": lambda proxy: proxy.on("*", LEASE, fault=faults.Trickle(size=1, pause=0.015), times=None),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_leader_that_cannot_renew_stops_before_another_begins(
    kube: KubeClient, through: KubeClient, tls_proxy: Proxy, namespace: str, candidate: Callable[..., Candidate],
    overlap: Callable[..., None], patience: float, harm: Callable[[Proxy], Any],
) -> None:  # fmt: skip
    one, two = candidate(through, "one"), candidate(kube, "two")
    overlap(one.elector, two.elector)
    one.elector.start()
    assert one.started.wait(patience)
    two.elector.start()
    harm(tls_proxy)
    assert one.lost.wait(patience)
    assert not one.elector.is_leader
    assert two.started.wait(patience)
    tls_proxy.clear()
    tls_proxy.thaw()
    time.sleep(0.5)
    assert two.elector.is_leader, "what the first one had under way changes nothing"
    assert not one.elector.is_leader
    spec = kube.get(LEASES, name="lock", namespace=namespace)["spec"]
    assert spec["holderIdentity"] == "two"
    assert spec["leaseTransitions"] == 1


@pytest.mark.parametrize("fault", [faults.LoseAnswer(), faults.INTERNAL, faults.GARBAGE, faults.Refuse()])
def test_a_renewal_that_fails_once_is_no_loss(
    through: KubeClient, tls_proxy: Proxy, candidate: Callable[..., Candidate], patience: float, fault: faults.Fault
) -> None:
    one = candidate(through, "one")
    one.elector.start()
    assert one.started.wait(patience)
    rule = tls_proxy.on("PUT", LEASE, fault=fault)
    assert rule.wait(patience)
    tls_proxy.wait_for(len(tls_proxy.requests("PUT", LEASE)) + 3, "PUT", LEASE, timeout=patience)
    assert one.elector.is_leader
    assert not one.lost.is_set()


def test_who_ends_gives_it_back_and_the_next_begins_soon(
    kube: KubeClient, candidate: Callable[..., Candidate], overlap: Callable[..., None], namespace: str, patience: float
) -> None:
    one, two = candidate(kube, "one"), candidate(kube, "two")
    overlap(one.elector, two.elector)
    one.elector.start()
    assert one.started.wait(patience)
    two.elector.start()
    assert one.elector.stop(seconds=patience)
    assert two.started.wait(patience)
    spec = kube.get(LEASES, name="lock", namespace=namespace)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)
    assert not one.lost.is_set()


def test_of_many_that_begin_together_one_leads(
    api_server: ApiServer, connected: Callable[..., KubeClient], candidate: Callable[..., Candidate],
    overlap: Callable[..., None], patience: float,
) -> None:  # fmt: skip
    all_of_them = [candidate(connected(api_server), f"number {n}") for n in range(6)]
    overlap(*(each.elector for each in all_of_them))
    for each in all_of_them:
        each.elector.start()
    end = time.monotonic() + patience
    while not any(each.started.is_set() for each in all_of_them) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(1.0)
    assert sum(each.started.is_set() for each in all_of_them) == 1
    assert sum(each.elector.is_leader for each in all_of_them) == 1
