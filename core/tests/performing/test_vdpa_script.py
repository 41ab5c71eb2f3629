"""The steps for vDPA as a shell script, run by a real shell on the simulated tree with a `vdpa` that writes down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress, Pf, Plan, Step, steps
from virtfn.observing import read_inventory
from virtfn.performing import shell_script
from virtfn.testing import FakeHost

PF = PciAddress.parse("0000:3b:00.0")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """Three VFs: with virtfn's device, with somebody else's, and without."""
    with FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", up=True)
        machine = Machine(host.kernel)
        machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
        machine.set_num_vfs(PF, 3)
        for module in ("mlx5_vdpa", "virtio_vdpa", "vhost_vdpa"):
            machine.load_module(module)
        machine.add_vdpa(machine.vf_address(PF, 0))
        machine.add_vdpa(machine.vf_address(PF, 1), name="theirs")
        yield host


@pytest.fixture
def pf(host: FakeHost) -> Pf:
    return Machine(host.kernel).pf(PF)


def run(host: FakeHost, tmp_path: Path, step: Step, *, refuses: str = "") -> list[str]:
    """What the script says to `vdpa`; a call with `refuses` in it fails."""
    log, program = tmp_path / "log", tmp_path / "vdpa"
    pattern = f"*{refuses}*" if refuses else "never"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in {pattern}) exit 1 ;; esac\n')
    program.chmod(0o755)
    text = shell_script(Plan((step,)), read_inventory(Machine(host.kernel))).replace("/sys/", f"{host.root}/sys/")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return log.read_text().splitlines() if log.exists() else []


def written(host: FakeHost, path: str) -> str:
    return (host.root / "sys/bus/vdpa" / path).read_text()


def test_add(host: FakeHost, pf: Pf, tmp_path: Path) -> None:
    plain = "dev add name vdpa:0000:3b:00.4 mgmtdev pci/0000:3b:00.4"
    step = steps.add_vdpa(pf, 2, why="wanted")
    assert run(host, tmp_path, step) == [f"{plain} max_vqp 32"]
    (tmp_path / "log").unlink()
    assert run(host, tmp_path, step, refuses="max_vqp") == [f"{plain} max_vqp 32", plain]
    (tmp_path / "log").unlink()
    named = steps.add_vdpa(pf, 2, name="an odd 'name'", why="wanted")
    assert run(host, tmp_path, named)[0].startswith("dev add name an odd 'name' mgmtdev")


@pytest.mark.parametrize(("index", "name"), [(0, "vdpa:0000:3b:00.2"), (1, "theirs")])
def test_bind(host: FakeHost, pf: Pf, tmp_path: Path, index: int, name: str) -> None:
    assert run(host, tmp_path, steps.bind_vdpa(pf, index, "vhost_vdpa", why="wanted")) == []
    assert written(host, "drivers/virtio_vdpa/unbind").strip() == name
    assert written(host, "drivers/vhost_vdpa/bind").strip() == name
    assert written(host, f"devices/{name}/driver_override") == "\n"


def test_remove(host: FakeHost, pf: Pf, tmp_path: Path) -> None:
    assert run(host, tmp_path, steps.remove_vdpa(pf, pf.vfs[1], why="not wanted")) == []
    assert run(host, tmp_path, steps.remove_vdpa(pf, pf.vfs[0], why="not wanted")) == ["dev del vdpa:0000:3b:00.2"]
