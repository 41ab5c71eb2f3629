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

CONFIG_MAP: Final = "sriov-configmap"
"""The ConfigMap's name, where none is given."""


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
    bare = _bare_spec(text)
    if bare is not None:
        return Request(bare)
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


def _bare_spec(text: str) -> Mapping[str, object] | None:
    """The content of a node state's `spec`, as peers write it; None if the text is something else."""
    if "apiVersion" in text:
        return None
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return None  # whoever reads documents says better what is wrong
    if found is None:
        return {}
    return found if isinstance(found, Mapping) and set(found) <= {"interfaces", "bridges", "system"} else None
