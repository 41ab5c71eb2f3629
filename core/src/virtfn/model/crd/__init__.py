"""The custom resources of `sriovnetwork.openshift.io/v1` at the wire.

The only place that knows how the API spells things. A spec is read strictly (an unknown name is an error that says
which name is near), a status leniently (it is somebody's report, and must not stop anybody). Nothing here decides
anything: selecting and merging are `virtfn.policy`. From the same models follow the CustomResourceDefinitions
(`virtfn.model.schema`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from virtfn.model.crd.meta import API_VERSION, GROUP, VERSION, Condition, ConditionsStatus, CustomResource, ObjectMeta
from virtfn.model.crd.networks import (
    IB_NETWORK_KIND,
    NETWORK_KIND,
    OVS_NETWORK_KIND,
    NetworkSpec,
    OVSNetwork,
    OVSNetworkSpec,
    SriovIBNetwork,
    SriovIBNetworkSpec,
    SriovNetwork,
    SriovNetworkSpec,
    TrunkEntry,
)
from virtfn.model.crd.operator import (
    OPERATOR_CONFIG_KIND,
    OPERATOR_CONFIG_NAME,
    OperatorConfigSpec,
    OperatorConfigStatus,
    SriovOperatorConfig,
)
from virtfn.model.crd.policies import (
    DEFAULT_PRIORITY,
    IGNORED_POLICY,
    MOST_STATUS_NODES,
    MOST_STATUS_PFS,
    POLICY_KIND,
    BridgePolicy,
    LinkTypeWord,
    NicSelector,
    OvsPolicy,
    OvsUplink,
    PfName,
    PolicyNodeStatus,
    PolicyPfStatus,
    PolicySpec,
    PolicyStatus,
    SelectorMismatch,
    SriovNetworkNodePolicy,
    VdpaType,
)
from virtfn.model.crd.pools import (
    POOL_CONFIG_KIND,
    LabelRequirement,
    LabelSelector,
    OvsHardwareOffloadConfig,
    PoolConfigSpec,
    SriovNetworkPoolConfig,
)
from virtfn.model.crd.states import (
    CURRENT_STATE_ANNOTATION,
    DESIRED_STATE_ANNOTATION,
    NODE_STATE_KIND,
    BridgesSpec,
    InterfaceSpec,
    InterfaceStatus,
    NodeStateSpec,
    NodeStateStatus,
    OvsBridgeSpec,
    OvsBridgeUplink,
    SriovNetworkNodeState,
    SystemSpec,
    SystemStatus,
    VfGroupSpec,
    VfStatus,
)

KINDS: Mapping[str, type[CustomResource]] = MappingProxyType(
    {
        POLICY_KIND: SriovNetworkNodePolicy,
        NODE_STATE_KIND: SriovNetworkNodeState,
        NETWORK_KIND: SriovNetwork,
        IB_NETWORK_KIND: SriovIBNetwork,
        OVS_NETWORK_KIND: OVSNetwork,
        POOL_CONFIG_KIND: SriovNetworkPoolConfig,
        OPERATOR_CONFIG_KIND: SriovOperatorConfig,
    }
)
"""All kinds of the API and their models, in the order that documents list them."""

__all__ = [
    "API_VERSION",
    "CURRENT_STATE_ANNOTATION",
    "DEFAULT_PRIORITY",
    "DESIRED_STATE_ANNOTATION",
    "GROUP",
    "IB_NETWORK_KIND",
    "IGNORED_POLICY",
    "KINDS",
    "MOST_STATUS_NODES",
    "MOST_STATUS_PFS",
    "NETWORK_KIND",
    "NODE_STATE_KIND",
    "OPERATOR_CONFIG_KIND",
    "OPERATOR_CONFIG_NAME",
    "OVS_NETWORK_KIND",
    "POLICY_KIND",
    "POOL_CONFIG_KIND",
    "VERSION",
    "BridgePolicy",
    "BridgesSpec",
    "Condition",
    "ConditionsStatus",
    "CustomResource",
    "InterfaceSpec",
    "InterfaceStatus",
    "LabelRequirement",
    "LabelSelector",
    "LinkTypeWord",
    "NetworkSpec",
    "NicSelector",
    "NodeStateSpec",
    "NodeStateStatus",
    "OVSNetwork",
    "OVSNetworkSpec",
    "ObjectMeta",
    "OperatorConfigSpec",
    "OperatorConfigStatus",
    "OvsBridgeSpec",
    "OvsBridgeUplink",
    "OvsHardwareOffloadConfig",
    "OvsPolicy",
    "OvsUplink",
    "PfName",
    "PolicyNodeStatus",
    "PolicyPfStatus",
    "PolicySpec",
    "PolicyStatus",
    "PoolConfigSpec",
    "SelectorMismatch",
    "SriovIBNetwork",
    "SriovIBNetworkSpec",
    "SriovNetwork",
    "SriovNetworkNodePolicy",
    "SriovNetworkNodeState",
    "SriovNetworkPoolConfig",
    "SriovNetworkSpec",
    "SriovOperatorConfig",
    "SystemSpec",
    "SystemStatus",
    "TrunkEntry",
    "VdpaType",
    "VfGroupSpec",
    "VfStatus",
]
