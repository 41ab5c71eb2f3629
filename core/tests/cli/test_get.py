"""`virtfn get` where there is no cluster to ask."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtfn.cli.exits import Exit

Virtfn = Callable[..., Any]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No way to a cluster is in the environment."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    path = tmp_path / "config"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        ),
        encoding="utf-8",
    )
    return path


def test_without_kubeconfig_it_says_where_it_looked(virtfn: Virtfn, tmp_path: Path) -> None:
    ended = virtfn("get")
    assert (ended.code, ended.out) == (Exit.CLUSTER, "")
    assert f"kubeconfig {tmp_path}/.kube/config: cannot be used" in ended.err
    assert "[NotConfigured]" in ended.err


def test_a_kubeconfig_that_is_not_there_is_named(virtfn: Virtfn, tmp_path: Path) -> None:
    ended = virtfn(f"get --kubeconfig {tmp_path}/none")
    assert ended.code == Exit.CLUSTER
    assert f"{tmp_path}/none" in ended.err


def test_a_context_that_is_not_there_is_named(virtfn: Virtfn, kubeconfig: Path) -> None:
    ended = virtfn(f"get --kubeconfig {kubeconfig} --context prod")
    assert ended.code == Exit.CLUSTER
    assert "prod" in ended.err


def test_a_server_that_is_not_there_is_named(virtfn: Virtfn, kubeconfig: Path) -> None:
    server = json.loads(kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
    ended = virtfn(f"get --kubeconfig {kubeconfig}")
    assert ended.code == Exit.CLUSTER
    assert f"{server}: GET did not reach the API server" in ended.err
    assert "[Unavailable]" in ended.err
