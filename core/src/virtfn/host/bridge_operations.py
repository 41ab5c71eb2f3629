"""The operations (RFC 7047, section 5.2) that changes of Open vSwitch are made of. Pure: nothing is sent from here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from virtfn.host import ovsdb_values as ovs
from virtfn.host.ovsdb_values import Row
from virtfn.model import PciAddress
from virtfn.model.open_vswitch import KEYS_MARK, MARK, OFFLOAD_MARK


def uuid_of(row: Row) -> str:
    return str(ovs.item(row["_uuid"]))


def row_is(row: Row) -> list[Any]:
    return [["_uuid", "==", ovs.as_uuid(uuid_of(row))]]


def mutate(table: str, where: list[Any], *mutations: list[Any]) -> dict[str, Any]:
    return {"op": "mutate", "table": table, "where": where, "mutations": list(mutations)}


def expect(table: str, where: list[Any], row: Mapping[str, Any], *, there: bool = True) -> dict[str, Any]:
    """Nothing of the transaction happens unless the row is (or is not) there."""
    return {
        "op": "wait",
        "timeout": 0,
        "table": table,
        "where": where,
        "columns": list(row),
        "until": "==",
        "rows": [dict(row)] if there else [],
    }


def set_map(table: str, where: list[Any], row: Row, column: str, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """The wanted keys, and those that virtfn set before gone; other keys of the map stay."""
    marked = mark_of(ovs.pairs(row["external_ids"]), KEYS_MARK).get(column)
    before = [key for key in marked if isinstance(key, str)] if isinstance(marked, list) else []
    keys = sorted({*before, *wanted})
    if not keys:
        return []
    mutations: list[list[Any]] = [[column, "delete", ovs.as_set(keys)]]
    if wanted:
        mutations.append([column, "insert", ovs.as_map(wanted)])
    return [mutate(table, where, *mutations)]


def new_bridge(root: Row, name: str, columns: Mapping[str, Any], ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """A bridge with the port of its own that each has."""
    row = {**columns, "name": name, "external_ids": ovs.as_map(ids), "ports": ovs.as_new("own_port")}
    return [
        expect("Bridge", [["name", "==", name]], {"name": name}, there=False),
        {"op": "insert", "table": "Interface", "uuid-name": "own", "row": {"name": name, "type": "internal"}},
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": "own_port",
            "row": {"name": name, "interfaces": ovs.as_new("own")},
        },
        {"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": row},
        mutate("Open_vSwitch", row_is(root), ["bridges", "insert", ovs.as_set([ovs.as_new("bridge")])]),
    ]


def new_port(bridge: Row, name: str, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"op": "insert", "table": "Interface", "uuid-name": "uplink", "row": {**columns, "name": name}},
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": "uplink_port",
            "row": {"name": name, "interfaces": ovs.as_new("uplink")},
        },
        mutate("Bridge", row_is(bridge), ["ports", "insert", ovs.as_set([ovs.as_new("uplink_port")])]),
    ]


def drop_port(bridge: Row, port: Row) -> dict[str, Any]:
    """What nobody refers to any more, the database removes by itself."""
    return mutate("Bridge", row_is(bridge), ["ports", "delete", ovs.as_uuid(uuid_of(port))])


def is_usable(holder: Row, bridge: Row, interface: Row, kind: str) -> bool:
    """Whether the interface can stay, and be changed where it is."""
    same = uuid_of(holder) == uuid_of(bridge)
    return same and ovs.text(interface["type"]) == kind and not ovs.text(interface["error"])


def marks_of(pf: PciAddress, keys: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {MARK: str(pf), KEYS_MARK: json.dumps({column: list(names) for column, names in keys.items() if names})}


def mark_of(ids: Mapping[str, str], key: str) -> Mapping[str, Any]:
    """What is written under one of our keys; a person may have written something else there."""
    try:
        found = json.loads(ids.get(key, "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def was_before(ids: Mapping[str, str]) -> str | None:
    """What `hw-offload` was before virtfn set it, by the marks of the root row."""
    was = mark_of(ids, OFFLOAD_MARK).get("was")
    return was if isinstance(was, str) else None
