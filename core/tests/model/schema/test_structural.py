"""What the API server demands of a schema, held against all kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from virtfn.model.crd import KINDS, Condition, SriovNetworkNodePolicy
from virtfn.model.schema import openapi_schema

Refusals = Callable[..., list[str]]
KNOWN = {
    *("description", "type", "format", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"),
    *("maxItems", "items", "properties", "additionalProperties", "required"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    "x-kubernetes-validations",
}
SCALARS = {"string", "integer", "boolean"}


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from parts(schema["additionalProperties"], f"{path}{{}}")


PARTS = [(f"{kind}{path}", part) for kind, model in KINDS.items() for path, part in parts(openapi_schema(model))]


def broken(rule: Callable[[dict[str, Any]], bool]) -> list[str]:
    return [path for path, part in PARTS if not rule(part)]


def test_there_are_parts() -> None:
    assert len(PARTS) > 200


def test_every_part_has_a_type_that_says_what_is_below_it() -> None:
    def typed(part: dict[str, Any]) -> bool:
        match part.get("type"):
            case "object":
                return not ("properties" in part and "additionalProperties" in part)
            case "array":
                return "items" in part
            case None:
                return part.get("x-kubernetes-int-or-string") is True
            case other:
                return other in SCALARS and not {"items", "properties", "additionalProperties"} & part.keys()

    assert broken(typed) == []


def test_nothing_else_is_said_than_the_server_takes() -> None:
    assert broken(lambda part: part.keys() <= KNOWN) == []


def test_metadata_is_left_to_the_server() -> None:
    found = [openapi_schema(model)["properties"]["metadata"] for model in KINDS.values()]
    assert found == [{"type": "object"}] * len(KINDS)


def test_objects_know_their_fields_or_are_maps() -> None:
    bare = broken(
        lambda part: part.get("type") != "object" or bool({"properties", "additionalProperties"} & part.keys())
    )
    assert bare == [f"{kind}.metadata" for kind in KINDS]


def test_required_fields_exist_and_have_no_default() -> None:
    def sound(part: dict[str, Any]) -> bool:
        return all(
            name in part["properties"] and "default" not in part["properties"][name]
            for name in part.get("required", ())
        )

    assert broken(sound) == []


def test_keys_of_keyed_lists_are_required_texts() -> None:
    def sound(part: dict[str, Any]) -> bool:
        keys = part.get("x-kubernetes-list-map-keys", [])
        items = part.get("items", {})
        fine = all(key in items["required"] and items["properties"][key]["type"] == "string" for key in keys)
        return fine and (part.get("x-kubernetes-list-type") == "map") == bool(keys)

    assert broken(sound) == []


def test_defaults_are_valid_and_say_something(refusals: Refusals) -> None:
    given = {path: part["default"] for path, part in PARTS if "default" in part}
    assert given == {
        "SriovNetworkNodePolicy.spec.priority": 99,
        "SriovNetworkNodePolicy.spec.deviceType": "netdevice",
        "SriovNetwork.spec.logLevel": "info",
        "SriovOperatorConfig.spec.configurationMode": "daemon",
    }
    for kind in ("SriovNetwork", "SriovOperatorConfig"):
        assert refusals(kind, {"resourceName": "r"} if kind == "SriovNetwork" else {}) == []


def test_every_field_says_what_it_means() -> None:
    fields = {path: part for path, part in PARTS if not path.endswith(("[]", "{}", ".metadata"))}
    assert [path for path, part in fields.items() if len(part.get("description", "")) < 8] == []
    assert [path for path, part in fields.items() if "\n" in part["description"]] == []


def test_lists_that_rules_look_at_are_bounded() -> None:
    # Without bounds the server's estimate of a rule's cost has no bound either.
    policy = dict(parts(openapi_schema(SriovNetworkNodePolicy)))
    for name in (".spec.nicSelector.pfNames", ".spec.nicSelector.rootDevices"):
        assert policy[name]["maxItems"] <= 256
        assert policy[f"{name}[]"]["maxLength"] <= 160


def test_top_level_demands_nothing() -> None:
    assert [kind for kind, model in KINDS.items() if "required" in openapi_schema(model)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_are_those_of_kubernetes(refusals: Refusals, kind: str) -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "reason": "NetworkReady",
        "message": "",
    }

    def told(*conditions: dict[str, Any]) -> list[str]:
        return refusals(kind, whole={"status": {"conditions": list(conditions)}})

    assert told(condition) == []
    assert told(condition, {**condition, "type": "Degraded"}) == []
    assert told(condition, condition) != []
    for name, wrong in {
        "type": "not a word",
        "status": "Perhaps",
        "observedGeneration": -1,
        "lastTransitionTime": "yesterday",
        "reason": "",
        "message": "x" * 32769,
    }.items():
        assert told({**condition, name: wrong}) != [], name
    for name in ("type", "status", "lastTransitionTime", "reason", "message"):
        assert told({key: value for key, value in condition.items() if key != name}) != [], name
    assert Condition.model_validate(condition).to_wire() == condition
