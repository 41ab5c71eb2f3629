"""What is wanted of the PFs of one node, whatever it came from: policies, a node state, or the journal (release)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from virtfn.errors import BadVfRange
from virtfn.model.inventory import DeviceType, EswitchMode, LinkType, ParamValue
from virtfn.model.pci import PciAddress, PciId

_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")


@dataclass(frozen=True, slots=True, order=True)
class VfRange:
    """VF indices `first` to `last`, both included (`vfRange: 0-3`)."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str, *, field: str = "vfRange") -> VfRange:
        """`first-last`. Raises `BadVfRange`."""
        return _parse_range(text, field)

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self.first <= index <= self.last

    def overlaps(self, other: VfRange) -> bool:
        """Whether the two share an index."""
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """On the wire a range is its text."""
        from virtfn.model.codec import text_schema

        return text_schema(cls, cls.parse)


@lru_cache(maxsize=1024)
def _parse_range(text: str, field: str) -> VfRange:
    # A cluster has few ranges and many nodes: the same text is read over and over.
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise BadVfRange(f"{text!r} is not a VF range (expected first-last, like 0-3)", field=field)
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise BadVfRange(f"VF range {text}: the last index is smaller than the first", field=field)
    return VfRange(first, last)


@dataclass(frozen=True, slots=True)
class VfGroup:
    """VFs of one PF that are configured alike (`spec.interfaces[].vfGroups[]` of a node state)."""

    vf_range: VfRange
    resource_name: str = ""
    policy_name: str = ""
    device_type: DeviceType = DeviceType.NETDEVICE
    mtu: int | None = None
    """Bytes for each VF's netdev; None: not managed."""
    is_rdma: bool = False
    vdpa_type: str | None = None
    need_vhost_net: bool = False
    exclude_topology: bool = False

    @property
    def for_resource(self) -> str:
        """` for NAME`, for messages; empty for a group without a resource."""
        return f" for {self.resource_name}" if self.resource_name else ""


@dataclass(frozen=True, slots=True)
class VfBaseline:
    """One VF as it was before virtfn first touched its PF, to be put back on release."""

    index: int
    driver: str | None = None
    mac: str | None = None
    """Administrative MAC, None or all zero: not set."""
    mtu: int | None = None
    """Bytes, of the VF's own netdev; None: there was none, or it is not known."""
    driver_override: str | None = None
    """None: there was none, and none is left behind."""
    vdpa_name: str | None = None
    """Its vDPA device; None: there was none."""
    vdpa_driver: str | None = None
    """What that was bound to."""
    node_guid: str | None = None
    """Of an InfiniBand VF, as its PF keeps it; None: Ethernet, or the driver does not say."""
    port_guid: str | None = None
    link_state: str | None = None
    """As its PF keeps it, of an InfiniBand VF."""
    representor: str | None = None
    """Name of its representor; None: there was none."""


@dataclass(frozen=True, slots=True)
class DesiredPf:
    """What is wanted of one PF. None means "not managed": the value is left as it is."""

    address: PciAddress
    num_vfs: int
    name: str = ""
    """Netdev name at the time of rendering, for messages."""
    first_name: str = ""
    """Netdev name before the first touch, by the journal."""
    mtu: int | None = None
    """Bytes: at least this much, never lowered; exactly this much on release."""
    eswitch_mode: EswitchMode | None = None
    """None: legacy is wanted where the PF has an eswitch."""
    link_type: LinkType | None = None
    link_up: bool | None = True
    """IFF_UP of the PF."""
    externally_managed: bool = False
    """Somebody else makes the VFs: they are only bound and named, the PF is not written."""
    groups: tuple[VfGroup, ...] = ()
    drivers_autoprobe: bool | None = None
    tc_offload: bool | None = None
    """hw-tc-offload of the PF's netdev; None: on in switchdev mode, otherwise left alone."""
    inline_mode: str | None = None
    """Release: the eswitch's inline mode."""
    params: Mapping[str, ParamValue] = field(default_factory=dict, hash=False)
    """Release: devlink parameters, as `Pf.params`."""
    reload: bool = False
    """An apply that was cut off has set a parameter that takes effect with a reload of the driver, and owes that."""
    release: bool = False
    """The PF is being given back: values are those the journal recorded before the first touch."""
    vfs: tuple[VfBaseline, ...] = ()
    """Release: the VFs that were there. Otherwise: VFs in no group that an apply that was cut off owes a driver."""
    bridge: DesiredBridge | None = None
    """The Open vSwitch bridge whose uplink the PF is. None: none is wanted, and one that virtfn made is removed."""

    def group_of(self, index: int) -> VfGroup | None:
        """The first group whose range holds the VF, or None."""
        return next((group for group in self.groups if index in group.vf_range), None)


@dataclass(frozen=True, slots=True)
class DesiredAdapter:
    """The wanted PFs of one adapter. A PF of the adapter that is not named here is not touched."""

    address: str
    pfs: tuple[DesiredPf, ...] = ()

    def pf(self, address: PciAddress) -> DesiredPf | None:
        """What is wanted of that PF, or None."""
        return next((pf for pf in self.pfs if pf.address == address), None)


@dataclass(frozen=True, slots=True)
class DesiredBridge:
    """An Open vSwitch bridge with one PF as its uplink; settings are columns of OVSDB's Bridge and Interface."""

    name: str
    uplink: PciAddress
    uplink_name: str = ""
    """Netdev name of the uplink at the time of rendering."""
    datapath_type: str = ""
    fail_mode: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)
    other_config: Mapping[str, str] = field(default_factory=dict)
    interface_type: str = ""
    interface_options: Mapping[str, str] = field(default_factory=dict)
    interface_external_ids: Mapping[str, str] = field(default_factory=dict)
    interface_other_config: Mapping[str, str] = field(default_factory=dict)
    mtu_request: int | None = None
    release: bool = False
    """It is no longer wanted: removed if virtfn made it."""


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What is wanted of one node."""

    pfs: tuple[DesiredPf, ...] = ()
    bridges: tuple[DesiredBridge, ...] = ()
    """Bridges whose uplink is none of `pfs`; the others are with their PFs."""
    kept_bridges: tuple[str, ...] = ()
    """Bridges that were asked for in a way that cannot be done, by name: they stay as they are."""
    ovs_offload: bool | None = None
    """Hardware offload of the node's Open vSwitch. False: as it was before virtfn switched it on. None: not managed."""
    rdma_mode: str | None = None
    """`shared` or `exclusive`, of the whole node; None: not managed."""
    whole: bool = False
    """Whether it is all that is wanted of the node, so that what virtfn set for the node itself is given back where
    nothing is said of it; False: it is about some PFs."""
    refused: tuple[PciAddress, ...] = ()
    """PFs that were asked for in a way that cannot be done: they stay as they are, and are not given back either."""

    def pf(self, address: PciAddress) -> DesiredPf | None:
        """What is wanted of that PF, or None."""
        return next((pf for pf in self.pfs if pf.address == address), None)


@dataclass(frozen=True, slots=True)
class PfIdentity:
    """What tells one card from another at the same PCI address: ids, and the burnt-in MAC where there is one."""

    id: PciId
    permanent_mac: str | None = None
