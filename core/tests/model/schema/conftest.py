"""An API server's checks of one object, as far as its schema goes: defaults, types and bounds, CEL rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from virtfn.model.crd import KINDS
from virtfn.model.schema import openapi_schema

Refusals = Callable[..., list[str]]
_TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


@pytest.fixture
def refusals() -> Refusals:
    """What is wrong with an object of a kind, as `path: message`; its spec may be given alone."""

    def check(kind: str, spec: Any = None, *, whole: Mapping[str, Any] | None = None) -> list[str]:
        value = defaulted(whole if whole is not None else {"spec": spec}, _schema(kind))
        wrong = list(_structure(value, _schema(kind), ""))
        # As the API server: rules are asked only of what has the right form.
        return wrong or list(_rules(value, _schema(kind), ""))

    return check


@cache
def _schema(kind: str) -> dict[str, Any]:
    return openapi_schema(KINDS[kind])


def defaulted(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value with the defaults of its schema, and without what a status must not keep: fields nobody knows."""
    if isinstance(value, Mapping) and "properties" in schema:
        parts = schema["properties"]
        given = {name: part["default"] for name, part in parts.items() if "default" in part}
        given |= {name: item for name, item in value.items() if item is not None}
        return {name: defaulted(item, parts[name]) if name in parts else item for name, item in given.items()}
    if isinstance(value, list) and "items" in schema:
        return [defaulted(item, schema["items"]) for item in value]
    return value


def _structure(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if "x-kubernetes-int-or-string" in schema:
        if type(value) not in (int, str):
            yield f"{path}: must be integer or string"
            return
    elif type(value) is not _TYPES[schema["type"]]:
        yield f"{path}: must be {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: must be one of {schema['enum']}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: out of bounds"
    if isinstance(value, str):
        yield from _text(value, schema, path)
    if isinstance(value, list):
        yield from _list(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path)


def _text(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path}: bad length"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: must match {schema['pattern']}"
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield f"{path}: must be a time"


def _list(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{path}: too many items"
    if keys := schema.get("x-kubernetes-list-map-keys"):
        found = [repr([item.get(key) for key in keys]) for item in value if isinstance(item, dict)]
        if len(set(found)) < len(found):
            yield f"{path}: two items with one key"
    for index, item in enumerate(value):
        yield from _structure(item, schema["items"], f"{path}[{index}]")


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: is required"
    for name, item in value.items():
        if name in schema.get("properties", {}):
            yield from _structure(item, schema["properties"][name], f"{path}.{name}")
        elif "additionalProperties" in schema:
            yield from _structure(item, schema["additionalProperties"], f"{path}.{name}")
        elif path and not path.startswith(".metadata"):  # whose parts are not ours
            yield f"{path}.{name}: unknown field"


def _rules(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if holds(rule["rule"], value) is not True:
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}"
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _rules(value[name], part, f"{path}.{name}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _rules(item, schema["items"], f"{path}[{index}]")


@cache
def _program(rule: str) -> Any:
    import celpy
    from celpy import celtypes

    def split(text: celtypes.StringType, by: celtypes.StringType) -> celtypes.ListType:
        return celtypes.ListType([celtypes.StringType(part) for part in str(text).split(str(by))])

    environment = celpy.Environment()
    return environment.program(environment.compile(rule), functions={"split": split})


def holds(rule: str, value: Any) -> bool:
    """What the rule says of the value; an error in it is an error here."""
    import celpy

    answer = _program(rule).evaluate({"self": celpy.json_to_cel(value)})
    if not isinstance(answer, celpy.celtypes.BoolType):
        raise AssertionError(f"{rule}: {answer!r}")
    return bool(answer)
