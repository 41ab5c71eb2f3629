"""The list of rules as a page of documentation, so that what is written cannot differ from what is done."""

from __future__ import annotations

from collections.abc import Iterator

from virtfn.model import Severity
from virtfn.model.crd import KINDS
from virtfn.policy.validation.engine import RULES
from virtfn.policy.validation.rule import Rule

_HEAD = """\
# Validation rules

<!-- Written by `virtfn validate --rules`; do not edit. -->

What is wrong with an object is told by one list of rules: when it is admitted to the cluster, by `virtfn validate` for
files, and in the conditions of objects that are there already. All problems are told, not only the first. A problem
names the object, the field, what is allowed, what to do, and the rule.

* An **error** refuses the object. A **warning** is only told.
* A rule that needs to know more than the object (the last column) is not applied where that is not known, and
  `virtfn validate` says so. Give it nodes and node states along with the policies:
  `kubectl get nodes,sriovnetworknodestates -A -o yaml | virtfn validate -f - -f policies.yaml`.
* A rule that looks at a malformed field is not applied until the field is right.
* Deleting is always allowed. What an update leaves as it was is told as a warning and does not refuse the update.
* A policy named `default` has no effect and is not looked at.
* Whether a card is on anybody's list of supported models is not looked at.
"""


def rules_page() -> str:
    """Markdown: one section for each group of kinds, one row for each rule."""
    return _HEAD + "".join(_section(kinds) for kinds in dict.fromkeys(rule.kinds for rule in RULES))


def _section(kinds: tuple[str, ...]) -> str:
    title = "All kinds" if set(kinds) == set(KINDS) else ", ".join(kinds)
    rows = [_row(rule) for rule in RULES if rule.kinds == kinds]
    head = ["| rule | | field | what holds | what to do | needs to know |", "| --- | --- | --- | --- | --- | --- |"]
    return f"\n## {title}\n\n" + "\n".join((*head, *rows)) + "\n"


def _row(rule: Rule) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(rule)) + " |"


def _cells(rule: Rule) -> Iterator[str]:
    yield f"`{rule.id}`"
    yield "error" if rule.severity is Severity.ERROR else "warning"
    yield f"`{rule.field}`" if rule.field else "any"
    yield rule.holds
    yield rule.hint
    yield ", ".join(sorted(rule.needs)) or "–"
