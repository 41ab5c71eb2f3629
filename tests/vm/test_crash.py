"""An apply that is killed, wherever: the next one goes on from there, and release still knows how it was before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bed.sight import IGB, PCI, look, look_at_all, read

FIRST, SECOND = IGB[:2]
STEPS = 22
"""Of the two groups' plan: link, count, and MAC and driver for each of 7 VFs; the same for 2."""
PATIENCE = 120.0
Virtfn = Callable[..., Any]
Forked = Callable[..., Any]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_well(virtfn: Virtfn, wanted: str, *, before: dict[str, Any]) -> None:
    """Apply again, look, and give everything back."""
    ended = virtfn("apply", wanted)
    assert (ended.code, ended.err) == (0, "")
    first = look(FIRST)
    assert (first.drivers(), look(SECOND).drivers()) == (["igbvf"] * 4 + ["vfio-pci"] * 3, ["igbvf"] * 2)
    assert first.autoprobe
    assert {vf.override for vf in first.vfs} == {"(null)"}
    assert virtfn("plan --exit-code", wanted).code == 0
    assert virtfn("reset").code == 0
    assert look_at_all() == before


def kill_after(step: int) -> Callable[[], None]:
    """What makes an apply kill itself after its `step`th step."""
    from virtfn.cli.plan_view import Progress

    def prepare() -> None:
        end = Progress.end

        def end_and_die(self: Progress, number: int, outcome: Any) -> None:
            end(self, number, outcome)
            if number == step:
                die()

        Progress.end = end_and_die  # type: ignore[method-assign]

    return prepare


@pytest.mark.vm_timeout(300)
def test_killed_after_each_step_in_turn(virtfn: Virtfn, forked: Forked, two_groups: str) -> None:
    """Each apply does one step and is killed: the next one has just that step less to do, and the last one none."""
    before = look_at_all()
    for left in range(STEPS, 0, -1):
        killed = forked("apply", two_groups, prepare=kill_after(1))
        assert killed.status == -signal.SIGKILL, killed.said
        (line,) = killed.said.splitlines()
        assert line.strip().startswith(f"[{1:>{len(str(left))}}/{left}]"), line
    end_well(virtfn, two_groups, before=before)


@pytest.mark.parametrize("step", [2, 12, 17, STEPS])
def test_killed_after_a_step(virtfn: Virtfn, forked: Forked, two_groups: str, step: int) -> None:
    before = look_at_all()
    killed = forked("apply", two_groups, prepare=kill_after(step))
    assert killed.status == -signal.SIGKILL, killed.said
    assert f"[{step:>2}/{STEPS}]" in killed.said
    end_well(virtfn, two_groups, before=before)


def test_killed_and_given_back_at_once(virtfn: Virtfn, forked: Forked, two_groups: str) -> None:
    before = look_at_all()
    assert forked("apply", two_groups, prepare=kill_after(12)).status == -signal.SIGKILL
    assert virtfn("reset").code == 0
    assert look_at_all() == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_the_write_of_the_number(virtfn: Virtfn, forked: Forked, two_groups: str, moment: str) -> None:
    """While `sriov_drivers_autoprobe` is off for the VFs to come."""
    from virtfn.host.files import HostFiles

    def prepare() -> None:
        write_slow = HostFiles.write_slow

        def write_and_die(self: HostFiles, path: str, text: str, *, timeout: float) -> None:
            if moment == "before" and path.endswith("sriov_numvfs"):
                die()
            write_slow(self, path, text, timeout=timeout)
            if path.endswith("sriov_numvfs"):
                die()

        HostFiles.write_slow = write_and_die  # type: ignore[method-assign]

    before = look_at_all()
    killed = forked("apply", two_groups, prepare=prepare)
    assert killed.status == -signal.SIGKILL, killed.said
    pf = look(FIRST)
    assert (pf.autoprobe, pf.num_vfs) == (False, 0 if moment == "before" else 7)
    end_well(virtfn, two_groups, before=before)


def test_killed_between_bind_and_clearing_of_the_override(virtfn: Virtfn, forked: Forked, two_groups: str) -> None:
    from virtfn.host.files import HostFiles

    def prepare() -> None:
        write = HostFiles.write

        def write_or_die(self: HostFiles, path: str, text: str) -> None:
            if path.endswith("driver_override") and text == "\n":
                die()
            write(self, path, text)

        HostFiles.write = write_or_die  # type: ignore[method-assign]

    before = look_at_all()
    killed = forked("apply", two_groups, prepare=prepare)
    assert killed.status == -signal.SIGKILL, killed.said
    assert [vf.override for vf in look(FIRST).vfs].count("vfio-pci") == 1
    end_well(virtfn, two_groups, before=before)


def test_a_program_killed_from_outside(virtfn: Virtfn, two_groups: str, tmp_path: Path) -> None:
    before = look_at_all()
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text(two_groups)
    program = Path(sys.executable).with_name("virtfn")
    process = subprocess.Popen(
        [program, "--state-dir", tmp_path / "journal", "apply", "-f", wanted],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE
    while read(PCI / FIRST / "sriov_drivers_autoprobe") == "1" and not (PCI / FIRST / "virtfn0").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    end_well(virtfn, two_groups, before=before)
