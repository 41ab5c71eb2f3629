from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from virtfn.cluster.health import HealthServer


@dataclass
class Process:
    """What the checks of a process say."""

    wrong: dict[str, str] = field(default_factory=lambda: {"watch": "", "worker": "", "lists": ""})

    def check(self, name: str) -> str:
        if self.wrong[name] == "raise":
            raise RuntimeError("the check itself is broken")
        return self.wrong[name]


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def server(process: Process) -> Iterator[HealthServer]:
    made = HealthServer(
        address="127.0.0.1",
        port=0,
        live={"watch": lambda: process.check("watch"), "worker": lambda: process.check("worker")},
        ready={"lists": lambda: process.check("lists")},
        metrics=lambda: b"virtfn_writes_total 1.0\n",
    )
    made.start()
    yield made
    made.stop()


def ask(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_all_is_well(server: HealthServer) -> None:
    assert ask(server, "/healthz") == (200, "watch: ok\nworker: ok\n")
    assert ask(server, "/livez?verbose") == (200, "watch: ok\nworker: ok\n")
    assert ask(server, "/readyz") == (200, "lists: ok\n")
    assert ask(server, "/metrics") == (200, "virtfn_writes_total 1.0\n")
    assert ask(server, "/secrets")[0] == 404


def test_what_is_wrong_is_named_and_concerns_only_its_page(server: HealthServer, process: Process) -> None:
    process.wrong["watch"] = "nodes: nothing heard for 900 s"
    assert ask(server, "/healthz") == (503, "watch: nodes: nothing heard for 900 s\nworker: ok\n")
    assert ask(server, "/readyz")[0] == 200
    process.wrong = {"watch": "", "worker": "", "lists": "policies: no list yet"}
    assert ask(server, "/healthz")[0] == 200
    assert ask(server, "/readyz") == (503, "lists: policies: no list yet\n")


def test_a_check_that_fails_is_a_finding(server: HealthServer, process: Process) -> None:
    process.wrong["worker"] = "raise"
    code, text = ask(server, "/healthz")
    assert code == 503
    assert "the check itself is broken" in text


def test_the_port_is_free_again(server: HealthServer) -> None:
    port = server.port
    server.stop()
    with pytest.raises(urllib.error.URLError):
        ask(server, "/healthz")
    HealthServer(address="127.0.0.1", port=port, live={}, ready={}, metrics=lambda: b"").stop()
