"""Model values to plain JSON data and back: used for `-o json`, the journal, and plans that travel.

pydantic reads the dataclasses as they are; reading is strict about unknown names so that a torn or foreign file is
noticed instead of half understood.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import core_schema

from virtfn.errors import InvalidDocument, RequestError

T = TypeVar("T")


def text_schema(cls: type, parse: Callable[[str], Any]) -> core_schema.CoreSchema:
    """A pydantic schema for a value whose wire form is `str(value)` and whose reader is `parse`."""

    def read(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError(f"expected text, got {type(value).__name__}")
        try:
            return parse(value)
        except RequestError as error:
            raise ValueError(str(error)) from error

    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(str)
    )


@cache
def _cached_adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", kind))


def _adapter(kind: type) -> TypeAdapter[Any]:
    return _cached_adapter(cast("Hashable", kind))


def to_data(value: Any) -> Any:
    """Plain dicts, lists, strings and numbers; absent optional values (None) and empty tuples stay in."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_data(kind: type[T], data: Any) -> T:
    """The value of type `kind` that `to_data` gave as `data`. Raises `InvalidDocument` naming the first bad field."""
    try:
        value: T = _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidDocument(f"{kind.__name__}: {field or 'document'}: {first['msg']}", field=field) from error
    return value
