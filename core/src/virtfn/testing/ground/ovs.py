"""Open vSwitch on the simulated ground: a database that keeps the rules of RFC 7047, and an ovs-vswitchd that follows.

The database does whole transactions or nothing, keeps names unique, and removes rows that nobody refers to. Of the
schema (ovs-vswitchd.conf.db(5)) there are the four tables that bridges are made of. ovs-vswitchd may be stopped: then
`cur_cfg` stands still, and new interfaces get no port number.
"""

from __future__ import annotations

import copy
import errno
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from virtfn.testing.ground.calls import Call, Calls
from virtfn.testing.ground.tree import Tree, oserror

_MAP, _SET = "map", "set"
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Open_vSwitch": {
        "bridges": [_SET, []],
        "other_config": [_MAP, []],
        "external_ids": [_MAP, []],
        "next_cfg": 0,
        "cur_cfg": 0,
        "ovs_version": "3.1.0",
    },
    "Bridge": {
        "name": "",
        "datapath_type": "",
        "fail_mode": [_SET, []],
        "external_ids": [_MAP, []],
        "other_config": [_MAP, []],
        "ports": [_SET, []],
    },
    "Port": {"name": "", "interfaces": [_SET, []], "external_ids": [_MAP, []]},
    "Interface": {
        "name": "",
        "type": "",
        "options": [_MAP, []],
        "external_ids": [_MAP, []],
        "other_config": [_MAP, []],
        "mtu_request": [_SET, []],
        "mtu": [_SET, []],
        "ofport": [_SET, []],
        "error": [_SET, []],
    },
}
"""Columns and what they are in a new row."""
_REFERENCES: Final = (
    ("Open_vSwitch", "bridges", "Bridge"),
    ("Bridge", "ports", "Port"),
    ("Port", "interfaces", "Interface"),
)
"""Strong references: table, column, the table they lead to. Only rows of Open_vSwitch live by themselves."""
_LOCAL_PORT: Final = 65534
_DATAPATHS: Final = ("", "system", "netdev")
_UNIT: Final = "usr/lib/systemd/system/ovs-vswitchd.service"
_RUN: Final = "run/openvswitch"

Tables = dict[str, dict[str, dict[str, Any]]]
"""Rows by table and UUID, values in their form on the wire."""


class _Refused(Exception):
    """An operation failed: nothing of its transaction happens."""

    def __init__(self, error: str, details: str) -> None:
        super().__init__(details)
        self.error, self.details = error, details


@dataclass
class OvsModel:
    """Open vSwitch on one simulated machine. Nothing answers until `start`."""

    tree: Tree
    netdevs: Callable[[], frozenset[str]]
    """Names of the netdevs that ovs-vswitchd can open."""
    tables: Tables = field(default_factory=lambda: {table: {} for table in _DEFAULTS})
    answers: bool = False
    most_mtu: int = 9978
    """Bytes: what drivers of netdevs take."""
    switch_pid: int | None = None
    """Of ovs-vswitchd; None: it does not run."""
    _rows: int = 0
    _starts: int = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self, *, service: bool = True) -> None:
        """Database and ovs-vswitchd run.

        :param service: as a service of the node; False: in a container.
        """
        if service:
            self.tree.plain(_UNIT, "[Unit]\n")
        self.answers = True
        if not self.tables["Open_vSwitch"]:
            self.transact([{"op": "insert", "table": "Open_vSwitch", "row": {}}])
        self.start_switch(service=service)

    def start_switch(self, *, service: bool = True) -> None:
        """ovs-vswitchd starts, as another process than before, and does what the database says."""
        self.stop_switch()
        self._starts += 1
        self.switch_pid = pid = 7000 + self._starts
        group = "/system.slice/ovs-vswitchd.service" if service else "/kubepods.slice/kubepods-pod1.slice/cri-1.scope"
        self.tree.plain(f"{_RUN}/ovs-vswitchd.pid", f"{pid}\n")
        self.tree.file(f"proc/{pid}/comm", "ovs-vswitchd\n")
        self.tree.file(f"proc/{pid}/cgroup", f"0::{group}\n")
        self.tree.file(f"proc/{pid}/stat", f"{pid} (ovs-vswitchd) S " + " ".join(["0"] * 18) + f" {100 * pid} 0\n")
        self._follow()

    def stop_switch(self) -> None:
        """ovs-vswitchd ends; what it wrote into the database stays there."""
        if self.switch_pid is not None:
            self.tree.remove(f"proc/{self.switch_pid}")
            self.tree.remove(f"{_RUN}/ovs-vswitchd.pid")
        self.switch_pid = None

    # --- database -----------------------------------------------------------------------------------------------------

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One transaction; as the server answers. OSError(ENOENT): it does not run."""
        if not self.answers:
            raise oserror(errno.ENOENT)
        json.dumps(operations)  # what cannot be written on the wire is a mistake of the caller's
        before = copy.deepcopy(self.tables)
        results: list[dict[str, Any]] = []
        named = {str(operation["uuid-name"]): self._new_uuid() for operation in operations if "uuid-name" in operation}
        try:
            for operation in operations:
                results.append(self._do(_resolved(operation, named), named))
            self._collect()
            self._names_are_unique()
        except _Refused as refused:
            self.tables = before
            results.append({"error": refused.error, "details": refused.details})
            return results
        self.notice()
        return results

    def _new_uuid(self) -> str:
        self._rows += 1
        return str(UUID(int=self._rows))

    def _do(self, operation: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, Any]:
        kind = operation["op"]
        if kind == "comment":
            return {}
        table = operation["table"]
        if table not in self.tables:
            raise _Refused("syntax error", f"No table named {table}.")
        if kind == "insert":
            uuid = named.get(operation.get("uuid-name", "")) or self._new_uuid()
            self.tables[table][uuid] = copy.deepcopy({**_DEFAULTS[table], **_known(table, operation["row"])})
            return {"uuid": ["uuid", uuid]}
        named_columns = (*operation.get("columns", ()), *(clause[0] for clause in operation["where"]))
        for column in named_columns:
            if column != "_uuid" and column not in _DEFAULTS[table]:
                raise _Refused("unknown column", f"No column {column} in table {table}.")
        chosen = [uuid for uuid in self.tables[table] if self._matches(table, uuid, operation["where"])]
        rows = [self.tables[table][uuid] for uuid in chosen]
        match kind:
            case "select":
                return {"rows": [self._shown(table, uuid, operation.get("columns")) for uuid in chosen]}
            case "update":
                for row in rows:
                    row.update(copy.deepcopy(_known(table, operation["row"])))
            case "mutate":
                for row in rows:
                    for column, mutator, value in operation["mutations"]:
                        row[column] = _mutated(row[column], mutator, value)
            case "wait":
                seen = [self._shown(table, uuid, operation["columns"]) for uuid in chosen]
                if (seen == operation["rows"]) != (operation["until"] == "=="):
                    raise _Refused("timed out", '"wait" timed out')
                return {}
            case _:
                raise _Refused("unknown operation", str(kind))
        return {"count": len(rows)}

    def _shown(self, table: str, uuid: str, columns: Sequence[str] | None) -> dict[str, Any]:
        row = {"_uuid": ["uuid", uuid], **self.tables[table][uuid]}
        return copy.deepcopy({column: row[column] for column in columns or row})

    def _matches(self, table: str, uuid: str, where: Sequence[Sequence[Any]]) -> bool:
        row = {"_uuid": ["uuid", uuid], **self.tables[table][uuid]}
        return all(_holds(row[column], function, value) for column, function, value in where)

    def _collect(self) -> None:
        """Rows that nobody refers to go; a reference to a row that is not there is refused."""
        for table, column, target in _REFERENCES:
            used = {member[1] for row in self.tables[table].values() for member in _members(row[column])}
            if missing := used - self.tables[target].keys():
                raise _Refused("referential integrity violation", f"{table} refers to {sorted(missing)} in {target}")
            for uuid in self.tables[target].keys() - used:
                del self.tables[target][uuid]

    def _names_are_unique(self) -> None:
        for table in ("Bridge", "Port", "Interface"):
            names = [row["name"] for row in self.tables[table].values()]
            if twice := {name for name in names if names.count(name) > 1}:
                raise _Refused("constraint violation", f"two rows of {table} are named {sorted(twice)[0]}")

    # --- ovs-vswitchd -------------------------------------------------------------------------------------------------

    def notice(self) -> None:
        """Netdevs may have come or gone: ovs-vswitchd is told by the kernel and looks again."""
        if self.switch_pid is not None:
            self._follow()

    def _follow(self) -> None:
        """It brings about what the database says, and writes there how that went."""
        there = self.netdevs()
        for bridge in self.tables["Bridge"].values():
            usable = bridge["datapath_type"] in _DATAPATHS
            for port in _members(bridge["ports"]):
                for interface in _members(self.tables["Port"][port[1]]["interfaces"]):
                    row = self.tables["Interface"][interface[1]]
                    self._give_mtu(row)
                    self._take_up(
                        row, usable=usable, there=there, number=list(self.tables["Interface"]).index(interface[1])
                    )
        for root in self.tables["Open_vSwitch"].values():
            root["cur_cfg"] = root["next_cfg"]

    def _give_mtu(self, row: dict[str, Any]) -> None:
        """A driver's refusal is in the log of ovs-vswitchd only, and not in the column `error`."""
        for wanted in _members(row["mtu_request"]):
            if wanted <= self.most_mtu:
                row["mtu"] = wanted
            elif not _members(row["mtu"]):
                row["mtu"] = 1500

    @staticmethod
    def _take_up(row: dict[str, Any], *, usable: bool, there: frozenset[str], number: int) -> None:
        name = row["name"]
        if not usable:
            row["ofport"] = [_SET, []]
        elif row["type"] == "internal":
            row["ofport"] = _LOCAL_PORT
        elif row["type"] == "" and name not in there:
            row["ofport"], row["error"] = -1, f"could not open network device {name} (No such device)"
        else:
            row["ofport"], row["error"] = number + 1, [_SET, []]

    # --- a person at the machine --------------------------------------------------------------------------------------

    def add_bridge(self, name: str, *ports: str, external_ids: Mapping[str, str] | None = None) -> None:
        """As `ovs-vsctl add-br` and `add-port` do."""
        every = [(name, "internal"), *((port, "") for port in ports)]
        operations: list[dict[str, Any]] = []
        for number, (port, kind) in enumerate(every):
            interface = {"name": port, "type": kind}
            operations += [
                {"op": "insert", "table": "Interface", "uuid-name": f"i{number}", "row": interface},
                {
                    "op": "insert",
                    "table": "Port",
                    "uuid-name": f"p{number}",
                    "row": {"name": port, "interfaces": ["named-uuid", f"i{number}"]},
                },
            ]
        row = {
            "name": name,
            "ports": [_SET, [["named-uuid", f"p{number}"] for number in range(len(every))]],
            "external_ids": [_MAP, [list(pair) for pair in (external_ids or {}).items()]],
        }
        operations += [
            {"op": "insert", "table": "Bridge", "uuid-name": "b", "row": row},
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "insert", [_SET, [["named-uuid", "b"]]]], ["next_cfg", "+=", 1]],
            },
        ]
        self._by_hand(operations)

    def add_port(self, bridge: str, port: str) -> None:
        """As `ovs-vsctl add-port` does."""
        reference = [_SET, [["named-uuid", "p"]]]
        self._by_hand(
            [
                {"op": "insert", "table": "Interface", "uuid-name": "i", "row": {"name": port}},
                {
                    "op": "insert",
                    "table": "Port",
                    "uuid-name": "p",
                    "row": {"name": port, "interfaces": ["named-uuid", "i"]},
                },
                {
                    "op": "mutate",
                    "table": "Bridge",
                    "where": [["name", "==", bridge]],
                    "mutations": [["ports", "insert", reference]],
                },
            ]
        )

    def delete_port(self, port: str) -> None:
        """As `ovs-vsctl del-port` does."""
        uuid = self._uuid("Port", port)
        mutation = ["ports", "delete", ["uuid", uuid]]
        self._by_hand([{"op": "mutate", "table": "Bridge", "where": [], "mutations": [mutation]}])

    def delete_bridge(self, name: str) -> None:
        """As `ovs-vsctl del-br` does."""
        mutation = ["bridges", "delete", ["uuid", self._uuid("Bridge", name)]]
        self._by_hand([{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [mutation]}])

    def change(self, table: str, name: str, **columns: Any) -> None:
        """As `ovs-vsctl set` does with whole columns; a dict is a map. In Open_vSwitch the name is `.`."""
        row = {
            column: [_MAP, [list(pair) for pair in value.items()]] if isinstance(value, dict) else value
            for column, value in columns.items()
        }
        where = [] if name == "." else [["name", "==", name]]
        self._by_hand([{"op": "update", "table": table, "where": where, "row": row}])

    def _by_hand(self, operations: Sequence[Mapping[str, Any]]) -> None:
        for result in self.transact(operations):
            if "error" in result:
                raise ValueError(f"{result['error']}: {result['details']}")

    def _uuid(self, table: str, name: str) -> str:
        return next(uuid for uuid, row in self.tables[table].items() if row["name"] == name)

    # --- looking ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Bridges with their ports by name, all columns as they are, and what is set for the whole."""
        root = next(iter(self.tables["Open_vSwitch"].values()), {})
        bridges = {}
        for row in self.tables["Bridge"].values():
            ports = [self.tables["Port"][member[1]] for member in _members(row["ports"])]
            bridges[row["name"]] = {
                **{column: value for column, value in row.items() if column != "ports"},
                "ports": sorted(port["name"] for port in ports),
            }
        settings = {column: root.get(column) for column in ("other_config", "external_ids")}
        return {"bridges": dict(sorted(bridges.items())), **settings}

    def interface(self, name: str) -> dict[str, Any]:
        """The row of an interface. KeyError."""
        found = [row for row in self.tables["Interface"].values() if row["name"] == name]
        if not found:
            raise KeyError(name)
        return found[0]


@dataclass(frozen=True, slots=True)
class FakeOvsDb:
    """`virtfn.host.kernel.OvsDb`."""

    model: OvsModel
    calls: Calls

    def select(self, tables: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[Mapping[str, Any]]] | None:
        """See `OvsDb`."""

        def look() -> dict[str, Any] | None:
            if not self.model.answers:
                return None
            operations = [
                {"op": "select", "table": table, "where": [], "columns": list(columns)}
                for table, columns in tables.items()
            ]
            self.model.notice()
            results = self.model.transact(operations)
            return {table: result["rows"] for table, result in zip(tables, results, strict=True)}

        return self.calls.perform(Call("select", "ovsdb"), look)

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """See `OvsDb`."""
        call = Call("transact", "ovsdb", operations)
        return self.calls.perform(call, lambda: self.model.transact(operations), writes=True) or []


def _known(table: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := row.keys() - _DEFAULTS[table].keys():
        raise _Refused("unknown column", f"No column {sorted(unknown)[0]} in table {table}.")
    return row


def _resolved(value: Any, named: Mapping[str, str]) -> Any:
    """The same with the rows that the transaction inserts by their UUIDs."""
    if isinstance(value, Mapping):
        return {key: _resolved(member, named) for key, member in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == 2 and value[0] == "named-uuid":
            return ["uuid", named[value[1]]]
        return [_resolved(member, named) for member in value]
    return value


def _members(value: Any) -> list[Any]:
    """Of a set or a map; a set of one may be written as the member itself."""
    return list(value[1]) if isinstance(value, list) and value[0] in (_SET, _MAP) else [value]


def _holds(value: Any, function: str, wanted: Any) -> bool:
    if function == "==":
        return sorted(map(str, _members(value))) == sorted(map(str, _members(wanted)))
    if function == "includes":
        return all(member in _members(value) for member in _members(wanted))
    raise _Refused("unknown function", function)


def _mutated(value: Any, mutator: str, operand: Any) -> Any:
    if mutator == "+=":
        return value + operand
    members, given = _members(value), _members(operand)
    is_map = isinstance(value, list) and value[0] == _MAP
    keys = [member[0] for member in members] if is_map else []
    if mutator == "insert":
        kind = _MAP if is_map else _SET
        return [kind, [*members, *(new for new in given if (new[0] not in keys if is_map else new not in members))]]
    if mutator == "delete":
        whole = isinstance(operand, list) and operand[0] == _MAP
        kept = [each for each in members if (each[0] if is_map and not whole else each) not in given]
        return [_MAP if is_map else _SET, kept]
    raise _Refused("unknown mutator", mutator)
