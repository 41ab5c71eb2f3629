"""Runs every test of this directory in the guest: see `bed.hostside` and `bed.guestside`.

The tests run when this directory, something in it or `-m vm` is asked for, and in no other run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bed import guestside, hostside
from bed.sight import PCI
from bed.tidy import tidy

HERE = Path(__file__).resolve().parent
NETDEVSIM = Path("/sys/bus/netdevsim")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and the half of the session that belongs here."""
    config.addinivalue_line("markers", "vm: runs in the guest, on a real kernel with SR-IOV hardware")
    config.addinivalue_line("markers", "vm_timeout(seconds): kill the guest after so long without a report (180)")
    plugin = guestside.Streamer(config) if guestside.in_guest() else hostside.Replay(config, HERE)
    config.pluginmanager.register(plugin, "virtfn-vm")


@pytest.fixture(scope="session")
def modprobe() -> Callable[..., None]:
    """Load a kernel module: `modprobe("vdpa_sim_net")`, parameters as further arguments."""

    def load(*words: str) -> None:
        done = subprocess.run(["modprobe", *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return load


@pytest.fixture
def netdevsim(modprobe: Callable[..., None]) -> Iterator[Callable[..., Path]]:
    """Make simulated devices: `netdevsim(7, ports=2)` gives the directory of device 7; they go after the test."""
    modprobe("netdevsim")
    made: list[int] = []

    def make(number: int, *, ports: int = 1, queues: int = 1) -> Path:
        (NETDEVSIM / "new_device").write_text(f"{number} {ports} {queues}")
        made.append(number)
        return NETDEVSIM / "devices" / f"netdevsim{number}"

    yield make
    for number in made:
        (NETDEVSIM / "del_device").write_text(f"{number}")


@pytest.fixture
def pristine() -> Iterator[None]:
    """The igb cards are as the guest booted, before the test and after it."""
    yield
    tidy()


class Ended(NamedTuple):
    """A command of virtfn that ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def virtfn(pristine: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command line in this process: `virtfn("plan --exit-code", "text of a file")`; its journal is the test's."""
    from virtfn.cli.main import main

    def run(command: str, *texts: str) -> Ended:
        words = ["--state-dir", str(tmp_path / "journal"), *command.split()]
        for number, text in enumerate(texts):
            path = tmp_path / f"file-{number}.yaml"
            path.write_text(text, encoding="utf-8")
            words += ["-f", str(path)]
        capsys.readouterr()
        code = main(words)
        return Ended(int(code), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def policy() -> Callable[..., str]:
    """A policy's text: `policy("0000:01:00.0", 7, vfs="4-6", deviceType="vfio-pci")`."""

    def write(pf: str, num_vfs: object, *, vfs: str = "", **spec: object) -> str:
        selector = f'rootDevices: ["{pf}"]'
        if vfs:
            (name,) = [path.name for path in (PCI / pf / "net").iterdir()]
            selector += f', pfNames: ["{name}#{vfs}"]'
        word = "".join(letter for letter in f"{pf}{vfs}" if letter.isalnum())
        more = "".join(f"  {key}: {value}\n" for key, value in spec.items())
        return (
            "---\n"
            "apiVersion: sriovnetwork.openshift.io/v1\n"
            "kind: SriovNetworkNodePolicy\n"
            f"metadata: {{name: p{word}, namespace: sriov}}\n"
            "spec:\n"
            f"  resourceName: r{word}\n"
            "  nodeSelector: {}\n"
            f"  nicSelector: {{{selector}}}\n"
            f"  numVfs: {num_vfs}\n"
            f"{more}"
        )

    return write
