"""The whole controller with the rights that it is deployed with, and no others: nothing that it does is refused."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from kube.bed.assets import Assets
from kube.bed.deploying import OVERLAYS, as_account, deployed
from kube.bed.reconciling import eventually

from virtfn.cluster import kinds
from virtfn.controller.app import App, AppSettings
from virtfn.controller.operands import NAMES
from virtfn.controller.services import ControllerSettings
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.conditions import condition_of
from virtfn.kube.meter import Tally
from virtfn.kube.resource import LEASES, NAMESPACES, NODES, PODS, Json, Resource

VF = "0000:3b:02.0"
IMAGES = {
    "SRIOV_NETWORK_CONFIG_DAEMON_IMAGE": "example.org/daemon:1",
    "SRIOV_DEVICE_PLUGIN_IMAGE": "example.org/plugin:1",
    "SRIOV_CNI_IMAGE": "example.org/sriov:1",
    "SRIOV_INFINIBAND_CNI_IMAGE": "example.org/ib:1",
    "RDMA_CNI_IMAGE": "example.org/rdma:1",
    "OVS_CNI_IMAGE": "example.org/ovs:1",
}


def create(kube: KubeClient, resource: Resource, name: str, *, namespace: str = "", **rest: Any) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    thing = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}
    return kube.create(resource, body=thing)


@pytest.mark.parametrize("overlay", ["default", "kube-ovn"])
def test_nothing_that_the_controller_does_is_refused(
    overlay: str, binaries: Assets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    where = OVERLAYS[overlay]
    deploys = overlay == "default"
    environment = {**IMAGES, **({} if deploys else {"VIRTFN_DEPLOY_OPERANDS": "false"})}
    settings = ControllerSettings(where, "example.com", environment=environment, stale_state_minutes=0)
    tally, stop = Tally(), threading.Event()
    with (
        deployed(binaries, overlay) as server,
        as_account(server, "") as admin,
        as_account(server, "virtfn-controller", namespace=where) as own,
    ):
        app = App(own, settings=settings, run_as=AppSettings("test"), random=Random(), meter=tally)
        thread = threading.Thread(target=app.run, args=(stop,))
        thread.start()
        try:
            _a_day(admin, where, deploys=deploys)
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()
    refused = [record.getMessage() for record in caplog.records if "is not allowed" in record.getMessage()]
    assert refused == []


def _a_day(admin: KubeClient, where: str, *, deploys: bool) -> None:
    """Whatever makes the controller write: everything that it reads comes, changes, and goes."""

    def is_reported(resource: Resource, name: str, *, namespace: str = where) -> Callable[[], bool]:
        return lambda: condition_of(admin.get(resource, name=name, namespace=namespace), name="Ready") is not None

    eventually(lambda: admin.find(LEASES, name="virtfn-controller", namespace=where))
    labels = {"node-role.kubernetes.io/worker": "", "kubernetes.io/os": "linux"}
    admin.create(NODES, body={"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker", "labels": labels}})
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Up", "message": ""}]}}
    admin.patch(NODES, name="worker", body=ready, subresource="status")
    create(admin, NAMESPACES, "apps")
    create(admin, kinds.POOL_CONFIGS, "pool", namespace=where, spec={"maxUnavailable": 1, "nodeSelector": {}})
    policy = {"nodeSelector": {}, "nicSelector": {"pfNames": ["ens1"]}, "numVfs": 1, "resourceName": "fast"}
    create(admin, kinds.POLICIES, "policy", namespace=where, spec=policy)
    for kind in (kinds.NETWORKS, kinds.IB_NETWORKS, kinds.OVS_NETWORKS):
        name = kind.kind.lower()
        create(admin, kind, name, namespace=where, spec={"resourceName": "fast", "networkNamespace": "apps"})
        eventually(is_reported(kind, name))
        assert admin.find(kinds.ATTACHMENT_DEFINITIONS, name=name, namespace="apps")
    if deploys:
        eventually(lambda: all(admin.find(kinds.DAEMON_SETS, name=name, namespace=where) for name in NAMES))
        eventually(is_reported(kinds.OPERATOR_CONFIGS, "default"))
    eventually(lambda: admin.find(kinds.NODE_STATES, name="worker", namespace=where))
    status = {
        "neededState": "Idle",
        "syncStatus": "Succeeded",
        "interfaces": [
            {"pciAddress": "0000:3b:00.0", "name": "ens1", "vendor": "8086", "totalvfs": 8, "numVfs": 1,
             "Vfs": [{"pciAddress": VF, "vfID": 0}]}
        ],
        "devicePlugin": {"revision": "r1", "resources": ["fast"]},
    }  # fmt: skip
    _publish(admin, where, status)
    eventually(lambda: admin.get(kinds.NODE_STATES, name="worker", namespace=where)["spec"].get("interfaces"))
    eventually(is_reported(kinds.POLICIES, "policy"))
    label = "sriovnetwork.openshift.io/device-plugin"
    eventually(lambda: admin.get(NODES, name="worker")["metadata"]["labels"].get(label) == "Enabled")
    for name in ("holder", "sriov-device-plugin"):
        _pod(admin, name, namespace="apps" if name == "holder" else where)
    status["devicePlugin"] = {"revision": "r2", "resources": ["fast"]}
    _publish(admin, where, status)
    eventually(lambda: admin.find(PODS, name="sriov-device-plugin", namespace=where) is None)
    _pod(admin, "sriov-device-plugin", namespace=where)  # as the DaemonSet's controller would
    plan = {"digest": "d1", "generation": 1, "disruption": "PF", "affects": [VF]}
    _publish(admin, where, {**status, "neededState": "Drain_Required", "syncStatus": "InProgress", "plan": plan})
    eventually(lambda: admin.find(PODS, name="holder", namespace="apps") is None)
    current = "sriovnetwork.openshift.io/current-state"

    def current_is(word: str) -> bool:
        found = admin.get(kinds.NODE_STATES, name="worker", namespace=where)
        return bool(found["metadata"]["annotations"].get(current) == word)

    eventually(lambda: current_is("DrainComplete"))
    assert admin.get(NODES, name="worker")["spec"].get("unschedulable")
    _publish(admin, where, status)
    eventually(lambda: current_is("Idle"))
    for kind in (kinds.NETWORKS, kinds.IB_NETWORKS, kinds.OVS_NETWORKS):
        admin.delete(kind, name=kind.kind.lower(), namespace=where)
        eventually(lambda kind=kind: admin.find(kind, name=kind.kind.lower(), namespace=where) is None)  # type: ignore[misc]
    admin.delete(NODES, name="worker")
    eventually(lambda: admin.find(kinds.NODE_STATES, name="worker", namespace=where) is None)
    if deploys:
        theirs = {"metadata": {"finalizers": ["operatorconfig.finalizers.sriovnetwork.openshift.io"]}}
        admin.patch(kinds.OPERATOR_CONFIGS, name="default", namespace=where, body=theirs)
        admin.delete(kinds.OPERATOR_CONFIGS, name="default", namespace=where)
        eventually(lambda: admin.find(kinds.OPERATOR_CONFIGS, name="default", namespace=where) is None)
        eventually(lambda: not list(admin.list(kinds.DAEMON_SETS, namespace=where)))


def _publish(admin: KubeClient, where: str, status: Json) -> None:
    """What the daemon of the node would say."""
    body = {
        "apiVersion": kinds.NODE_STATES.api_version,
        "kind": kinds.NODE_STATES.kind,
        "metadata": {"name": "worker"},
        "status": status,
    }
    admin.patch(
        kinds.NODE_STATES, name="worker", namespace=where, body=body, kind=PatchKind.APPLY,
        field_manager="virtfn-daemon", force=True, subresource="status",
    )  # fmt: skip


def _pod(admin: KubeClient, name: str, *, namespace: str) -> None:
    """One that runs on the node; the one of the apps holds a VF."""
    shown = [{"name": "apps/net", "interface": "net1", "device-info": {"type": "pci", "pci": {"pci-address": VF}}}]
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"app": name},
        "annotations": {"k8s.v1.cni.cncf.io/network-status": json.dumps(shown)} if name == "holder" else {},
    }
    spec = {
        "nodeName": "worker",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "example.org/i:1"}],
    }
    admin.create(PODS, body={"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    admin.patch(PODS, name=name, namespace=namespace, body=status, subresource="status")
