"""The `sriov_*` files: which are there, in which order a number is checked, where the VFs come to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtfn.testing import FakeHost, Quirks

FILES = (
    "sriov_totalvfs",
    "sriov_numvfs",
    "sriov_offset",
    "sriov_stride",
    "sriov_vf_device",
    "sriov_drivers_autoprobe",
    "sriov_vf_total_msix",
)


def test_files_of_a_pf(plug) -> None:
    shell = plug("82576")
    values = {name: shell.read(name) for name in FILES}
    assert values == {
        "sriov_totalvfs": "7",
        "sriov_numvfs": "0",
        "sriov_offset": "384",
        "sriov_stride": "2",
        "sriov_vf_device": "10ca",
        "sriov_drivers_autoprobe": "1",
        "sriov_vf_total_msix": "0",
    }


@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("82576", {"sriov": False}),
        ("connectx-5", {"firmware": {"SRIOV_EN": False}}),
        ("connectx-5", {"firmware": {"NUM_OF_VFS": 0}}),
        ("ena", {}),
        ("virtio", {}),
    ],
)
def test_without_sriov_the_files_are_absent(plug, profile: str, options: dict) -> None:
    shell = plug(profile, **options)
    assert not any(shell.exists(name) for name in FILES)


def test_a_vf_has_other_files_than_a_pf(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    vf = shell.vf(1)
    assert not any(shell.exists(name, vf) for name in FILES)
    assert shell.host.kernel.files.readlink(shell.path("physfn", vf)) == shell.pf
    with pytest.raises(PermissionError):
        shell.read("sriov_vf_msix_count", vf)


@pytest.mark.parametrize(
    ("before", "text", "bound", "result"),
    [
        (0, "abc", True, "EINVAL"),
        (0, "-1", True, "EINVAL"),
        (0, "70000", True, "EINVAL"),
        (0, "8", True, "ERANGE"),
        (4, "8", True, "ERANGE"),  # the range is looked at before EBUSY
        (4, "4", True, None),
        (4, "3", True, "EBUSY"),
        (4, "5", True, "EBUSY"),
        (4, "0", True, None),
        (0, "7", True, None),
        (0, "0x3", True, None),
        (0, "0", False, None),
        (0, "3", False, "ENOENT"),
        (0, "9", False, "ERANGE"),
    ],
)
def test_checks_of_a_number(plug, errno_of: Callable, before: int, text: str, bound: bool, result: str | None) -> None:
    shell = plug("82576")
    if before:
        shell.numvfs(before)
    if not bound:
        shell.driver_file("igb", "unbind", shell.pf)
    assert errno_of(shell.numvfs, text) == result
    expected = before if result else int(text, 0)
    assert shell.read("sriov_numvfs") == str(expected)
    assert len(shell.vfs()) == expected


def test_a_write_of_nothing_or_with_a_line_feed(plug) -> None:
    shell = plug("82576")
    shell.numvfs("")
    assert shell.read("sriov_numvfs") == "0"
    shell.numvfs("3\n")
    assert shell.read("sriov_numvfs") == "3"


def test_the_same_number_again_changes_nothing(plug) -> None:
    shell = plug("82576")
    shell.numvfs(3)
    macs = [shell.link(vf).mac for vf in shell.vfs()]
    shell.numvfs(3)
    assert [shell.link(vf).mac for vf in shell.vfs()] == macs


@pytest.mark.parametrize(
    ("profile", "options", "port", "count", "expected"),
    [
        ("82599", {"address": "0000:01:00"}, 0, 2, ["0000:01:10.0", "0000:01:10.2"]),
        ("82599", {"address": "0000:01:00"}, 1, 2, ["0000:01:10.1", "0000:01:10.3"]),
        ("82576", {"address": "0000:01:00"}, 0, 5, [f"0000:02:10.{f}" for f in (0, 2, 4, 6)] + ["0000:02:11.0"]),
        ("connectx-5", {"address": "0000:c1:00"}, 0, 2, ["0000:c1:00.2", "0000:c1:00.3"]),
        ("connectx-5", {"address": "0000:c1:00"}, 1, 2, ["0000:c1:01.2", "0000:c1:01.3"]),
        ("connectx-7", {"address": "0000:4b:00", "ports": 1}, 0, 2, ["0000:4b:00.1", "0000:4b:00.2"]),
        ("connectx-6-ib", {"address": "0000:4b:00"}, 0, 1, ["0000:4b:00.1"]),
        ("bluefield-2", {"address": "0000:01:00"}, 0, 1, ["0000:01:00.3"]),
        ("x710", {"address": "0000:01:00"}, 0, 1, ["0000:01:02.0"]),
        ("e810", {"address": "0000:18:00"}, 0, 1, ["0000:18:01.0"]),
        ("connectx-5", {"address": "f014:00:02", "ports": 1}, 0, 1, ["f014:00:02.1"]),
    ],
)
def test_addresses_of_vfs(plug, profile: str, options: dict, port: int, count: int, expected: list[str]) -> None:
    shell = plug(profile, **options)
    shell.port = port
    shell.numvfs(count)
    assert shell.vfs() == expected
    assert all(shell.read("device", vf) == f"0x{shell.read('sriov_vf_device')}" for vf in expected)


def test_second_port_of_mlx5_moves_with_the_firmwares_number(plug) -> None:
    shell = plug("connectx-5", firmware={"NUM_OF_VFS": 16})
    shell.port = 1
    assert (shell.read("sriov_totalvfs"), shell.read("sriov_offset")) == ("16", "17")


def test_two_full_ports_do_not_meet(plug) -> None:
    for number, profile in enumerate(("connectx-5", "x710", "82576", "e810")):
        shell = plug(profile, address=f"0000:{0x20 + 0x10 * number:02x}:00")
        found = set()
        for shell.port in (0, 1):
            shell.numvfs(shell.read("sriov_totalvfs"))
            found |= set(shell.vfs())
        assert len(found) == 2 * int(shell.read("sriov_totalvfs")), profile


def test_total_is_lowered_only_while_the_driver_is_bound(plug) -> None:
    shell = plug("82599")
    assert shell.read("sriov_totalvfs") == "63"
    shell.driver_file("ixgbe", "unbind", shell.pf)
    assert shell.read("sriov_totalvfs") == "64"
    shell.driver_file("ixgbe", "bind", shell.pf)
    assert shell.read("sriov_totalvfs") == "63"


def test_unbinding_the_pf_takes_its_vfs(plug) -> None:
    shell = plug("82576")
    shell.numvfs(3)
    vfs = shell.vfs()
    shell.driver_file("igb", "unbind", shell.pf)
    assert shell.read("sriov_numvfs") == "0"
    assert not any(shell.exists("vendor", vf) for vf in vfs)


def test_a_driver_without_the_callback(plug, errno_of: Callable) -> None:
    shell = plug("82576")
    shell.to_vfio(shell.pf)
    assert errno_of(shell.numvfs, 1) == "ENOENT"
    assert any("does not support SR-IOV configuration" in line for line in shell.host.dmesg)


@pytest.mark.parametrize(
    ("profile", "quirks", "count", "result", "made"),
    [
        ("connectx-5", Quirks(mmio_vfs=2), 4, "ENOMEM", 0),
        ("x710", Quirks(max_vfs=8), 9, "EPERM", 0),
        ("82599", Quirks(traffic_classes=4), 32, "EPERM", 0),
        ("82599", Quirks(traffic_classes=4), 31, None, 31),
        ("82599", Quirks(traffic_classes=8), 16, "EPERM", 0),
        ("82576", Quirks(max_vfs=5), 6, "EPERM", 0),
        ("e810", Quirks(safe_mode=True), 1, "EOPNOTSUPP", 0),
        ("e810", Quirks(max_vfs=64), 65, "EOPNOTSUPP", 0),
        ("e810", Quirks(msix_vfs=8), 9, "ENOSPC", 0),
        ("e810", Quirks(msix_vfs=8), 8, None, 8),
        ("bnxt", Quirks(max_vfs=3), 4, None, 3),
        ("bnxt", Quirks(max_vfs=0), 4, None, 0),
        ("bnxt", Quirks(mmio_vfs=2), 4, None, 0),
    ],
)
def test_limits_below_the_total(
    plug, errno_of: Callable, profile: str, quirks: Quirks, count: int, result: str | None, made: int
) -> None:
    shell = plug(profile, quirks=quirks, up=True)
    assert errno_of(shell.numvfs, count) == result
    assert shell.read("sriov_numvfs") == str(made)
    assert len(shell.vfs()) == made


def test_bnxt_with_the_interface_down_says_yes_and_does_nothing(plug) -> None:
    shell = plug("bnxt")
    shell.numvfs(4)
    assert shell.read("sriov_numvfs") == "0"
    assert shell.vfs() == []
    assert "4 VFs requested; only 0 enabled" in shell.host.dmesg[-1]
    shell.up()
    shell.numvfs(4)
    assert shell.read("sriov_numvfs") == "4"
    shell.up(False)
    shell.numvfs(0)  # taking them away it does not do either
    assert shell.read("sriov_numvfs") == "4"


def test_a_device_that_is_no_nic_makes_vfs_too(plug) -> None:
    shell = plug("nvme-sriov")
    shell.numvfs(4)
    assert shell.read("class") == "0x010802"
    assert [shell.driver(vf) for vf in shell.vfs()] == ["nvme"] * 4
    assert shell.host.kernel.links.links() == {}


def test_an_unbound_device_needs_its_driver_first(plug, errno_of: Callable) -> None:
    shell = plug("nvme-sriov", bound=False)
    assert errno_of(shell.numvfs, 1) == "ENOENT"
    assert shell.host.kernel.commands.run(["modprobe", "nvme"], timeout=1).code == 0
    shell.numvfs(1)
    assert shell.vfs() == ["0000:3b:00.1"]


def test_making_and_unmaking_take_time(host: FakeHost, plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    assert host.kernel.clock.monotonic() == pytest.approx(0.1)
    shell.numvfs(0)
    assert host.kernel.clock.monotonic() == pytest.approx(1.1)
