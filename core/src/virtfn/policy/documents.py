"""Objects of the API from YAML or JSON text, as people keep it in files and `kubectl get -o yaml` prints it.

Reading files is not done here: the caller brings the text, and says what to call it in errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from virtfn.errors import InvalidDocument, RequestError
from virtfn.model.crd import (
    API_VERSION,
    GROUP,
    IGNORED_POLICY,
    KINDS,
    NODE_STATE_KIND,
    POLICY_KIND,
    CustomResource,
)
from virtfn.policy.reading import read_object
from virtfn.policy.yaml_text import parse_yaml

_OF_NICS = (POLICY_KIND, NODE_STATE_KIND)
_ALLOWED = f"{POLICY_KIND} or {NODE_STATE_KIND} of {API_VERSION}"


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a text."""

    source: str
    number: int
    """Of the YAML document it stands in, counted from 1."""
    kind: str
    name: str
    object: CustomResource | None
    """The model of its kind. None: an object that never has an effect, or of a kind that is not known here."""
    note: str = ""
    """Why the object has no part in what NICs should be; empty when it has."""

    @property
    def where(self) -> str:
        """`policies.yaml, document 2`, for messages."""
        return f"{self.source}, document {self.number}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as plain data, as it was written, and where it stands."""

    number: int
    where: str
    """`policies.yaml, document 2, items[0]`."""
    data: Mapping[str, Any]
    """With text for `apiVersion` and `kind`; nothing else of it was looked at."""


def load_documents(text: str, *, source: str) -> list[Document]:
    """All objects of a text, in order; lists (`kind: List`, `SriovNetworkNodePolicyList`) are opened.

    Objects that have no part in what NICs should be, such as networks and the policy named `default`, have a `note`.

    :param source: what the text is called in errors, such as a file's name.
    :raises RequestError: `InvalidDocument` (or `BadVfRange`) for the first thing wrong, naming source, document,
        object and field, with what is allowed there. A text without any object is wrong too.
    """
    documents: list[Document] = []
    seen: dict[tuple[str, str, str], str] = {}
    for entry in load_entries(text, source=source):
        document = _document(entry, source=source)
        key = (document.kind, _metadata(entry).get("namespace") or "", document.name)
        if key in seen:
            raise InvalidDocument(
                f"{entry.where}: {document.kind} {document.name} was given before, in {seen[key]} "
                f"(keep one of them, or give it another name)",
                field="metadata.name",
            )
        seen[key] = entry.where
        documents.append(document)
    if not documents:
        raise InvalidDocument(f"{source}: there is no object in it (expected {_ALLOWED})")
    return documents


def load_entries(text: str, *, source: str) -> Iterator[Entry]:
    """All objects of a text, of whatever kind, as they were written; lists are opened.

    :raises InvalidDocument: the text is not YAML, or something in it is no object with apiVersion and kind.
    """
    for number, value in parse_yaml(text, source=source):
        yield from _entries(value, number=number, where=f"{source}, document {number}")


def _entries(value: Any, *, number: int, where: str, inherited: Mapping[str, Any] | None = None) -> Iterator[Entry]:
    """The object, or the objects of a list. `inherited`: kind and version that a list's items may leave out."""
    if not isinstance(value, Mapping):
        found = f"a {type(value).__name__}" if isinstance(value, list) else repr(value)[:60]
        raise InvalidDocument(f"{where}: must be an object with apiVersion and kind, got {found}")
    data = {**(inherited or {}), **value}
    for field in ("apiVersion", "kind"):
        if not isinstance(data.get(field), str) or not data[field]:
            raise InvalidDocument(f"{where}: {field}: is required and must be text (expected {_ALLOWED})", field=field)
    kind = data["kind"]
    if not kind.endswith("List") or inherited is not None:
        yield Entry(number, where, data)
        return
    items = data.get("items")
    if not isinstance(items, list):
        raise InvalidDocument(f"{where}: items: a {kind} needs a list of objects here", field="items")
    shared: dict[str, Any] = {}
    if kind != "List":
        shared = {"apiVersion": data["apiVersion"], "kind": kind.removesuffix("List")}
    for index, item in enumerate(items):
        yield from _entries(item, number=number, where=f"{where}, items[{index}]", inherited=shared)


def _metadata(entry: Entry) -> Mapping[str, Any]:
    metadata = entry.data.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _document(entry: Entry, *, source: str) -> Document:
    kind, name = entry.data["kind"], _metadata(entry).get("name")
    note = _kind_note(entry)
    if not isinstance(name, str) or not name:
        raise InvalidDocument(
            f"{entry.where}: {kind}: metadata.name: is required and must be text", field="metadata.name"
        )
    if kind not in KINDS:
        return Document(source, entry.number, kind, name, None, note)
    if kind == POLICY_KIND and name == IGNORED_POLICY:
        return Document(source, entry.number, kind, name, None, f"a policy named {name} never has an effect")
    try:
        return Document(source, entry.number, kind, name, read_object(entry.data), note)
    except RequestError as error:
        raise type(error)(f"{entry.where}: {error}", field=error.field, hint=error.hint) from error


def _kind_note(entry: Entry) -> str:
    """Why an object has no part in this, or empty when it has; raises for what does not belong here at all."""
    kind, version = entry.data["kind"], entry.data["apiVersion"]
    group, _, _ = version.rpartition("/")
    if group != GROUP:
        raise InvalidDocument(
            f"{entry.where}: {kind} of {version} is not read here (expected {_ALLOWED}; put other objects elsewhere)",
            field="apiVersion",
        )
    if kind in KINDS:
        if version != API_VERSION:
            raise InvalidDocument(
                f"{entry.where}: {kind}: apiVersion: must be {API_VERSION}, got {version}", field="apiVersion"
            )
        if kind in _OF_NICS:
            return ""
    else:
        known = {name.lower(): name for name in KINDS}
        near = get_close_matches(kind.lower(), known, n=1, cutoff=0.85)
        if near:
            raise InvalidDocument(f"{entry.where}: unknown kind {kind} (did you mean {known[near[0]]}?)", field="kind")
    return f"a {kind} says nothing of what NICs should be"
