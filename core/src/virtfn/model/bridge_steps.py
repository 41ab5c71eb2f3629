"""The steps that concern Open vSwitch, made so that disruption and affected VFs are always told the same way.

Their target is the PF that is the bridge's uplink, so that a bridge is drained for, held back and reported with its PF.
In switchdev mode a VF's traffic goes through its representor: what takes a bridge apart in which representors of the PF
are plugged takes the traffic of their VFs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virtfn.model.desired import DesiredBridge
from virtfn.model.open_vswitch import Bridge
from virtfn.model.pci import PciAddress
from virtfn.model.plan import Disruption, Step

SET_BRIDGE = "ovs.set_bridge"
SET_UPLINK = "ovs.set_uplink"
REMOVE_UPLINK = "ovs.remove_uplink"
REMOVE_BRIDGE = "ovs.remove_bridge"
SET_OFFLOAD = "ovs.set_offload"

BRIDGE_OPS = frozenset({SET_BRIDGE, SET_UPLINK, REMOVE_UPLINK, REMOVE_BRIDGE, SET_OFFLOAD})
"""Operations on Open vSwitch that core performs."""

_NODE = "node"


def set_bridge(want: DesiredBridge, *, why: str, affects: tuple[PciAddress, ...] = ()) -> Step:
    """Make the bridge, or bring its columns to what is wanted.

    :param affects: VFs that lose traffic when an existing bridge is changed so.
    """
    return _step(
        SET_BRIDGE,
        want.uplink,
        args={
            "bridge": want.name,
            "datapath_type": want.datapath_type,
            "fail_mode": want.fail_mode,
            "external_ids": dict(want.external_ids),
            "other_config": dict(want.other_config),
        },
        affects=affects,
        why=why,
    )


def set_uplink(want: DesiredBridge, *, why: str, affects: tuple[PciAddress, ...] = ()) -> Step:
    """Put the PF's netdev into the bridge as its only uplink, in the place of another one.

    :param affects: VFs that lose traffic when it is there already and is taken out first.
    """
    args: dict[str, Any] = {
        "bridge": want.name,
        "type": want.interface_type,
        "options": dict(want.interface_options),
        "external_ids": dict(want.interface_external_ids),
        "other_config": dict(want.interface_other_config),
        "mtu_request": want.mtu_request,
    }
    if want.uplink_name:
        args["name"] = want.uplink_name
    return _step(SET_UPLINK, want.uplink, args=args, affects=affects, why=why)


def remove_uplink(pf: PciAddress, bridge: Bridge, *, why: str, affects: tuple[PciAddress, ...] = ()) -> Step:
    """Take out of the bridge what virtfn put in as its uplink; the bridge stays."""
    return _step(REMOVE_UPLINK, pf, args={"bridge": bridge.name}, affects=affects, why=why)


def remove_bridge(pf: PciAddress, bridge: Bridge, *, why: str, affects: tuple[PciAddress, ...] = ()) -> Step:
    """Take a bridge that virtfn made away, with every port that is in it."""
    return _step(REMOVE_BRIDGE, pf, args={"bridge": bridge.name}, affects=affects, why=why)


def set_offload(enabled: bool, *, why: str) -> Step:
    """Hardware offload on, or as it was before virtfn switched it on. ovs-vswitchd takes it up at its next start."""
    return Step(op=SET_OFFLOAD, target=_NODE, args={"enabled": enabled}, why=why)


def _step(op: str, pf: PciAddress, *, args: Mapping[str, Any], affects: tuple[PciAddress, ...], why: str) -> Step:
    disruption = Disruption.VFS if affects else Disruption.NONE
    return Step(op=op, target=str(pf), args=args, disruption=disruption, affects=affects, why=why)


def describe_bridge_step(step: Step) -> str:
    """The step in a few words: `bridge br-0000_3b_00.0: put the PF in as its uplink`."""
    if step.op == SET_OFFLOAD:
        wanted = "on" if step.args["enabled"] else "as it was before"
        return f"Open vSwitch: hardware offload {wanted}"
    words = {
        SET_BRIDGE: "make it as wanted",
        SET_UPLINK: "put the PF in as its uplink",
        REMOVE_UPLINK: "take its uplink out",
        REMOVE_BRIDGE: "remove it",
    }
    return f"bridge {step.args['bridge']}: {words[step.op]}"
