"""What `virtfn get` shows of a cluster, and what it says where it may or can not look."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from kube.bed.server import ALICE, STRANGER

from virtfn.cli.exits import Exit
from virtfn.cli.get_cluster import ClusterReader
from virtfn.cluster.kinds import DAEMON_SETS, NETWORKS, NODE_STATES, OPERATOR_CONFIGS, POLICIES, POOL_CONFIGS
from virtfn.errors import Unavailable
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.clock import SystemClock, micro_time
from virtfn.kube.resource import LEASES, NODES, PODS, Resource

Get = Callable[..., Any]
GROUP = "sriovnetwork.openshift.io"
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


def put_state(
    kube: KubeClient, name: str, status: dict[str, Any] | None = None, *, namespace: str = "one", **annotations: str
) -> None:
    words = {f"{GROUP}/{word.replace('_', '-')}": value for word, value in annotations.items()}
    body = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "SriovNetworkNodeState",
        "metadata": {"name": name, "namespace": namespace, "annotations": words},
        "spec": {
            "interfaces": [
                {
                    "pciAddress": "0000:3b:00.0",
                    "name": "ens1f0",
                    "numVfs": 2,
                    "vfGroups": [{"resourceName": "fast", "policyName": "p", "vfRange": "0-1"}],
                }
            ]
        },
    }
    kube.create(NODE_STATES, namespace=namespace, body=body)
    if status is not None:
        kube.patch(
            NODE_STATES, namespace=namespace, name=name, body={"status": status}, subresource="status",
            kind=PatchKind.MERGE,
        )  # fmt: skip


def put_policy(kube: KubeClient, name: str, *, namespace: str = "one", status: dict[str, Any] | None = None) -> None:
    spec = {"resourceName": "fast", "nodeSelector": {}, "nicSelector": {"pfNames": ["ens1f0"]}, "numVfs": 2}
    body = {"apiVersion": f"{GROUP}/v1", "kind": "SriovNetworkNodePolicy", "metadata": {"name": name}, "spec": spec}
    kube.create(POLICIES, namespace=namespace, body=body)
    if status is not None:
        kube.patch(POLICIES, namespace=namespace, name=name, body={"status": status}, subresource="status")


def allow(kube: KubeClient, user: str, *resources: str, namespace: str = "one", verb: str = "list") -> None:
    """Let a user do something in a namespace; the name of the role says what, so that it is not there twice."""
    name = f"{user}-{verb}-{len(resources)}"
    rule = {"apiGroups": [GROUP], "resources": list(resources), "verbs": [verb]}
    role = {"metadata": {"name": name}, "rules": [rule]}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    for resource, body in ((ROLES, role), (BINDINGS, binding)):
        if kube.find(resource, namespace=namespace, name=name) is None:
            kube.create(resource, namespace=namespace, body=body)


VF = {"pciAddress": "0000:3b:01.0", "vfID": 0, "driver": "iavf"}
PF = {
    **{"pciAddress": "0000:3b:00.0", "name": "ens1f0", "numVfs": 2, "totalvfs": 8, "eSwitchMode": "legacy"},
    "Vfs": [VF, VF | {"pciAddress": "0000:3b:01.1", "vfID": 1, "name": "ens1f0v1"}],
}
IN_SYNC = {"syncStatus": "Succeeded", "observedGeneration": 1, "interfaces": [PF]}


def test_a_cluster_without_the_kinds_says_how_to_install_them(get: Get, bare_server: Any) -> None:
    ended = get("-n one")  # the first test of the module: nothing has installed them yet
    assert ended.code == Exit.CLUSTER
    assert f"{bare_server.url}: there is no kind SriovNetworkNodeState" in ended.err
    assert "virtfn crds | kubectl apply -f -" in ended.err
    assert "there is no kind" in get("").err


def test_a_cluster_is_told_on_one_screen(get: Get, fresh: KubeClient) -> None:
    put_state(fresh, "n1", IN_SYNC)
    plan = {"digest": "abc", "disruption": "PF", "affects": ["0000:3b:01.0"], "steps": [{"op": "o", "target": "t"}]}
    waits = {"syncStatus": "InProgress", "observedGeneration": 1, "neededState": "Drain_Required", "plan": plan}
    put_state(fresh, "n2", waits, desired_state="Drain_Required", current_state="Idle")
    put_policy(fresh, "p", status={"observedGeneration": 1, "matchedNodes": 2, "matchedNICs": 2})
    pool = {"apiVersion": f"{GROUP}/v1", "kind": "SriovNetworkPoolConfig", "metadata": {"name": "gpu"}}
    fresh.create(POOL_CONFIGS, namespace="one", body=pool | {"spec": {"maxUnavailable": 1}})
    ended = get("")
    assert (ended.code, ended.err) == (0, "")
    for words in (
        "namespace one at https://127.0.0.1:",
        "controller: NONE LEADS (nobody has it)",
        "2 nodes: 1 awaiting drain, 1 in sync",
        "n2    awaiting drain",
        "plan abc: 1 step, disruption PF, 1 VF lose traffic: 0000:3b:01.0",
        "n1    0000:3b:00.0  ens1f0  2/8",
        "fast 0-1 by p, 1 in pods",
        "p       99    fast      2       2      2     2/4  1        ok",
        "gpu   all    1",
    ):
        assert words in ended.out, ended.out


def test_who_leads_and_what_runs_is_told(get: Get, fresh: KubeClient) -> None:
    put_policy(fresh, "p", namespace="two")
    now = micro_time(datetime.now(UTC))
    spec = {"holderIdentity": "virtfn-abc", "leaseDurationSeconds": 600, "renewTime": now, "acquireTime": now}
    fresh.create(LEASES, namespace="two", body={"metadata": {"name": "virtfn-controller"}, "spec": spec})
    labels = {"app": "sriov-network-config-daemon"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    metadata = {"name": "sriov-network-config-daemon", "labels": {"app.kubernetes.io/part-of": "virtfn"}}
    body = {"metadata": metadata, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    fresh.create(DAEMON_SETS, namespace="two", body=body)
    counts = {"currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 2}
    fresh.patch(
        DAEMON_SETS, namespace="two", name="sriov-network-config-daemon", body={"status": counts}, subresource="status"
    )
    told = get("-n two").out
    assert "controller: virtfn-abc leads" in told
    assert "daemon set sriov-network-config-daemon: 2 of 3 ready" in told


def test_as_data_it_is_whole(get: Get, fresh: KubeClient) -> None:
    for number in range(15):
        put_state(fresh, f"n{number:02}", IN_SYNC)
    told = json.loads(get("-o json").out)
    assert [node["name"] for node in told["nodes"]] == [f"n{number:02}" for number in range(15)]
    assert told["counts"] == {"in sync": 15}
    assert yaml.safe_load(get("-o yaml").out)["nodes"] == told["nodes"]
    text = get("").out
    assert "n00" not in text
    assert "not shown: 15 in sync" in text
    assert "n14" in get("--all").out


def test_it_looks_again_until_it_is_told_to_stop(get: Get, fresh: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def wait(_: object, event: object, *, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 1:
            put_state(fresh, "n2", IN_SYNC)
        elif len(waits) == 2:
            monkeypatch.setattr(ClusterReader, "read", lambda *_, **__: (_ for _ in ()).throw(Unavailable("away")))
        else:
            raise KeyboardInterrupt
        return False

    put_state(fresh, "n1", IN_SYNC)
    monkeypatch.setattr(SystemClock, "wait", wait)
    ended = get("-n one --watch 0.1")
    assert ended.code == 130
    assert ended.out.index("1 node: 1 in sync") < ended.out.index("2 nodes: 2 in sync")
    assert "away [Unavailable]" in ended.err
    assert waits == [2.0, 2.0, 2.0]  # each look reads everything: not more often than that


def test_one_node_is_told_with_the_pods_that_have_its_vfs(get: Get, fresh: KubeClient) -> None:
    put_state(fresh, "n1", IN_SYNC)
    put_state(fresh, "n2", IN_SYNC)
    put_policy(fresh, "p")
    put_policy(fresh, "elsewhere")
    network = {"name": "one/fast", "device-info": {"type": "pci", "pci": {"pci-address": "0000:3b:01.0"}}}
    annotations = {"k8s.v1.cni.cncf.io/network-status": json.dumps([network])}
    pod = {"metadata": {"name": "db-0", "annotations": annotations}}
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}
    fresh.create(NODES, body={"metadata": {"name": "n1"}, "spec": {"unschedulable": True}})
    fresh.create(PODS, namespace="default", body=pod | {"spec": spec})
    try:
        ended = get("--node n1")
        assert (ended.code, ended.err) == (0, "")
        assert "default/db-0" in ended.out
        assert "unschedulable: cordoned by somebody else" in ended.out
        assert "n2" not in ended.out
        assert "elsewhere" not in ended.out
    finally:
        fresh.delete(PODS, namespace="default", name="db-0", grace_seconds=0)
        fresh.delete(NODES, name="n1")


def test_a_node_that_has_no_state_is_named(get: Get, fresh: KubeClient) -> None:
    put_state(fresh, "n1", IN_SYNC)
    ended = get("--node nx")
    assert ended.code == Exit.REQUEST
    assert "--node: one has no node state nx" in ended.err


def test_networks_and_the_configuration_are_told_where_something_is_wrong(get: Get, fresh: KubeClient) -> None:
    put_policy(fresh, "p")
    wrong = {"type": "Ready", "status": "False", "reason": "NamespaceNotFound", "message": "there is no namespace x"}
    status = {"conditions": [wrong | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    for resource, namespace, name in ((NETWORKS, "two", "net"), (OPERATOR_CONFIGS, "one", "default")):
        spec = {"resourceName": "fast"} if resource is NETWORKS else {}
        body = {"apiVersion": f"{GROUP}/v1", "kind": resource.kind, "metadata": {"name": name}, "spec": spec}
        fresh.create(resource, namespace=namespace, body=body)
        fresh.patch(resource, namespace=namespace, name=name, body={"status": status}, subresource="status")
    try:
        told = get("-n one").out
        assert "SriovNetwork         two/net  NamespaceNotFound: there is no namespace x" in told
        assert "SriovOperatorConfig  default  NamespaceNotFound" in told
    finally:
        fresh.delete(NETWORKS, namespace="two", name="net")


# --- namespaces -------------------------------------------------------------------------------------------------------


def test_a_cluster_with_nothing_of_ours_says_so(get: Get, fresh: KubeClient) -> None:
    ended = get("")
    assert ended.code == Exit.REQUEST
    assert "no namespace of https://127.0.0.1" in ended.err


def test_the_wrong_namespace_is_told_with_the_right_one(get: Get, fresh: KubeClient) -> None:
    put_state(fresh, "n1", IN_SYNC)
    ended = get("-n two")
    assert ended.code == Exit.REQUEST
    assert "-n: two has no node states and no policies (they are in one)" in ended.err


def test_several_namespaces_have_to_be_chosen_from(get: Get, fresh: KubeClient) -> None:
    put_policy(fresh, "p", namespace="one")
    put_policy(fresh, "q", namespace="two")
    ended = get("")
    assert ended.code == Exit.REQUEST
    assert "-n: there are several, name one: one, two" in ended.err
    put_state(fresh, "n1", IN_SYNC)  # where node states are, there somebody looks at policies
    told = get("")
    assert told.code == 0
    assert "note: policies outside one have no effect here: two/q" in told.out


def test_the_namespace_of_the_operator_config_goes_before_that_of_policies(get: Get, fresh: KubeClient) -> None:
    config = {"apiVersion": f"{GROUP}/v1", "kind": "SriovOperatorConfig", "metadata": {"name": "default"}, "spec": {}}
    fresh.create(OPERATOR_CONFIGS, namespace="two", body=config)
    put_policy(fresh, "lost", namespace="one")
    told = get("")
    assert "namespace two at" in told.out
    assert "no node state:" in told.out
    assert "policies outside two have no effect here: one/lost" in told.out
    assert get("-n two").code == 0  # nothing but its config is there, and it is right


def test_the_environment_names_the_namespace(get: Get, fresh: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    put_policy(fresh, "p", namespace="one")
    put_policy(fresh, "q", namespace="two")
    monkeypatch.setenv("NAMESPACE", "two")
    assert "namespace two at" in get("").out


# --- rights -----------------------------------------------------------------------------------------------------------


def test_somebody_without_rights_is_told_which_is_missing(get: Get, fresh: KubeClient) -> None:
    put_state(fresh, "n1", IN_SYNC)
    ended = get("", user=STRANGER)
    assert ended.code == Exit.CLUSTER
    assert "name it with -n" in ended.err
    ended = get("-n one", user=STRANGER)
    assert ended.code == Exit.CLUSTER
    assert "the right to list sriovnetworknodestates.sriovnetwork.openshift.io in one is missing" in ended.err
    assert "stranger" in ended.err
    ended = get("-n one --node n1", user=STRANGER)
    assert "the right to get sriovnetworknodestates.sriovnetwork.openshift.io in one is missing" in ended.err


def test_with_few_rights_what_can_be_told_is_told(get: Get, fresh: KubeClient) -> None:
    allow(fresh, "alice", "sriovnetworknodestates", "sriovnetworknodepolicies")
    put_state(fresh, "n1", IN_SYNC)
    ended = get("-n one", user=ALICE)
    assert (ended.code, ended.err) == (0, "")
    assert "1 node: 1 in sync" in ended.out
    for words in ("no right to list sriovnetworkpoolconfigs", "no right to get leases", "no right to list daemonsets"):
        assert words in ended.out.replace("\n      ", " "), ended.out
