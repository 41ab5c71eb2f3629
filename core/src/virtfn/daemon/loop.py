"""One look at the node, and what follows from it: observe, decide, tell, perform, look again.

Everything that decides is pure and stands elsewhere; here is the order in which it meets the machine and the cluster.
Nothing is done before it was told, and nothing but what is on disk has to outlive the process.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from virtfn.daemon import attempts, reboot, resets
from virtfn.daemon.afterwards import StepListener, in_vain, is_unrecorded, makes_devices_anew
from virtfn.daemon.boot import BootKeeper
from virtfn.daemon.breaker import SETTING_TRIES, Want, empties_node
from virtfn.daemon.decision import Decision, Failure, Memory, Rules, decide, key_of
from virtfn.daemon.device_plugin_config import FILE, Offer, make_offer, write_offer
from virtfn.daemon.drift import Hold, is_sure
from virtfn.daemon.gate import Action
from virtfn.daemon.record import AttemptKind, NodeRecord, RecordFile
from virtfn.daemon.request import Reading, Request, is_unrendered, read_request
from virtfn.daemon.sources import Source
from virtfn.daemon.status import IN_SYNC, Report, judge_report
from virtfn.daemon.usage import vfs_in_use
from virtfn.errors import ClusterError, CommandFailed, NotEffective, RequestError, VirtfnError
from virtfn.host.machine import Machine
from virtfn.kube.clock import Clock, whole_time
from virtfn.kube.events import EventType
from virtfn.kube.meter import Meter
from virtfn.model import DesiredState, Outcome, Plan
from virtfn.model.crd import DevicePluginStatus
from virtfn.model.handshake import DrainState, SyncStatus
from virtfn.node import Node, Observation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Times in seconds."""

    rules: Rules = field(default_factory=Rules)
    period: float = 30.0
    """Between two looks at a node where nothing happens."""
    suspicion: float = 5.0
    """Between two readings of a drift that is not sure yet."""
    retry_least: float = 5.0
    retry_most: float = 300.0
    """Between two tries of a plan that failed, doubled each time."""
    settle: float = 60.0
    """How long an empty new node state is waited for to be filled, before PFs are given back for it."""
    reboot_wait: float = 600.0
    """How long a reboot may take to begin."""


class Teller(Protocol):
    """Where the daemon says how the node is."""

    def publish(self, report: Report) -> None:
        """Say it, if it is new. Raises `ClusterError`."""
        ...

    def tell(self, *, reason: str, action: str, note: str, level: EventType = EventType.NORMAL) -> None:
        """Say that something happened."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found."""

    observation: Observation
    request: Request | None
    report: Report

    @property
    def decision(self) -> Decision | None:
        """What is to be done; None if it is not known what is wanted."""
        return self.report.decision


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn came to."""

    again: float
    """Seconds until the next one is due."""
    look: Look | None
    """The last look of it; None where it failed as a whole."""
    outcome: Outcome | None = None
    """What became of the plan, if one was performed."""


_MOST_IN_ROW: Final = 5
"""Plans that are performed one right after the other, each for what the one before left to be done."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The node and what is wanted of it, at one moment."""

    observation: Observation
    request: Request | None
    reading: Reading | None
    refused: RequestError | None = None
    count: bool = False
    """Whether this look at drift is one of its own."""


class NodeLoop:
    """The daemon's work on one node. One thread uses it.

    :param record: where what must outlive the process is kept.
    :param run_dir: where the device plugin's file is; None: none is written.
    :param boot: keeps what the next boot does before the network starts; None: nobody does.
    """

    def __init__(
        self,
        node: Node,
        *,
        machine: Machine,
        source: Source,
        teller: Teller,
        record: RecordFile,
        run_dir: Path | None,
        boot: BootKeeper | None = None,
        clock: Clock,
        meter: Meter,
        settings: LoopSettings | None = None,
    ) -> None:
        self._node = node
        self._machine = machine
        self._boot = boot
        self._source = source
        self._teller = teller
        self._file = record
        self._offer_file = run_dir / FILE if run_dir is not None else None
        self._clock = clock
        self._meter = meter
        self._settings = settings or LoopSettings()
        self._memory = Memory(record.load(), readings={})
        self._counted_at: float | None = None
        self._new_since: tuple[str, float] = ("", 0.0)
        self._offer = Offer("", DevicePluginStatus())
        self._asked_at: float | None = None
        self._troubles = 0
        self._in_row = 0
        self._last: Report | None = None

    def turn(self) -> Turn:
        """One turn.

        :raises ClusterError: it could not be told how the node is; nothing was done that was not told.
        """
        try:
            turn = self._turn()
        except ClusterError:
            raise
        except VirtfnError as error:  # the machine, the journal or a plugin failed as a whole
            logger.error("%s", error)
            return self._trouble(str(error), error.reason)
        except Exception as error:  # a bug is told where people look, too
            logger.exception("a bug in virtfn")
            return self._trouble(f"a bug in virtfn, please report it: {error!r}", VirtfnError.reason)
        self._troubles = 0
        return turn

    def _turn(self) -> Turn:
        look = self._judge(self._see())
        outcome = None
        decision = look.decision
        if decision is not None and decision.verdict.action is Action.PERFORM:
            if any(empties_node(step) for step in decision.due.steps):
                return self._reboot(look, decision)
            self._publish(replace(look.report, acting=True))
            self._keep_boot(look)
            outcome = self._perform(look, decision, decision.due)
            seen = self._see()
            self._conclude(decision, outcome, self._judge(seen))
            look = self._judge(replace(seen, count=False))
        look = self._write_offer(self._keep_books(look))
        self._keep_boot(look)
        self._publish(look.report)
        return Turn(self._pause(look), look, outcome)

    # --- looking ------------------------------------------------------------------------------------------------------

    def _see(self) -> _Seen:
        observation = self._node.observe()
        self._remember(self._memory.record.in_boot(reboot.boot_id(self._machine)))
        now = self._clock.monotonic()
        count = self._counted_at is None or now - self._counted_at >= self._settings.suspicion
        self._counted_at = now if count else self._counted_at
        request = None
        try:
            request = self._source.read(observation.inventory)
            if request is None:
                return _Seen(observation, None, None)
            reading = read_request(
                request,
                observation.inventory,
                observation.records,
                release=lambda addresses: self._node.release(observation, addresses),
                settle=self._left_to_settle(request) > 0,
            )
        except RequestError as error:
            return _Seen(observation, request, None, refused=error)
        return _Seen(observation, request, reading, count=count)

    def _left_to_settle(self, request: Request) -> float:
        """How long it is to be waited yet for policies to be rendered into a new node state."""
        now = self._clock.monotonic()
        if self._new_since[0] != request.uid:
            self._new_since = (request.uid, now)
        return self._new_since[1] + self._settings.settle - now if is_unrendered(request) else 0.0

    def _judge(self, seen: _Seen) -> Look:
        """What follows from what was seen."""
        report = Report(
            inventory=seen.observation.inventory,
            records=seen.observation.records,
            generation=seen.request.generation if seen.request is not None else 0,
            attempts=self._memory.record.attempts,
            device_plugin=self._offer.status,
            offer_problems=self._offer.problems,
        )
        if seen.request is None or seen.reading is None:
            if seen.refused is not None:
                report = replace(report, refused=str(seen.refused), refused_reason=seen.refused.reason)
            return Look(seen.observation, None, report)
        decision = decide(
            seen.request,
            seen.reading,
            seen.observation.records,
            self._memory,
            make_plan=lambda desired: self._node.plan(seen.observation, desired),
            in_use=lambda: vfs_in_use(self._machine, seen.observation.inventory),
            rules=self._settings.rules,
            now=self._clock.monotonic(),
            count=seen.count,
        )
        self._memory = replace(self._memory, readings=decision.readings)
        return Look(seen.observation, seen.request, replace(report, decision=decision))

    # --- doing --------------------------------------------------------------------------------------------------------

    def _perform(self, look: Look, decision: Decision, plan: Plan, *, first: int | None = None) -> Outcome:
        """The plan, with what has to be on disk before."""
        record = self._memory.record
        if decision.verdict.needed is not DrainState.IDLE:
            drains = [want for want in decision.wants if want.kind is AttemptKind.DRAIN] if first is None else []
            record = attempts.begun(record, drains, at=whole_time(self._clock.now()))
        if self._offer.text and any(makes_devices_anew(step) for step in plan.steps[:first]):
            record = replace(record, plugin_round=record.plugin_round + 1)
        self._remember(record)
        listener = StepListener(self._meter)
        return self._node.perform(plan, look.observation, decision.due_desired, listener=listener, first=first)

    def _conclude(self, before: Decision, outcome: Outcome, after: Look) -> None:
        """Remember what was in vain."""
        decision = after.decision
        message, reason = in_vain(outcome, decision)
        more = decision is not None and decision.verdict.action is Action.PERFORM
        self._in_row = self._in_row + 1 if more else 0
        if not message and self._in_row >= _MOST_IN_ROW and decision is not None:
            first = decision.due.steps[0]
            message = f"{first.target}: {self._in_row} plans were performed, and there is another one: {first.why}"
            reason = NotEffective.reason
        if not message or decision is None or after.request is None or not decision.due.steps:
            self._memory = replace(self._memory, failure=None)
            return
        logger.error("%s", message)
        self._teller.tell(reason=reason, action="Apply", note=message, level=EventType.WARNING)
        self._fail(decision, after.request, reason=reason, message=message)
        again = {(want.target, want.key) for want in decision.wants}
        drains = [want for want in before.wants if (want.target, want.key) in again]
        self._remember(attempts.drained_in_vain(self._memory.record, drains, seen=message))

    def _fail(self, decision: Decision, request: Request, *, reason: str, message: str) -> None:
        key = key_of(decision.due, decision.due_desired, request)
        before = self._memory.failure
        count = before.count + 1 if before is not None else 1
        pause = min(self._settings.retry_least * 2.0 ** min(count - 1, 30), self._settings.retry_most)
        failure = Failure(key, reason, message, count, again_at=self._clock.monotonic() + pause)
        self._memory = replace(self._memory, failure=failure)

    def _reboot(self, look: Look, decision: Decision) -> Turn:
        """What a reboot brings into force is set, and the node rebooted: once for one cause, if no reset spares it."""
        cards = [want for want in decision.wants if want.kind is AttemptKind.RESET]
        reboots = [want for want in decision.wants if want.kind is AttemptKind.REBOOT]
        if not cards and not attempts.unmade(self._memory.record, reboots):
            return self._await_reboot(look, reboots)
        self._publish(replace(look.report, acting=True, rebooting=not cards))
        outcome = self._before_reboot(look, decision, cards)
        if outcome.failed is not None and look.request is not None:
            failed = outcome.failed
            self._teller.tell(reason=failed.reason, action="Apply", note=failed.detail, level=EventType.WARNING)
            self._fail(decision, look.request, reason=failed.reason, message=failed.detail)
            most = 1 if failed.reason == NotEffective.reason else SETTING_TRIES
            if self._memory.failure is not None and self._memory.failure.count >= most:
                wants, at = [want for want in reboots if want.target == failed.step.target], self._clock.now()
                self._remember(attempts.not_made(self._memory.record, wants, at=whole_time(at), seen=failed.detail))
            look = self._judge(self._see())
            self._publish(look.report)
            return Turn(self._pause(look), look, outcome)
        if cards:
            look = self._judge(self._see())
            reboots = resets.still_needed([*reboots, *cards], look.decision, look.observation.inventory)
            if not reboots:
                self._publish(look.report)
                return Turn(self._pause(look), look, outcome)
            self._publish(replace(look.report, rebooting=True))
        record = self._memory.record
        self._remember(attempts.begun(record, attempts.unmade(record, reboots), at=whole_time(self._clock.now())))
        causes = "; ".join(dict.fromkeys(resets.cause_of(want, record) for want in reboots))
        self._teller.tell(reason="RebootNode", action="Reboot", note=f"the node is rebooted: {causes}")
        if refused := self._ask_for_reboot():
            self._remember(attempts.gave_up(self._memory.record, reboots, seen=refused))
        return Turn(min(self._settings.period, 10.0), look, outcome)

    def _before_reboot(self, look: Look, decision: Decision, cards: list[Want]) -> Outcome:
        """What has to be set is set, and what resets there are is tried: once for one cause, whatever comes of it."""
        held = resets.held_back(decision.due, vfs_in_use(self._machine, look.observation.inventory)) if cards else {}
        plan, first = resets.set_first(decision.due, held)
        if cards:
            self._remember(resets.begun(self._memory.record, cards, at=whole_time(self._clock.now())))
        outcome = self._perform(look, decision, plan, first=first)
        self._remember(resets.without_unreached(self._memory.record, cards, outcome, held))
        for want, seen in resets.in_vain(cards, outcome, held):
            self._remember(attempts.gave_up(self._memory.record, [want], seen=seen))
            self._teller.tell(reason="ResetInVain", action="Reset", note=seen, level=EventType.WARNING)
        return outcome

    def _await_reboot(self, look: Look, reboots: list[Want]) -> Turn:
        """It was asked for; or a process was to, that was ended just before, so each asks anew."""
        if self._asked_at is None:
            self._ask_for_reboot()  # a machine that is on its way down takes no second one, which is as well
        elif self._clock.monotonic() - self._asked_at >= self._settings.reboot_wait:
            seen = f"the reboot was asked for, and did not begin within {self._settings.reboot_wait:g} s"
            self._remember(attempts.gave_up(self._memory.record, reboots, seen=seen))
            return Turn(0.0, look)
        self._publish(replace(look.report, rebooting=True))
        return Turn(min(self._settings.period, 10.0), look)

    def _ask_for_reboot(self) -> str:
        """Why nobody took it; empty: it was taken."""
        self._asked_at = self._clock.monotonic()
        try:
            reboot.reboot(self._machine)
        except CommandFailed as error:
            logger.warning("%s", error)
            return str(error)
        return ""

    # --- what stays ---------------------------------------------------------------------------------------------------

    def _remember(self, record: NodeRecord) -> None:
        """On disk, when it is new."""
        if record != self._memory.record:
            self._file.save(record)
            self._memory = replace(self._memory, record=record)

    def _keep_books(self, look: Look) -> Look:
        """PFs that needed nothing are in the journal as well; and what the record says is up to date."""
        decision = look.decision
        if decision is None:
            return look
        records = look.observation.records
        unknown = tuple(pf for pf in decision.desired.pfs if is_unrecorded(pf, decision, records))
        if unknown:
            books = Plan(problems=decision.whole.problems)
            self._node.perform(books, look.observation, DesiredState(pfs=unknown))
            look = self._judge(replace(self._see(), count=False))
            decision, records = look.decision or decision, look.observation.records
        record = self._memory.record
        record = replace(record, attempts=attempts.still_of_interest(record, decision, records))
        self._remember(replace(record, settled=attempts.settled(record, decision, records)))
        return replace(look, report=replace(look.report, attempts=self._memory.record.attempts))

    def _keep_boot(self, look: Look) -> None:
        """What the next boot makes before the network starts."""
        if self._boot is not None and look.decision is not None:
            self._boot.keep(look.observation, look.decision.desired)

    def _write_offer(self, look: Look) -> Look:
        """The device plugin's file, as soon as it is known what there is to offer."""
        decision = look.decision
        if decision is None or decision.verdict.action is Action.PERFORM:
            return look
        settled = self._memory.record.settled
        wanted = [pf.address for pf in decision.desired.pfs if pf.address in settled]
        offer = make_offer(
            look.observation.inventory,
            look.observation.records,
            pfs=dict.fromkeys([*wanted, *settled]),
            rounds=self._memory.record.plugin_round,
        )
        if self._offer_file is not None and write_offer(offer, self._offer_file):
            logger.info("the device plugin offers: %s", ", ".join(offer.status.resources) or "nothing")
        self._offer = offer
        return replace(look, report=replace(look.report, device_plugin=offer.status, offer_problems=offer.problems))

    # --- telling ------------------------------------------------------------------------------------------------------

    def _publish(self, report: Report) -> None:
        if report.decision is None and not report.refused:
            return  # nobody wants anything, and there is nobody to tell
        self._last = report
        judged = judge_report(report)
        decision = report.decision
        self._meter.level("in_sync", judged.sync is SyncStatus.SUCCEEDED and judged.reason == IN_SYNC)
        self._meter.level("drifted", decision is not None and any(is_sure(drift) for drift in decision.drifts))
        self._meter.level("breaker_open", decision is not None and bool(decision.blocked))
        self._teller.publish(report)

    def _trouble(self, message: str, reason: str) -> Turn:
        """Nothing could be done at all: say so, and try again later and later."""
        self._troubles += 1
        pause = min(self._settings.retry_least * 2.0 ** min(self._troubles - 1, 30), self._settings.retry_most)
        if self._last is not None:
            self._publish(replace(self._last, refused=message, refused_reason=reason, acting=False, rebooting=False))
        return Turn(pause, None)

    def _pause(self, look: Look) -> float:
        """Seconds until the next turn."""
        settings, decision = self._settings, look.decision
        pause = settings.period
        if look.request is not None and (left := self._left_to_settle(look.request)) > 0:
            pause = min(pause, left)
        if decision is None:
            return pause
        if decision.verdict.action is Action.PERFORM:
            return 0.0
        if any(drift.hold is Hold.SUSPECTED for drift in decision.drifts):
            pause = min(pause, settings.suspicion)
        if decision.failure is not None and (left := decision.failure.again_at - self._clock.monotonic()) > 0:
            pause = min(pause, left)  # once that is over, it waits for something else: a drain
        return pause
