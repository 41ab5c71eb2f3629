"""The operations on Open vSwitch: what each does on a host, and what a person would type for it.

The ops' names and arguments are made in `virtfn.model.bridge_steps`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping

from virtfn.host.api import Host
from virtfn.model import OutcomeStatus, PciAddress, Pf, Step
from virtfn.model.bridge_steps import REMOVE_BRIDGE, REMOVE_UPLINK, SET_BRIDGE, SET_OFFLOAD, SET_UPLINK
from virtfn.model.open_vswitch import KEYS_MARK, MARK, OFFLOAD

_DONE = (OutcomeStatus.DONE, "")
_SETTINGS = ("external_ids", "other_config")


def _set_bridge(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    args = step.args
    host.bridges.set_bridge(
        PciAddress.parse(step.target),
        args["bridge"],
        datapath_type=args["datapath_type"],
        fail_mode=args["fail_mode"],
        external_ids=args["external_ids"],
        other_config=args["other_config"],
    )
    return _DONE


def _set_uplink(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    args = step.args
    host.bridges.set_uplink(
        PciAddress.parse(step.target),
        args["bridge"],
        name=args.get("name", ""),
        type=args["type"],
        options=args["options"],
        external_ids=args["external_ids"],
        other_config=args["other_config"],
        mtu_request=args.get("mtu_request"),
    )
    return _DONE


def _remove_uplink(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    host.bridges.remove_uplink(PciAddress.parse(step.target), step.args["bridge"])
    return _DONE


def _remove_bridge(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    host.bridges.remove_bridge(PciAddress.parse(step.target), step.args["bridge"])
    return _DONE


def _set_offload(step: Step, host: Host) -> tuple[OutcomeStatus, str]:
    host.bridges.set_offload(enabled=step.args["enabled"])
    return OutcomeStatus.DONE, "ovs-vswitchd takes it up at its next start"


BRIDGE_OPERATIONS: Mapping[str, Callable[[Step, Host], tuple[OutcomeStatus, str]]] = {
    SET_BRIDGE: _set_bridge,
    SET_UPLINK: _set_uplink,
    REMOVE_UPLINK: _remove_uplink,
    REMOVE_BRIDGE: _remove_bridge,
    SET_OFFLOAD: _set_offload,
}
BRIDGE_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    SET_BRIDGE: ("bridge", "datapath_type", "fail_mode", *_SETTINGS),
    SET_UPLINK: ("bridge", "type", "options", *_SETTINGS),
    REMOVE_UPLINK: ("bridge",),
    REMOVE_BRIDGE: ("bridge",),
    SET_OFFLOAD: ("enabled",),
}
"""What each op's step must have."""


# --- as shell ---------------------------------------------------------------------------------------------------------


def _bridge_lines(step: Step, _pf: Pf | None) -> list[str]:
    args = step.args
    name = shlex.quote(args["bridge"])
    lines = [f"ovs-vsctl --may-exist add-br {name}"]
    words = [f"datapath_type={_value(args['datapath_type'])}"]
    words += [f"fail_mode={_value(args['fail_mode'])}"] if args["fail_mode"] else []
    lines.append(f"ovs-vsctl set bridge {name} {' '.join([*words, *_maps(step, _SETTINGS)])}")
    if not args["fail_mode"]:
        lines.append(f"ovs-vsctl clear bridge {name} fail_mode")
    return lines


def _uplink_lines(step: Step, pf: Pf | None) -> list[str]:
    args = step.args
    if pf is not None and pf.netdev is not None:
        port = shlex.quote(pf.netdev.name)
    else:
        port = shlex.quote(args["name"]) if args.get("name") else f'"$(netdev {PciAddress.parse(step.target)})"'
    words = [f"type={_value(args['type'])}", *_maps(step, ("options", *_SETTINGS))]
    mtu = args.get("mtu_request")
    words += [f"mtu_request={int(mtu)}"] if mtu is not None else []
    return [
        f"port={port}",
        f'ovs-vsctl --may-exist add-port {shlex.quote(args["bridge"])} "$port" -- '
        f'set interface "$port" {" ".join(words)}',
    ]


def _no_uplink_lines(step: Step, _pf: Pf | None) -> list[str]:
    find = f"ovs-vsctl --bare --columns=name find interface {shlex.quote(f'external_ids:{_key(MARK)}={step.target}')}"
    return [
        f'for port in $({find}); do ovs-vsctl --if-exists del-port {shlex.quote(step.args["bridge"])} "$port"; done'
    ]


def _no_bridge_lines(step: Step, _pf: Pf | None) -> list[str]:
    return [f"ovs-vsctl --if-exists del-br {shlex.quote(step.args['bridge'])}"]


def _offload_lines(step: Step, _pf: Pf | None) -> list[str]:
    if step.args["enabled"]:
        return [f"ovs-vsctl set open_vswitch . other_config:{OFFLOAD}=true  # in force when ovs-vswitchd is restarted"]
    return [f"ovs-vsctl remove open_vswitch . other_config {OFFLOAD}"]


def _maps(step: Step, columns: tuple[str, ...]) -> list[str]:
    """`ovs-vsctl set` words for the keys of maps, the marks of ownership among them."""
    wanted = {column: dict(step.args[column]) for column in columns}
    keys = {column: sorted(values) for column, values in wanted.items() if values}
    wanted["external_ids"] |= {MARK: step.target, KEYS_MARK: json.dumps(keys)}
    return [
        shlex.quote(f"{column}:{_key(key)}={json.dumps(value)}")
        for column, values in wanted.items()
        for key, value in sorted(values.items())
    ]


def _key(key: str) -> str:
    """Keys with other than word characters have to be quoted for ovs-vsctl(8)."""
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def _value(text: str) -> str:
    return shlex.quote(json.dumps(text))


BRIDGE_SHELL: Mapping[str, Callable[[Step, Pf | None], list[str]]] = {
    SET_BRIDGE: _bridge_lines,
    SET_UPLINK: _uplink_lines,
    REMOVE_UPLINK: _no_uplink_lines,
    REMOVE_BRIDGE: _no_bridge_lines,
    SET_OFFLOAD: _offload_lines,
}
