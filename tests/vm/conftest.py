"""Runs every test of this directory in the guest: see `bed.hostside` and `bed.guestside`.

The tests run when this directory, something in it or `-m vm` is asked for, and in no other run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bed import guestside, hostside

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
