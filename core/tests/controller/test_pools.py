"""What a pool's status says."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.cluster.kinds import POOL_CONFIGS
from virtfn.controller.pools import PoolReconciler


@pytest.fixture
def pools(cluster: Any) -> PoolReconciler:
    made: PoolReconciler = cluster.listen(PoolReconciler(cluster.services, cluster.views))
    return made


def ready(cluster: Any, name: str) -> tuple[str, str, str]:
    (condition,) = cluster.get(POOL_CONFIGS, name)["status"]["conditions"]
    assert condition["type"] == "Ready"
    assert condition["observedGeneration"] == cluster.get(POOL_CONFIGS, name)["metadata"]["generation"]
    return condition["status"], condition["reason"], condition["message"]


def test_a_pool_counts_its_nodes(cluster: Any, pools: PoolReconciler) -> None:
    cluster.pool("a", nodeSelector={"matchLabels": {"zone": "a"}})
    cluster.run(pools)
    assert ready(cluster, "a") == ("False", "NoNodeSelected", "spec.nodeSelector selects no node")
    cluster.node("n1", zone="a")
    cluster.node("n2", zone="a")
    cluster.run(pools)
    assert ready(cluster, "a") == ("True", "PoolReady", "2 nodes")
    cluster.node("n2", zone="b")
    cluster.run(pools)
    assert ready(cluster, "a") == ("True", "PoolReady", "1 node")
    cluster.writes.clear()
    cluster.run(pools, seconds=3600)
    assert cluster.writes == []


def test_pools_that_overlap_name_the_nodes_and_each_other(cluster: Any, pools: PoolReconciler) -> None:
    cluster.pool("a", nodeSelector={"matchLabels": {"zone": "a"}})
    cluster.pool("all")
    for number in range(5):
        cluster.node(f"n{number}", zone="a")
    cluster.node("other")
    cluster.run(pools)
    for name in ("a", "all"):
        status, reason, message = ready(cluster, name)
        assert (status, reason) == ("False", "Overlaps")
        assert message.endswith("n0 is in a, all; n1 is in a, all; n2 is in a, all; and 2 more")
    cluster.take(POOL_CONFIGS, "all")
    cluster.run(pools)
    assert ready(cluster, "a") == ("True", "PoolReady", "5 nodes")


def test_what_cannot_work_is_said(cluster: Any, pools: PoolReconciler) -> None:
    cluster.node("n1")
    cluster.pool("never", maxUnavailable=0, nodeSelector={"matchLabels": {"kubernetes.io/os": "linux"}})
    cluster.pool("offload", ovsHardwareOffloadConfig={"name": "worker"})
    cluster.pool("wrong", maxUnavailable="110%")
    cluster.run(pools)
    assert ready(cluster, "never") == (
        "True", "NeverDrained", "1 node; with maxUnavailable 0 none of them is ever drained"
    )  # fmt: skip
    assert ready(cluster, "offload")[:2] == ("False", "UnsupportedConfiguration")
    assert ready(cluster, "wrong")[:2] == ("False", "InvalidDocument")
    assert ready(cluster, "wrong")[2].startswith("spec.maxUnavailable: ")
