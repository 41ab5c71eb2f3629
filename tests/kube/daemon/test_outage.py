"""The API server goes away in the middle of the work, for a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kube.bed import definitions
from kube.bed.server import ApiServer
from kube.daemon.conftest import Bench, interface

from virtfn.kube.client import KubeClient
from virtfn.kube.resource import NAMESPACES
from virtfn.testing import FakeHost

OUTAGE = 60.0
CRDS = Path(__file__).resolve().parents[3] / "deploy" / "crds"


def test_sixty_seconds_without_an_api_server(
    own_api_server: ApiServer, connected: Callable[..., KubeClient], host: FakeHost, tmp_path: Path
) -> None:
    with own_api_server.client() as api:
        definitions.install(api, definitions.read([CRDS]))
    client = connected(own_api_server)
    client.create(NAMESPACES, body={"metadata": {"name": "outage"}})
    bench = Bench(client, connected(own_api_server), namespace="outage", host=host, folder=tmp_path)
    try:
        bench.create()
        daemon = bench.begin()
        bench.until(lambda state: bool((state.get("status") or {}).get("interfaces")))
        halt = bench.halt_at("drivers_probe")
        bench.want(interface())
        halt.wait_reached()
        told = bench.status
        own_api_server.kill()
        gone_at = time.monotonic()
        halt.go_on()
        while bench.machine.pf(bench.pf).vfs[-1].driver != "igbvf":
            time.sleep(0.05)
        writes = len(host.writes)
        time.sleep(max(OUTAGE - (time.monotonic() - gone_at), 0.0))
        assert len(host.writes) == writes, "the node is kept as it is"
        assert {name: check() for name, check in daemon.live().items()} == {"watch": "", "loop": ""}
        own_api_server.start()
        status = bench.until_synced(2)
    finally:
        bench.end()
    assert told["syncStatus"] == "InProgress"
    assert [vf["driver"] for vf in status["interfaces"][0]["Vfs"]] == ["igbvf"] * 4
    assert bench.tally.timed("steps", of="sriov.set_numvfs")[0] == 1, "nothing was done twice"
