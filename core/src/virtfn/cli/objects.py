"""Files in, objects out, for the commands that ask for no machine: policies, nodes, node states and all else mixed.

Objects stay as they were written, so that one that is malformed can be told of and the others used.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from virtfn.cli.context import Context
from virtfn.errors import InvalidDocument, RequestError
from virtfn.model.crd import (
    GROUP,
    KINDS,
    NODE_STATE_KIND,
    POLICY_KIND,
    POOL_CONFIG_KIND,
    SriovNetworkNodeState,
    SriovNetworkPoolConfig,
)
from virtfn.policy import state_of
from virtfn.policy.documents import Entry, load_entries
from virtfn.policy.reading import name_of, read_node_state
from virtfn.policy.selection import labels_of
from virtfn.policy.validation.cluster import in_pool

NODE_KIND = "Node"


@dataclass(frozen=True, slots=True)
class Given:
    """The objects of all files, as they were written."""

    entries: tuple[Entry, ...]
    by_kind: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """All objects of a kind."""
        return self.by_kind.get(kind, [])


class OneNode(NamedTuple):
    """A node that policies are to be rendered for."""

    name: str
    node: Mapping[str, Any] | None
    """None: labels are not known, and node selectors are not looked at."""
    state: SriovNetworkNodeState
    rdma_mode: Literal["shared", "exclusive"] | None
    """Of its pool."""


def read_objects(context: Context, names: list[str]) -> Given:
    """All objects of files, folders and standard input. What nobody here looks at is told in a note.

    :raises InvalidDocument: a text cannot be read, holds no object, or an object is given twice.
    """
    entries: list[Entry] = []
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    seen: dict[tuple[str, str, str], str] = {}
    for source, text in context.read_sources(names):
        found = list(load_entries(text, source=source))
        if not found:
            raise InvalidDocument(f"{source}: there is no object in it")
        for entry in found:
            kind = entry.data["kind"]
            if not _is_known(entry):
                note = f"note: {entry.where}: {kind} of {entry.data['apiVersion']} is not looked at"
                context.error_console.print(note, style="dim")
                continue
            key = (kind, _namespace(entry), name_of(entry.data))
            if key in seen:
                raise InvalidDocument(
                    f"{entry.where}: {kind} {key[2]} was given before, in {seen[key]} (keep one of them)",
                    field="metadata.name",
                )
            seen[key] = entry.where
            entries.append(entry)
            by_kind.setdefault(kind, []).append(entry.data)
    return Given(tuple(entries), by_kind)


def _is_known(entry: Entry) -> bool:
    """Kinds of the API's group that do not exist are, so that they can be told as wrong."""
    kind, version = entry.data["kind"], entry.data["apiVersion"]
    return (kind == NODE_KIND and version == "v1") or version.partition("/")[0] == GROUP or kind in KINDS


def _namespace(entry: Entry) -> str:
    metadata = entry.data.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return namespace if isinstance(namespace, str) else ""


def policies_of(given: Given) -> list[Mapping[str, Any]]:
    """The policies, at least one. Raises `InvalidDocument` for none, and for a kind that does not exist."""
    for entry in given.entries:
        if entry.data["kind"] not in (*KINDS, NODE_KIND):
            known = ", ".join(KINDS)
            raise InvalidDocument(f"{entry.where}: unknown kind {entry.data['kind']} (known: {known})", field="kind")
    policies = given.of(POLICY_KIND)
    if not policies:
        raise InvalidDocument(f"-f: holds no {POLICY_KIND}, so there is nothing to do", field="-f")
    return policies


def nodes_of(context: Context, args: argparse.Namespace, given: Given) -> list[OneNode]:
    """The nodes that node states tell of, or else this host.

    Of the nodes that are known by labels, those without a state have no NICs to select and are told in a note.
    """
    more = read_objects(context, args.node or []), read_objects(context, args.state or [])
    objects = {name_of(node): node for each in (given, *more) for node in each.of(NODE_KIND)}
    found = [_state(state) for state in more[1].of(NODE_STATE_KIND) or given.of(NODE_STATE_KIND)]
    if args.state and not found:
        raise InvalidDocument(f"--state: holds no {NODE_STATE_KIND}", field="--state")
    if not found:
        found = [_this_host(context, objects)]
    pools = [pool for data in given.of(POOL_CONFIG_KIND) if (pool := _pool(context, data)) is not None]
    labels = _labels(args.labels)
    nodes = []
    for state in found:
        node = objects.pop(state.name, None)
        if labels is not None:
            node = {"metadata": {"name": state.name, "labels": labels}}
        if node is None:
            note = "its labels are not known: node selectors are passed over (give them with --node or --labels)"
            context.error_console.print(f"note: node {state.name}: {note}", style="dim")
        nodes.append(OneNode(state.name, node, state, _rdma_mode(pools, node)))
    for name in objects:
        context.error_console.print(f"note: node {name}: no node state tells its NICs", style="dim")
    return nodes


def _state(data: Mapping[str, Any]) -> SriovNetworkNodeState:
    """What is wanted of the node until now has no part in it, and may be malformed."""
    return read_node_state({name: value for name, value in data.items() if name != "spec"})


def _this_host(context: Context, nodes: Mapping[str, Any]) -> SriovNetworkNodeState:
    own = platform.node()
    name = next(iter(nodes)) if len(nodes) == 1 else own
    return state_of(context.node.observe().inventory, name=name)


def _labels(pairs: list[str] | None) -> dict[str, str] | None:
    if pairs is None:
        return None
    labels = {}
    for pair in pairs:
        key, mark, value = pair.partition("=")
        if not mark or not key:
            raise RequestError(f"--labels: {pair!r} is not key=value", field="--labels")
        labels[key] = value
    return labels


def _pool(context: Context, data: Mapping[str, Any]) -> SriovNetworkPoolConfig | None:
    try:
        return SriovNetworkPoolConfig.model_validate(data)
    except ValueError:
        note = f"note: {POOL_CONFIG_KIND} {name_of(data)} is malformed and passed over (`virtfn validate` says why)"
        context.error_console.print(note, style="dim")
        return None


def _rdma_mode(
    pools: list[SriovNetworkPoolConfig], node: Mapping[str, Any] | None
) -> Literal["shared", "exclusive"] | None:
    """Of the one pool that the node is in; none where it is in several."""
    if node is None:
        return None
    found = [
        pool
        for pool in pools
        if not (pool.spec.ovs_hardware_offload_config and pool.spec.ovs_hardware_offload_config.name)
        and in_pool(pool.spec.node_selector, labels_of(node))
    ]
    return found[0].spec.rdma_mode if len(found) == 1 else None
