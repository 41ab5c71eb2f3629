"""Where the desired state comes from: the node state in the cluster, a ConfigMap's key for the node, or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from virtfn.daemon.gate import Handshake
from virtfn.daemon.request import Request
from virtfn.errors import InvalidDocument
from virtfn.kube.resource import Object, metadata_of, uid_of
from virtfn.model import Inventory
from virtfn.model.crd import SriovNetworkNodePolicy, SriovNetworkNodeState
from virtfn.policy import load_documents, render_node_state, state_of
from virtfn.policy.yaml_text import parse_yaml

CONFIG_MAP: Final = "sriov-configmap"
"""The ConfigMap's name, where none is given."""


_SPEC_FIELDS: Final = frozenset({"interfaces", "bridges", "system"})
"""Of a node state's `spec`, which peers write by itself."""


class Source(Protocol):
    """Where to ask what is wanted."""

    def read(self, inventory: Inventory) -> Request | None:
        """What is wanted now; None where nobody says anything, and everything stays as it is.

        :param inventory: what policies select from.
        :raises RequestError: it cannot be understood.
        """
        ...


class NodeStateSource:
    """The node's own node state, as it was last seen."""

    def __init__(self, newest: Callable[[], Object | None]) -> None:
        self._newest = newest

    def read(self, inventory: Inventory) -> Request | None:  # noqa: ARG002  a node state is rendered already
        """See `Source`."""
        state = self._newest()
        if state is None or metadata_of(state).get("deletionTimestamp"):
            return None
        spec = state.get("spec")
        return Request(
            spec=spec if isinstance(spec, Mapping) else {},
            generation=int(metadata_of(state).get("generation") or 0),
            uid=uid_of(state),
            handshake=Handshake.of(state),
        )


class ConfigMapSource:
    """The key of this node in a ConfigMap: policies, a node state, or what a node state's `spec` holds, as YAML."""

    def __init__(self, newest: Callable[[], Object | None], *, node: str) -> None:
        self._newest = newest
        self._node = node

    def read(self, inventory: Inventory) -> Request | None:
        """See `Source`."""
        found = self._newest()
        data = (found or {}).get("data") or {}
        text = data.get(self._node) if isinstance(data, Mapping) else None
        if not isinstance(text, str):
            return None
        return request_from(text, name=f"ConfigMap {metadata_of(found or {}).get('name')}, key {self._node}",
                            inventory=inventory)  # fmt: skip


class FileSource:
    """A file with the same, read anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, inventory: Inventory) -> Request | None:
        """See `Source`."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidDocument(f"{self._path}: cannot be read ({error})", field="--file") from error
        return request_from(text, name=str(self._path), inventory=inventory)


def request_from(text: str, *, name: str, inventory: Inventory) -> Request:
    """What a text wants of this node.

    :param name: of the text, for messages.
    :raises RequestError: it cannot be understood.
    """
    found = parse_yaml(text, source=name)
    if not found:
        return Request({})
    if len(found) == 1 and isinstance(spec := found[0][1], Mapping) and spec and spec.keys() <= _SPEC_FIELDS:
        return Request(spec)
    documents = load_documents(text, source=name)
    policies = [document.object for document in documents if isinstance(document.object, SriovNetworkNodePolicy)]
    states = [document.object for document in documents if isinstance(document.object, SriovNetworkNodeState)]
    if len(states) == 1 and not policies:
        return Request(states[0].spec)
    if states or not policies:
        raise InvalidDocument(
            f"{name}: holds {len(states)} node states and {len(policies)} policies (give one node state, or policies "
            "only)"
        )
    rendered = render_node_state(policies, node=None, state=state_of(inventory))
    return Request(rendered.spec, problems=tuple(rendered.problems))
