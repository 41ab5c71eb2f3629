"""How all objects of the API behave on the wire: zeros left out, unknown names refused, statuses read leniently.

Zero values are absent, as the Go types of this API have it: `0`, `false`, `""`, empty lists and maps are left out of
what `to_wire` gives, except for the fields a class lists in `always_present`; reading takes `null` and `""` for absent.
Where a zero is a value of its own, the class lists the field in `own_zero`: only None is absent there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictInt,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError


def _digits(value: Any) -> Any:
    """A decimal YAML number of four digits can only be meant as the hex digits of an id."""
    if isinstance(value, int) and not isinstance(value, bool) and 1000 <= value <= 9999:
        return str(value)
    return value


def _hex_id(text: str) -> str:
    if len(text) == 4 and all(digit in "0123456789abcdefABCDEF" for digit in text):
        return text
    raise PydanticCustomError("hex_id", "must be four hex digits without 0x, in quotes, like '15b3'")


HexId = Annotated[
    str,
    BeforeValidator(_digits),
    AfterValidator(_hex_id),
    Field(json_schema_extra={"pattern": "^([0-9a-fA-F]{4})?$"}),
]
Count = Annotated[StrictInt, Field(ge=0)]
Mtu = Annotated[StrictInt, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class _Wire:
    """What reading and writing need to know of a class: worked out once, not for every object."""

    strict: bool
    known: frozenset[str]
    kept: frozenset[str]
    """Names whose `""` is a value."""
    omitted: tuple[tuple[str, str, bool], ...]
    """Fields that are left out when zero: name here, name on the wire, whether only None counts as zero."""


class WireModel(BaseModel):
    """A frozen object of the API; fields are named as in Python here and by their alias on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    always_present: ClassVar[frozenset[str]] = frozenset()
    """Python names of the fields that stay on the wire when they are zero."""

    own_zero: ClassVar[frozenset[str]] = frozenset()
    """Python names of the fields whose zero is a value of its own, read and written like any other."""

    left_to_rules: ClassVar[frozenset[str]] = frozenset()
    """Python names of the fields that must be given here, though no definition in a cluster demands them: a rule does,
    or older objects may lack them."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        wire = cls._wire()
        if wire.strict and not wire.known.issuperset(data):
            unknown = next(str(name) for name in data if name not in wire.known)
            known = sorted(wire.known)
            near = {name.lower(): name for name in known}
            match = get_close_matches(unknown.lower(), near, n=1)
            raise PydanticCustomError(
                "unknown_field",
                "unknown field",
                {"name": unknown, "near": near[match[0]] if match else None, "known": known},
            )
        return {name: value for name, value in data.items() if value is not None and (value != "" or name in wire.kept)}

    @classmethod
    @cache
    def _wire(cls) -> _Wire:
        names = {name: field.alias or name for name, field in cls.model_fields.items()}
        return _Wire(
            strict=cls.model_config.get("extra") == "forbid",
            known=frozenset(names.values()),
            kept=frozenset(names[name] for name in cls.own_zero),
            omitted=tuple(
                (name, names[name], name in cls.own_zero) for name in names if name not in cls.always_present
            ),
        )

    @model_serializer(mode="wrap")
    def _omit_zero(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name, on_the_wire, own_zero in self._wire().omitted:
            value = getattr(self, name)
            empty = isinstance(value, StatusModel) and not data.get(on_the_wire, data.get(name))
            if empty or (value is None if own_zero else not value):
                data.pop(on_the_wire, None)
                data.pop(name, None)
        return data

    def to_wire(self) -> dict[str, Any]:
        """Plain JSON data with the API's names, zero values left out."""
        return self.model_dump(mode="json", by_alias=True)


class StatusModel(WireModel):
    """Part of a status: unknown names are passed over, numbers are taken where text is due."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)
