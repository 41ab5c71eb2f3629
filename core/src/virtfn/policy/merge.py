"""All policies of a cluster to the spec of one node's state.

Policies are applied from the lowest priority (99) to the highest (0), those of one priority by name. A later policy
keeps the VF groups of an earlier one on the same PF as far as their ranges do not meet its own, and replaces the rest:

* `vfGroups` has the latest policy's group first;
* `mtu` and `numVfs` of the PF are the larger of the two when a group was kept, or when the policy has the priority of
  the one applied just before it (on any PF); all other settings of the PF are the later policy's, set or not;
* a policy with `numVfs` 0 neither adds nor takes away.

A policy that is malformed is left out and reported; nothing else suffers from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from virtfn.errors import BadVfRange, DeviceNotFound, InvalidDocument
from virtfn.model import Problem, Severity, VfRange
from virtfn.model.crd import (
    InterfaceSpec,
    InterfaceStatus,
    NodeStateSpec,
    SriovNetworkNodePolicy,
    SriovNetworkNodeState,
    SystemSpec,
)
from virtfn.model.wording import few_texts
from virtfn.policy.bridges import NO_BRIDGES, Bridges, apply_bridge, bridges_spec
from virtfn.policy.policy_set import PolicySet, ReadyPolicy
from virtfn.policy.reading import Fault, policy_label, read_node_state
from virtfn.policy.selection import (
    Mismatch,
    labels_of,
    mismatch,
    node_mismatch,
    selects,
    selects_node,
    vf_range,
    vf_range_entry,
)

_SHOWN_NICS = 4

State = SriovNetworkNodeState | Mapping[str, Any] | Sequence[InterfaceStatus]


class Rendered(NamedTuple):
    """The spec of one node's state, and what is wrong with the policies it comes from."""

    spec: NodeStateSpec
    problems: tuple[Problem, ...]


class Recorder(Protocol):
    """Is told of each decision of the merge, in the order they are made: what `virtfn.policy.explain` is made of."""

    def considered(self, policy: SriovNetworkNodePolicy) -> None:
        """The policy is next; what follows is about it."""

    def not_this_node(self, why: Mismatch) -> None:
        """The node selector does not hold."""

    def refused(self, fault: Fault) -> None:
        """The policy asks for what cannot be, and is passed over."""

    def not_this_nic(self, pf: InterfaceStatus, why: Mismatch) -> None:
        """The NIC selector does not hold."""

    def applied(self, pf: InterfaceStatus, *, before: InterfaceSpec | None, after: InterfaceSpec | None) -> None:
        """The policy changed the PF's entry; both None: it selects the PF and makes no VFs."""


def render_node_state(
    policies: PolicySet | Iterable[SriovNetworkNodePolicy | Mapping[str, Any]],
    node: Mapping[str, Any] | None,
    state: State,
    *,
    rdma_mode: Literal["shared", "exclusive"] | None = None,
    manage_bridges: bool = True,
    recorder: Recorder | None = None,
) -> Rendered:
    """What the policies want of one node. The order they come in does not matter.

    :param policies: objects, or plain data as the API gives them; data that is malformed becomes an error problem. For
        more than one node make a `PolicySet` of them, so that they are read only once.
    :param node: the Node object, for its labels; None: node selectors are not looked at.
    :param state: the node's state, for `status.interfaces`; or just these.
    :param rdma_mode: of the node's pool.
    :param manage_bridges: whether software bridges are rendered.
    :param recorder: is told what was decided, and why.
    :returns: the spec, and problems about policies: errors for malformed ones and for VF ranges beyond `numVfs`,
        warnings for those that select nothing here.
    :raises InvalidDocument: the state is plain data and malformed.
    """
    interfaces = _interfaces_of(state)
    labels = labels_of(node) if node is not None else None
    ready = policies if isinstance(policies, PolicySet) else PolicySet.of(policies)
    problems = list(ready.problems)
    rendered: dict[str, InterfaceSpec] = {}
    bridges: Bridges = NO_BRIDGES
    applied: dict[str, SriovNetworkNodePolicy] = {}
    previous: int | None = None
    for entry in ready.policies:
        policy = entry.policy
        if recorder is not None:
            recorder.considered(policy)
        if labels is not None and not selects_node(policy.spec, labels):
            if recorder is not None and (elsewhere := node_mismatch(policy.spec, labels)) is not None:
                recorder.not_this_node(elsewhere)
            continue
        if manage_bridges and (fault := entry.bridge_fault) is not None:
            problems.append(fault.problem(entry.label))
            if recorder is not None:
                recorder.refused(fault)
            continue
        selected = []
        for pf in interfaces:
            if selects(policy.spec.nic_selector, pf):
                selected.append(pf)
            elif recorder is not None and (why := mismatch(policy.spec.nic_selector, pf)) is not None:
                recorder.not_this_nic(pf, why)
        if not selected:
            problems.append(_selects_nothing(entry, interfaces))
        elif policy.spec.num_vfs == 0:
            problems.append(_makes_no_vfs(entry.label))
        for pf in selected:
            old, new = rendered.get(pf.pci_address), None
            if policy.spec.num_vfs > 0:
                new = rendered[pf.pci_address] = _apply(entry, pf, old, equal=policy.spec.priority == previous)
            if recorder is not None:
                recorder.applied(pf, before=old if new else None, after=new)
            if manage_bridges:
                bridges = apply_bridge(bridges, policy.spec, pf)
        applied[policy.name] = policy
        previous = policy.spec.priority
    problems.extend(_beyond_num_vfs(rendered.values(), applied, interfaces))
    spec = NodeStateSpec(
        interfaces=tuple(rendered.values()),
        bridges=bridges_spec(bridges),
        system=SystemSpec(rdmaMode=rdma_mode) if rdma_mode else None,
    )
    return Rendered(spec, tuple(problems))


# --- what comes in --------------------------------------------------------------------------------------------------


def _interfaces_of(state: State) -> tuple[InterfaceStatus, ...]:
    if isinstance(state, Mapping):
        state = read_node_state(state)
    if isinstance(state, SriovNetworkNodeState):
        return state.status.interfaces
    return tuple(state)


# --- the merge ------------------------------------------------------------------------------------------------------


def _apply(entry: ReadyPolicy, pf: InterfaceStatus, old: InterfaceSpec | None, *, equal: bool) -> InterfaceSpec:
    """The PF's entry after the policy; `old` is the entry that earlier policies made."""
    wanted = entry.policy.spec
    own = vf_range(wanted, pf)
    earlier = old.vf_groups if old is not None else ()
    kept = tuple(other for other in earlier if not VfRange.parse(other.vf_range).overlaps(own))
    mtu, num_vfs = wanted.mtu, wanted.num_vfs
    if old is not None and (equal or kept):
        mtu, num_vfs = max(mtu, old.mtu), max(num_vfs, old.num_vfs)
    return InterfaceSpec(
        pciAddress=pf.pci_address,
        name=pf.name,
        numVfs=num_vfs,
        mtu=mtu,
        linkType=wanted.link_type,
        eSwitchMode=wanted.eswitch_mode,
        externallyManaged=wanted.externally_managed,
        driftMode=wanted.drift_mode,
        vfGroups=(entry.group(own), *kept),
    )


# --- what is told about it ------------------------------------------------------------------------------------------


def _selects_nothing(entry: ReadyPolicy, interfaces: Sequence[InterfaceStatus]) -> Problem:
    selector = entry.policy.spec.nic_selector
    if selector.is_empty:
        why = "is empty and selects no NIC"
    elif not interfaces:
        why = "selects no NIC: none is known on this node"
    else:
        reasons = [f"{pf.name or pf.pci_address}: {mismatch(selector, pf)}" for pf in interfaces[:_SHOWN_NICS]]
        why = "selects no NIC here: " + few_texts(reasons, most=_SHOWN_NICS, out_of=len(interfaces))
    return Problem(
        object=entry.label,
        message=why,
        reason=DeviceNotFound.reason,
        field="spec.nicSelector",
        severity=Severity.WARNING,
    )


def _makes_no_vfs(label: str) -> Problem:
    return Problem(
        object=label,
        message="0 VFs: the policy adds nothing, and takes nothing from other policies",
        reason=InvalidDocument.reason,
        field="spec.numVfs",
        severity=Severity.WARNING,
    )


def _beyond_num_vfs(
    rendered: Iterable[InterfaceSpec],
    applied: Mapping[str, SriovNetworkNodePolicy],
    interfaces: Sequence[InterfaceStatus],
) -> Iterable[Problem]:
    found = {pf.pci_address: pf for pf in interfaces}
    for interface in rendered:
        for group in interface.vf_groups:
            if VfRange.parse(group.vf_range).last < interface.num_vfs:
                continue
            pf = found[interface.pci_address]
            entry = vf_range_entry(applied[group.policy_name].spec.nic_selector, pf)
            yield Problem(
                object=policy_label(group.policy_name),
                message=f"VF range {group.vf_range} goes beyond the {interface.num_vfs} VFs of {pf.label}"
                f" (indices 0 to {interface.num_vfs - 1})",
                reason=BadVfRange.reason,
                field=f"spec.nicSelector.pfNames[{entry}]" if entry is not None else "spec.numVfs",
                hint="raise spec.numVfs, or lower the range",
            )
