"""A process that holds a VF open stops the kernel: what hangs, what does not, and what happens when it lets go."""

from __future__ import annotations

import pytest

from virtfn.host.kernel import Process
from virtfn.testing import BlocksForever, FakeHost


@pytest.fixture
def held(host: FakeHost, plug):
    """Three VFs on vfio-pci; the second is held. A second card stands beside."""
    shell = plug("82576")
    other = plug("82599", address="0000:5e:00")
    shell.numvfs(3)
    for vf in shell.vfs():
        shell.to_vfio(vf)
    host.hold_vfio(shell.vf(1), pid=77, name="dpdk-testpmd")
    return shell, other


def test_who_holds_it(held) -> None:
    shell, _ = held
    users = shell.host.kernel.processes.vfio_users
    group = int(shell.host.kernel.files.readlink(shell.path("iommu_group", shell.vf(1))))
    assert users(shell.vf(1), group=group, devices=("vfio1",)) == (Process(77, "dpdk-testpmd"),)
    assert users(shell.vf(1), group=None, devices=("vfio1",)) == (Process(77, "dpdk-testpmd"),)
    assert users(shell.vf(0), group=group - 1, devices=("vfio0",)) == ()
    assert users("0000:ff:00.0", group=None, devices=()) == ()


def test_only_a_vfio_function_can_be_held(held) -> None:
    shell, _ = held
    with pytest.raises(ValueError, match="not bound to vfio-pci"):
        shell.host.hold_vfio(shell.pf)


def test_taking_the_vfs_away_hangs_half_way(held) -> None:
    shell, _ = held
    first, second, third = shell.vfs()
    before = shell.host.kernel.clock.monotonic()
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    assert shell.host.kernel.clock.monotonic() == before + shell.timeout
    assert [shell.exists("vendor", vf) for vf in (first, second, third)] == [False, True, True]
    assert [shell.exists(f"virtfn{index}") for index in range(3)] == [False, False, True]
    assert shell.driver(second) == "vfio-pci"
    shell.host.release_vfio(second)
    assert shell.read("sriov_numvfs") == "0"
    assert not any(shell.exists("vendor", vf) for vf in (second, third))


def test_what_a_hung_write_blocks(held) -> None:
    shell, other = held
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    with pytest.raises(BlocksForever, match="would block for ever"):
        shell.read("sriov_numvfs")
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    assert other.read("sriov_numvfs") == "0"
    with pytest.raises(TimeoutError):
        other.numvfs(2)
    with pytest.raises(BlocksForever):
        other.read("sriov_numvfs")
    assert other.read("sriov_totalvfs") == "63"
    assert shell.link().mtu == 1500
    shell.host.kernel.links.set_link(shell.link().ifindex, mtu=9000)


def test_numbers_that_are_refused_before_the_lock_do_not_hang(held, errno_of) -> None:
    shell, other = held
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    assert errno_of(other.numvfs, 64) == "ERANGE"
    assert errno_of(other.numvfs, "x") == "EINVAL"
    assert errno_of(other.numvfs, 0) is None


def test_all_that_hung_is_done_once_it_is_let_go(held) -> None:
    shell, other = held
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    with pytest.raises(TimeoutError):
        other.numvfs(2)
    shell.host.release_vfio("0000:3c:10.2")
    assert shell.read("sriov_numvfs") == "0"
    assert other.read("sriov_numvfs") == "2"
    assert len(other.vfs()) == 2
    shell.numvfs(1)
    assert len(shell.vfs()) == 1


def test_a_plain_write_that_would_block_is_a_fault_of_the_caller(held) -> None:
    shell, _ = held
    with pytest.raises(BlocksForever):
        shell.host.kernel.files.write(shell.path("sriov_numvfs"), "0")


def test_unbinding_hangs_and_is_done_later(held) -> None:
    shell, other = held
    vf = shell.vf(1)
    with pytest.raises(TimeoutError):
        shell.driver_file("vfio-pci", "unbind", vf)
    assert shell.driver(vf) == "vfio-pci"
    other.numvfs(1)  # no other PF waits for an unbind
    shell.host.release_vfio(vf)
    assert shell.driver(vf) is None


def test_unbinding_the_pf_hangs_too(held) -> None:
    shell, _ = held
    with pytest.raises(TimeoutError):
        shell.driver_file("igb", "unbind", shell.pf)
    shell.host.release_vfio("0000:3c:10.2")
    assert shell.driver() is None
    assert shell.vfs() == []


def test_pulling_the_card_out_wakes_what_hung(held) -> None:
    shell, other = held
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    shell.host.unplug("0000:3b:00")
    assert not shell.exists("vendor")
    other.numvfs(1)
    assert len(other.vfs()) == 1


def test_a_reboot_ends_everything(held) -> None:
    shell, other = held
    with pytest.raises(TimeoutError):
        shell.numvfs(0)
    shell.host.reboot()
    assert shell.read("sriov_numvfs") == "0"
    other.numvfs(1)
    assert shell.host.model.operations.asleep == 0


def test_vfs_used_by_the_kernel_do_not_stop_it(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    shell.host.kernel.links.set_link(shell.link(shell.vf(0)).ifindex, up=True)
    name = shell.link(shell.vf(1)).name
    shell.host.move_to_namespace(shell.vf(1))
    assert name not in shell.host.kernel.links.links()
    assert not shell.exists("net", shell.vf(1))
    assert shell.driver(shell.vf(1)) == "igbvf"
    shell.numvfs(0)
    assert shell.vfs() == []
