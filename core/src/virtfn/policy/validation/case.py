"""One object under validation, with what is known around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from virtfn.model.crd import CustomResource, InterfaceStatus, SriovNetworkNodePolicy
from virtfn.model.wording import few_names
from virtfn.policy.selection import selects
from virtfn.policy.validation.cluster import Place, View

T = TypeVar("T")

_SHOWN_NODES = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule's check is given."""

    subject: CustomResource
    view: View
    old: CustomResource | None = None
    """The object as it is in the cluster; None: it is not there, or not known."""
    _found: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, find: Callable[[Case], T]) -> T:
        """What `find` makes of the case, found once for all rules that ask."""
        if find not in self._found:
            self._found[find] = find(self)
        found: T = self._found[find]
        return found

    @property
    def policy(self) -> SriovNetworkNodePolicy:
        """The object, for rules of policies only."""
        assert isinstance(self.subject, SriovNetworkNodePolicy)  # the engine keeps to `Rule.kinds`
        return self.subject

    @property
    def places(self) -> tuple[Place, ...]:
        """The nodes that the policy selects."""
        return self.once(_places)

    @property
    def selected(self) -> dict[Place, tuple[InterfaceStatus, ...]]:
        """The NICs that the policy selects, for each of its nodes whose NICs are known."""
        return self.once(_selected)

    @property
    def others(self) -> tuple[SriovNetworkNodePolicy, ...]:
        """The other policies that have an effect."""
        own = self.policy
        return tuple(policy for policy in self.view.policies if policy.name != own.name)


def _places(case: Case) -> tuple[Place, ...]:
    return case.view.selected_by(case.policy.spec)


def _selected(case: Case) -> dict[Place, tuple[InterfaceStatus, ...]]:
    selector = case.policy.spec.nic_selector
    return {
        place: tuple(pf for pf in place.interfaces if selects(selector, pf))
        for place in case.places
        if place.interfaces is not None
    }


def on_nodes(names: Iterable[str]) -> str:
    """` on node n1`, ` on nodes n1, n2, n3 and 7 more`; nothing where no name is known."""
    found = [name for name in dict.fromkeys(names) if name]
    if not found:
        return ""
    return f" on node{'s' if len(found) > 1 else ''} {few_names(found, most=_SHOWN_NODES)}"
