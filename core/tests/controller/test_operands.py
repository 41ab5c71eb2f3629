"""What the DaemonSets say, and what they may never say."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.controller.membership import has_daemon
from virtfn.controller.operands import NAMES, OperandSettings, operand_settings, wanted_daemon_sets
from virtfn.controller.operands.cni import binaries
from virtfn.controller.operands.cni_plugins import CNI_PLUGINS
from virtfn.controller.operands.config_daemon import MOUNTS as DAEMON_MOUNTS
from virtfn.controller.operands.config_daemon import PRIVILEGES as DAEMON_PRIVILEGES
from virtfn.controller.operands.device_plugin import CDI, CONFIG
from virtfn.controller.operands.device_plugin import MOUNTS as PLUGIN_MOUNTS
from virtfn.controller.operands.device_plugin import PRIVILEGES as PLUGIN_PRIVILEGES
from virtfn.controller.operands.settings import without_effect
from virtfn.controller.services import ControllerSettings
from virtfn.errors import RequestError
from virtfn.model.crd import OperatorConfigSpec

ALL_CNI = {plugin.variable: f"example.org/{plugin.name}:1" for plugin in CNI_PLUGINS}
WHOLE = OperandSettings(
    daemon_image="example.org/daemon:1",
    resource_prefix="example.com",
    device_plugin_image="example.org/plugin:1",
    cni_images=ALL_CNI,
    namespace="here",
    use_cdi=True,
)
REASONS = {mount.name: mount for mount in (*DAEMON_MOUNTS, *PLUGIN_MOUNTS, CDI, binaries("/opt/cni/bin"))}


def containers(daemon_set: dict[str, Any]) -> list[dict[str, Any]]:
    pod = daemon_set["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def by_name(settings: OperandSettings) -> dict[str, dict[str, Any]]:
    return {thing["metadata"]["name"]: thing for thing in wanted_daemon_sets(settings)}


def settings_of(spec: dict[str, Any], **environment: str) -> OperandSettings:
    given = {"SRIOV_NETWORK_CONFIG_DAEMON_IMAGE": "d", **environment}
    controller = ControllerSettings("here", "example.com", environment=given)
    return operand_settings(OperatorConfigSpec.model_validate(spec), controller)


# --- rules for all ----------------------------------------------------------------------------------------------------


def test_all_names_are_known_before() -> None:
    assert tuple(by_name(WHOLE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_is_bounded_and_confined(name: str) -> None:
    thing = by_name(WHOLE)[name]
    pod = thing["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["serviceAccountName"] in ("virtfn-daemon", "virtfn-device-plugin", "virtfn-cni")
    assert "hostPID" not in pod
    assert "hostIPC" not in pod
    assert (pod.get("automountServiceAccountToken") is False) == (pod["serviceAccountName"] != "virtfn-daemon")
    for container in containers(thing):
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        if not context.get("privileged"):
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_folder_of_the_host_has_its_reason(name: str) -> None:
    thing = by_name(WHOLE)[name]
    for volume in thing["spec"]["template"]["spec"]["volumes"]:
        if "hostPath" in volume:
            mount = REASONS[volume["name"]]
            assert mount.host_path == volume["hostPath"]["path"]
            assert len(mount.why) > 20
            assert "\n" not in mount.reason()
        else:
            assert "emptyDir" in volume
    mounted = {mount["name"] for each in containers(thing) for mount in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in thing["spec"]["template"]["spec"]["volumes"]}


def test_privileges_have_reasons_and_only_two_need_any() -> None:
    privileged = {
        name for name, thing in by_name(WHOLE).items()
        if any(each["securityContext"].get("privileged") for each in containers(thing))
    }  # fmt: skip
    assert privileged == {"sriov-network-config-daemon", "sriov-device-plugin"}
    for reasons in (DAEMON_PRIVILEGES, PLUGIN_PRIVILEGES):
        assert [line.partition(":")[0] for line in reasons][:2] == ["privileged", "hostNetwork"]


def test_the_root_of_the_host_is_read_only() -> None:
    (container,) = containers(by_name(WHOLE)["sriov-network-config-daemon"])
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/host"]["readOnly"] is True
    assert mounts["/host"]["mountPropagation"] == "HostToContainer"
    assert "readOnly" not in mounts["/host/sys"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_that_the_server_would_drop(name: str) -> None:
    """It would look like a difference, and be written for ever."""

    def empties(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [found for key, inner in value.items() for found in empties(inner, f"{path}.{key}")]
        if isinstance(value, list):
            return [found for inner in value for found in empties(inner, f"{path}[]")]
        # Of these the server tells false from nothing.
        is_empty = value in ("", None) or (value is False and not path.endswith(("Token", "Escalation")))
        return [path] if is_empty and not path.endswith(".values[]") else []

    settings = OperandSettings("d", "p", device_plugin_image="x", cni_images=ALL_CNI, daemon_variables={"EMPTY": ""})
    for each in (WHOLE, settings):
        assert empties(by_name(each)[name], "") == []


# --- one by one -------------------------------------------------------------------------------------------------------


def test_the_daemon_runs_where_its_node_states_are() -> None:
    terms = by_name(WHOLE)["sriov-network-config-daemon"]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    os, worker, capable = (
        "kubernetes.io/os",
        "node-role.kubernetes.io/worker",
        "feature.node.kubernetes.io/network-sriov.capable",
    )
    nodes: list[dict[str, str]] = [
        {}, {os: "linux"}, {os: "linux", worker: ""}, {os: "windows", worker: ""}, {os: "linux", capable: "true"},
        {os: "linux", capable: "false"}, {os: "linux", worker: "", capable: "false"},
    ]  # fmt: skip
    for labels in nodes:
        runs = any(
            all(labels.get(need["key"]) in need["values"] for need in term["matchExpressions"]) for term in terms
        )
        assert runs == has_daemon(labels, selector={}), labels


def test_a_selector_stands_for_itself() -> None:
    made = by_name(
        settings_of({"configDaemonNodeSelector": {"a": "1"}}, SRIOV_DEVICE_PLUGIN_IMAGE="x", SRIOV_CNI_IMAGE="y")
    )
    pods = {name: thing["spec"]["template"]["spec"] for name, thing in made.items()}
    assert pods["sriov-network-config-daemon"]["nodeSelector"] == {"a": "1"}
    assert pods["virtfn-sriov-cni"]["nodeSelector"] == {"a": "1"}
    assert pods["sriov-device-plugin"]["nodeSelector"] == {
        "a": "1",
        "sriovnetwork.openshift.io/device-plugin": "Enabled",
    }


def test_the_device_plugin_waits_for_what_the_daemon_writes() -> None:
    thing = by_name(WHOLE)["sriov-device-plugin"]
    waits, runs = containers(thing)
    assert waits["image"] == runs["image"]
    assert f"-s {CONFIG.at}/config.json" in waits["command"][-1]
    assert f"--config-file={CONFIG.at}/config.json" in runs["args"]
    daemon_folder = next(mount for mount in DAEMON_MOUNTS if mount.name == "run").host_path
    assert CONFIG.host_path == f"{daemon_folder}/device-plugin"
    assert {"name": "config", "mountPath": CONFIG.at, "readOnly": True} in waits["volumeMounts"]
    gate = {"featureGates": {"blockDevicePluginUntilConfigured": False}}
    made = by_name(settings_of(gate, SRIOV_DEVICE_PLUGIN_IMAGE="x"))
    assert "initContainers" not in made["sriov-device-plugin"]["spec"]["template"]["spec"]


def test_a_card_is_reset_only_where_the_gate_is_on() -> None:
    def args(spec: dict[str, Any]) -> list[str]:
        (container,) = containers(by_name(settings_of(spec))["sriov-network-config-daemon"])
        found: list[str] = container["args"]
        return found

    assert "--firmware-reset" not in args({}) + args({"featureGates": {"mellanoxFirmwareReset": False}})
    on = {"featureGates": {"mellanoxFirmwareReset": True}}
    assert args(on)[-1] == "--firmware-reset"
    assert without_effect(OperatorConfigSpec.model_validate(on)) == ()


def test_the_device_plugin_is_told_nothing_that_its_entry_point_refuses() -> None:
    """It takes four words and ends at any other (its images/entrypoint.sh)."""
    _, container = containers(by_name(WHOLE)["sriov-device-plugin"])
    known = {"--log-level", "--resource-prefix", "--config-file", "--use-cdi"}
    assert {word.partition("=")[0] for word in container["args"]} == known


def test_environment_of_the_controller() -> None:
    made = settings_of(
        {},
        IMAGE_PULL_SECRETS="a, b,",
        SRIOV_CNI_BIN_PATH="/var/lib/cni/bin",
        CLUSTER_TYPE="openshift",
        RDMA_CNI_IMAGE="r",
    )
    assert made.pull_secrets == ("a", "b")
    pods = {name: thing["spec"]["template"] for name, thing in by_name(made).items()}
    assert set(pods) == {"sriov-network-config-daemon", "virtfn-rdma-cni"}
    assert pods["virtfn-rdma-cni"]["spec"]["volumes"][0]["hostPath"]["path"] == "/var/lib/cni/bin"
    for pod in pods.values():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
        assert pod["metadata"]["annotations"] == {"openshift.io/required-scc": "privileged"}


def test_an_image_that_is_missing_is_named() -> None:
    with pytest.raises(RequestError, match="SRIOV_NETWORK_CONFIG_DAEMON_IMAGE"):
        operand_settings(OperatorConfigSpec(), ControllerSettings("here", "example.com", environment={}))


def test_what_has_no_effect_is_told_and_the_rest_is_not() -> None:
    assert without_effect(OperatorConfigSpec()) == ()
    quiet = {
        "featureGates": {"manageSoftwareBridges": True, "blockDevicePluginUntilConfigured": False},
        "configDaemonEnvVars": {"A": "b"}, "useCDI": True, "disableDrain": True, "logLevel": 2,
        "podEvictionPolicy": "delete",
    }  # fmt: skip
    assert without_effect(OperatorConfigSpec.model_validate(quiet)) == ()
    loud = {
        "enableInjector": True, "enableOperatorWebhook": True, "configurationMode": "systemd",
        "disablePlugins": ["fff1"], "featureGates": {"unknown": False}, "configDaemonEnvVars": {"NODE_NAME": "x"},
    }  # fmt: skip
    lines = without_effect(OperatorConfigSpec.model_validate(loud))
    assert [line.partition(":")[0] for line in lines] == [
        "enableOperatorWebhook", "enableInjector", "configurationMode", "disablePlugins", "featureGates",
        "configDaemonEnvVars",
    ]  # fmt: skip


def test_an_external_drainer_is_told_to_the_daemon() -> None:
    controller = ControllerSettings(
        "here", "example.com", environment={"SRIOV_NETWORK_CONFIG_DAEMON_IMAGE": "d"}, use_external_drainer=True
    )
    made = operand_settings(OperatorConfigSpec(), controller)
    assert made.daemon_variables == {"USE_EXTERNAL_DRAINER": "true"}
