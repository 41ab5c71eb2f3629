"""Nodes that are simulated, with daemons that are not: each `virtfn.daemon` works on a `FakeHost`, and talks to a real
API server.

A node here is what a cluster sees of one: a Node object that is ready, and pods that end when they are told to. Nothing
runs in the pods; a pod that is given a VF takes the VF's netdev away from the host, as a real one does.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from virtfn.daemon.app import Daemon, DaemonSettings
from virtfn.daemon.loop import LoopSettings
from virtfn.errors import AlreadyExists, ClusterError
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import NODES, PODS, key_of, metadata_of
from virtfn.model import PciAddress
from virtfn.node import Node
from virtfn.testing.fakehost import FakeHost

CAPABLE_LABEL: Final = "feature.node.kubernetes.io/network-sriov.capable"
NETWORK_STATUS: Final = "k8s.v1.cni.cncf.io/network-status"
_TURN: Final = 0.25


@dataclass(frozen=True, slots=True)
class SimulatedNodeSettings:
    """One node. Times in seconds."""

    name: str
    namespace: str
    """Of the operator."""
    folder: Path
    """For what the daemon keeps on its host."""
    loop: LoopSettings = field(default_factory=LoopSettings)
    firmware_reset: bool = False
    """Whether a card may be reset to spare a reboot."""


class SimulatedNode:
    """A node with its daemon and as much of a kubelet as a drain needs. Use it as a context manager.

    :param host: the machine with its cards.
    :param client: as whom the kubelet acts, and the daemon too unless it has a client of its own.
    :param on_end: called with `namespace/name` of each pod that has ended here.
    """

    def __init__(
        self,
        settings: SimulatedNodeSettings,
        *,
        host: FakeHost,
        client: KubeClient,
        daemon_client: KubeClient | None = None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = settings.name
        self.host = host
        self._client = client
        self._on_end = on_end
        self._stop = threading.Event()
        machine = Machine(host.kernel)
        journal = settings.folder / "journal"
        self.daemon = Daemon(
            DaemonSettings(
                node_name=settings.name,
                namespace=settings.namespace,
                state_dir=journal,
                run_dir=settings.folder / "run",
                loop=settings.loop,
            ),
            node=Node(machine, journal=Journal(journal), now=time.monotonic, firmware_reset=settings.firmware_reset),
            machine=machine,
            client=daemon_client or client,
        )
        self._kubelet = threading.Thread(target=self._end_pods, name=f"kubelet-{settings.name}", daemon=True)

    def __enter__(self) -> Self:
        self._register()
        self._kubelet.start()
        self.daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self._stop.set()
        self._kubelet.join()

    def start_pod(self, name: str, *, namespace: str, vf: str | PciAddress) -> None:
        """A pod that has this VF, as the API server shows it where Multus has given it one."""
        network = {"name": "demo", "device-info": {"type": "pci", "version": "1.1.0", "pci": {"pci-address": str(vf)}}}
        metadata = {"name": name, "annotations": {NETWORK_STATUS: json.dumps([network])}}
        spec = {"nodeName": self.name, "containers": [{"name": "main", "image": "none"}]}
        self._client.create(PODS, namespace=namespace, body={"metadata": metadata, "spec": spec})
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self._client.patch(PODS, namespace=namespace, name=name, body={"status": status}, subresource="status")
        self.host.move_to_namespace(vf)

    def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", CAPABLE_LABEL: "true"}
        with suppress(AlreadyExists):  # it has been booted
            self._client.create(NODES, body={"metadata": {"name": self.name, "labels": labels}})
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        self._client.patch(NODES, name=self.name, body={"status": {"conditions": [ready]}}, subresource="status")
        # The server holds new nodes back until somebody has seen that they are ready (TaintNodesByCondition).
        self._client.patch(NODES, name=self.name, body={"spec": {"taints": None}})

    def _end_pods(self) -> None:
        """A pod that was told to end is gone as soon as its kubelet says so."""
        while not self._stop.wait(_TURN):
            try:
                for pod in self._client.list(PODS, fields=f"spec.nodeName={self.name}"):
                    metadata = metadata_of(pod)
                    if not metadata.get("deletionTimestamp"):
                        continue
                    where, name = str(metadata["namespace"]), str(metadata["name"])
                    self._client.delete(PODS, namespace=where, name=name, uid=str(metadata["uid"]), grace_seconds=0)
                    self._on_end(key_of(pod))
            except ClusterError:
                continue  # a server that is not there now will be there again, or nobody needs this any more
