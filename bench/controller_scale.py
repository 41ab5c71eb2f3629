"""How long the controller takes to bring a policy to every node, beside the time that the same writes take without it.

    .venv/bin/python bench/controller_scale.py --nodes 1000 3000 5000

A real API server is started (`KUBEBUILDER_ASSETS`, or what `make kube-deps` has built), with as many nodes and node
states as are asked for. Then, on the same objects: the floor, which is the very same PATCHes from a bare loop with 32
connections (bytes made before, answers not looked at); and the controller, as a process of its own, from the moment a
policy is sent until the last node state carries it, and the same for a change of the policy. The floor is taken before
and after, and its mean counts. On a busy machine the clock says little: CPU of all (server, etcd, and whoever writes)
stands beside it. At the end it says how much memory the controller has, and how many writes the server saw at rest.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from threading import Thread
from typing import Any

import yaml

from virtfn.cluster.kinds import NODE_STATES, POLICIES
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.fanout import FanOut
from virtfn.kube.resource import NAMESPACES, NODES, Json, Resource
from virtfn.model.crd import KINDS
from virtfn.model.handshake import (
    CURRENT_STATE_ANNOTATION,
    DESIRED_STATE_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NODE_STATE_ANNOTATION,
)
from virtfn.model.schema import crd_yaml
from virtfn.testing.api_server import ApiServer, find_binaries

NAMESPACE = "virtfn"
CONNECTIONS = 32
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
REST_SECONDS = 60.0
PATIENCE = 900.0
POLL, POLL_FAR = 0.2, 1.0
"""Seconds between two looks at the controller's numbers, near the end and before: each costs it some milliseconds."""
PFS, VFS = 2, 16
WRITES = re.compile(r"^apiserver_request_total\{(.*)\} (\d+(?:\.\d+)?(?:e[+-]?\d+)?)$", re.MULTILINE)
WROTE = re.compile(rf'^virtfn_writes_total\{{of="{re.escape(str(NODE_STATES))}"\}} ([\d.e+]+)$', re.MULTILINE)


# --- the cluster ------------------------------------------------------------------------------------------------------


def node(number: int) -> Json:
    """A node with the labels and the list of images that nodes have."""
    name = f"node-{number:05d}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/worker": "",
        "topology.kubernetes.io/zone": f"zone-{number % 3}",
        "feature.node.kubernetes.io/network-sriov.capable": "true",
        **{f"feature.node.kubernetes.io/cpu-cpuid.FEATURE{index}": "true" for index in range(30)},
    }
    metadata = {"name": name, "labels": labels, "annotations": {NODE_STATE_ANNOTATION: "Idle"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def node_status(number: int) -> Json:
    """What its kubelet reports."""
    images = [
        {"names": [f"registry.example.org/team/image-{index}@sha256:{index:064x}"], "sizeBytes": 100_000_000 + index}
        for index in range(40)
    ]
    moment = "2026-01-01T00:00:00Z"
    conditions = [
        {
            "type": word,
            "status": "True" if word == "Ready" else "False",
            "reason": "Kubelet",
            "message": f"of node {number}",
            "lastHeartbeatTime": moment,
            "lastTransitionTime": moment,
        }
        for word in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    ]
    return {"status": {"conditions": conditions, "images": images}}


def interface(number: int, port: int) -> Json:
    """One PF with its VFs, as a daemon reports it."""
    name, slot = f"ens{port}f0np0", f"0000:{0x3B + port:02x}"
    unique = f"{number >> 8 & 255:02x}:{number & 255:02x}"
    return {
        "pciAddress": f"{slot}:00.0",
        "name": name,
        "mac": f"0c:42:a1:{unique}:{port:02x}",
        "driver": "mlx5_core",
        "vendor": "15b3",
        "deviceID": "101d",
        "mtu": 1500,
        "numVfs": VFS,
        "totalvfs": 64,
        "linkSpeed": "100000 Mb/s",
        "linkType": "ETH",
        "linkAdminState": "up",
        "eSwitchMode": "legacy",
        "altNames": [f"enp{59 + port}s0f0np0"],
        "Vfs": [
            {
                "pciAddress": f"{slot}:{(index + 2) // 8:02x}.{(index + 2) % 8}",
                "vfID": index,
                "name": f"ens{port}f0v{index}",
                "mac": f"0e:{index:02x}:{port:02x}:{unique}:01",
                "driver": "mlx5_core",
                "vendor": "15b3",
                "deviceID": "101e",
                "mtu": 1500,
            }
            for index in range(VFS)
        ],
    }


def policy(*, num_vfs: int, mtu: int) -> Json:
    """The policy, before and after its change."""
    return {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        "metadata": {"name": "dpdk", "namespace": NAMESPACE},
        "spec": {
            "resourceName": "dpdk",
            "nodeSelector": {"feature.node.kubernetes.io/network-sriov.capable": "true"},
            "priority": 10,
            "mtu": mtu,
            "numVfs": num_vfs,
            "nicSelector": {"vendor": "15b3", "pfNames": [f"ens{port}f0np0" for port in range(PFS)]},
            "deviceType": "vfio-pci",
        },
    }


def spec(*, num_vfs: int, mtu: int) -> Json:
    """What comes of the policy on each node."""
    group = {
        "resourceName": "dpdk",
        "deviceType": "vfio-pci",
        "vfRange": f"0-{num_vfs - 1}",
        "policyName": "dpdk",
        "mtu": mtu,
    }
    return {
        "interfaces": [
            {
                "pciAddress": f"0000:{0x3B + port:02x}:00.0",
                "numVfs": num_vfs,
                "mtu": mtu,
                "name": f"ens{port}f0np0",
                "vfGroups": [group],
            }
            for port in range(PFS)
        ]
    }


def fill(client: KubeClient, *, nodes: int) -> None:
    """Kinds, nodes and node states with what daemons have reported."""
    for kind in KINDS.values():
        client.create(CRDS, body=yaml.safe_load(crd_yaml(kind)))
    client.create(NAMESPACES, body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    wait("the kinds", lambda: all(is_there(client, resource) for resource in (POLICIES, NODE_STATES)))

    def make(number: int) -> None:
        body = node(number)
        name = body["metadata"]["name"]
        client.create(NODES, body=body)
        client.patch(NODES, name=name, body=node_status(number), subresource="status", metadata_only=True)
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {CURRENT_STATE_ANNOTATION: "Idle", DESIRED_STATE_ANNOTATION: "Idle"},
        }
        state = {"apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind, "metadata": metadata, "spec": {}}
        made = client.create(NODE_STATES, body=state)
        status = {
            "syncStatus": "Succeeded",
            "observedGeneration": made["metadata"]["generation"],
            "neededState": "Idle",
            "interfaces": [interface(number, port) for port in range(PFS)],
            "conditions": [
                {
                    "type": word,
                    "status": "True" if word == "Ready" else "False",
                    "reason": "InSync",
                    "message": "as it should be",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                for word in ("Ready", "Drifted", "Blocked")
            ],
        }
        client.patch(
            NODE_STATES, name=name, namespace=NAMESPACE, body={"status": status}, subresource="status",
            field_manager="virtfn-daemon", metadata_only=True,
        )  # fmt: skip

    found = FanOut(size=CONNECTIONS).run(range(nodes), do=make)
    if found.errors:
        raise SystemExit(f"the cluster could not be filled: {next(iter(found.errors.values()))}")


def is_there(client: KubeClient, resource: Resource) -> bool:
    """Whether the server knows a kind by now."""
    try:
        client.page(resource, limit=1)
    except Exception:
        return False
    return True


def wait(what: str, done: Callable[[], bool], *, seconds: float = PATIENCE, pause: float = 0.1) -> float:
    """Wait for something; the moment it was there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return time.monotonic()
        time.sleep(pause)
    raise SystemExit(f"{what}: not there after {seconds:.0f} s")


def all_cpu() -> float:
    """Seconds of CPU so far of this process and all it has started: server, etcd, controller."""
    us, ticks = os.getpid(), os.sysconf("SC_CLK_TCK")
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.parent.name) == us or int(fields[1]) == us:
            total += int(fields[11]) + int(fields[12])
    return total / ticks


# --- the floor --------------------------------------------------------------------------------------------------------


def bare_loop(server: ApiServer, *, token: str, paths: Iterable[str], body: bytes) -> float:
    """Seconds that 32 connections take to send the same PATCH to all paths; connecting is not counted."""
    work: SimpleQueue[str] = SimpleQueue()
    context = ssl.create_default_context(cafile=str(server.ca_file))
    host, port = server.url.removeprefix("https://").split(":")
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/merge-patch+json",
        "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    }
    failed: list[str] = []
    connections = [http.client.HTTPSConnection(host, int(port), context=context) for _ in range(CONNECTIONS)]

    def send(connection: http.client.HTTPSConnection) -> None:
        while True:
            try:
                path = work.get_nowait()
            except Empty:
                return
            connection.request("PATCH", path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                failed.append(f"{path}: {answer.status} {data[:200]!r}")

    for connection in connections:
        connection.connect()
    for path in paths:
        work.put(path)
    threads = [Thread(target=send, args=(connection,)) for connection in connections]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    for connection in connections:
        connection.close()
    if failed:
        raise SystemExit(f"the floor failed: {failed[0]}")
    return seconds


# --- the controller ---------------------------------------------------------------------------------------------------


class Controller:
    """The process, and what the kernel and its own metrics say of it."""

    def __init__(self, kubeconfig: Path, *, port: int) -> None:
        self._port = port
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "virtfn.cli.main", "controller", "--kubeconfig", str(kubeconfig)),
                *("--namespace", NAMESPACE, "--health-port", str(port)),
            ],
            env={**os.environ, "RESOURCE_PREFIX": "example.org"},
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_LOGS") else None,
        )

    def text(self, path: str) -> str:
        """What its health server says; empty if it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def is_leading(self) -> bool:
        """Whether its reconcilers run."""
        if self._process.poll() is not None:
            raise SystemExit(f"the controller ended with {self._process.returncode}")
        return "virtfn_leading{" in (text := self.text("/metrics")) and 'virtfn_leading{of=""} 1.0' in text

    def wrote(self) -> int:
        """Writes of node states so far."""
        found = WROTE.search(self.text("/metrics"))
        return int(float(found[1])) if found else 0

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, word: str) -> float:
        """MiB: `VmRSS` now, `VmHWM` at most."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(rf"^{word}:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024  # type: ignore[index]

    def settle(self) -> None:
        """Wait until it does nothing for five seconds."""
        before, quiet = (self.cpu(), self.wrote()), 0
        end = time.monotonic() + PATIENCE
        while quiet < 5 and time.monotonic() < end:
            time.sleep(1)
            now = (self.cpu(), self.wrote())
            quiet = quiet + 1 if now[0] - before[0] < 0.06 and now[1] == before[1] else 0
            before = now

    def stop(self) -> None:
        """End it, as a kubelet would."""
        self._process.terminate()
        self._process.wait(30)


def writes_seen(client: KubeClient) -> Mapping[str, float]:
    """Requests that change something, as the server has counted them, by verb and resource; leases apart."""
    reply = client._transport.request("GET", path="/metrics", subject="metrics", accept="text/plain")
    found: dict[str, float] = {}
    for labels, count in WRITES.findall(reply.data.decode()):
        words = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if words.get("verb") in ("POST", "PUT", "PATCH", "APPLY", "DELETE"):
            key = f"{words['verb']} {words.get('resource')}"
            found[key] = found.get(key, 0.0) + float(count)
    return found


def measure(nodes: int, *, rest: float) -> Mapping[str, Any]:
    """One size of cluster."""
    with ApiServer(find_binaries(os.environ)) as server:
        kubeconfig = server.kubeconfig()
        token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
        client = connect(configuration(environment={}, kubeconfig=kubeconfig), user_agent="bench", random=Random(1))
        fill(client, nodes=nodes)
        first, second = spec(num_vfs=VFS, mtu=1500), spec(num_vfs=VFS // 2, mtu=9000)
        paths = [
            NODE_STATES.path(namespace=NAMESPACE, name=f"node-{number:05d}") + "?fieldManager=virtfn-controller"
            for number in range(nodes)
        ]

        def floor(wanted: Json) -> tuple[float, float]:
            cpu = all_cpu()
            body = json.dumps({"spec": wanted}).encode()
            return bare_loop(server, token=token, paths=paths, body=body), all_cpu() - cpu

        # What is done first is faster, on a young etcd; so the floor is taken before and after, in turns.
        floors = [(floor(first), floor(second))]
        floor({"interfaces": None})  # as if nothing had been
        controller = Controller(kubeconfig, port=18081)
        try:
            wait("the lease", controller.is_leading)
            controller.settle()
            begun_with = controller.memory("VmRSS")
            created = run_policy(
                client, controller, nodes, first, lambda: client.create(POLICIES, body=policy(num_vfs=VFS, mtu=1500))
            )
            controller.settle()
            changed = run_policy(
                client, controller, nodes, second,
                lambda: client.patch(
                    POLICIES, name="dpdk", namespace=NAMESPACE, body={"spec": {"numVfs": VFS // 2, "mtu": 9000}}
                ),
            )  # fmt: skip
            controller.settle()
            time.sleep(35.0)  # the status of policies may wait half a minute for more reports
            before, cpu = writes_seen(client), controller.cpu()
            time.sleep(rest)
            seen = writes_seen(client)
            resting = {
                key: count - before.get(key, 0.0)
                for key, count in seen.items()
                if count != before.get(key, 0.0) and not key.endswith(" leases")
            }
            leases = sum(count - before.get(key, 0.0) for key, count in seen.items() if key.endswith(" leases"))
            found = {
                "rss": controller.memory("VmRSS"),
                "peak": controller.memory("VmHWM"),
                "begun_with": begun_with,
                "rest_cpu": controller.cpu() - cpu,
            }
        finally:
            controller.stop()
        floor({"interfaces": None})
        floors.append((floor(first), floor(second)))
        client.close()
    return {
        "nodes": nodes,
        "rest": rest,
        "floors": floors,
        "created": created,
        "changed": changed,
        "resting": resting,
        "leases": leases,
        **found,
    }


def run_policy(
    client: KubeClient, controller: Controller, nodes: int, wanted: Json, act: Callable[[], object]
) -> tuple[float, float, float]:
    """From the act until every node state carries what is wanted: seconds, CPU of all, and CPU of the controller."""
    before, cpu, everybody = controller.wrote(), controller.cpu(), all_cpu()
    begun = time.monotonic()
    act()
    wait("most writes", lambda: controller.wrote() - before >= 0.8 * nodes, pause=POLL_FAR)
    end = wait("the writes", lambda: controller.wrote() - before >= nodes, pause=POLL)
    used, everybody = controller.cpu() - cpu, all_cpu() - everybody
    while wrong := wrong_states(client, wanted):  # it has written something else, too: then these seconds count
        print(f"{len(wrong)} node states are not there yet, such as {wrong[0]}", file=sys.stderr)
        time.sleep(1)
        end = time.monotonic()
        if end - begun > PATIENCE:
            raise SystemExit("the node states: not there")
    return end - begun, everybody, used


def wrong_states(client: KubeClient, wanted: Json) -> list[str]:
    """Node states that do not carry what is wanted."""
    states = client.list(NODE_STATES, namespace=NAMESPACE)
    return [each["metadata"]["name"] for each in states if each.get("spec") != wanted]


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """A table, and what rest looks like."""
    print("| nodes | policy | floor before, after (s) | controller (s) | times | CPU of all: both | times | own CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for each in found:
        for place, word in ((0, "created"), (1, "changed")):
            floors = [pair[place] for pair in each["floors"]]
            seconds, everybody, own = each[word]
            floor, floor_cpu = (sum(column) / len(floors) for column in zip(*floors, strict=True))
            shown = ", ".join(f"{one:.1f}" for one, _ in floors)
            print(
                f"| {each['nodes']} | {word} | {shown} | {seconds:.1f} | {seconds / floor:.2f} "
                f"| {floor_cpu:.1f}, {everybody:.1f} | {everybody / floor_cpu:.2f} | {own:.1f} |"
            )
    for each in found:
        print(
            f"{each['nodes']} nodes: {each['rss']:.0f} MiB at the end, {each['peak']:.0f} at most, "
            f"{each['begun_with']:.0f} before the first policy; {each['rest']:.0f} s of rest: "
            f"{each['rest_cpu']:.2f} s of CPU, {each['leases']:.0f} writes of leases, "
            f"others: {dict(each['resting']) or 'none'}"
        )


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description="How long the controller takes to bring a policy to every node.")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 3000, 5000])
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds of rest to look at (default: 60)")
    asked = parser.parse_args()
    found = []
    for nodes in asked.nodes:
        found.append(measure(nodes, rest=asked.rest))
        show(found[-1:])
        sys.stdout.flush()
    print()
    show(found)


if __name__ == "__main__":
    main()
