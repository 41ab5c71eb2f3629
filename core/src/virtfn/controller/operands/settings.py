"""What the operands are told: from the operator's configuration, and from the controller's own environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from virtfn.controller.operands.cni_plugins import CNI_PLUGINS
from virtfn.controller.services import ControllerSettings
from virtfn.errors import RequestError
from virtfn.model.crd import OperatorConfigSpec

DAEMON_IMAGE: Final = "SRIOV_NETWORK_CONFIG_DAEMON_IMAGE"
DEVICE_PLUGIN_IMAGE: Final = "SRIOV_DEVICE_PLUGIN_IMAGE"
CNI_BIN_PATH: Final = "SRIOV_CNI_BIN_PATH"
PULL_SECRETS: Final = "IMAGE_PULL_SECRETS"
CLUSTER_TYPE: Final = "CLUSTER_TYPE"
"""Variables of the controller, with the names that the existing operators gave them."""

BLOCK_GATE: Final = "blockDevicePluginUntilConfigured"
"""Feature gate, on unless it is switched off: the device plugin waits until the daemon has made the VFs."""
RESET_GATE: Final = "mellanoxFirmwareReset"
"""Feature gate, off unless it is switched on: a card may be reset to spare the node a reboot."""
EFFECTIVE_GATES: Final = frozenset({BLOCK_GATE, RESET_GATE, "manageSoftwareBridges"})

OWN_VARIABLES: Final = frozenset({"NODE_NAME", "POD_NAME", "NAMESPACE", "USE_EXTERNAL_DRAINER", "KUBECONFIG"})
"""Of the daemon, which `configDaemonEnvVars` cannot change: they say who it is."""


@dataclass(frozen=True, slots=True)
class OperandSettings:
    """All that the DaemonSets differ by."""

    daemon_image: str
    resource_prefix: str
    """What stands before the `/` of the device plugin's resources."""
    device_plugin_image: str = ""
    """Empty: no device plugin."""
    cni_images: Mapping[str, str] = field(default_factory=dict)
    """Of the CNI plugins that are installed, by the name of their variable."""
    namespace: str = ""
    """Empty: the objects name none, whoever applies them does."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Empty: Linux nodes that are workers, or that are said to have SR-IOV cards."""
    daemon_variables: Mapping[str, str] = field(default_factory=dict)
    """More of the daemon's environment."""
    verbose: bool = False
    use_cdi: bool = False
    block_device_plugin: bool = True
    firmware_reset: bool = False
    cni_bin_path: str = "/opt/cni/bin"
    """Folder of the hosts that CNI plugins are in."""
    pull_secrets: tuple[str, ...] = ()
    openshift: bool = False


def operand_settings(spec: OperatorConfigSpec, controller: ControllerSettings) -> OperandSettings:
    """What follows from an operator configuration.

    :raises RequestError: the controller was not told the daemon's image.
    """
    environment = controller.environment
    if not (daemon_image := environment.get(DAEMON_IMAGE, "").strip()):
        raise RequestError(
            f"{DAEMON_IMAGE}: the daemon's image is not known (set the variable in the controller's Deployment)",
            field=DAEMON_IMAGE,
        )
    variables = {name: value for name, value in spec.config_daemon_env_vars.items() if name not in OWN_VARIABLES}
    if controller.use_external_drainer:
        variables["USE_EXTERNAL_DRAINER"] = "true"
    images = {plugin.variable: environment.get(plugin.variable, "").strip() for plugin in CNI_PLUGINS}
    return OperandSettings(
        daemon_image=daemon_image,
        resource_prefix=controller.resource_prefix,
        device_plugin_image=environment.get(DEVICE_PLUGIN_IMAGE, "").strip(),
        cni_images={variable: image for variable, image in images.items() if image},
        namespace=controller.namespace,
        node_selector=spec.config_daemon_node_selector or controller.node_selector,
        daemon_variables=variables,
        verbose=spec.log_level >= 2,
        use_cdi=spec.use_cdi,
        block_device_plugin=spec.feature_gates.get(BLOCK_GATE, True),
        firmware_reset=spec.feature_gates.get(RESET_GATE, False),
        cni_bin_path=environment.get(CNI_BIN_PATH, "").strip() or "/opt/cni/bin",
        pull_secrets=tuple(word.strip() for word in environment.get(PULL_SECRETS, "").split(",") if word.strip()),
        openshift=environment.get(CLUSTER_TYPE, "").lower() == "openshift",
    )


def without_effect(spec: OperatorConfigSpec) -> tuple[str, ...]:
    """What a configuration asks for and does not get, one line each."""
    lines = []
    if spec.enable_operator_webhook:
        lines.append("enableOperatorWebhook: there is no webhook; the definitions' own rules and the controller check")
    if spec.enable_injector:
        lines.append("enableInjector: no injector is deployed; name the resources in the pods")
    if spec.configuration_mode != "daemon":
        lines.append(f"configurationMode: {spec.configuration_mode} is not built yet; the daemon configures")
    if spec.disable_plugins:
        names = ", ".join(spec.disable_plugins)
        lines.append(f"disablePlugins: {names}: build the daemon's image without them instead")
    if gates := sorted(spec.feature_gates.keys() - EFFECTIVE_GATES):
        lines.append(f"featureGates: {', '.join(gates)}: nothing here depends on them")
    if reserved := sorted(spec.config_daemon_env_vars.keys() & OWN_VARIABLES):
        lines.append(f"configDaemonEnvVars: {', '.join(reserved)}: set by the controller, and by nobody else")
    return tuple(lines)
