"""The files of `deploy/`: made from the code where it says so, pinned, and without a right too many."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from virtfn.cli.main import make_parser
from virtfn.controller.operands import NAMES, OperandSettings, wanted_daemon_sets
from virtfn.controller.operands.manifests import manifests

KUBE_OVN = {
    "resource_prefix": "mellanox.com",
    "node_selector": {"feature.node.kubernetes.io/network-sriov.capable": "true"},
}
ESCALATING = {"escalate", "bind", "impersonate", "*", "approve", "sign"}
SPECIAL = {"roles", "rolebindings", "clusterroles", "clusterrolebindings", "secrets", "serviceaccounts",
           "serviceaccounts/token", "pods/exec", "pods/attach", "nodes/proxy", "*", "customresourcedefinitions",
           "mutatingwebhookconfigurations", "validatingwebhookconfigurations"}  # fmt: skip


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    return root / "deploy"


@pytest.fixture(scope="module")
def things(deploy: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every object with the name of its file; the definitions of kinds left out."""
    return list(_things(deploy))


def _things(deploy: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(deploy.rglob("*.yaml")):
        if path.parent.name != "crds" and path.name != "kustomization.yaml":
            for thing in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                yield path.relative_to(deploy).as_posix(), thing


def _unknown(kind: str, value: Any, path: str) -> list[str]:
    """Fields that the newest Kubernetes does not know, by the types of its client."""
    if found := re.fullmatch(r"(?i)(?:list\[|dict[\[(]str, )(.+)[\])]", kind):
        inner = value.values() if isinstance(value, dict) else value or ()
        return [each for item in inner for each in _unknown(found[1], item, f"{path}[]")]
    model = getattr(client, kind, None)
    if model is None or not isinstance(value, dict):
        return []
    names = {name: attribute for attribute, name in model.attribute_map.items()}
    lost = [f"{path}.{name}" for name in value if name not in names]
    known = [(name, inner) for name, inner in value.items() if name in names]
    return lost + [
        each for name, inner in known for each in _unknown(model.openapi_types[names[name]], inner, f"{path}.{name}")
    ]


def test_the_newest_kubernetes_knows_every_field(things: list[tuple[str, dict[str, Any]]]) -> None:
    kinds = set()
    for name, thing in things:
        if "sriovnetwork.openshift.io" not in thing["apiVersion"]:
            assert hasattr(client, f"V1{thing['kind']}"), thing["kind"]
            kinds.add(thing["kind"])
            assert _unknown(f"V1{thing['kind']}", thing, name) == []
    assert {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "DaemonSet", "Deployment"} <= kinds


def test_and_an_unknown_one_would_be_seen() -> None:
    thing = {"spec": {"template": {"spec": {"containers": [{"name": "c", "imagePolicy": "Always"}]}}}}
    assert _unknown("V1Deployment", thing, "x") == ["x.spec.template.spec.containers[].imagePolicy"]


def test_manifests_are_the_ones_that_the_code_makes(deploy: Path) -> None:
    for name, text in manifests(**KUBE_OVN).items():  # type: ignore[arg-type]
        assert (deploy / "overlays" / "kube-ovn" / name).read_text(encoding="utf-8") == text, (
            "run `python -m virtfn.controller.operands deploy/overlays/kube-ovn --resource-prefix mellanox.com"
            " --node-selector feature.node.kubernetes.io/network-sriov.capable=true`"
        )


def test_every_mount_and_privilege_has_a_line(deploy: Path) -> None:
    for name, text in manifests(**KUBE_OVN).items():  # type: ignore[arg-type]
        said = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        pod = yaml.safe_load(text)["spec"]["template"]["spec"]
        paths = [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume]
        assert len(paths) >= 4
        assert [
            path for path in paths if not re.search(rf"(?m)^#   {re.escape(path)}( \(read only\))?: \S", said)
        ] == []
        assert re.search(r"(?m)^#   privileged: \S", said), name
        assert re.search(r"(?m)^#   hostNetwork: \S", said), name


def test_images_are_pinned_and_the_same_everywhere(deploy: Path, root: Path) -> None:
    version = tomllib.loads((root / "core" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    seen: dict[str, set[str]] = {}
    for path in sorted(deploy.rglob("kustomization.yaml")):
        kustomization = yaml.safe_load(path.read_text(encoding="utf-8"))
        for image in kustomization.get("images", ()):
            seen.setdefault(image["newName"], set()).add(image["newTag"])
        for generator in kustomization.get("configMapGenerator", ()):
            for literal in generator["literals"]:
                name, _, tag = literal.partition("=")[2].rpartition(":")
                seen.setdefault(name, set()).add(tag)
    assert {name: tags for name, tags in seen.items() if len(tags) > 1} == {}
    ours = {name: tags for name, tags in seen.items() if name.startswith("virtfn-")}
    assert ours == {"virtfn-controller": {version}, "virtfn-daemon": {version}}
    others = {name: tags for name, tags in seen.items() if name not in ours}
    assert len(others) >= 3
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", tag) for tags in others.values() for tag in tags)


def test_no_other_file_says_where_an_image_is(deploy: Path) -> None:
    """So that there is one place for each way to deploy."""
    hosts = re.compile(r"(?<![/.\w-])[a-z0-9-]+(\.[a-z0-9-]+)+/[a-z0-9-]+/[a-z0-9-]+")
    kept = {
        path.relative_to(deploy).as_posix() for path in deploy.rglob("*") if path.is_file() and path.suffix != ".md"
    }
    found = {name for name in kept if hosts.search((deploy / name).read_text(encoding="utf-8"))}
    assert found == {"operands/kustomization.yaml", "overlays/kube-ovn/kustomization.yaml"}


def test_no_role_can_make_more_of_itself(things: list[tuple[str, dict[str, Any]]]) -> None:
    roles = [thing for _, thing in things if thing["kind"] in ("Role", "ClusterRole")]
    assert len(roles) >= 5
    for role in roles:
        for rule in role["rules"]:
            assert not ESCALATING & set(rule["verbs"]), role["metadata"]["name"]
            assert not SPECIAL & set(rule["resources"]), role["metadata"]["name"]
            assert "*" not in rule["apiGroups"], role["metadata"]["name"]


def test_every_rule_says_what_it_is_for(deploy: Path) -> None:
    for path in sorted(deploy.rglob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.parent.name == "crds" or not any(line.startswith("kind: ") and "Role" in line for line in lines):
            continue
        text = "\n".join(lines)
        assert text.count("#") >= max(text.count("- apiGroups:") - 2, 1), path


def test_bindings_bind_roles_of_this_folder_to_accounts_of_this_folder(
    things: list[tuple[str, dict[str, Any]]],
) -> None:
    names = {(thing["kind"], thing["metadata"]["name"]) for _, thing in things}
    bindings = [thing for _, thing in things if thing["kind"].endswith("RoleBinding")]
    assert len(bindings) >= 5
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in names
        for subject in binding["subjects"]:
            assert ("ServiceAccount", subject["name"]) in names
            assert set(subject) == {"kind", "name"}, "an old kubectl leaves a namespace that is written as it is"


def test_the_controller_may_write_the_daemon_sets_that_it_deploys(things: list[tuple[str, dict[str, Any]]]) -> None:
    reading = {"get", "list", "watch"}
    writing = [
        (name, rule)
        for name, thing in things
        if thing["kind"] in ("Role", "ClusterRole")
        for rule in thing["rules"]
        if "daemonsets" in rule["resources"] and set(rule["verbs"]) - reading
    ]
    ((name, rule),) = writing
    assert name == "operands/controller-daemonsets.yaml"
    assert tuple(rule["resourceNames"]) == NAMES


def test_the_controller_is_confined(things: list[tuple[str, dict[str, Any]]]) -> None:
    (pod,) = (
        thing["spec"]["template"]["spec"] for name, thing in things if name == "base/controller.yaml"
    )  # fmt: skip
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["priorityClassName"] == "system-cluster-critical"
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= set(container)
    assert not any("hostPath" in volume for volume in pod["volumes"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_pods_with_a_network_of_their_own_are_closed(things: list[tuple[str, dict[str, Any]]]) -> None:
    policies = {thing["metadata"]["name"]: thing["spec"] for _, thing in things if thing["kind"] == "NetworkPolicy"}
    assert policies["virtfn-nothing"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "virtfn"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    ports = [each["port"] for rule in policies["virtfn-controller"]["egress"] for each in rule["ports"]]
    assert ports == [443, 6443]


def test_images_are_built_by_the_script_that_is_tested(deploy: Path) -> None:
    script = deploy / "images" / "install.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    for what in ("controller", "daemon"):
        text = (deploy / "images" / f"{what}.Dockerfile").read_text(encoding="utf-8")
        assert f"deploy/images/install.sh {what}" in text
        assert "pip" not in re.sub(r"(?m)^#.*$", "", text)
        shown = (deploy / "images" / f"{what}.Dockerfile.dockerignore").read_text(encoding="utf-8").split()
        assert shown[0] == "*"
        assert "!deploy/images/install.sh" in shown
    assert "USER 65532:65532" in (deploy / "images" / "controller.Dockerfile").read_text(encoding="utf-8")


def test_the_command_lines_are_ones_that_virtfn_takes(things: list[tuple[str, dict[str, Any]]]) -> None:
    """Also with all that an operator configuration can add."""
    settings = OperandSettings("d", "p", verbose=True, use_cdi=True)
    deployed = [thing for _, thing in things if thing["kind"] in ("Deployment", "DaemonSet")]
    seen = []
    for thing in (*deployed, *wanted_daemon_sets(settings)):
        for container in thing["spec"]["template"]["spec"]["containers"]:
            program, *words = [*container.get("command", ("",)), *container.get("args", ())]
            if program == "virtfn":
                options = make_parser().parse_args(words)
                seen.append((options.command, options.verbose))
                if options.command == "daemon":
                    assert (options.root, options.state_dir) == (Path("/host"), Path("/var/lib/virtfn/journal"))
                ports = [port["containerPort"] for port in container["ports"]]
                assert ports == [options.health_port]
    assert sorted(seen) == [("controller", False), ("daemon", False), ("daemon", True)]
