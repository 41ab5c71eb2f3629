"""`virtfn daemon --once`, and what it wants to know before it begins."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtfn.testing import FakeHost

Virtfn = Callable[..., Any]
STATE = """\
interfaces:
- pciAddress: 0000:01:00.0
  numVfs: {count}
  vfGroups:
  - {{resourceName: net, vfRange: 0-{last}}}
"""
POLICY = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: p}
spec: {resourceName: net, nodeSelector: {}, nicSelector: {pfNames: [eth0]}, numVfs: 3}
"""


@pytest.fixture
def once(virtfn: Virtfn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the daemon once for the text of a file."""
    for name in ("NODE_NAME", "NAMESPACE", "POD_NAME"):
        monkeypatch.delenv(name, raising=False)

    def run(text: str, words: str = "") -> Any:
        (tmp_path / "wanted.yaml").write_text(text)
        file, folder = tmp_path / "wanted.yaml", tmp_path / "run"
        return virtfn(f"daemon --once --source file --file {file} --run-dir {folder} {words}")

    return run


def state(count: int) -> str:
    return STATE.format(count=count, last=count - 1)


def count(host: FakeHost) -> int:
    return len(host.function("0000:01:00.0").sriov.vfs)  # type: ignore[union-attr]


def test_once_from_a_file(once: Callable[..., Any], host: FakeHost, tmp_path: Path) -> None:
    ended = once(state(4))
    assert (ended.code, ended.out) == (0, "Succeeded: 1 PF as wanted\n")
    assert count(host) == 4
    assert (tmp_path / "run" / "device-plugin" / "config.json").exists()
    assert once(POLICY).code == 0
    assert count(host) == 3


def test_exit_codes_are_those_of_apply(once: Callable[..., Any], host: FakeHost) -> None:
    assert once(state(20)).code == 3
    assert once("interfaces: {").code == 3
    assert once("interfaces: [{pciAddress: '0000:01:00.0', numVfs: 2, color: red}]").code == 3
    host.fail("write *sriov_numvfs", error=errno.ENOMEM)
    ended = once(state(2))
    assert ended.code == 4
    assert "Cannot allocate memory" in ended.out


@pytest.mark.parametrize(("word", "code", "vfs"), [("never", 4, 2), ("if-free", 4, 2), ("always", 0, 3)])
def test_how_far_to_go(once: Callable[..., Any], host: FakeHost, word: str, code: int, vfs: int) -> None:
    assert once(state(2)).code == 0
    host.move_to_namespace(_vfs(host)[0].name)
    assert once(state(3), f"--disrupt {word}").code == code
    assert count(host) == vfs


@pytest.mark.parametrize(("word", "value", "resets"), [("--firmware-reset", "", 1), ("", "True", 1), ("", "no", 0)])
def test_a_card_is_reset_in_place_of_a_reboot_where_that_is_allowed(
    once: Callable[..., Any], host: FakeHost, monkeypatch: pytest.MonkeyPatch, word: str, value: str, resets: int
) -> None:
    monkeypatch.setenv("VIRTFN_FIRMWARE_RESET", value)
    host.fail("run systemd-run", lie=True)
    ended = once(state(24).replace("0000:01:00.0", "0000:3b:00.0"), f"--disrupt always {word}")
    assert sum(call.value[-1] == "reset" for call in host.calls if call.kind == "run") == resets
    assert sum(call.value[0] == "systemd-run" for call in host.calls if call.kind == "run") == 1 - resets
    assert (ended.code == 0, len(host.function("0000:3b:00.0").vfs)) == (bool(resets), 24 * resets)


def _vfs(host: FakeHost) -> Any:
    return host.function("0000:01:00.0").sriov.vfs  # type: ignore[union-attr]


def test_without_a_file_nothing_is_done(virtfn: Virtfn, tmp_path: Path, host: FakeHost) -> None:
    ended = virtfn(f"daemon --once --source file --file {tmp_path}/none.yaml --run-dir {tmp_path}/run")
    assert ended.code == 3
    assert "everything stays as it is" in ended.err
    assert host.writes == []
    assert virtfn("daemon --once --source file").code == 3


def test_it_has_to_know_which_node_it_is(virtfn: Virtfn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_NAME", raising=False)
    monkeypatch.setenv("NAMESPACE", "virtfn")
    ended = virtfn("daemon")
    assert ended.code == 3
    assert "NODE_NAME" in ended.err


def test_a_port_that_is_taken(virtfn: Virtfn, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = virtfn(
            f"daemon --source file --file {tmp_path}/f --run-dir {tmp_path} --health-address 127.0.0.1 "
            f"--health-port {port}"
        )
    assert ended.code == 3
    assert f"--health-port {port}" in ended.err
