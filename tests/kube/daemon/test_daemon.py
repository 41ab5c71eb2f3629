"""The daemon against a real API server: what it reports, asks for and does, and what it leaves alone."""

from __future__ import annotations

import json

from kube.daemon.conftest import NAME, PF, Bench, interface

from virtfn.cluster.kinds import NODE_STATES


def test_from_a_node_state_to_vfs_and_back(bench: Bench) -> None:
    bench.create()
    bench.begin()
    found = bench.until(lambda state: bool((state.get("status") or {}).get("interfaces")))["status"]
    assert [port["name"] for port in found["interfaces"]] == ["eth0", "eth1"]
    status = bench.until_synced(bench.want(interface()))
    assert status["interfaces"][0]["numVfs"] == 4
    assert (status["neededState"], "plan" in status) == ("Idle", False)
    assert bench.condition("Ready")["status"] == "True"
    assert {c["type"] for c in status["conditions"]} == {"Ready", "Drifted", "Blocked"}
    assert json.loads(bench.offer.read_text())["resourceList"][0]["resourceName"] == "net"
    assert status["devicePlugin"]["resources"] == ["net"]

    bench.want()
    status = bench.until_needed("Drain_Required")
    assert status["plan"]["affects"]
    assert bench.vfs() == 4, "nothing is done before the drain"
    bench.drained()
    generation = bench.state["metadata"]["generation"]
    status = bench.until_synced(generation)
    assert bench.vfs() == 0
    assert status["neededState"] == "Idle"
    assert set(status["devicePlugin"]) == {"revision"}, "nothing is offered"
    assert not bench.offer.exists()


def test_at_rest_nothing_is_written(bench: Bench) -> None:
    bench.create()
    bench.begin(period=0.2)
    bench.until_synced(bench.want(interface()))
    bench.quiet(1.0)
    before, version = bench.tally.counted("writes"), bench.state["metadata"]["resourceVersion"]
    turns, _ = bench.tally.timed("turns", of="node")
    bench.quiet(2.0)
    assert bench.tally.timed("turns", of="node")[0] > turns + 4
    assert bench.tally.counted("writes") == before
    assert bench.state["metadata"]["resourceVersion"] == version
