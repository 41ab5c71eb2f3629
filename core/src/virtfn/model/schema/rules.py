"""What one object alone can break beyond types and ranges, as CEL rules that the API server checks itself.

Each rule sits as deep as it can (on a spec or a field, never on the whole object): where a part of an object did not
change, newer API servers do not hold new rules against it, so that an old object can still get labels and a status.

Policies with `numVfs` 0 pass: older operators keep one as an anchor, with all else empty, and it has no effect.

CEL is that of Kubernetes 1.25 with its string functions; older API servers pass over the rules. Costs are bounded by
the `maxItems` and `maxLength` of the models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_RANGE: Final = "#[0-9]{1,5}-[0-9]{1,5}$"


@dataclass(frozen=True, slots=True)
class CelRule:
    """One rule and what is said where it is broken."""

    on: str
    """Name of the model that it is about."""
    rule: str
    """True where all is well; `self` is the object of that model, or what `field` names."""
    message: str
    field: str = ""
    """Field of the model that the rule is evaluated on (`pfNames[]`: each of its items); empty: the whole model."""
    at: str = ""
    """Where a fault is shown, below what the rule is evaluated on, like `.vdpaType`."""

    def to_wire(self) -> dict[str, str]:
        """As `x-kubernetes-validations` has it."""
        shown = {"fieldPath": self.at} if self.at else {}
        return {"rule": self.rule, "message": self.message, **shown}


def _given(path: str) -> str:
    """A text field that is there and not empty."""
    return f"(has({path}) && {path} != '')"


def _listed(path: str) -> str:
    """A list that is there and not empty."""
    return f"(has({path}) && size({path}) > 0)"


_PARTS = (
    _given("self.nicSelector.vendor"),
    _given("self.nicSelector.deviceID"),
    _listed("self.nicSelector.rootDevices"),
    _listed("self.nicSelector.pfNames"),
    _given("self.nicSelector.netFilter"),
)
_NET_FILTER = _given("self.nicSelector.netFilter")
_SWITCHDEV = "(has(self.eSwitchMode) && self.eSwitchMode == 'switchdev')"
_BRIDGE = "(has(self.bridge) && has(self.bridge.ovs))"
_NOT_ETHERNET = "(has(self.linkType) && !(self.linkType in ['eth', 'ETH']))"
_VDPA = "has(self.vdpaType)"

_POLICY = (
    CelRule(
        on="PolicySpec",
        rule=f"self.numVfs == 0 || {_given('self.resourceName')}",
        message="is required: the name of the resource that pods ask for",
        at=".resourceName",
    ),
    CelRule(
        on="PolicySpec",
        field="resourceName",
        rule="self == '' || self.matches('^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$')",
        message="must be 1 to 63 letters, digits, '-' and '_', with a letter or digit at both ends",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"self.numVfs == 0 || {' || '.join(_PARTS)}",
        message="selects nothing: give at least one of vendor, deviceID, rootDevices, pfNames, netFilter",
        at=".nicSelector",
    ),
    CelRule(
        on="NicSelector",
        rule=f"!{_given('self.netFilter')} || !({_given('self.vendor')} || {_given('self.deviceID')}"
        f" || {_listed('self.rootDevices')} || {_listed('self.pfNames')})",
        message="netFilter goes with no other part of the selector: take it away, or vendor, deviceID, rootDevices and"
        " pfNames",
        at=".netFilter",
    ),
    CelRule(
        on="NicSelector",
        field="pfNames[]",
        rule="self.matches('^[^#]+(#[0-9]{1,5}-[0-9]{1,5})?$')",
        message="must be a PF's name, or name#first-last for some of its VFs, like ens1f0#0-3",
    ),
    CelRule(
        on="NicSelector",
        field="pfNames[]",
        rule=f"!self.matches('^[^#]+{_RANGE}')"
        " || int(self.split('#')[1].split('-')[0]) <= int(self.split('#')[1].split('-')[1])",
        message="the last VF index of the range is smaller than the first",
    ),
    CelRule(
        on="PolicySpec",
        rule="self.numVfs == 0 || !has(self.nicSelector.pfNames) || self.nicSelector.pfNames.all(name,"
        f" !name.matches('^[^#]+{_RANGE}') || int(name.split('#')[1].split('-')[1]) < self.numVfs)",
        message="a VF range goes beyond numVfs: VF indices are 0 to numVfs - 1",
        at=".nicSelector.pfNames",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_NET_FILTER} || !has(self.eSwitchMode)",
        message="cannot be set for NICs that netFilter selects: a virtual machine's NIC has no eswitch",
        at=".eSwitchMode",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_NET_FILTER} || !{_BRIDGE}",
        message="cannot be set for NICs that netFilter selects: a virtual machine's NIC has no eswitch",
        at=".bridge",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_NET_FILTER} || !{_NOT_ETHERNET}",
        message="must be eth for NICs that netFilter selects",
        at=".linkType",
    ),
    CelRule(
        on="PolicySpec",
        rule="!(has(self.deviceType) && self.deviceType == 'vfio-pci' && has(self.isRdma) && self.isRdma)",
        message="conflicts with deviceType vfio-pci: RDMA needs the kernel's driver on the VFs",
        at=".isRdma",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_SWITCHDEV} || !{_NOT_ETHERNET}",
        message="must be eth with eSwitchMode switchdev",
        at=".linkType",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_VDPA} || {_SWITCHDEV}",
        message="needs eSwitchMode switchdev",
        at=".vdpaType",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_VDPA} || !has(self.deviceType) || self.deviceType == 'netdevice'",
        message="needs deviceType netdevice",
        at=".vdpaType",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_BRIDGE} || {_SWITCHDEV}",
        message="needs eSwitchMode switchdev",
        at=".bridge",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_BRIDGE} || !{_NOT_ETHERNET}",
        message="needs an Ethernet port: set linkType eth, or take it away",
        at=".bridge",
    ),
    CelRule(
        on="PolicySpec",
        rule=f"!{_BRIDGE} || !(has(self.externallyManaged) && self.externallyManaged)",
        message="an externally managed PF cannot be the uplink of a bridge: take one of the two away",
        at=".bridge",
    ),
)

_NETWORKS = (
    CelRule(
        on="SriovNetworkSpec",
        rule="!has(self.vlanQoS) || self.vlanQoS == 0 || (has(self.vlan) && self.vlan > 0)",
        message="needs a vlan other than 0",
        at=".vlanQoS",
    ),
    CelRule(
        on="SriovNetworkSpec",
        rule="!has(self.vlanProto) || self.vlanProto in ['802.1q', '802.1Q'] || (has(self.vlan) && self.vlan > 0)",
        message="802.1ad needs a vlan other than 0",
        at=".vlanProto",
    ),
    CelRule(
        on="SriovNetworkSpec",
        rule="!has(self.minTxRate) || !has(self.maxTxRate) || self.maxTxRate == 0 || self.minTxRate <= self.maxTxRate",
        message="must not be larger than maxTxRate",
        at=".minTxRate",
    ),
    CelRule(
        on="TrunkEntry",
        rule="has(self.minID) == has(self.maxID)",
        message="minID and maxID go together",
    ),
    CelRule(
        on="TrunkEntry",
        rule="!has(self.minID) || !has(self.maxID) || self.minID <= self.maxID",
        message="must not be larger than maxID",
        at=".minID",
    ),
    CelRule(
        on="TrunkEntry",
        rule="has(self.id) || has(self.minID) || has(self.maxID)",
        message="is empty: give id, or minID and maxID",
    ),
)

_POOLS = (
    CelRule(
        on="PoolConfigSpec",
        rule=f"!(has(self.ovsHardwareOffloadConfig) && {_given('self.ovsHardwareOffloadConfig.name')})"
        " || (!has(self.nodeSelector) && !has(self.maxUnavailable))",
        message="goes with neither nodeSelector nor maxUnavailable: make a pool of its own for them",
        at=".ovsHardwareOffloadConfig",
    ),
    CelRule(
        on="PoolConfigSpec",
        field="maxUnavailable",
        rule="type(self) == int ? self >= 0 : self.matches('^([1-9][0-9]?|100)%$')",
        message='must be a whole number from 0, or a share, "1%" to "100%"',
    ),
    CelRule(
        on="LabelRequirement",
        rule=f"self.operator in ['In', 'NotIn'] ? {_listed('self.values')} : !{_listed('self.values')}",
        message="In and NotIn need values, Exists and DoesNotExist have none",
        at=".values",
    ),
)

RULES: Final[tuple[CelRule, ...]] = (*_POLICY, *_NETWORKS, *_POOLS)
"""All rules, in the order in which they stand in the definitions."""
