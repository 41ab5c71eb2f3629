"""One process of several acts: a Lease that can be lost, but not be held by two.

Three things make that true. A candidate takes a lease over only when *its own* monotonic clock has seen no change of
the record for the record's whole duration, so dates that differ between machines do not matter. A leader counts its
time from *before* it sent the renewal, and gives up earlier than any candidate may take over. And a second thread
watches that time, so that a renewal that hangs cannot keep a leader alive.

Only `coordination.k8s.io/v1` with GET, POST and PUT is used: API priority and fairness knows leases by these verbs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from virtfn.errors import AlreadyExists, Conflict, LeaseLost, NotFound, VirtfnError
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock, micro_time
from virtfn.kube.meter import Meter, NoMeter
from virtfn.kube.resource import LEASES, Json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Times in seconds; the defaults are client-go's."""

    duration: int = 15
    """How long candidates wait after the last change of the record."""

    renew_deadline: float = 10.0
    """How long the leader tries to renew before it gives up."""

    retry: float = 2.0
    """Between two tries, of leader and candidates; up to a fifth is added at random."""

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 1.2 * self.retry > 0:
            raise ValueError(f"a lease needs duration > renew_deadline > 1.2 * retry > 0, not {self}")


class LeaderElector:
    """A candidate for one lease, once: after losing it, the process is expected to end.

    :param identity: unique for this process, such as `<pod name>_<random>`.
    :param on_started: called once, on the elector's thread, when the lease is held; must return soon.
    :param on_lost: called once if the lease is lost afterwards, on either thread; usually ends the process.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        name: str,
        namespace: str,
        identity: str,
        on_started: Callable[[], None],
        on_lost: Callable[[LeaseLost], None],
        clock: Clock,
        random: Random,
        meter: Meter | None = None,
        settings: LeaseSettings | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._on_started = on_started
        self._on_lost = on_lost
        self._clock = clock
        self._random = random
        self._meter = meter or NoMeter()
        self._settings = settings or LeaseSettings()
        self._subject = LEASES.subject(namespace=namespace, name=name)
        self._stop = threading.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._leading = False
        self._lost = False
        self._renewed_at = 0.0
        # What this candidate last saw, and when: only the elector's own thread touches these.
        self._lease: Json | None = None
        self._record: Mapping[str, Any] = {}
        self._changed_at = 0.0
        self._threads: list[threading.Thread] = []

    @property
    def is_leader(self) -> bool:
        """Whether this process may act now. Becomes false by itself when the lease was not renewed in time."""
        with self._lock:
            return self._leading and self._clock.monotonic() < self._renewed_at + self._settings.renew_deadline

    @property
    def is_alive(self) -> bool:
        """Whether all its threads run."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    @property
    def holder(self) -> str:
        """Who held the lease when it was last looked at; empty if nobody or not known."""
        return str(self._record.get("holderIdentity") or "")

    def start(self) -> None:
        """Run on threads of its own."""
        for work in (self.run, self._watch_over):
            thread = threading.Thread(target=work, name=f"{work.__name__} {self._subject}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, *, seconds: float) -> bool:
        """End, and give the lease back if it is held; whether that was done in time.

        To be called when all work that the lease guards has stopped.
        """
        self._stop.set()
        end = self._clock.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - self._clock.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def run(self) -> None:
        """Try for the lease, keep it, and give it back after `stop`."""
        started = False
        try:
            while not self._stop.is_set() and not self._lost:
                if self.attempt() and not started:
                    started = True
                    logger.info("%s: held by us, %s", self._subject, self._identity)
                    self._on_started()
                pause = self._settings.retry * (1.0 + self._random.random() / 5)
                self._clock.wait(self._stop, seconds=pause)
            self._release()
        except BaseException:
            self._lose("the elector's thread failed")
            raise
        finally:
            self._over.set()

    def attempt(self) -> bool:
        """One try to get or renew the lease; whether it was gained or renewed. Never raises an error of ours."""
        try:
            done = self._renew() if self._leading else self._acquire()
        except VirtfnError as error:
            self._meter.count("lease_errors", of=self._name)
            logger.warning("%s: %s; trying again", self._subject, error)
            done = False
        self.check()
        return done

    def check(self) -> None:
        """Give the lease up if its time has run out. Called often, by a thread that does nothing else."""
        with self._lock:
            overdue = self._leading and self._clock.monotonic() >= self._renewed_at + self._settings.renew_deadline
        if overdue:
            self._lose(f"it could not be renewed within {self._settings.renew_deadline:g} s")

    # --- the lease ----------------------------------------------------------------------------------------------------

    def _acquire(self) -> bool:
        try:
            lease = self._read()
        except NotFound:
            return self._create()
        self._observe(lease)
        if self.holder and self.holder != self._identity and not self._expired():
            return False
        return self._write(lease)

    def _renew(self) -> bool:
        if self._lease is not None:
            try:
                return self._write(self._lease)
            except (Conflict, NotFound):
                # Somebody touched or deleted it; or an earlier renewal that we gave up had arrived after all.
                self._lease = None
        try:
            lease = self._read()
        except NotFound:
            return self._create()
        self._observe(lease)
        if self.holder != self._identity:
            self._lose(f"{self.holder or 'nobody'} holds it now")
            return False
        return self._write(lease)

    def _read(self) -> Json:
        return self._client.get(
            LEASES, name=self._name, namespace=self._namespace, timeout=self._patience(), patient=False
        )

    def _create(self) -> bool:
        body: Json = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}),
        }
        sent = self._clock.monotonic()
        try:
            made = self._client.create(LEASES, body=body, timeout=self._patience(), patient=False)
        except AlreadyExists:
            return False
        return self._held(made, sent=sent)

    def _write(self, lease: Json) -> bool:
        body = {**lease, "spec": self._spec(self._record)}
        sent = self._clock.monotonic()
        try:
            made = self._client.update(LEASES, body=body, timeout=self._patience(), patient=False)
        except Conflict:
            if self._leading:
                raise
            return False
        return self._held(made, sent=sent)

    def _spec(self, before: Mapping[str, Any]) -> Json:
        now = micro_time(self._clock.now())
        ours = before.get("holderIdentity") == self._identity
        transitions = before.get("leaseTransitions")
        transitions = transitions if isinstance(transitions, int) else 0
        return {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._settings.duration,
            "acquireTime": before.get("acquireTime") or now if ours else now,
            "renewTime": now,
            "leaseTransitions": transitions if ours or not before else transitions + 1,
        }

    def _held(self, lease: Json, *, sent: float) -> bool:
        self._observe(lease)
        self._lease = lease
        with self._lock:
            if self._lost:
                return False
            self._leading = True
            self._renewed_at = sent
        self._meter.count("lease_renewals", of=self._name)
        return True

    def _observe(self, lease: Json) -> None:
        spec = lease.get("spec")
        record = spec if isinstance(spec, dict) else {}
        if record != self._record or not self._changed_at:
            self._record, self._changed_at = record, self._clock.monotonic()

    def _expired(self) -> bool:
        said = self._record.get("leaseDurationSeconds")
        duration = said if isinstance(said, int) and said > 0 else self._settings.duration
        return self._clock.monotonic() >= self._changed_at + duration

    def _patience(self) -> float:
        """Seconds one request may take: two of them, one after the other, must fit before the deadline."""
        most = self._settings.renew_deadline / 2
        if not self._leading:
            return most
        left = self._renewed_at + self._settings.renew_deadline - self._clock.monotonic()
        return max(min(most, left), 0.1)

    def _release(self) -> None:
        with self._lock:
            held, self._leading = self._leading, False
        if not held or self._lease is None:
            return
        now = micro_time(self._clock.now())
        spec = {**(self._lease.get("spec") or {}), "holderIdentity": "", "leaseDurationSeconds": 1}
        body = {**self._lease, "spec": {**spec, "acquireTime": now, "renewTime": now}}
        try:
            self._client.update(LEASES, body=body, timeout=self._settings.renew_deadline / 2, patient=False)
            logger.info("%s: given back", self._subject)
        except VirtfnError as error:
            logger.warning("%s: not given back (%s); it expires by itself", self._subject, error)

    def _lose(self, why: str) -> None:
        with self._lock:
            if not self._leading or self._lost:
                return
            self._leading, self._lost = False, True
        self._meter.count("lease_lost", of=self._name)
        error = LeaseLost(f"{self._subject}: lost ({why}; another one may lead now)", subject=self._subject)
        logger.error("%s", error)
        self._on_lost(error)

    def _watch_over(self) -> None:
        while not self._over.is_set():
            self.check()
            with self._lock:
                left = self._renewed_at + self._settings.renew_deadline - self._clock.monotonic()
                left = left if self._leading else self._settings.retry
            self._clock.wait(self._over, seconds=min(max(left, 0.01), self._settings.retry))
