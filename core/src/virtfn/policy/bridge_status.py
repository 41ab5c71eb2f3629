"""The bridges that virtfn made on a machine, as a node state's status tells them: in the form they are asked for in."""

from __future__ import annotations

from typing import Any

from virtfn.model import Inventory, PciAddress
from virtfn.model.crd import BridgesSpec, OvsBridgeSpec, OvsBridgeUplink
from virtfn.model.open_vswitch import Bridge, Uplink
from virtfn.model.ovs import FailMode, OvsBridgeSettings, OvsInterfaceSettings


def status_bridges(inventory: Inventory) -> dict[str, Any]:
    """`status.bridges`: the bridges that virtfn made, each with the settings that it made; empty where it made none.

    An uplink that Open vSwitch cannot use, or that is in another bridge, is left out.
    """
    managed = [bridge for bridge in (inventory.ovs.bridges if inventory.ovs is not None else ()) if bridge.managed]
    if not managed:
        return {}
    return BridgesSpec(ovs=tuple(_bridge(bridge) for bridge in managed)).to_wire()


def _bridge(bridge: Bridge) -> OvsBridgeSpec:
    settings = OvsBridgeSettings(
        datapathType=bridge.datapath_type,
        failMode=FailMode(bridge.fail_mode) if bridge.fail_mode in list(FailMode) else None,
        externalIDs=dict(bridge.external_ids),
        otherConfig=dict(bridge.other_config),
    )
    return OvsBridgeSpec(
        name=bridge.name,
        bridge=settings,
        uplinks=tuple(
            _uplink(uplink, uplink.pf) for uplink in bridge.uplinks if uplink.pf is not None and not uplink.error
        ),
    )


def _uplink(uplink: Uplink, pf: PciAddress) -> OvsBridgeUplink:
    interface = OvsInterfaceSettings(
        type=uplink.type,
        options=dict(uplink.options),
        externalIDs=dict(uplink.external_ids),
        otherConfig=dict(uplink.other_config),
        mtuRequest=uplink.mtu_request or 0,
    )
    return OvsBridgeUplink(pciAddress=str(pf), name=uplink.name, interface=interface)
