"""The list of rules, and its one way of being applied: by admission, by `virtfn validate`, and for conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from virtfn.errors import BadVfRange
from virtfn.model import Problem, Severity
from virtfn.model.crd import IGNORED_POLICY, KINDS, POLICY_KIND, CustomResource
from virtfn.policy.reading import Fault, name_of
from virtfn.policy.validation.alone import POLICY_RULES
from virtfn.policy.validation.between import MEETING_RULES
from virtfn.policy.validation.case import Case
from virtfn.policy.validation.cluster import Cluster, View
from virtfn.policy.validation.hardware import HARDWARE_RULES
from virtfn.policy.validation.others import OTHER_RULES
from virtfn.policy.validation.reading import Read, read_as_far_as_it_goes
from virtfn.policy.validation.rule import Breach, Need, NotKnownError, Rule

MALFORMED = Rule(
    id="Malformed",
    kinds=tuple(KINDS),
    field="",
    holds="Every field is known, of the right type and within its limits, and required ones are given.",
    hint="see the reference of the custom resources",
)
RANGE_MALFORMED = Rule(
    id="VfRangeMalformed",
    kinds=(POLICY_KIND,),
    field="spec.nicSelector.pfNames[]",
    holds="An entry of `pfNames` is `name` or `name#first-last`, with first not above last.",
    hint="write it like ens1f0#0-3",
)
RULES: tuple[Rule, ...] = (MALFORMED, RANGE_MALFORMED, *POLICY_RULES, *HARDWARE_RULES, *MEETING_RULES, *OTHER_RULES)
"""All rules. The order is that of documents and of problems."""


class Operation(StrEnum):
    """What is done to the object, as admission calls it."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """A rule that was not applied."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with one object: all of it, in the order of the rules. A problem's `reason` is the rule's id."""

    problems: tuple[Problem, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What it is refused for."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is only told."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.WARNING)

    @property
    def allowed(self) -> bool:
        """Whether there is no error."""
        return not self.errors


class Validator:
    """All rules (or some), against one cluster; it is read once, for as many objects as there are."""

    def __init__(self, cluster: Cluster | None = None, *, rules: tuple[Rule, ...] = RULES) -> None:
        self._view = View(cluster or Cluster())
        self._rules = rules

    def validate(
        self,
        obj: CustomResource | Mapping[str, Any],
        *,
        old: CustomResource | Mapping[str, Any] | None = None,
        operation: Operation | None = None,
    ) -> Verdict:
        """What is wrong with an object, whatever it is.

        Deleting is always allowed, and so is what happens to an object that is being deleted. A policy named `default`
        is not looked at: it has no effect. What an update leaves as it was is not refused, only told.

        :param old: the object as it is in the cluster, for an update.
        :param operation: None: not told, as for files.
        """
        data: Any = obj.to_wire() if isinstance(obj, CustomResource) else obj
        kind = data.get("kind") if isinstance(data, Mapping) else None
        if operation is Operation.DELETE or _being_deleted(data):
            return Verdict()
        if kind == POLICY_KIND and name_of(data) == IGNORED_POLICY:
            return Verdict()
        if not isinstance(kind, str) or kind not in KINDS:
            fault = Fault("kind", f"must be one of {', '.join(KINDS)}, got {str(kind)[:60]!r}")
            return Verdict((_of_fault(fault, name_of(data)),))
        read = Read(obj, ()) if isinstance(obj, CustomResource) else read_as_far_as_it_goes(data, KINDS[kind])
        before = _read_old(old, kind)
        creating = operation is Operation.CREATE
        knows = self._view.knows | ({Need.OLD} if before.model is not None or creating else set())
        label = f"{kind} {name_of(data)}"
        problems: list[Problem] = []
        skipped: list[Skipped] = []
        inherited = set(self._alone(before, kind, label)) if before.model is not None or before.faults else set()
        case = Case(read.model, self._view, before.model) if read.model is not None else None
        for rule in (rule for rule in self._rules if kind in rule.kinds):
            found, why = _apply(rule, read.faults, case, knows, label)
            problems += [_only_told(problem) if problem in inherited else problem for problem in found]
            skipped += [Skipped(rule.id, why)] if why else []
        return Verdict(tuple(problems), tuple(skipped))

    def _alone(self, read: Read, kind: str, label: str) -> Iterator[Problem]:
        """What is wrong with an object by itself."""
        case = Case(read.model, self._view) if read.model is not None else None
        for rule in self._rules:
            if kind in rule.kinds and not rule.needs:
                yield from _apply(rule, read.faults, case, frozenset(), label)[0]


def validate(
    obj: CustomResource | Mapping[str, Any],
    *,
    cluster: Cluster | None = None,
    old: CustomResource | Mapping[str, Any] | None = None,
    operation: Operation | None = None,
) -> Verdict:
    """What is wrong with one object; see `Validator.validate`, which is for many."""
    return Validator(cluster).validate(obj, old=old, operation=operation)


def _apply(
    rule: Rule, faults: tuple[Fault, ...], case: Case | None, knows: frozenset[Need], label: str
) -> tuple[list[Problem], str]:
    """Problems, or why the rule was not applied."""
    if rule.check is None:
        return [_of_fault(fault, label) for fault in faults if _rule_of(fault) is rule], ""
    if case is None:
        return [], "the object cannot be read"
    missing = sorted(rule.needs - knows)
    if missing:
        return [], f"not known: {', '.join(missing)}"
    malformed = [fault.field for fault in faults if _reads(rule, fault.field)]
    if malformed:
        return [], f"malformed: {', '.join(malformed)}"
    try:
        return [_of_breach(breach, rule, label) for breach in rule.check(case)], ""
    except NotKnownError as error:
        return [], str(error)


def _being_deleted(data: Any) -> bool:
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    return isinstance(metadata, Mapping) and bool(metadata.get("deletionTimestamp"))


def _read_old(old: CustomResource | Mapping[str, Any] | None, kind: str) -> Read:
    if old is None or isinstance(old, CustomResource):
        return Read(old, ())
    return read_as_far_as_it_goes(old, KINDS[kind])


def _rule_of(fault: Fault) -> Rule:
    return RANGE_MALFORMED if fault.error is BadVfRange else MALFORMED


def _of_fault(fault: Fault, label: str) -> Problem:
    rule = _rule_of(fault)
    return Problem(
        object=label,
        message=fault.message,
        reason=rule.id,
        field=fault.field,
        hint=fault.hint or (rule.hint if rule is RANGE_MALFORMED else ""),
        severity=rule.severity,
    )


def _of_breach(breach: Breach, rule: Rule, label: str) -> Problem:
    return Problem(
        object=label,
        message=breach.message,
        reason=rule.id,
        field=breach.field or rule.field,
        hint=breach.hint or rule.hint,
        severity=breach.severity or rule.severity,
    )


def _reads(rule: Rule, field: str) -> bool:
    """Whether a field is one that the rule reads, or holds or is held by one."""
    for name in rule.reads:
        own = f"spec.{name}"
        shorter, longer = sorted((own, field), key=len)
        if longer == shorter or (longer.startswith(shorter) and longer[len(shorter)] in ".["):
            return True
    return False


def _only_told(problem: Problem) -> Problem:
    return replace(problem, severity=Severity.WARNING)
