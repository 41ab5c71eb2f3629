"""`SriovNetworkNodePolicy`: what an administrator wants of the NICs of some nodes, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt
from pydantic_core import PydanticCustomError

from virtfn.errors import BadVfRange
from virtfn.model.crd.meta import Conditions, CustomResource
from virtfn.model.desired import VfRange
from virtfn.model.inventory import DeviceType, EswitchMode
from virtfn.model.ovs import OvsBridgeSettings, OvsInterfaceSettings
from virtfn.model.wire import Count, HexId, Mtu, StatusModel, WireModel

POLICY_KIND: Final = "SriovNetworkNodePolicy"
DEFAULT_PRIORITY: Final = 99
"""The lowest: a policy that says nothing never beats one that does."""
IGNORED_POLICY: Final = "default"
"""Older operators create a policy of this name as an anchor for ownership; it never has an effect."""
MOST_STATUS_NODES: Final = 64
"""Nodes that a policy's status lists at most: a status must stay small, however large the cluster is."""
MOST_STATUS_PFS: Final = 32
"""PFs that a policy's status lists for one node at most."""


class VdpaType(StrEnum):
    """vDPA driver of a VF group."""

    VIRTIO = "virtio"
    VHOST = "vhost"


class DriftMode(StrEnum):
    """What is done when a PF or VF is no longer as it was configured, though nothing else is wanted."""

    REPORT = "Report"
    """It is told, and left as it is."""
    REPAIR_IF_FREE = "RepairIfFree"
    """It is repaired where that takes nothing from a pod, and told otherwise."""
    REPAIR_WITH_DRAIN = "RepairWithDrain"
    """It is repaired, after a drain where one is needed."""


LinkTypeWord = Literal["eth", "ETH", "ib", "IB"]
"""Both cases are allowed in a policy, and copied as they are."""


@dataclass(frozen=True, slots=True)
class PfName:
    """One entry of `nicSelector.pfNames`: a netdev name or altname, and the VFs of it that are meant."""

    name: str
    vf_range: VfRange | None = None

    @classmethod
    def parse(cls, text: str) -> PfName:
        """`name` or `name#first-last`. Raises `BadVfRange`."""
        return _parse_pf_name(text)


@lru_cache(maxsize=4096)
def _parse_pf_name(text: str) -> PfName:
    # Every policy is held against every PF of every node: the same text is read over and over.
    name, mark, vf_range = text.partition("#")
    if not name:
        raise BadVfRange(f"{text!r} has no PF name (expected name or name#first-last, like ens1f0#0-3)")
    return PfName(name, VfRange.parse(vf_range) if mark else None)


def _pf_name(text: str) -> str:
    try:
        PfName.parse(text)
    except BadVfRange as error:
        raise PydanticCustomError("bad_vf_range", "{reason}", {"reason": str(error)}) from error
    return text


PfNameText = Annotated[str, AfterValidator(_pf_name), Field(json_schema_extra={"maxLength": 160})]
"""The longest altname has 127 characters."""


class OvsUplink(WireModel):
    """How a selected PF becomes the uplink of its bridge."""

    interface: OvsInterfaceSettings | None = None
    """Its row in the Open vSwitch `Interface` table."""


class OvsPolicy(WireModel):
    """One Open vSwitch bridge for every selected PF."""

    bridge: OvsBridgeSettings | None = None
    """The bridge itself."""
    uplink: OvsUplink | None = None
    """The PF that connects the bridge to the network."""


class BridgePolicy(WireModel):
    """Software bridges; empty when `ovs` is absent."""

    ovs: OvsPolicy | None = None
    """One Open vSwitch bridge for every selected PF."""


class NicSelector(WireModel):
    """Which NICs of a node: all parts that are not empty must hold; without any part, none."""

    vendor: HexId = ""
    """PCI vendor id of the PF, four hex digits like `15b3`."""
    device_id: HexId = Field(default="", alias="deviceID")
    """PCI device id of the PF (not of its VFs), four hex digits like `1017`."""
    root_devices: Annotated[
        tuple[Annotated[str, Field(json_schema_extra={"maxLength": 64})], ...],
        Field(json_schema_extra={"maxItems": 256}),
    ] = Field(default=(), alias="rootDevices")
    """Full PCI addresses of PFs, like `0000:3b:00.0`."""
    pf_names: Annotated[tuple[PfNameText, ...], Field(json_schema_extra={"maxItems": 256})] = Field(
        default=(), alias="pfNames"
    )
    """Netdev names or altnames of PFs: `name`, or `name#first-last` for some of its VFs only (both included)."""
    net_filter: Annotated[str, Field(json_schema_extra={"maxLength": 253})] = Field(default="", alias="netFilter")
    """`key:value` as the node state shows it, on virtual platforms, like `openstack/NetworkID:<uuid>`."""

    @property
    def is_empty(self) -> bool:
        """Whether no part is given."""
        return not (self.vendor or self.device_id or self.root_devices or self.pf_names or self.net_filter)


class PolicySpec(WireModel):
    """What one policy wants of the NICs it selects."""

    always_present = frozenset({"resource_name", "node_selector", "nic_selector", "num_vfs", "priority"})
    # Objects with numVfs 0 that older operators made may lack it.
    left_to_rules = frozenset({"resource_name"})

    resource_name: Annotated[str, Field(json_schema_extra={"maxLength": 253})] = Field(alias="resourceName")
    """Name of the device plugin's resource that the VFs are offered as, without prefix: `<prefix>/<resourceName>`."""
    node_selector: dict[str, str] = Field(alias="nodeSelector")
    """Labels that must be equal on a node; `{}` selects every node."""
    nic_selector: NicSelector = Field(alias="nicSelector")
    """The PFs that are meant on a selected node."""
    num_vfs: Count = Field(alias="numVfs")
    """Number of VFs of each selected PF; with 0 the policy adds nothing."""
    priority: StrictInt = Field(default=DEFAULT_PRIORITY, ge=0, le=99)
    """Who wins where policies meet on one PF: 0 is the highest."""
    mtu: Mtu = 0
    """MTU of the VFs in bytes, and the least one of the PF; absent: left as it is."""
    device_type: DeviceType = Field(default=DeviceType.NETDEVICE, alias="deviceType")
    """Driver of the VFs: the kernel's network driver, or `vfio-pci` for DPDK and virtual machines."""
    is_rdma: StrictBool = Field(default=False, alias="isRdma")
    """Whether pods get the VFs' RDMA devices too."""
    need_vhost_net: StrictBool = Field(default=False, alias="needVhostNet")
    """Whether pods get `/dev/vhost-net` along with a VF."""
    link_type: LinkTypeWord | None = Field(default=None, alias="linkType")
    """Port type that the PFs must have: Ethernet or InfiniBand; firmware may be changed for it. Absent: any."""
    eswitch_mode: EswitchMode | None = Field(default=None, alias="eSwitchMode")
    """Mode of the PFs' embedded switch; absent: legacy."""
    vdpa_type: VdpaType | None = Field(default=None, alias="vdpaType")
    """vDPA devices on the VFs, and the driver they are bound to; needs switchdev."""
    exclude_topology: StrictBool = Field(default=False, alias="excludeTopology")
    """Whether the device plugin keeps the VFs' NUMA node to itself."""
    externally_managed: StrictBool = Field(default=False, alias="externallyManaged")
    """Whether somebody else creates the VFs; then only drivers and addresses of VFs are set."""
    drift_mode: DriftMode | None = Field(default=None, alias="driftMode")
    """What is done when somebody else changes what was configured; absent: it is repaired where that takes nothing from
    a pod, and told otherwise (`RepairIfFree`)."""
    bridge: BridgePolicy | None = None
    """Software bridges that the PFs are put into; needs switchdev and Ethernet."""


class PolicyPfStatus(StatusModel):
    """One PF that the policy selects."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(default="", alias="pciAddress")
    """PCI address of the PF."""
    name: str = ""
    """Its netdev's name."""
    vf_range: str = Field(default="", alias="vfRange")
    """VFs that are this policy's, `first-last`; absent: there are none, or other policies have taken all of them."""
    overridden_by: str = Field(default="", alias="overriddenBy")
    """Name of the policy that has taken VFs which this policy asked for."""


class SelectorMismatch(StatusModel):
    """Why nothing was selected: the first part of a selector that does not hold."""

    always_present = frozenset({"field", "message"})

    field: str = ""
    """Path of the selector's part, like `spec.nicSelector.vendor`."""
    message: Annotated[str, Field(json_schema_extra={"maxLength": 1024})] = ""
    """What was asked for and what was found, like `ens1f0: vendor is 8086, not 15b3`."""


class PolicyNodeStatus(StatusModel):
    """What the policy finds on one node."""

    always_present = frozenset({"name"})

    name: str = ""
    """The node's name."""
    pfs: Annotated[
        tuple[PolicyPfStatus, ...],
        Field(
            json_schema_extra={
                "maxItems": MOST_STATUS_PFS,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["pciAddress"],
            }
        ),
    ] = ()
    """PFs that are selected, the first 32 of them."""
    mismatch: SelectorMismatch | None = None
    """Why no PF is selected here; of several PFs, what was missing on the one that came nearest."""


class PolicyStatus(StatusModel):
    """What became of a policy."""

    observed_generation: Annotated[int, Field(json_schema_extra={"minimum": 0, "format": "int64"})] = Field(
        default=0, alias="observedGeneration"
    )
    """`metadata.generation` of the policy that the rest of this status is about."""
    matched_nodes: int = Field(default=0, alias="matchedNodes")
    """Number of nodes that the node selector selects."""
    matched_nics: int = Field(default=0, alias="matchedNICs")
    """Number of PFs that are selected, on all nodes together."""
    nodes: Annotated[
        tuple[PolicyNodeStatus, ...],
        Field(
            json_schema_extra={
                "maxItems": MOST_STATUS_NODES,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            }
        ),
    ] = ()
    """Nodes one by one, those where nothing is selected first, the first 64 of them; without any selected node, nodes
    that the node selector passed over."""
    nodes_left_out: int = Field(default=0, alias="nodesLeftOut")
    """Number of nodes for which there was no room in `nodes`."""
    conditions: Conditions = ()
    """How the policy is doing, one entry for each aspect."""


class SriovNetworkNodePolicy(CustomResource):
    """What a cluster's administrator wants of NICs: how many VFs, in which mode, offered under which resource name.

    Policies that select the same PF are merged, the higher priority last. A policy named `default` has no effect.
    """

    plural = "sriovnetworknodepolicies"

    kind: Literal["SriovNetworkNodePolicy"] = POLICY_KIND
    """Always `SriovNetworkNodePolicy`."""
    spec: PolicySpec
    """What is wanted."""
    status: PolicyStatus = PolicyStatus()
    """What became of it; written by the controller."""
