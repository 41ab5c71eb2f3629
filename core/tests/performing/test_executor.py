from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtfn.errors import CommandFailed, JournalError
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import (
    Adapter,
    DesiredPf,
    DesiredState,
    Inventory,
    Outcome,
    OutcomeStatus,
    PciAddress,
    Plan,
    Step,
    StepOutcome,
    steps,
)
from virtfn.observing import read_inventory
from virtfn.performing import Executor
from virtfn.testing import FakeHost

PF = PciAddress.parse("0000:01:00.0")
OTHER = PciAddress.parse("0000:21:00.0")


class VendorHooks:
    """Performs `vendor.*` steps by running a program."""

    def perform(self, step: Step, *, adapter: Adapter, host: Machine) -> StepOutcome:
        if step.args.get("fail"):
            raise CommandFailed(f"{step.target}: vendortool failed", device=step.target)
        return StepOutcome(step, OutcomeStatus.DONE, detail=f"{adapter.address} done")


class Told:
    """Remembers what it was told, and how the journal was at the time."""

    def __init__(self, journal: Journal) -> None:
        self.lines: list[str] = []
        self._journal = journal

    def begin(self, number: int, step: Step) -> None:
        known = sorted(str(address) for address in self._journal.load({})[0])
        self.lines.append(f"begin {number} {step.op} {','.join(known)}")

    def end(self, number: int, outcome: StepOutcome) -> None:
        self.lines.append(f"end {number} {outcome.status}")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        host.add_card("82576", address="0000:21:00", names=("eth1",), ports=1)
        yield host


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


Run = Callable[..., Outcome]


@pytest.fixture
def inventory(host: FakeHost) -> Inventory:
    read = read_inventory(Machine(host.kernel))
    return Inventory(
        adapters=tuple(Adapter(adapter.address, adapter.pfs, owner="vendor") for adapter in read.adapters),
        platform=read.platform,
    )


@pytest.fixture
def told(journal: Journal) -> Told:
    return Told(journal)


@pytest.fixture
def run(host: FakeHost, journal: Journal, inventory: Inventory, told: Told) -> Run:
    def runner(*planned: Step, want: tuple[DesiredPf, ...] = (DesiredPf(PF, 2),)) -> Outcome:
        executor = Executor(
            Machine(host.kernel),
            journal=journal,
            hooks=lambda _adapter: VendorHooks(),
            now=host.kernel.clock.monotonic,
            listener=told,
        )
        records, _ = journal.load({})
        return executor.run(Plan(planned), inventory=inventory, desired=DesiredState(want), records=records)

    return runner


def num_vfs(count: int, target: PciAddress = PF) -> Step:
    return Step(op=steps.SET_NUM_VFS, target=str(target), args={"count": count, "probe": False}, why="")


def test_baseline_is_on_disk_before_the_first_step_and_the_result_after_the_last(
    run: Run, told: Told, journal: Journal
) -> None:
    run(num_vfs(2))
    assert told.lines == [f"begin 1 sriov.set_numvfs {PF}", "end 1 done"]
    record = journal.load({})[0][PF]
    assert (record.baseline.num_vfs, record.applied) == (0, DesiredPf(PF, 2))


def test_a_failure_ends_what_is_done_to_its_card_and_the_others_go_on(run: Run, journal: Journal) -> None:
    set_mtu = Step(op=steps.SET_LINK, target=str(PF), args={"mtu": 1600}, why="")
    outcome = run(
        num_vfs(2),
        Step(op=steps.BIND_DRIVER, target=str(PF), args={"vf": 5, "driver": None}, why="there is no VF 5"),
        set_mtu,
        num_vfs(2, OTHER),
        want=(DesiredPf(PF, 2), DesiredPf(OTHER, 2)),
    )
    assert [step.status for step in outcome.steps] == [OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.DONE]
    assert outcome.failed is not None
    assert (outcome.failed.reason, "VF 5" in outcome.failed.detail) == ("DeviceGone", True)
    assert outcome.not_begun == (set_mtu,)
    records = journal.load({})[0]
    assert (records[PF].applied, records[OTHER].applied) == (None, DesiredPf(OTHER, 2))


def test_a_failure_of_the_node_ends_all(run: Run, journal: Journal) -> None:
    outcome = run(steps.load_module("there_is_none", why=""), num_vfs(2))
    assert [step.status for step in outcome.steps] == [OutcomeStatus.FAILED]
    assert outcome.not_begun == (num_vfs(2),)
    assert journal.load({})[0] == {}, "a PF that was not begun is not recorded"


def test_pf_in_sync_is_recorded_too(run: Run, journal: Journal) -> None:
    run(want=(DesiredPf(PF, 0),))
    assert journal.load({})[0][PF].applied == DesiredPf(PF, 0)


def test_released_pf_is_forgotten_only_when_all_is_done(run: Run, journal: Journal) -> None:
    run(num_vfs(2))
    release = journal.load({})[0][PF].baseline
    bad = Step(op="vendor.set", target=str(PF), args={"fail": True}, why="")
    run(num_vfs(0), bad, want=(release,))
    assert PF in journal.load({})[0]
    run(num_vfs(0), want=(release,))
    assert journal.load({})[0] == {}


def test_step_of_a_plugin_goes_to_its_plugin(run: Run) -> None:
    outcome = run(Step(op="vendor.set", target=str(PF), args={}, why=""))
    assert (outcome.steps[0].status, outcome.steps[0].detail) == (OutcomeStatus.DONE, f"{PF.slot} done")


def test_step_of_an_adapter_records_all_its_wanted_pfs(run: Run, journal: Journal) -> None:
    run(Step(op="vendor.set", target=PF.slot, args={}, why=""), num_vfs(2))
    assert journal.load({})[0][PF].applied == DesiredPf(PF, 2)


def test_adapter_that_nobody_serves_or_that_is_away(run: Run, inventory: Inventory) -> None:
    assert inventory.pf(PF)
    away = run(Step(op="vendor.set", target="0000:99:00.0", args={}, why=""))
    assert away.failed is not None
    assert away.failed.reason == "DeviceGone"


def test_step_without_its_argument_is_the_planners_fault(run: Run) -> None:
    outcome = run(Step(op=steps.SET_NUM_VFS, target=str(PF), args={}, why=""))
    assert outcome.failed is not None
    assert outcome.failed.reason == "ContractViolation"
    assert "count" in outcome.failed.detail


def test_nothing_is_done_to_a_pf_that_cannot_be_recorded(run: Run, journal: Journal, host: FakeHost) -> None:
    journal.folder.parent.mkdir(exist_ok=True)
    journal.folder.write_text("in the way")
    with pytest.raises(JournalError):
        run(num_vfs(2))
    assert host.writes == []


def test_optional_step_is_skipped_where_the_driver_cannot(run: Run) -> None:
    run(num_vfs(1))
    setting = {"vf": 0, "link_state": "enable"}  # igb has no VF link state
    needed = run(Step(op=steps.SET_VF, target=str(PF), args=setting, why=""))
    assert needed.failed is not None
    optional = run(Step(op=steps.SET_VF, target=str(PF), args=setting, why="", optional=True))
    assert [step.status for step in optional.steps] == [OutcomeStatus.SKIPPED]
    assert "does not support it" in optional.steps[0].detail


def test_default_driver_that_is_missing(run: Run, host: FakeHost) -> None:
    run(num_vfs(1))
    host.fail("*/drivers_probe", lie=True)
    bind = {"vf": 0, "driver": None}
    needed = run(Step(op=steps.BIND_DRIVER, target=str(PF), args=bind, why=""))
    assert needed.failed is not None
    assert "no driver on this host takes it" in needed.failed.detail
    optional = run(Step(op=steps.BIND_DRIVER, target=str(PF), args=bind, why="", optional=True))
    assert [step.status for step in optional.steps] == [OutcomeStatus.SKIPPED]
