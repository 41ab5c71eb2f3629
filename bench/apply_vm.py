"""`virtfn apply` against the bare writes, on a real kernel: 7 VFs of an igb card, the last 3 of them for user space.

    python bench/apply_vm.py [--rounds 5]          boots the guest of tests/vm and runs itself there

In each round three ways take turns, each from the same start (no VF, link down):

    virtfn   observe, plan, perform, and observe and plan again to see that nothing is left; start-up is not in it
    lean     the same writes in one process: write(2) to sysfs, one netlink socket, nothing read, nothing checked
    script   what `virtfn plan -o sh` wrote, run by /bin/sh, with ip(8) started for each setting

virtfn's time is split into what its calls to the kernel took (writes to sysfs, and netlink requests that change
something) and the rest, which is its own. Processors are emulated in the guest, so Python is 15 to 30 times slower than
outside, while the kernel mostly sleeps: virtfn's own share is that much smaller on real hardware.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PCI = Path("/sys/bus/pci/devices")
PF = "0000:01:00.0"
USERSPACE = range(4, 7)
VFS = 7
GOAL = 0.20
MODULES = "eswshim,igb,igbvf,vfio-pci"


class Stopwatch:
    """Adds up the time of named parts; parts inside parts do not count twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            with self.part(name):
                self._inside = True
                try:
                    return function(*args, **kwargs)
                finally:
                    self._inside = False

        return timed

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the whole."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


class Timed:
    """An object of which some methods are timed."""

    def __init__(self, real: Any, watch: Stopwatch, *names: str) -> None:
        self._real = real
        for name in names:
            setattr(self, name, watch.wrap("kernel", getattr(real, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class OurWay:
    """virtfn's cycle."""

    def __init__(self) -> None:
        from virtfn.host.linux import linux_kernel
        from virtfn.model import DesiredPf, DesiredState, DeviceType, PciAddress, VfGroup, VfRange

        self.kernel = linux_kernel()
        groups = (
            VfGroup(VfRange(0, USERSPACE.start - 1), resource_name="net"),
            VfGroup(
                VfRange(USERSPACE.start, USERSPACE.stop - 1), resource_name="dpdk", device_type=DeviceType.VFIO_PCI
            ),
        )
        self.desired = DesiredState(pfs=(DesiredPf(PciAddress.parse(PF), VFS, groups=groups),))
        self._plan: Any = None
        self._inventory: Any = None

    def run(self) -> dict[str, float]:
        """One apply; seconds by part."""
        from virtfn.host.machine import Machine
        from virtfn.journal import Journal
        from virtfn.node import Node

        watch = Stopwatch()
        kernel = replace(
            self.kernel,
            files=Timed(self.kernel.files, watch, "write", "write_slow"),
            links=Timed(self.kernel.links, watch, "set_link", "set_vf"),
        )
        with tempfile.TemporaryDirectory() as folder:
            node = Node(Machine(kernel), journal=Journal(Path(folder)), now=time.monotonic)
            _ = node.registry  # plugins are loaded at start-up
            began = time.perf_counter()
            with watch.part("observe"):
                seen = node.observe()
            with watch.part("plan"):
                plan = node.plan(seen, self.desired)
            with watch.part("perform"):
                outcome = node.perform(plan, seen, self.desired)
            with watch.part("verify"):
                left = node.plan(node.observe(), self.desired)
            watch.seconds["all"] = time.perf_counter() - began
        if plan.errors or outcome.failed or left.steps or not plan.steps:
            raise SystemExit(f"virtfn failed: {plan.errors} {outcome.failed} {left.steps}")
        self._plan, self._inventory = plan, seen.inventory
        watch.seconds["perform, own"] = watch.seconds["perform"] - watch.seconds["kernel"]
        watch.seconds["own"] = watch.seconds["all"] - watch.seconds["kernel"]
        return watch.seconds

    def script(self) -> str:
        """The last plan as a script."""
        from virtfn.performing import shell_script

        return shell_script(self._plan, self._inventory)

    def macs(self) -> list[str]:
        """The MACs that the last plan gives."""
        return [step.args["mac"] for step in self._plan.steps if "mac" in step.args]


def lean(macs: list[str]) -> float:
    """The same writes, and nothing else."""
    import socket

    from pyroute2.netlink.rtnl import RTM_SETLINK

    from virtfn.host import netlink
    from virtfn.host.netlink_socket import NetlinkSocket
    from virtfn.host.rtnetlink import vf_attributes
    from virtfn.host.writer import write_once
    from virtfn.model import VfSettings

    def write(path: str, text: str) -> None:
        report = write_once(path, text.encode())
        if report.errno:
            raise SystemExit(f"{path}: errno {report.errno}")

    device = f"{PCI}/{PF}"
    began = time.perf_counter()
    index = socket.if_nametoindex(next((PCI / PF / "net").iterdir()).name)
    with NetlinkSocket(socket.NETLINK_ROUTE) as route:

        def change(message: Any) -> None:
            route.request(message, kind=RTM_SETLINK, decode=bytes)

        change(netlink.link_message(index, flags=1, change=1))
        write(f"{device}/sriov_drivers_autoprobe", "0")
        write(f"{device}/sriov_numvfs", str(VFS))
        write(f"{device}/sriov_drivers_autoprobe", "1")
        for number, mac in enumerate(macs):
            vf = (PCI / PF / f"virtfn{number}").readlink().name
            info = ("IFLA_VF_INFO", {"attrs": vf_attributes(number, {"mac": mac}, now=VfSettings())})
            change(netlink.link_message(index, attributes=[("IFLA_VFINFO_LIST", {"attrs": [info]})]))
            if number in USERSPACE:
                write(f"{PCI}/{vf}/driver_override", "vfio-pci")
                write("/sys/bus/pci/drivers/vfio-pci/bind", vf)
                write(f"{PCI}/{vf}/driver_override", "\n")
            else:
                write("/sys/bus/pci/drivers_probe", vf)
    return time.perf_counter() - began


def by_script(script: Path) -> float:
    """The script's time."""
    began = time.perf_counter()
    subprocess.run(["/bin/sh", script], check=True, timeout=120)
    return time.perf_counter() - began


def start_over() -> None:
    """Drivers as they should be; then no VF, link down."""
    seen = [(PCI / PF / f"virtfn{number}/driver").resolve().name for number in range(VFS)]
    wanted = ["vfio-pci" if number in USERSPACE else "igbvf" for number in range(VFS)]
    if seen != wanted:
        raise SystemExit(f"not what was asked for: {seen}")
    (PCI / PF / "sriov_numvfs").write_text("0")
    name = next((PCI / PF / "net").iterdir()).name
    subprocess.run(["ip", "link", "set", "dev", name, "down"], check=True)
    time.sleep(0.5)


def measure(rounds: int) -> int:
    """In the guest: measure, and write the table."""
    ours = OurWay()
    ours.run()  # imports and caches
    start_over()
    macs = ours.macs()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "plan.sh"
        script.write_text(ours.script())
        found: list[dict[str, float]] = []
        plain: dict[str, list[float]] = {"lean": [], "script": []}
        for number in range(rounds):
            ways: list[Callable[[], None]] = [
                lambda: found.append(ours.run()),
                lambda: plain["lean"].append(lean(macs)),
                lambda: plain["script"].append(by_script(script)),
            ]
            for way in ways[number % 3 :] + ways[: number % 3]:
                way()
                start_over()
    bare = median(plain["lean"])
    total = median(each["all"] for each in found)
    print(f"\n{rounds} rounds, median (min) in seconds")
    for name, times in (("virtfn", [each["all"] for each in found]), *plain.items()):
        print(f"{name:>20}: {median(times):6.3f} ({min(times):6.3f})   {median(times) / bare - 1:+7.1%} over lean")
    for name in ("kernel", "own", "observe", "plan", "perform, own", "verify"):
        times = [each[name] for each in found]
        print(f"{'virtfn: ' + name:>20}: {median(times):6.3f} ({min(times):6.3f})")
    over = total / bare - 1
    print(f"goal: at most {GOAL:.0%} over lean: {'ok' if over <= GOAL else 'OVER'} ({over:+.1%})")
    return 0


def boot(rounds: int) -> int:
    """On the host: run this file in the guest."""
    command = [sys.executable, str(Path(__file__).resolve()), "--in-guest", "--rounds", str(rounds)]
    words = [sys.executable, str(REPOSITORY / "tests/vm/boot.py"), "--modules", MODULES, "--timeout", "600"]
    return subprocess.run([*words, "--", *command], check=False).returncode


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="virtfn apply against the bare writes, in a virtual machine.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--in-guest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    return measure(options.rounds) if options.in_guest else boot(options.rounds)


if __name__ == "__main__":
    sys.exit(main())
