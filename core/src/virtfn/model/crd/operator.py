"""`SriovOperatorConfig`: what is deployed and how it behaves."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from virtfn.model.crd.meta import Conditions, CustomResource
from virtfn.model.wire import StatusModel, WireModel

OPERATOR_CONFIG_KIND: Final = "SriovOperatorConfig"
OPERATOR_CONFIG_NAME: Final = "default"
"""The only name that counts."""

PluginName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]


class OperatorConfigSpec(WireModel):
    """What is deployed and how it behaves."""

    own_zero = frozenset({"pod_eviction_force"})

    config_daemon_node_selector: dict[str, str] = Field(default_factory=dict, alias="configDaemonNodeSelector")
    """Labels of the nodes that daemons run on; absent: all Linux worker nodes."""
    enable_injector: StrictBool = Field(default=False, alias="enableInjector")
    """Whether the network resources injector is deployed, which adds VF requests to pods by their networks."""
    enable_operator_webhook: StrictBool = Field(default=False, alias="enableOperatorWebhook")
    """Whether the admission webhook is deployed, which checks objects beyond what their schema can say."""
    log_level: Annotated[StrictInt, Field(ge=0, le=2)] = Field(default=0, alias="logLevel")
    """How much controller and daemons log: 0 little, 2 everything."""
    disable_drain: StrictBool = Field(default=False, alias="disableDrain")
    """Whether nodes are changed without draining them: pods lose their VFs under their feet."""
    enable_ovs_offload: StrictBool = Field(default=False, alias="enableOvsOffload")
    """Of older operators; nothing follows from it."""
    configuration_mode: Literal["daemon", "systemd"] = Field(default="daemon", alias="configurationMode")
    """Who configures the NICs: the daemon's pod, or a service on the host, before the network is up."""
    use_cdi: StrictBool = Field(default=False, alias="useCDI")
    """Whether the device plugin hands devices over by the Container Device Interface."""
    disable_plugins: Annotated[tuple[PluginName, ...], Field(json_schema_extra={"maxItems": 64})] = Field(
        default=(), alias="disablePlugins"
    )
    """Vendor plugins that are not used, by name, like `mellanox`; their NICs are left to the generic plugin."""
    feature_gates: dict[str, StrictBool] = Field(default_factory=dict, alias="featureGates")
    """Features by name, on or off; unknown names have no effect."""
    config_daemon_env_vars: dict[str, str] = Field(default_factory=dict, alias="configDaemonEnvVars")
    """Further environment variables of the daemon's container."""
    pod_eviction_policy: Literal["evict", "delete"] | None = Field(default=None, alias="podEvictionPolicy")
    """How pods leave a node that is drained: `evict` heeds disruption budgets, `delete` does not; absent: evict."""
    pod_eviction_force: StrictBool | None = Field(default=None, alias="podEvictionForce")
    """Whether such pods are killed at once, without their grace period; absent: false."""


class OperatorConfigStatus(StatusModel):
    """How the deployment is doing."""

    injector: str = ""
    """Of older operators; not written."""
    operator_webhook: str = Field(default="", alias="operatorWebhook")
    """Of older operators; not written."""
    conditions: Conditions = ()
    """How the deployment is doing, one entry for each aspect."""


class SriovOperatorConfig(CustomResource):
    """What is deployed and how it behaves. Only the object `default` in the operator's namespace counts."""

    plural = "sriovoperatorconfigs"

    kind: Literal["SriovOperatorConfig"] = OPERATOR_CONFIG_KIND
    """Always `SriovOperatorConfig`."""
    spec: OperatorConfigSpec = OperatorConfigSpec()
    """What is wanted."""
    status: OperatorConfigStatus = OperatorConfigStatus()
    """How the deployment is doing; written by the controller."""
