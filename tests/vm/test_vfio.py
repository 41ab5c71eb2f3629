"""VFs that a process holds open through vfio: the kernel would block for ever, virtfn says who it is and ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bed.holder import Holder, Holding
from bed.sight import IGB, PCI, look

FIRST, SECOND = IGB[:2]
PATIENCE = 60.0
GIVE_UP = 3.0
"""Seconds, where virtfn itself waits two minutes."""
Virtfn = Callable[..., Any]
Forked = Callable[..., Any]
Policy = Callable[..., str]
pytestmark = pytest.mark.vm_timeout(240)


@pytest.fixture
def userspace(policy: Policy) -> str:
    """3 VFs for user space."""
    return policy(FIRST, 3, deviceType="vfio-pci")


@pytest.fixture
def vf(virtfn: Virtfn, userspace: str) -> str:
    """The second of them."""
    assert virtfn("apply", userspace).code == 0
    return look(FIRST).vfs[1].address


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "journal").glob("*.json")}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("what", [Holding.DEVICE, Holding.DEVICE_ONLY])
def test_a_vf_that_is_held_open_is_not_taken_away(
    virtfn: Virtfn, policy: Policy, userspace: str, vf: str, tmp_path: Path, what: Holding
) -> None:
    before, known = look(FIRST), records(tmp_path)
    another_number = policy(FIRST, 4, deviceType="vfio-pci")
    another_driver = policy(FIRST, 3)
    with Holder(vf, what) as holder:
        for command, texts in (("reset", ()), ("apply", (another_number,))):
            refused = virtfn(command, *texts)
            assert refused.code == 4
            assert f"{FIRST}: " in refused.err
            assert f"VF {vf} is held open by " in refused.err
            assert f"(pid {holder.pid})" in refused.err
            assert "[DeviceBusy]" in refused.err
            assert (look(FIRST), records(tmp_path)) == (before, known)
        refused = virtfn("apply", another_driver)
        assert refused.code == 4
        assert f"VF {vf} is held open by " in refused.err
        assert [seen.driver for seen in look(FIRST).vfs] == ["igbvf", "vfio-pci", "vfio-pci"]

        # Another card is not concerned, and this one is left as it is when nothing of it changes.
        assert virtfn("apply", policy(SECOND, 2)).code == 0
        assert look(SECOND).num_vfs == 2
    assert virtfn("apply", another_driver).code == 0
    assert look(FIRST).drivers() == ["igbvf"] * 3
    assert virtfn("reset").code == 0
    assert (look(FIRST).vfs, look(SECOND).vfs) == ((), ())


def test_a_group_that_is_open_is_in_nobodys_way(virtfn: Virtfn, vf: str) -> None:
    with Holder(vf, Holding.GROUP):
        assert virtfn("reset").code == 0
        assert look(FIRST).vfs == ()


def test_a_vf_that_is_opened_too_late_to_be_seen(
    virtfn: Virtfn, forked: Forked, policy: Policy, userspace: str, vf: str
) -> None:
    """The write is given up on, the process ends, and what was asked happens when the VF is let go."""

    def prepare() -> None:
        import virtfn.cli.main
        from virtfn.host.linux import linux_kernel
        from virtfn.host.machine import Machine, Timeouts

        class LateMachine(Machine):
            def _refuse_if_in_use(self, *_: Any, **__: Any) -> None:
                """Nobody is there yet."""

        timeouts = Timeouts(set_num_vfs=GIVE_UP, driver=GIVE_UP)
        virtfn.cli.main.real_machine = lambda root: LateMachine(linux_kernel(root), timeouts=timeouts)

    with Holder(vf) as holder:
        given_up = forked("reset", prepare=prepare)
        assert given_up.status == 4, given_up.said
        assert f"{FIRST}: cannot set the number of VFs to 0" in given_up.said
        assert f"VF {vf} is held open by " in given_up.said
        assert f"(pid {holder.pid})" in given_up.said
        assert "[DeviceBusy]" in given_up.said
        # The kernel still holds its lock for all PCI devices: nothing that is only read may wait for it.
        assert virtfn("discover").code == 0
        blocked = forked("apply", policy(SECOND, 2), prepare=prepare)
        assert blocked.status == 4, blocked.said
        assert f"{SECOND}: " in blocked.said
        assert f"(pid {holder.pid})" in blocked.said
        assert "[DeviceBusy]" in blocked.said
    wait_until(lambda: not (PCI / FIRST / "virtfn0").exists() and (PCI / SECOND / "virtfn1").exists())
    wanted = userspace + policy(SECOND, 2)
    assert virtfn("apply", wanted).code == 0
    assert (look(FIRST).drivers(), look(SECOND).drivers()) == (["vfio-pci"] * 3, ["igbvf"] * 2)
    assert virtfn("plan --exit-code", wanted).code == 0
    assert virtfn("reset").code == 0
    assert (look(FIRST).vfs, look(SECOND).vfs) == ((), ())
