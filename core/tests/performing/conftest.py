"""Steps as a shell script, run by a real shell on the simulated tree, with a program that writes down its calls."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.model import Plan, Step
from virtfn.observing import read_inventory
from virtfn.performing import shell_script
from virtfn.testing import FakeHost

RunScript = Callable[..., list[str]]


@pytest.fixture(params=["dash", "busybox sh", "sh"])
def shell(request: pytest.FixtureRequest) -> Sequence[str]:
    """A shell that hosts have as sh."""
    return str(request.param).split()


@pytest.fixture
def run_script(tmp_path: Path) -> RunScript:
    """`run_script(host, step, program="vdpa", refuses="max_vqp", errors="...")`: the calls of the program.

    A call with `refuses` in it fails; `errors` is what the script says, and with it whether it ends well.
    """

    def run(
        host: FakeHost,
        *planned: Step,
        program: str,
        refuses: str = "",
        code: int = 0,
        errors: str = "",
        shell: Sequence[str] = ("sh",),
    ) -> list[str]:
        log, path = tmp_path / "log", tmp_path / program
        log.unlink(missing_ok=True)
        pattern = f"*{refuses}*" if refuses else "never"
        path.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in {pattern}) exit 1 ;; esac\n')
        path.chmod(0o755)
        text = shell_script(Plan(planned), read_inventory(Machine(host.kernel)))
        text = text.replace("/sys/", f"{host.root}/sys/").replace("/run/systemd/", f"{host.root}/run/systemd/")
        text = f'{program}() {{ {path} "$@"; }}\n{text}'  # busybox has programs of its own
        done = subprocess.run([*shell, "-c", text], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr.strip()) == (code, errors)
        return log.read_text().splitlines() if log.exists() else []

    return run
