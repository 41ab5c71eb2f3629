"""One controller writes, whatever happens to its lease; and at rest it writes nothing but that."""

from __future__ import annotations

import threading
import time
from typing import Any

from kube.bed.faults import Swallow
from kube.bed.reconciling import eventually

from virtfn.cluster.kinds import NODE_STATES
from virtfn.kube.resource import LEASES, NODES

NODES_THERE = 30
STATES = "sriovnetworknodestates"


def spec_writes(controller: Any) -> list[tuple[float, str]]:
    """When it wrote which node state's spec."""
    return [
        (request.time, request.target.split("?")[0].rpartition("/")[2])
        for request in controller.writes(STATES)
        if request.method == "PATCH" and b'"interfaces"' in request.body
    ]


def test_at_rest_nothing_is_written_but_leases(site: Any, kit: Any) -> None:
    controller = site.controller()
    for number in range(10):
        site.node(f"n{number}", kit.nic())
    site.policy("a", nicSelector={"pfNames": ["ens41f0np0#0-1"]})
    site.policy("b", priority=5, nicSelector={"pfNames": ["ens41f0np0#2-3"]})
    site.until_ready("a")
    site.until_ready("b")
    count = -1
    while count != len(controller.writes()):
        count = len(controller.writes())
        time.sleep(3.0)
    renewed = len(controller.proxy.requests("PUT", "/leases"))
    for beat in range(4):
        for number in range(10):  # kubelets go on reporting
            status = {"conditions": [{"type": "Ready", "status": "True", "message": f"beat {beat}"}]}
            site.client.patch(NODES, name=f"n{number}", body={"status": status}, subresource="status")
        time.sleep(2.0)
    assert [(each.method, each.target) for each in controller.writes()[count:]] == []
    assert len(controller.proxy.requests("PUT", "/leases")) > renewed


def test_a_leader_that_loses_its_lease_stops_at_once_and_the_next_one_does_nothing_twice(site: Any, kit: Any) -> None:
    names = [site.node(f"n{number:02d}", kit.nic()) for number in range(NODES_THERE)]
    one = site.controller("one")
    eventually(lambda: one.app.is_leader)
    two = site.controller("two")
    site.policy("a", numVfs=1)
    site.until_ready("a")
    assert not two.writes()
    assert sorted(name for _, name in spec_writes(one)) == names  # each once

    stop = threading.Event()

    def keep_changing() -> None:
        vfs = 1
        while not stop.wait(0.3):
            vfs = vfs % 8 + 1
            site.policy("a", numVfs=vfs)

    changing = threading.Thread(target=keep_changing)
    changing.start()
    try:
        eventually(lambda: len(spec_writes(one)) > 2 * NODES_THERE)
        one.proxy.on("*", "/leases", fault=Swallow(), times=None)  # all but its renewals goes through
        eventually(lambda: one.has_ended)
        assert one.lost is not None
        assert not two.writes()
        eventually(lambda: two.app.is_leader)
        eventually(lambda: len(spec_writes(two)) > NODES_THERE)
    finally:
        stop.set()
        changing.join()
    site.policy("a", numVfs=7)
    site.until_ready("a")
    assert [site.num_vfs(name) for name in names] == [7] * NODES_THERE
    first, second = spec_writes(one), spec_writes(two)
    assert max(at for at, _ in first) < min(at for at, _ in second)
    # Every write changed something, so none was made twice: a spec that is written again has no new generation.
    for name in names:
        generation = site.state(name)["metadata"]["generation"]
        assert generation == 1 + sum(each == name for _, each in first + second), name


def test_a_leader_whose_lease_somebody_takes_writes_no_more(site: Any, kit: Any) -> None:
    site.node("n1", kit.nic())
    one = site.controller()
    site.policy("a")
    site.until_ready("a")
    body = {"spec": {"holderIdentity": "somebody", "renewTime": "2099-01-01T00:00:00.000000Z"}}
    site.client.patch(LEASES, name="virtfn-controller", namespace=site.namespace, body=body)
    eventually(lambda: one.has_ended)
    assert one.lost is not None
    before = len(one.writes())
    site.policy("a", numVfs=2)
    time.sleep(2.0)
    assert site.num_vfs("n1") == 4
    assert len(one.writes()) == before


def test_a_leader_that_is_asked_to_end_gives_the_lease_back(site: Any, kit: Any) -> None:
    site.node("n1", kit.nic())
    two = None
    with site.controller("one") as one:
        eventually(lambda: one.app.is_leader)
        two = site.controller("two")
        site.policy("a")
        site.until_ready("a")
    lease = site.client.get(LEASES, name="virtfn-controller", namespace=site.namespace)
    assert lease["spec"]["holderIdentity"] in ("", "two")
    begun = time.monotonic()
    eventually(lambda: two.app.is_leader)
    assert time.monotonic() - begun < kit.lease.duration + kit.lease.retry * 5
    site.policy("a", numVfs=2)
    site.until_ready("a")
    assert site.num_vfs("n1") == 2


def test_a_standby_has_seen_everything_before_it_leads(site: Any, kit: Any) -> None:
    one = site.controller("one")
    eventually(lambda: one.app.is_leader)
    two = site.controller("two")
    site.node("n1", kit.nic())
    site.policy("a")
    site.until_ready("a")
    assert eventually(lambda: f"{site.namespace}/n1" in two.app.views["node_states"].store)
    assert two.app.views.unsynced() == ""
    assert not two.writes()
    lists = len(two.proxy.requests("GET", f"/{NODE_STATES.plural}"))
    one.proxy.on("*", "/leases", fault=Swallow(), times=None)
    eventually(lambda: two.app.is_leader)
    site.policy("a", numVfs=3)
    site.until_ready("a")
    assert len(two.proxy.requests("GET", f"/{NODE_STATES.plural}\\?limit")) <= lists
