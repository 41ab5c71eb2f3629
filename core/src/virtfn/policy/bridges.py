"""The software bridges that policies ask for: one Open vSwitch bridge for every selected PF."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from virtfn.errors import UnsupportedSetting
from virtfn.model import EswitchMode
from virtfn.model.crd import (
    BridgesSpec,
    InterfaceStatus,
    OvsBridgeSpec,
    OvsBridgeUplink,
    OvsPolicy,
    PolicySpec,
)
from virtfn.model.open_vswitch import OWN_KEYS
from virtfn.model.ovs import OvsBridgeSettings, OvsInterfaceSettings
from virtfn.policy.reading import Fault

Bridges = Mapping[str, OvsBridgeSpec]
"""Bridges by name."""

NO_BRIDGES: Bridges = MappingProxyType({})


def bridge_fault(spec: PolicySpec) -> Fault | None:
    """What forbids the bridge a policy asks for; None when it is allowed, or there is none."""
    if spec.bridge is None or spec.bridge.ovs is None or spec.nic_selector.is_empty:
        return None
    if spec.eswitch_mode is not EswitchMode.SWITCHDEV:
        return Fault(
            "spec.eSwitchMode",
            "a bridge needs eSwitchMode switchdev",
            "set it, or take spec.bridge away",
            UnsupportedSetting,
        )
    if spec.link_type is not None and spec.link_type.lower() != "eth":
        return Fault(
            "spec.linkType",
            f"a bridge needs an Ethernet port, not {spec.link_type}",
            "set linkType eth, or take spec.bridge away",
            UnsupportedSetting,
        )
    if spec.externally_managed:
        return Fault(
            "spec.externallyManaged",
            "a bridge cannot have an externally managed PF as its uplink",
            "take one of the two away",
            UnsupportedSetting,
        )
    return bridge_keys_fault(spec)


def bridge_keys_fault(spec: PolicySpec) -> Fault | None:
    """What forbids the external ids that a policy asks for."""
    ovs = spec.bridge.ovs if spec.bridge is not None else None
    if ovs is None:
        return None
    interface = ovs.uplink.interface if ovs.uplink is not None else None
    return own_key_fault(ovs.bridge, "spec.bridge.ovs.bridge") or own_key_fault(
        interface, "spec.bridge.ovs.uplink.interface"
    )


def own_key_fault(settings: OvsBridgeSettings | OvsInterfaceSettings | None, at: str) -> Fault | None:
    """What forbids the external ids that are asked for: by virtfn's own it tells whose a bridge is."""
    own = next((key for key in settings.external_ids if key.startswith(OWN_KEYS)), None) if settings else None
    if own is None:
        return None
    return Fault(f"{at}.externalIDs", f"{own} is a key that virtfn writes itself", "take it away", UnsupportedSetting)


def apply_bridge(bridges: Bridges, spec: PolicySpec, pf: InterfaceStatus) -> Bridges:
    """The bridges after one policy was applied to a PF it selects.

    A policy without a bridge takes away the one that an earlier policy made on the PF: the later policy wins.
    """
    ovs = spec.bridge.ovs if spec.bridge is not None else None
    if ovs is None:
        return {
            name: bridge
            for name, bridge in bridges.items()
            if all(uplink.pci_address != pf.pci_address for uplink in bridge.uplinks)
        }
    bridge = _bridge(ovs, pf=pf, mtu=spec.mtu)
    return {**bridges, bridge.name: bridge}


def _bridge(ovs: OvsPolicy, *, pf: InterfaceStatus, mtu: int) -> OvsBridgeSpec:
    interface = ovs.uplink.interface if ovs.uplink is not None else None
    settings = interface or OvsInterfaceSettings()
    if mtu:
        settings = settings.model_copy(update={"mtu_request": mtu})
    return OvsBridgeSpec(
        name="br-" + pf.pci_address.replace(":", "_"),
        bridge=ovs.bridge or OvsBridgeSettings(),
        uplinks=(OvsBridgeUplink(pciAddress=pf.pci_address, name=pf.name, interface=settings),),
    )


def bridges_spec(bridges: Bridges) -> BridgesSpec | None:
    """As a node state has them, sorted by name; None when there is none."""
    if not bridges:
        return None
    return BridgesSpec(ovs=tuple(bridges[name] for name in sorted(bridges)))
