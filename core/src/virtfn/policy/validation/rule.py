"""What a validation rule is: an id, where it looks, what must hold, what to do, and the check itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from virtfn.model import Severity

if TYPE_CHECKING:
    from virtfn.policy.validation.case import Case


class Need(StrEnum):
    """What a rule has to know besides the object; where it is not known the rule is not applied, and that is told."""

    POLICIES = "the other policies"
    NODES = "the nodes"
    STATES = "the node states"
    POOLS = "the other pool configs"
    OLD = "the object as it is in the cluster"
    NAMESPACE = "the operator's namespace"
    VENDOR = "the vendor plugins"


@dataclass(frozen=True, slots=True)
class Breach:
    """One way in which an object breaks a rule."""

    message: str
    """What was found, and what is allowed there."""
    field: str = ""
    """Where, if more exactly than the rule says (`spec.nicSelector.pfNames[1]`)."""
    hint: str = ""
    """What to do, if other than what the rule says."""
    severity: Severity | None = None
    """None: the rule's."""


class NotKnownError(Exception):
    """A check cannot tell, since what it needs was given and says nothing: the rule counts as not applied."""


Check = Callable[["Case"], Iterable[Breach]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `id` is CamelCase and stays as it is: it is the reason of conditions and problems."""

    id: str
    kinds: tuple[str, ...]
    field: str
    """The field that is blamed, `spec.nicSelector.pfNames[]`."""
    holds: str
    """What must hold, as one sentence in Markdown."""
    hint: str = ""
    """What to do."""
    reads: tuple[str, ...] = ()
    """Fields of the object that are looked at; while one of them is malformed the rule is not applied."""
    needs: frozenset[Need] = frozenset()
    severity: Severity = Severity.ERROR
    check: Check | None = None
    """None: told while the object is read."""
