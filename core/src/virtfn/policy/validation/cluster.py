"""What a validation may know of the cluster besides the object, and that prepared once for many objects.

Everything may be left out: rules that need it are then not applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from virtfn.model import Problem
from virtfn.model.crd import (
    IGNORED_POLICY,
    InterfaceStatus,
    LabelSelector,
    NodeStateSpec,
    PolicySpec,
    SriovNetworkNodePolicy,
    SriovNetworkNodeState,
    SriovNetworkPoolConfig,
)
from virtfn.model.wire import WireModel
from virtfn.policy.reading import name_of
from virtfn.policy.selection import labels_of, selects_node
from virtfn.policy.validation.rule import Need

M = TypeVar("M", bound=WireModel)


class VendorRules(Protocol):
    """What only the vendors' plugins know of cards."""

    def most_vfs(self, pf: InterfaceStatus) -> int | None:
        """VFs that the PF's firmware can be set to; None: `totalvfs` of the node state is the limit."""
        ...

    def problems(
        self, interfaces: Sequence[InterfaceStatus], spec: NodeStateSpec, *, virtual: bool
    ) -> Sequence[Problem]:
        """What is wrong with the spec for the cards of one node. Objects are PFs, fields those of a desired PF.

        :param virtual: the node is a VM.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is known: objects as models or as plain data. None: not known; empty: there is none.

    Of the objects here that are malformed nothing is told, and nothing follows from them.
    """

    policies: Sequence[SriovNetworkNodePolicy | Mapping[str, Any]] | None = None
    nodes: Sequence[Mapping[str, Any]] | None = None
    """Node objects: names, labels, `spec.providerID`."""
    states: Sequence[SriovNetworkNodeState | Mapping[str, Any]] | None = None
    pools: Sequence[SriovNetworkPoolConfig | Mapping[str, Any]] | None = None
    operator_namespace: str | None = None
    vendor: VendorRules | None = None

    @property
    def knows(self) -> frozenset[Need]:
        """What rules can count on."""
        parts = {
            Need.POLICIES: self.policies,
            Need.NODES: self.nodes,
            Need.STATES: self.states,
            Need.POOLS: self.pools,
            Need.NAMESPACE: self.operator_namespace,
            Need.VENDOR: self.vendor,
        }
        return frozenset(need for need, value in parts.items() if value is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One node, as far as it is known; equal to itself only."""

    name: str
    labels: Mapping[str, str] | None
    """None: not known."""
    interfaces: tuple[InterfaceStatus, ...] | None
    """None: its daemon has not told yet, or nobody asked."""
    virtual: bool = False
    """The node is a VM, as its cloud says or its NICs show."""

    def selected_by(self, spec: PolicySpec) -> bool:
        """Whether the node selector holds; where labels are not known it is not looked at."""
        return self.labels is None or selects_node(spec, self.labels)


NOWHERE = Place("", None, None)
"""Stands for any node where neither nodes nor states are known."""

_CLOUDS_OF_VMS = ("openstack", "aws")


class View:
    """The cluster, read once."""

    def __init__(self, cluster: Cluster) -> None:
        self.knows = cluster.knows
        self.operator_namespace = cluster.operator_namespace
        self.vendor = cluster.vendor
        self.policies = tuple(
            policy for policy in _read(SriovNetworkNodePolicy, cluster.policies or ()) if self._counts(policy)
        )
        self.pools = _read(SriovNetworkPoolConfig, cluster.pools or ())
        self.states = _read(SriovNetworkNodeState, (_without_spec(state) for state in cluster.states or ()))
        self.places = self._places(cluster)

    def _counts(self, policy: SriovNetworkNodePolicy) -> bool:
        """Whether the controller looks at the policy at all."""
        namespace = policy.metadata.namespace
        elsewhere = bool(namespace) and self.operator_namespace not in (None, namespace)
        return policy.name != IGNORED_POLICY and not elsewhere

    def _places(self, cluster: Cluster) -> tuple[Place, ...]:
        interfaces = {state.name: state.status.interfaces for state in self.states if state.status.interfaces}
        if cluster.nodes is None:
            return tuple(_place(name, None, found) for name, found in interfaces.items())
        return tuple(
            _place(name_of(node), labels_of(node), interfaces.get(name_of(node)), provider=_provider(node))
            for node in cluster.nodes
        )

    def selected_by(self, spec: PolicySpec) -> tuple[Place, ...]:
        """The nodes of a policy."""
        return tuple(place for place in self.places if place.selected_by(spec))


def _read(model: type[M], objects: Iterable[M | Mapping[str, Any]]) -> tuple[M, ...]:
    found = []
    for each in objects:
        if isinstance(each, model):
            found.append(each)
            continue
        try:
            found.append(model.model_validate(each))
        except ValidationError:
            continue  # it is told of where it is validated itself
    return tuple(found)


def _without_spec(state: SriovNetworkNodeState | Mapping[str, Any]) -> SriovNetworkNodeState | Mapping[str, Any]:
    """What is wanted of a node says nothing of what it has, and may be malformed."""
    if not isinstance(state, Mapping):
        return state
    return {name: value for name, value in state.items() if name != "spec"}


def _place(
    name: str, labels: Mapping[str, str] | None, interfaces: tuple[InterfaceStatus, ...] | None, *, provider: str = ""
) -> Place:
    virtual = provider.startswith(_CLOUDS_OF_VMS) or any(pf.net_filter for pf in interfaces or ())
    return Place(name, labels, interfaces, virtual)


def _provider(node: Mapping[str, Any]) -> str:
    spec = node.get("spec")
    provider = spec.get("providerID") if isinstance(spec, Mapping) else None
    return provider if isinstance(provider, str) else ""


def in_pool(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether a node is of a pool, by Kubernetes' label selector; no selector: every node is."""
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for part in selector.match_expressions:
        value = labels.get(part.key)
        held = {
            "In": value is not None and value in part.values,
            "NotIn": value is None or value not in part.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not held[part.operator]:
            return False
    return True
