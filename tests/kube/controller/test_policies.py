"""From a policy to node states and back to ready, with a real API server in between."""

from __future__ import annotations

import subprocess
import urllib.request
from typing import Any

import pytest
from kube.bed.reconciling import eventually

from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS, POLICIES, POOL_CONFIGS
from virtfn.errors import InvalidObject
from virtfn.kube.resource import NODES
from virtfn.model.crd import PolicyStatus

CAPABLE = "feature.node.kubernetes.io/network-sriov.capable"
SEED = {
    "nodeSelector": {CAPABLE: "true"},
    "eSwitchMode": "switchdev",
    "numVfs": 3,
    "nicSelector": {"pfNames": ["ens41f0np0", "ens41f1np1"]},
    "resourceName": "cx_sriov_switchdev",
}
"""What users of kube-ovn write."""


def test_the_policy_of_a_kube_ovn_user_until_it_is_ready(site: Any, kit: Any) -> None:
    site.controller()
    for name in ("worker-1", "worker-2"):
        site.node(
            name,
            kit.nic(),
            kit.nic("ens41f1np1", "0000:3b:00.1"),
            kit.nic("eno1", "0000:01:00.0", vendor="8086"),
            **{CAPABLE: "true"},
        )
    site.node("worker-3", kit.nic())
    site.policy("policy", **SEED)
    site.until_ready("policy")
    group = {"resourceName": "cx_sriov_switchdev", "deviceType": "netdevice", "vfRange": "0-2", "policyName": "policy"}
    for name in ("worker-1", "worker-2"):
        assert site.spec(name) == {
            "interfaces": [
                {"pciAddress": address, "name": pf, "numVfs": 3, "eSwitchMode": "switchdev", "vfGroups": [group]}
                for pf, address in (("ens41f0np0", "0000:3b:00.0"), ("ens41f1np1", "0000:3b:00.1"))
            ]
        }
    assert site.spec("worker-3") == {}
    status = site.client.get(POLICIES, name="policy", namespace=site.namespace)["status"]
    assert (status["matchedNodes"], status["matchedNICs"]) == (2, 4)
    assert [each["name"] for each in status["nodes"]] == ["worker-1", "worker-2"]
    assert PolicyStatus.model_validate(status).nodes[0].pfs[0].vf_range == "0-2"
    assert site.server.assets.kubectl is not None
    said = subprocess.run(
        [
            site.server.assets.kubectl, "--kubeconfig", site.server.kubeconfig(), "--namespace", site.namespace, "wait",
            "--for=condition=Ready", "sriovnetworknodepolicy/policy", "--timeout=30s",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr


def test_a_change_and_a_deletion_reach_the_nodes(site: Any, kit: Any) -> None:
    site.controller()
    site.node("n1", kit.nic())
    site.policy("a", numVfs=4)
    site.until_ready("a")
    site.policy("a", numVfs=2, mtu=9000)
    site.until_ready("a")
    assert site.spec("n1")["interfaces"][0]["numVfs"] == 2
    assert site.spec("n1")["interfaces"][0]["vfGroups"][0]["mtu"] == 9000
    site.policy("a", numVfs=2)
    site.until_ready("a")
    assert "mtu" not in site.spec("n1")["interfaces"][0]
    site.client.delete(POLICIES, name="a", namespace=site.namespace)
    eventually(lambda: site.spec("n1") == {})


def test_nodes_and_their_labels_come_and_go(site: Any, kit: Any) -> None:
    site.controller(stale_state_minutes=0.05)
    site.node("n1", kit.nic(), zone="a")
    site.policy("a", nodeSelector={"zone": "a"})
    site.until_ready("a")
    site.client.patch(NODES, name="n1", body={"metadata": {"labels": {"zone": "b"}}})
    eventually(lambda: site.spec("n1") == {})
    eventually(lambda: site.condition("a").get("reason") == "NoNodeSelected")
    site.client.patch(NODES, name="n1", body={"metadata": {"labels": {"zone": "a"}}})
    site.until_ready("a")
    uid = site.state("n1")["metadata"]["uid"]
    site.client.delete(NODES, name="n1")
    keep = "sriovnetwork.openshift.io/keep-state-until"
    eventually(lambda: keep in site.state("n1")["metadata"].get("annotations", {}))
    site.node("n1", zone="a")
    eventually(lambda: keep not in site.state("n1")["metadata"].get("annotations", {}))
    assert site.state("n1")["metadata"]["uid"] == uid
    site.client.delete(NODES, name="n1")
    eventually(lambda: site.state("n1") is None)


def test_a_failing_node_and_a_policy_that_is_overridden_are_told(site: Any, kit: Any) -> None:
    site.controller()
    site.node("n1", kit.nic())
    site.node("n2", kit.nic())
    site.policy("low", priority=90)
    site.until_ready("low")
    site.daemons.failing["n2"] = "0000:3b:00.0: no room for 4 VFs (ask the BIOS)"
    site.policy("high", priority=10, resourceName="other")
    found = eventually(lambda: said if (said := site.condition("high")).get("reason") == "NodesFailed" else None)
    assert "n2: 0000:3b:00.0: no room for 4 VFs (ask the BIOS)" in found["message"]
    assert site.condition("low")["reason"] == "Overridden"
    conflict = site.condition("low", kind="Conflict")
    assert "VFs 0-3 of policy low gave way to policy high (a lower priority number)" in conflict["message"]
    site.daemons.failing.clear()
    site.until_ready("high")
    site.client.delete(POLICIES, name="high", namespace=site.namespace)
    site.until_ready("low")
    assert site.condition("low", kind="Conflict") == {}


def test_the_server_takes_and_keeps_all_that_policies_can_ask_for(site: Any, kit: Any) -> None:
    site.controller()
    config = {"spec": {"featureGates": {"manageSoftwareBridges": True}, "disableDrain": True}}
    metadata = {"name": "default", "namespace": site.namespace}
    site.client.create(
        OPERATOR_CONFIGS,
        body={
            "apiVersion": OPERATOR_CONFIGS.api_version,
            "kind": OPERATOR_CONFIGS.kind,
            "metadata": metadata,
            **config,
        },
    )
    site.client.create(
        POOL_CONFIGS,
        body={
            "apiVersion": POOL_CONFIGS.api_version, "kind": POOL_CONFIGS.kind,
            "metadata": {"name": "pool", "namespace": site.namespace},
            "spec": {"rdmaMode": "exclusive", "maxUnavailable": "30%"},
        },
    )  # fmt: skip
    site.node("n1", kit.nic(altNames=["data0"]))
    ovs = {
        "bridge": {"datapathType": "netdev", "failMode": "secure", "externalIDs": {"a": "b"}, "otherConfig": {"c": "d"}}
    }
    uplink = {
        "interface": {"type": "dpdk", "options": {"e": "f"}, "externalIDs": {"g": "h"}, "otherConfig": {"i": "j"}}
    }
    site.policy(
        "all", nicSelector={"pfNames": ["data0#2-5"], "vendor": "15b3", "deviceID": "1017"}, numVfs=6, mtu=9000,
        priority=3, deviceType="netdevice", isRdma=True, needVhostNet=True, linkType="ETH", eSwitchMode="switchdev",
        vdpaType="vhost", excludeTopology=True, driftMode="RepairWithDrain", bridge={"ovs": {**ovs, "uplink": uplink}},
    )  # fmt: skip
    site.until_ready("all")
    group = {
        "resourceName": "r", "deviceType": "netdevice", "vfRange": "2-5", "policyName": "all", "mtu": 9000,
        "isRdma": True, "vdpaType": "vhost", "needVhostNet": True, "excludeTopology": True,
    }  # fmt: skip
    pf = {"pciAddress": "0000:3b:00.0", "name": "ens41f0np0"}
    assert site.spec("n1") == {
        "interfaces": [
            {
                **pf, "numVfs": 6, "mtu": 9000, "linkType": "ETH", "eSwitchMode": "switchdev",
                "driftMode": "RepairWithDrain", "vfGroups": [group],
            }
        ],
        "bridges": {
            "ovs": [
                {
                    "name": "br-0000_3b_00.0", **ovs,
                    "uplinks": [{**pf, "interface": {**uplink["interface"], "mtuRequest": 9000}}],
                }
            ]
        },
        "system": {"rdmaMode": "exclusive"},
    }  # fmt: skip
    pool = eventually(
        lambda: site.client.get(POOL_CONFIGS, name="pool", namespace=site.namespace).get("status", {}).get("conditions")
    )
    assert (pool[0]["status"], pool[0]["reason"], pool[0]["message"]) == ("True", "PoolReady", "1 node")
    owner = site.state("n1")["metadata"]["ownerReferences"]
    assert [(each["kind"], each["name"], each["controller"]) for each in owner] == [
        ("SriovOperatorConfig", "default", True)
    ]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"numVfs": -1}, "numVfs"),
        ({"priority": 100}, "priority"),
        ({"deviceType": "uio"}, "deviceType"),
        ({"eSwitchMode": "bridge"}, "eSwitchMode"),
        ({"nicSelector": {"vendor": "mellanox"}}, "vendor"),
        ({"numVfs": None}, "numVfs"),
    ],
)
def test_the_definitions_refuse_what_no_policy_may_say(site: Any, spec: dict[str, Any], field: str) -> None:
    body = {"resourceName": "r", "nodeSelector": {}, "numVfs": 4, "nicSelector": {"vendor": "15b3"}, **spec}
    with pytest.raises(InvalidObject, match=field):
        site.client.create(
            POLICIES,
            body={
                "apiVersion": POLICIES.api_version, "kind": POLICIES.kind,
                "metadata": {"name": "a", "namespace": site.namespace},
                "spec": {key: value for key, value in body.items() if value is not None},
            },
        )  # fmt: skip


def test_the_definitions_prune_what_nobody_knows(site: Any) -> None:
    policy = site.client.create(
        POLICIES,
        body={
            "apiVersion": POLICIES.api_version, "kind": POLICIES.kind,
            "metadata": {"name": "a", "namespace": site.namespace},
            "spec": {
                "resourceName": "r", "nodeSelector": {"any": "label"}, "numVfs": 4,
                "nicSelector": {"vendor": "15b3", "x": 1}, "y": 2,
            },
            "status": {"matchedNodes": 5},
        },
    )  # fmt: skip
    assert policy["spec"]["nicSelector"] == {"vendor": "15b3"}
    assert "y" not in policy["spec"]
    assert "status" not in policy  # only the subresource writes it
    state = site.client.create(
        NODE_STATES,
        body={
            "apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind,
            "metadata": {"name": "n1", "namespace": site.namespace},
            "spec": {"interfaces": [{"pciAddress": "0000:3b:00.0", "numVfs": 1, "z": 3}]},
        },
    )  # fmt: skip
    assert state["spec"]["interfaces"] == [{"pciAddress": "0000:3b:00.0", "numVfs": 1}]


def test_a_kind_that_is_missing_holds_up_nobody_else_and_health_says_so(site: Any, kit: Any) -> None:
    controller = site.controller()
    site.node("n1", kit.nic())
    site.policy("a")
    site.until_ready("a")
    assert not controller.app.views["attachment_definitions"].reflector.has_synced

    def page(name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{controller.app.health_port}{name}", timeout=10) as answer:
            return str(answer.read().decode())

    assert page("/readyz") == "views: ok\n"
    assert page("/healthz") == "views: ok\nworkers: ok\nlease: ok\n"
