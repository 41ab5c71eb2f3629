"""The node's RDMA mode, planned from what was observed; and performed on a simulated node."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from virtfn.errors import DeviceBusy, NotEffective, NotPermitted
from virtfn.host.machine import Machine
from virtfn.model import DesiredState, Disruption, Inventory, Plan, Platform, Step, steps
from virtfn.model.rdma import OPTION_FILE, RdmaFacts, option_text
from virtfn.model.rdma_steps import RDMA_OPS
from virtfn.performing import shell_script
from virtfn.performing.operations import check_args, perform_standard
from virtfn.planning import make_plan
from virtfn.testing import FakeHost

WANTED = DesiredState(rdma_mode="exclusive")
PODS = RdmaFacts(mode="shared", namespaces=True)


def plan(facts: RdmaFacts, desired: DesiredState = WANTED) -> Plan:
    def nobody(_adapter: object) -> object:
        raise AssertionError("there is no adapter")

    return make_plan(Inventory(platform=Platform(rdma=facts)), desired, nobody)  # type: ignore[arg-type]


def told(planned: Plan) -> list[tuple[str, str | None, Disruption]]:
    assert all(step.target == steps.NODE for step in planned.steps)
    return [(step.op.rpartition("_")[2], step.args["mode"], step.disruption) for step in planned.steps]


def test_with_pods_it_takes_a_reboot() -> None:
    planned = plan(PODS)
    assert told(planned) == [("option", "exclusive", Disruption.REBOOT)]
    assert "exclusive wanted, shared seen" in planned.steps[0].why
    assert planned.problems == ()


def test_it_takes_one_as_long_as_the_mode_is_another_whatever_the_option_says() -> None:
    assert plan(replace(PODS, option="exclusive")).steps == plan(PODS).steps


def test_what_is_not_known_to_work_is_not_tried() -> None:
    assert told(plan(replace(PODS, namespaces=None))) == [("option", "exclusive", Disruption.REBOOT)]


def test_without_pods_it_changes_at_once_and_stays_after_a_boot() -> None:
    free = RdmaFacts(mode="shared", namespaces=False)
    assert told(plan(free)) == [("mode", "exclusive", Disruption.NONE), ("option", "exclusive", Disruption.NONE)]
    assert told(plan(replace(free, option="exclusive"))) == [("mode", "exclusive", Disruption.NONE)]


@pytest.mark.parametrize("option", [None, "", "shared"])
def test_a_mode_that_is_there_is_only_kept(option: str | None) -> None:
    assert told(plan(RdmaFacts("exclusive", option, namespaces=True))) == [("option", "exclusive", Disruption.NONE)]


def test_in_sync() -> None:
    assert plan(RdmaFacts("exclusive", "exclusive", namespaces=True)) == Plan()


def test_without_rdma_it_is_set_for_when_there_is_some_and_told() -> None:
    planned = plan(RdmaFacts())
    assert told(planned) == [("option", "exclusive", Disruption.NONE)]
    assert planned.errors == ()
    assert "no RDMA" in planned.problems[0].message
    assert plan(RdmaFacts(option="exclusive")).steps == ()


def test_a_kernel_with_rdma_built_in_takes_an_argument() -> None:
    planned = plan(replace(PODS, built_in=True))
    assert planned.steps == ()
    assert "ib_core.netns_mode=0" in planned.errors[0].hint
    assert plan(RdmaFacts("exclusive", built_in=True)) == Plan()


def test_when_no_mode_is_wanted_any_more_the_option_goes() -> None:
    ours = RdmaFacts("exclusive", "exclusive", namespaces=True)
    assert told(plan(ours, DesiredState(whole=True))) == [("option", None, Disruption.NONE)]
    assert plan(ours, DesiredState()) == Plan(), "this is about some PFs"
    assert plan(PODS, DesiredState(whole=True)) == Plan()


# --- on a node --------------------------------------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        made.add_card("connectx-5")
        yield made


def perform(host: FakeHost, desired: DesiredState) -> tuple[Step, ...]:
    machine = Machine(host.kernel)
    planned = plan(machine.platform().rdma, desired)
    for step in planned.steps:
        check_args(step)
        perform_standard(step, machine)
    return planned.steps


def test_a_reboot_brings_it_and_the_next_one_without_a_wish_takes_it(host: FakeHost) -> None:
    host.add_namespace()
    assert len(perform(host, WANTED)) == 1
    host.reboot()
    assert Machine(host.kernel).platform().rdma_mode == "exclusive"
    host.add_namespace()
    assert perform(host, WANTED) == ()
    assert len(perform(host, DesiredState(whole=True))) == 1
    assert not (host.root / OPTION_FILE.lstrip("/")).exists()
    assert perform(host, DesiredState(whole=True)) == ()
    assert Machine(host.kernel).platform().rdma_mode == "exclusive"
    host.reboot()
    assert Machine(host.kernel).platform().rdma_mode == "shared"


def test_a_pod_that_comes_between_plan_and_deed(host: FakeHost) -> None:
    machine = Machine(host.kernel)
    first, second = plan(machine.platform().rdma).steps
    host.add_namespace()
    with pytest.raises(DeviceBusy):
        perform_standard(first, machine)
    perform_standard(second, machine)
    assert told(plan(machine.platform().rdma)) == [("option", "exclusive", Disruption.REBOOT)]


def test_a_file_that_cannot_be_written_or_is_not_as_written(host: FakeHost) -> None:
    import errno

    machine = Machine(host.kernel)
    host.fail("replace *", error=errno.EROFS, times=1)
    with pytest.raises(NotPermitted, match="cannot write /etc/modprobe"):
        machine.set_rdma_option("exclusive")
    host.fail("replace *", lie=True, times=1)
    with pytest.raises(NotEffective):
        machine.set_rdma_option("exclusive")
    machine.set_rdma_option("exclusive")
    host.fail("remove *", lie=True, times=1)
    with pytest.raises(NotEffective, match="cannot remove"):
        machine.set_rdma_option(None)


def test_the_words_for_people_and_for_a_shell(tmp_path: Path) -> None:
    planned = (*plan(RdmaFacts("shared", namespaces=False)).steps,)
    assert [steps.describe(step) for step in planned] == [
        "RDMA mode exclusive",
        "RDMA mode exclusive from the next boot on",
    ]
    (gone,) = plan(RdmaFacts("shared", "shared"), DesiredState(whole=True)).steps
    assert steps.describe(gone) == f"remove {OPTION_FILE}"
    assert {step.op for step in (*planned, gone)} == RDMA_OPS <= steps.STANDARD_OPS
    script = shell_script(Plan((*planned, gone)), Inventory())
    assert "rdma system set netns exclusive" in script
    file = tmp_path / "option.conf"
    lines = script[script.index("printf") : script.index(f"rm -f {OPTION_FILE}")].split("\n\n")[0]
    subprocess.run(["sh", "-c", lines.replace(OPTION_FILE, str(file))], check=True)
    assert file.read_text() == option_text("exclusive")
