"""Recorded cases with their verdicts. Those that another rule of this project overrules are named, with the reason."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from virtfn.model import Problem
from virtfn.model.crd import InterfaceStatus, NodeStateSpec
from virtfn.policy.validation import RULES, Cluster, Need, Operation, Validator, default_patch, defaulted

DATA = Path(__file__).parent / "data"

ANY_CARD = "a card that nobody lists is served by the generic plugin: being listed is information, never a gate"
OVERRULED = {
    "static-validate-policy-with-invalid-vendor": ANY_CARD,
    "static-validate-policy-with-invalid-device": ANY_CARD,
    "static-validate-policy-with-invalid-vendor-device": ANY_CARD,
    "older-static-validate-policy-with-invalid-vendor": ANY_CARD,
    "older-static-validate-policy-with-invalid-device": ANY_CARD,
    "older-static-validate-policy-with-invalid-vendor-device": ANY_CARD,
    "older-validate-operator-config-with-default-operator-config-1": "the newer rule: deleting is always allowed",
    "older-validate-policy-with-default-policy-1": "the newer rule: deleting is always allowed",
}
"""Cases that were refused and are allowed here, and why."""
SELECTED_OVERRULED = {
    "validate-policy-for-node-state-with-valid-net-filter": "netFilter is compared, and no NIC there has this one",
    "older-validate-policy-for-node-state-with-valid-net-filter": "netFilter is compared, no NIC there has this one",
    "validate-policy-for-node-state-with-invalid-pf-name": "ens803f2 is there; being listed is no condition",
    "older-validate-policy-for-node-state-with-invalid-pf-name": "ens803f2 is there; being listed is no condition",
}
"""Cases where another NIC was found selected than is here, and why."""

STAGES = {
    "alone": lambda rule: not rule.needs and "Policy" in rule.kinds[0] and rule.check is not None,
    "hardware": lambda rule: (
        Need.STATES in rule.needs and Need.POLICIES not in rule.needs and rule.id != "NoNicSelected"
    ),
    "between": lambda rule: Need.POLICIES in rule.needs,
    "resource-name": lambda rule: rule.id in ("Malformed", "ResourceNameInvalid"),
    "network": lambda rule: rule.id == "NetworkNamespaceElsewhere",
}
"""Rules that a case is about, where it is not about all: other parts of its objects are often not fit for use."""


class OneVendor:
    """Stands for the plugins: only cards of one vendor make vDPA devices."""

    def most_vfs(self, pf: InterfaceStatus) -> int | None:
        return None

    def problems(
        self, interfaces: Sequence[InterfaceStatus], spec: NodeStateSpec, *, virtual: bool
    ) -> Sequence[Problem]:
        vendors = {pf.pci_address: pf.vendor for pf in interfaces}
        return [
            Problem(object=entry.pci_address, field="vfGroups[0].vdpaType", message="no vDPA", reason="Unsupported")
            for entry in spec.interfaces
            if entry.vf_groups[0].vdpa_type and vendors[entry.pci_address] != "15b3"
        ]


def recorded(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def validator(case: dict[str, Any], *rules: Any) -> Validator:
    states = [{**state, "metadata": state.get("metadata", {"name": "n"})} for state in case.get("states", [])]
    cluster = Cluster(
        policies=[case["other"]] if "other" in case else None,
        states=states or None,
        operator_namespace=case["operatorNamespace"],
        vendor=OneVendor(),
    )
    return Validator(cluster, rules=rules or RULES)


def test_all_cases_are_there():
    assert len(recorded("validation.jsonl")) == 129
    assert len(recorded("defaults.jsonl")) == 10


@pytest.mark.parametrize("case", recorded("validation.jsonl"), ids=lambda case: case["id"])
def test_verdict(case):
    chosen = [rule for rule in RULES if STAGES.get(case["check"], lambda _: True)(rule)]
    operation = Operation(case["operation"]) if "operation" in case else None
    verdict = validator(case, *chosen).validate(case["object"], old=case.get("old"), operation=operation)
    assert verdict.allowed == (case["allowed"] or case["id"] in OVERRULED), verdict.problems
    if "warnings" in case:
        assert [problem.reason for problem in verdict.warnings] == case["warnings"]


@pytest.mark.parametrize(
    "case", [case for case in recorded("validation.jsonl") if "selected" in case], ids=lambda case: case["id"]
)
def test_whether_a_nic_is_selected(case):
    (rule,) = (rule for rule in RULES if rule.id == "NoNicSelected")
    verdict = validator(case, rule).validate(case["object"])
    assert verdict.skipped == ()
    assert verdict.allowed == (case["selected"] ^ (case["id"] in SELECTED_OVERRULED)), verdict.problems


def test_every_case_that_is_overruled_would_fail_otherwise():
    cases = {case["id"]: case for case in recorded("validation.jsonl")}
    assert all(not cases[name]["allowed"] for name in OVERRULED)
    assert all("selected" in cases[name] for name in SELECTED_OVERRULED)


@pytest.mark.parametrize("case", recorded("defaults.jsonl"), ids=lambda case: case["id"])
def test_defaults(case):
    before = json.dumps(case["object"])
    assert list(default_patch(case["object"])) == case["patch"]
    filled = defaulted(case["object"])
    assert json.dumps(case["object"]) == before
    assert default_patch(filled) == ()
    for operation in case["patch"]:
        name = operation["path"].removeprefix("/spec/")
        assert name in filled["spec"]
    if case["patch"]:
        assert filled["spec"][name] == case["patch"][-1]["value"]
