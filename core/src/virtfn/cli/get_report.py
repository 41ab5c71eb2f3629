"""What `virtfn get` tells, as values only: `get_judging` makes them of objects, `get_view` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

GOOD_WHEN_FALSE = frozenset({"Drifted", "Blocked", "Degraded", "Conflict", "Conflicts", "Progressing"})
"""Conditions that tell of trouble when they hold; all others do when they do not."""
NOT_NEEDED = "NotNeeded"
"""Reason of the condition `Drained` of a node that nobody wants drained."""


class Standing(StrEnum):
    """How a node is doing, the most pressing first."""

    BLOCKED = "blocked"
    """A drain or reboot had no effect and is not tried again by itself."""
    FAILED = "failed"
    SILENT = "no report"
    """Its daemon has never reported."""
    NOT_READY = "not ready"
    BEHIND = "behind"
    """Its daemon has not looked at the newest spec."""
    WAITING = "awaiting drain"
    """Its daemon needs a drain, which has not begun."""
    DRAINING = "draining"
    IN_PROGRESS = "in progress"
    DRIFTED = "drifted"
    """Somebody else changed what was configured."""
    GONE = "node gone"
    """The node is not there any more, its node state is kept for a while."""
    IN_SYNC = "in sync"


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """One condition."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None

    @property
    def is_trouble(self) -> bool:
        """Whether it says that something is not as it should be."""
        return self.reason != NOT_NEEDED and self.status == ("True" if self.type in GOOD_WHEN_FALSE else "False")


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a plan."""

    op: str
    target: str
    disruption: str
    why: str


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a node's daemon is about to do."""

    digest: str
    disruption: str
    affects: tuple[str, ...]
    """PCI addresses of the VFs that lose traffic."""
    steps: tuple[StepReport, ...]
    steps_left_out: int

    @property
    def count(self) -> int:
        """Of all steps."""
        return len(self.steps) + self.steps_left_out


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """Drains or reboots that were made for one cause."""

    kind: str
    count: int
    cause: str
    seen: str
    last: str


@dataclass(frozen=True, slots=True)
class VfReport:
    """One VF as it was found."""

    index: int
    pci_address: str
    driver: str
    netdev: str
    mac: str
    mtu: int
    representor: str
    vdpa: str
    """Driver of its vDPA device: `virtio` or `vhost`."""
    guid: str
    """Of an InfiniBand VF."""
    resource: str
    in_pod: bool = False
    """Its netdev is inside a pod."""
    holder: str = ""
    """`namespace/name` of the pod that has it, where that was asked for and is known."""


@dataclass(frozen=True, slots=True)
class GroupReport:
    """VFs of one PF that are one policy's."""

    resource: str
    policy: str
    vf_range: str
    wanted: int
    made: int
    in_pods: int
    """VFs whose netdev is inside a pod."""
    unknown: int
    """VFs of which nobody can tell from the node state whether a pod has them: those without a netdev of their own."""


@dataclass(frozen=True, slots=True)
class PfReport:
    """One PF: what it has, and what is wanted of it; None where nothing is."""

    pci_address: str
    name: str
    driver: str
    num_vfs: int
    total_vfs: int
    eswitch_mode: str
    link: str
    mtu: int
    wanted_vfs: int | None = None
    wanted_eswitch_mode: str = ""
    externally_managed: bool = False
    is_there: bool = True
    groups: tuple[GroupReport, ...] = ()
    vfs: tuple[VfReport, ...] = ()
    """One by one where they were asked for."""


@dataclass(frozen=True, slots=True)
class BridgeReport:
    """A bridge that virtfn made, or is to make."""

    name: str
    pf: str
    """PCI address of the PF that is, or is to be, its uplink."""
    uplink: str
    """Netdev that is in it as its uplink; empty: none, or one that Open vSwitch cannot use."""
    is_there: bool
    is_wanted: bool
    differing: tuple[str, ...] = ()
    """Settings that are other than wanted."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node."""

    name: str
    standing: Standing
    sync_status: str
    error: str
    since: datetime | None
    """Since when it stands so, where a condition tells."""
    generation: int
    observed_generation: int
    needs: str
    """`Idle`, `Drain_Required` or `Reboot_Required`."""
    drain: str
    """How far the drain is: `Idle`, `Draining` or `DrainComplete`."""
    external_drainer: bool
    kept_until: str
    plan: PlanReport | None
    conditions: tuple[ConditionReport, ...]
    attempts: tuple[AttemptReport, ...]
    pfs: tuple[PfReport, ...]
    bridges: tuple[BridgeReport, ...] = ()
    rdma_mode: str = ""
    """`shared` or `exclusive`, as found."""
    wanted_rdma_mode: str = ""
    fault: str = ""
    """What of the object could not be read."""
    cordon: str = ""
    """Who made the node unschedulable, where that was asked for."""

    def condition(self, name: str) -> ConditionReport | None:
        """One condition by its type."""
        return next((each for each in self.conditions if each.type == name), None)


@dataclass(frozen=True, slots=True)
class PolicyNodeReport:
    """Why a policy selects nothing on one node."""

    node: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """One policy, and what became of it."""

    name: str
    priority: int
    resource: str
    num_vfs: int
    looked_at: bool
    """Whether the controller has told about the newest spec."""
    matched_nodes: int
    matched_nics: int
    mismatches: tuple[PolicyNodeReport, ...]
    conditions: tuple[ConditionReport, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One pool config."""

    name: str
    nodes: str
    """Its selector, as `kubectl -l` takes it; `all`."""
    max_unavailable: str
    rdma_mode: str
    conditions: tuple[ConditionReport, ...]


@dataclass(frozen=True, slots=True)
class OtherReport:
    """An object of another kind that something is wrong with."""

    kind: str
    name: str
    """With its namespace, where that is not the operator's."""
    conditions: tuple[ConditionReport, ...]


@dataclass(frozen=True, slots=True)
class ControllerReport:
    """Who leads."""

    holder: str
    renewed: datetime | None
    seconds: int
    """How long a renewal counts."""

    def leads(self, now: datetime) -> bool:
        """Whether the lease is held now, by the clock of who asks."""
        return bool(self.holder) and self.renewed is not None and (now - self.renewed).total_seconds() < self.seconds


@dataclass(frozen=True, slots=True)
class DaemonSetReport:
    """One daemon set of the operator."""

    name: str
    wanted: int
    ready: int


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """All that is told."""

    server: str
    namespace: str
    at: datetime
    nodes: tuple[NodeReport, ...]
    policies: tuple[PolicyReport, ...] = ()
    pools: tuple[PoolReport, ...] = ()
    others: tuple[OtherReport, ...] = ()
    controller: ControllerReport | None = None
    daemon_sets: tuple[DaemonSetReport, ...] = ()
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Nodes by how they stand."""


def count_nodes(nodes: Iterable[NodeReport]) -> dict[str, int]:
    """Nodes by how they stand, the most pressing first."""
    found = dict.fromkeys(Standing, 0)
    for node in nodes:
        found[node.standing] += 1
    return {standing.value: number for standing, number in found.items() if number}
