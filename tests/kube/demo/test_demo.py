"""`virtfn demo --cluster` tells its whole story, with controller and daemons as they are, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from kube.bed.assets import Assets
from kube.bed.server import PREFIX as OF_THE_TESTS

from virtfn.cli import demo_cluster
from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.main import main
from virtfn.errors import NotConfigured
from virtfn.host.machine import Machine
from virtfn.testing import FakeHost


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(journal_folder=tmp_path, machine=lambda: Machine(FakeHost().kernel), stdout=io.StringIO())


@pytest.fixture
def assets(binaries: Assets) -> dict[str, str]:
    return {"KUBEBUILDER_ASSETS": str(binaries.folder)}


def leftovers(process: int) -> list[str]:
    """Folders and programs of a process, but for those of the other tests' API servers."""
    places = (Path(tempfile.gettempdir()), Path("/dev/shm"))
    ours = [path for place in places for path in place.glob(f"virtfn-*-{process}-*")]
    found = [str(path) for path in ours if not path.name.startswith(OF_THE_TESTS)]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"/virtfn-api-server-{process}-" in words:
            found.append(words)
    return found


def test_the_whole_story(context: Context, assets: dict[str, str]) -> None:
    threads = threading.active_count()
    assert demo_cluster.run(context, environment=assets) is Exit.OK
    assert isinstance(context.stdout, io.StringIO)
    told = context.stdout.getvalue()
    place = 0
    for words in (
        "worker-1: its daemon reports 2 PFs: ens41f0np0, ens41f1np1",
        "kind: SriovNetworkNodePolicy",
        "wanted by its spec: ens41f0np0 3 VFs switchdev, ens41f1np1 3 VFs switchdev",
        "disruption REFRESH",  # the plan is told before it is done
        "$ virtfn get",
        "3 nodes: 3 in sync",
        "18/18",
        "pod default/database-0 has VF 0000:5f:00.2",
        "disruption PF, 6 VFs lose traffic",
        "3 nodes: 1 awaiting drain, 2 in sync",
        "EvictionBlocked",
        "The budget goes",
        "worker-1: cordoned",
        "worker-1: pod default/database-0 was evicted and has ended",
        "worker-1: uncordoned",
        "30/30",
        "The policy is deleted",
        "wanted by its spec: nothing any more",
        "disruption PF, 10 VFs lose traffic",
        "3 nodes: 3 in sync",
        "6 PFs without VFs and without policy not shown",
        "That was a policy's life in a cluster",
    ):
        assert words in told[place:], f"{words!r} did not come, or not in its place:\n{told}"
        place = told.index(words, place) + len(words)
    for node in ("worker-2", "worker-3"):  # nobody there has a VF
        assert f"{node}: pod" not in told
    assert "Failed" not in told
    assert leftovers(os.getpid()) == []
    assert threading.active_count() <= threads


def test_what_does_not_come_is_told_by_name_and_everything_is_ended(
    context: Context, assets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_cluster, "LONGEST", 3.0)
    monkeypatch.setattr(demo_cluster, "PORTS", ("ens41f0np0", "another"))
    with pytest.raises(Exception, match=r"worker-1, worker-2, worker-3: the policy's VFs did not come within 3 s"):
        demo_cluster.run(context, environment=assets)
    assert leftovers(os.getpid()) == []


def test_who_is_told_to_end_leaves_nothing_behind(assets: dict[str, str]) -> None:
    words = [sys.executable, "-u", "-m", "virtfn.cli.main", "demo", "--cluster"]
    with subprocess.Popen(words, env={**os.environ, **assets}, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if "its daemon reports" in line:
                program.send_signal(signal.SIGTERM)
    assert program.returncode == 130
    assert leftovers(program.pid) == []


def test_without_binaries_it_says_how_to_get_them(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotConfigured, match="make kube-deps"):
        demo_cluster.run(context, environment={"HOME": str(tmp_path)})
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert main(["demo", "--cluster"]) == Exit.CLUSTER
    assert f"KUBEBUILDER_ASSETS: {tmp_path} has no kube-apiserver and no etcd" in capsys.readouterr().err
