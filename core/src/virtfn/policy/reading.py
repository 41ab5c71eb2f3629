"""Plain data to the objects of `virtfn.model.crd`, with errors a person can act on.

pydantic knows what is wrong; here it is said in the words of the API: which field, what is allowed, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from virtfn.errors import BadVfRange, InvalidDocument, RequestError
from virtfn.model import Problem
from virtfn.model.crd import (
    KINDS,
    NODE_STATE_KIND,
    POLICY_KIND,
    CustomResource,
    SriovNetworkNodePolicy,
    SriovNetworkNodeState,
)
from virtfn.model.wire import WireModel

M = TypeVar("M", bound=WireModel)

_MISSING_HINTS = {
    "nodeSelector": "add it; {} selects every node",
    "nicSelector": "add it, with at least one of vendor, deviceID, rootDevices, pfNames, netFilter",
    "numVfs": "add it: the number of VFs of each selected PF",
    "vfRange": "add it, like 0-3",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an object: where (`spec.nicSelector.pfNames[0]`), what, and what to do."""

    field: str
    message: str
    hint: str = ""
    error: type[RequestError] = InvalidDocument

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return where + self.message + (f" ({self.hint})" if self.hint else "")

    def problem(self, obj: str) -> Problem:
        """The fault as a problem of the named object."""
        return Problem(object=obj, message=self.message, reason=self.error.reason, field=self.field, hint=self.hint)


def read_policy(data: Mapping[str, Any]) -> SriovNetworkNodePolicy:
    """A node policy; raises `InvalidDocument` or `BadVfRange` for the first fault, naming the other fields too."""
    return _read(SriovNetworkNodePolicy, data, what=policy_label(name_of(data)))


def read_node_state(data: Mapping[str, Any]) -> SriovNetworkNodeState:
    """A node state; spec strictly, status leniently. Raises `InvalidDocument`."""
    return _read(SriovNetworkNodeState, data, what=f"{NODE_STATE_KIND} {name_of(data)}")


def read_object(data: Mapping[str, Any]) -> CustomResource:
    """An object of any kind of the API; `kind` is one of `KINDS`. Raises `InvalidDocument` or `BadVfRange`."""
    kind = data["kind"]
    return _read(KINDS[kind], data, what=f"{kind} {name_of(data)}")


def _read(model: type[M], data: Any, *, what: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise error_of(faults_of(error), what=what) from error


def name_of(data: Any) -> str:
    """`metadata.name` of an object that may not be one; `(no name)` where there is none."""
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) and name else "(no name)"


def policy_label(name: str) -> str:
    """How a policy is called in problems."""
    return f"{POLICY_KIND} {name}"


def error_of(faults: Sequence[Fault], *, what: str) -> RequestError:
    """One error for all faults of an object: the first in full, of the others the field."""
    first = faults[0]
    others = ", ".join(dict.fromkeys(fault.field for fault in faults[1:]))
    message = f"{what}: {first}" + (f"; also wrong: {others}" if others else "")
    return first.error(message, field=first.field)


def faults_of(error: ValidationError, *, at: str = "") -> tuple[Fault, ...]:
    """What pydantic found, as faults; `at` is the path of the validated part inside its object."""
    return tuple(_fault(dict(detail), at) for detail in error.errors(include_url=False))


def _path(at: str, parts: Sequence[int | str]) -> str:
    path = at
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _shown(value: Any) -> str:
    # As it is written in YAML.
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fault(detail: dict[str, Any], at: str) -> Fault:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    # A key of a map that is wrong is reported as if it were a place below it.
    place = [part for part in detail["loc"] if part != "[key]"]
    field = _path(at, place)
    got = f"got {_shown(value)}"
    match kind:
        case "unknown_field":
            name, near = str(context["name"]), context["near"]
            hint = f"did you mean {near}?" if near else "known here: " + ", ".join(context["known"])
            return Fault(_path(at, [*place, name]), "unknown field", hint)
        case "missing":
            hint = _MISSING_HINTS.get(str(place[-1]), "add it")
            return Fault(field, "is required and not given", hint)
        case "bad_vf_range":
            return Fault(field, str(context["reason"]), error=BadVfRange)
        case "string_type":
            return Fault(field, f"must be text, {got}", "put it in quotes")
        case "int_type" | "int_from_float" | "int_parsing":
            return Fault(field, f"must be a whole number, {got}", "write it without quotes, like 8")
        case "bool_type" | "bool_parsing":
            return Fault(field, f"must be true or false, {got}", "write it without quotes")
        case "tuple_type" | "list_type":
            return Fault(field, f"must be a list, {got}")
        case "model_type" | "dict_type":
            return Fault(field, f"must be a mapping, {got}", "write its fields below it, indented")
        case "enum" | "literal_error":
            return Fault(field, f"must be {context['expected']}, {got}")
        case "string_pattern_mismatch":
            return Fault(field, f"must match {context['pattern']}, {got}")
        case "greater_than_equal":
            return Fault(field, f"must be at least {context['ge']}, {got}")
        case "less_than_equal":
            return Fault(field, f"must be at most {context['le']}, {got}")
        case _:
            return Fault(field, f"{detail['msg']}, {got}")
