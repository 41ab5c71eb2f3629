"""A drain while the way to the API server is bad: what was done counts, and not what was answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kube.bed.faults import Answer, Fault, LoseAnswer, Refuse
from kube.bed.proxy import Proxy

EVICTION = r"/eviction$"
NODE = r"^/api/v1/nodes/"
STATE = r"/sriovnetworknodestates/[^/?]+(\?|$)"
STATUS = r"/sriovnetworknodestates/[^/?]+/status"
PODS = r"^/api/v1/pods"
FAILED = Answer(status=500, body=b'{"kind":"Status","code":500,"message":"etcd is away"}')
PUT_OFF = Answer(status=429, body=b'{"kind":"Status","code":429,"reason":"TooManyRequests"}')


WAYS = {
    "eviction": ("POST", EVICTION),
    "node": ("PATCH", NODE),
    "annotation": ("PATCH", STATE),
    "condition": ("PATCH", STATUS),
    "pods": ("GET", PODS),
    "look": ("GET", NODE),
}
CASES = [(way, fault) for way in WAYS for fault in (LoseAnswer(), FAILED)]
CASES += [("eviction", PUT_OFF), ("annotation", Refuse())]


@pytest.mark.parametrize(("way", "fault"), CASES, ids=lambda each: each if isinstance(each, str) else None)
def test_each_request_may_fail_a_few_times(
    cluster: Any,
    start: Callable[..., Any],
    tls_proxy: Proxy,
    vfs: tuple[str, ...],
    way: str,
    fault: Fault,
) -> None:
    method, pattern = WAYS[way]
    cluster.add_node("a")
    cluster.add_node("b")
    cluster.add_pod("holder", "a", vfs=vfs[:1])
    cluster.add_pod("plain", "a")
    running = start(url=tls_proxy.url)
    cluster.wait_current("a", "Idle")
    times = 1 if pattern == EVICTION else 2  # a refused rehearsal is tried again after 15 s, and then later
    rule = tls_proxy.on(method, pattern, fault=fault, times=times)
    cluster.need("a", "Drain_Required")
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"plain"}
    assert cluster.is_cordoned("a")
    cluster.need("a", "Idle")
    cluster.wait_current("a", "Idle")
    assert not cluster.is_cordoned("a")
    assert not cluster.is_cordoned("b")
    assert len(rule.hits) == times
    assert running.tally.counted("drains_begun") <= 2
