"""The network kinds: from each object follows one NetworkAttachmentDefinition, which pods name in an annotation."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StrictInt

from virtfn.model.crd.meta import ConditionsStatus, CustomResource
from virtfn.model.wire import Count, WireModel

NETWORK_KIND: Final = "SriovNetwork"
IB_NETWORK_KIND: Final = "SriovIBNetwork"
OVS_NETWORK_KIND: Final = "OVSNetwork"


def _between(low: int, high: int) -> Any:
    return Field(ge=low, le=high)


OvsVlan = Annotated[StrictInt, _between(0, 4095)]
"""A VLAN id as Open vSwitch takes it."""
OnOff = Literal["on", "off"]
LinkState = Literal["auto", "enable", "disable"]


class NetworkSpec(WireModel):
    """What all network kinds have."""

    own_zero = frozenset({"resource_name"})

    network_namespace: str = Field(default="", alias="networkNamespace")
    """Namespace of the NetworkAttachmentDefinition; absent: the object's own. Only objects in the operator's namespace
    may name another one."""
    resource_name: str = Field(alias="resourceName")
    """Resource that a pod's VF is taken from: `resourceName` of a policy. It must be given, and may be empty."""
    capabilities: str = ""
    """Capabilities of the CNI plugin as a JSON object in text, like `{"mac": true, "ips": true}`."""
    ipam: str = ""
    """Configuration of the IPAM plugin as a JSON object in text; absent: no addresses are given out."""
    meta_plugins: str = Field(default="", alias="metaPlugins")
    """CNI plugins to run after the first one: JSON objects in text, separated by commas."""


class SriovNetworkSpec(NetworkSpec):
    """An Ethernet network of VFs, for the CNI plugin `sriov`."""

    own_zero = NetworkSpec.own_zero | {"min_tx_rate", "max_tx_rate", "log_level"}

    vlan: Annotated[StrictInt, _between(0, 4094)] = 0
    """VLAN that the VF's traffic is put into; 0: none."""
    vlan_qos: Annotated[StrictInt, _between(0, 7)] = Field(default=0, alias="vlanQoS")
    """Priority in the VLAN tag."""
    vlan_proto: Literal["802.1q", "802.1Q", "802.1ad", "802.1AD"] | None = Field(default=None, alias="vlanProto")
    """Kind of the VLAN tag; absent: 802.1q."""
    spoof_chk: OnOff | None = Field(default=None, alias="spoofChk")
    """Whether the NIC drops frames with another source MAC than the VF's; absent: left as it is."""
    trust: OnOff | None = None
    """Whether the VF may set its MAC and promiscuous mode itself; absent: left as it is."""
    link_state: LinkState | None = Field(default=None, alias="linkState")
    """Link of the VF: as the PF's, always up, or down; absent: left as it is."""
    min_tx_rate: Count | None = Field(default=None, alias="minTxRate")
    """Least transmit rate in Mbit/s; 0: none."""
    max_tx_rate: Count | None = Field(default=None, alias="maxTxRate")
    """Largest transmit rate in Mbit/s; 0: no limit."""
    log_level: Literal["panic", "error", "warning", "info", "debug", ""] = Field(default="info", alias="logLevel")
    """How much the CNI plugin logs."""
    log_file: str = Field(default="", alias="logFile")
    """File on the host that the CNI plugin logs to; absent: standard error."""


class SriovNetwork(CustomResource):
    """An Ethernet network of VFs: becomes a NetworkAttachmentDefinition for the CNI plugin `sriov`."""

    plural = "sriovnetworks"

    kind: Literal["SriovNetwork"] = NETWORK_KIND
    """Always `SriovNetwork`."""
    spec: SriovNetworkSpec
    """What pods get."""
    status: ConditionsStatus = ConditionsStatus()
    """How the network is doing; written by the controller."""


class SriovIBNetworkSpec(NetworkSpec):
    """An InfiniBand network of VFs, for the CNI plugin `ib-sriov`."""

    link_state: LinkState | None = Field(default=None, alias="linkState")
    """Link of the VF: as the PF's, always up, or down; absent: left as it is."""


class SriovIBNetwork(CustomResource):
    """An InfiniBand network of VFs: becomes a NetworkAttachmentDefinition for the CNI plugin `ib-sriov`."""

    plural = "sriovibnetworks"

    kind: Literal["SriovIBNetwork"] = IB_NETWORK_KIND
    """Always `SriovIBNetwork`."""
    spec: SriovIBNetworkSpec
    """What pods get."""
    status: ConditionsStatus = ConditionsStatus()
    """How the network is doing; written by the controller."""


class TrunkEntry(WireModel):
    """VLANs that a port carries: one, or a range."""

    own_zero = frozenset({"min_id", "max_id", "id"})

    min_id: OvsVlan | None = Field(default=None, alias="minID")
    """First VLAN of a range."""
    max_id: OvsVlan | None = Field(default=None, alias="maxID")
    """Last VLAN of a range."""
    id: OvsVlan | None = None
    """One VLAN."""


class OVSNetworkSpec(NetworkSpec):
    """A network of VFs whose representors are ports of an Open vSwitch bridge, for the CNI plugin `ovs`."""

    bridge: str = ""
    """Name of the bridge; absent: the one that the VF's PF is in."""
    vlan: OvsVlan = 0
    """VLAN that the port is an access port of; 0: none."""
    mtu: Count = 0
    """MTU in bytes; absent: left as it is."""
    trunk: Annotated[tuple[TrunkEntry, ...], Field(json_schema_extra={"maxItems": 4096})] = ()
    """VLANs that the port carries."""
    interface_type: str = Field(default="", alias="interfaceType")
    """Type of the port's row in the Open vSwitch `Interface` table, like `dpdk`."""


class OVSNetwork(CustomResource):
    """A network of VFs on an Open vSwitch bridge: becomes a NetworkAttachmentDefinition for the CNI plugin `ovs`."""

    plural = "ovsnetworks"

    kind: Literal["OVSNetwork"] = OVS_NETWORK_KIND
    """Always `OVSNetwork`."""
    spec: OVSNetworkSpec
    """What pods get."""
    status: ConditionsStatus = ConditionsStatus()
    """How the network is doing; written by the controller."""
