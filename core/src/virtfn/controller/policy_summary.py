"""One policy on all nodes, from what is explained for each kind of node: the status that people read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import nsmallest
from typing import Final

from virtfn.kube.conditions import Condition, Status
from virtfn.kube.resource import Json
from virtfn.model import Severity
from virtfn.model.crd import (
    MOST_STATUS_NODES,
    MOST_STATUS_PFS,
    PolicyNodeStatus,
    PolicyPfStatus,
    PolicyStatus,
    SelectorMismatch,
)
from virtfn.model.wording import few_texts, number_of
from virtfn.policy.explanation import Explanation, NicExplained, Part, PolicyExplained
from virtfn.policy.reading import policy_label

READY: Final = "Ready"
CONFLICT: Final = "Conflict"
_PARTS: Final = ("nicSelector", "vendor", "deviceID", "rootDevices", "pfNames", "netFilter")
"""Of a NIC selector, in the order in which they are looked at: the later one fails, the nearer the NIC came."""
_BRIDGES_OFF: Final = (
    "spec.bridge: no bridge is made, as the feature gate manageSoftwareBridges of the SriovOperatorConfig is off "
    "(switch it on, or take spec.bridge away)"
)
_LONGEST: Final = 1024
_SHOWN: Final = 3


class Sync(Enum):
    """How far a node is with what is wanted of it now."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """One node at this moment."""

    name: str
    sync: Sync
    error: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """One policy's part in nodes of one kind."""

    part: Part
    nics: int = 0
    """PFs that are selected."""
    pfs: tuple[PolicyPfStatus, ...] = ()
    mismatch: SelectorMismatch | None = None
    conflicts: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    """(reason, what is wrong), of what has to be changed in the policy."""


def facts_of(explanation: Explanation) -> Mapping[str, Facts]:
    """What an explanation says of each policy, by name."""
    faults: dict[str, list[tuple[str, str]]] = {}
    for problem in explanation.problems:
        if problem.severity is Severity.ERROR:
            where = f"{problem.field}: " if problem.field else ""
            hint = f" ({problem.hint})" if problem.hint else ""
            faults.setdefault(problem.object, []).append((problem.reason, f"{where}{problem.message}{hint}"))
    return {
        policy.name: _facts(policy, faults=tuple(faults.get(policy_label(policy.name), ())))
        for policy in explanation.policies
    }


def _facts(policy: PolicyExplained, *, faults: tuple[tuple[str, str], ...]) -> Facts:
    selected = [nic for nic in policy.nics if nic.mismatch is None] if policy.part not in _NOT_HERE else []
    return Facts(
        part=policy.part,
        nics=len(selected),
        pfs=tuple(
            PolicyPfStatus(
                pciAddress=nic.pci_address,
                name=nic.name,
                vfRange=str(nic.has) if nic.has is not None else "",
                overriddenBy=nic.lost.by if nic.lost is not None else "",
            )
            for nic in selected[:MOST_STATUS_PFS]
        ),
        mismatch=_mismatch(policy),
        conflicts=tuple(f"{nic.label}: {nic.lost}" for nic in selected if nic.lost is not None),
        faults=faults,
    )


_NOT_HERE: Final = (Part.OTHER_NODE, Part.REFUSED)


def _mismatch(policy: PolicyExplained) -> SelectorMismatch | None:
    if (elsewhere := policy.node_mismatch) is not None:
        seen = f"is {elsewhere.seen[0]}" if elsewhere.seen else "is not set"
        message = f"label {elsewhere.part} {seen}, not {elsewhere.wanted[0]}"
        return SelectorMismatch(field="spec.nodeSelector", message=message[:_LONGEST])
    if policy.part is not Part.NO_NIC:
        return None
    if not policy.nics:
        return SelectorMismatch(
            field="spec.nicSelector", message="no NIC is known on this node (is its daemon running?)"
        )
    nearest = max(policy.nics, key=_nearness)
    why = nearest.mismatch
    assert why is not None
    if why.part == "nicSelector":
        return SelectorMismatch(field="spec.nicSelector", message="is empty and selects no NIC")
    message = f"{nearest.name or nearest.pci_address}: {why}"
    return SelectorMismatch(field=f"spec.nicSelector.{why.part}", message=message[:_LONGEST])


def _nearness(nic: NicExplained) -> int:
    return _PARTS.index(nic.mismatch.part) if nic.mismatch is not None else len(_PARTS)


@dataclass(slots=True)
class Summary:
    """One policy, while nodes are added one by one."""

    num_vfs: int
    lacks_bridge: bool = False
    """It asks for a bridge, and the controller is not to make any."""
    nodes: int = 0
    nics: int = 0
    served: int = 0
    """Nodes where it has VFs."""
    done: int = 0
    without_nic: int = 0
    waiting: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    entries: list[tuple[int, str, Facts]] = field(default_factory=list)
    passed: list[tuple[int, str, Facts]] = field(default_factory=list)
    """Nodes that the node selector passed over."""

    def add(self, node: NodeSeen, facts: Facts) -> None:
        """One more node."""
        if facts.part is Part.OTHER_NODE:
            self.passed.append((0, node.name, facts))
            return
        self.nodes += 1
        self.nics += facts.nics
        self.faults.update(facts.faults)
        self.entries.append((1 if facts.nics else 0, node.name, facts))
        self.conflicts += [(node.name, text) for text in facts.conflicts[:1]]
        if facts.part is Part.NO_NIC:
            self.without_nic += 1
        if facts.part is not Part.WINS:
            return
        self.served += 1
        if node.sync is Sync.DONE:
            self.done += 1
        elif node.sync is Sync.FAILED:
            self.failed.append((node.name, node.error))
        else:
            self.waiting.append(node.name)

    def status(self, *, generation: int) -> Json:
        """The policy's status without its conditions."""
        listed = self.entries or self.passed
        chosen = nsmallest(MOST_STATUS_NODES, listed, key=lambda entry: entry[:2])
        made = PolicyStatus(
            observedGeneration=generation,
            nodes=tuple(
                PolicyNodeStatus(name=name, pfs=facts.pfs, mismatch=facts.mismatch) for _, name, facts in chosen
            ),
            nodesLeftOut=len(listed) - len(chosen),
        ).to_wire()
        # Zero is what people look for in these two.
        return {**made, "matchedNodes": self.nodes, "matchedNICs": self.nics}

    def conditions(self, *, generation: int) -> tuple[Condition, ...]:
        """`Ready`, and `Conflict` where other policies have taken VFs."""
        status, reason, message = self._ready()
        if self.lacks_bridge and status is Status.TRUE:
            status, reason, message = Status.FALSE, "BridgesOff", f"{_BRIDGES_OFF}. Otherwise: {message}"
        made = [Condition(READY, status, reason, message, generation)]
        if self.conflicts:
            text = _few([f"{node}: {what}" for node, what in sorted(self.conflicts)])
            made.append(Condition(CONFLICT, Status.TRUE, "Overridden", text, generation))
        return tuple(made)

    def _ready(self) -> tuple[Status, str, str]:
        if self.faults:
            return Status.FALSE, next(iter(self.faults)), _few(list(self.faults.values()))
        if not self.nodes:
            return Status.FALSE, "NoNodeSelected", self._no_node()
        if self.num_vfs == 0:
            return Status.TRUE, "NoVfs", "0 VFs: the policy adds nothing, and takes nothing from other policies"
        if not self.nics:
            text = _few(
                [f"{name}: {facts.mismatch.message}" for _, name, facts in self._few_entries() if facts.mismatch]
            )
            return Status.FALSE, "NoNicSelected", f"no NIC is selected on {number_of(self.nodes, 'node')}: {text}"
        if not self.served:
            text = _few([f"{node}: {what}" for node, what in sorted(self.conflicts)])
            return Status.FALSE, "Overridden", f"other policies have taken all VFs: {text}"
        if self.failed:
            text = _few([f"{node}: {error or 'no reason is given'}" for node, error in sorted(self.failed)])
            nodes = number_of(len(self.failed), "node")
            return Status.FALSE, "NodesFailed", f"{nodes} of {self.served:,} failed: {text}"
        if self.waiting:
            nodes, text = number_of(self.served, "node"), _few(sorted(self.waiting))
            return Status.FALSE, "Progressing", f"{self.done:,} of {nodes} are in sync; waiting for {text}"
        rest = f"; on {number_of(self.without_nic, 'node')} no NIC is selected" if self.without_nic else ""
        nics = number_of(self.nics, "NIC")
        return Status.TRUE, "InSync", f"{number_of(self.served, 'node')} in sync, {nics} selected{rest}"

    def _few_entries(self) -> Sequence[tuple[int, str, Facts]]:
        return nsmallest(_SHOWN, self.entries, key=lambda entry: entry[:2])

    def _no_node(self) -> str:
        if not self.passed:
            return "there are no nodes that virtfn looks after"
        seen = nsmallest(_SHOWN, self.passed, key=lambda entry: entry[:2])
        texts = [f"{name}: {facts.mismatch.message}" for _, name, facts in seen if facts.mismatch is not None]
        return "spec.nodeSelector selects no node: " + few_texts(texts, most=_SHOWN, out_of=len(self.passed))


def _few(texts: Sequence[str]) -> str:
    return few_texts([text[:_LONGEST] for text in texts[:_SHOWN]], most=_SHOWN, out_of=len(texts))
