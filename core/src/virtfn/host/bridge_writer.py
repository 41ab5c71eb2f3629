"""Changes Open vSwitch: bridges with a PF as their uplink, and hardware offload; each change is one transaction.

Every transaction holds a `wait` on what it was thought out from, the mark of ownership above all: a row that somebody
else has made, changed or taken meanwhile is not touched, and the whole of it does not happen. The database taking a
change is not enough either: ovs-vswitchd says by `cur_cfg` that it has followed (ovs-vswitchd.conf.db(5)), and by the
columns `error` and `ofport` whether it could.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from virtfn.errors import DeviceGone, HostError, NotEffective, NotPermitted, OvsRefused, WaitTimeout
from virtfn.host import bridge_operations as tx
from virtfn.host import ovsdb_values as ovs
from virtfn.host.bridge_reader import TABLES, inherited_bridges, running_switch
from virtfn.host.kernel import Kernel, LinkInfo
from virtfn.host.ovsdb_values import Row
from virtfn.host.refusals import strerror
from virtfn.model import PciAddress
from virtfn.model.open_vswitch import MARK, OFFLOAD, OFFLOAD_MARK

_log = logging.getLogger(__name__)

_FOLLOWS: Final = 15.0
"""Seconds that ovs-vswitchd has to follow a change; the existing operators give it as many."""
_SETTLES: Final = 1.0
"""Seconds that an interface's error has to go away by itself: its netdev may be about to appear."""
_SWITCH = "Open vSwitch"


class WaitUntil(Protocol):
    """`virtfn.host.api.Host.wait_until`."""

    def __call__(self, predicate: Callable[[], bool], *, timeout: float, why: str, device: str = "") -> None:
        """See there."""
        ...


@dataclass(frozen=True, slots=True)
class _Tables:
    """The database as it is: rows by UUID."""

    root: Row
    bridges: Mapping[str, Row]
    ports: Mapping[str, Row]
    interfaces: Mapping[str, Row]

    def bridge(self, name: str) -> Row | None:
        return next((row for row in self.bridges.values() if row["name"] == name), None)

    def port(self, name: str) -> Row | None:
        return next((row for row in self.ports.values() if row["name"] == name), None)

    def holder(self, port: Row) -> Row | None:
        uuid = tx.uuid_of(port)
        return next((row for row in self.bridges.values() if uuid in ovs.items(row["ports"])), None)

    def interface(self, name: str) -> Row | None:
        return next((row for row in self.interfaces.values() if row["name"] == name), None)

    def marked_ports(self, bridge: Row) -> list[Row]:
        """Ports that virtfn put into the bridge."""
        own = [self.ports[uuid] for uuid in ovs.items(bridge["ports"]) if uuid in self.ports]
        return [
            port
            for port in own
            if any(
                MARK in ovs.pairs(self.interfaces[uuid]["external_ids"])
                for uuid in ovs.items(port["interfaces"])
                if uuid in self.interfaces
            )
        ]


class OvsBridges:
    """`virtfn.host.api.Bridges` on a `Kernel`."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        link: Callable[[PciAddress], LinkInfo],
        own_link: Callable[[PciAddress], LinkInfo | None],
        wait_until: WaitUntil,
    ) -> None:
        """On that kernel.

        :param link: a function's own netdev, waited for.
        :param own_link: a function's own netdev, or None.
        """
        self._kernel = kernel
        self._link = link
        self._own_link = own_link
        self._wait_until = wait_until

    # --- operations ---------------------------------------------------------------------------------------------------

    def set_bridge(
        self,
        pf: PciAddress,
        bridge: str,
        *,
        datapath_type: str,
        fail_mode: str,
        external_ids: Mapping[str, str],
        other_config: Mapping[str, str],
    ) -> None:
        """See `Bridges`."""
        what = f"cannot make bridge {bridge} as wanted"
        tables = self._read(pf, what)
        row = tables.bridge(bridge)
        columns = {"datapath_type": datapath_type, "fail_mode": ovs.as_set([fail_mode] if fail_mode else [])}
        keys = {"external_ids": sorted(external_ids), "other_config": sorted(other_config)}
        ids = {**external_ids, **tx.marks_of(pf, keys)}
        if row is None:
            operations = tx.new_bridge(tables.root, bridge, {**columns, "other_config": ovs.as_map(other_config)}, ids)
        else:
            where = tx.row_is(row)
            operations = [
                tx.expect("Bridge", self._ours(row, pf, what), {"name": bridge}),
                {"op": "update", "table": "Bridge", "where": where, "row": columns},
                *tx.set_map("Bridge", where, row, "external_ids", ids),
                *tx.set_map("Bridge", where, row, "other_config", other_config),
            ]
        self._change(pf, operations, what, tables.root)
        self._check(pf, bridge, what, advice=f"is datapath type {datapath_type or 'system'} there?")

    def set_uplink(
        self,
        pf: PciAddress,
        bridge: str,
        *,
        name: str = "",
        type: str = "",  # noqa: A002 - the column's name
        options: Mapping[str, str],
        external_ids: Mapping[str, str],
        other_config: Mapping[str, str],
        mtu_request: int | None = None,
    ) -> None:
        """See `Bridges`."""
        name = self._netdev(pf, name, type)
        what = f"cannot put {name} into bridge {bridge}"
        tables = self._read(pf, what)
        row = tables.bridge(bridge)
        if row is None:
            raise OvsRefused(f"{pf}: {what} (there is no such bridge: somebody has removed it)", device=str(pf))
        where = self._ours(row, pf, what)
        keys = {
            "options": sorted(options),
            "external_ids": sorted(external_ids),
            "other_config": sorted(other_config),
        }
        maps = {
            "options": options,
            "external_ids": {**external_ids, **tx.marks_of(pf, keys)},
            "other_config": other_config,
        }
        columns = {"type": type, "mtu_request": ovs.as_set([] if mtu_request is None else [mtu_request])}
        operations = [tx.expect("Bridge", where, {"name": bridge})]
        operations += [tx.drop_port(row, port) for port in tables.marked_ports(row) if port["name"] != name]
        port = tables.port(name)
        holder = tables.holder(port) if port is not None else None
        interface = tables.interface(name)
        if port is None and interface is not None:
            raise OvsRefused(f"{pf}: {what} ({self._elsewhere(tables, interface)})", device=str(pf))
        if (
            port is not None
            and holder is not None
            and interface is not None
            and tx.is_usable(holder, row, interface, type)
        ):
            target = tx.row_is(interface)
            operations += [
                tx.expect("Interface", target, {"name": name}),
                {"op": "update", "table": "Interface", "where": target, "row": columns},
            ]
            for column, values in maps.items():
                operations += tx.set_map("Interface", target, interface, column, values)
        else:
            if port is not None and holder is not None:
                operations += [tx.expect("Bridge", self._ours(holder, pf, what), {"name": holder["name"]})]
                operations += [tx.drop_port(holder, port)]
            written = {column: ovs.as_map(values) for column, values in maps.items()}
            operations += tx.new_port(row, name, {**columns, **written})
        self._change(pf, operations, what, tables.root)
        advice = f"ovs-vsctl list interface {name}, and the log of ovs-vswitchd"
        self._check(pf, name, what, advice=advice, mtu=mtu_request)

    def remove_uplink(self, pf: PciAddress, bridge: str) -> None:
        """See `Bridges`."""
        what = f"cannot take the uplink out of bridge {bridge}"
        tables = self._read(pf, what)
        row = tables.bridge(bridge)
        ports = tables.marked_ports(row) if row is not None else []
        if row is None or not ports:
            return
        where = self._ours(row, pf, what)
        operations = [tx.expect("Bridge", where, {"name": bridge}), *(tx.drop_port(row, port) for port in ports)]
        self._change(pf, operations, what, tables.root, takes_away=True)

    def remove_bridge(self, pf: PciAddress, bridge: str) -> None:
        """See `Bridges`."""
        what = f"cannot remove bridge {bridge}"
        tables = self._read(pf, what)
        row = tables.bridge(bridge)
        if row is None:
            return
        operations = [
            tx.expect("Bridge", self._ours(row, pf, what), {"name": bridge}),
            tx.mutate("Open_vSwitch", tx.row_is(tables.root), ["bridges", "delete", ovs.as_uuid(tx.uuid_of(row))]),
        ]
        self._change(pf, operations, what, tables.root, takes_away=True)

    def set_offload(self, *, enabled: bool) -> None:
        """See `Bridges`."""
        what = f"cannot set other_config:{OFFLOAD}"
        root = self._read(None, what).root
        ids, config = ovs.pairs(root["external_ids"]), ovs.pairs(root["other_config"])
        ours = OFFLOAD_MARK in ids
        before = config.get(OFFLOAD)
        if enabled:
            wanted: str | None = "true"
            was = tx.was_before(ids) if ours else before
            mark = json.dumps({"was": was, "switch": running_switch(self._kernel.files)}, sort_keys=True)
        elif not ours:
            return
        else:
            wanted, mark = tx.was_before(ids), ""
        where = tx.row_is(root)
        operations = [
            tx.mutate("Open_vSwitch", where, ["other_config", "delete", ovs.as_set([OFFLOAD])]),
            tx.mutate("Open_vSwitch", where, ["external_ids", "delete", ovs.as_set([OFFLOAD_MARK])]),
        ]
        if wanted is not None:
            operations += [tx.mutate("Open_vSwitch", where, ["other_config", "insert", ovs.as_map({OFFLOAD: wanted})])]
        if mark:
            operations += [
                tx.mutate("Open_vSwitch", where, ["external_ids", "insert", ovs.as_map({OFFLOAD_MARK: mark})])
            ]
        self._transact(None, operations, what)
        now = ovs.pairs(self._read(None, what).root["other_config"]).get(OFFLOAD)
        if now != wanted:
            raise NotEffective(f"{_SWITCH}: {what} to {wanted} (it reads {now} afterwards)", device=_SWITCH)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _netdev(self, pf: PciAddress, name: str, kind: str) -> str:
        """The PF's netdev by the name it has now; an interface of user space needs none."""
        if not kind:
            return self._link(pf).name
        link = self._own_link(pf)
        if link is None and not name:
            raise DeviceGone(f"{pf}: it has no netdev, so its interface of type {kind} has no name", device=str(pf))
        return link.name if link is not None else name

    def _ours(self, bridge: Row, pf: PciAddress, what: str) -> list[Any]:
        """The condition for the bridge as one that virtfn made or may take over. Raises `OvsRefused`."""
        mark = ovs.pairs(bridge["external_ids"]).get(MARK)
        if mark is None and bridge["name"] in inherited_bridges(self._kernel.files):
            return tx.row_is(bridge)
        if mark is None:
            raise OvsRefused(
                f"{pf}: {what} (bridge {bridge['name']} was not made by virtfn: remove it, or take the bridge out of "
                "the policy)",
                device=str(pf),
            )
        return [*tx.row_is(bridge), ["external_ids", "includes", ovs.as_map({MARK: mark})]]

    @staticmethod
    def _elsewhere(tables: _Tables, interface: Row) -> str:
        """Where an interface is that no port of its own name has: in a bond, which somebody has made."""
        uuid = tx.uuid_of(interface)
        bond = next(
            (port["name"] for port in tables.ports.values() if uuid in ovs.items(port["interfaces"])), "another"
        )
        return f"it is a part of port {bond}, which virtfn did not make: take that out, ovs-vsctl del-port {bond}"

    def _read(self, pf: PciAddress | None, what: str) -> _Tables:
        try:
            found = self._kernel.ovsdb.select(TABLES)
        except OSError as error:
            raise _unreachable(error, pf, what) from error
        if found is None:
            raise _unreachable(OSError(errno.ENOENT, "nothing answers at /run/openvswitch/db.sock"), pf, what)
        root = next(iter(found["Open_vSwitch"]), None)
        if root is None:
            raise OvsRefused(f"{pf or _SWITCH}: {what} (its database is empty: it was never started)")
        return _Tables(
            root,
            bridges={tx.uuid_of(row): row for row in found["Bridge"]},
            ports={tx.uuid_of(row): row for row in found["Port"]},
            interfaces={tx.uuid_of(row): row for row in found["Interface"]},
        )

    def _transact(
        self, pf: PciAddress | None, operations: Sequence[Mapping[str, Any]], what: str
    ) -> Sequence[Mapping[str, Any]]:
        device = str(pf or _SWITCH)
        _log.info("%s: Open vSwitch: %d operations in one transaction", device, len(operations))
        comment = {"op": "comment", "comment": f"virtfn: {device}: {what.removeprefix('cannot ')}"}
        try:
            results = self._kernel.ovsdb.transact([*operations, comment])
        except OSError as error:
            raise _unreachable(error, pf, what) from error
        for result in results:
            if result and result.get("error"):
                if result["error"] == "timed out":
                    why = "somebody else changed it at the same moment: try again"
                else:
                    why = f"the database refused: {result['error']}: {result.get('details', 'no details')}"
                raise OvsRefused(f"{device}: {what} ({why})", device=device)
        return results

    def _change(
        self,
        pf: PciAddress,
        operations: Sequence[Mapping[str, Any]],
        what: str,
        root: Row,
        *,
        takes_away: bool = False,
    ) -> None:
        """One transaction, and ovs-vswitchd having followed it."""
        where = tx.row_is(root)
        numbered = [
            *operations,
            tx.mutate("Open_vSwitch", where, ["next_cfg", "+=", 1]),
            {"op": "select", "table": "Open_vSwitch", "where": where, "columns": ["next_cfg"]},
        ]
        number = self._transact(pf, numbered, what)[len(numbered) - 1]["rows"][0]["next_cfg"]
        try:
            self._wait_until(
                lambda: int(self._read(pf, what).root["cur_cfg"]) >= number,
                timeout=_FOLLOWS,
                why=f"ovs-vswitchd to follow, and the change stands in the database ({what}: is ovs-vswitchd running?)",
                device=str(pf),
            )
        except WaitTimeout:
            if not takes_away or running_switch(self._kernel.files):
                raise
            _log.warning("%s: ovs-vswitchd does not run, so nothing holds what was taken out of its database", pf)

    def _check(self, pf: PciAddress, interface: str, what: str, *, advice: str, mtu: int | None = None) -> None:
        """That ovs-vswitchd could use the interface, with the MTU that is asked for. Raises `NotEffective`."""
        seen: list[str] = []

        def usable() -> bool:
            row = self._read(pf, what).interface(interface)
            error = ovs.text(row["error"]) if row is not None else "it is gone"
            port = ovs.number(row["ofport"]) if row is not None else None
            if row is None or error or port is None or port < 0:
                seen[:] = [error or "it has no port number"]
                return False
            has = ovs.number(row["mtu"])
            seen[:] = [f"its MTU is {has}, wanted {mtu}"]
            return mtu is None or has in (None, mtu)

        try:
            self._wait_until(usable, timeout=_SETTLES, why=f"interface {interface}", device=str(pf))
        except WaitTimeout as error:
            raise NotEffective(
                f"{pf}: {what} (Open vSwitch took it and cannot use interface {interface}: {seen[0]}; see {advice})",
                device=str(pf),
            ) from error


def _unreachable(error: OSError, pf: PciAddress | None, what: str) -> HostError:
    device = str(pf or _SWITCH)
    if isinstance(error, TimeoutError):
        return WaitTimeout(f"{device}: {what} (Open vSwitch's database does not answer in time)", device=device)
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(
            f"{device}: {what} (Open vSwitch's database: {strerror(error)}; run as root)", device=device
        )
    advice = "; is ovsdb-server running?" if error.errno in (errno.ENOENT, errno.ECONNREFUSED) else ""
    return OvsRefused(f"{device}: {what} ({strerror(error)}{advice})", device=device)
