"""Why a node's VFs are as they are: who selects what, which policy won which VFs and why, whose settings hold.

Nothing is decided here. The merge (`virtfn.policy.merge`) tells a recorder what it does while it renders, and what it
told is put in order: an explanation that differs from the rendering cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from virtfn.model import Problem, VfRange
from virtfn.model.crd import InterfaceSpec, InterfaceStatus, SriovNetworkNodePolicy, SriovNetworkNodeState
from virtfn.policy.explanation import (
    Applied,
    Explanation,
    Loss,
    NicExplained,
    Part,
    PfExplained,
    PolicyExplained,
    Setting,
    SettingField,
    VfsOf,
    WonBy,
)
from virtfn.policy.merge import State, render_node_state
from virtfn.policy.policy_set import PolicySet
from virtfn.policy.reading import Fault, name_of, policy_label
from virtfn.policy.selection import Mismatch


def explain(
    policies: PolicySet | Iterable[SriovNetworkNodePolicy | Mapping[str, Any]],
    node: Mapping[str, Any] | None,
    state: State,
    *,
    rdma_mode: Literal["shared", "exclusive"] | None = None,
    manage_bridges: bool = True,
) -> Explanation:
    """What the policies make of one node, and why. Takes what `render_node_state` takes, and raises what it raises."""
    record = _Record()
    spec, problems = render_node_state(
        policies, node, state, rdma_mode=rdma_mode, manage_bridges=manage_bridges, recorder=record
    )
    pfs = tuple(record.pfs[interface.pci_address].explained(interface) for interface in spec.interfaces)
    explained = [entry.explained(pfs) for entry in record.entries]
    known = {policy_label(entry.policy.name) for entry in record.entries}
    for label in dict.fromkeys(problem.object for problem in problems if problem.object not in known):
        faults = tuple(_fault_text(problem) for problem in problems if problem.object == label)
        explained.append(PolicyExplained(label.removeprefix(policy_label("")), Part.REFUSED, faults=faults))
    return Explanation(_node_name(node, state), tuple(explained), pfs, spec, problems)


def _node_name(node: Mapping[str, Any] | None, state: State) -> str:
    if node is not None:
        return name_of(node)
    if isinstance(state, SriovNetworkNodeState):
        return state.name
    return name_of(state) if isinstance(state, Mapping) else ""


def _fault_text(problem: Problem) -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def _won_by(winner: SriovNetworkNodePolicy, loser_priority: int) -> WonBy:
    return WonBy.PRIORITY if winner.spec.priority < loser_priority else WonBy.NAME


# --- what the merge told --------------------------------------------------------------------------------------------


class _PfRecord:
    """One PF while policies are applied to it."""

    def __init__(self) -> None:
        self.applied: list[Applied] = []
        self.settings: dict[SettingField, Setting] = {}

    def add(
        self,
        policy: SriovNetworkNodePolicy,
        priorities: Mapping[str, int],
        *,
        before: InterfaceSpec | None,
        after: InterfaceSpec,
    ) -> None:
        own, *kept = _groups(after)
        gone = [group for group in _groups(before) if group not in kept] if before is not None else []
        losses = (Loss(group, policy.name, _won_by(policy, priorities[group.policy])) for group in gone)
        self.applied.append(Applied(policy.name, policy.spec.priority, own.vf_range, tuple(kept), tuple(losses)))
        self._larger("numVfs", after.num_vfs, policy.spec.num_vfs, policy.name)
        self._larger("mtu", after.mtu, policy.spec.mtu, policy.name)
        mode = after.eswitch_mode
        self._latest("linkType", after.link_type, policy.name)
        self._latest("eSwitchMode", mode.value if mode else None, policy.name)
        self._latest("externallyManaged", after.externally_managed or None, policy.name)
        self._latest("driftMode", after.drift_mode.value if after.drift_mode else None, policy.name)

    def _larger(self, field: SettingField, value: int, wanted: int, policy: str) -> None:
        if value == wanted or field not in self.settings:  # otherwise the earlier policy's larger number is kept
            self._latest(field, value or None, policy)

    def _latest(self, field: SettingField, value: int | str | bool | None, policy: str) -> None:
        old = self.settings.get(field)
        instead_of = old.value if old is not None and old.value != value else None
        self.settings[field] = Setting(field, value, policy, instead_of)

    def explained(self, interface: InterfaceSpec) -> PfExplained:
        groups = _groups(interface)
        return PfExplained(
            pci_address=interface.pci_address,
            name=interface.name,
            num_vfs=interface.num_vfs,
            groups=groups,
            in_no_group=_gaps([group.vf_range for group in groups], interface.num_vfs),
            settings=tuple(s for s in self.settings.values() if s.value is not None or s.instead_of is not None),
            applied=tuple(self.applied),
        )


def _groups(interface: InterfaceSpec) -> tuple[VfsOf, ...]:
    return tuple(
        VfsOf(group.policy_name, group.resource_name, VfRange.parse(group.vf_range)) for group in interface.vf_groups
    )


def _gaps(ranges: Iterable[VfRange], num_vfs: int) -> tuple[VfRange, ...]:
    gaps = []
    first = 0
    for taken in sorted(ranges):
        if taken.first > first:
            gaps.append(VfRange(first, min(taken.first, num_vfs) - 1))
        first = max(first, taken.last + 1)
    if first < num_vfs:
        gaps.append(VfRange(first, num_vfs - 1))
    return tuple(gap for gap in gaps if gap.first <= gap.last)


@dataclass(slots=True)
class _Entry:
    """One policy while the node is rendered."""

    policy: SriovNetworkNodePolicy
    elsewhere: Mismatch | None = None
    fault: Fault | None = None
    seen: tuple[tuple[InterfaceStatus, Mismatch | None], ...] = ()

    def explained(self, pfs: Iterable[PfExplained]) -> PolicyExplained:
        found = {pf.pci_address: pf for pf in pfs}
        seen = sorted(self.seen, key=lambda each: each[0].pci_address)
        nics = tuple(self._nic(nic, why, found.get(nic.pci_address)) for nic, why in seen)
        return PolicyExplained(
            name=self.policy.name,
            part=self._part(nics),
            priority=self.policy.spec.priority,
            node_mismatch=self.elsewhere,
            nics=nics,
            faults=(str(self.fault),) if self.fault is not None else (),
        )

    def _nic(self, nic: InterfaceStatus, why: Mismatch | None, pf: PfExplained | None) -> NicExplained:
        name = self.policy.name
        if why is not None or pf is None or self.policy.spec.num_vfs == 0:
            return NicExplained(nic.pci_address, nic.name, why)
        has = next((group.vf_range for group in pf.groups if group.policy == name), None)
        lost = next((loss for loss in pf.losses if loss.group.policy == name), None)
        return NicExplained(nic.pci_address, nic.name, None, has, lost)

    def _part(self, nics: Iterable[NicExplained]) -> Part:
        if self.elsewhere is not None:
            return Part.OTHER_NODE
        if self.fault is not None:
            return Part.REFUSED
        selected = [nic for nic in nics if nic.mismatch is None]
        if not selected:
            return Part.NO_NIC
        if self.policy.spec.num_vfs == 0:
            return Part.NO_VFS
        return Part.WINS if any(nic.has is not None for nic in selected) else Part.REPLACED


class _Record:
    """The recorder that the merge is handed."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.pfs: dict[str, _PfRecord] = {}
        self._priorities: dict[str, int] = {}

    def considered(self, policy: SriovNetworkNodePolicy) -> None:
        self.entries.append(_Entry(policy))

    def not_this_node(self, why: Mismatch) -> None:
        self.entries[-1].elsewhere = why

    def refused(self, fault: Fault) -> None:
        self.entries[-1].fault = fault

    def not_this_nic(self, pf: InterfaceStatus, why: Mismatch) -> None:
        entry = self.entries[-1]
        entry.seen = (*entry.seen, (pf, why))

    def applied(self, pf: InterfaceStatus, *, before: InterfaceSpec | None, after: InterfaceSpec | None) -> None:
        entry = self.entries[-1]
        entry.seen = (*entry.seen, (pf, None))
        self._priorities[entry.policy.name] = entry.policy.spec.priority
        if after is not None:
            record = self.pfs.setdefault(pf.pci_address, _PfRecord())
            record.add(entry.policy, self._priorities, before=before, after=after)
