"""The custom resources of `sriovnetwork.openshift.io/v1` that say what NICs should be: node policies and node states.

The only place that knows how the API spells things. A spec is read strictly (an unknown name is an error that says
which name is near), a status leniently (it is somebody's report, and must not stop anybody). Nothing here decides
anything: selecting and merging are `virtfn.policy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from virtfn.errors import BadVfRange
from virtfn.model.desired import VfRange
from virtfn.model.inventory import DeviceType, EswitchMode
from virtfn.model.ovs import OvsBridgeSettings, OvsInterfaceSettings
from virtfn.model.wire import Count, HexId, Mtu, StatusModel, WireModel

GROUP: Final = "sriovnetwork.openshift.io"
API_VERSION: Final = "sriovnetwork.openshift.io/v1"
POLICY_KIND: Final = "SriovNetworkNodePolicy"
NODE_STATE_KIND: Final = "SriovNetworkNodeState"
DEFAULT_PRIORITY: Final = 99
"""The lowest: a policy that says nothing never beats one that does."""
IGNORED_POLICY: Final = "default"
"""Older operators create a policy of this name as an anchor for ownership; it never has an effect."""


class VdpaType(StrEnum):
    """vDPA driver of a VF group."""

    VIRTIO = "virtio"
    VHOST = "vhost"


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
        name, mark, vf_range = text.partition("#")
        if not name:
            raise BadVfRange(f"{text!r} has no PF name (expected name or name#first-last, like ens1f0#0-3)")
        return cls(name, VfRange.parse(vf_range) if mark else None)


def _pf_name(text: str) -> str:
    try:
        PfName.parse(text)
    except BadVfRange as error:
        raise PydanticCustomError("bad_vf_range", "{reason}", {"reason": str(error)}) from error
    return text


PfNameText = Annotated[str, AfterValidator(_pf_name)]


class ObjectMeta(WireModel):
    """The parts of Kubernetes' ObjectMeta that are looked at; all others are kept as they came."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class OvsUplink(WireModel):
    """How a selected PF becomes the uplink of its bridge."""

    interface: OvsInterfaceSettings | None = None


class OvsPolicy(WireModel):
    """One Open vSwitch bridge for every selected PF."""

    bridge: OvsBridgeSettings | None = None
    uplink: OvsUplink | None = None


class BridgePolicy(WireModel):
    """Software bridges; empty when `ovs` is absent."""

    ovs: OvsPolicy | None = None


class NicSelector(WireModel):
    """Which NICs of a node: all parts that are not empty must hold; without any part, none."""

    vendor: HexId = ""
    device_id: HexId = Field(default="", alias="deviceID")
    """Device id of the PF, not of its VFs."""
    root_devices: tuple[str, ...] = Field(default=(), alias="rootDevices")
    """Full PCI addresses of PFs."""
    pf_names: tuple[PfNameText, ...] = Field(default=(), alias="pfNames")
    """`name` or `name#first-last`; the name may be an altname."""
    net_filter: str = Field(default="", alias="netFilter")
    """`key:value`, on virtual platforms."""

    @property
    def is_empty(self) -> bool:
        """Whether no part is given."""
        return not (self.vendor or self.device_id or self.root_devices or self.pf_names or self.net_filter)


class PolicySpec(WireModel):
    """What one policy wants of the NICs it selects."""

    always_present = frozenset({"resource_name", "node_selector", "nic_selector", "num_vfs", "priority"})

    resource_name: str = Field(alias="resourceName")
    node_selector: dict[str, str] = Field(alias="nodeSelector")
    """Labels that must be equal on the node; `{}` selects every node."""
    nic_selector: NicSelector = Field(alias="nicSelector")
    num_vfs: Count = Field(alias="numVfs")
    """For each selected PF; with 0 the policy adds nothing."""
    priority: StrictInt = Field(default=DEFAULT_PRIORITY, ge=0, le=99)
    """0 wins."""
    mtu: Mtu = 0
    device_type: DeviceType = Field(default=DeviceType.NETDEVICE, alias="deviceType")
    is_rdma: StrictBool = Field(default=False, alias="isRdma")
    need_vhost_net: StrictBool = Field(default=False, alias="needVhostNet")
    link_type: LinkTypeWord | None = Field(default=None, alias="linkType")
    eswitch_mode: EswitchMode | None = Field(default=None, alias="eSwitchMode")
    vdpa_type: VdpaType | None = Field(default=None, alias="vdpaType")
    exclude_topology: StrictBool = Field(default=False, alias="excludeTopology")
    externally_managed: StrictBool = Field(default=False, alias="externallyManaged")
    bridge: BridgePolicy | None = None


class SriovNetworkNodePolicy(WireModel):
    """What a cluster's administrator writes."""

    api_version: Literal["sriovnetwork.openshift.io/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["SriovNetworkNodePolicy"] = POLICY_KIND
    metadata: ObjectMeta = ObjectMeta()
    spec: PolicySpec
    status: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name


class VfGroupSpec(WireModel):
    """VFs of one PF that are configured alike."""

    always_present = frozenset({"vf_range"})

    resource_name: str = Field(default="", alias="resourceName")
    device_type: DeviceType | None = Field(default=None, alias="deviceType")
    """Absent: netdevice."""
    vf_range: str = Field(alias="vfRange")
    """`first-last`, both included."""
    policy_name: str = Field(default="", alias="policyName")
    mtu: Count = 0
    is_rdma: StrictBool = Field(default=False, alias="isRdma")
    vdpa_type: VdpaType | None = Field(default=None, alias="vdpaType")
    need_vhost_net: StrictBool = Field(default=False, alias="needVhostNet")
    exclude_topology: StrictBool = Field(default=False, alias="excludeTopology")


class InterfaceSpec(WireModel):
    """What is wanted of one PF."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(alias="pciAddress")
    num_vfs: Count = Field(default=0, alias="numVfs")
    mtu: Count = 0
    name: str = ""
    """Netdev name of the PF when this was rendered."""
    link_type: LinkTypeWord | None = Field(default=None, alias="linkType")
    eswitch_mode: EswitchMode | None = Field(default=None, alias="eSwitchMode")
    externally_managed: StrictBool = Field(default=False, alias="externallyManaged")
    vf_groups: tuple[VfGroupSpec, ...] = Field(default=(), alias="vfGroups")


class OvsBridgeUplink(WireModel):
    """The PF that connects a bridge to the network."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(alias="pciAddress")
    name: str = ""
    interface: OvsInterfaceSettings | None = None


class OvsBridgeSpec(WireModel):
    """One managed Open vSwitch bridge."""

    always_present = frozenset({"name"})

    name: str
    bridge: OvsBridgeSettings | None = None
    uplinks: tuple[OvsBridgeUplink, ...] = ()


class BridgesSpec(WireModel):
    """The managed bridges of a node, sorted by name."""

    ovs: tuple[OvsBridgeSpec, ...] = ()


class SystemSpec(WireModel):
    """Settings of the whole node."""

    rdma_mode: Literal["shared", "exclusive"] | None = Field(default=None, alias="rdmaMode")


class NodeStateSpec(WireModel):
    """What is wanted of one node."""

    interfaces: tuple[InterfaceSpec, ...] = ()
    bridges: BridgesSpec | None = None
    system: SystemSpec | None = None
    dp_config_version: str = Field(default="", alias="dpConfigVersion")
    """Written by one older operator only; nothing follows from it here."""


class VfStatus(StatusModel):
    """One VF as it was found; name, MAC and MTU are empty while its netdev is inside a pod."""

    always_present = frozenset({"pci_address", "vf_id"})

    pci_address: str = Field(default="", alias="pciAddress")
    vf_id: int = Field(alias="vfID")
    name: str = ""
    mac: str = ""
    driver: str = ""
    vendor: str = ""
    device_id: str = Field(default="", alias="deviceID")
    assigned: str = ""
    vlan: int = Field(default=0, alias="Vlan")
    mtu: int = 0
    vdpa_type: str = Field(default="", alias="vdpaType")
    representor_name: str = Field(default="", alias="representorName")
    guid: str = ""


_SPELLINGS = {"linkSeed": "linkSpeed", "vfs": "Vfs", "totalVfs": "totalvfs"}
"""Spellings seen in hand-written and older objects."""


class InterfaceStatus(StatusModel):
    """One PF (or a VM's NIC) as it was found."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(default="", alias="pciAddress")
    name: str = ""
    mac: str = ""
    driver: str = ""
    vendor: str = ""
    device_id: str = Field(default="", alias="deviceID")
    net_filter: str = Field(default="", alias="netFilter")
    mtu: int = 0
    num_vfs: int = Field(default=0, alias="numVfs")
    total_vfs: int = Field(default=0, alias="totalvfs")
    link_speed: str = Field(default="", alias="linkSpeed")
    """Like `25000 Mb/s`."""
    link_type: str = Field(default="", alias="linkType")
    """`ETH` or `IB`."""
    link_admin_state: str = Field(default="", alias="linkAdminState")
    """`up` or `down`: IFF_UP, not the carrier."""
    eswitch_mode: str = Field(default="", alias="eSwitchMode")
    externally_managed: bool = Field(default=False, alias="externallyManaged")
    alt_names: tuple[str, ...] = Field(default=(), alias="altNames")
    vfs: tuple[VfStatus, ...] = Field(default=(), alias="Vfs")

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        read = {_SPELLINGS.get(name, name): value for name, value in data.items()}
        speed = read.get("linkSpeed")
        if isinstance(speed, str) and speed.endswith("Mb/s"):
            read["linkSpeed"] = f"{speed.removesuffix('Mb/s').strip()} Mb/s"
        if isinstance(read.get("Vfs"), list | tuple):
            # Without an index of its own a VF has that of its place: every writer lists them by number.
            read["Vfs"] = [
                {"vfID": place, **vf} if isinstance(vf, Mapping) else vf for place, vf in enumerate(read["Vfs"])
            ]
        return read

    @property
    def label(self) -> str:
        """`0000:3b:00.0 (ens1f0)`, for messages."""
        return f"{self.pci_address} ({self.name})" if self.name else self.pci_address


class SystemStatus(StatusModel):
    """Settings of the whole node as they were found."""

    rdma_mode: str = Field(default="", alias="rdmaMode")


class NodeStateStatus(StatusModel):
    """What a node's daemon found and did."""

    interfaces: tuple[InterfaceStatus, ...] = ()
    bridges: dict[str, Any] = Field(default_factory=dict)
    """As in the spec."""
    system: SystemStatus | None = None
    sync_status: str = Field(default="", alias="syncStatus")
    """`InProgress`, `Succeeded` or `Failed`."""
    last_sync_error: str = Field(default="", alias="lastSyncError")


class SriovNetworkNodeState(WireModel):
    """One node: what is wanted of it, and what its daemon reports. Named as the node."""

    api_version: Literal["sriovnetwork.openshift.io/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["SriovNetworkNodeState"] = NODE_STATE_KIND
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeStateSpec = NodeStateSpec()
    status: NodeStateStatus = NodeStateStatus()

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name
