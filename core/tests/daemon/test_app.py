"""The daemon's life: threads, health, and what makes it look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtfn.daemon.app import Daemon, DaemonSettings
from virtfn.daemon.decision import Rules
from virtfn.daemon.gate import Disrupt
from virtfn.daemon.loop import LoopSettings
from virtfn.errors import NotConfigured
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.kube.store import Change, ChangeKind
from virtfn.node import Node
from virtfn.testing import FakeHost

PATIENCE = 30.0
WANTED = "interfaces: [{pciAddress: '0000:01:00.0', numVfs: %d}]"


@pytest.fixture
def settings(tmp_path: Path) -> DaemonSettings:
    loop = LoopSettings(rules=Rules(disrupt=Disrupt.IF_FREE), period=0.05, suspicion=0.01)
    return DaemonSettings(
        "n", file=tmp_path / "wanted", state_dir=tmp_path / "journal", run_dir=tmp_path / "run", loop=loop
    )


Make = Callable[..., Daemon]


@pytest.fixture
def make(host: FakeHost, settings: DaemonSettings) -> Iterator[Make]:
    made: list[Daemon] = []

    def start(**more: Any) -> Daemon:
        machine = Machine(host.kernel)
        node = Node(machine, journal=Journal(settings.state_dir), now=time.monotonic)
        made.append(Daemon(replace(settings, **more), node=node, machine=machine))
        return made[-1]

    yield start
    for daemon in made:
        daemon.stop(seconds=PATIENCE)


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def count(host: FakeHost) -> int:
    sriov = host.function("0000:01:00.0").sriov
    assert sriov is not None
    return len(sriov.vfs)


def test_it_works_until_it_is_stopped(make: Make, settings: DaemonSettings, host: FakeHost) -> None:
    assert settings.file is not None
    settings.file.write_text(WANTED % 2)
    daemon, stop = make(), threading.Event()
    assert daemon.ready()["first look"]() == "the node was not looked at yet"
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    eventually(lambda: count(host) == 2)
    eventually(lambda: daemon.ready()["first look"]() == "")
    assert [check() for check in daemon.live().values()] == ["", ""]
    settings.file.write_text(WANTED % 3)
    eventually(lambda: count(host) == 3)
    stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_turn_that_never_ends_is_noticed(make: Make, settings: DaemonSettings, host: FakeHost) -> None:
    assert settings.file is not None
    settings.file.write_text(WANTED % 2)
    reached, go = threading.Event(), threading.Event()

    def hang(call: Any) -> bool:
        if call.target.endswith("sriov_numvfs") and call.kind == "write":
            reached.set()
            go.wait(PATIENCE)
        return False

    host.fail(hang, hang=True)
    daemon = make(stuck_after=0.2)
    daemon.start()
    assert reached.wait(PATIENCE)
    try:
        eventually(lambda: "a turn goes on for" in daemon.live()["loop"]())
    finally:
        go.set()
    eventually(lambda: daemon.live()["loop"]() == "")


def test_a_loop_that_does_not_turn_is_noticed(make: Make) -> None:
    daemon = make(stuck_after=0.2)
    eventually(lambda: "the last turn ended" in daemon.live()["loop"]())


def test_without_an_api_server_it_needs_a_file(make: Make) -> None:
    with pytest.raises(NotConfigured):
        make(file=None)


def test_its_own_report_is_no_reason_to_look_again(make: Make) -> None:
    daemon = make()

    def changed(**new: Any) -> int:
        old = {"metadata": {"generation": 1, "annotations": {}}, "spec": {}, "status": {"a": 1}}
        daemon._changed(Change(ChangeKind.MODIFIED, "v/n", old, {**old, **new}))
        return len(daemon._queue)

    assert changed(status={"a": 2}) == 0
    assert changed(metadata={"generation": 1, "annotations": {"a": "b"}}) == 1


def test_once_on_the_callers_thread(make: Make, settings: DaemonSettings, host: FakeHost) -> None:
    assert settings.file is not None
    settings.file.write_text(WANTED % 2)
    turn = make().once()
    assert turn.look is not None
    assert turn.outcome is not None
    assert count(host) == 2
