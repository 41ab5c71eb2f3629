"""What docs/kube-ovn.md says can be done: its manifests are valid, its commands can be given, its words are the code's.

`tests/kube/kubeovn` does it.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtfn import errors
from virtfn.cli.get_report import Standing
from virtfn.cli.main import make_parser
from virtfn.controller.settings import settings_from
from virtfn.model.crd import KINDS, SriovNetworkNodePolicy
from virtfn.model.schema import crd_yaml
from virtfn.policy.documents import load_documents

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = ROOT / "deploy" / "overlays" / "kube-ovn"
PAGE = (ROOT / "docs" / "kube-ovn.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CAPABLE = "feature.node.kubernetes.io/network-sriov.capable"
RESOURCE = "mellanox.com/cx_sriov_switchdev"
VERBS = {"apply", "delete", "exec", "get", "label", "scale", "wait", "logs"}
ELSEWHERE = {
    "nodes", "node", "pod", "pods", "crd", "daemonset", "daemonsets", "deployment", "configmap",
    "clusterrolebindings",
}  # fmt: skip
"""Kinds that are Kubernetes' own."""
PROGRAMS = {
    "cat", "devlink", "dmesg", "ethtool", "journalctl", "kubectl", "lspci", "mstconfig", "nmcli", "rm",
    "systemctl", "tcpdump", "udevadm", "uname", "virtfn",
}  # fmt: skip


def manifests() -> dict[str, Any]:
    """By kind and name; what has no kind by its first comment."""
    found = {}
    for language, text in BLOCKS:
        if language == "yaml":
            thing = yaml.safe_load(text)
            name = f"{thing['kind']}/{thing['metadata']['name']}" if "kind" in thing else text.splitlines()[0]
            found[name] = thing
    return found


def commands() -> list[str]:
    """Those in blocks, and those in tables that begin with a program's name."""
    lines = [line for language, text in BLOCKS if not language for line in text.splitlines()]
    ticked = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL))
    return lines + [word for word in ticked if " " in word and word.split()[0] in PROGRAMS]


def overlay(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((OVERLAY / name).read_text(encoding="utf-8")))


# --- the overlay ----------------------------------------------------------------------------------------------------


def test_the_overlay_is_what_a_kube_ovn_user_needs_and_no_more() -> None:
    (kustomization,) = overlay("kustomization.yaml")
    assert kustomization["namespace"] == "kube-system"
    (controller,) = overlay("controller.yaml")
    environment = {
        each["name"]: each["value"] for each in controller["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    settings = settings_from(environment, namespace="kube-system")
    assert settings.resource_prefix == "mellanox.com"
    assert settings.node_selector == {CAPABLE: "true"}
    kinds = [thing["kind"] for name in kustomization["resources"] for thing in overlay(name)]
    assert kinds == ["DaemonSet", "DaemonSet"], "no SriovOperatorConfig, no webhook, no CNI plugin"
    for name in kustomization["resources"]:
        (daemon_set,) = overlay(name)
        selector = daemon_set["spec"]["template"]["spec"]["nodeSelector"]
        assert selector.items() >= settings.node_selector.items()


# --- manifests ------------------------------------------------------------------------------------------------------


def test_there_are_the_manifests_of_the_whole_way() -> None:
    assert list(manifests()) == [
        "# deploy/overlays/mine/kustomization.yaml",
        "SriovNetworkNodePolicy/policy",
        "NetworkAttachmentDefinition/sriov",
        "Pod/offloaded",
        "Pod/second-nic",
    ]


def test_the_policy_is_valid_and_has_no_word_that_nobody_knows() -> None:
    (text,) = (text for _, text in BLOCKS if "kind: SriovNetworkNodePolicy" in text)
    (document,) = load_documents(text, source="kube-ovn.md")
    policy = document.object
    assert isinstance(policy, SriovNetworkNodePolicy)
    definition = yaml.safe_load(crd_yaml(KINDS["SriovNetworkNodePolicy"]))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    given = yaml.safe_load(text)["spec"]
    assert given.keys() <= schema["properties"].keys()
    assert given["nicSelector"].keys() <= schema["properties"]["nicSelector"]["properties"].keys()
    assert f"mellanox.com/{policy.spec.resource_name}" == RESOURCE


def test_the_definition_names_the_resource_and_itself() -> None:
    definition = manifests()["NetworkAttachmentDefinition/sriov"]
    metadata = definition["metadata"]
    assert metadata["annotations"] == {"k8s.v1.cni.cncf.io/resourceName": RESOURCE}
    config = json.loads(definition["spec"]["config"])
    (plugin,) = (each for each in config["plugins"] if each["type"] == "kube-ovn")
    assert plugin["provider"] == f"{metadata['name']}.{metadata['namespace']}.ovn"


@pytest.mark.parametrize("name", ["offloaded", "second-nic"])
def test_pods_ask_for_the_resource_and_name_the_definition(name: str) -> None:
    pod = manifests()[f"Pod/{name}"]
    annotations = pod["metadata"]["annotations"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"] == {"requests": {RESOURCE: "1"}, "limits": {RESOURCE: "1"}}
    definition = manifests()["NetworkAttachmentDefinition/sriov"]["metadata"]
    provider = f"{definition['name']}.{definition['namespace']}.ovn"
    assert f"{provider}.kubernetes.io/logical_switch" in annotations
    default = annotations.get("v1.multus-cni.io/default-network")
    if default is not None:
        assert default == f"{definition['namespace']}/{definition['name']}"
    else:
        (network,) = json.loads(annotations["k8s.v1.cni.cncf.io/networks"])
        assert (network["namespace"], network["name"]) == (definition["namespace"], definition["name"])


def test_the_kustomization_stands_on_the_overlay_and_names_its_images() -> None:
    mine = manifests()["# deploy/overlays/mine/kustomization.yaml"]
    assert [(OVERLAY.parent / "mine" / base).resolve() for base in mine["bases"]] == [OVERLAY.resolve()]
    (kustomization,) = overlay("kustomization.yaml")
    assert mine["namespace"] == kustomization["namespace"]
    known = {image["name"] for image in kustomization["images"]}
    assert {image["name"] for image in mine["images"]} <= known


# --- commands -------------------------------------------------------------------------------------------------------


def test_every_program_is_one_that_is_meant() -> None:
    lines = commands()
    assert len(lines) > 40
    assert {shlex.split(line)[0] for line in lines} <= PROGRAMS


def test_commands_of_virtfn_can_be_given() -> None:
    found = [line.partition(">")[0] for line in commands() if line.startswith("virtfn ")]
    assert len(found) >= 6
    for line in found:
        words = shlex.split(line)[1:]
        words += ["-f", "policy.yaml"] if words == ["explain"] else []  # its name only
        assert make_parser().parse_args(words).run


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("kubectl ")])
def test_a_kubectl_command_names_what_there_is(line: str) -> None:
    words = shlex.split(line.partition(">")[0])[1:]
    if words[0] == "-n":
        words = words[2:]
    if words == ["apply"]:
        return
    verb, *rest = words
    assert verb in VERBS
    for flag, place in pairwise(rest):
        if flag in ("-f", "-k") and place.startswith("deploy/"):
            assert (ROOT / place).is_dir() or place == "deploy/overlays/mine"
    if verb in ("get", "delete", "wait", "label", "scale") and not rest[0].startswith("-"):
        kind = rest[0].partition("/")[0]
        ours = {word for each in KINDS.values() for word in (each.plural, each.plural.removesuffix("s"))}
        ours |= {"sriovnetworknodepolicy"}
        assert kind in ours | ELSEWHERE, kind


def test_labels_that_pods_are_found_by_are_theirs() -> None:
    labels = {
        label for name in ("sriov-network-config-daemon.yaml", "sriov-device-plugin.yaml")
        for label in (f"app={overlay(name)[0]['spec']['template']['metadata']['labels']['app']}",)
    }  # fmt: skip
    named = set(re.findall(r"-l (app=[\w-]+)", PAGE))
    assert named >= labels
    assert named - labels == {"app=ovs", "app=kube-ovn-cni"}, "kube-ovn's"


# --- words ----------------------------------------------------------------------------------------------------------


def test_reasons_and_standings_are_the_codes() -> None:
    table = PAGE.partition("## When it fails")[2].partition("\n## ")[0]
    ticked = set(re.findall(r"`([^`\n]+)`", table))
    assert {"no report", "awaiting drain", "blocked"} <= {each.value for each in Standing} & ticked
    known = {kind.reason for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "reason")}
    for folder in ("controller", "daemon"):
        for path in (ROOT / "core" / "src" / "virtfn" / folder).rglob("*.py"):
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            known |= {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    reasons = {word for word in ticked if re.fullmatch(r"(?:[A-Z][a-z]+){2,4}", word)}
    theirs = {"UnexpectedAdmissionError", "ContainerCreating"}
    assert reasons - theirs - known == set()
    assert {"TooManyVfs", "UnsupportedEswitchMode", "DeviceBusy", "NoNicSelected"} <= reasons


def test_links_lead_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([\w.-]*)(?:#([^)]*))?\)", PAGE):
        text = PAGE if not target else (ROOT / "docs" / target).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, (target, anchor)
