"""How long it takes to render a cluster: every node's state from all policies, and its device plugin configuration.

    make bench
    .venv/bin/python bench/render_nodes.py --nodes 1000 --vfs 0

Node states come as the API gives them, as plain data, one after the other: reading them is part of the work. Writes
seconds of one process (CPU time, which other work on the machine hardly changes; median of the rounds), what one node
costs, and the most memory that the process ever had.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from virtfn.policy import PolicySet, render_device_plugin_config, render_node_state
from virtfn.policy.reading import read_node_state

ZONES = 5


def policies(count: int) -> list[dict[str, Any]]:
    """Policies of several kinds: by name with ranges, by address, by vendor; for all nodes and for some."""
    return [policy(number) for number in range(count)]


def policy(number: int) -> dict[str, Any]:
    """The policy with this number."""
    port, part = number % 4, number // 4 % 4
    spec: dict[str, Any] = {
        "resourceName": f"pool_{number % 12}",
        "nodeSelector": {} if number % 3 else {"zone": f"z{number % ZONES}"},
        "numVfs": 16,
        "priority": 10 + number % 5 * 10,
        "mtu": 9000 if number % 2 else 1500,
        "deviceType": "vfio-pci" if number % 7 == 0 else "netdevice",
        "isRdma": number % 5 == 1,
    }
    selectors: list[dict[str, Any]] = [
        {"vendor": "15b3", "pfNames": [f"ens{port}f0#{part * 4}-{part * 4 + 3}"]},
        {"pfNames": [f"ens{other}f0#{part * 4}-{part * 4 + 3}" for other in range(4)]},
        {"rootDevices": [f"0000:{0x3B + port:02x}:00.0"]},
        {"vendor": "8086", "deviceID": "158b"},
    ]
    spec["nicSelector"] = selectors[0 if number % 6 else number // 6 % 4]
    return {
        "apiVersion": "sriovnetwork.openshift.io/v1",
        "kind": "SriovNetworkNodePolicy",
        "metadata": {"name": f"policy-{number:02d}", "namespace": "virtfn"},
        "spec": spec,
    }


def node(number: int) -> dict[str, Any]:
    """A Node."""
    return {"metadata": {"name": f"node-{number}", "labels": {"zone": f"z{number % ZONES}", "linux": "yes"}}}


def state(number: int, *, pfs: int, vfs: int) -> dict[str, Any]:
    """A node's state as its daemon reports it."""
    return {
        "apiVersion": "sriovnetwork.openshift.io/v1",
        "kind": "SriovNetworkNodeState",
        "metadata": {"name": f"node-{number}", "namespace": "virtfn", "uid": f"{number:032x}", "generation": 3},
        "status": {"syncStatus": "Succeeded", "interfaces": [interface(port, vfs=vfs) for port in range(pfs)]},
    }


def interface(port: int, *, vfs: int) -> dict[str, Any]:
    """One PF with its VFs."""
    return {
        "pciAddress": f"0000:{0x3B + port:02x}:00.0",
        "name": f"ens{port}f0",
        "mac": f"0c:42:a1:00:00:{port:02x}",
        "driver": "mlx5_core",
        "vendor": "15b3",
        "deviceID": "101d",
        "mtu": 1500,
        "numVfs": vfs,
        "totalvfs": 64,
        "linkSpeed": "25000 Mb/s",
        "linkType": "ETH",
        "linkAdminState": "up",
        "eSwitchMode": "legacy",
        "altNames": [f"enp{59 + port}s0f0"],
        "Vfs": [
            {
                "pciAddress": f"0000:{0x3B + port:02x}:00.{index + 2}",
                "vfID": index,
                "name": f"ens{port}f0v{index}",
                "mac": f"0c:42:a1:00:{port:02x}:{index:02x}",
                "driver": "mlx5_core",
                "vendor": "15b3",
                "deviceID": "101e",
                "mtu": 1500,
            }
            for index in range(vfs)
        ],
    }


def cluster(nodes: int, *, pfs: int, vfs: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Nodes with their states."""
    for number in range(nodes):
        yield node(number), state(number, pfs=pfs, vfs=vfs)


def render(written: list[dict[str, Any]], nodes: int, *, pfs: int, vfs: int) -> tuple[float, int]:
    """Seconds for all nodes without the making of their states, and the characters that came out."""
    taken, characters = 0.0, 0
    began = time.process_time()
    prepared = PolicySet.of(written)
    taken += time.process_time() - began
    for labels, data in cluster(nodes, pfs=pfs, vfs=vfs):
        began = time.process_time()
        read = read_node_state(data)
        rendered = render_node_state(prepared, labels, read)
        config = render_device_plugin_config(read.model_copy(update={"spec": rendered.spec}))
        characters += len(json.dumps(rendered.spec.to_wire())) + len(config.to_json())
        taken += time.process_time() - began
    return taken, characters


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description="How long it takes to render a cluster.")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--policies", type=int, default=30)
    parser.add_argument("--pfs", type=int, default=4, help="PFs of each node (default: 4)")
    parser.add_argument("--vfs", type=int, default=8, help="VFs that each PF has now (default: 8)")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    written = policies(asked.policies)
    found = [render(written, asked.nodes, pfs=asked.pfs, vfs=asked.vfs) for _ in range(asked.rounds)]
    seconds = median(taken for taken, _ in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{asked.nodes} nodes of {asked.pfs} PFs with {asked.vfs} VFs, {asked.policies} policies:")
    print(f"{seconds:.1f} s, {seconds / asked.nodes * 1000:.2f} ms a node, {found[0][1] / 1e6:.1f} MB of output")
    print(f"{peak:.0f} MiB of memory at most")


if __name__ == "__main__":
    main()
