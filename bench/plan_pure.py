"""How long a plan takes for a large node: two PFs of 128 VFs in two groups, fresh and in sync. No machine is touched.

    make bench, or: python bench/plan_pure.py [--rounds 40]

Times are milliseconds; the goal is at most 20. On a busy machine look at `cpu`, the processor's share of it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median

from virtfn.model import (
    Adapter,
    DesiredPf,
    DesiredState,
    DeviceType,
    Inventory,
    Netdev,
    PciAddress,
    PciId,
    Pf,
    Platform,
    Vf,
    VfGroup,
    VfRange,
    VfSettings,
)
from virtfn.model.inventory import LinkType
from virtfn.planning import make_plan
from virtfn.registry import load_registry

GOAL_MS = 20.0
PFS, VFS = 2, 128
PLATFORM = Platform(kernel="6.12", iommu=True, modules=frozenset({"vfio_pci"}))


def pf(port: int) -> Pf:
    """A PF without VFs."""
    name, mac = f"ens1f{port}", f"00:16:3e:00:00:{port:02x}"
    return Pf(
        address=PciAddress.parse(f"0000:3b:00.{port}"),
        id=PciId("8086", "1592"),
        driver="ice",
        netdev=Netdev(name, 10 + port, mac, 1500, True, LinkType.ETH, mac, 68, 9702),
        total_vfs=VFS,
        drivers_autoprobe=True,
        vf_id=PciId("8086", "1889"),
    )


def with_vfs(empty: Pf, want: DesiredPf) -> Pf:
    """The PF as it is when everything wanted is done."""
    vfs = []
    for index in range(want.num_vfs):
        group = want.group_of(index)
        userspace = group is not None and group.device_type is DeviceType.VFIO_PCI
        mac = f"02:00:00:00:{empty.address.function:02x}:{index:02x}"
        netdev = Netdev(f"{empty.address.function}v{index}", 100 + index, mac, 1500, True, LinkType.ETH)
        vfs.append(
            Vf(
                address=PciAddress.parse(f"0000:3b:{1 + index // 8 + 16 * empty.address.function:02x}.{index % 8}"),
                index=index,
                id=PciId("8086", "1889"),
                driver="vfio-pci" if userspace else "iavf",
                netdev=None if userspace else netdev,
                settings=VfSettings(mac=mac),
                iommu_group=index,
            )
        )
    return replace(empty, vfs=tuple(vfs))


def main() -> None:
    """Measure, and write one line a case."""
    parser = argparse.ArgumentParser(description="How long a plan for two PFs of 128 VFs takes.")
    parser.add_argument("--rounds", type=int, default=40, help="how often each is measured (default: 40)")
    rounds: int = parser.parse_args().rounds
    groups = (
        VfGroup(VfRange(0, VFS // 2 - 1), resource_name="net"),
        VfGroup(VfRange(VFS // 2, VFS - 1), resource_name="dpdk", device_type=DeviceType.VFIO_PCI),
    )
    empty = [pf(port) for port in range(PFS)]
    desired = DesiredState(pfs=tuple(DesiredPf(each.address, VFS, groups=groups) for each in empty))
    full = [with_vfs(each, want) for each, want in zip(empty, desired.pfs, strict=True)]
    half = [replace(each, vfs=tuple(replace(vf, driver="vfio-pci", netdev=None) for vf in each.vfs)) for each in full]
    for name, pfs in (("fresh", empty), ("every other driver", half), ("in sync", full)):
        inventory = Inventory((Adapter(address="0000:3b:00", pfs=tuple(pfs)),), PLATFORM)
        registry = load_registry(frozenset(each.id for each in pfs))
        inventory = registry.assign(inventory)
        taken, cpu = [], []
        for _ in range(rounds):
            began, used = time.perf_counter(), time.process_time()
            plan = make_plan(inventory, desired, registry.hooks)
            taken.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - used) * 1000)
        if plan.errors or bool(plan.steps) is (name == "in sync"):
            raise SystemExit(f"{name}: not the plan that was expected: {plan.problems}, {len(plan.steps)} steps")
        verdict = "ok" if median(taken) <= GOAL_MS else "OVER"
        print(
            f"{name:>20}: {len(plan.steps):4} steps, median {median(taken):6.2f} ms, min {min(taken):6.2f} ms,"
            f" cpu {median(cpu):6.2f} ms"
            f" (goal {GOAL_MS:g} ms: {verdict})"
        )


if __name__ == "__main__":
    main()
