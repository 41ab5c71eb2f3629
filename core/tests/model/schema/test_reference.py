"""The reference names every field once, with what it is and what it means."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from virtfn.model.crd import KINDS
from virtfn.model.schema import openapi_schema, reference_markdown


@pytest.fixture(scope="module")
def page() -> str:
    return reference_markdown()


def paths(schema: dict[str, Any], at: str = "") -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        path = f"{at}.{name}" if at else name
        yield path
        if name != "conditions":
            yield from paths(part.get("items", part), path + "[]" if "items" in part else path)


def tables(page: str, kind: str) -> dict[str, list[list[str]]]:
    """Rows of the kind's tables as cells, by `spec` and `status`."""
    (section,) = re.findall(rf"(?ms)^## {kind}$(.*?)(?=^## |\Z)", page)
    found = {}
    for part in ("spec", "status"):
        (text,) = re.findall(rf"(?ms)^### {part} of {kind}$(.*?)(?=^### |\Z)", section)
        found[part] = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in text.splitlines()
            if line.startswith("| `")
        ]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_its_row(page: str, kind: str) -> None:
    schema = openapi_schema(KINDS[kind])
    for part, rows in tables(page, kind).items():
        assert [row[0] for row in rows] == [f"`{path}`" for path in paths(schema["properties"][part])]
        assert [row for row in rows if len(row) != 5 or not row[1] or not row[4]] == []


def test_rows_as_people_read_them(page: str) -> None:
    rows = {row[0].strip("`"): row[1:4] for row in tables(page, "SriovNetworkNodePolicy")["spec"]}
    assert rows["resourceName"][:2] == ["text", "**required**"]
    assert rows["priority"] == ["number", "`99`", "0 to 99"]
    assert rows["deviceType"] == ["text", "`netdevice`", "`netdevice`, `vfio-pci`"]
    assert rows["isRdma"][:2] == ["true or false", "`false`"]
    assert rows["nodeSelector"][:2] == ["map of text to text", "**required**"]
    assert rows["mtu"] == ["number", "", "1 or more"]
    assert rows["nicSelector.pfNames"][0] == "list of texts"
    pools = {row[0].strip("`"): row[1:4] for row in tables(page, "SriovNetworkPoolConfig")["spec"]}
    assert pools["maxUnavailable"][0] == "number or text"
    assert pools["nodeSelector.matchExpressions[].operator"][1] == "**required**"


def test_conditions_are_explained_once(page: str) -> None:
    assert page.count("| `lastTransitionTime` | time |") == 1
    assert page.count("[Conditions](#conditions)") == len(KINDS)
