"""A `Meter` that Prometheus can read.

Names follow from what is counted: `count("watch_errors", of="nodes")` is `virtfn_watch_errors_total{of="nodes"}`,
seconds are histograms `virtfn_turns_seconds`, levels are gauges. All series of a process are in one registry, which
the health server shows.
"""

from __future__ import annotations

import threading
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX: Final = "virtfn"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds: from a patch to the longest that VFs take."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_HELP: Final = {
    "turns": "Time that one reconcile took, by what was reconciled.",
    "turn_errors": "Reconciles that ended with an error.",
    "writes": "Writes to the API server, by kind.",
    "writes_saved": "Writes that were not needed, by kind.",
    "watch_errors": "Watches and lists that failed, by kind.",
    "steps": "Time that one step on the host took, by operation.",
    "step_failures": "Steps on the host that failed, by operation.",
    "in_sync": "1 if the node is as it is wanted, 0 otherwise.",
    "drifted": "1 if somebody else changed what was configured, 0 otherwise.",
    "breaker_open": "1 if a drain or reboot was given up because it had no effect, 0 otherwise.",
    "drains_begun": "Drains that were begun.",
    "drains_complete": "Drains after which no pod was in the way any more.",
    "drains_blocked": "Times that a drain was not begun, or came to a halt, because pods may not go.",
    "drains_given_up": "Drains that were given up, by reason.",
    "drains_waiting": "Nodes that wait for their turn to be drained.",
    "evictions": "Pods that were evicted.",
    "evictions_refused": "Evictions that were refused.",
    "device_plugin_restarts": "Times that a node's device plugin was restarted.",
    "nodes": "Nodes by how they stand.",
    "leading": "1 if this process holds the lease, 0 otherwise.",
}


class PrometheusMeter:
    """Keeps each series in one registry; made when it is first told of. Thread-safe."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry(auto_describe=True)
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges: dict[str, Gauge] = {}

    def count(self, name: str, *, of: str = "", amount: int = 1) -> None:
        """`virtfn_<name>_total`."""
        counter = self._counters.get(name)
        if counter is None:
            with self._lock:
                if (counter := self._counters.get(name)) is None:
                    counter = Counter(f"{PREFIX}_{name}", _help(name), ["of"], registry=self.registry)
                    self._counters[name] = counter
        counter.labels(of).inc(amount)

    def seconds(self, name: str, value: float, *, of: str = "") -> None:
        """`virtfn_<name>_seconds`, a histogram."""
        histogram = self._histograms.get(name)
        if histogram is None:
            with self._lock:
                if (histogram := self._histograms.get(name)) is None:
                    histogram = Histogram(
                        f"{PREFIX}_{name}_seconds", _help(name), ["of"], registry=self.registry, buckets=BUCKETS
                    )
                    self._histograms[name] = histogram
        histogram.labels(of).observe(value)

    def level(self, name: str, value: float, *, of: str = "") -> None:
        """`virtfn_<name>`, a gauge."""
        gauge = self._gauges.get(name)
        if gauge is None:
            with self._lock:
                if (gauge := self._gauges.get(name)) is None:
                    gauge = self._gauges[name] = Gauge(f"{PREFIX}_{name}", _help(name), ["of"], registry=self.registry)
        gauge.labels(of).set(value)

    def text(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)


def _help(name: str) -> str:
    return _HELP.get(name, name.replace("_", " ").capitalize() + ".")
