"""Values of Open vSwitch's database between their form on the wire (RFC 7047, section 5.1) and Python's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]


def items(value: Any) -> list[Any]:
    """A set's members; a set of one is written as the member itself. A UUID is its text."""
    if _is(value, "set"):
        return [_plain(member) for member in value[1]]
    return [] if value is None else [_plain(value)]


def item(value: Any, default: Any = None) -> Any:
    """The member of a set that has one at most, or the default."""
    found = items(value)
    return found[0] if found else default


def text(value: Any) -> str:
    """A text, or nothing."""
    found = item(value, "")
    return found if isinstance(found, str) else ""


def number(value: Any) -> int | None:
    """A number, or None."""
    found = item(value)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def pairs(value: Any) -> dict[str, str]:
    """A map of texts."""
    if not _is(value, "map"):
        return {}
    return {str(key): str(content) for key, content in value[1]}


def as_set(values: Iterable[Any]) -> list[Any]:
    """A set as it is written."""
    return ["set", list(values)]


def as_map(values: Mapping[str, str]) -> list[Any]:
    """A map as it is written."""
    return ["map", [[key, content] for key, content in sorted(values.items())]]


def as_uuid(uuid: str) -> list[str]:
    """A reference to a row that is there."""
    return ["uuid", uuid]


def as_new(name: str) -> list[str]:
    """A reference to a row that the same transaction inserts under this name."""
    return ["named-uuid", name]


def _plain(value: Any) -> Any:
    return value[1] if _is(value, "uuid") or _is(value, "named-uuid") else value


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] == kind
