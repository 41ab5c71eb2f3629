"""The daemon in the guest of tests/vm: how soon VFs are there, and what it costs while nothing happens.

    python bench/daemon.py [--rounds 3] [--minutes 5]    needs what make vm-deps and make kube-deps make

API server on this machine, daemon in the emulated one. No controller: node states are written and drains granted here.

arrival  From the node state's new spec to 7 VFs of an igb card whose link was down: until the kernel has them all, each
         with its driver and the MAC that its PF gives it, and until the status says so. Goal: at most 7 s.
rest     2 PFs with 64 VFs each, configured and in sync. No card with so many can be emulated, so the daemon reads
         their sysfs from a copy that is made in the guest (`--root`), while all that netlink tells of them is the
         kernel's own: netdevsim has the PFs' netdevs with 64 VFs each, dummies are the VFs' netdevs. Goal: at most
         68 MiB. CPU and writes are counted for some minutes and scaled to an hour; writes are those of the server's
         audit. The guest's processor is emulated: the same work takes it 15 to 30 times as long as a real one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "tests" / "vm"), str(REPOSITORY / "tests")]

PF = "0000:01:00.0"
VFS = 7
ARRIVAL_GOAL = 7.0
LARGE_PFS = ("0000:3b:00.0", "0000:5e:00.0")
LARGE_VFS = 64
REST_GOAL = 68.0
SETTLING = 30.0
TREE = Path("/tmp/tree")
PATIENCE = 300.0


# --- in the guest ----------------------------------------------------------------------------------------------------


def make_tree(root: Path) -> None:
    """Two cards of 64 VFs as a real machine's sysfs shows them (ice and iavf, Linux 6.12), with netdevs that exist."""
    devices = root / "sys/bus/pci/devices"
    devices.mkdir(parents=True)
    (root / "proc").symlink_to("/proc")
    (root / "sys/kernel").mkdir()
    (root / "sys/module").symlink_to("/sys/module")
    for driver in ("ice", "iavf"):
        folder = root / "sys/bus/pci/drivers" / driver
        folder.mkdir(parents=True)
        for name in ("bind", "unbind"):
            (folder / name).touch()
    commands = []
    for number, pf in enumerate(LARGE_PFS):
        simulated = _netdevsim(number + 40)
        _function(root, pf, device="0x159b", driver="ice", netdev=simulated)
        _files(devices / pf, sriov_totalvfs="128", sriov_numvfs=LARGE_VFS, sriov_vf_device="1889")
        _files(devices / pf, sriov_drivers_autoprobe="1")
        commands.append(f"link set dev {simulated} up")
        for index in range(LARGE_VFS):
            vf = f"{pf[:8]}{1 + index // 8:02x}.{index % 8}"
            name, mac = f"v{number}n{index}", f"02:00:00:00:{number:02x}:{index:02x}"
            commands.append(f"link add name {name} address {mac} type dummy")
            commands.append(f"link set dev {simulated} vf {index} mac {mac}")
            _function(root, vf, device="0x1889", driver="iavf", netdev=name)
            _files(devices / vf, driver_override="(null)")
            (devices / vf / "physfn").symlink_to(f"../{pf}")
            (devices / pf / f"virtfn{index}").symlink_to(f"../{vf}")
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)
    (root / "sys/class").mkdir()
    (root / "sys/class/net").symlink_to("/sys/class/net")


def _netdevsim(number: int) -> str:
    """A simulated device with enough VFs; the name of its netdev."""
    simulator = Path("/sys/bus/netdevsim")
    if not simulator.exists():
        subprocess.run(["modprobe", "-a", "netdevsim", "dummy"], check=True)
    (simulator / "new_device").write_text(f"{number} 1 1")
    Path(f"/sys/kernel/debug/netdevsim/netdevsim{number}/max_vfs").write_text(str(LARGE_VFS))
    device = simulator / "devices" / f"netdevsim{number}"
    (device / "sriov_numvfs").write_text(str(LARGE_VFS))
    return next((device / "net").iterdir()).name


def _function(root: Path, address: str, *, device: str, driver: str, netdev: str) -> None:
    folder = root / "sys/bus/pci/devices" / address
    (folder / "net" / netdev).mkdir(parents=True)
    _files(folder, vendor="0x8086", device=device, numa_node=0, **{"class": "0x020000"})
    (folder / "driver").symlink_to(f"../../drivers/{driver}")
    group = root / "sys/kernel/iommu_groups" / address.replace(":", "")
    group.mkdir(parents=True)
    (folder / "iommu_group").symlink_to(group)


def _files(folder: Path, **contents: object) -> None:
    for name, text in contents.items():
        (folder / name).write_text(f"{text}\n")


# --- on the host -----------------------------------------------------------------------------------------------------


class Bench:
    """A node state without a controller, and the daemon that it is for."""

    def __init__(self, cluster: Any) -> None:
        from cluster import ground
        from kubernetes import client

        self.cluster = cluster
        self._where = (ground.GROUP, ground.VERSION, cluster.namespace, ground.NODE_STATES)
        self._name = ground.NODE
        self._objects = client.CustomObjectsApi(cluster.api)

    def create(self) -> None:
        """The node state, with nothing wanted."""
        body = {
            "apiVersion": f"{self._where[0]}/{self._where[1]}",
            "kind": "SriovNetworkNodeState",
            "metadata": {"name": self._name},
            "spec": {},
        }
        self._objects.create_namespaced_custom_object(*self._where, body)

    def want(self, pfs: dict[str, int]) -> float:
        """Numbers of VFs by PF; when the server had them, by `time.monotonic`."""
        interfaces = [
            {
                "pciAddress": address,
                "numVfs": number,
                "vfGroups": [{"resourceName": "net", "policyName": "bench", "vfRange": f"0-{number - 1}"}],
            }
            for address, number in pfs.items()
        ]
        body = {"spec": {"interfaces": interfaces or None}}
        self._objects.patch_namespaced_custom_object(*self._where, self._name, body)
        return time.monotonic()

    def drain_until_in_sync(self) -> None:
        """Grant every drain, as a controller and somebody else's drainer would, until the daemon has what it wants."""
        group = self._where[0]

        def done() -> bool:
            state = self.cluster.node_state()
            status = state.get("status", {})
            needed = status.get("neededState", "Idle")
            current = "Idle" if needed == "Idle" else "DrainComplete"
            wanted = {f"{group}/desired-state": needed, f"{group}/current-state": current}
            if not wanted.items() <= state["metadata"].get("annotations", {}).items():
                body = {"metadata": {"annotations": wanted}}
                self._objects.patch_namespaced_custom_object(*self._where, self._name, body)
                return False
            seen = status.get("observedGeneration") == state["metadata"]["generation"]
            return bool(seen) and status.get("syncStatus") == "Succeeded" and needed == "Idle"

        self.cluster.until("in sync", done, limit=PATIENCE)


def measure_arrival(bench: Bench, rounds: int) -> bool:
    """7 VFs, again and again."""
    cluster, guest = bench.cluster, bench.cluster.guest
    in_kernel, in_status = [], []
    for _ in range(rounds):
        before = guest.look(PF)
        if before.vfs or before.interface.up:
            raise SystemExit(f"not as it was: {before}")
        mark = cluster.history.mark()
        began = bench.want({PF: VFS})
        guest.await_vfs(PF, VFS)
        in_kernel.append(time.monotonic() - began)
        cluster.until_in_sync(limit=PATIENCE)
        generation = cluster.node_state()["metadata"]["generation"]
        in_status.append(
            next(
                version.time - began
                for version in cluster.history.since(mark)
                if version.status.get("syncStatus") == "Succeeded"
                and version.status.get("observedGeneration") == generation
            )
        )
        seen = guest.look(PF)
        if seen.drivers() != ["igbvf"] * VFS or len({vf.admin_mac for vf in seen.vfs}) != VFS:
            raise SystemExit(f"not what was asked for: {seen}")
        bench.want({})
        bench.drain_until_in_sync()
    print(f"\narrival: {rounds} rounds, median (max) in seconds")
    for name, times in (("7 VFs with their drivers", in_kernel), ("status Succeeded", in_status)):
        print(f"  {name:>24}: {median(times):6.2f} ({max(times):6.2f})")
    return _verdict("7 VFs", median(in_kernel), ARRIVAL_GOAL, "s")


def measure_rest(bench: Bench, minutes: float) -> bool:
    """The daemon that is running has just come to be in sync."""
    cluster, guest = bench.cluster, bench.cluster.guest
    time.sleep(SETTLING)
    pid = guest.pid("daemon")
    cpu, written = _cpu(guest, pid), cluster.writes("virtfn-daemon").total()
    began = time.monotonic()
    time.sleep(minutes * 60)
    hours = (time.monotonic() - began) / 3600
    cpu = (_cpu(guest, pid) - cpu) / hours
    written = (cluster.writes("virtfn-daemon").total() - written) / hours
    memory = _memory(guest, pid)
    print(f"\nrest: {len(LARGE_PFS)} PFs x {LARGE_VFS} VFs in sync, {minutes:g} minutes, scaled to an hour")
    print("  " + ", ".join(f"{name} {size:.1f} MiB" for name, size in memory.items()))
    print(f"  CPU {cpu:.1f} s an hour (of the emulated processor), {written:.0f} writes to the API server an hour")
    return _verdict("RSS", memory["VmRSS"], REST_GOAL, "MiB")


def _verdict(name: str, value: float, goal: float, unit: str) -> bool:
    print(f"goal, {name}: at most {goal:g} {unit}: {'ok' if value <= goal else 'OVER'} ({value:.1f})")
    return value <= goal


def _memory(guest: Any, pid: int) -> dict[str, float]:
    """MiB by the kernel's names."""
    lines = (line.split() for line in guest.read(f"/proc/{pid}/status").splitlines())
    return {
        words[0].rstrip(":"): int(words[1]) / 1024
        for words in lines
        if words and words[0] in ("VmHWM:", "VmRSS:", "RssAnon:", "RssFile:")
    }


def _cpu(guest: Any, pid: int) -> float:
    """Seconds of processor time so far."""
    fields = guest.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(options: argparse.Namespace) -> int:
    """Both parts, in one guest."""
    from cluster.ground import Cluster
    from kube.bed import assets

    found = assets.find()
    if found is None:
        raise SystemExit("there is no API server, run `make kube-deps`")
    good = True
    with Cluster(found) as cluster:
        bench = Bench(cluster)
        bench.create()
        cluster.guest.wait()
        if options.part in ("all", "arrival"):
            cluster.start_daemon()
            cluster.until_in_sync()
            good &= measure_arrival(bench, options.rounds)
            cluster.stop_daemon()
        if options.part in ("all", "rest"):
            made = cluster.guest.run(sys.executable, Path(__file__).resolve(), "--make-tree", TREE, timeout=100)
            if made[0]:
                raise SystemExit(f"no tree: {made[2]}")
            bench.want(dict.fromkeys(LARGE_PFS, LARGE_VFS))
            cluster.start_daemon("--root", str(TREE), "--state-dir", "/var/lib/bench", "--run-dir", "/run/bench")
            bench.drain_until_in_sync()
            good &= measure_rest(bench, options.minutes)
            cluster.stop_daemon()
    return 0 if good else 1


def main() -> int:
    """Command line; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description="The daemon in the emulated machine.")
    parser.add_argument("--rounds", type=int, default=3, help="how often VFs are asked for (default: 3)")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long it is watched at rest (default: 5)")
    parser.add_argument("--part", choices=("all", "arrival", "rest"), default="all", help="what to measure")
    parser.add_argument("--make-tree", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make_tree:
        make_tree(options.make_tree)
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
