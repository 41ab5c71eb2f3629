"""The tool as a program: what it says, and what it does when it does not."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtfn.errors import CommandFailed, HostError, LockdownActive, NotEffective
from virtfn.host.command import HostCommands
from virtfn.host.machine import Machine
from virtfn.model import Adapter, Disruption, OutcomeStatus, PciAddress, Platform, Step, StepOutcome
from virtfn.observing import read_inventory
from virtfn.testing import FakeHost
from virtfn_mellanox import facts, known_bad, perform

FIRST = PciAddress.parse("0000:3b:00.0")
SECOND = PciAddress.parse("0000:3b:00.1")
STEP = Step(
    "mellanox.set_nvconfig",
    str(FIRST),
    "16 VFs wanted",
    args={"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 16}},
    disruption=Disruption.REBOOT,
)

MachineWith = Callable[..., Machine]


def adapter_of(machine: Machine) -> Adapter:
    (adapter,) = read_inventory(machine.reader).adapters
    return adapter


def look(machine: Machine) -> dict[str, Any]:
    return dict(facts.facts_of(adapter_of(machine), machine.reader, Platform()))


def do(machine: Machine) -> StepOutcome:
    outcome = perform.perform_step(STEP, adapter_of(machine), machine)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        *((version, "q") for version in ("4.15.0", "4.22.0", "4.25.0", "4.26.0", "4.30.1")),
        *((version, "-j /dev/stderr q") for version in ("4.31.0", "4.34.1", "4.36.0", "5.0.0")),
    ],
)
def test_settings_are_read_as_json_where_the_tool_knows_it(
    machine_with: MachineWith, tool: Any, version: str, asked: str
) -> None:
    tool.be(version=version)
    tool.be(next=tool.state["next"] | {"NUM_OF_VFS": "16"})
    seen = look(machine_with())
    assert seen["tool"] == {"name": "mstconfig", "version": version}
    assert seen["settings"]["NUM_OF_VFS"] == {"default": 16, "current": 8, "next": 16}
    assert seen["settings"]["SRIOV_EN"]["current"] is False
    assert seen["settings"]["LINK_TYPE_P2"]["next"] == "ETH"
    assert tool.runs == [f"-e -d {FIRST} {asked}"]


def test_one_query_is_for_the_whole_card_and_good_for_many_looks(machine_with: MachineWith, tool: Any) -> None:
    machine = machine_with()
    assert look(machine) == look(machine) == look(machine)
    assert len(tool.runs) == 1


@pytest.mark.parametrize("version", ["4.33.0", "4.36.0"])
def test_json_that_cannot_be_read_leaves_the_table(machine_with: MachineWith, tool: Any, version: str) -> None:
    tool.be(version=version)
    machine = machine_with()
    program = tool.folder / "mstconfig"
    text = program.read_text(encoding="utf-8")
    program.write_text(text.replace("json.dump(whole, file)", "file.write('{ torn')"), encoding="utf-8")
    assert look(machine)["settings"]["NUM_OF_VFS"]["current"] == 8
    assert len(tool.runs) == 2


def test_another_function_is_asked_where_the_first_one_fails(machine_with: MachineWith, tool: Any) -> None:
    tool.be(odd=[{"device": str(FIRST), "out": "-E- Failed to identify the device\n"}])
    assert look(machine_with())["settings"]["NUM_OF_VFS"]["current"] == 8
    assert [run.split()[2] for run in tool.runs] == [str(FIRST), str(SECOND)]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"out": "-E- Failed to open the device\n"}, "Failed to open the device; exit code 3"),
        ({"out": "-E- Device in Livefish mode is not supported\n"}, "burn it anew"),
        ({"out": "-E- Error when trying to check if NV access registers are supported rc=(1)\n"}, "a power cycle"),
        ({"out": "-E- Timed out trying to take the ICMD semaphore\n"}, "another firmware tool is at work"),
        ({"out": "", "code": 0}, "it printed no table of settings; exit code 0"),
        ({"out": "Configurations: Default Current Next Boot\n-garbage-\n", "code": 0}, "no settings that can be read"),
        (
            {"out": "", "err": "write counter to semaphore: Permission denied\nmore", "code": 1},
            "Permission denied; exit code 1",
        ),
        ({"out": "\x00\xff\n", "code": 139}, "exit code 139"),
        ({"kill": signal.SIGSEGV}, "exit code -11"),
    ],
)
@pytest.mark.parametrize("version", ["4.21.0", "4.33.0"])
def test_what_the_tool_complains_of_is_told_and_not_an_error(
    machine_with: MachineWith, tool: Any, odd: dict[str, Any], said: str, version: str
) -> None:
    tool.be(odd=[odd], version=version)
    seen = look(machine_with())
    assert "settings" not in seen
    assert f"{FIRST}: mstconfig failed (" in seen["unknown"]["why"]
    assert said in seen["unknown"]["why"]
    assert seen["unknown"]["reason"] == "CommandFailed"
    assert seen["firmware"]["version"] == "16.28.2006"


def test_a_table_with_complaints_behind_it_is_good(machine_with: MachineWith, tool: Any) -> None:
    table = "Configurations: Default Current Next Boot\n NUM_OF_VFS 8 8 8\n SRIOV_EN True(1) True(1) True(1)\n"
    tool.be(odd=[{"out": f"{table}-E- Failed to query some of the TLVs:\n    NV_X\n"}])
    assert look(machine_with())["settings"]["NUM_OF_VFS"]["next"] == 8


def test_a_tool_that_does_not_end_is_stopped(
    machine_with: MachineWith, tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "SECONDS", 2.0)
    tool.be(odd=[{"sleep": 600}])
    machine = machine_with()
    seen = look(machine)
    assert seen["unknown"]["why"].endswith("did not end within 2 s and was stopped")
    assert f"mstconfig -e -d {FIRST} q" in seen["unknown"]["hint"]
    assert look(machine) == seen  # and is not waited for again at each look
    assert len(tool.runs) <= 1


def test_no_tool(machine_with: MachineWith, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("virtfn.host.command._SYSTEM_DIRECTORIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = look(machine_with())
    assert seen["unknown"]["why"] == "mstconfig: not installed on this host"
    assert "install the package mstflint" in seen["unknown"]["hint"]


def test_under_lockdown_the_tool_is_not_run(tool: Any) -> None:
    with FakeHost(lockdown="integrity") as host:
        host.add_card("connectx-5")
        machine = Machine(replace(host.kernel, commands=HostCommands()))
        assert look(machine)["unknown"]["reason"] == "LockdownActive"
        with pytest.raises(LockdownActive, match="kernel lockdown is integrity"):
            do(machine)
    assert tool.runs == []


# --- setting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["4.21.0", "4.33.0"])
def test_set_writes_what_is_not_set_and_reads_it_back(machine_with: MachineWith, tool: Any, version: str) -> None:
    tool.be(version=version)
    machine = machine_with()
    look(machine)
    outcome = do(machine)
    assert (outcome.status, outcome.detail) == (OutcomeStatus.DONE, "Please reboot machine to load new configurations.")
    assert (tool.next["SRIOV_EN"], tool.next["NUM_OF_VFS"]) == ("True(1)", "16")
    assert f"-d {FIRST} -y set SRIOV_EN=True NUM_OF_VFS=16" in tool.runs
    assert look(machine)["settings"]["NUM_OF_VFS"] == {"default": 16, "current": 8, "next": 16}
    assert do(machine).detail == outcome.detail  # set anew, as that is what prepares the firmware for the reboot
    tool.be(prepares=False)
    with pytest.raises(NotEffective, match=rf"not rebooted, as mstflint {version} and .* do not go together"):
        do(machine)
    assert sum(" set " in run for run in tool.runs) == 3


def test_a_tool_that_says_done_and_did_nothing_is_found_out(machine_with: MachineWith, tool: Any) -> None:
    tool.be(lies=True)
    with pytest.raises(NotEffective, match=r"0000:3b:00.0: cannot set SRIOV_EN to True \(mstconfig says that it did"):
        do(machine_with())


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            {"out": " Apply? y\nApplying... Failed!\n-E- The configuration is rejected\n"},
            "The configuration is rejected",
        ),
        ({"out": "-E- Parameter NUM_OF_VFS' value is larger than maximum allowed 64\n"}, "ask for fewer VFs"),
        ({"out": "Applying... Done!\n-E- but no\n", "code": 0}, "but no"),
        ({"out": "-E- Aborted by user.\n", "code": 2}, "Aborted by user.; exit code 2"),
        ({"out": "", "code": 1}, "it said nothing; exit code 1"),
    ],
)
def test_a_refusal_is_an_error_with_its_words(
    machine_with: MachineWith, tool: Any, odd: dict[str, Any], said: str
) -> None:
    tool.be(odd=[odd | {"when": "set"}])
    with pytest.raises(CommandFailed) as caught:
        do(machine_with())
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{FIRST}: mstconfig failed (")


def test_a_setting_that_the_card_has_not(machine_with: MachineWith, tool: Any) -> None:
    del tool.state["next"]["NUM_OF_VFS"]
    tool.save()
    with pytest.raises(HostError, match="the card's firmware has no setting NUM_OF_VFS"):
        do(machine_with())
    assert tool.next["SRIOV_EN"] == "False(0)"


@pytest.mark.parametrize(
    ("tool", "said", "named"),
    [
        ((4, 21, 0), "Please reboot machine to load new configurations.", None),
        ((4, 34, 1), "Please reboot machine to load new configurations.", None),
        ((4, 34, 1), "", None),
        ((4, 34, 1), "Please power cycle machine to load new configurations.", "mstflint 4.34.1"),
        ((4, 21, 0), "Please power cycle machine to load new configurations.", "mstflint 4.21.0"),
        ((4, 34, 0), "Skipped reset preparation", "mstflint 4.34.0"),
        (None, "Please power cycle machine to load new configurations.", "this mstflint"),
    ],
)
def test_what_the_tool_says_has_to_follow(tool: Any, said: str, named: str | None) -> None:
    bad = known_bad.refusal(tool, (22, 31, 1014), said)
    assert (bad is None) is (named is None)
    if bad is not None:
        why, instead = bad
        assert why.startswith(f"{named} and firmware 22.31.1014 do not go together")
        newer = tool is not None and tool >= (4, 32)
        assert ("#1082" in why, "before 4.32" in instead) == (newer, newer)


def test_what_is_set_already_is_left_alone_where_no_reboot_follows(machine_with: MachineWith, tool: Any) -> None:
    tool.be(next=tool.state["next"] | {"SRIOV_EN": "True(1)", "NUM_OF_VFS": "32"})
    machine = machine_with()
    step = replace(STEP, disruption=Disruption.NONE)
    outcome = perform.perform_step(step, adapter_of(machine), machine)
    assert outcome is not None
    assert outcome.detail == "was set already", "more VFs than are wanted here may be wanted by another port"
    assert not any(" set " in run for run in tool.runs)


def test_an_older_tool_in_the_place_of_the_newer_one(machine_with: MachineWith, tool: Any) -> None:
    tool.be(version="4.33.0")
    machine = machine_with()
    look(machine)
    tool.be(version="4.21.0")
    machine.run(
        ["true"], timeout=10.0, device=str(FIRST)
    )  # what the tool said of the card is forgotten, not its version
    assert look(machine)["settings"]["NUM_OF_VFS"]["current"] == 8
    assert [run.split()[3:] for run in tool.runs] == [["-j", "/dev/stderr", "q"], ["-j", "/dev/stderr", "q"], ["q"]]
