"""How the remembered drains and reboots follow from what is done and what is then seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from virtfn.daemon.breaker import DRAIN_TRIES, Want, attempt_for
from virtfn.daemon.decision import Decision
from virtfn.daemon.plan_report import LONGEST_TEXT
from virtfn.daemon.record import Attempt, AttemptKind, NodeRecord
from virtfn.journal import Record
from virtfn.model import PciAddress
from virtfn.model.steps import NODE


def begun(record: NodeRecord, wants: Iterable[Want], *, at: str) -> NodeRecord:
    """Steps are about to be performed, or the node to be rebooted, for these causes.

    :param at: now, as RFC 3339.
    """
    for want in wants:
        made = attempt_for(want, record.attempts)
        count = made.count + 1 if made is not None else 1
        attempt = Attempt(want.kind, want.target, want.key, want.cause, boot_id=record.boot_id, at=at, count=count)
        record = record.with_attempt(attempt)
    return record


def unmade(record: NodeRecord, wants: Iterable[Want]) -> list[Want]:
    """Those for which nothing was tried yet."""
    return [want for want in wants if attempt_for(want, record.attempts) is None]


def gave_up(record: NodeRecord, wants: Iterable[Want], *, seen: str) -> NodeRecord:
    """What was made for these causes was in vain."""
    for want in wants:
        made = attempt_for(want, record.attempts)
        if made is not None:
            record = record.with_attempt(replace(made, seen=seen[:LONGEST_TEXT]))
    return record


def not_made(record: NodeRecord, wants: Iterable[Want], *, at: str, seen: str) -> NodeRecord:
    """What has to be set before cannot be set, after a few tries: the node is not rebooted for these causes.

    :param at: now, as RFC 3339.
    """
    for want in wants:
        attempt = Attempt(want.kind, want.target, want.key, want.cause, boot_id=record.boot_id, at=at, count=0)
        record = record.with_attempt(replace(attempt, seen=seen[:LONGEST_TEXT]))
    return record


def drained_in_vain(record: NodeRecord, wants: Iterable[Want], *, seen: str) -> NodeRecord:
    """Steps were performed under a drain, and would be needed again. After a few tries the drain was in vain."""
    tired = [
        want
        for want in wants
        if want.kind is AttemptKind.DRAIN
        and (made := attempt_for(want, record.attempts)) is not None
        and made.count >= DRAIN_TRIES
    ]
    return gave_up(record, tired, seen=seen)


def still_of_interest(
    record: NodeRecord, decision: Decision, records: Mapping[PciAddress, Record]
) -> tuple[Attempt, ...]:
    """The attempts without those that helped, and those for what nobody wants any more.

    What was made for a PF that cannot be judged now is remembered: that it has no steps does not say that it is well.

    :param records: the journal.
    """
    well = set(decision.in_sync)
    known = {pf.address for pf in decision.desired.pfs} | set(records) | set(decision.desired.refused)
    kept = []
    for attempt in record.attempts:
        about = {address for address in known if attempt.target in (str(address), address.slot)}
        if (about and not about <= well) or (attempt.target == NODE and not _node_is_well(decision)):
            kept.append(attempt)
    return tuple(kept)


def _node_is_well(decision: Decision) -> bool:
    """Whether the node itself is as wanted, and can be judged."""
    steps = any(step.target == NODE for step in decision.whole.steps)
    return not steps and all(problem.object != NODE for problem in decision.problems)


def settled(record: NodeRecord, decision: Decision, records: Mapping[PciAddress, Record]) -> tuple[PciAddress, ...]:
    """The PFs that were as wanted at some time since this boot, with those that are so now.

    :param records: the journal; a PF that it does not know as applied is not settled yet.
    """
    now = {
        pf.address
        for pf in decision.desired.pfs
        if (known := records.get(pf.address)) is not None and known.applied == pf
    } & set(decision.in_sync)
    return tuple(sorted(address for address in {*record.settled, *now} if address in records))
