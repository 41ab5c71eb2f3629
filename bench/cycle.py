"""How long virtfn itself takes for one cycle, without the kernel's share: on the simulated ground, by number of VFs.

    make bench
    make bench ARGS="--rounds 9"

Writes a table; times are the median of the rounds, in milliseconds. On a real host the kernel takes seconds for what
takes nothing here, so this is what virtfn adds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredPf, DesiredState, DeviceType, VfGroup, VfRange
from virtfn.node import Node
from virtfn.testing import FakeHost

T = TypeVar("T")
PHASES = ("observe", "plan", "perform", "observe again", "plan again")


def cycle(ports: int, vfs: int) -> dict[str, float]:
    """Seconds by phase for `ports` PFs with `vfs` VFs each, half of them for user space."""
    taken: dict[str, float] = {}

    def timed(phase: str, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        result = work()
        taken[phase] = time.perf_counter() - began
        return result

    with tempfile.TemporaryDirectory(prefix="virtfn-bench-") as folder, FakeHost() as host:
        card = host.add_card("e810", ports=ports)
        node = Node(Machine(host.kernel), journal=Journal(Path(folder)), now=host.kernel.clock.monotonic)
        groups = (
            VfGroup(VfRange(0, vfs // 2 - 1)),
            VfGroup(VfRange(vfs // 2, vfs - 1), device_type=DeviceType.VFIO_PCI),
        )
        desired = DesiredState(
            pfs=tuple(DesiredPf(address=card.pf_address(port), num_vfs=vfs, groups=groups) for port in range(ports))
        )
        seen = timed("observe", node.observe)
        plan = timed("plan", lambda: node.plan(seen, desired))
        outcome = timed("perform", lambda: node.perform(plan, seen, desired))
        if plan.errors or outcome.failed is not None:
            raise SystemExit(f"the cycle failed: {plan.errors or outcome.failed}")
        seen = timed("observe again", node.observe)
        if timed("plan again", lambda: node.plan(seen, desired)).steps:
            raise SystemExit("the cycle did not end in sync")
    return taken


def start_up() -> float:
    """Seconds from nothing to the end of `virtfn --help`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "virtfn.cli.main", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="How long one cycle takes on the simulated ground.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    rounds: int = parser.parse_args().rounds
    cycle(1, 2)  # imports and caches
    print(f"virtfn --help: {median(start_up() for _ in range(rounds)) * 1000:.0f} ms")
    print("".join(f"{heading:>15}" for heading in ("PFs x VFs", *PHASES)))
    for ports, vfs in ((1, 8), (2, 8), (2, 32), (2, 64)):
        found = [cycle(ports, vfs) for _ in range(rounds)]
        row = [f"{median(taken[phase] for taken in found) * 1000:.1f}" for phase in PHASES]
        print("".join(f"{cell:>15}" for cell in (f"{ports} x {vfs}", *row)))


if __name__ == "__main__":
    main()
