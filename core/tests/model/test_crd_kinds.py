"""The other kinds of the API, and what all kinds have in common."""

from typing import Any

import pytest
from pydantic import ValidationError

from virtfn.model.crd import (
    KINDS,
    OVSNetwork,
    PolicyStatus,
    SriovNetwork,
    SriovNetworkNodePolicy,
    SriovNetworkPoolConfig,
    SriovOperatorConfig,
)

API = "sriovnetwork.openshift.io/v1"
CONDITIONS = {
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "observedGeneration": 2,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "reason": "NamespaceNotFound",
            "message": 'target namespace "apps" does not exist',
        }
    ]
}
NETWORK = {
    "networkNamespace": "apps",
    "resourceName": "r",
    "capabilities": '{"mac": true}',
    "ipam": '{"type": "host-local"}',
    "metaPlugins": '{"type": "tuning"}',
}
OBJECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SriovNetwork": (
        {
            **NETWORK,
            "vlan": 10,
            "vlanQoS": 3,
            "vlanProto": "802.1ad",
            "spoofChk": "on",
            "trust": "off",
            "linkState": "disable",
            "minTxRate": 10,
            "maxTxRate": 100,
            "logLevel": "debug",
            "logFile": "/var/log/sriov.log",
        },
        CONDITIONS,
    ),
    "SriovIBNetwork": ({**NETWORK, "linkState": "enable"}, CONDITIONS),
    "OVSNetwork": (
        {
            **NETWORK,
            "bridge": "br-1",
            "vlan": 10,
            "mtu": 1500,
            "trunk": [{"id": 5}, {"minID": 10, "maxID": 20}],
            "interfaceType": "dpdk",
        },
        CONDITIONS,
    ),
    "SriovNetworkPoolConfig": (
        {
            "nodeSelector": {
                "matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["v"]}],
            },
            "ovsHardwareOffloadConfig": {"name": "pool"},
            "maxUnavailable": "30%",
            "rdmaMode": "exclusive",
        },
        CONDITIONS,
    ),
    "SriovOperatorConfig": (
        {
            "configDaemonNodeSelector": {"a": "b"},
            "enableInjector": True,
            "enableOperatorWebhook": True,
            "logLevel": 2,
            "disableDrain": True,
            "enableOvsOffload": True,
            "configurationMode": "systemd",
            "useCDI": True,
            "disablePlugins": ["mellanox"],
            "featureGates": {"metricsExporter": True, "invented": False},
            "configDaemonEnvVars": {"A": "b"},
            "podEvictionPolicy": "delete",
            "podEvictionForce": True,
        },
        {"injector": "a", "operatorWebhook": "b", **CONDITIONS},
    ),
}


def obj(kind: str, spec: Any = None, **parts: Any) -> dict[str, Any]:
    spec = OBJECTS[kind][0] if spec is None else spec
    return {"apiVersion": API, "kind": kind, "metadata": {"name": "a", "uid": "1-2"}, "spec": spec, **parts}


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_field_comes_back(kind: str) -> None:
    data = obj(kind, status=OBJECTS[kind][1])
    read = KINDS[kind].model_validate(data)
    assert read.to_wire() == data
    assert read.name == "a"
    spec = KINDS[kind].model_fields["spec"].annotation
    assert {field.alias or name for name, field in spec.model_fields.items()} == set(OBJECTS[kind][0])  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("wrong", [{"numVf": 1}, {"resourcename": "r"}])
def test_unknown_fields_of_a_spec_are_refused(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="unknown field"):
        KINDS[kind].model_validate(obj(kind, {**OBJECTS[kind][0], **wrong}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_is_read_leniently_and_left_out_when_empty(kind: str) -> None:
    spec = OBJECTS.get(kind, ({},))[0]
    if kind == "SriovNetworkNodePolicy":
        spec = {"resourceName": "r", "nodeSelector": {}, "numVfs": 1, "nicSelector": {}}
    invented = {"invented": {"a": [1]}, "conditions": [{"type": "Ready", "status": "True", "why": 3, "reason": 7}]}
    read = KINDS[kind].model_validate(obj(kind, spec, status=invented)).to_wire()
    blank = {"lastTransitionTime": "", "message": ""}
    assert read["status"] == {"conditions": [{"type": "Ready", "status": "True", "reason": "7", **blank}]}
    for empty in ({}, None, {"conditions": []}, {"invented": 1}):
        assert "status" not in KINDS[kind].model_validate(obj(kind, spec, status=empty)).to_wire()


def test_a_zero_with_a_meaning_of_its_own_is_kept() -> None:
    def network(**spec: Any) -> dict[str, Any]:
        return SriovNetwork.model_validate(obj("SriovNetwork", {"resourceName": "r", **spec})).to_wire()["spec"]  # type: ignore[no-any-return]

    assert network() == {"resourceName": "r", "logLevel": "info"}
    assert network(minTxRate=None, maxTxRate=None) == network()
    assert network(minTxRate=0, maxTxRate=0) == {**network(), "minTxRate": 0, "maxTxRate": 0}
    assert network(logLevel="")["logLevel"] == ""
    assert network(resourceName="")["resourceName"] == ""
    assert network(vlan=0, vlanQoS=0, ipam="") == network()
    trunk = {"resourceName": "r", "trunk": [{"minID": 0, "maxID": 0}, {"id": 0}]}
    assert OVSNetwork.model_validate(obj("OVSNetwork", trunk)).to_wire()["spec"] == trunk


def test_no_limit_no_node_and_no_selector_differ() -> None:
    def pool(spec: dict[str, Any]) -> SriovNetworkPoolConfig:
        read = SriovNetworkPoolConfig.model_validate(obj("SriovNetworkPoolConfig", spec))
        assert read.to_wire().get("spec", {}) == spec
        return read

    assert pool({}).spec.max_unavailable is None
    assert pool({"maxUnavailable": 0}).spec.max_unavailable == 0
    assert pool({}).spec.node_selector is None
    assert pool({"nodeSelector": {}}).spec.node_selector is not None


@pytest.mark.parametrize("force", [None, False, True])
def test_forced_eviction_is_not_said_or_said(force: bool | None) -> None:
    spec = {} if force is None else {"podEvictionForce": force}
    read = SriovOperatorConfig.model_validate(obj("SriovOperatorConfig", spec))
    assert read.spec.pod_eviction_force is force
    assert read.to_wire()["spec"] == {"configurationMode": "daemon", **spec}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("SriovNetwork", {}),
        ("SriovNetwork", {"resourceName": "r", "vlan": 4095}),
        ("SriovNetwork", {"resourceName": "r", "vlan": -1}),
        ("SriovNetwork", {"resourceName": "r", "vlanQoS": 8}),
        ("SriovNetwork", {"resourceName": "r", "vlanProto": "802.1x"}),
        ("SriovNetwork", {"resourceName": "r", "spoofChk": True}),
        ("SriovNetwork", {"resourceName": "r", "minTxRate": -1}),
        ("SriovNetwork", {"resourceName": "r", "ipam": {"type": "dhcp"}}),
        ("SriovNetwork", {"resourceName": "r", "logLevel": "loud"}),
        ("SriovIBNetwork", {"resourceName": "r", "linkState": "up"}),
        ("OVSNetwork", {"resourceName": "r", "trunk": [{"id": 4096}]}),
        ("OVSNetwork", {"resourceName": "r", "trunk": {"id": 1}}),
        ("SriovNetworkPoolConfig", {"maxUnavailable": 1.5}),
        ("SriovNetworkPoolConfig", {"maxUnavailable": "5"}),
        ("SriovNetworkPoolConfig", {"maxUnavailable": "101%"}),
        ("SriovNetworkPoolConfig", {"rdmaMode": "both"}),
        ("SriovNetworkPoolConfig", {"nodeSelector": {"matchExpressions": [{"key": "k", "operator": "Is"}]}}),
        ("SriovOperatorConfig", {"logLevel": -1}),
        ("SriovOperatorConfig", {"enableInjector": "yes"}),
        ("SriovOperatorConfig", {"configurationMode": "host"}),
        ("SriovOperatorConfig", {"disablePlugins": "mellanox"}),
        ("SriovOperatorConfig", {"featureGates": {"a": 1}}),
        ("SriovOperatorConfig", {"podEvictionPolicy": "force"}),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind: str, spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KINDS[kind].model_validate(obj(kind, spec))


def test_what_became_of_a_policy() -> None:
    status = {
        "observedGeneration": 3,
        "matchedNodes": 2,
        "matchedNICs": 1,
        "nodes": [
            {"name": "node-2", "mismatch": {"field": "spec.nicSelector.vendor", "message": "ens1: vendor is 8086"}},
            {
                "name": "node-1",
                "pfs": [{"pciAddress": "0000:3b:00.0", "name": "ens1", "vfRange": "0-3", "overriddenBy": "other"}],
            },
        ],
        "nodesLeftOut": 7,
        **CONDITIONS,
    }
    assert PolicyStatus.model_validate(status).to_wire() == status
    spec = {"resourceName": "r", "nodeSelector": {}, "numVfs": 1, "nicSelector": {}}
    policy = SriovNetworkNodePolicy.model_validate(obj("SriovNetworkNodePolicy", spec, status=status))
    assert policy.to_wire()["status"] == status


def test_metadata_is_kept_as_it_came() -> None:
    metadata = {"name": "a", "namespace": "b", "finalizers": ["x"], "ownerReferences": [{"uid": "1"}], "generation": 4}
    for kind in OBJECTS:
        assert KINDS[kind].model_validate({**obj(kind), "metadata": metadata}).to_wire()["metadata"] == metadata


def test_plurals_are_all_different() -> None:
    assert len({kind.plural for kind in KINDS.values()}) == len(KINDS) == 7
