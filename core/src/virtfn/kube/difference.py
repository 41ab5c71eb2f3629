"""What must be written to make an object what is wanted, and nothing else. Pure.

A write that changes nothing still costs the server a transaction and every watcher an event; a controller that writes
on each reconcile never comes to rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virtfn.kube.resource import Json, Object


def merge_patch(live: Object, *, wanted: Object, exact: bool = False) -> Json:
    """A merge patch (RFC 7386) from `live` to `wanted`; empty if nothing is to be written.

    Objects are compared field by field, lists and scalars as a whole. A wanted None deletes the field. An empty object
    is the same as none: the server drops such fields of its own kinds, and would be asked for them again and again.

    :param exact: fields of `live` that are not wanted are deleted; otherwise they are none of our business.
    """
    patch: Json = {}
    for field, value in wanted.items():
        old = live.get(field)
        if isinstance(value, Mapping):
            if not isinstance(old, Mapping):
                if (cleaned := _without_nulls(value)) or old is not None:
                    patch[field] = cleaned
            elif inner := merge_patch(old, wanted=value, exact=exact):
                patch[field] = inner
        elif value is None:
            if field in live:
                patch[field] = None
        elif field not in live or not same(old, value):
            patch[field] = value
    if exact:
        patch |= {field: None for field in live if field not in wanted}
    return patch


def same(left: object, right: object) -> bool:
    """Equal as JSON: unlike Python's `==`, True is not 1."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[field], right[field]) for field in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def covers(live: object, wanted: object) -> bool:
    """Whether everything wanted is in `live`, which may have more fields, such as the server's defaults.

    Lists must have the same length, and each element must cover its counterpart. What is wanted empty may be absent.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _is_empty(value) if live.get(field) is None else covers(live[field], value)
            for field, value in wanted.items()
            if value is not None
        )
    if isinstance(wanted, list | tuple):
        return isinstance(live, list | tuple) and len(live) == len(wanted) and all(map(covers, live, wanted))
    return same(live, wanted)


def _is_empty(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(inner is None or _is_empty(inner) for inner in value.values())
    return isinstance(value, list | tuple) and not value


def _without_nulls(value: Mapping[str, Any]) -> Json:
    # Nothing is there to be deleted; and the server would take some nulls for values.
    return {
        field: _without_nulls(inner) if isinstance(inner, Mapping) else inner
        for field, inner in value.items()
        if inner is not None
    }
