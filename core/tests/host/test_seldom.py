from collections.abc import Iterator

import pytest

from virtfn.errors import CommandFailed
from virtfn.host.api import CommandResult
from virtfn.host.machine import Machine
from virtfn.testing import FakeHost

QUERY = ("fwtool", "query", "0000:01:00.0")


@pytest.fixture
def runs() -> list[tuple[str, ...]]:
    return []


@pytest.fixture
def machine(runs: list[tuple[str, ...]]) -> Iterator[Machine]:
    def fwtool(argv: tuple[str, ...]) -> CommandResult:
        runs.append(argv)
        return CommandResult(argv, 0 if len(runs) > 1 or "query" in argv else 3, f"answer {len(runs)}", "")

    with FakeHost() as host:
        host.install("fwtool", fwtool)
        yield Machine(host.kernel)


def ask(machine: Machine, per: str = "boot 1") -> str:
    return machine.reader.run_seldom(QUERY, per=per, device="0000:01:00.0").stdout


def test_an_answer_is_good_until_what_it_depends_on_changes(machine: Machine) -> None:
    assert [ask(machine), ask(machine), ask(machine, "boot 2"), ask(machine, "boot 2")] == [
        *["answer 1"] * 2,
        *["answer 2"] * 2,
    ]


def test_what_a_step_runs_for_another_function_of_the_card_makes_it_forgotten(machine: Machine) -> None:
    ask(machine)
    machine.run(("fwtool", "set"), device="0000:02:00.0")
    assert ask(machine) == "answer 1"
    machine.run(("fwtool", "set"), device="0000:01:00.1")
    assert ask(machine) == "answer 4"


def test_who_only_reads_makes_nothing_forgotten(machine: Machine) -> None:
    ask(machine)
    machine.reader.run(("fwtool", "query"), device="0000:01:00.0")
    assert ask(machine) == "answer 1"


def test_an_answer_grows_old_and_a_failure_sooner(machine: Machine, runs: list[tuple[str, ...]]) -> None:
    def wait(seconds: float) -> None:
        machine._kernel.clock.sleep(seconds)

    words = ("fwtool", "status")
    assert machine.run_seldom(words, per="").code == 3
    wait(299)
    assert machine.run_seldom(words, per="").code == 3
    wait(2)
    assert machine.run_seldom(words, per="").code == 0
    wait(3599)
    assert machine.run_seldom(words, per="").stdout == "answer 2"
    assert len(runs) == 2
    wait(2)
    assert machine.run_seldom(words, per="").stdout == "answer 3"


def test_a_program_that_is_missing_is_told_each_time(machine: Machine) -> None:
    for _ in range(2):
        with pytest.raises(CommandFailed, match="nothing: not installed on this host"):
            machine.run_seldom(("nothing",), per="")
