"""The operator's configuration with a cluster in memory; `tests/kube/deploy` has it with a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.cluster.kinds import DAEMON_SETS, OPERATOR_CONFIGS
from virtfn.controller.operator_config import OperatorConfigReconciler
from virtfn.errors import Unavailable
from virtfn.kube.conditions import condition_of

DAEMON, PLUGIN = "sriov-network-config-daemon", "sriov-device-plugin"
IMAGES = {"SRIOV_NETWORK_CONFIG_DAEMON_IMAGE": "d", "SRIOV_DEVICE_PLUGIN_IMAGE": "p"}


@pytest.fixture
def levels() -> list[int]:
    """What was logged at, in turn."""
    return []


@pytest.fixture
def start(kit: Any, levels: list[int]) -> Any:
    """A cluster with the reconciler: `start(SRIOV_CNI_IMAGE="x")`."""

    def make(cluster: Any = None, **environment: str) -> Any:
        cluster = cluster or kit.Cluster(environment={**IMAGES, **environment})
        reconciler = OperatorConfigReconciler(cluster.services, cluster.views, log_level=levels.append)
        cluster.listen(reconciler)
        cluster.turns = lambda: cluster.run(reconciler, seconds=1.0)
        return cluster

    return make


def said(cluster: Any, name: str = "Ready") -> tuple[str, str, str]:
    condition = condition_of(cluster.get(OPERATOR_CONFIGS, "default"), name=name) or {}
    return condition.get("status", ""), condition.get("reason", ""), condition.get("message", "")


def daemon_sets(cluster: Any) -> set[str]:
    return {path.rpartition("/")[2] for path in cluster.objects if "/daemonsets/" in path}


def test_without_a_configuration_nothing_is_done(start: Any) -> None:
    cluster = start()
    assert cluster.turns() == []
    assert cluster.writes == []


def test_with_one_it_deploys_says_so_and_is_quiet(start: Any, levels: list[int]) -> None:
    cluster = start()
    cluster.config(logLevel=2)
    assert cluster.turns() == []
    assert daemon_sets(cluster) == {DAEMON, PLUGIN}
    assert said(cluster)[:2] == ("True", "OperatorConfigReady")
    assert said(cluster, "Available")[:2] == ("False", "PodsMissing")
    assert said(cluster, "Supported")[:2] == ("True", "Supported")
    assert set(levels) == {2}
    cluster.writes.clear()
    cluster.put(DAEMON_SETS, PLUGIN, status={"desiredNumberScheduled": 2})
    cluster.turns()
    assert cluster.writes == []


def test_one_that_cannot_be_written_does_not_hold_up_the_others(start: Any, kit: Any) -> None:
    cluster = start()
    path = DAEMON_SETS.path(namespace=kit.namespace, name=DAEMON)
    cluster.refuse[path] = Unavailable("no answer")
    cluster.config()
    (error,) = cluster.turns()
    assert isinstance(error, Unavailable)
    assert daemon_sets(cluster) == {DAEMON, PLUGIN}, "and it is tried again"
    assert said(cluster)[1] == "OperatorConfigReady"
    tried = [wrote for wrote in cluster.writes if wrote[1] == path]
    assert len(tried) == 2


def test_what_is_malformed_is_said_and_nothing_changes(start: Any) -> None:
    cluster = start()
    cluster.config()
    cluster.turns()
    cluster.writes.clear()
    cluster.config(logLevel="loud")
    assert cluster.turns() == []
    assert said(cluster)[1] == "OperatorConfigSyncFailed"
    assert "spec.logLevel" in said(cluster)[2]
    assert {path.rpartition("/")[2] for _, path, _ in cluster.writes} == {"status"}


def test_when_it_goes_ours_go_and_nothing_else(start: Any) -> None:
    cluster = start(SRIOV_CNI_IMAGE="c")
    cluster.put(DAEMON_SETS, "theirs", metadata={"labels": {"app.kubernetes.io/managed-by": "virtfn"}})
    cluster.config()
    cluster.turns()
    assert daemon_sets(cluster) == {DAEMON, PLUGIN, "virtfn-sriov-cni", "theirs"}
    cluster.take(OPERATOR_CONFIGS, "default")
    cluster.turns()
    assert daemon_sets(cluster) == {"theirs"}


def test_what_is_in_the_way_is_left_and_named(start: Any) -> None:
    cluster = start()
    theirs = cluster.put(DAEMON_SETS, DAEMON, spec={"template": {}})
    cluster.config()
    assert cluster.turns() == []
    assert cluster.get(DAEMON_SETS, DAEMON) == theirs
    assert PLUGIN in daemon_sets(cluster)
    status, reason, message = said(cluster)
    assert (status, reason) == ("False", "OperatorConfigSyncFailed")
    assert f"delete daemonset {DAEMON}" in message
    cluster.take(DAEMON_SETS, DAEMON)
    cluster.turns()
    assert said(cluster)[1] == "OperatorConfigReady"


def test_pods_of_the_newest_version_count(start: Any) -> None:
    cluster = start(SRIOV_DEVICE_PLUGIN_IMAGE="")
    cluster.config()
    cluster.turns()
    generation = cluster.get(DAEMON_SETS, DAEMON)["metadata"]["generation"]
    whole = {
        "observedGeneration": generation,
        "desiredNumberScheduled": 3,
        "updatedNumberScheduled": 3,
        "numberAvailable": 3,
    }
    lacking: list[dict[str, int]] = [
        {"observedGeneration": generation - 1}, {"updatedNumberScheduled": 2}, {"numberAvailable": 2},
    ]  # fmt: skip
    for less in lacking:
        cluster.put(DAEMON_SETS, DAEMON, status={**whole, **less})
        cluster.turns()
        assert said(cluster, "Available")[0] == "False", less
        cluster.put(DAEMON_SETS, DAEMON, status=whole)
        cluster.turns()
        assert said(cluster, "Available")[0] == "True"


def test_daemon_sets_of_others_are_not_looked_at(start: Any) -> None:
    cluster = start()
    cluster.config()
    cluster.turns()
    turns = cluster.tally.counted("queue_adds", of="operator_config")
    cluster.put(DAEMON_SETS, "kube-proxy", status={"numberAvailable": 1})
    assert cluster.tally.counted("queue_adds", of="operator_config") == turns
