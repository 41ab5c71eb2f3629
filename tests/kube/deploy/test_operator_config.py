"""The operator's configuration becomes DaemonSets on a real API server, and nothing of somebody else's changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from kube.bed.reconciling import Reconciling, eventually
from kube.bed.server import ADMIN, ApiServer

from virtfn.cluster.kinds import DAEMON_SETS, OPERATOR_CONFIGS
from virtfn.controller.operands import NAMES
from virtfn.controller.operator_config import OperatorConfigReconciler
from virtfn.controller.services import ControllerSettings
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.conditions import condition_of
from virtfn.kube.resource import EVENTS, Json, version_of

DAEMON, PLUGIN = "sriov-network-config-daemon", "sriov-device-plugin"
IMAGES = {
    "SRIOV_NETWORK_CONFIG_DAEMON_IMAGE": "example.org/daemon:1",
    "SRIOV_DEVICE_PLUGIN_IMAGE": "example.org/plugin:1",
}
CNI = {
    "SRIOV_CNI_IMAGE": "example.org/sriov:1",
    "SRIOV_INFINIBAND_CNI_IMAGE": "example.org/ib:1",
    "RDMA_CNI_IMAGE": "example.org/rdma:1",
    "OVS_CNI_IMAGE": "example.org/ovs:1",
}


@pytest.fixture
def kube(api_server: ApiServer, crds: list[str]) -> Iterator[KubeClient]:
    configured = configuration(environment={}, kubeconfig=api_server.kubeconfig(ADMIN))
    client = connect(configured, user_agent="virtfn/test", random=Random())
    yield client
    client.close()


@pytest.fixture
def running(kube: KubeClient, namespace: str) -> Callable[..., Reconciling]:
    """The reconciler: `with running(SRIOV_CNI_IMAGE="x"): ...`."""

    def make(**environment: str) -> Reconciling:
        settings = ControllerSettings(namespace, "example.com", environment={**IMAGES, **environment})
        return Reconciling(kube, [OperatorConfigReconciler], settings)

    return make


@pytest.fixture
def config(kube: KubeClient, namespace: str) -> Callable[..., Json]:
    """Makes or changes the operator's configuration: `config(logLevel=2)`."""

    def put(name: str = "default", **spec: Any) -> Json:
        if kube.find(OPERATOR_CONFIGS, name=name, namespace=namespace) is not None:
            return kube.patch(OPERATOR_CONFIGS, name=name, namespace=namespace, body={"spec": spec})
        body = {
            "apiVersion": OPERATOR_CONFIGS.api_version,
            "kind": OPERATOR_CONFIGS.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        return kube.create(OPERATOR_CONFIGS, body=body)

    return put


@pytest.fixture
def told(kube: KubeClient, namespace: str) -> Callable[..., str]:
    """Waits until a condition of the configuration has that reason, for its newest generation; its message."""

    def wait(reason: str, *, name: str = "Ready") -> str:
        def look() -> Any:
            live = kube.get(OPERATOR_CONFIGS, name="default", namespace=namespace)
            condition = condition_of(live, name=name)
            assert condition is not None
            assert (condition["reason"], condition["observedGeneration"]) == (reason, live["metadata"]["generation"])
            return condition

        return str(eventually(look)["message"])

    return wait


@pytest.fixture
def pod_of(kube: KubeClient, namespace: str) -> Callable[[str], Json]:
    """The pod's spec of a DaemonSet."""

    def get(name: str) -> Json:
        found: Json = kube.get(DAEMON_SETS, name=name, namespace=namespace)["spec"]["template"]["spec"]
        return found

    return get


def at_rest(run: Reconciling) -> int:
    before = -1
    while before != (now := run.writes()):
        before = now
        time.sleep(1.0)
    return now


def test_it_deploys_and_comes_to_rest_also_for_the_next_process(
    kube: KubeClient, running: Any, config: Any, told: Any, pod_of: Any, namespace: str
) -> None:
    made = config()
    with running(**CNI) as run:
        assert told("OperatorConfigReady") == "SriovOperatorConfig reconciled successfully"
        found = {each["metadata"]["name"]: each for each in kube.list(DAEMON_SETS, namespace=namespace)}
        assert set(found) == set(NAMES)
        for each in found.values():
            (owner,) = each["metadata"]["ownerReferences"]
            assert owner["uid"] == made["metadata"]["uid"]
            assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "virtfn"
        assert pod_of(PLUGIN)["nodeSelector"] == {
            "kubernetes.io/os": "linux",
            "sriovnetwork.openshift.io/device-plugin": "Enabled",
        }
        assert "--resource-prefix=example.com" in pod_of(PLUGIN)["containers"][0]["args"]
        at_rest(run)
    versions = {each["metadata"]["name"]: version_of(each) for each in kube.list(DAEMON_SETS, namespace=namespace)}
    with running(**CNI) as again:
        assert at_rest(again) == 0
        assert again.tally.counted("writes_saved") >= len(NAMES), "it did look"
    assert versions == {
        each["metadata"]["name"]: version_of(each) for each in kube.list(DAEMON_SETS, namespace=namespace)
    }


def test_what_the_configuration_says_is_in_them_and_goes_again(
    kube: KubeClient, running: Any, config: Any, told: Any, pod_of: Any
) -> None:
    config(
        configDaemonNodeSelector={"a": "1", "b": "2"}, logLevel=2, useCDI=True,
        configDaemonEnvVars={"EXTRA": "yes"}, featureGates={"blockDevicePluginUntilConfigured": False},
    )  # fmt: skip
    with running() as run:
        told("OperatorConfigReady")
        daemon, plugin = pod_of(DAEMON), pod_of(PLUGIN)
        assert daemon["nodeSelector"] == {"a": "1", "b": "2"}
        assert "affinity" not in daemon
        assert daemon["containers"][0]["command"] == ["virtfn", "--verbose", "daemon"]
        env = {each["name"]: each.get("value", "") for each in daemon["containers"][0]["env"]}
        assert env["EXTRA"] == "yes"
        assert plugin["nodeSelector"] == {"a": "1", "b": "2", "sriovnetwork.openshift.io/device-plugin": "Enabled"}
        assert "--use-cdi" in plugin["containers"][0]["args"]
        assert "cdi" in {each["name"] for each in plugin["volumes"]}
        assert "initContainers" not in plugin
        at_rest(run)
        config(
            configDaemonNodeSelector={"b": None}, logLevel=0, useCDI=False, configDaemonEnvVars=None, featureGates=None
        )  # fmt: skip
        told("OperatorConfigReady")
        daemon, plugin = pod_of(DAEMON), pod_of(PLUGIN)
        assert daemon["nodeSelector"] == {"a": "1"}
        assert daemon["containers"][0]["command"] == ["virtfn", "daemon"]
        assert "EXTRA" not in {each["name"] for each in daemon["containers"][0]["env"]}
        assert "--use-cdi" not in plugin["containers"][0]["args"]
        assert "cdi" not in {each["name"] for each in plugin["volumes"]}
        assert [each["name"] for each in plugin["initContainers"]] == ["wait-for-config"]
        config(configDaemonNodeSelector=None)
        told("OperatorConfigReady")
        assert "nodeSelector" not in pod_of(DAEMON)
        assert pod_of(DAEMON)["affinity"]["nodeAffinity"]
        at_rest(run)


@pytest.mark.parametrize("change", ["gone", "image", "privileges"])
def test_what_somebody_does_to_them_is_undone(
    change: str, kube: KubeClient, running: Any, config: Any, told: Any, pod_of: Any, namespace: str
) -> None:
    config()
    with running():
        told("OperatorConfigReady")
        before = pod_of(PLUGIN)
        if change == "gone":
            kube.delete(DAEMON_SETS, name=PLUGIN, namespace=namespace)
        else:
            path = {"image": "/image", "privileges": "/securityContext/privileged"}[change]
            value = {"image": "example.org/other:2", "privileges": False}[change]
            kube.patch(
                DAEMON_SETS, name=PLUGIN, namespace=namespace, kind=PatchKind.JSON,
                body=[{"op": "replace", "path": f"/spec/template/spec/containers/0{path}", "value": value}],
            )  # fmt: skip
        eventually(lambda: kube.find(DAEMON_SETS, name=PLUGIN, namespace=namespace) and pod_of(PLUGIN) == before)


def test_what_is_no_longer_wanted_goes_and_what_is_not_ours_stays(
    kube: KubeClient, running: Any, config: Any, told: Any, namespace: str
) -> None:
    labels = {"app": "theirs", "app.kubernetes.io/managed-by": "virtfn"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.org/i:1"}]}}
    theirs = {"metadata": {"name": "theirs", "namespace": namespace, "labels": labels}}
    kube.create(DAEMON_SETS, body={**theirs, "spec": {"selector": {"matchLabels": labels}, "template": pod}})
    config()
    with running(**CNI):
        told("OperatorConfigReady")
    with running(SRIOV_CNI_IMAGE="example.org/sriov:1", SRIOV_DEVICE_PLUGIN_IMAGE=""):
        wanted = {DAEMON, "virtfn-sriov-cni", "theirs"}
        eventually(lambda: {e["metadata"]["name"] for e in kube.list(DAEMON_SETS, namespace=namespace)} == wanted)
        kube.delete(OPERATOR_CONFIGS, name="default", namespace=namespace)
        eventually(lambda: {e["metadata"]["name"] for e in kube.list(DAEMON_SETS, namespace=namespace)} == {"theirs"})


def test_a_daemon_set_of_another_operator_is_in_the_way_and_left_alone(
    kube: KubeClient, running: Any, config: Any, told: Any, pod_of: Any, namespace: str
) -> None:
    labels = {"app": DAEMON}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.org/go:1"}]}}
    theirs = kube.create(
        DAEMON_SETS,
        body={
            "metadata": {"name": DAEMON, "namespace": namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": pod},
        },
    )
    config()
    with running() as run:
        said = told("OperatorConfigSyncFailed")
        assert f"kubectl -n {namespace} delete daemonset {DAEMON}" in said
        at_rest(run)
        assert version_of(kube.get(DAEMON_SETS, name=DAEMON, namespace=namespace)) == version_of(theirs)
        assert pod_of(PLUGIN), "the others are deployed"
        eventually(
            lambda: [
                each for each in kube.list(EVENTS, namespace=namespace)
                if each["type"] == "Warning" and each["note"] == said
            ]
        )  # fmt: skip
        kube.delete(DAEMON_SETS, name=DAEMON, namespace=namespace)
        told("OperatorConfigReady")
        assert pod_of(DAEMON)["containers"][0]["image"] == "example.org/daemon:1"


def test_what_there_is_not_is_told_and_is_no_failure(running: Any, config: Any, told: Any) -> None:
    config(
        enableInjector=True, enableOperatorWebhook=True, configurationMode="systemd", disablePlugins=["fff1"],
        featureGates={"parallelNicConfig": True, "manageSoftwareBridges": True}, configDaemonEnvVars={"NODE_NAME": "x"},
    )  # fmt: skip
    with running():
        told("OperatorConfigReady")
        said = told("UnsupportedConfiguration", name="Supported")
        words = ("enableInjector", "enableOperatorWebhook", "systemd", "fff1", "parallelNicConfig", "NODE_NAME")
        assert [word for word in words if word not in said] == []
        assert "manageSoftwareBridges" not in said
        config(
            enableInjector=False, enableOperatorWebhook=False, configurationMode="daemon", disablePlugins=None,
            featureGates=None, configDaemonEnvVars=None,
        )  # fmt: skip
        told("Supported", name="Supported")


def test_the_node_name_is_never_anybody_elses(running: Any, config: Any, told: Any, pod_of: Any) -> None:
    config(configDaemonEnvVars={"NODE_NAME": "another", "NAMESPACE": "another"})
    with running():
        told("OperatorConfigReady")
        env = {each["name"]: each for each in pod_of(DAEMON)["containers"][0]["env"]}
        assert env["NODE_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
        assert "value" not in env["NODE_NAME"]
        assert "value" not in env["NAMESPACE"]


def test_without_the_daemons_image_it_says_which_variable_is_missing(running: Any, config: Any, told: Any) -> None:
    config()
    with running(SRIOV_NETWORK_CONFIG_DAEMON_IMAGE=""):
        assert "SRIOV_NETWORK_CONFIG_DAEMON_IMAGE" in told("OperatorConfigSyncFailed")


def test_paused_means_that_nothing_changes(
    kube: KubeClient, running: Any, config: Any, told: Any, pod_of: Any, namespace: str
) -> None:
    config()
    with running():
        told("OperatorConfigReady")
        pause = {"metadata": {"annotations": {"virtfn.io/paused": "true"}}}
        kube.patch(OPERATOR_CONFIGS, name="default", namespace=namespace, body=pause)
        told("Paused")
        config(useCDI=True)
        told("Paused")
        assert "--use-cdi" not in pod_of(PLUGIN)["containers"][0]["args"]
        go_on = {"metadata": {"annotations": {"virtfn.io/paused": None}}}
        kube.patch(OPERATOR_CONFIGS, name="default", namespace=namespace, body=go_on)
        told("OperatorConfigReady")
        assert "--use-cdi" in pod_of(PLUGIN)["containers"][0]["args"]


def test_where_the_manifests_deploy_nothing_is_written_but_its_status(
    kube: KubeClient, running: Any, config: Any, told: Any, namespace: str
) -> None:
    config()
    with running(VIRTFN_DEPLOY_OPERANDS="false") as run:
        assert "come with the manifests" in told("OperatorConfigReady")
        assert at_rest(run) == 1
    assert list(kube.list(DAEMON_SETS, namespace=namespace)) == []


def test_only_the_object_of_that_name_counts(kube: KubeClient, running: Any, config: Any, namespace: str) -> None:
    config("other")
    with running() as run:
        assert at_rest(run) == 0
    assert list(kube.list(DAEMON_SETS, namespace=namespace)) == []


def test_the_finalizer_of_the_go_operator_does_not_hold_it(
    kube: KubeClient, running: Any, config: Any, told: Any, namespace: str
) -> None:
    config()
    theirs = {"metadata": {"finalizers": ["operatorconfig.finalizers.sriovnetwork.openshift.io", "example.org/other"]}}
    kube.patch(OPERATOR_CONFIGS, name="default", namespace=namespace, body=theirs)
    with running():
        told("OperatorConfigReady")
        kube.delete(OPERATOR_CONFIGS, name="default", namespace=namespace)
        eventually(
            lambda: (
                kube.get(OPERATOR_CONFIGS, name="default", namespace=namespace)["metadata"]["finalizers"]
                == ["example.org/other"]
            )
        )
    kube.patch(OPERATOR_CONFIGS, name="default", namespace=namespace, body={"metadata": {"finalizers": None}})


def test_whether_the_pods_run_is_a_condition_of_its_own(
    kube: KubeClient, running: Any, config: Any, told: Any, namespace: str
) -> None:
    config()
    with running() as run:
        told("OperatorConfigReady")
        assert DAEMON in told("PodsMissing", name="Available")
        for name in (DAEMON, PLUGIN):
            live = kube.get(DAEMON_SETS, name=name, namespace=namespace)
            numbers = {
                "currentNumberScheduled": 2,
                "desiredNumberScheduled": 2,
                "numberMisscheduled": 0,
                "numberReady": 2,
            }
            more = {
                "updatedNumberScheduled": 2,
                "numberAvailable": 2,
                "observedGeneration": live["metadata"]["generation"],
            }
            kube.patch(
                DAEMON_SETS, name=name, namespace=namespace, body={"status": numbers | more}, subresource="status"
            )  # fmt: skip
        told("PodsRun", name="Available")
        at_rest(run)
        kube.patch(
            DAEMON_SETS, name=PLUGIN, namespace=namespace, body={"status": {"numberAvailable": 1}}, subresource="status"
        )
        assert told("PodsMissing", name="Available") == f"not all pods run yet: {PLUGIN}"
