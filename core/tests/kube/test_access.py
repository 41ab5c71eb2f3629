"""Which API server, as whom."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from virtfn.errors import NotConfigured
from virtfn.kube.access import configuration, connect
from virtfn.kube.resource import NODES


@pytest.fixture
def kubeconfig(server: Any) -> Any:
    """Write a kubeconfig with two contexts that differ in their token."""

    def write(path: Path) -> Path:
        clusters = [{"name": "c", "cluster": {"server": server.url}}]
        users = [{"name": name, "user": {"token": f"token-{name}"}} for name in ("one", "two")]
        contexts = [{"name": name, "context": {"cluster": "c", "user": name}} for name in ("one", "two")]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "one", "clusters": clusters, "users": users,
                "contexts": contexts,
            })
        )  # fmt: skip
        return path

    return write


def asked_as(server: Any, configured: Any, clock: Any) -> str:
    server.objects["/api/v1/nodes/n1"] = {"metadata": {"name": "n1"}}
    configured.no_proxy = "*"
    client = connect(configured, user_agent="virtfn/test", clock=clock, random=Random(1))
    client.get(NODES, name="n1")
    client.close()
    headers = {name.lower(): value for name, value in server.requests[-1].headers.items()}
    return headers["authorization"]


def test_a_named_kubeconfig_comes_first(server: Any, kubeconfig: Any, tmp_path: Path, clock: Any) -> None:
    path = kubeconfig(tmp_path / "named")
    environment = {"KUBECONFIG": "/nowhere", "KUBERNETES_SERVICE_HOST": "192.0.2.1"}
    assert asked_as(server, configuration(environment=environment, kubeconfig=path), clock) == "Bearer token-one"


def test_a_context_can_be_named(server: Any, kubeconfig: Any, tmp_path: Path, clock: Any) -> None:
    path = kubeconfig(tmp_path / "named")
    configured = configuration(environment={}, kubeconfig=path, context="two")
    assert asked_as(server, configured, clock) == "Bearer token-two"


def test_then_the_environments(server: Any, kubeconfig: Any, tmp_path: Path, clock: Any) -> None:
    path = kubeconfig(tmp_path / "other")
    environment = {"KUBECONFIG": str(path), "KUBERNETES_SERVICE_HOST": "192.0.2.1"}
    assert asked_as(server, configuration(environment=environment), clock) == "Bearer token-one"


def test_then_the_pods_service_account(tmp_path: Path, kubeconfig: Any) -> None:
    kubeconfig(tmp_path / ".kube" / "config")
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "ca.crt").write_text("certificate")
    environment = {
        "KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path),
    }  # fmt: skip
    configured = configuration(environment=environment, service_account=tmp_path)
    assert configured.host == "https://192.0.2.1:443"
    assert configured.ssl_ca_cert == str(tmp_path / "ca.crt")
    assert configured.auth_settings()["BearerToken"]["value"] == "bearer pod-token"


def test_a_service_accounts_token_is_read_again_when_it_changes(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text("certificate")
    environment = {"KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443"}
    configured = configuration(environment=environment, service_account=tmp_path)
    (tmp_path / "token").write_text("second")
    loader = configured.refresh_api_key_hook.__closure__[0].cell_contents
    loader.token_expires_at = loader.token_expires_at.replace(year=2000)
    assert configured.auth_settings()["BearerToken"]["value"] == "bearer second"


def test_and_at_last_the_home_folder(server: Any, kubeconfig: Any, tmp_path: Path, clock: Any) -> None:
    kubeconfig(tmp_path / ".kube" / "config")
    assert asked_as(server, configuration(environment={"HOME": str(tmp_path)}), clock) == "Bearer token-one"


@pytest.mark.parametrize(
    "text", [None, "", "[1]", "{", "apiVersion: v1", "current-context: x\ncontexts: []", "contexts: 3"]
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "broken"
    if text is not None:
        path.write_text(text)
    with pytest.raises(NotConfigured, match=f"kubeconfig {path}: cannot be used") as caught:
        configuration(environment={}, kubeconfig=path)
    assert caught.value.__cause__ is not None


def test_a_pod_without_a_token_is_named(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(NotConfigured, match=r"service account .*: cannot be used"):
        configuration(environment=environment, service_account=tmp_path)


WITHOUT = """
import sys
sys.modules["kubernetes"] = None
from virtfn.errors import NotConfigured
from virtfn.kube.access import configuration
try:
    configuration(environment={})
except NotConfigured as error:
    print(error)
"""


def test_without_the_client_it_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert "pip install 'virtfn[kube]'" in done.stdout


MODULES = "access apply client conditions events eviction fanout leader queue reflector store"
LAZY = f"""
import importlib, sys
for name in {MODULES.split()!r}:
    importlib.import_module("virtfn.kube." + name)
import virtfn.cli.main
print(sorted(name for name in ("kubernetes", "urllib3") if name in sys.modules))
"""


def test_neither_the_command_line_nor_this_package_imports_the_client_before_it_connects() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
