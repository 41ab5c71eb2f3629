"""Leadership: that one candidate gets it, keeps it, loses it honestly, and that two never have it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from virtfn.errors import LeaseLost, Unavailable
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.leader import LeaderElector, LeaseSettings
from virtfn.kube.resource import Json

PATH = "/apis/coordination.k8s.io/v1/namespaces/there/leases/lock"


@dataclass
class Candidate:
    """An elector and what it told."""

    elector: LeaderElector
    started: list[bool] = field(default_factory=list)
    lost: list[LeaseLost] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def candidate(client_of: Callable[..., KubeClient], clock: Any, random: Random) -> Callable[..., Candidate]:
    def build(
        identity: str, *, clock: Any = clock, settings: LeaseSettings | None = None, client: Any = None
    ) -> Candidate:
        def lost(error: LeaseLost) -> None:
            made.lost.append(error)
            made.told.set()

        made: Candidate
        elector = LeaderElector(
            client or client_of(clock=clock), name="lock", namespace="there", identity=identity,
            on_started=lambda: made.started.append(True), on_lost=lost, clock=clock, random=random, settings=settings,
        )  # fmt: skip
        made = Candidate(elector)
        return made

    return build


def spec(server: Any) -> Json:
    found: Json = server.objects[PATH]["spec"]
    return found


def test_the_first_one_gets_it(server: Any, candidate: Any, clock: Any) -> None:
    one = candidate("one").elector
    assert not one.is_leader
    assert one.attempt()
    assert one.is_leader
    assert one.holder == "one"
    assert spec(server) == {
        "holderIdentity": "one", "leaseDurationSeconds": 15, "acquireTime": "2030-01-01T00:16:40.000000Z",
        "renewTime": "2030-01-01T00:16:40.000000Z", "leaseTransitions": 0,
    }  # fmt: skip


def test_renewing_keeps_the_rest(server: Any, candidate: Any, clock: Any) -> None:
    one = candidate("one").elector
    one.attempt()
    clock.advance(2)
    assert one.attempt()
    assert spec(server)["acquireTime"] == "2030-01-01T00:16:40.000000Z"
    assert spec(server)["renewTime"] == "2030-01-01T00:16:42.000000Z"
    assert spec(server)["leaseTransitions"] == 0
    assert [each.method for each in server.requests] == ["GET", "POST", "PUT"], "a renewal is one request"


def test_the_second_one_waits_until_it_saw_no_change_for_the_whole_duration(
    server: Any, candidate: Any, clock: Any
) -> None:
    one, two = candidate("one"), candidate("two")
    one.elector.attempt()
    for _ in range(30):
        clock.advance(1)
        assert one.elector.attempt()
        assert not two.elector.attempt()
    for _ in range(14):
        clock.advance(1)
        assert not two.elector.attempt()
    assert not one.elector.is_leader, "the old one has stopped before the new one starts"
    clock.advance(1)
    assert two.elector.attempt()
    assert spec(server)["holderIdentity"] == "two"
    assert spec(server)["leaseTransitions"] == 1


def test_dates_do_not_matter(server: Any, candidate: Any, kit: Any) -> None:
    ahead, behind = kit.FakeClock(), kit.FakeClock()
    ahead.skew, behind.skew = timedelta(days=400), timedelta(days=-400)
    one, two = candidate("one", clock=behind).elector, candidate("two", clock=ahead).elector
    assert one.attempt()
    for _ in range(20):
        ahead.advance(2)
        behind.advance(2)
        assert one.attempt()
        assert not two.attempt()
        behind.skew -= timedelta(hours=1)


def test_a_lease_given_back_is_taken_at_once(server: Any, candidate: Any, clock: Any) -> None:
    one, two = candidate("one"), candidate("two")
    clock.on_wait = lambda seconds: one.elector.stop(seconds=0)
    one.elector.run()
    assert one.started == [True]
    assert not one.elector.is_leader
    assert one.lost == []
    assert spec(server)["holderIdentity"] == ""
    assert spec(server)["leaseDurationSeconds"] == 1
    assert two.elector.attempt()
    assert spec(server)["leaseTransitions"] == 1


def test_a_lease_of_another_length_is_waited_for_as_it_says(server: Any, candidate: Any, clock: Any) -> None:
    long, two = candidate("one", settings=LeaseSettings(duration=60)), candidate("two")
    long.elector.attempt()
    two.elector.attempt()
    clock.advance(59)
    assert not two.elector.attempt()
    clock.advance(1)
    assert two.elector.attempt()


@pytest.mark.parametrize("broken", [None, {}, {"leaseDurationSeconds": "x", "holderIdentity": "one"}, "text"])
def test_a_broken_record_is_taken_over_in_time(server: Any, candidate: Any, clock: Any, broken: Any) -> None:
    server.objects[PATH] = {"metadata": {"name": "lock", "namespace": "there", "resourceVersion": "1"}, "spec": broken}
    two = candidate("two").elector
    two.attempt()
    clock.advance(15)
    assert two.attempt()
    assert spec(server)["holderIdentity"] == "two"


def test_of_two_who_write_at_once_one_wins(kit: Any, server: Any, candidate: Any) -> None:
    one, two = candidate("one").elector, candidate("two").elector
    server.answer("GET", PATH, kit.refused(404), kit.refused(404))
    assert [one.attempt(), two.attempt()] == [True, False]
    assert not two.is_leader


def test_of_two_who_take_over_at_once_one_wins(kit: Any, server: Any, candidate: Any, clock: Any) -> None:
    one, two = candidate("one").elector, candidate("two").elector
    old = {"metadata": {"name": "lock", "namespace": "there", "resourceVersion": "1"}, "spec": {"holderIdentity": ""}}
    server.objects[PATH] = old
    server.answer("GET", PATH, kit.Answer(body=old), kit.Answer(body=old))
    assert [one.attempt(), two.attempt()] == [True, False]
    assert (one.is_leader, two.is_leader) == (True, False)


@pytest.mark.parametrize("how", ["refused", "forbidden", "dropped", "garbage", "conflict"])
def test_any_failure_is_a_failed_renewal_and_too_many_lose(
    kit: Any, server: Any, candidate: Any, clock: Any, how: str
) -> None:
    answers = {
        "refused": kit.refused(500),
        "forbidden": kit.refused(403),
        "dropped": kit.Answer(drop=True),
        "garbage": kit.Answer(body=b"<html>"),
        "conflict": kit.refused(409, "Conflict"),
    }
    one = candidate("one")
    one.elector.attempt()
    server.answer("PUT", PATH, *[answers[how]] * 20)
    for _ in range(4):
        clock.advance(2)
        assert not one.elector.attempt()
        assert one.elector.is_leader
    assert one.lost == []
    clock.advance(2)
    assert not one.elector.attempt()
    assert not one.elector.is_leader
    (error,) = one.lost
    assert "leases.coordination.k8s.io there/lock: lost (it could not be renewed within 10 s" in str(error)


def test_a_renewal_that_was_given_up_and_arrived_after_all_loses_nothing(
    kit: Any, server: Any, candidate: Any, clock: Any
) -> None:
    one = candidate("one")
    one.elector.attempt()
    moved = server.objects[PATH]
    server.objects[PATH] = {**moved, "metadata": {**moved["metadata"], "resourceVersion": "777"}}
    clock.advance(2)
    assert one.elector.attempt()
    assert one.elector.is_leader


def test_who_finds_another_holder_has_lost_at_once(server: Any, candidate: Any, clock: Any) -> None:
    one = candidate("one")
    one.elector.attempt()
    taken = server.objects[PATH]
    server.objects[PATH] = {
        **taken, "metadata": {**taken["metadata"], "resourceVersion": "777"},
        "spec": {**taken["spec"], "holderIdentity": "thief"},
    }  # fmt: skip
    assert not one.elector.attempt()
    assert not one.elector.is_leader
    assert "thief holds it now" in str(one.lost[0])
    assert spec(server)["holderIdentity"] == "thief"


def test_a_lease_that_somebody_deleted_is_made_again(server: Any, candidate: Any, clock: Any) -> None:
    one = candidate("one").elector
    one.attempt()
    del server.objects[PATH]
    clock.advance(2)
    assert one.attempt()
    assert spec(server)["holderIdentity"] == "one"


def test_leadership_ends_by_itself_whatever_the_thread_does(candidate: Any, clock: Any) -> None:
    one = candidate("one").elector
    one.attempt()
    clock.advance(9.9)
    assert one.is_leader
    clock.advance(0.1)
    assert not one.is_leader


def test_time_counts_from_before_the_renewal_was_sent(client_of: Any, candidate: Any, clock: Any) -> None:
    client = client_of()
    one = candidate("one", client=client)
    one.elector.attempt()
    update = client.update

    def slow(*args: Any, **more: Any) -> Json:
        made: Json = update(*args, **more)
        clock.advance(9)
        return made

    client.update = slow
    assert one.elector.attempt()
    clock.advance(1)
    assert not one.elector.is_leader


def test_requests_are_given_up_before_the_deadline(client_of: Any, candidate: Any, clock: Any) -> None:
    client = client_of()
    one = candidate("one", client=client)
    one.elector.attempt()
    patience: list[float] = []

    def hung(*args: Any, timeout: float, **more: Any) -> Json:
        patience.append(timeout)
        clock.advance(timeout)
        raise Unavailable("no answer")

    client.update = client.get = hung
    while one.elector.is_leader:
        one.elector.attempt()
    assert patience[0] <= 5.0
    assert sum(patience) <= 10.2
    assert len(one.lost) == 1


def test_a_renewal_that_hangs_is_noticed_by_another_thread(
    kit: Any, server: Any, candidate: Any, client_of: Any
) -> None:
    """A server that drips can hold up a request for as long as it likes, whatever its time-out."""
    settings = LeaseSettings(duration=2, renew_deadline=0.6, retry=0.1)
    client = client_of(clock=SystemClock())
    one = candidate("one", clock=SystemClock(), settings=settings, client=client)
    let_go = threading.Event()

    def hung(*args: Any, **more: Any) -> Json:
        let_go.wait(kit.patience)
        raise Unavailable("no answer")

    client.update = hung
    one.elector.start()
    assert one.told.wait(kit.patience / 2), "noticed while the renewal hangs"
    assert not let_go.is_set()
    assert not one.elector.is_leader
    let_go.set()
    assert one.elector.stop(seconds=kit.patience)
    assert len(one.lost) == 1
    assert spec(server)["holderIdentity"] == "one", "what was lost is not given back"


def test_losing_ends_the_run(kit: Any, server: Any, candidate: Any, clock: Any) -> None:
    one = candidate("one")
    server.answer("PUT", PATH, *[kit.refused(500)] * 20)
    one.elector.run()
    assert one.started == [True]
    assert len(one.lost) == 1
    assert len(server.asked("POST")) == 1, "it does not try again: the process shall end"


def test_a_bug_in_what_starts_is_a_lost_lease(candidate: Any, clock: Any, client_of: Any, random: Random) -> None:
    lost: list[LeaseLost] = []

    def broken() -> None:
        raise RuntimeError("bug")

    elector = LeaderElector(
        client_of(), name="lock", namespace="there", identity="one", on_started=broken, on_lost=lost.append,
        clock=clock, random=random,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="bug"):
        elector.run()
    assert len(lost) == 1
    assert not elector.is_leader


def test_a_lease_that_cannot_be_given_back_expires(
    kit: Any, server: Any, candidate: Any, clock: Any, caplog: Any
) -> None:
    one = candidate("one")
    clock.on_wait = lambda seconds: one.elector.stop(seconds=0)
    server.answer("PUT", PATH, kit.refused(500))
    one.elector.run()
    assert "it expires by itself" in caplog.text
    assert one.lost == []


def test_tries_come_at_random_times(server: Any, candidate: Any, clock: Any) -> None:
    one = candidate("one")
    clock.on_wait = lambda seconds: one.elector.stop(seconds=0) if len(clock.waits) == 20 else None
    one.elector.run()
    assert all(2.0 <= wait <= 2.4 for wait in clock.waits)
    assert len(set(clock.waits)) == 20


@pytest.mark.parametrize("wrong", [{"duration": 10}, {"renew_deadline": 2.0}, {"retry": 9.0}, {"retry": 0.0}])
def test_times_that_cannot_work_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="a lease needs"):
        LeaseSettings(**wrong)


@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(["one", "two", "three"]),
            st.sampled_from(["try", "lose answer", "fail", "slow", "late"]),
            st.floats(0.0, 6.0),
        ),
        max_size=60,
    )
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_there_are_never_two(acts: list[tuple[str, str, float]]) -> None:
    """Any order of tries, lost answers, slow answers and writes that arrive late: at most one leads at any moment."""
    clock = _Time()
    lease = _Lease(clock)
    electors = {
        name: LeaderElector(
            lease.client(name), name="lock", namespace="there", identity=name, on_started=lambda: None,
            on_lost=lambda error: None, clock=clock, random=Random(1),
        )
        for name in ("one", "two", "three")
    }  # fmt: skip

    def leaders() -> list[str]:
        return [name for name, elector in electors.items() if elector.is_leader]

    clock.check = lambda: leaders()
    for name, how, pause in acts:
        clock.pass_by(pause)
        lease.how = how
        electors[name].attempt()
        assert len(leaders()) <= 1
        lease.arrive()
    assert all(len(found) <= 1 for found in clock.seen)


class _Time:
    """Monotonic time; whoever leads is noted at each step."""

    def __init__(self) -> None:
        self.time = 50.0
        self.check: Callable[[], list[str]] = list
        self.seen: list[list[str]] = []

    def monotonic(self) -> float:
        return self.time

    def now(self) -> Any:
        return SystemClock().now()

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        raise AssertionError("nobody waits here")

    def pass_by(self, seconds: float) -> None:
        for _ in range(4):
            self.time += seconds / 4
            self.seen.append(self.check())


class _Lease:
    """One lease with a resource version, and an unreliable way to it."""

    def __init__(self, clock: _Time) -> None:
        self.clock = clock
        self.how = "try"
        self.thing: Json | None = None
        self.version = 0
        self.late: list[Json] = []

    def client(self, name: str) -> Any:
        return self

    def arrive(self) -> None:
        """What was under way arrives now, if it still fits."""
        if self.late:
            body = self.late.pop(0)
            if self.thing is not None and body["metadata"].get("resourceVersion") == str(self.version):
                self._store(body)

    def get(self, resource: Any, **more: Any) -> Json:
        from virtfn.errors import NotFound

        if self.how == "fail":
            raise Unavailable("down")
        if self.thing is None:
            raise NotFound("none")
        return self.thing

    def create(self, resource: Any, *, body: Json, **more: Any) -> Json:
        from virtfn.errors import AlreadyExists

        if self.thing is not None:
            raise AlreadyExists("one is there")
        return self._answer(body)

    def update(self, resource: Any, *, body: Json, **more: Any) -> Json:
        from virtfn.errors import Conflict

        if self.how == "fail":
            raise Unavailable("down")
        if self.how == "late":
            self.late.append(body)
            raise Unavailable("no answer")
        if self.thing is None or body["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict("changed")
        return self._answer(body)

    def _answer(self, body: Json) -> Json:
        if self.how == "slow":
            self.clock.pass_by(3.0)
        made = self._store(body)
        if self.how == "slow":
            self.clock.pass_by(1.5)
        if self.how == "lose answer":
            raise Unavailable("the answer was lost")
        return made

    def _store(self, body: Json) -> Json:
        self.version += 1
        self.thing = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.thing
