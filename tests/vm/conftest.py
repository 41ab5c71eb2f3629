"""Runs every test of this directory in the guest: see `bed.hostside` and `bed.guestside`.

Those of `cluster/` stay on the host, with a cluster there and a guest that does what they ask for.

The tests run when this directory, something in it or `-m vm` is asked for, and in no other run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bed import guestside, hostside
from bed.sight import IGB, PCI
from bed.tidy import tidy

HERE = Path(__file__).resolve().parent
NETDEVSIM = Path("/sys/bus/netdevsim")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and the half of the session that belongs here."""
    config.addinivalue_line("markers", "vm: runs in the guest, on a real kernel with SR-IOV hardware")
    config.addinivalue_line("markers", "vm_timeout(seconds): kill the guest after so long without a report (180)")
    plugin = (
        guestside.Streamer(config) if guestside.in_guest() else hostside.Replay(config, HERE, here=HERE / "cluster")
    )
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


class Forked(NamedTuple):
    """A command of virtfn that had a process of its own: its exit status, negative for a signal, and its words."""

    status: int
    said: str


@pytest.fixture
def forked(pristine: None, tmp_path: Path) -> Callable[..., Forked]:
    """The command line in a fork of this process, with what is imported already: `forked("reset", prepare=patch)`.

    `prepare` is called in the child before the command. The child must end within a minute.
    """
    from virtfn.cli.main import main

    def run(command: str, *texts: str, prepare: Callable[[], None]) -> Forked:
        words = ["--state-dir", str(tmp_path / "journal"), *command.split()]
        for number, text in enumerate(texts):
            path = tmp_path / f"forked-{number}.yaml"
            path.write_text(text, encoding="utf-8")
            words += ["-f", str(path)]
        output = tmp_path / "forked.out"
        pid = os.fork()
        if pid == 0:
            try:
                sys.stdout = sys.stderr = output.open("w", buffering=1)
                prepare()
                os._exit(main(words))
            finally:
                os._exit(99)
        deadline = time.monotonic() + 60
        while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline, f"did not end: {output.read_text()}"
            time.sleep(0.05)
        return Forked(os.waitstatus_to_exitcode(found[1]), output.read_text())

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


@pytest.fixture
def two_groups(policy: Callable[..., str]) -> str:
    """7 VFs on the first card, 0-3 for the network, 4-6 for user space; 2 on the second."""
    first, second = IGB[:2]
    userspace = policy(first, 7, vfs="4-6", deviceType="vfio-pci")
    return policy(first, 7, vfs="0-3") + userspace + policy(second, 2)
