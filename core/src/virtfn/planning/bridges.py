"""From the bridges that are there and those that are wanted to steps. Pure.

A bridge is planned with the PF that is its uplink: around the PF's own steps, as the uplink must not be in the switch
while the eswitch changes its mode, and can be put in only when the PF is as it shall be. What virtfn did not make is
neither changed nor removed; where it is in the way, that is a problem, and the PF's own steps are done all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from virtfn.errors import NotEffective, OvsRefused, RequestError, UnsupportedSetting, VirtfnError
from virtfn.model import DesiredPf, DesiredState, Inventory, PciAddress, Pf, Problem, Severity, Step, steps
from virtfn.model.bridge_steps import remove_bridge, remove_uplink, set_bridge, set_offload, set_uplink
from virtfn.model.desired import DesiredBridge
from virtfn.model.open_vswitch import OLDER_RECORD, Bridge, OpenVSwitch, Uplink

_Around = tuple[list[Step], list[Step], list[Problem]]
"""Steps before those of the PF, steps after them, and problems."""


def plan_offload(inventory: Inventory, desired: DesiredState) -> tuple[list[Step], list[Problem]]:
    """Hardware offload of the node's Open vSwitch. One that a container runs is set up by whoever runs it."""
    ovs = inventory.ovs
    if ovs is not None and ovs.fault and desired.ovs_offload:
        return [], [_not_known(ovs)]
    if ovs is None or ovs.fault or not ovs.host_service or desired.ovs_offload is None:
        return [], []
    if not desired.ovs_offload:
        if not ovs.offload_is_ours:
            return [], []
        return [set_offload(False, why="no PF is in switchdev mode any more, and virtfn had switched it on")], []
    if ovs.hw_offload != "true":
        why = "PFs in switchdev mode are wanted, and Open vSwitch does not put flows into hardware"
        return [set_offload(True, why=f"{why} (other_config:hw-offload is {ovs.hw_offload or 'not set'})")], []
    return [], [_restart_pending()] if ovs.restart_pending else []


def _not_known(ovs: OpenVSwitch) -> Problem:
    return Problem(
        object="Open vSwitch",
        message=f"whether it puts flows into hardware is not known, as it cannot be read: {ovs.fault}",
        hint="is ovsdb-server well?",
        reason=OvsRefused.reason,
        severity=Severity.WARNING,
    )


def _restart_pending() -> Problem:
    return Problem(
        object="Open vSwitch",
        message="hw-offload was switched on, and the ovs-vswitchd that runs was started before: it may not offload",
        hint="restart it when its traffic may pause: systemctl restart openvswitch-switch (or ovs-vswitchd)",
        reason=NotEffective.reason,
        severity=Severity.WARNING,
    )


def plan_with(
    inventory: Inventory,
    desired: DesiredState,
    wanted: Sequence[DesiredPf],
    *,
    planned: Sequence[Step],
    problems: Sequence[Problem],
) -> tuple[list[Step], list[Problem]]:
    """The steps of one adapter with those of its PFs' bridges around them.

    :param wanted: what is wanted of the adapter's PFs.
    :param planned: the adapter's own steps.
    :param problems: of the adapter: a PF that is left alone keeps its bridge as well.
    """
    stopped = {problem.object for problem in problems if problem.severity is Severity.ERROR}
    before: list[Step] = []
    after: list[Step] = []
    more: list[Problem] = []
    for want in wanted:
        pf = inventory.pf(want.address)
        if pf is None or stopped & {pf.label, str(pf.address), pf.address.slot}:
            continue
        first, last, found = _plan(inventory, desired, pf, None if want.release else want.bridge, planned)
        before += first
        after += last
        more += found
    return [*before, *planned, *after], more


def plan_alone(inventory: Inventory, desired: DesiredState) -> tuple[list[Step], list[Problem]]:
    """Bridges whose uplink nothing else is wanted of, and those of such that are no longer wanted."""
    done: list[Step] = []
    problems: list[Problem] = []
    named = {want.address for want in desired.pfs}
    for want in desired.bridges:
        if want.uplink in named or want.uplink in desired.refused:
            continue
        if want.release:
            bridge = inventory.ovs.bridge(want.name) if inventory.ovs is not None else None
            if bridge is not None and bridge.managed and bridge.name not in _wanted_names(desired):
                done.append(_removal(inventory, want.uplink, bridge))
            continue
        pf = inventory.pf(want.uplink)
        if pf is not None:
            before, after, found = _plan(inventory, desired, pf, want, ())
            done += [*before, *after]
            problems += found
    return done, problems


def given_back(inventory: Inventory, desired: DesiredState) -> DesiredState:
    """The same, with what virtfn made and nobody wants any more given back: bridges, hardware offload, RDMA mode.

    For a request that names all that is wanted of the node. Bridges of PFs in it are seen to with these anyhow.
    """
    named = {*(want.address for want in desired.pfs), *desired.refused}
    strays = tuple(
        DesiredBridge(bridge.name, bridge.pf or _NOWHERE, release=True)
        for bridge in (inventory.ovs.bridges if inventory.ovs is not None else ())
        if bridge.managed
        and bridge.pf not in named
        and bridge.name not in desired.kept_bridges
        and bridge.name not in _wanted_names(desired)
    )
    offload = desired.ovs_offload
    if offload is None and not desired.refused:
        offload = False
    return replace(desired, bridges=(*desired.bridges, *strays), ovs_offload=offload, whole=True)


_NOWHERE = PciAddress.parse("0000:00:00.0")
"""Stands for the PF of a bridge whose mark does not name one. No network function is there: it is the host bridge's."""


def _wanted_names(desired: DesiredState) -> frozenset[str]:
    with_pfs = (want.bridge for want in desired.pfs if want.bridge is not None and not want.release)
    return frozenset(each.name for each in (*with_pfs, *desired.bridges) if not each.release)


# --- one PF -----------------------------------------------------------------------------------------------------------


def _plan(
    inventory: Inventory, desired: DesiredState, pf: Pf, want: DesiredBridge | None, planned: Sequence[Step]
) -> _Around:
    ovs = inventory.ovs or OpenVSwitch()
    taken = _wanted_names(desired) | set(desired.kept_bridges)
    before = [
        _removal(inventory, pf.address, bridge)
        for bridge in ovs.bridges
        if bridge.managed and bridge.pf == pf.address and bridge.name not in taken
    ]
    if want is None:
        return before, [], []
    if (problem := _hindrance(inventory, pf, want)) is not None:
        return before, [], [problem]
    bridge = ovs.bridge(want.name)
    renewing = (steps.SET_ESWITCH_MODE, steps.RELOAD)
    changes_mode = any(step.op in renewing and step.target == str(pf.address) for step in planned)
    name = pf.netdev.name if pf.netdev is not None else want.uplink_name
    if bridge is not None and bridge.inherited:
        handing = _taken_over(bridge, want, pf, name)
        if not changes_mode:
            return before, handing, []
        return [*before, *handing, _uplink_out(pf, bridge, name)], [_uplink_in(want, name)], []
    after = []
    if bridge is None:
        after.append(set_bridge(want, why=f"bridge {want.name} is wanted, and is not there"))
    elif differing := _bridge_differs(bridge, want):
        lost = _lost_by(differing, pf, bridge)
        after.append(set_bridge(want, affects=lost, why=f"bridge {want.name}: {_told(differing)}"))
    uplinks = bridge.uplinks if bridge is not None else ()
    if uplinks and changes_mode and bridge is not None:
        return [*before, _uplink_out(pf, bridge, uplinks[0].name)], [*after, _uplink_in(want, name)], []
    why, breaks = _uplink_differs(uplinks, want, name=name, pf=pf.address)
    if why:
        lost = _plugged(pf, bridge) if breaks and bridge is not None else ()
        after.append(set_uplink(want, affects=lost, why=f"bridge {want.name}: {why}"))
    elif uplinks[0].ofport is None:
        return before, after, [_not_taken_up(want, name)]
    elif not ovs.switch_runs:
        return before, after, [_not_switched(want)]
    return before, after, []


def _taken_over(bridge: Bridge, want: DesiredBridge, pf: Pf, name: str) -> list[Step]:
    """The bridge that an older operator has made becomes virtfn's own, with all that is in it."""
    differing = _bridge_differs(bridge, want)
    told = f", and changed: {_told(differing)}" if differing else ""
    why = f"bridge {want.name} was made by an older operator ({OLDER_RECORD}): it is taken over{told}"
    return [set_bridge(want, affects=_lost_by(differing, pf, bridge), why=why), _uplink_in(want, name)]


def _lost_by(differing: dict[str, tuple[object, object]], pf: Pf, bridge: Bridge) -> tuple[PciAddress, ...]:
    """VFs that lose traffic when these columns of a bridge change."""
    return _plugged(pf, bridge) if {"datapath_type", "fail_mode"} & differing.keys() else ()


def _uplink_out(pf: Pf, bridge: Bridge, name: str) -> Step:
    why = f"{name} must not be in a bridge while the PF changes its eswitch mode"
    return remove_uplink(pf.address, bridge, affects=_plugged(pf, bridge), why=why)


def _uplink_in(want: DesiredBridge, name: str) -> Step:
    return set_uplink(want, why=f"{name} is the uplink of bridge {want.name}")


def _removal(inventory: Inventory, address: PciAddress, bridge: Bridge) -> Step:
    pf = inventory.pf(address)
    lost = _plugged(pf, bridge) if pf is not None else ()
    others = [port for port in bridge.ports if port not in {uplink.name for uplink in bridge.uplinks}]
    inside = f", with its ports {', '.join(others)}" if others else ""
    return remove_bridge(
        address, bridge, affects=lost, why=f"virtfn made bridge {bridge.name}, and it is no longer wanted{inside}"
    )


def _plugged(pf: Pf, bridge: Bridge) -> tuple[PciAddress, ...]:
    """VFs whose representors are in the bridge."""
    return tuple(vf.address for vf in pf.vfs if vf.representor is not None and vf.representor in bridge.ports)


def _hindrance(inventory: Inventory, pf: Pf, want: DesiredBridge) -> Problem | None:
    """What keeps the bridge from being made, or from being kept."""
    ovs = inventory.ovs
    if ovs is None:
        return _problem(
            want,
            UnsupportedSetting,
            "Open vSwitch does not run on this node (nothing answers at /run/openvswitch/db.sock)",
            hint="install and start it, or take the bridge out of the policy",
        )
    if ovs.fault:
        return _problem(want, OvsRefused, f"Open vSwitch cannot be read: {ovs.fault}", hint="is ovsdb-server well?")
    if not ovs.host_service:
        return _problem(
            want,
            UnsupportedSetting,
            "the Open vSwitch of this node runs in a container, and belongs to what runs that",
            hint="take the bridge out of the policy: kube-ovn, for one, makes its bridges itself",
        )
    there = ovs.bridge(want.name)
    if there is not None and not there.managed and not there.inherited:
        return _problem(
            want,
            OvsRefused,
            "a bridge of this name is there, and virtfn did not make it",
            hint=f"remove it, or hand it over: ovs-vsctl br-set-external-id {want.name} virtfn.io/managed {pf.address}",
        )
    name = pf.netdev.name if pf.netdev is not None else want.uplink_name
    holder = ovs.holder(name)
    if holder is not None and not holder.managed and not holder.inherited:
        return _problem(
            want,
            OvsRefused,
            f"{pf.label} is a port of bridge {holder.name}, which virtfn did not make",
            hint=f"take it out: ovs-vsctl del-port {holder.name} {name}",
        )
    if pf.netdev is not None and pf.netdev.bond is not None and not want.interface_type:
        message = f"{pf.label} is a port of {pf.netdev.bond}, and cannot be one of a bridge too"
        return _problem(want, RequestError, message, hint="take it out of the bond, or the bridge out of the policy")
    if pf.netdev is None and not want.interface_type:
        message = f"{pf.label} has no netdev here that could be its uplink"
        return _problem(want, RequestError, message, hint="give the PF back to its network driver and this namespace")
    return None


def _not_taken_up(want: DesiredBridge, name: str) -> Problem:
    return _problem(
        want,
        NotEffective,
        f"its uplink {name} is in the database, and ovs-vswitchd has not taken it up",
        hint="is ovs-vswitchd running?",
    )


def _not_switched(want: DesiredBridge) -> Problem:
    """A warning, as a pid file may be elsewhere, and the bridge itself is as wanted."""
    message = "it is in the database as wanted, and no ovs-vswitchd is seen that would switch by it"
    hint = "start it: systemctl start openvswitch-switch (or ovs-vswitchd)"
    return replace(_problem(want, NotEffective, message, hint=hint), severity=Severity.WARNING)


def _problem(want: DesiredBridge, kind: type[VirtfnError], message: str, *, hint: str) -> Problem:
    return Problem(object=f"bridge {want.name}", field="bridges", message=message, hint=hint, reason=kind.reason)


# --- what differs -----------------------------------------------------------------------------------------------------


def _bridge_differs(bridge: Bridge, want: DesiredBridge) -> dict[str, tuple[object, object]]:
    """Column to what is there and what is wanted."""
    columns = {
        "datapath_type": (bridge.datapath_type, want.datapath_type),
        "fail_mode": (bridge.fail_mode, want.fail_mode),
        "external_ids": (dict(bridge.external_ids), dict(want.external_ids)),
        "other_config": (dict(bridge.other_config), dict(want.other_config)),
        "PF": (bridge.pf, want.uplink),
        "error": (bridge.error, ""),
    }
    return {column: values for column, values in columns.items() if values[0] != values[1]}


def _uplink_differs(uplinks: Sequence[Uplink], want: DesiredBridge, *, name: str, pf: PciAddress) -> tuple[str, bool]:
    """Why the uplink has to be set, or nothing; and whether that interrupts what goes through the bridge."""
    if not uplinks:
        return f"{name} is its uplink, and is not in it", False
    if len(uplinks) > 1:
        return f"one uplink is wanted, and there are {', '.join(uplink.name for uplink in uplinks)}", True
    uplink = uplinks[0]
    if uplink.name != name:
        return f"{name} is its uplink, and {uplink.name} is there", True
    if uplink.error:
        return f"Open vSwitch cannot use {name}: {uplink.error}", False
    columns: dict[str, tuple[object, object]] = {
        "type": (uplink.type, want.interface_type),
        "options": (dict(uplink.options), dict(want.interface_options)),
        "external_ids": (dict(uplink.external_ids), dict(want.interface_external_ids)),
        "other_config": (dict(uplink.other_config), dict(want.interface_other_config)),
        "mtu_request": (uplink.mtu_request, want.mtu_request),
        "PF": (uplink.pf, pf),
    }
    if uplink.mtu_request == want.mtu_request is not None and uplink.mtu is not None:
        columns["MTU"] = (uplink.mtu, want.mtu_request)
    differing = {column: values for column, values in columns.items() if values[0] != values[1]}
    return (f"{name}: {_told(differing)}", bool({"type", "options"} & differing.keys())) if differing else ("", False)


def _told(differing: dict[str, tuple[object, object]]) -> str:
    words = [f"{column} is {_word(there)}, wanted {_word(want)}" for column, (there, want) in differing.items()]
    return ", ".join(words)


def _word(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={content}" for key, content in sorted(value.items())) or "empty"
    return "not set" if value in (None, "") else str(value)
