"""The models as structural OpenAPI schemas, the only kind that the API server takes for a custom resource.

pydantic's JSON schema is the source; what the API server refuses or would misread is put right: references are written
out, "or null" becomes an absent field, and only defaults that say something are given (zero values are absent anyway).
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from virtfn.model.crd import CustomResource
from virtfn.model.schema.rules import RULES
from virtfn.model.wire import StatusModel, WireModel

Schema = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "maxItems",
)


def openapi_schema(kind: type[CustomResource]) -> Schema:
    """The schema of the whole object, as `openAPIV3Schema` of a CustomResourceDefinition."""
    source = kind.model_json_schema(by_alias=True)
    schema = _converted(source, source.get("$defs", {}), {model.__name__: model for model in _models(WireModel)})
    schema.pop("required", None)
    # The API server checks these itself; of metadata it lets nobody else say anything.
    for name in ("apiVersion", "kind"):
        schema["properties"][name] = {"description": schema["properties"][name]["description"], "type": "string"}
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _models(base: type[WireModel]) -> Iterator[type[WireModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _converted(source: Mapping[str, Any], defs: Mapping[str, Any], models: Mapping[str, type[WireModel]]) -> Schema:
    """One part of pydantic's schema, with all that it refers to."""
    if "$ref" in source:
        target = defs[source["$ref"].rpartition("/")[2]]
        return _converted({**target, **{name: value for name, value in source.items() if name != "$ref"}}, defs, models)
    if "anyOf" in source:
        (one,) = (part for part in source["anyOf"] if part.get("type") != "null")
        rest = {name: value for name, value in source.items() if name not in ("anyOf", "default")}
        return _converted({**one, **rest}, defs, models)
    schema: Schema = {name: source[name] for name in _KEPT if name in source}
    schema |= {name: value for name, value in source.items() if name.startswith("x-kubernetes-")}
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if not schema.get("default") or schema.get("type") in ("object", "array"):
        schema.pop("default", None)
    if "const" in source:
        schema["enum"] = [source["const"]]
    if "items" in source:
        schema["items"] = _converted(source["items"], defs, models)
    if "properties" in source:
        _object(schema, source, defs, models)
    elif isinstance(source.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = _converted(source["additionalProperties"], defs, models)
    return schema


def _object(
    schema: Schema, source: Mapping[str, Any], defs: Mapping[str, Any], models: Mapping[str, type[WireModel]]
) -> None:
    model = models[source["title"]]
    schema["properties"] = {name: _converted(part, defs, models) for name, part in source["properties"].items()}
    if required := _required(model):
        schema["required"] = required
    for rule in RULES:
        if rule.on != model.__name__:
            continue
        place = schema
        if rule.field:
            name = rule.field.removesuffix("[]")
            place = schema["properties"][name]
            place = place["items"] if rule.field.endswith("[]") else place
        place.setdefault("x-kubernetes-validations", []).append(rule.to_wire())


def _required(model: type[WireModel]) -> list[str]:
    """Of a status, what is always written; else what must be given."""
    fields = model.model_fields.items()
    if issubclass(model, StatusModel):
        names = [field.alias or name for name, field in fields if name in model.always_present]
    else:
        names = [
            field.alias or name for name, field in fields if field.is_required() and name not in model.left_to_rules
        ]
    return sorted(names)
