"""The machine as a whole: record, faults, reboot, unplugging, firmware, snapshots."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from virtfn.host.api import CommandResult
from virtfn.model import EswitchMode
from virtfn.testing import Call, FakeHost


def test_importing_it_needs_no_test_tools() -> None:
    code = "import sys, virtfn.testing; print([m for m in ('pytest', 'hypothesis', 'pyroute2') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_tree_is_removed_unless_it_was_given(tmp_path: Path) -> None:
    with FakeHost() as host:
        root = host.root
        assert (root / "sys/bus/pci/devices").is_dir()
    assert not root.exists()
    with FakeHost(tmp_path / "ground") as host:
        host.add_card("82576")
    assert (tmp_path / "ground/sys/class/net/enp59s0f0/address").read_text() == "00:1b:21:00:3b:00\n"


def test_facts_of_the_node() -> None:
    with FakeHost(virtual=True, lockdown="integrity", release="6.1.0", modules=("vhost-net",)) as host:
        read = host.kernel.files.read
        assert read("proc/sys/kernel/osrelease") == "6.1.0\n"
        assert "hypervisor" in read("proc/cpuinfo").split()
        assert read("sys/kernel/security/lockdown") == "none [integrity] confidentiality\n"
        assert host.kernel.files.listdir("sys/module") == ["tun", "vhost", "vhost_net"]
    with FakeHost(lockdown=None) as host:
        assert "hypervisor" not in host.kernel.files.read("proc/cpuinfo")
        assert not host.kernel.files.exists("sys/kernel/security/lockdown")


def test_two_cards_cannot_share_a_slot(host: FakeHost) -> None:
    host.add_card("82576")
    with pytest.raises(ValueError, match="there is a device at this address"):
        host.add_card("x710")


# --- record -----------------------------------------------------------------------------------------------------------


def test_every_write_is_recorded_and_no_read(plug) -> None:
    shell = plug("connectx-5", names=("ens1f0np0",))
    host = shell.host
    shell.read("vendor")
    host.kernel.links.links()
    host.kernel.devlink.handles()
    host.kernel.processes.vfio_users(shell.pf, group=1, devices=())
    assert host.writes == []
    assert host.calls[0] == Call("read", shell.path("vendor"))
    shell.numvfs(1)
    host.kernel.files.write("/" + shell.path("sriov_drivers_autoprobe"), "0")
    host.kernel.links.set_link(shell.link().ifindex, mtu=9000, up=True)
    shell.set_vf(0, trust=True)
    host.kernel.commands.run(["modprobe", "vfio-pci"], timeout=1)
    host.kernel.commands.run(["modprobe", "-n", "tun"], timeout=1)
    assert host.writes == [
        Call("write", shell.path("sriov_numvfs"), "1"),
        Call("write", shell.path("sriov_drivers_autoprobe"), "0"),
        Call("set_link", "ens1f0np0", {"mtu": 9000, "up": True}),
        Call("set_vf", "ens1f0np0", {"vf": 0, "trust": True}),
        Call("run", "modprobe", ("modprobe", "vfio-pci")),
    ]


def test_a_refused_write_is_recorded(plug, errno_of: Callable) -> None:
    shell = plug("82576")
    assert errno_of(shell.numvfs, 99) == "ERANGE"
    assert [call.value for call in shell.host.writes] == ["99"]


def test_installed_programs_say_whether_they_write(host: FakeHost) -> None:
    host.install(
        "fwtool",
        lambda argv: CommandResult(argv, 0, "done\n", ""),
        writes=lambda argv: "set" in argv,
    )
    run = host.kernel.commands.run
    assert run(["fwtool", "query"], timeout=1).stdout == "done\n"
    assert host.writes == []
    assert run(["/opt/bin/fwtool", "set"], timeout=1).argv == ("/opt/bin/fwtool", "set")
    assert [call.target for call in host.writes] == ["fwtool"]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "match", ["*/sriov_numvfs", "write */sriov_numvfs", lambda call: call.kind == "write" and call.value == "2"]
)
def test_a_call_can_fail_so_often(plug, errno_of: Callable, match) -> None:
    shell = plug("82576")
    fault = shell.host.fail(match, error=5, times=2)
    assert [errno_of(shell.numvfs, 2) for _ in range(3)] == ["EIO", "EIO", None]
    assert fault.hits == 2
    assert len(shell.vfs()) == 2


def test_a_fault_stays_until_it_is_cleared(plug, errno_of: Callable) -> None:
    shell = plug("82576")
    fault = shell.host.fail("set_link enp59s0f0", error=16, text="somebody is faster")
    with pytest.raises(OSError, match="somebody is faster"):
        shell.up()
    assert errno_of(shell.up) == "EBUSY"
    fault.clear()
    shell.up()
    assert shell.link().up


def test_a_call_can_hang(plug) -> None:
    shell = plug("82576")
    host = shell.host
    host.fail("write */sriov_numvfs", hang=True, times=1)
    with pytest.raises(TimeoutError):
        shell.numvfs(1)
    assert host.kernel.clock.monotonic() == shell.timeout
    assert shell.read("sriov_numvfs") == "0"
    host.fail("run modprobe", hang=True)
    with pytest.raises(TimeoutError):
        host.kernel.commands.run(["modprobe", "vfio-pci"], timeout=7)
    assert host.kernel.clock.monotonic() == shell.timeout + 7


def test_a_write_can_lie(plug) -> None:
    shell = plug("82576")
    shell.host.fail("write */sriov_numvfs", lie=True, times=1)
    shell.numvfs(3)
    assert shell.read("sriov_numvfs") == "0"
    shell.host.fail("set_vf *", lie=True)
    shell.numvfs(1)
    shell.set_vf(0, trust=True)
    assert shell.settings(0).trust is False


def test_a_read_can_lie(plug, errno_of: Callable) -> None:
    shell = plug("connectx-5")
    files, host = shell.host.kernel.files, shell.host
    host.fail("read */sriov_totalvfs", lie="many\n")
    assert shell.read("sriov_totalvfs") == "many"
    for match in ("read */vendor", "exists *", "listdir *", "readlink *", "links", "handles", "link *"):
        host.fail(match if " " in match else f"{match} ", lie=True)
    assert files.read(shell.path("vendor")) == ""
    assert not files.exists(shell.path("vendor"))
    assert files.listdir("sys") == []
    assert files.readlink(shell.path("driver")) is None
    assert host.kernel.links.links() == {}
    assert host.kernel.devlink.handles() == frozenset()
    assert errno_of(host.kernel.links.link, "enp59s0f0np0") == "ENODEV"


def test_a_program_can_print_garbage_fail_or_be_missing(host: FakeHost) -> None:
    run = host.kernel.commands.run
    host.fail("run modprobe", lie="%$!\n", times=1)
    assert run(["modprobe", "tun"], timeout=1) == CommandResult(("modprobe", "tun"), 0, "%$!\n", "")
    host.fail("run modprobe", lie=CommandResult((), 3, "", "broken"), times=1)
    assert run(["modprobe", "tun"], timeout=1).code == 3
    host.fail("run modprobe", error=FileNotFoundError(2, "No such file or directory"), times=1)
    with pytest.raises(FileNotFoundError):
        run(["modprobe", "tun"], timeout=1)
    assert run(["modprobe", "tun"], timeout=1).code == 0


@pytest.mark.parametrize("ways", [{}, {"error": 5, "hang": True}, {"hang": True, "lie": True}])
def test_a_fault_is_one_of_three(host: FakeHost, ways: dict) -> None:
    with pytest.raises(ValueError, match="say which"):
        host.fail("*", **ways)


# --- life -------------------------------------------------------------------------------------------------------------


def test_a_reboot_forgets(plug) -> None:
    shell = plug("connectx-5", up=False)
    host = shell.host
    before, boot = host.snapshot(), shell.link()
    host.kernel.links.set_link(shell.link().ifindex, mtu=9000, up=True)
    shell.write("sriov_drivers_autoprobe", "0")
    shell.write("driver_override", "vfio-pci")
    host.kernel.devlink.set_eswitch_mode(("pci", shell.pf), EswitchMode.SWITCHDEV)
    host.kernel.commands.run(["modprobe", "vfio-pci"], timeout=1)
    shell.numvfs(3)
    assert host.snapshot() != before
    host.reboot()
    assert host.snapshot() == before
    assert shell.link() == boot
    assert not host.kernel.files.exists("sys/bus/pci/drivers/vfio-pci")
    assert shell.vfs() == []
    shell.numvfs(2)
    assert len(shell.vfs()) == 2


def test_firmware_settings_wait_for_the_reboot(plug) -> None:
    shell = plug("connectx-5")
    shell.card.firmware.next["NUM_OF_VFS"] = 32
    assert shell.read("sriov_totalvfs") == "8"
    shell.host.reboot()
    assert shell.read("sriov_totalvfs") == "32"
    shell.card.firmware.next["SRIOV_EN"] = False
    assert shell.exists("sriov_totalvfs")
    shell.host.reboot()
    assert not shell.exists("sriov_totalvfs")
    assert not shell.exists("sriov_numvfs")


def test_bluefield_wants_the_power_off(plug) -> None:
    shell = plug("bluefield-2")
    shell.card.firmware.next["NUM_OF_VFS"] = 4
    shell.host.reboot()
    assert shell.read("sriov_totalvfs") == "16"
    shell.host.reboot(power_cycle=True)
    assert shell.read("sriov_totalvfs") == "4"


def test_the_link_type_is_firmwares(plug) -> None:
    shell = plug("connectx-6-ib")
    assert (shell.read("class"), shell.link().arp_type, len(shell.link().mac.split(":"))) == ("0x020700", 32, 20)
    shell.card.firmware.next["LINK_TYPE_P1"] = "ETH"
    shell.host.reboot()
    assert (shell.read("class"), shell.link().arp_type, len(shell.link().mac.split(":"))) == ("0x020000", 1, 6)
    assert shell.link().name == "enp59s0"


def test_unplugging_a_function_takes_its_vfs(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    vfs = shell.vfs()
    shell.to_vfio(vfs[0])
    shell.host.hold_vfio(vfs[0])
    shell.host.unplug(shell.pf)
    assert not shell.exists("vendor")
    assert not any(shell.exists("vendor", vf) for vf in vfs)
    assert set(shell.host.kernel.links.links()) == {"enp59s0f1"}
    with pytest.raises(FileNotFoundError):
        shell.numvfs(1)


def test_unplugging_a_card_a_vf_and_nothing(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    vfs = shell.vfs()
    shell.host.unplug(vfs[1])
    assert not shell.exists("virtfn1")
    assert shell.exists("virtfn0")
    shell.numvfs(0)
    shell.host.unplug("0000:3b:00")
    assert shell.host.kernel.files.listdir("sys/bus/pci/devices") == []
    assert shell.host.cards == []
    with pytest.raises(ValueError, match="no card"):
        shell.host.unplug("0000:3b:00")
    with pytest.raises(OSError, match="No such device"):
        shell.host.unplug("0000:3b:00.0")


def test_things_happen_while_one_waits(plug) -> None:
    shell = plug("82576")
    shell.host.after(3, lambda: shell.host.unplug(shell.pf))
    shell.host.kernel.clock.sleep(2.9)
    assert shell.exists("vendor")
    shell.host.kernel.clock.sleep(0.2)
    assert not shell.exists("vendor")


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_snapshot_shows_what_changed(plug) -> None:
    shell = plug("connectx-5")
    host = shell.host
    changes: list[Callable[[], object]] = [
        lambda: shell.up(),
        lambda: host.kernel.links.set_link(shell.link().ifindex, mtu=9000),
        lambda: shell.numvfs(2),
        lambda: shell.set_vf(1, mac="02:00:00:00:00:09"),
        lambda: host.kernel.links.set_link(shell.link(shell.vf(0)).ifindex, mtu=2000),
        lambda: shell.write("driver_override", "vfio-pci", shell.vf(0)),
        lambda: shell.driver_file("mlx5_core", "unbind", shell.vf(0)),
        lambda: shell.write("sriov_drivers_autoprobe", "0"),
        lambda: host.kernel.commands.run(["modprobe", "tun"], timeout=1),
        lambda: shell.card.firmware.next.update(NUM_OF_VFS=4),
        lambda: shell.numvfs(0),
        lambda: host.kernel.devlink.set_eswitch_mode(("pci", shell.pf), EswitchMode.SWITCHDEV),
    ]
    for number, change in enumerate(changes):
        before = host.snapshot()
        change()
        assert host.snapshot() != before, number


def test_a_snapshot_does_not_know_random_numbers(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    before = shell.host.snapshot()
    macs = [shell.link(vf).mac for vf in shell.vfs()]
    shell.numvfs(0)
    shell.numvfs(2)
    assert [shell.link(vf).mac for vf in shell.vfs()] != macs
    assert shell.host.snapshot() == before


def test_a_snapshot_can_leave_out_a_card_with_its_vfs(plug) -> None:
    shell = plug("82576")
    plug("x710", address="0000:5e:00")
    rest = shell.host.snapshot(leaving_out=["0000:3b:00"])
    shell.numvfs(3)  # their addresses are on another bus
    assert shell.host.snapshot(leaving_out=["0000:3b:00"]) == rest
    assert set(rest) == {"node", "0000:5e:00.0", "0000:5e:00.1"}
