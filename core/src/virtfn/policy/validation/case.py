"""One object under validation, with what is known around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from virtfn.model.crd import CustomResource, SriovNetworkNodePolicy
from virtfn.policy.validation.cluster import Place, View

_SHOWN_NODES = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule's check is given."""

    subject: CustomResource
    view: View
    old: CustomResource | None = None
    """The object as it is in the cluster; None: it is not there, or not known."""

    @property
    def policy(self) -> SriovNetworkNodePolicy:
        """The object, for rules of policies only."""
        assert isinstance(self.subject, SriovNetworkNodePolicy)  # the engine keeps to `Rule.kinds`
        return self.subject

    @property
    def places(self) -> tuple[Place, ...]:
        """The nodes that the policy selects."""
        return self.view.selected_by(self.policy.spec)

    @property
    def others(self) -> tuple[SriovNetworkNodePolicy, ...]:
        """The other policies that have an effect."""
        own = self.policy
        return tuple(policy for policy in self.view.policies if policy.name != own.name)


def on_nodes(names: Iterable[str]) -> str:
    """` on node n1`, ` on nodes n1, n2, n3 and 7 more`; nothing where no name is known."""
    found = [name for name in dict.fromkeys(names) if name]
    if not found:
        return ""
    rest = len(found) - _SHOWN_NODES
    shown = ", ".join(found[:_SHOWN_NODES])
    return f" on node{'s' if len(found) > 1 else ''} {shown}" + (f" and {rest} more" if rest > 0 else "")
