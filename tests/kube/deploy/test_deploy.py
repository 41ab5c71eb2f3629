"""Every manifest is rendered by an old and a new kubectl, taken by a real API server, and means the same twice."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.bed.deploying import DEPLOY, OVERLAYS, Kubectl, key_of, render
from kube.bed.reconciling import eventually

KUSTOMIZATIONS = sorted(path.parent.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("kustomization.yaml"))


def test_the_folders_are_the_ones_that_are_told_of() -> None:
    overlays = [f"overlays/{name}" for name in sorted(OVERLAYS)]
    assert ["admission", "base", "operands", *overlays] == KUSTOMIZATIONS


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_all_kubectls_render_the_same(folder: str, kubectl_binary: Path) -> None:
    found = {key_of(thing): thing for thing in render(kubectl_binary, DEPLOY / folder)}
    assert found
    other = shutil.which("kubectl")
    if other is None:
        return
    again = {key_of(thing): thing for thing in render(Path(other), DEPLOY / folder)}
    for thing in (*found.values(), *again.values()):
        _without_hash(thing)
    assert sorted(map(key_of, found.values())) == sorted(map(key_of, again.values()))
    for thing in again.values():
        assert thing in found.values(), key_of(thing)


def _without_hash(thing: dict[str, object]) -> None:
    """The names of generated config maps end in a hash that differs by version; the order of variables does too."""
    text = yaml.safe_dump(thing)
    if "virtfn-images-" in text:
        thing.update(yaml.safe_load(re.sub(r"virtfn-images-\w+", "virtfn-images", text)))
    if thing["kind"] == "Deployment":
        for container in thing["spec"]["template"]["spec"]["containers"]:  # type: ignore[index]
            container["env"].sort(key=lambda each: each["name"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_of_an_overlay_is_in_its_namespace(name: str, kubectl_binary: Path) -> None:
    things = render(kubectl_binary, DEPLOY / "overlays" / name)
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "Namespace"}
    assert {thing["metadata"].get("namespace") for thing in things if thing["kind"] not in cluster_wide} == {
        OVERLAYS[name]
    }
    bindings = [thing for thing in things if thing["kind"].endswith("Binding")]
    assert len(bindings) >= 4
    for binding in bindings:
        for subject in binding["subjects"]:
            assert subject["namespace"] == OVERLAYS[name], key_of(binding)
    assert [thing["metadata"]["name"] for thing in things if thing["kind"] == "Namespace"] in ([], [OVERLAYS[name]])


def _documented(kubectl_binary: Path, folder: Path) -> list[list[dict[str, Any]]]:
    """What each kustomization of docs/deploying.md comes to."""
    page = (DEPLOY.parent / "docs" / "deploying.md").read_text(encoding="utf-8")
    shutil.copytree(DEPLOY, folder / "deploy")
    made = []
    for number, block in enumerate(re.findall(r"(?ms)^```yaml\n(.*?)^```", page)):
        if "bases:" in block:
            mine = folder / "deploy" / "overlays" / f"mine-{number}"
            mine.mkdir()
            (mine / "kustomization.yaml").write_text(block, encoding="utf-8")
            made.append(render(kubectl_binary, mine))
    return made


def test_the_pages_examples(kubectl_binary: Path, tmp_path: Path) -> None:
    images, namespace = _documented(kubectl_binary, tmp_path)
    (deployment,) = (thing for thing in images if thing["kind"] == "Deployment")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example.com/virtfn-controller:0.1.0"
    (config,) = (thing["data"] for thing in images if thing["kind"] == "ConfigMap")
    assert config["SRIOV_NETWORK_CONFIG_DAEMON_IMAGE"] == "registry.example.com/virtfn-daemon:0.1.0"
    assert config["SRIOV_DEVICE_PLUGIN_IMAGE"], "the others are still there"
    subjects = [subject for thing in namespace for subject in thing.get("subjects", ())]
    assert {subject["namespace"] for subject in subjects} == {"my-namespace"}


def test_a_typing_error_would_be_noticed(kubectl: Kubectl, tmp_path: Path) -> None:
    """So that the test below can fail."""
    wrong = tmp_path / "wrong.yaml"
    text = (DEPLOY / "base" / "controller.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("readOnlyRootFilesystem", "readonlyRootFilesystem"), encoding="utf-8")
    assert "readonlyRootFilesystem" in kubectl.refuses("apply", "-n", "default", "-f", wrong)


def _put_definitions(kubectl: Kubectl) -> None:
    # Their rules in CEL are fields that a server before 1.25 does not know; it drops them.
    kubectl("apply", "--validate=false", "-f", DEPLOY / "crds")
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    eventually(lambda: kubectl("get", "sriovoperatorconfigs", "-A") or True)


def test_an_api_server_takes_everything_twice_and_the_second_time_changes_nothing(kubectl: Kubectl) -> None:
    _put_definitions(kubectl)
    for name, namespace in OVERLAYS.items():
        folder = DEPLOY / "overlays" / name
        said = kubectl("apply", "-k", folder)
        assert said.count(" created\n") + said.count(" configured\n") >= 15, said
        again = kubectl("apply", "-k", folder)
        assert {line.rsplit(" ", 1)[1] for line in again.splitlines()} == {"unchanged"}, again
        deployment = yaml.safe_load(kubectl("-n", namespace, "get", "deployment", "virtfn-controller", "-o", "yaml"))
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"].startswith("virtfn-controller:")
    names = kubectl("-n", "kube-system", "get", "daemonsets", "-o", "name").split()
    assert names == ["daemonset.apps/sriov-device-plugin", "daemonset.apps/sriov-network-config-daemon"]
    assert (
        kubectl("get", "sriovoperatorconfigs", "-A", "-o", "name").split()
        == ["sriovoperatorconfig.sriovnetwork.openshift.io/default"] * 2
    )


@pytest.mark.needs_version("1.30")
def test_a_newer_api_server_takes_the_admission_policies(kubectl: Kubectl) -> None:
    said = kubectl("apply", "-k", DEPLOY / "admission")
    assert said.count("created") == 4
    policies = yaml.safe_load(kubectl("get", "validatingadmissionpolicies", "-o", "yaml"))["items"]
    assert [
        policy for policy in policies if (policy.get("status") or {}).get("typeChecking", {}).get("expressionWarnings")
    ] == []


def test_server_side_apply_takes_everything_too(kubectl: Kubectl, tmp_path: Path) -> None:
    """As GitOps tools do it; the server refuses fields that it does not know."""
    _put_definitions(kubectl)
    for name in OVERLAYS:
        kubectl(
            "apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-k", DEPLOY / "overlays" / name
        )
