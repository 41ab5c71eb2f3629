"""`virtfn render`, `explain` and `validate` on files: what they read, what they say, how they end."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from virtfn.testing import FakeHost

Virtfn = Callable[..., Any]

GROUP = "sriovnetwork.openshift.io/v1"

README_POLICY = """
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
    pfNames:
    - ens41f0np0
    - ens41f1np1
  resourceName: sriovnics
"""
README_STATE = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata:
  name: n1
  namespace: kube-system
spec:
  interfaces:
  - eSwitchMode: switchdev
    name: ens41f0np0
    numVfs: 3
    pciAddress: 0000:5f:00.0
    vfGroups:
    - policyName: policy
      vfRange: 0-2
      resourceName: sriovnics
status:
  interfaces:
  - Vfs:
    - deviceID: 1018
      driver: mlx5_core
      pciAddress: 0000:5f:00.2
      vendor: "15b3"
    deviceID: "1017"
    driver: mlx5_core
    linkSeed: 25000Mb/s
    linkType: ETH
    mac: 08:c0:eb:70:74:4e
    mtu: 1500
    name: ens41f0np0
    numVfs: 3
    pciAddress: 0000:5f:00.0
    totalvfs: 3
    vendor: "15b3"
  - deviceID: "1017"
    driver: mlx5_core
    name: ens41f1np1
    pciAddress: 0000:5f:00.1
    totalvfs: 3
    vendor: "15b3"
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {feature.node.kubernetes.io/network-sriov.capable: "true", zone: a}}
"""


def policy(name: str = "p", **spec: Any) -> dict[str, Any]:
    whole = {"resourceName": "r", "nodeSelector": {}, "nicSelector": {"pfNames": ["eth0"]}, "numVfs": 2, **spec}
    return {"apiVersion": GROUP, "kind": "SriovNetworkNodePolicy", "metadata": {"name": name}, "spec": whole}


def state(name: str, *nics: dict[str, Any]) -> dict[str, Any]:
    kind = "SriovNetworkNodeState"
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "status": {"interfaces": list(nics)}}


def nic(name: str, *, pciAddress: str = "0000:01:00.0", **fields: Any) -> dict[str, Any]:
    return {"name": name, "pciAddress": pciAddress, "vendor": "8086", "deviceID": "158b", "totalvfs": 8, **fields}


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def text(*objects: dict[str, Any]) -> str:
    return yaml.safe_dump_all(objects)


def listed(*objects: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


# --- render ----------------------------------------------------------------------------------------------------------


def test_the_policy_and_the_state_of_the_readme_are_rendered(virtfn: Virtfn) -> None:
    ended = virtfn("render -f", f"{README_POLICY}---{README_STATE}---{NODE}")
    assert (ended.code, ended.err) == (0, "")
    found = yaml.safe_load(ended.out)
    assert (found["kind"], found["metadata"]) == ("SriovNetworkNodeState", {"name": "n1"})
    group = {"resourceName": "sriovnics", "deviceType": "netdevice", "vfRange": "0-2", "policyName": "policy"}
    rest = {"numVfs": 3, "eSwitchMode": "switchdev", "vfGroups": [group]}
    assert found["spec"] == {
        "interfaces": [
            {"pciAddress": "0000:5f:00.0", "name": "ens41f0np0", **rest},
            {"pciAddress": "0000:5f:00.1", "name": "ens41f1np1", **rest},
        ]
    }


def test_without_a_state_it_is_this_host(virtfn: Virtfn, host: FakeHost) -> None:
    ended = virtfn("render -o json -f", text(policy(), node("here")))
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["metadata"]["name"] == "here"
    assert [entry["pciAddress"] for entry in found["spec"]["interfaces"]] == ["0000:01:00.0"]
    assert host.writes == []


def test_what_is_rendered_for_this_host_can_be_planned(virtfn: Virtfn) -> None:
    rendered = virtfn("render -f", text(policy()))
    direct, through = virtfn("plan -o json -f", text(policy())), virtfn("plan -o json -f", rendered.out)
    assert json.loads(direct.out)["steps"] == json.loads(through.out)["steps"] != []


def test_each_state_of_a_list_is_rendered_for_its_node(virtfn: Virtfn, tmp_path: Any) -> None:
    states = tmp_path / "states.json"
    states.write_text(listed(state("n1", nic("eth0")), state("n2", nic("eth0"))), encoding="utf-8")
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(text(node("n1", zone="a"), node("n2", zone="b"), node("n3")), encoding="utf-8")
    ended = virtfn(f"render --state {states} --node {nodes} -f", text(policy(nodeSelector={"zone": "b"})))
    assert ended.code == 0
    items = yaml.safe_load(ended.out)["items"]
    assert [(item["metadata"]["name"], len(item["spec"].get("interfaces", ()))) for item in items] == [
        ("n1", 0),
        ("n2", 1),
    ]
    assert "node n3: no node state tells its NICs" in ended.err


@pytest.mark.parametrize(
    ("labels", "count", "note"),
    [("", 1, True), (" --labels zone=b", 1, False), (" --labels zone=a rack=7", 0, False)],
)
def test_labels_may_be_given_as_words(virtfn: Virtfn, labels: str, count: int, note: bool) -> None:
    ended = virtfn(f"render{labels} -f", text(policy(nodeSelector={"zone": "b"}), state("n1", nic("eth0"))))
    assert len(yaml.safe_load(ended.out)["spec"].get("interfaces", ())) == count
    assert ("its labels are not known" in ended.err) == note


def test_files_folders_and_standard_input_are_read(virtfn: Virtfn, tmp_path: Any) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "a.yaml").write_text(text(policy("a")), encoding="utf-8")
    (tmp_path / "objects" / "b.json").write_text(
        json.dumps(policy("b", nicSelector={"pfNames": ["eth0#2-2"]}, numVfs=3)), encoding="utf-8"
    )
    both = text(policy("c", nicSelector={"pfNames": ["eth1"]}), state("n1", nic("eth0")))  # in a file, and on stdin
    ended = virtfn(f"render --state - -f {tmp_path / 'objects'} -f", both)
    groups = yaml.safe_load(ended.out)["spec"]["interfaces"][0]["vfGroups"]
    assert sorted(group["policyName"] for group in groups) == ["a", "b"]
    assert "SriovNetworkNodePolicy c: spec.nicSelector: selects no NIC here" in ended.err


def test_a_malformed_policy_is_told_and_the_others_rendered(virtfn: Virtfn) -> None:
    bad = policy("bad", numVfs="x")
    ended = virtfn("render -f", text(policy(), bad, state("n1", nic("eth0"))))
    assert ended.code == 3
    assert "SriovNetworkNodePolicy bad: spec.numVfs: must be a whole number" in ended.err
    assert len(yaml.safe_load(ended.out)["spec"]["interfaces"]) == 1


def test_the_rdma_mode_is_that_of_the_nodes_one_pool(virtfn: Virtfn) -> None:
    def pool(name: str, zone: str) -> dict[str, Any]:
        spec = {"nodeSelector": {"matchLabels": {"zone": zone}}, "rdmaMode": "exclusive"}
        return {"apiVersion": GROUP, "kind": "SriovNetworkPoolConfig", "metadata": {"name": name}, "spec": spec}

    objects = [policy(), state("n1", nic("eth0")), node("n1", zone="a")]
    assert yaml.safe_load(virtfn("render -f", text(*objects, pool("x", "a"))).out)["spec"]["system"] == {
        "rdmaMode": "exclusive"
    }
    for pools in ([pool("x", "b")], [pool("x", "a"), pool("y", "a")]):
        assert "system" not in yaml.safe_load(virtfn("render -f", text(*objects, *pools)).out)["spec"]


@pytest.mark.parametrize(
    ("words", "found", "message"),
    [
        ("render", state("n1"), "holds no SriovNetworkNodePolicy"),
        ("explain", {**policy(), "kind": "SriovNetworkNodePolcy"}, "unknown kind SriovNetworkNodePolcy"),
        ("render --labels zone", policy(), "'zone' is not key=value"),
        ("explain --policy x", policy(), "there is no policy x (there is: p)"),
        ("explain --pf x", policy(), "there is no x (there is: 0000:01:00.0"),
    ],
)
def test_what_cannot_be_answered_is_a_wrong_request(
    virtfn: Virtfn, words: str, found: dict[str, Any], message: str
) -> None:
    ended = virtfn(f"{words} -f", text(found))
    assert ended.code == 3
    assert message in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("command", ["render", "explain", "validate"])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "there is no object in it"),
        ("a: [", "not YAML"),
        ("kind: X", "apiVersion: is required"),
        (text(policy(), policy()), "was given before, in"),
    ],
)
def test_texts_that_are_no_objects_are_refused(virtfn: Virtfn, command: str, written: str, message: str) -> None:
    ended = virtfn(f"{command} -f", written)
    assert ended.code == 3
    assert message in ended.err


def test_a_state_file_without_a_state_is_refused(virtfn: Virtfn, tmp_path: Any) -> None:
    (tmp_path / "s.yaml").write_text(text(policy()), encoding="utf-8")
    ended = virtfn(f"render --state {tmp_path / 's.yaml'} -f", text(policy()))
    assert (ended.code, "holds no SriovNetworkNodeState" in ended.err) == (3, True)


def test_objects_of_others_are_passed_over_with_a_note(virtfn: Virtfn) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    ended = virtfn("render -f", text(policy(), other, state("n1", nic("eth0"))))
    assert ended.code == 0
    assert "document 2: ConfigMap of v1 is not looked at" in ended.err


# --- explain ---------------------------------------------------------------------------------------------------------

MEETING = [
    policy("all", nicSelector={"vendor": "8086"}, numVfs=4, eSwitchMode="switchdev"),
    policy("some", nicSelector={"pfNames": ["eth0#0-1"]}, priority=10, resourceName="s"),
    policy("none", nicSelector={"vendor": "15b3"}),
    policy("away", nodeSelector={"zone": "b"}),
    state("n1", nic("eth0"), nic("eth1", pciAddress="0000:01:00.1", altNames=["data1"])),
    node("n1", zone="a"),
]


def test_the_tree_says_who_has_which_vfs_and_why(virtfn: Virtfn) -> None:
    ended = virtfn("explain -f", text(*MEETING))
    assert (ended.code, ended.err) == (0, "")
    lines = [line.strip("│├└─ ") for line in ended.out.splitlines()]
    assert lines == [
        "node n1",
        "PFs",
        "0000:01:00.0 (eth0): 2 VFs",
        "VFs 0-1: s, by policy some",
        "numVfs 2, by policy some, in place of 4",
        "eSwitchMode not set, by policy some, in place of switchdev",
        "VFs 0-3 of policy all gave way to policy some (a lower priority number)",
        "0000:01:00.1 (eth1): 4 VFs",
        "VFs 0-3: r, by policy all",
        "numVfs 4, by policy all",
        "eSwitchMode switchdev, by policy all",
        "policies, in the order they are applied",
        "all (priority 99): has VFs here",
        "0000:01:00.0 (eth0): VFs 0-3 of policy all gave way to policy some (a lower priority number)",
        "0000:01:00.1 (eth1): has VFs 0-3",
        "away (priority 99): does not select this node",
        "label zone is a, not b",
        "none (priority 99): selects no NIC here",
        "0000:01:00.0 (eth0): not selected: vendor is 8086, not 15b3",
        "0000:01:00.1 (eth1): not selected: vendor is 8086, not 15b3",
        "some (priority 10): has VFs here",
        "0000:01:00.0 (eth0): has VFs 0-1",
        "0000:01:00.1 (eth1): not selected: not in pfNames (eth0#0-1)",
    ]
    assert all(line == line.rstrip() for line in ended.out.splitlines())


def test_vfs_in_no_group_are_shown(virtfn: Virtfn) -> None:
    ended = virtfn(
        "explain -f", text(policy(nicSelector={"pfNames": ["eth0#1-2"]}, numVfs=4), state("n1", nic("eth0")))
    )
    assert "VFs 0-0: in no group: left to the kernel" in ended.out
    assert "VFs 3-3: in no group: left to the kernel" in ended.out


def test_one_policy_and_one_pf_can_be_asked_for(virtfn: Virtfn) -> None:
    data = yaml.safe_load(virtfn("explain -o yaml --policy all --pf data1 -f", text(*MEETING)).out)
    assert [found["name"] for found in data["policies"]] == ["all"]
    assert data["policies"][0]["nics"] == [{"pciAddress": "0000:01:00.1", "name": "eth1", "has": "0-3"}]
    assert [pf["name"] for pf in data["pfs"]] == ["eth1"]


def test_several_nodes_are_explained_one_after_the_other(virtfn: Virtfn) -> None:
    objects = text(policy(), state("n1", nic("eth0")), state("n2", nic("eth1")))
    assert [found["node"] for found in json.loads(virtfn("explain -o json -f", objects).out)["nodes"]] == ["n1", "n2"]
    tree = virtfn("explain -f", objects).out
    assert tree.index("node n1") < tree.index("node n2")
    assert "no policy makes VFs here" in tree


def test_explaining_this_host_touches_nothing(virtfn: Virtfn, host: FakeHost) -> None:
    ended = virtfn("explain --labels a=b -f", text(policy()))
    assert "0000:01:00.0 (eth0): 2 VFs" in ended.out
    assert host.writes == []


# --- validate --------------------------------------------------------------------------------------------------------


def test_what_is_right_is_told_with_the_rules_that_were_not_applied(virtfn: Virtfn) -> None:
    ended = virtfn("validate -f", README_POLICY)
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "1 object, 0 errors, 0 warnings"
    assert "not applied (not known: the nodes): NoNodeSelected" in ended.out
    assert "not applied (not known: the operator's namespace): PolicyInOtherNamespace" in ended.out


def test_all_errors_of_all_objects_are_told_with_their_place(virtfn: Virtfn) -> None:
    network = {"apiVersion": GROUP, "kind": "SriovNetwork", "metadata": {"name": "net"}, "spec": {"resourceName": "r"}}
    wrong = {**network, "metadata": {"name": "bad"}, "spec": {"resourceName": "r", "ipam": "{", "vlan": 5000}}
    bad = policy("bad", deviceType="vfio-pci", isRdma=True, numVfs=1, mtuu=1)
    ended = virtfn("validate -f", text(policy(nicSelector={"vendor": "8086"}, resourceName="q"), bad, network, wrong))
    assert ended.code == 3
    errors = [line for line in ended.out.splitlines() if line.startswith("error: ")]
    assert [line.split("[")[1].split("]")[0] for line in errors] == [
        "Malformed",
        "VfioPciWithRdma",
        "Malformed",
        "NetworkJsonInvalid",
    ]
    assert "SriovNetworkNodePolicy bad: spec.mtuu: unknown field (did you mean mtu?)" in errors[0]
    assert errors[0].endswith("document 2")
    assert ended.out.splitlines()[-1] == "4 objects, 4 errors, 0 warnings"


def test_policies_nodes_and_states_of_one_file_are_held_against_each_other(virtfn: Virtfn) -> None:
    objects = [
        policy("a", nicSelector={"pfNames": ["eth0"]}),
        policy("b", nicSelector={"pfNames": ["data0#1-1"]}, resourceName="s"),
        policy("c", nicSelector={"pfNames": ["eth9"]}, resourceName="t"),
        policy("d", nicSelector={"rootDevices": ["0000:01:00.1"]}, numVfs=9, eSwitchMode="switchdev", resourceName="u"),
        state("n1", nic("eth0", altNames=["data0"]), nic("eth1", pciAddress="0000:01:00.1", driver="i40e")),
        node("n1"),
    ]
    ended = virtfn("validate -o json --operator-namespace sriov -f", listed(*objects))
    assert ended.code == 3
    found = json.loads(ended.out)["objects"]
    assert {each["name"]: [problem["rule"] for problem in each["problems"]] for each in found} == {
        "a": ["VfRangesOverlap"],
        "b": ["VfRangesOverlap"],
        "c": ["NoNicSelected"],
        "d": ["NumVfsBeyondTotal", "DeviceRefuses"],
        "n1": [],
    }
    assert all(each["skipped"] == [] for each in found)
    assert found[0]["where"].endswith("document 1, items[0]")
    assert "switchdev" in found[3]["problems"][1]["message"]


def test_a_warning_refuses_nothing(virtfn: Virtfn) -> None:
    config = {"apiVersion": GROUP, "kind": "SriovOperatorConfig", "metadata": {"name": "default"}}
    ended = virtfn("validate -o yaml -f", text({**config, "spec": {"disableDrain": True}}))
    assert ended.code == 0
    (found,) = yaml.safe_load(ended.out)["objects"]
    assert (found["allowed"], found["problems"][0]["severity"]) == (True, "warning")


def test_an_unknown_kind_of_the_group_is_wrong(virtfn: Virtfn) -> None:
    ended = virtfn("validate -f", text({**policy(), "kind": "SriovNetworkNodePolcy"}))
    assert (ended.code, "kind: must be one of SriovNetworkNodePolicy" in ended.out) == (3, True)


def test_validating_asks_no_machine(virtfn: Virtfn, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the machine was asked")

    monkeypatch.setattr("virtfn.node.Node.observe", asked)
    assert virtfn("validate -f", README_POLICY).code == 0


def test_the_rules_can_be_listed(virtfn: Virtfn) -> None:
    ended = virtfn("validate --rules")
    assert (ended.code, "`VfRangesOverlap`" in ended.out) == (0, True)
    assert virtfn("validate").code == 3
