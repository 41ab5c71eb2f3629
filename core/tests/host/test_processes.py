"""Holders of vfio devices, in a made-up /proc and in the real one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from virtfn.host.kernel import Process
from virtfn.host.processes import ProcProcesses

VF = "0000:01:10.0"
ANONYMOUS = "anon_inode:[vfio-device]"
SYSPATH = "vfio-device-syspath: /sys/devices/pci0000:00/0000:00:02.0/{}\n"


class Tree:
    """A /proc with processes and their open files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/sys").mkdir(parents=True)

    def process(self, pid: int, name: str, files: Mapping[int, str], *, info: Mapping[int, str] | None = None) -> None:
        folder = self.root / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "fdinfo").mkdir()
        (folder / "comm").write_text(f"{name}\n")
        for number, target in files.items():
            (folder / "fd" / str(number)).symlink_to(target)
            (folder / "fdinfo" / str(number)).write_text("pos:\t0\nflags:\t02\n" + (info or {}).get(number, ""))

    def users(self, address: str = VF, *, group: int | None = 45, devices: tuple[str, ...] = ("vfio0",)) -> list[str]:
        found = ProcProcesses(self.root).vfio_users(address, group=group, devices=devices)
        return [str(process) for process in found]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_group_and_anonymous_device(tree: Tree) -> None:
    tree.process(812, "qemu-system-x86", {0: "/dev/null", 20: "/dev/vfio/vfio", 21: "/dev/vfio/45", 22: ANONYMOUS})
    assert tree.users() == ["qemu-system-x86 (pid 812)"]
    assert tree.users(group=46) == []
    assert tree.users(group=None) == []


def test_the_group_alone_holds_nothing(tree: Tree) -> None:
    tree.process(812, "qemu", {20: "/dev/vfio/vfio", 21: "/dev/vfio/45"})
    assert tree.users() == []


def test_character_device(tree: Tree) -> None:
    tree.process(7, "dpdk", {3: "/dev/iommu", 4: "/dev/vfio/devices/vfio0"})
    tree.process(8, "other", {4: "/dev/vfio/devices/vfio01"})
    assert tree.users() == ["dpdk (pid 7)"]
    assert tree.users(devices=("vfio1",)) == []


def test_the_kernels_own_word_wins(tree: Tree) -> None:
    """Where fdinfo names the device, no guess by group is made, for this device or against it."""
    files = {3: "/dev/vfio/45", 4: ANONYMOUS}
    tree.process(10, "this", {4: ANONYMOUS}, info={4: SYSPATH.format(VF)})
    tree.process(11, "other", files, info={4: SYSPATH.format("0000:01:10.2")})
    tree.process(12, "chardev", {4: "/dev/vfio/devices/vfio7"}, info={4: SYSPATH.format(VF)})
    assert tree.users() == ["this (pid 10)", "chardev (pid 12)"]


@pytest.mark.parametrize(
    "path",
    ["/dev/vfio/noiommu-45", "/vfio/45", "/run/containers/7/dev/vfio/45", "/dev/vfio/45 (deleted)"],
)
def test_other_spellings_of_the_group(tree: Tree, path: str) -> None:
    tree.process(5, "testpmd", {3: path, 4: ANONYMOUS})
    assert tree.users() == ["testpmd (pid 5)"]


def test_a_device_handed_over_counts_only_while_its_group_is_in_use(tree: Tree) -> None:
    tree.process(30, "secondary", {4: ANONYMOUS})
    assert tree.users() == []
    tree.process(29, "primary", {3: "/dev/vfio/45"})
    assert tree.users() == ["secondary (pid 30)"]


def test_a_device_of_another_group_is_explained_by_that_group(tree: Tree) -> None:
    tree.process(30, "other", {3: "/dev/vfio/46", 4: ANONYMOUS})
    tree.process(29, "primary", {3: "/dev/vfio/45"})
    assert tree.users() == []
    assert tree.users(group=46) == ["other (pid 30)"]


def test_other_files_do_not_matter(tree: Tree) -> None:
    tree.process(1, "init", {0: "/dev/null", 1: "socket:[12]", 2: "anon_inode:[eventfd]", 3: "/srv/vfio/45/x"})
    assert tree.users() == []


def test_ordered_by_pid(tree: Tree) -> None:
    for pid in (100, 20, 3):
        tree.process(pid, "qemu", {3: "/dev/vfio/devices/vfio0"})
    assert tree.users() == ["qemu (pid 3)", "qemu (pid 20)", "qemu (pid 100)"]


def test_a_process_that_ends_meanwhile_is_left_out(tree: Tree) -> None:
    tree.process(4, "ended", {3: "/dev/vfio/devices/vfio0"})
    (tree.root / "proc/4/comm").unlink()
    (tree.root / "proc/5").mkdir()
    tree.process(6, "still-there", {3: "/dev/vfio/devices/vfio0"})
    assert tree.users() == ["still-there (pid 6)"]


def test_our_own_process_in_the_real_proc(tmp_path: Path) -> None:
    device = tmp_path / "vfio/devices/vfio4242"
    device.parent.mkdir(parents=True)
    device.touch()
    number = os.open(device, os.O_RDONLY)
    try:
        users = ProcProcesses().vfio_users(VF, group=None, devices=["vfio4242"])
    finally:
        os.close(number)
    name = Path("/proc/self/comm").read_text().strip()
    assert users == [Process(os.getpid(), name)]
    assert ProcProcesses().vfio_users(VF, group=None, devices=["vfio4242"]) == []


def asked(tree: Tree, answer: bool | None, *, group: int = 45) -> list[str]:
    """Users as found when the kernel says whether the group is open."""
    processes = ProcProcesses(tree.root, group_is_open=lambda path: answer if path.name == str(group) else None)
    return [str(process) for process in processes.vfio_users(VF, group=group, devices=("vfio0",))]


def test_group_that_nobody_has_open_needs_no_search(tree: Tree) -> None:
    tree.process(812, "qemu", {21: "/dev/vfio/45", 22: ANONYMOUS})  # ended a moment ago
    assert asked(tree, False) == []


def test_group_closed_while_the_device_is_open(tree: Tree) -> None:
    tree.process(812, "qemu", {22: ANONYMOUS})
    assert asked(tree, True) == ["qemu (pid 812)"]
    assert asked(tree, None) == [], "without the kernel's word it could be any VF of the machine"


def test_holder_outside_of_our_view(tree: Tree) -> None:
    assert asked(tree, True) == ["a process that cannot be seen from here"]


def test_open_group_of_a_process_without_the_device(tree: Tree) -> None:
    tree.process(812, "qemu", {21: "/dev/vfio/45"})
    assert asked(tree, True) == []


def test_character_device_is_searched_for_even_if_the_group_is_closed(tree: Tree) -> None:
    (tree.root / "dev/vfio/devices").mkdir(parents=True)
    (tree.root / "dev/vfio/devices/vfio0").touch()
    tree.process(7, "dpdk", {4: "/dev/vfio/devices/vfio0"})
    assert asked(tree, False) == ["dpdk (pid 7)"]


def vdpa_users(tree: Tree, device: str, *, busy: bool | None) -> list[str]:
    asked: list[Path] = []

    def is_open(path: Path) -> bool | None:
        asked.append(path)
        return busy

    found = ProcProcesses(tree.root, group_is_open=is_open).vdpa_users(device)
    assert asked == [tree.root / "dev" / device]
    return [str(process) for process in found]


@pytest.mark.parametrize("busy", [True, None])
def test_holders_of_a_vdpa_device(tree: Tree, busy: bool | None) -> None:
    tree.process(9, "qemu", {5: "/dev/vhost-vdpa-1", 6: "/dev/vhost-net"})
    tree.process(8, "dpdk", {5: "/dev/vhost-vdpa-10"})
    tree.process(7, "other", {5: "/run/dev/vhost-vdpa-1 (deleted)"})
    assert vdpa_users(tree, "vhost-vdpa-1", busy=busy) == ["other (pid 7)", "qemu (pid 9)"]


def test_vdpa_device_that_nobody_has_open_needs_no_search(tree: Tree) -> None:
    tree.process(9, "qemu", {5: "/dev/vhost-vdpa-1"})
    assert vdpa_users(tree, "vhost-vdpa-1", busy=False) == []


def test_vdpa_holder_outside_of_our_view(tree: Tree) -> None:
    assert vdpa_users(tree, "vhost-vdpa-1", busy=True) == ["a process that cannot be seen from here"]
    assert vdpa_users(tree, "vhost-vdpa-1", busy=None) == []
