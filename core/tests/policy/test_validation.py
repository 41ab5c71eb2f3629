"""Each rule with what it allows and what it refuses, and how the list is applied."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.model import Problem, Severity
from virtfn.model.crd import KINDS, InterfaceStatus, NodeStateSpec, SriovNetworkNodePolicy
from virtfn.policy.validation import RULES, Cluster, Operation, Validator, defaulted, validate

GROUP = "sriovnetwork.openshift.io/v1"


def policy(name: str = "p", **spec: Any) -> dict[str, Any]:
    namespace = spec.pop("namespace", None)
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    whole = {"resourceName": "r", "nodeSelector": {}, "nicSelector": {"pfNames": ["ens1"]}, "numVfs": 4, **spec}
    kept = {field: value for field, value in whole.items() if value is not ...}
    return {"apiVersion": GROUP, "kind": "SriovNetworkNodePolicy", "metadata": metadata, "spec": kept}


def thing(kind: str, *, name: str = "default", namespace: str = "", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": spec,
    }


def network(**spec: Any) -> dict[str, Any]:
    namespace = spec.pop("namespace", "apps")
    return thing("SriovNetwork", name="net", namespace=namespace, resourceName="r", **spec)


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def state(name: str, *nics: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "SriovNetworkNodeState",
        "metadata": {"name": name},
        "status": {"interfaces": list(nics), **status},
    }


def nic(name: str = "ens1", *, pciAddress: str = "0000:01:00.0", **fields: Any) -> dict[str, Any]:
    return {"name": name, "pciAddress": pciAddress, "vendor": "abcd", "deviceID": "0001", "totalvfs": 8, **fields}


class Vendor:
    """Stands for the plugins: firmware can be set to 16 VFs on one model, and another takes no vfio-pci."""

    def most_vfs(self, pf: InterfaceStatus) -> int | None:
        return 16 if pf.device_id == "00f1" else None

    def problems(
        self, interfaces: Sequence[InterfaceStatus], spec: NodeStateSpec, *, virtual: bool
    ) -> Sequence[Problem]:
        models = {pf.pci_address: pf for pf in interfaces}
        return [
            Problem(
                object=models[entry.pci_address].label,
                field="vfGroups[0].deviceType",
                message=f"vfio-pci is no good {'in a VM' if virtual else 'here'}",
                reason="UnsupportedSetting",
                hint="use netdevice",
                severity=Severity.ERROR if virtual else Severity.WARNING,
            )
            for entry in spec.interfaces
            if entry.vf_groups[0].device_type == "vfio-pci" and models[entry.pci_address].device_id == "00f2"
        ]


NODES = [node("n1", zone="a"), node("n2", zone="b")]
STATES = [
    state("n1", nic(altNames=["data0"]), nic("ens2", pciAddress="0000:01:00.1", numVfs=2, mtu=1500, linkType="ETH"))
]
WHERE = Cluster(nodes=NODES, states=STATES, operator_namespace="sriov", vendor=Vendor())
"""A cluster with one node that told its NICs and one that did not."""


def beside(*others: dict[str, Any], **known: Any) -> Cluster:
    return Cluster(policies=list(others), **known)


NAMED = {"nodes": NODES, "states": STATES}
FILTER = {"netFilter": "openstack/NetworkID:1-2"}
BRIDGE = {"ovs": {}}

# rule, what is around it, what is allowed, what is refused, field that is blamed, words of the message
TABLE: list[tuple[str, Cluster | None, dict[str, Any], dict[str, Any], str, str]] = [
    ("Malformed", None, policy(mtu=1500), policy(mtuu=1500), "spec.mtuu", "unknown field"),
    ("Malformed", None, policy(priority=99), policy(priority=100), "spec.priority", "at most 99, got 100"),
    ("Malformed", None, policy(), policy(numVfs=...), "spec.numVfs", "required"),
    ("Malformed", None, policy(deviceType="vfio-pci"), policy(deviceType="vfio"), "spec.deviceType", "'vfio-pci'"),
    (
        "VfRangeMalformed",
        None,
        policy(nicSelector={"pfNames": ["ens1#0-3"]}),
        policy(nicSelector={"pfNames": ["ens0", "ens1#3"]}),
        "spec.nicSelector.pfNames[1]",
        "'3' is not a VF range (expected first-last, like 0-3)",
    ),
    (
        "ResourceNameInvalid",
        None,
        policy(resourceName="A-b_1"),
        policy(resourceName="a.b"),
        "spec.resourceName",
        "'a.b'",
    ),
    (
        "ResourceNameInvalid",
        None,
        policy(resourceName="a" * 63),
        policy(resourceName="a" * 64),
        "spec.resourceName",
        "63",
    ),
    ("NicSelectorEmpty", None, policy(), policy(nicSelector={}), "spec.nicSelector", "selects no NIC"),
    ("NumVfsZero", None, policy(numVfs=1), policy(numVfs=0), "spec.numVfs", "at least 1"),
    (
        "VfRangeBeyondNumVfs",
        None,
        policy(nicSelector={"pfNames": ["ens1#0-3"]}),
        policy(nicSelector={"pfNames": ["ens0#0-3", "ens1#2-4"]}),
        "spec.nicSelector.pfNames[1]",
        "2-4 goes beyond numVfs 4 (indices 0 to 3)",
    ),
    (
        "PfNameRepeated",
        None,
        policy(nicSelector={"pfNames": ["ens1#0-1", "ens2#0-1"]}),
        policy(nicSelector={"pfNames": ["ens1#0-1", "ens1#2-3"]}),
        "spec.nicSelector.pfNames[1]",
        "the first entry counts, 'ens1#0-1'",
    ),
    (
        "RootDeviceMalformed",
        None,
        policy(nicSelector={"rootDevices": ["0000:3b:00.1"]}),
        policy(nicSelector={"rootDevices": ["3B:00.1"]}),
        "spec.nicSelector.rootDevices[0]",
        "did you mean 0000:3b:00.1?",
    ),
    (
        "RootDeviceMalformed",
        None,
        policy(nicSelector={"rootDevices": ["0000:3b:00.1"]}),
        policy(nicSelector={"rootDevices": ["0000:3b:00.1#0-3"]}),
        "spec.nicSelector.rootDevices[0]",
        "0000:3b:00.1#0-3",
    ),
    (
        "NetFilterMalformed",
        None,
        policy(nicSelector=FILTER),
        policy(nicSelector={"netFilter": "net"}),
        "spec.nicSelector.netFilter",
        "not key:value",
    ),
    (
        "NetFilterNotAlone",
        None,
        policy(nicSelector=FILTER),
        policy(nicSelector={**FILTER, "vendor": "abcd", "pfNames": ["x"]}),
        "spec.nicSelector.netFilter",
        "vendor, pfNames are given too",
    ),
    (
        "NetFilterEswitchMode",
        None,
        policy(nicSelector=FILTER),
        policy(nicSelector=FILTER, eSwitchMode="legacy"),
        "spec.eSwitchMode",
        "legacy is asked for",
    ),
    (
        "NetFilterBridge",
        None,
        policy(nicSelector=FILTER),
        policy(nicSelector=FILTER, bridge=BRIDGE),
        "spec.bridge",
        "bridge",
    ),
    (
        "NetFilterLinkType",
        None,
        policy(nicSelector=FILTER, linkType="ETH"),
        policy(nicSelector=FILTER, linkType="ib"),
        "spec.linkType",
        "ib is asked for",
    ),
    (
        "VfioPciWithRdma",
        None,
        policy(deviceType="vfio-pci"),
        policy(deviceType="vfio-pci", isRdma=True),
        "spec.isRdma",
        "no RDMA device",
    ),
    (
        "SwitchdevLinkType",
        None,
        policy(eSwitchMode="switchdev", linkType="eth"),
        policy(eSwitchMode="switchdev", linkType="IB"),
        "spec.linkType",
        "IB is asked for",
    ),
    (
        "VdpaDeviceType",
        None,
        policy(eSwitchMode="switchdev", vdpaType="vhost"),
        policy(eSwitchMode="switchdev", vdpaType="vhost", deviceType="vfio-pci"),
        "spec.vdpaType",
        "needs netdevice",
    ),
    (
        "VdpaEswitchMode",
        None,
        policy(eSwitchMode="switchdev", vdpaType="virtio"),
        policy(vdpaType="virtio"),
        "spec.vdpaType",
        "legacy (the default)",
    ),
    (
        "BridgeEswitchMode",
        None,
        policy(eSwitchMode="switchdev", bridge=BRIDGE),
        policy(eSwitchMode="legacy", bridge=BRIDGE),
        "spec.bridge",
        "needs switchdev",
    ),
    (
        "BridgeExternallyManaged",
        None,
        policy(eSwitchMode="switchdev", bridge=BRIDGE),
        policy(eSwitchMode="switchdev", bridge=BRIDGE, externallyManaged=True),
        "spec.bridge",
        "externallyManaged",
    ),
    (
        "BridgeOwnKeys",
        None,
        policy(eSwitchMode="switchdev", bridge={"ovs": {"bridge": {"externalIDs": {"virtfn": "x"}}}}),
        policy(eSwitchMode="switchdev", bridge={"ovs": {"bridge": {"externalIDs": {"virtfn.io/managed": "x"}}}}),
        "spec.bridge.ovs.bridge.externalIDs",
        "virtfn writes itself",
    ),
    (
        "PolicyInOtherNamespace",
        WHERE,
        policy(namespace="sriov"),
        policy(namespace="apps"),
        "metadata.namespace",
        "only policies in sriov",
    ),
    # --- nodes and NICs
    (
        "NoNodeSelected",
        WHERE,
        policy(nodeSelector={"zone": "b"}),
        policy(nodeSelector={"zone": "c"}),
        "spec.nodeSelector",
        "n1: zone is 'a', not 'c'; n2: zone is 'b'",
    ),
    (
        "NoNodeSelected",
        Cluster(nodes=[node("n1")]),
        policy(),
        policy(nodeSelector={"zone": "c"}),
        "spec.nodeSelector",
        "n1: zone is not set, not 'c'",
    ),
    (
        "NoNicSelected",
        WHERE,
        policy(nicSelector={"pfNames": ["data0#0-1"]}),
        policy(nicSelector={"pfNames": ["ens7"], "vendor": "abcd"}),
        "spec.nicSelector",
        "n1: ens1: not in pfNames; n1: ens2: not in pfNames",
    ),
    (
        "NumVfsBeyondTotal",
        WHERE,
        policy(numVfs=8),
        policy(numVfs=9),
        "spec.numVfs",
        "is 9, and 0000:01:00.0 (ens1) makes at most 8 VFs (totalvfs) on node n1",
    ),
    (
        "NumVfsBeyondTotal",
        Cluster(states=[state("n1", nic(deviceID="00f1"))], vendor=Vendor()),
        policy(numVfs=16),
        policy(numVfs=17),
        "spec.numVfs",
        "at most 16 VFs",
    ),
    (
        "NumVfsBeyondTotal",
        Cluster(states=[state("n1", nic(), nic("ens2", pciAddress="0000:02:00.0", totalvfs=0))], vendor=Vendor()),
        policy(),
        policy(nicSelector={"pfNames": ["ens2"]}),
        "spec.numVfs",
        "shows no SR-IOV",
    ),
    (
        "ExternallyManagedNumVfs",
        WHERE,
        policy(nicSelector={"pfNames": ["ens2"]}, numVfs=2, externallyManaged=True),
        policy(nicSelector={"pfNames": ["ens2"]}, numVfs=3, externallyManaged=True),
        "spec.numVfs",
        "is 3, and 0000:01:00.1 (ens2) has 2 VFs",
    ),
    (
        "ExternallyManagedMtu",
        WHERE,
        policy(nicSelector={"pfNames": ["ens2"]}, numVfs=2, externallyManaged=True, mtu=1500),
        policy(nicSelector={"pfNames": ["ens2"]}, numVfs=2, externallyManaged=True, mtu=9000),
        "spec.mtu",
        "is 9000, and 0000:01:00.1 (ens2) has 1500",
    ),
    (
        "ExternallyManagedLinkType",
        WHERE,
        policy(nicSelector={"pfNames": ["ens2"]}, numVfs=2, externallyManaged=True, linkType="eth"),
        policy(nicSelector={"pfNames": ["ens2"]}, numVfs=2, externallyManaged=True, linkType="ib"),
        "spec.linkType",
        "is ib, and 0000:01:00.1 (ens2) is ETH",
    ),
    (
        "DeviceRefuses",
        Cluster(
            nodes=[{**node("n1"), "spec": {"providerID": "openstack:///1"}}],
            states=[state("n1", nic(deviceID="00f2"))],
            vendor=Vendor(),
        ),
        policy(),
        policy(deviceType="vfio-pci"),
        "spec.deviceType",
        "0000:01:00.0 (ens1): vfio-pci is no good in a VM on node n1",
    ),
    # --- between policies
    (
        "VfRangesOverlap",
        beside(policy("o", nicSelector={"pfNames": ["ens1#0-3"]}, numVfs=8)),
        policy(nicSelector={"pfNames": ["ens0", "ens1#4-7"]}, numVfs=8),
        policy(nicSelector={"pfNames": ["ens0", "ens1#3-7"]}, numVfs=8),
        "spec.nicSelector.pfNames[1]",
        "VFs 3-7 of ens1 overlap VFs 0-3 of policy o",
    ),
    (
        "VfRangesOverlap",
        beside(policy("o", nicSelector={"pfNames": ["ens1"]}), **NAMED),
        policy(nicSelector={"pfNames": ["ens2"]}),
        policy(nicSelector={"pfNames": ["data0#0-1"]}, priority=5),
        "spec.nicSelector.pfNames[0]",
        "VFs 0-1 of 0000:01:00.0 (ens1) overlap VFs 0-3 of policy o on node n1",
    ),
    (
        "VfRangesOverlap",
        beside(policy("o", nodeSelector={"zone": "a", "os": "x"})),
        policy(nodeSelector={"zone": "b"}),
        policy(nodeSelector={"rack": "1"}),
        "spec.nicSelector.pfNames[0]",
        "policy o",
    ),
    (
        "VfRangesOverlap",
        beside(policy("o", nodeSelector={"zone": "a"}), nodes=NODES),
        policy(nodeSelector={"zone": "b"}),
        policy(),
        "spec.nicSelector.pfNames[0]",
        "of policy o on node n1",
    ),
    (
        "RootDeviceShared",
        beside(policy("o", nicSelector={"rootDevices": ["0000:01:00.0"]})),
        policy(nicSelector={"rootDevices": ["0000:01:00.1"]}),
        policy(nicSelector={"rootDevices": ["0000:01:00.0"]}, numVfs=2),
        "spec.nicSelector.rootDevices[0]",
        "0000:01:00.0 is named by policy o too",
    ),
    (
        "RootDeviceShared",
        beside(policy("o", nicSelector={"rootDevices": ["0000:01:00.0"], "pfNames": ["ens1#0-1"]}), **NAMED),
        policy(nicSelector={"rootDevices": ["0000:01:00.0"], "pfNames": ["ens1#2-3"]}),
        policy(nicSelector={"rootDevices": ["0000:01:00.1", "0000:01:00.0"]}),
        "spec.nicSelector.rootDevices[1]",
        "named by policy o too on node n1",
    ),
    (
        "VfsTakenByOther",
        beside(policy("o", nicSelector={"vendor": "abcd"}, priority=10), **NAMED),
        policy(priority=5),
        policy(),
        "spec.nicSelector",
        "its priority 10 goes before 99",
    ),
    (
        "VfsTakenByOther",
        beside(policy("o", nicSelector={"vendor": "abcd"}), **NAMED),
        policy("p"),
        policy("a"),
        "spec.nicSelector",
        "the priorities are equal, and o comes after a",
    ),
    (
        "ExternallyManagedDiffers",
        beside(policy("o", nicSelector={"pfNames": ["ens1#0-1"]})),
        policy(nicSelector={"pfNames": ["ens1#2-3"]}),
        policy(nicSelector={"pfNames": ["ens1#2-3"]}, externallyManaged=True),
        "spec.externallyManaged",
        "is true, and false in policy o, which means ens1 too",
    ),
    (
        "ExcludeTopologyDiffers",
        beside(policy("o", nicSelector={"vendor": "abcd"}, excludeTopology=True)),
        policy(resourceName="other"),
        policy(),
        "spec.excludeTopology",
        "is false, and true in policy o",
    ),
    (
        "ResourceSettingsDiffer",
        beside(policy("o", nicSelector={"vendor": "abcd"}, needVhostNet=True, isRdma=True)),
        policy(needVhostNet=True, isRdma=True),
        policy(),
        "spec.resourceName",
        "another isRdma, needVhostNet",
    ),
    # --- other kinds
    (
        "OperatorConfigName",
        None,
        thing("SriovOperatorConfig"),
        thing("SriovOperatorConfig", name="mine"),
        "metadata.name",
        "is mine",
    ),
    (
        "OperatorConfigNamespace",
        WHERE,
        thing("SriovOperatorConfig", namespace="sriov"),
        thing("SriovOperatorConfig", namespace="apps"),
        "metadata.namespace",
        "only the one in sriov",
    ),
    (
        "DrainDisabled",
        None,
        thing("SriovOperatorConfig", disableDrain=False),
        thing("SriovOperatorConfig", disableDrain=True),
        "spec.disableDrain",
        "not drained",
    ),
    (
        "PoolForOffloadOnly",
        None,
        thing("SriovNetworkPoolConfig", ovsHardwareOffloadConfig={"name": "x"}),
        thing("SriovNetworkPoolConfig", ovsHardwareOffloadConfig={"name": "x"}, maxUnavailable=1),
        "spec.maxUnavailable",
        "ovsHardwareOffloadConfig x",
    ),
    (
        "PoolForOffloadOnly",
        None,
        thing("SriovNetworkPoolConfig", nodeSelector={}),
        thing("SriovNetworkPoolConfig", ovsHardwareOffloadConfig={"name": "x"}, nodeSelector={}),
        "spec.nodeSelector",
        "ovsHardwareOffloadConfig x",
    ),
    (
        "PoolNeverDrains",
        None,
        thing("SriovNetworkPoolConfig", maxUnavailable="1%"),
        thing("SriovNetworkPoolConfig", maxUnavailable=0),
        "spec.maxUnavailable",
        "no node of the pool",
    ),
    (
        "Malformed",
        None,
        thing("SriovNetworkPoolConfig", maxUnavailable="100%"),
        thing("SriovNetworkPoolConfig", maxUnavailable="101%"),
        "spec.maxUnavailable",
        "1%",
    ),
    (
        "PoolsOverlap",
        Cluster(
            nodes=NODES,
            pools=[thing("SriovNetworkPoolConfig", name="o", nodeSelector={"matchLabels": {"zone": "a"}})],
        ),
        thing(
            "SriovNetworkPoolConfig",
            nodeSelector={"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]},
        ),
        thing("SriovNetworkPoolConfig", nodeSelector={"matchExpressions": [{"key": "zone", "operator": "Exists"}]}),
        "spec.nodeSelector",
        "selects nodes of pool config o too: node n1",
    ),
    (
        "NetworkNamespaceElsewhere",
        WHERE,
        network(namespace="sriov", networkNamespace="other"),
        network(networkNamespace="other"),
        "spec.networkNamespace",
        "only networks in sriov",
    ),
    ("NetworkJsonInvalid", None, network(ipam='{"type": "static"}'), network(ipam='{"type" "x"}'), "spec.ipam", "JSON"),
    (
        "NetworkJsonInvalid",
        None,
        network(metaPlugins='{"type": "a"}, {"type": "b"}'),
        network(metaPlugins='{"type": "a"} {"type": "b"}'),
        "spec.metaPlugins",
        "comma",
    ),
]


def of_rule(found: Sequence[Problem], rule: str) -> list[Problem]:
    return [problem for problem in found if problem.reason == rule]


@pytest.mark.parametrize(
    ("rule", "cluster", "allowed", "refused", "field", "words"),
    TABLE,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(TABLE)],
)
def test_rule(rule, cluster, allowed, refused, field, words):
    good = validate(allowed, cluster=cluster)
    assert of_rule(good.problems, rule) == []
    assert rule not in {skipped.rule for skipped in good.skipped}
    (problem,) = of_rule(validate(refused, cluster=cluster).problems, rule)
    assert problem.object == f"{refused['kind']} {refused['metadata']['name']}"
    assert problem.field == field
    assert words in problem.message
    assert problem.hint or rule == "Malformed"
    assert problem.severity is next(each.severity for each in RULES if each.id == rule)


def test_every_rule_has_a_row_above():
    elsewhere = {"DrainDisabledWhileUpdating"}  # it is about two objects
    assert {rule.id for rule in RULES} == {row[0] for row in TABLE} | elsewhere


def test_what_the_rows_allow_is_allowed_by_all_rules():
    for rule, cluster, allowed, *_ in TABLE:
        others = [problem for problem in validate(allowed, cluster=cluster).errors if problem.reason != rule]
        assert others == [], rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_says_what_holds_and_what_to_do(rule):
    assert re.fullmatch(r"([A-Z][a-z]+)+", rule.id)
    assert rule.holds.endswith(".")
    assert rule.hint
    assert not rule.hint.endswith(".")
    assert set(rule.kinds) <= set(KINDS)


def test_ids_are_not_given_twice():
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_a_field_of_a_rule_is_one_of_its_kind():
    for rule in RULES:
        for kind in rule.kinds:
            spec = KINDS[kind].model_fields["spec"].annotation.model_fields
            names = {field.alias or name for name, field in spec.items()}
            assert {name.partition(".")[0] for name in rule.reads} <= names, rule.id


# --- all problems, and what is not known ------------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once():
    wrong = policy(
        resourceName="a.b", numVfs=2, deviceType="vfio-pci", isRdma=True, vdpaType="virtio",
        nicSelector={"pfNames": ["ens1#0-5", "x#"]}, nodeSelecter={}, mtu="x",
    )  # fmt: skip
    verdict = validate(wrong)
    assert [(problem.reason, problem.field) for problem in verdict.problems] == [
        ("Malformed", "spec.nodeSelecter"),
        ("Malformed", "spec.mtu"),
        ("VfRangeMalformed", "spec.nicSelector.pfNames[1]"),
        ("ResourceNameInvalid", "spec.resourceName"),
        ("VfioPciWithRdma", "spec.isRdma"),
        ("VdpaDeviceType", "spec.vdpaType"),
        ("VdpaEswitchMode", "spec.vdpaType"),
    ]
    assert not verdict.allowed


def test_a_rule_that_reads_a_malformed_field_is_not_applied_and_that_is_told():
    verdict = validate(policy(numVfs="x", nicSelector={"pfNames": ["ens1#0-9"]}))
    assert [problem.field for problem in verdict.problems] == ["spec.numVfs"]
    assert ("VfRangeBeyondNumVfs", "malformed: spec.numVfs") in {(each.rule, each.why) for each in verdict.skipped}


def test_without_a_cluster_what_needs_one_is_told_as_not_applied():
    skipped = {each.rule: each.why for each in validate(policy()).skipped}
    assert set(skipped) == {rule.id for rule in RULES if "SriovNetworkNodePolicy" in rule.kinds and rule.needs}
    assert skipped["NoNodeSelected"] == "not known: the nodes"
    assert skipped["DeviceRefuses"] == "not known: the node states, the vendor plugins"


def test_a_node_that_has_not_told_its_nics_is_not_held_against_a_policy():
    verdict = validate(policy(nodeSelector={"zone": "b"}), cluster=WHERE)
    assert verdict.allowed
    assert [(each.rule, each.why) for each in verdict.skipped if each.rule == "NoNicSelected"] == [
        ("NoNicSelected", "no selected node has told its NICs yet")
    ]


def test_without_plugins_too_many_vfs_are_a_warning_as_firmware_may_allow_more():
    verdict = validate(policy(numVfs=9), cluster=Cluster(states=STATES))
    assert [(problem.reason, problem.severity) for problem in verdict.problems] == [
        ("NumVfsBeyondTotal", Severity.WARNING)
    ]


def test_one_problem_on_many_nodes_is_told_once():
    cluster = Cluster(states=[state(f"n{number}", nic()) for number in range(9)], vendor=Vendor())
    (problem,) = validate(policy(numVfs=9), cluster=cluster).problems
    assert problem.message.endswith("on nodes n0, n1, n2 and 6 more")


def test_problems_of_plugins_keep_their_severity():
    cluster = Cluster(states=[state("n1", nic(deviceID="00f2"))], vendor=Vendor())
    (problem,) = validate(policy(deviceType="vfio-pci"), cluster=cluster).problems
    assert (problem.reason, problem.severity) == ("DeviceRefuses", Severity.WARNING)


@pytest.mark.parametrize(
    "other",
    [
        policy("p"),  # the object itself as it was
        policy("default"),
        policy("o", namespace="elsewhere"),
        {"metadata": {"name": "o"}, "spec": {"numVfs": "?"}},
    ],
)
def test_policies_without_effect_are_not_compared(other):
    assert validate(policy(), cluster=beside(other, operator_namespace="sriov")).problems == ()


def test_policies_are_compared_on_every_entry_not_only_the_first():
    other = policy("o", nicSelector={"pfNames": ["ens1#0-1", "ens2#0-3"]})
    verdict = validate(policy(nicSelector={"pfNames": ["ens1#2-3", "ens2#2-3"]}), cluster=beside(other))
    assert [problem.field for problem in verdict.errors] == ["spec.nicSelector.pfNames[1]"]


# --- operations ------------------------------------------------------------------------------------------------------

BROKEN = policy(resourceName="old.name", deviceType="vfio-pci", isRdma=True)


def test_deleting_is_always_allowed():
    assert validate(BROKEN, operation=Operation.DELETE).problems == ()
    going = {**BROKEN, "metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert validate(going, operation=Operation.UPDATE).problems == ()


def test_the_policy_named_default_is_not_looked_at():
    assert validate(policy("default", numVfs=0, nicSelector={}, nonsense=1)).problems == ()


def test_what_an_update_leaves_as_it_was_is_told_and_not_refused():
    new = policy(resourceName="old.name", deviceType="vfio-pci", isRdma=True, priority=5)
    verdict = validate(new, old=BROKEN, operation=Operation.UPDATE)
    assert verdict.allowed
    assert [problem.reason for problem in verdict.warnings] == ["ResourceNameInvalid", "VfioPciWithRdma"]
    changed = policy(resourceName="new.name", deviceType="vfio-pci", isRdma=True)
    assert [p.reason for p in validate(changed, old=BROKEN).errors] == ["ResourceNameInvalid"]


@pytest.mark.parametrize(
    ("old", "operation", "sync", "errors"),
    [
        (False, Operation.UPDATE, "InProgress", ["DrainDisabledWhileUpdating"]),
        (False, Operation.UPDATE, "Succeeded", []),
        (True, Operation.UPDATE, "InProgress", []),
        (None, Operation.CREATE, "InProgress", []),
    ],
)
def test_drain_is_not_disabled_while_a_node_is_being_configured(old, operation, sync, errors):
    before = thing("SriovOperatorConfig", disableDrain=old) if old is not None else None
    verdict = validate(
        thing("SriovOperatorConfig", disableDrain=True),
        old=before,
        operation=operation,
        cluster=Cluster(states=[state("n1", syncStatus=sync)]),
    )
    assert [problem.reason for problem in verdict.errors] == errors
    assert "DrainDisabledWhileUpdating" not in {each.rule for each in verdict.skipped}


def test_without_the_old_object_that_rule_is_not_applied():
    verdict = validate(thing("SriovOperatorConfig", disableDrain=True), cluster=Cluster(states=[]))
    assert [each.rule for each in verdict.skipped if "as it is in the cluster" in each.why] == [
        "DrainDisabledWhileUpdating"
    ]


# --- models, unknown kinds -------------------------------------------------------------------------------------------


def test_models_are_taken_like_plain_data():
    data = policy(numVfs=0, vdpaType="vhost")
    model = SriovNetworkNodePolicy.model_validate(data)
    others = [policy("o")]
    assert (
        validate(model, cluster=Cluster(policies=[SriovNetworkNodePolicy.model_validate(others[0])])).problems
        == validate(data, cluster=Cluster(policies=others)).problems
    )


@pytest.mark.parametrize("kind", ["ConfigMap", "", None, 7])
def test_an_unknown_kind_is_told(kind):
    (problem,) = validate({"kind": kind, "metadata": {"name": "x"}}).problems
    assert (problem.reason, problem.field) == ("Malformed", "kind")
    assert "SriovNetworkNodePolicy" in problem.message


def test_defaults_make_a_policy_that_was_refused_for_want_of_them_whole():
    written = policy(linkType="ib", isRdma=False)
    assert defaulted(written)["spec"] | {} == {**written["spec"], "priority": 99, "isRdma": True}
    assert "priority" not in written["spec"]


# --- anything --------------------------------------------------------------------------------------------------------

FIELDS = sorted(
    {
        field.alias or name
        for kind in KINDS.values()
        for name, field in kind.model_fields["spec"].annotation.model_fields.items()
    }
    | {"vendor", "pfNames", "rootDevices", "netFilter", "ovs", "name"}
)
words = st.sampled_from(
    ["", "eth", "ib", "switchdev", "vfio-pci", "netdevice", "virtio", "ens1", "ens1#0-3", "ens1#", "a:b", "8086", "1%"]
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 200), st.floats(), words, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(FIELDS), words), inner, max_size=4)
    ),
    max_leaves=8,
)
objects = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([*KINDS, "Other"]),
        "metadata": st.one_of(values, st.fixed_dictionaries({"name": st.sampled_from(["a", "b"])})),
        "spec": st.one_of(values, st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)),
    }
)
plausible = st.builds(
    lambda name, spec: {**policy(name), "spec": {**policy(name)["spec"], **spec}},
    st.sampled_from(["a", "b", "default"]),
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=4),
)


@given(st.lists(st.one_of(objects, plausible), min_size=1, max_size=3), values)
def test_whatever_is_given_ends_in_a_verdict(found, anything):
    cluster = Cluster(
        policies=found, nodes=[*NODES, {"metadata": anything}], states=[*STATES, {"status": anything}], pools=found,
        operator_namespace="sriov", vendor=Vendor(),
    )  # fmt: skip
    validator = Validator(cluster)
    for each in found:
        for verdict in (validator.validate(each), validator.validate(each, old=found[0])):
            assert verdict.allowed == (not verdict.errors)
            for problem in verdict.problems:
                assert problem.reason in {rule.id for rule in RULES}
        defaulted(each)
