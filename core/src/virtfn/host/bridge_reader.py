"""Reads Open vSwitch: who runs it, whether it offloads, and its bridges. Nothing here changes anything.

An Open vSwitch that a container runs belongs to whoever runs the container; kube-ovn's, for one, sets its
`hw-offload` anew at each start. Of such a one no bridge is read, as none could be virtfn's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from virtfn.host import ovsdb_values as ovs
from virtfn.host.bridge_operations import mark_of
from virtfn.host.kernel import Files, OvsDb
from virtfn.host.ovsdb_values import Row
from virtfn.host.refusals import strerror
from virtfn.model import PciAddress
from virtfn.model.open_vswitch import (
    KEYS_MARK,
    MARK,
    OFFLOAD,
    OFFLOAD_MARK,
    OLDER_RECORD,
    Bridge,
    OpenVSwitch,
    Uplink,
)

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "Open_vSwitch": ("_uuid", "ovs_version", "other_config", "external_ids", "next_cfg", "cur_cfg"),
    "Bridge": ("_uuid", "name", "datapath_type", "fail_mode", "external_ids", "other_config", "ports"),
    "Port": ("_uuid", "name", "interfaces"),
    "Interface": (
        "_uuid",
        "name",
        "type",
        "options",
        "external_ids",
        "other_config",
        "mtu_request",
        "mtu",
        "ofport",
        "error",
    ),
}
"""The tables of the schema Open_vSwitch (ovs-vswitchd.conf.db(5)) and their columns that are read."""
_KUBE_OVN: Final = ("kube-ovn", "ovn0")
"""What kube-ovn writes as `vendor` on the interfaces that it plugs, and the interface that each of its nodes has. Its
Open vSwitch runs in a container of its own."""
_PID_FILES: Final = ("run/openvswitch/ovs-vswitchd.pid", "var/run/openvswitch/ovs-vswitchd.pid")
_UNITS: Final = tuple(
    f"{folder}/systemd/system/{unit}.service"
    for folder in ("etc", "usr/lib", "lib")
    for unit in ("ovs-vswitchd", "openvswitch-switch", "openvswitch")
)
_CONTAINER: Final = re.compile(
    r"kubepods|docker|containerd|crio-|libpod|/pod[0-9a-f]{8}[-_]?[0-9a-f]{4}", re.IGNORECASE
)
"""Parts of a control group's path by which container runtimes are told."""


def read_open_vswitch(files: Files, database: OvsDb) -> OpenVSwitch | None:
    """Open vSwitch as it is now; None: no database answers. One that cannot be read says so in `fault`."""
    try:
        tables = database.select(TABLES)
    except OSError as error:  # TimeoutError too
        return OpenVSwitch(fault=strerror(error))
    if tables is None:
        return None
    root = next(iter(tables["Open_vSwitch"]), None)
    if root is None:
        return OpenVSwitch(fault="its database is empty: it was never started")
    ids = ovs.pairs(root["external_ids"])
    mark = mark_of(ids, OFFLOAD_MARK)
    signs = {
        sign for row in tables["Interface"] for sign in (row["name"], ovs.pairs(row["external_ids"]).get("vendor"))
    }
    host_service = is_host_service(files, looks_foreign=not signs.isdisjoint(_KUBE_OVN))
    return OpenVSwitch(
        host_service=host_service,
        version=ovs.text(root["ovs_version"]),
        hw_offload=ovs.pairs(root["other_config"]).get(OFFLOAD),
        offload_is_ours=OFFLOAD_MARK in ids,
        restart_pending=bool(mark.get("switch")) and mark.get("switch") == running_switch(files),
        bridges=_bridges(tables, inherited_bridges(files)) if host_service else (),
        switch_runs=bool(_switch_pid(files)),
    )


def is_host_service(files: Files, *, looks_foreign: bool = False) -> bool:
    """Whether the node itself runs ovs-vswitchd, and no container does.

    By the control group of the process; where that cannot be seen, by whether the node has a unit for it.

    :param looks_foreign: the database has what only the Open vSwitch of a container has: a unit may be there unused.
    """
    pid = _switch_pid(files)
    group = _read(files, f"proc/{pid}/cgroup") if pid else ""
    if group:
        return _CONTAINER.search(group) is None
    return not looks_foreign and any(files.exists(unit) for unit in _UNITS)


def running_switch(files: Files) -> str:
    """What tells this run of ovs-vswitchd from another one: process and start (proc(5), stat); empty: none is seen."""
    pid = _switch_pid(files)
    words = _read(files, f"proc/{pid}/stat").rpartition(")")[2].split() if pid else []
    boot = _read(files, "proc/sys/kernel/random/boot_id")
    return f"{boot}/{pid}/{words[19]}" if len(words) > 19 else ""


def inherited_bridges(files: Files) -> Mapping[str, PciAddress]:
    """Bridges that the Go operator has made, by its own record, and the PF that each is for."""
    try:
        record = json.loads(_read(files, OLDER_RECORD) or "{}")
        uplinks = {name: [uplink["pciAddress"] for uplink in entry["uplinks"]] for name, entry in record.items()}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return {}  # nothing can be taken over by it, and whoever's bridges these are keeps them
    pfs = {name: PciAddress.read(str(found[0])) for name, found in uplinks.items() if len(found) == 1}
    return {name: pf for name, pf in pfs.items() if pf is not None}


def _switch_pid(files: Files) -> str:
    """Of the ovs-vswitchd that runs; a file that is left from another process is not believed."""
    pid = next((found for path in _PID_FILES if (found := _read(files, path))), "")
    return pid if pid.isdigit() and _read(files, f"proc/{pid}/comm") == "ovs-vswitchd" else ""


def _read(files: Files, path: str) -> str:
    try:
        return files.read(path).strip()
    except OSError:
        return ""


# --- bridges ----------------------------------------------------------------------------------------------------------


def _bridges(tables: Mapping[str, Any], older: Mapping[str, PciAddress]) -> tuple[Bridge, ...]:
    ports = {ovs.item(row["_uuid"]): row for row in tables["Port"]}
    interfaces = {ovs.item(row["_uuid"]): row for row in tables["Interface"]}
    found = [_bridge(row, ports, interfaces, older) for row in tables["Bridge"]]
    return tuple(sorted(found, key=lambda bridge: bridge.name))


def _bridge(
    row: Row, ports: Mapping[str, Row], interfaces: Mapping[str, Row], older: Mapping[str, PciAddress]
) -> Bridge:
    name, ids = ovs.text(row["name"]), ovs.pairs(row["external_ids"])
    own = [ports[uuid] for uuid in ovs.items(row["ports"]) if uuid in ports]
    inside = [interfaces[uuid] for port in own for uuid in ovs.items(port["interfaces"]) if uuid in interfaces]
    others = tuple(sorted(port for each in inside if (port := ovs.text(each["name"])) != name))
    managed = MARK in ids
    if not managed and name not in older:
        return Bridge(name, ports=others)
    keys = mark_of(ids, KEYS_MARK)
    return Bridge(
        name,
        managed=managed,
        inherited=not managed,
        pf=PciAddress.read(ids[MARK]) if managed else older[name],
        ports=others,
        datapath_type=ovs.text(row["datapath_type"]),
        fail_mode=ovs.text(row["fail_mode"]),
        external_ids=_only(ids, keys.get("external_ids")),
        other_config=_only(ovs.pairs(row["other_config"]), keys.get("other_config")),
        uplinks=tuple(
            sorted(
                (_uplink(each) for each in inside if MARK in ovs.pairs(each["external_ids"])),
                key=lambda uplink: uplink.name,
            )
        ),
        error=next((ovs.text(each["error"]) for each in inside if ovs.text(each["name"]) == name), ""),
    )


def _uplink(row: Row) -> Uplink:
    ids = ovs.pairs(row["external_ids"])
    keys = mark_of(ids, KEYS_MARK)
    port = ovs.number(row["ofport"])
    return Uplink(
        name=ovs.text(row["name"]),
        pf=PciAddress.read(ids[MARK]),
        type=ovs.text(row["type"]),
        options=_only(ovs.pairs(row["options"]), keys.get("options")),
        external_ids=_only(ids, keys.get("external_ids")),
        other_config=_only(ovs.pairs(row["other_config"]), keys.get("other_config")),
        mtu_request=ovs.number(row["mtu_request"]),
        mtu=ovs.number(row["mtu"]),
        ofport=port if port is not None and port >= 0 else None,
        error=ovs.text(row["error"]),
    )


def _only(values: Mapping[str, str], keys: object) -> dict[str, str]:
    listed: Collection[object] = keys if isinstance(keys, list) else ()
    return {key: value for key, value in values.items() if key in listed}
