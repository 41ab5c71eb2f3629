"""The RDMA mode of a pool: by one reboot where pods run, at once where none do, and never by two reboots."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from virtfn.host.api import CommandResult
from virtfn.model.rdma import OPTION_FILE
from virtfn.testing import FakeHost

Rig = Any


class Boots:
    """systemd, and the node going down and coming up with its pods."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.asked = 0
        host.install("systemd-run", self._systemd_run)
        host.add_namespace()

    def _systemd_run(self, argv: tuple[str, ...]) -> CommandResult:
        self.asked += 1
        return CommandResult(argv, 0, "", "")

    def boot(self) -> None:
        self.host.reboot()
        self.host.add_namespace()


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        made.add_card("connectx-5", address="0000:01:00", up=True)
        yield made


@pytest.fixture
def boots(rig: Rig) -> Boots:
    return Boots(rig.host)


def want(rig: Rig, mode: str | None, *interfaces: Any, retry: str = "", generation: int = 2) -> None:
    rig.want(*interfaces, retry=retry, generation=generation)
    system = {"system": {"rdmaMode": mode}} if mode else {}
    rig.request = replace(rig.request, spec={**rig.request.spec, **system})


def rebooted(rig: Rig, boots: Boots) -> None:
    """The drain that is asked for is made, the reboot that follows happens, and the drain ends."""
    assert rig.status.needed_state == "Reboot_Required"
    rig.drain()
    asked = boots.asked
    rig.turn()
    assert boots.asked == asked + 1
    boots.boot()
    rig.restart()
    rig.turn()
    rig.undrain()


def test_one_reboot_then_in_sync(rig: Rig, boots: Boots) -> None:
    want(rig, "exclusive", rig.interface())
    rig.turn()
    assert rig.status.system.rdma_mode == "shared"
    rebooted(rig, boots)
    rig.turns(300)
    assert (rig.judged.reason, rig.status.system.rdma_mode) == ("InSync", "exclusive")
    assert (boots.asked, rig.status.attempts) == (1, ())
    assert len(rig.status.interfaces[0].vfs) == 4

    want(rig, None, rig.interface(), generation=3)
    rig.turns(60)
    assert not (rig.host.root / OPTION_FILE.lstrip("/")).exists()
    assert (rig.judged.reason, rig.status.system.rdma_mode) == ("InSync", "exclusive")
    boots.boot()
    rig.turns(60)
    assert (rig.status.system.rdma_mode, boots.asked) == ("shared", 1)


def test_where_no_pod_runs_it_changes_at_once(rig: Rig, boots: Boots) -> None:
    rig.host.remove_namespaces()
    want(rig, "exclusive")
    rig.turns(60)
    assert (rig.judged.reason, rig.status.system.rdma_mode, boots.asked) == ("InSync", "exclusive", 0)
    boots.boot()
    rig.turns(60)
    assert (rig.judged.reason, rig.status.system.rdma_mode) == ("InSync", "exclusive")


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EPERM, errno.EOPNOTSUPP])
def test_what_the_kernel_refuses_and_nothing_explains_is_left_to_the_boot(rig: Rig, boots: Boots, code: int) -> None:
    """By `EBUSY` a network namespace is known that nothing else shows."""
    rig.host.remove_namespaces()
    refused = rig.host.fail("set_netns_mode rdma", error=code)
    want(rig, "exclusive", rig.interface())
    rig.turns(60)
    assert refused.hits == 1
    rebooted(rig, boots)
    rig.turns(60)
    assert (rig.judged.reason, rig.status.system.rdma_mode, boots.asked) == ("InSync", "exclusive", 1)
    assert len(rig.status.interfaces[0].vfs) == 4


def test_a_mode_that_does_not_come_trips_the_breaker_and_holds_up_no_vf(rig: Rig, boots: Boots) -> None:
    # an initramfs that loads the module without looking at the option
    rig.host.model.rdma._option = lambda: "shared"
    want(rig, "exclusive", rig.interface())
    rig.turn()
    rebooted(rig, boots)
    rig.turns(600)
    assert boots.asked == 1
    assert (rig.judged.reason, rig.status.needed_state) == ("RebootIneffective", "Idle")
    assert "exclusive wanted, shared seen" in rig.judged.message
    assert "update-initramfs" in rig.judged.message, "and what it is likely to be due to"
    assert len(rig.status.interfaces[0].vfs) == 4, "VFs do not wait for it"
    assert [attempt.kind for attempt in rig.status.attempts] == ["Reboot"]
    for again in (rig.restart, boots.boot):
        again()
        rig.turns(600)
        assert (boots.asked, rig.judged.reason) == (1, "RebootIneffective")

    want(rig, "exclusive", rig.interface(vfs=2), generation=3)
    rig.turn()
    rig.drain()
    rig.turns(60)
    rig.undrain()
    rig.turns(60)
    assert len(rig.status.interfaces[0].vfs) == 2
    assert boots.asked == 1, "another number of VFs is no other mode"

    want(rig, "exclusive", rig.interface(vfs=2), generation=3, retry="once more")
    rig.turns(60)
    rebooted(rig, boots)
    assert boots.asked == 2
    want(rig, "shared", rig.interface(vfs=2), generation=4)
    rig.turns(60)
    assert (rig.judged.reason, rig.status.attempts) == ("InSync", ())


def test_a_kernel_argument_that_makes_a_reboot_vain_is_told_in_place_of_it(rig: Rig, boots: Boots) -> None:
    tree = rig.host.model.tree
    tree.file("proc/cmdline", "ro ib_core.netns_mode=1\n")
    want(rig, "exclusive", rig.interface())
    rig.turns(300)
    assert (rig.judged.reason, rig.status.needed_state, boots.asked) == ("UnsupportedSetting", "Idle", 0)
    assert "ib_core.netns_mode=0" in rig.judged.message
    assert len(rig.status.interfaces[0].vfs) == 4, "VFs do not wait for it"
    tree.file("proc/cmdline", "ro ib_core.netns_mode=0\n")  # which a person has done, and booted
    boots.boot()
    rig.turns(60)
    assert (rig.judged.reason, rig.status.system.rdma_mode, boots.asked) == ("InSync", "exclusive", 0)


def test_a_drain_that_leaves_nobody_saves_the_reboot(rig: Rig, boots: Boots) -> None:
    want(rig, "exclusive")
    rig.turn()
    assert rig.status.needed_state == "Reboot_Required"
    rig.host.remove_namespaces()
    rig.drain()
    rig.turns(60)
    rig.undrain()
    rig.turns(60)
    assert (rig.judged.reason, rig.status.system.rdma_mode, boots.asked) == ("InSync", "exclusive", 0)
