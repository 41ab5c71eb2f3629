"""Names, columns and text of the definitions, and objects that must be accepted as they are."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtfn.model import Severity
from virtfn.model.crd import API_VERSION, IGNORED_POLICY, KINDS, POLICY_KIND
from virtfn.model.schema import crd_file_name, crd_yaml, custom_resource_definition
from virtfn.policy.validation import validate

Refusals = Callable[..., list[str]]
DATA = Path(__file__).parent / "data"
MERGE_CASES = Path(__file__).parents[2] / "policy" / "data" / "policy-merge.jsonl.gz"

PLURALS = {
    "SriovNetworkNodePolicy": "sriovnetworknodepolicies",
    "SriovNetworkNodeState": "sriovnetworknodestates",
    "SriovNetwork": "sriovnetworks",
    "SriovIBNetwork": "sriovibnetworks",
    "OVSNetwork": "ovsnetworks",
    "SriovNetworkPoolConfig": "sriovnetworkpoolconfigs",
    "SriovOperatorConfig": "sriovoperatorconfigs",
}
AGE = ("Age", "date", ".metadata.creationTimestamp")
READY = [("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'), AGE]
COLUMNS = {
    "SriovNetworkNodePolicy": [
        ("Resource", "string", ".spec.resourceName"),
        ("VFs", "integer", ".spec.numVfs"),
        ("Nodes", "integer", ".status.matchedNodes"),
        ("NICs", "integer", ".status.matchedNICs"),
        *READY,
    ],
    "SriovNetworkNodeState": [
        ("Sync Status", "string", ".status.syncStatus"),
        ("Desired Sync State", "string", r".metadata.annotations.sriovnetwork\.openshift\.io/desired-state"),
        ("Current Sync State", "string", r".metadata.annotations.sriovnetwork\.openshift\.io/current-state"),
        AGE,
    ],
    "SriovNetwork": READY,
    "SriovIBNetwork": READY,
    "OVSNetwork": READY,
    "SriovNetworkPoolConfig": READY,
    "SriovOperatorConfig": READY,
}


def test_there_is_one_definition_for_each_kind() -> None:
    assert list(KINDS) == list(PLURALS)


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_columns(kind: str) -> None:
    definition = custom_resource_definition(KINDS[kind])
    assert definition["metadata"]["name"] == f"{PLURALS[kind]}.sriovnetwork.openshift.io"
    spec = definition["spec"]
    assert (spec["group"], spec["scope"]) == ("sriovnetwork.openshift.io", "Namespaced")
    assert spec["names"] == {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": PLURALS[kind],
        "singular": kind.lower(),
    }
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1", True, True)
    assert version["subresources"] == {"status": {}}
    columns = version.get("additionalPrinterColumns")
    shown = columns and [(column["name"], column["type"], column["jsonPath"]) for column in columns]
    assert shown == COLUMNS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_the_definition_and_always_the_same(kind: str) -> None:
    text = crd_yaml(KINDS[kind])
    assert yaml.safe_load(text) == custom_resource_definition(KINDS[kind])
    assert text == crd_yaml(KINDS[kind])
    assert crd_file_name(KINDS[kind]) == f"sriovnetwork.openshift.io_{PLURALS[kind]}.yaml"


# --- objects in use --------------------------------------------------------------------------------------------------


def objects_in_use() -> list[Any]:
    return json.loads((DATA / "objects.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_there_are_objects_of_all_kinds() -> None:
    assert {case["object"]["kind"] for case in objects_in_use()} == set(KINDS)


@pytest.mark.parametrize("case", objects_in_use(), ids=lambda case: case["name"])
def test_object_in_use(refusals: Refusals, case: dict[str, Any]) -> None:
    told = refusals(case["object"]["kind"], whole=case["object"])
    if "refused" in case:
        assert any(case["refused"] in line for line in told), told
    else:
        assert told == []


def recorded_merges() -> list[dict[str, Any]]:
    with gzip.open(MERGE_CASES, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_states_of_the_recorded_merges_are_accepted(refusals: Refusals) -> None:
    for case in recorded_merges():
        assert refusals("SriovNetworkNodeState", whole=case["state"]) == []
        assert refusals("SriovNetworkNodeState", case["expected"]["spec"]) == []


def test_what_the_definitions_refuse_is_refused_by_validation_too(refusals: Refusals) -> None:
    # The recorded policies are random, so many of them break a rule.
    verdicts = Counter[bool]()
    for case in recorded_merges()[::12]:
        for policy in case["policies"]:
            whole = {"apiVersion": API_VERSION, "kind": POLICY_KIND, **policy}
            told = refusals(POLICY_KIND, whole=whole)
            verdicts[bool(told)] += 1
            if told and policy["metadata"]["name"] != IGNORED_POLICY:
                problems = validate(whole).problems
                assert [problem for problem in problems if problem.severity is Severity.ERROR] != [], told
    assert min(verdicts[True], verdicts[False]) > 10
