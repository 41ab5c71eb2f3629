"""Who may be drained now: how many nodes of a pool at once, and who comes first. Pure.

A pool's `maxUnavailable` is about nodes that cannot be used, whatever the reason: nodes that are drained, nodes that
somebody else has cordoned, and nodes that are not ready. Two laws hold for every pool: never more than `maxUnavailable`
nodes are drained at once; and a grant never makes more nodes than that unavailable. A node that is unavailable anyway
costs nothing, so it may be drained beside others of its kind, within the first law.

Who has waited longest comes first, then the name decides: the same cluster gives the same answer to every controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from virtfn.controller.membership import Pool, Pools
from virtfn.model.wording import few_names

DEFAULT_LIMIT: Final = 1
"""`maxUnavailable` of the nodes that are in no pool, as with the existing operators."""
_NAMES: Final = 3


class Absence(Enum):
    """Why a node cannot be used now, in words for people."""

    DRAINED = "drained"
    CORDONED = "cordoned by somebody else"
    NOT_READY = "not ready"


class Ruling(Enum):
    """What becomes of a node that wants to be drained. Values are reasons of its condition `Drained`."""

    GRANTED = "Granted"
    WAITS = "WaitingForSlot"
    NONE_ALLOWED = "PoolAllowsNone"
    POOL_CONFLICT = "PoolConflict"
    NODE_SILENT = "NodeNotReady"


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the cluster."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    counts: bool = True
    """Whether virtfn looks after it: others are in the pool, and a share is one of them too, but are never unavailable
    in the sense of `maxUnavailable`, which is about SR-IOV."""
    absence: Absence | None = None
    is_silent: bool = False
    """Whether its kubelet says nothing: no pod there ends, so that a drain would only take the slot from others."""
    waits: bool = False
    """Whether it wants to be drained, and nothing but a slot is missing."""
    since: str = ""
    """When it first wanted that, as RFC 3339 in UTC; empty is after all others."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one node that waits, and why, in a sentence for people."""

    ruling: Ruling
    message: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One look at all nodes."""

    chosen: tuple[str, ...] = ()
    """Nodes that may be drained now, the one that has waited longest first."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """For all that wait, by node."""


def limit_of(wanted: int | str | None, *, size: int) -> int | None:
    """How many nodes may be unavailable at once; None: as many as there are.

    :param wanted: `maxUnavailable`: a number, a share like `"30%"`, or None.
    :param size: nodes in the pool. A share is rounded down, but never to none: who wants none says 0.
    """
    if isinstance(wanted, str):
        return max(1, size * int(wanted.removesuffix("%")) // 100)
    return wanted


def judge(members: Iterable[Member], pools: Pools) -> Table:
    """Decide for all nodes that wait. The result does not depend on the order of `members`.

    A node in several pools is never drained, as nobody could say which number holds for it; it counts in each of them.
    A pool that cannot be read has no nodes: they are held to the limit of nodes in no pool.
    """
    groups: dict[str, _Group] = {pool.name: _Group(pool) for pool in pools.pools}
    default = _Group(None)
    verdicts: dict[str, Verdict] = {}
    for member in sorted(members, key=lambda each: (not each.since, each.since, each.name)):
        own = [groups[pool.name] for pool in pools.of_node(member.labels)] or [default]
        for group in own:
            group.take(member, waits=member.waits and len(own) == 1 and not member.is_silent)
        if member.waits and len(own) > 1:
            verdicts[member.name] = Verdict(Ruling.POOL_CONFLICT, _conflict(own))
        elif member.waits and member.is_silent:
            message = "the node's kubelet does not answer, so no pod there would end; it is drained when it is back"
            verdicts[member.name] = Verdict(Ruling.NODE_SILENT, message)
    chosen: list[Member] = []
    for group in (*groups.values(), default):
        granted = group.choose()
        chosen += granted
        names = {member.name for member in granted}
        verdicts |= {member.name: Verdict(Ruling.GRANTED) for member in granted}
        refused = [member.name for member in group.waiting if member.name not in names]
        if refused:
            verdicts |= dict.fromkeys(refused, group.refusal())
    chosen.sort(key=lambda each: (not each.since, each.since, each.name))
    return Table(tuple(member.name for member in chosen), verdicts)


@dataclass(slots=True)
class _Group:
    """The nodes of one pool, or those in none."""

    pool: Pool | None
    size: int = 0
    absent: dict[str, Absence] = field(default_factory=dict)
    waiting: list[Member] = field(default_factory=list)

    @property
    def limit(self) -> int | None:
        return DEFAULT_LIMIT if self.pool is None else limit_of(self.pool.spec.max_unavailable, size=self.size)

    def take(self, member: Member, *, waits: bool) -> None:
        self.size += 1
        if member.counts and member.absence is not None:
            self.absent[member.name] = member.absence
        if waits:
            self.waiting.append(member)

    def choose(self) -> Sequence[Member]:
        limit = self.limit
        if limit is None:
            return tuple(self.waiting)
        chosen: list[Member] = []
        drained = sum(absence is Absence.DRAINED for absence in self.absent.values())
        unavailable = len(self.absent)
        for member in self.waiting:
            if drained >= limit:
                break
            is_absent = member.name in self.absent
            if is_absent or unavailable < limit:
                chosen.append(member)
                drained += 1
                unavailable += not is_absent
        return chosen

    def refusal(self) -> Verdict:
        if self.pool is None:
            rule = "nodes that are in no pool are drained one at a time (make a SriovNetworkPoolConfig to change that)"
        else:
            wanted = self.pool.spec.max_unavailable
            if wanted == 0:
                message = f"pool {self.pool.name} lets no node be drained (maxUnavailable 0; raise it to go on)"
                return Verdict(Ruling.NONE_ALLOWED, message)
            rule = f"pool {self.pool.name} lets {self.limit} of its {self.size} nodes be unavailable at once"
            rule += f" (maxUnavailable {wanted})"
        parts = []
        for absence in Absence:
            names = sorted(name for name, each in self.absent.items() if each is absence)
            if names:
                parts.append(f"{absence.value}: {few_names(names, most=_NAMES)}")
        return Verdict(Ruling.WAITS, f"{rule}; {'; '.join(parts)}" if parts else f"{rule}; others have waited longer")


def _conflict(groups: Sequence[_Group]) -> str:
    names = ", ".join(group.pool.name for group in groups if group.pool is not None)
    return f"the node is in several pools: {names} (change their nodeSelector so that it is in one of them)"
