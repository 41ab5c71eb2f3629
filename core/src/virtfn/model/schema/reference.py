"""The reference of the API for people, from the same schemas as the definitions: what a field means cannot differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from virtfn.model.crd import API_VERSION, KINDS, POLICY_KIND, CustomResource
from virtfn.model.schema.structural import openapi_schema

_INTRODUCTION: Final = f"""\
# The objects of the API

All kinds belong to `{API_VERSION}` and live in a namespace. An unknown field in a spec is refused; a status says
what the controller or a node's daemon found, and nobody else writes it. `[]` stands for the items of a list. The
definitions are in [deploy/crds](../deploy/crds): `virtfn crds` prints them, `virtfn crds --markdown` prints this page.
"""
_CONDITIONS: Final = """\
## Conditions

Every status has a list of conditions, as all objects of Kubernetes do: one entry for each `type`.
"""
_HEAD: Final = "| field | type | default | allowed | meaning |\n|---|---|---|---|---|\n"


def reference_markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, "".join(f"* [{name}](#{name.lower()})\n" for name in KINDS)]
    for name, kind in KINDS.items():
        parts.append("\n".join(_kind(name, kind)))
    items = openapi_schema(KINDS[POLICY_KIND])["properties"]["status"]["properties"]["conditions"]["items"]
    parts += [_CONDITIONS, _HEAD + "".join(_rows(items, ""))]
    return "\n".join(parts)


def _kind(name: str, kind: type[CustomResource]) -> Iterator[str]:
    schema = openapi_schema(kind)
    yield f"## {name}\n"
    yield f"{schema['description']}\n"
    yield f"`kubectl get {kind.plural}`\n"
    for part in ("spec", "status"):
        yield f"### {part} of {name}\n"
        found = schema["properties"][part]
        yield f"{found['description']}\n"
        yield _HEAD + "".join(_rows(found, ""))
        if rules := list(_rules(found, part)):
            yield f"What the API server refuses in a {part} beyond that:\n"
            yield "".join(f"* `{where}`: {message}\n" for where, message in rules)


def _rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    """The fields below an object, depth first; `path` is the object's own."""
    for name, field in schema.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        yield _row(at, field, required=name in schema.get("required", ()) or _is_required_by_rule(schema, name))
        if name == "conditions":
            continue
        inner = field
        while "items" in inner:
            inner, at = inner["items"], f"{at}[]"
        yield from _rows(inner, at)


def _is_required_by_rule(schema: dict[str, Any], name: str) -> bool:
    rules = schema.get("x-kubernetes-validations", ())
    return any(rule.get("fieldPath") == f".{name}" and rule["message"].startswith("is required") for rule in rules)


def _row(path: str, field: dict[str, Any], *, required: bool) -> str:
    if required:
        default = "**required**"
    else:
        value = field.get("default", False if field.get("type") == "boolean" else None)
        default = "" if value is None else f"`{str(value).lower()}`"
    meaning = f"{field['description']} See [Conditions](#conditions)." if path == "conditions" else field["description"]
    cells = (f"`{path}`", _type(field), default, _allowed(field), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type(field: dict[str, Any]) -> str:
    if "x-kubernetes-int-or-string" in field:
        return "number or text"
    match field["type"]:
        case "array":
            return f"list of {_plural(_type(field['items']))}"
        case "object" if "additionalProperties" in field:
            return f"map of text to {_type(field['additionalProperties'])}"
        case "string":
            return "time" if field.get("format") == "date-time" else "text"
        case "integer":
            return "number"
        case "boolean":
            return "true or false"
        case other:
            return str(other)


def _plural(word: str) -> str:
    return {"object": "objects", "number": "numbers", "text": "texts"}.get(word, word)


def _allowed(field: dict[str, Any]) -> str:
    inner = field.get("items", field)
    parts = []
    if "enum" in inner:
        parts.append(", ".join(f"`{value}`" if value else "empty" for value in inner["enum"]))
    low, high = inner.get("minimum"), inner.get("maximum")
    if low is not None:
        parts.append(f"{low} to {high}" if high is not None else f"{low} or more")
    if "pattern" in inner:
        parts.append(f"`{inner['pattern']}`")
    if "maxLength" in inner:
        parts.append(f"at most {inner['maxLength']} characters")
    if "maxItems" in field:
        parts.append(f"at most {field['maxItems']} items")
    return "; ".join(parts)


def _rules(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path + rule.get("fieldPath", ""), rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")
