"""Objects from text, and the errors for what is not one."""

import json

import pytest
import yaml

from virtfn.errors import BadVfRange, InvalidDocument
from virtfn.model.crd import KINDS, SriovNetworkNodePolicy, SriovNetworkNodeState
from virtfn.policy import load_documents

API = "sriovnetwork.openshift.io/v1"
POLICY = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata:
  name: policy
  namespace: kube-system
spec:
  nodeSelector:
    feature.node.kubernetes.io/network-sriov.capable: "true"
  eSwitchMode: switchdev
  numVfs: 3
  nicSelector:
    pfNames: [ens41f0np0, ens41f1np1]
  resourceName: sriov_nic
"""
STATE = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata: {name: node-1, namespace: kube-system}
spec:
  interfaces:
  - pciAddress: 0000:18:00.0
    name: ens41f0np0
    eSwitchMode: switchdev
    numVfs: 3
    vfGroups: [{resourceName: sriov_nic, vfRange: 0-2, policyName: policy}]
status:
  interfaces:
  - Vfs:
    - {deviceID: 1018, driver: mlx5_core, pciAddress: 0000:18:00.2, vendor: 15b3}
    - {deviceID: 1018, driver: mlx5_core, pciAddress: 0000:18:00.3, vendor: 15b3}
    deviceID: "1017"
    linkSeed: 25000Mb/s
    pciAddress: 0000:18:00.0
    totalvfs: 3
"""


def object_of(kind="SriovNetworkNodePolicy", *, name="a", version=API):
    spec = {"resourceName": "r", "nodeSelector": {}, "numVfs": 1, "nicSelector": {"vendor": "15b3"}}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec if kind == "SriovNetworkNodePolicy" else {},
    }


def refused(text, *, source="f.yaml"):
    with pytest.raises(InvalidDocument) as caught:
        load_documents(text, source=source)
    return caught.value


def test_a_policy_as_people_write_it():
    (document,) = load_documents(POLICY, source="f.yaml")
    assert (document.kind, document.name, document.number) == ("SriovNetworkNodePolicy", "policy", 1)
    assert document.where == "f.yaml, document 1"
    assert isinstance(document.object, SriovNetworkNodePolicy)
    spec = document.object.spec
    assert (spec.num_vfs, spec.priority, spec.eswitch_mode, spec.device_type) == (3, 99, "switchdev", "netdevice")


def test_a_node_state_with_the_spellings_of_older_documents():
    (document,) = load_documents(STATE, source="f.yaml")
    assert isinstance(document.object, SriovNetworkNodeState)
    assert document.object.spec.interfaces[0].pci_address == "0000:18:00.0"
    (nic,) = document.object.status.interfaces
    assert nic.link_speed == "25000 Mb/s"
    assert [(vf.vf_id, vf.device_id) for vf in nic.vfs] == [(0, "1018"), (1, "1018")]


def test_several_documents_and_json():
    documents = load_documents(f"{POLICY}---\n{STATE}---\n{json.dumps(object_of())}\n", source="f")
    assert [(d.number, d.kind, d.name) for d in documents] == [
        (1, "SriovNetworkNodePolicy", "policy"),
        (2, "SriovNetworkNodeState", "node-1"),
        (3, "SriovNetworkNodePolicy", "a"),
    ]


@pytest.mark.parametrize("kind", ["List", "SriovNetworkNodePolicyList"])
def test_lists_are_opened(kind):
    items = [object_of(name="a"), object_of(name="b")]
    version = "v1" if kind == "List" else API
    if kind != "List":  # the API server leaves these out of the items of a typed list
        items = [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in items]
    text = yaml.safe_dump({"apiVersion": version, "kind": kind, "items": items})
    documents = load_documents(text, source="f")
    assert [d.name for d in documents] == ["a", "b"]
    assert all(isinstance(d.object, SriovNetworkNodePolicy) for d in documents)


def test_a_fault_in_a_list_names_the_item():
    bad = object_of(name="b")
    bad["spec"]["numVfs"] = -1
    error = refused(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [object_of(), bad]}))
    assert str(error) == (
        "f.yaml, document 1, items[1]: SriovNetworkNodePolicy b: spec.numVfs: must be at least 0, got -1"
    )


OTHERS = {
    "SriovNetwork": {"resourceName": "r", "vlan": 3, "maxTxRate": 0},
    "SriovIBNetwork": {"resourceName": "r", "linkState": "auto"},
    "OVSNetwork": {"resourceName": "r", "trunk": [{"minID": 0, "maxID": 7}]},
    "SriovNetworkPoolConfig": {"maxUnavailable": "30%", "nodeSelector": {}},
    "SriovOperatorConfig": {"enableInjector": True, "podEvictionForce": False},
}


@pytest.mark.parametrize(("kind", "spec"), OTHERS.items())
def test_other_kinds_of_the_group_are_read_and_come_with_a_note(kind, spec):
    text = yaml.safe_dump({**object_of(kind), "spec": spec}) + "---\n" + POLICY
    first, second = load_documents(text, source="f")
    assert isinstance(first.object, KINDS[kind])
    assert first.object.to_wire()["spec"].items() >= spec.items()
    assert first.note == f"a {kind} says nothing of what NICs should be"
    assert second.note == ""


@pytest.mark.parametrize(
    ("kind", "spec", "field", "gist"),
    [
        ("SriovNetwork", {"resourceNam": "r"}, "spec.resourceNam", "did you mean resourceName?"),
        ("SriovNetwork", {}, "spec.resourceName", "is required"),
        ("SriovNetwork", {"resourceName": "r", "vlan": 4095}, "spec.vlan", "must be at most 4094, got 4095"),
        ("SriovIBNetwork", {"resourceName": "r", "vlan": 1}, "spec.vlan", "unknown field"),
        ("OVSNetwork", {"resourceName": "r", "trunk": [{"ID": 3}]}, "spec.trunk[0].ID", "did you mean id?"),
        ("SriovNetworkPoolConfig", {"maxUnavailable": "0%"}, "spec.maxUnavailable", 'a share, "1%" to "100%"'),
        ("SriovNetworkPoolConfig", {"maxUnavailable": True}, "spec.maxUnavailable", "got true"),
        ("SriovNetworkPoolConfig", {"maxUnavailable": -1}, "spec.maxUnavailable", "a whole number from 0"),
        ("SriovOperatorConfig", {"logLevel": 3}, "spec.logLevel", "must be at most 2"),
        ("SriovOperatorConfig", {"disablePlugins": ["a b"]}, "spec.disablePlugins[0]", "must match"),
        ("SriovOperatorConfig", {"podEvictionPolicy": "kill"}, "spec.podEvictionPolicy", "'evict' or 'delete'"),
    ],
)
def test_faults_of_the_other_kinds(kind, spec, field, gist):
    error = refused(yaml.safe_dump({**object_of(kind), "spec": spec}))
    assert error.field == field
    assert gist in str(error)
    assert str(error).startswith(f"f.yaml, document 1: {kind} a: {field}: ")


def test_a_kind_of_the_group_that_nobody_knows_comes_with_a_note():
    first, _ = load_documents(yaml.safe_dump(object_of("SomethingElse")) + "---\n" + POLICY, source="f")
    assert first.object is None
    assert first.note == "a SomethingElse says nothing of what NICs should be"


def test_the_policy_named_default_comes_with_a_note():
    text = yaml.safe_dump({**object_of(name="default"), "spec": {"numVfs": 0}})
    (document,) = load_documents(text, source="f")
    assert document.object is None
    assert "default" in document.note


@pytest.mark.parametrize(
    ("data", "field", "gist"),
    [
        (object_of("ConfigMap", version="v1"), "apiVersion", "expected SriovNetworkNodePolicy or"),
        (object_of("Deployment", version="apps/v1"), "apiVersion", "Deployment of apps/v1 is not read here"),
        (object_of(version="sriovnetwork.openshift.io/v2"), "apiVersion", f"must be {API}"),
        (object_of("SriovNetworkNodeConfigPolicy"), "kind", "did you mean SriovNetworkNodePolicy?"),
        (object_of("sriovnetworknodestate"), "kind", "did you mean SriovNetworkNodeState?"),
        (object_of("OvsNetwork"), "kind", "did you mean OVSNetwork?"),
        (object_of("SriovNetworkPoolConfg"), "kind", "did you mean SriovNetworkPoolConfig?"),
        ({"kind": "SriovNetworkNodePolicy"}, "apiVersion", "is required"),
        ({"apiVersion": API}, "kind", "is required"),
        ({"apiVersion": API, "kind": 3}, "kind", "must be text"),
        ({**object_of(), "metadata": {}}, "metadata.name", "is required"),
        ({**object_of(), "metadata": {"name": 7}}, "metadata.name", "must be text"),
        ({"apiVersion": "v1", "kind": "List"}, "items", "needs a list"),
        ({"apiVersion": "v1", "kind": "List", "items": [3]}, "", "items[0]: must be an object"),
        ([object_of()], "", "must be an object with apiVersion and kind, got a list"),
        ("text", "", "must be an object"),
    ],
)
def test_what_does_not_belong_here(data, field, gist):
    error = refused(yaml.safe_dump(data))
    assert error.field == field
    assert gist in str(error)
    assert str(error).startswith("f.yaml, document 1")


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", '{"apiVersion": "v1", "kind": "List", "items": []}'])
def test_a_text_without_objects_is_an_error(text):
    assert "there is no object in it" in str(refused(text))


def test_one_object_twice_is_an_error():
    error = refused(POLICY + "---\n" + POLICY)
    assert "document 2: SriovNetworkNodePolicy policy was given before, in f.yaml, document 1" in str(error)


def test_one_name_in_two_namespaces_is_two_objects():
    other = POLICY.replace("kube-system", "elsewhere")
    assert len(load_documents(POLICY + "---\n" + other, source="f")) == 2


def test_a_bad_range_is_told_as_one():
    with pytest.raises(BadVfRange) as caught:
        load_documents(POLICY.replace("ens41f1np1]", "'ens41f1np1#3-1']"), source="f.yaml")
    assert caught.value.field == "spec.nicSelector.pfNames[1]"
    assert str(caught.value).startswith(
        "f.yaml, document 1: SriovNetworkNodePolicy policy: spec.nicSelector.pfNames[1]"
    )


def test_an_unquoted_address_and_ids_are_text():
    text = POLICY.replace(
        "pfNames: [ens41f0np0, ens41f1np1]", "{rootDevices: [0000:18:00.0], vendor: 8086, deviceID: 1018}"
    )
    (document,) = load_documents(text, source="f")
    assert document.object.spec.nic_selector.to_wire() == {
        "rootDevices": ["0000:18:00.0"],
        "vendor": "8086",
        "deviceID": "1018",
    }
