"""`SriovNetworkNodeState`: what is wanted of one node, and what its daemon found and did.

The spec is read strictly, the status leniently: it is somebody's report, and must not stop anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetJsonSchemaHandler, StrictBool, model_validator
from pydantic_core import CoreSchema

from virtfn.model.crd.meta import Conditions, CustomResource
from virtfn.model.crd.policies import DriftMode, LinkTypeWord, VdpaType
from virtfn.model.inventory import DeviceType, EswitchMode
from virtfn.model.ovs import OvsBridgeSettings, OvsInterfaceSettings
from virtfn.model.wire import Count, StatusModel, WireModel

NODE_STATE_KIND: Final = "SriovNetworkNodeState"
MOST_STATUS_ATTEMPTS: Final = 32
MOST_STATUS_STEPS: Final = 64
"""Steps of a plan that a status lists at most."""


class VfGroupSpec(WireModel):
    """VFs of one PF that are configured alike."""

    always_present = frozenset({"vf_range"})
    left_to_rules = frozenset({"vf_range"})

    resource_name: str = Field(default="", alias="resourceName")
    """Name of the device plugin's resource that the VFs are offered as, without prefix."""
    device_type: DeviceType | None = Field(default=None, alias="deviceType")
    """Driver of the VFs; absent: netdevice."""
    vf_range: str = Field(alias="vfRange")
    """VF indices `first-last`, both included."""
    policy_name: str = Field(default="", alias="policyName")
    """The policy that the group comes from."""
    mtu: Count = 0
    """MTU of the VFs in bytes; absent: left as it is."""
    is_rdma: StrictBool = Field(default=False, alias="isRdma")
    """Whether pods get the VFs' RDMA devices too."""
    vdpa_type: VdpaType | None = Field(default=None, alias="vdpaType")
    """vDPA devices on the VFs, and the driver they are bound to."""
    need_vhost_net: StrictBool = Field(default=False, alias="needVhostNet")
    """Whether pods get `/dev/vhost-net` along with a VF."""
    exclude_topology: StrictBool = Field(default=False, alias="excludeTopology")
    """Whether the device plugin keeps the VFs' NUMA node to itself."""


class InterfaceSpec(WireModel):
    """What is wanted of one PF."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(alias="pciAddress")
    """Full PCI address of the PF, like `0000:3b:00.0`."""
    num_vfs: Count = Field(default=0, alias="numVfs")
    """Number of VFs."""
    mtu: Count = 0
    """Least MTU of the PF in bytes; absent: left as it is."""
    name: str = ""
    """Netdev name of the PF when this was rendered."""
    link_type: LinkTypeWord | None = Field(default=None, alias="linkType")
    """Port type that the PF must have; absent: any."""
    eswitch_mode: EswitchMode | None = Field(default=None, alias="eSwitchMode")
    """Mode of the PF's embedded switch; absent: legacy."""
    externally_managed: StrictBool = Field(default=False, alias="externallyManaged")
    """Whether somebody else creates the VFs."""
    drift_mode: DriftMode | None = Field(default=None, alias="driftMode")
    """What is done about changes that others make; absent: repaired where no pod is disturbed by it."""
    vf_groups: tuple[VfGroupSpec, ...] = Field(default=(), alias="vfGroups")
    """The VFs, in groups that are configured alike."""


class OvsBridgeUplink(WireModel):
    """The PF that connects a bridge to the network."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(alias="pciAddress")
    """PCI address of the PF."""
    name: str = ""
    """Netdev name of the PF."""
    interface: OvsInterfaceSettings | None = None
    """Its row in the Open vSwitch `Interface` table."""


class OvsBridgeSpec(WireModel):
    """One managed Open vSwitch bridge."""

    always_present = frozenset({"name"})

    name: str
    """Name of the bridge."""
    bridge: OvsBridgeSettings | None = None
    """Its row in the Open vSwitch `Bridge` table."""
    uplinks: tuple[OvsBridgeUplink, ...] = ()
    """The PF in the bridge; there is one."""


class BridgesSpec(WireModel):
    """The managed bridges of a node."""

    ovs: tuple[OvsBridgeSpec, ...] = ()
    """Open vSwitch bridges, sorted by name."""


class SystemSpec(WireModel):
    """Settings of the whole node."""

    rdma_mode: Literal["shared", "exclusive"] | None = Field(default=None, alias="rdmaMode")
    """Whether network namespaces share the RDMA devices; absent: left as it is."""


class NodeStateSpec(WireModel):
    """What is wanted of one node."""

    interfaces: tuple[InterfaceSpec, ...] = ()
    """The PFs that are to have VFs."""
    bridges: BridgesSpec | None = None
    """Software bridges."""
    system: SystemSpec | None = None
    """Settings of the whole node."""
    dp_config_version: str = Field(default="", alias="dpConfigVersion")
    """Written by one older operator only; nothing follows from it here."""


class VfStatus(StatusModel):
    """One VF as it was found; name, MAC and MTU are empty while its netdev is inside a pod."""

    always_present = frozenset({"pci_address", "vf_id"})

    pci_address: str = Field(default="", alias="pciAddress")
    """PCI address of the VF."""
    vf_id: int = Field(alias="vfID")
    """Index among the PF's VFs, from 0."""
    name: str = ""
    """Name of its netdev."""
    mac: str = ""
    """MAC address of its netdev."""
    driver: str = ""
    """Driver it is bound to."""
    vendor: str = ""
    """PCI vendor id, hex digits."""
    device_id: str = Field(default="", alias="deviceID")
    """PCI device id, hex digits."""
    assigned: str = ""
    """Who has it; written by older operators only."""
    vlan: int = Field(default=0, alias="Vlan")
    """VLAN that the PF puts its traffic into; absent: none."""
    mtu: int = 0
    """MTU of its netdev in bytes."""
    vdpa_type: str = Field(default="", alias="vdpaType")
    """Driver of its vDPA device: `virtio` or `vhost`."""
    representor_name: str = Field(default="", alias="representorName")
    """Netdev of the embedded switch's port towards the VF."""
    guid: str = ""
    """InfiniBand GUID, like `0011:2233:4455:6677`."""


_SPELLINGS = {"linkSeed": "linkSpeed", "vfs": "Vfs", "totalVfs": "totalvfs"}
"""Spellings seen in hand-written and older objects."""


class InterfaceStatus(StatusModel):
    """One PF (or a VM's NIC) as it was found."""

    always_present = frozenset({"pci_address"})

    pci_address: str = Field(default="", alias="pciAddress")
    """PCI address of the PF."""
    name: str = ""
    """Name of its netdev."""
    mac: str = ""
    """MAC address of its netdev."""
    driver: str = ""
    """Driver it is bound to."""
    vendor: str = ""
    """PCI vendor id, hex digits."""
    device_id: str = Field(default="", alias="deviceID")
    """PCI device id, hex digits."""
    net_filter: str = Field(default="", alias="netFilter")
    """`key:value` that tells the network it is in, on virtual platforms."""
    mtu: int = 0
    """MTU of its netdev in bytes."""
    num_vfs: int = Field(default=0, alias="numVfs")
    """Number of VFs it has."""
    total_vfs: int = Field(default=0, alias="totalvfs")
    """Number of VFs it can have."""
    link_speed: str = Field(default="", alias="linkSpeed")
    """Like `25000 Mb/s`."""
    link_type: str = Field(default="", alias="linkType")
    """`ETH` or `IB`."""
    link_admin_state: str = Field(default="", alias="linkAdminState")
    """`up` or `down`: what the administrator wants, not the carrier."""
    eswitch_mode: str = Field(default="", alias="eSwitchMode")
    """`legacy` or `switchdev`; absent for a device without SR-IOV."""
    externally_managed: bool = Field(default=False, alias="externallyManaged")
    """Whether the configuration applied last says that somebody else creates the VFs."""
    alt_names: tuple[str, ...] = Field(default=(), alias="altNames")
    """Alternative names of its netdev."""
    vfs: tuple[VfStatus, ...] = Field(default=(), alias="Vfs")
    """Its VFs."""

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
    """`shared` or `exclusive`."""


class StepStatus(StatusModel):
    """One step of a plan."""

    always_present = frozenset({"op", "target"})

    op: str = ""
    """What is done, like `sriov.set_numvfs`."""
    target: str = ""
    """PCI address of the PF or card that it is done to, or `node`."""
    args: Annotated[str, Field(json_schema_extra={"maxLength": 1024})] = ""
    """With what, as JSON."""
    disruption: str = ""
    """What it takes away while it runs: absent, or `REFRESH`, `VFS`, `PF`, `RESET`, `REBOOT`, `POWER_CYCLE`."""
    why: Annotated[str, Field(json_schema_extra={"maxLength": 1024})] = ""
    """What is wanted and what was seen."""


class PlanStatus(StatusModel):
    """What the daemon is about to do, told before it does it; absent when there is nothing to do."""

    digest: str = ""
    """Tells one plan from another: the same steps have the same digest."""
    generation: Annotated[int, Field(json_schema_extra={"minimum": 0, "format": "int64"})] = 0
    """`metadata.generation` of the node state that it was made for."""
    disruption: str = ""
    """The largest of its steps': `NONE`, `REFRESH`, `VFS`, `PF`, `RESET`, `REBOOT` or `POWER_CYCLE`."""
    affects: tuple[str, ...] = ()
    """PCI addresses of the VFs that exist now and lose traffic."""
    steps: Annotated[tuple[StepStatus, ...], Field(json_schema_extra={"maxItems": MOST_STATUS_STEPS})] = ()
    """The steps in their order, the first 64 of them."""
    steps_left_out: int = Field(default=0, alias="stepsLeftOut")
    """Number of steps for which there was no room in `steps`."""


class DevicePluginStatus(StatusModel):
    """What the node's SR-IOV device plugin is to offer."""

    revision: str = ""
    """Changes whenever the device plugin has to look at configuration and devices again."""
    resources: tuple[str, ...] = ()
    """Names of the resources that are configured, without prefix; none: no device plugin is needed here."""


class AttemptStatus(StatusModel):
    """A drain, reset or reboot that was made for a cause, and is remembered so that it is not made again in vain."""

    always_present = frozenset({"kind", "count"})

    kind: str = ""
    """`Drain`, `Reset` (of a card) or `Reboot`."""
    cause: Annotated[str, Field(json_schema_extra={"maxLength": 1024})] = ""
    """What was wanted and what was seen before."""
    seen: Annotated[str, Field(json_schema_extra={"maxLength": 1024})] = ""
    """What was seen after it, where it did not help."""
    count: int = 0
    """How often."""
    last: str = ""
    """When it was last made, as RFC 3339."""


class _ShapeOf:
    """The schema of a field that is read as plain data: that of another model."""

    def __init__(self, model: type[WireModel]) -> None:
        self._model = model

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(self._model.__pydantic_core_schema__)


_ONE_PIECE: Final = Field(json_schema_extra={"x-kubernetes-map-type": "atomic"})
"""Written by one at a time, as a whole. Without it a server of Kubernetes 1.20 keeps a null of what server-side apply
takes away, and then refuses that null."""


class NodeStateStatus(StatusModel):
    """What a node's daemon found and did."""

    interfaces: tuple[InterfaceStatus, ...] = ()
    """The PFs (or a VM's NICs) that were found."""
    bridges: Annotated[dict[str, Any], _ShapeOf(BridgesSpec)] = Field(default_factory=dict)
    """The managed bridges that were found, as in the spec."""
    system: SystemStatus | None = None
    """Settings of the whole node that were found."""
    sync_status: str = Field(default="", alias="syncStatus")
    """`InProgress`, `Succeeded` or `Failed`."""
    last_sync_error: str = Field(default="", alias="lastSyncError")
    """Why the last attempt failed."""
    observed_generation: Annotated[int, Field(json_schema_extra={"minimum": 0, "format": "int64"})] = Field(
        default=0, alias="observedGeneration"
    )
    """`metadata.generation` of the node state that `syncStatus` and `plan` are about."""
    needed_state: Annotated[
        str, Field(json_schema_extra={"enum": ["", "Idle", "Drain_Required", "Reboot_Required"]})
    ] = Field(default="", alias="neededState")
    """What the daemon needs before it goes on; the controller repeats it as the annotation of the desired state."""
    plan: Annotated[PlanStatus | None, _ONE_PIECE] = None
    """What the daemon is about to do; absent when there is nothing to do."""
    device_plugin: Annotated[DevicePluginStatus | None, _ONE_PIECE] = Field(default=None, alias="devicePlugin")
    """What the node's device plugin is to offer."""
    attempts: Annotated[tuple[AttemptStatus, ...], Field(json_schema_extra={"maxItems": MOST_STATUS_ATTEMPTS})] = ()
    """Drains, resets and reboots that are remembered, the last 32 of them."""
    conditions: Conditions = ()
    """How the node is doing, one entry for each aspect."""


class SriovNetworkNodeState(CustomResource):
    """One node: what is wanted of it, and what its daemon reports. Named as the node; nobody writes it by hand."""

    plural = "sriovnetworknodestates"

    kind: Literal["SriovNetworkNodeState"] = NODE_STATE_KIND
    """Always `SriovNetworkNodeState`."""
    spec: NodeStateSpec = NodeStateSpec()
    """What is wanted, rendered from the policies."""
    status: NodeStateStatus = NodeStateStatus()
    """What was found and done; written by the node's daemon."""
