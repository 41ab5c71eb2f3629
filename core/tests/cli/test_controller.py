"""`virtfn controller` where there is no cluster: what it refuses, and how it waits and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtfn.cli.exits import Exit

Virtfn = Callable[..., Any]
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the controller must be told, and no way to a cluster."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NAMESPACE", "virtfn")
    monkeypatch.setenv("RESOURCE_PREFIX", "example.org")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a server that is not there."""
    path = tmp_path / "config"
    cluster = {"server": f"http://127.0.0.1:{free_port()}"}
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["NAMESPACE", "RESOURCE_PREFIX"])
def test_it_says_what_it_has_not_been_told(virtfn: Virtfn, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    ended = virtfn("controller")
    assert ended.code == Exit.REQUEST
    assert f"error: {name}: it is not known" in ended.err


def test_without_a_way_to_a_cluster_it_ends(virtfn: Virtfn, tmp_path: Path) -> None:
    ended = virtfn("controller")
    assert ended.code == Exit.CLUSTER
    assert f"{tmp_path}/.kube/config" in ended.err


def test_a_port_that_is_taken_is_named(virtfn: Virtfn, kubeconfig: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = virtfn(f"controller --kubeconfig {kubeconfig} --health-port {port}")
    assert ended.code == Exit.REQUEST
    assert f"--health-port: {port} cannot be listened on" in ended.err


def test_while_there_is_no_server_it_is_alive_and_not_ready_and_a_signal_ends_it(kubeconfig: Path) -> None:
    port = free_port()
    words = ["controller", "--kubeconfig", str(kubeconfig), "--health-port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "virtfn.cli.main", *words], env=dict(os.environ), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            code, text = page(port, "/healthz")
            assert (code, text) == (200, "views: ok\nworkers: ok\nlease: ok\n")
            code, text = page(port, "/readyz")
            assert code == 503
            assert "policies (" in text
            assert "did not reach the API server" in text
            assert page(port, "/metrics")[0] == 200
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=PATIENCE)[1]
            assert process.returncode == Exit.OK, said
        finally:
            process.kill()
    assert "Traceback" not in said


def page(port: int, path: str) -> tuple[int, str]:
    """What the health server says, once it is there and the first list has failed."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
                if "not listed yet" not in text or time.monotonic() > end:
                    return error.code, text
        except OSError:
            assert time.monotonic() < end
        time.sleep(0.05)
