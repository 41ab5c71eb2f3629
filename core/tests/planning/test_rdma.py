"""The node's RDMA mode, planned from what was observed; and performed on a simulated node."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from virtfn.errors import DeviceBusy, NotEffective, NotPermitted
from virtfn.host.machine import Machine
from virtfn.model import DesiredState, Disruption, Inventory, Plan, Platform, Severity, Step, steps
from virtfn.model.owned_files import FOREIGN, digest_of
from virtfn.model.rdma import OPTION_FILE, RdmaFacts, option_text
from virtfn.performing import shell_script
from virtfn.performing.operations import check_args, perform_standard
from virtfn.planning import make_plan
from virtfn.testing import FakeHost

WANTED = DesiredState(rdma_mode="exclusive")
PODS = RdmaFacts(mode="shared", namespaces=True)
FREE = RdmaFacts(mode="shared", namespaces=False)
EXCLUSIVE = RdmaFacts(mode="exclusive", namespaces=True)

MODE = ("mode", "exclusive", Disruption.NONE)
OPTION = ("option", "exclusive", Disruption.NONE)
BOOT = ("option", "exclusive", Disruption.REBOOT)
GONE = ("option", None, Disruption.NONE)


def plan(facts: RdmaFacts, desired: DesiredState = WANTED, *, option: str | None = None) -> Plan:
    """The plan, with an option file that sets a mode, is somebody else's, or says something else."""

    def nobody(_adapter: object) -> object:
        raise AssertionError("there is no adapter")

    digests = {mode: digest_of(option_text(mode)) for mode in ("shared", "exclusive")}
    files = {} if option is None else {OPTION_FILE: digests.get(option, option)}
    inventory = Inventory(platform=Platform(rdma=facts, owned_files=files))
    return make_plan(inventory, desired, nobody)  # type: ignore[arg-type]


def told(planned: Plan) -> list[tuple[str, str | None, Disruption]]:
    assert all(step.target == steps.NODE for step in planned.steps)
    modes = {option_text(mode): mode for mode in ("shared", "exclusive")}
    return [
        ("mode", step.args["mode"], step.disruption)
        if step.op == steps.SET_RDMA_MODE
        else ("option", modes.get(step.args.get("text")), step.disruption)
        for step in planned.steps
    ]


def test_with_pods_it_takes_a_reboot() -> None:
    planned = plan(PODS)
    assert told(planned) == [BOOT]
    assert "exclusive wanted, shared seen" in planned.steps[0].why
    assert planned.problems == ()


def test_it_takes_one_as_long_as_the_mode_is_another_whatever_the_option_says() -> None:
    again = plan(PODS, option="exclusive")
    assert told(again) == [BOOT]
    assert "initramfs" in again.steps[0].why, "what a reboot in vain is likely to be due to"


def test_what_is_not_known_to_work_is_not_tried() -> None:
    assert told(plan(replace(PODS, namespaces=None))) == [BOOT]


def test_without_pods_it_changes_at_once_and_stays_after_a_boot() -> None:
    assert told(plan(FREE)) == [MODE, OPTION]
    assert told(plan(FREE, option="exclusive")) == [MODE]


@pytest.mark.parametrize("option", [None, "0123456789abcdef", "shared"])
def test_a_mode_that_is_there_is_only_kept(option: str | None) -> None:
    assert told(plan(EXCLUSIVE, option=option)) == [OPTION]


def test_in_sync() -> None:
    assert plan(EXCLUSIVE, option="exclusive") == Plan()


def test_without_rdma_it_is_set_for_when_there_is_some_and_told() -> None:
    planned = plan(RdmaFacts())
    assert told(planned) == [OPTION]
    assert planned.errors == ()
    assert "no RDMA" in planned.problems[0].message
    assert plan(RdmaFacts(), option="exclusive").steps == ()


def test_a_kernel_with_rdma_built_in_takes_an_argument() -> None:
    planned = plan(replace(PODS, built_in=True))
    assert planned.steps == ()
    assert "ib_core.netns_mode=0" in planned.errors[0].hint
    assert plan(replace(EXCLUSIVE, built_in=True, argument="exclusive")) == Plan()
    assert plan(replace(PODS, built_in=True), DesiredState(rdma_mode="shared")) == Plan()


def test_a_kernel_that_knows_no_modes(host: FakeHost) -> None:
    host.model.tree.remove("sys/module/ib_core/parameters")
    planned = plan_on(Machine(host.kernel))
    assert (planned.steps, [problem.hint for problem in planned.errors]) == (
        (),
        ["leave rdmaMode out, or take a newer kernel"],
    )
    assert plan_on(Machine(host.kernel), DesiredState(rdma_mode="shared")) == Plan()
    assert Machine(host.kernel).platform().rdma_mode == "shared"


def test_it_is_switched_at_once_where_it_can_be_though_it_will_not_last() -> None:
    for facts, option, word in (
        (replace(FREE, built_in=True), None, "built in"),
        (replace(FREE, argument="shared"), None, "stands over"),
        (FREE, FOREIGN, "somebody else's"),
        (replace(FREE, options=False), None, "cannot be written"),
    ):
        planned = plan(facts, option=option)
        assert told(planned) == [MODE]
        (problem,) = planned.problems
        assert (problem.severity, word in problem.message) == (Severity.WARNING, True)
        (problem,) = plan(replace(facts, mode="exclusive"), option=option).problems
        assert problem.severity is Severity.WARNING, "and it is told as long as it is so"


@pytest.mark.parametrize(
    ("facts", "option", "hint"),
    [
        (replace(PODS, argument="shared"), None, "ib_core.netns_mode=0"),
        (replace(PODS, argument="shared"), "exclusive", "ib_core.netns_mode=0"),
        (replace(PODS, argument="shared", built_in=True), None, "ib_core.netns_mode=0"),
        (PODS, FOREIGN, "move it away"),
        (replace(PODS, options=False), None, "ib_core.netns_mode=0"),
    ],
)
def test_a_reboot_that_would_be_in_vain_is_not_made(facts: RdmaFacts, option: str | None, hint: str) -> None:
    planned = plan(facts, option=option)
    assert planned.steps == ()
    (problem,) = planned.errors
    assert problem.message.startswith("RDMA mode exclusive wanted, shared seen: ")
    assert hint in problem.hint


def test_when_no_mode_is_wanted_any_more_the_option_goes() -> None:
    assert told(plan(EXCLUSIVE, DesiredState(whole=True), option="exclusive")) == [GONE]
    assert plan(EXCLUSIVE, DesiredState(), option="exclusive") == Plan(), "this is about some PFs"
    assert plan(PODS, DesiredState(whole=True)) == Plan()
    assert plan(PODS, DesiredState(whole=True), option=FOREIGN) == Plan(), "and that of somebody else stays"


# --- on a node --------------------------------------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        made.add_card("connectx-5")
        yield made


def plan_on(machine: Machine, desired: DesiredState = WANTED) -> Plan:
    def nobody(_adapter: object) -> object:
        raise AssertionError("nothing is wanted of an adapter")

    return make_plan(Inventory(platform=machine.platform()), desired, nobody)  # type: ignore[arg-type]


def perform(host: FakeHost, desired: DesiredState) -> tuple[Step, ...]:
    machine = Machine(host.kernel)
    planned = plan_on(machine, desired)
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
    first, second = plan_on(machine).steps
    host.add_namespace()
    with pytest.raises(DeviceBusy):
        perform_standard(first, machine)
    perform_standard(second, machine)
    assert told(plan_on(machine)) == [BOOT]


def test_a_file_that_cannot_be_written_or_is_not_as_written(host: FakeHost) -> None:
    def try_it() -> None:
        perform(host, WANTED)

    host.fail("replace *", error=errno.EROFS, times=1)
    with pytest.raises(NotPermitted, match=f"{OPTION_FILE}: cannot be written"):
        try_it()
    host.fail("replace *", lie=True, times=1)
    with pytest.raises(NotEffective):
        try_it()
    try_it()
    host.fail("remove *", lie=True, times=1)
    with pytest.raises(NotEffective, match="cannot be removed"):
        perform(host, DesiredState(whole=True))


def test_a_file_of_that_name_that_is_somebody_elses_stays_as_it_is(host: FakeHost) -> None:
    theirs = "options ib_core netns_mode=1\n"
    host.model.tree.plain(OPTION_FILE.lstrip("/"), theirs)
    host.add_namespace()
    assert perform(host, WANTED) == ()
    (step,) = plan(PODS).steps
    with pytest.raises(NotPermitted, match="is not virtfn's"):
        perform_standard(step, Machine(host.kernel))
    assert perform(host, DesiredState(whole=True)) == ()
    assert (host.root / OPTION_FILE.lstrip("/")).read_text() == theirs


def test_the_words_for_people_and_for_a_shell(tmp_path: Path) -> None:
    planned = plan(FREE).steps
    (gone,) = plan(EXCLUSIVE, DesiredState(whole=True), option="exclusive").steps
    assert [steps.describe(step) for step in (*planned, gone)] == [
        "RDMA mode exclusive",
        f"write {OPTION_FILE}",
        f"remove {OPTION_FILE}",
    ]
    script = shell_script(Plan((*planned, gone)), Inventory())
    assert "rdma system set netns exclusive" in script
    file = tmp_path / "option.conf"
    lines = script[script.index("mkdir -p") : script.index(f"rm -f {OPTION_FILE}")].split("\n\n")[0]
    subprocess.run(["sh", "-c", lines.replace(OPTION_FILE, str(file))], check=True)
    assert file.read_text() == option_text("exclusive")
