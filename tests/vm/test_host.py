"""The real ground against a real kernel: VF settings on igb and netdevsim, devlink, vfio holders, writes that block."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtfn.host.kernel import Kernel, LinkInfo
from virtfn.host.linux import linux_kernel
from virtfn.model import EswitchMode, VfSettings

PF = "0000:01:00.0"
OTHER_PF = "0000:02:00.0"
VFS = ("0000:01:10.0", "0000:01:10.2")
HANDLE = ("pci", PF)
FAIL_MODE = Path("/sys/module/eswshim/parameters/fail_mode")
PATIENCE = 60.0

# Opens the vfio device of a function the old way (group, container, anonymous device file), says so, and holds it.
HOLDER = """
import fcntl, os, struct, sys
group_number, address, keep_group = sys.argv[1:]
container = os.open("/dev/vfio/vfio", os.O_RDWR)
group = os.open(f"/dev/vfio/{group_number}", os.O_RDWR)
fcntl.ioctl(group, 0x3B68, struct.pack("i", container))  # VFIO_GROUP_SET_CONTAINER
fcntl.ioctl(container, 0x3B66, 1)                         # VFIO_SET_IOMMU, type 1
if keep_group != "group-only":
    device = fcntl.ioctl(group, 0x3B6A, bytearray(address.encode() + b"\\0"))  # VFIO_GROUP_GET_DEVICE_FD
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = linux_kernel()
    yield made
    made.files.close()  # type: ignore[attr-defined]


def pci(name: str, address: str = PF) -> str:
    return f"sys/bus/pci/devices/{address}/{name}"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def uplink(kernel: Kernel) -> Iterator[LinkInfo]:
    """The PF's netdev, up, with two VFs."""
    (name,) = kernel.files.listdir(pci("net"))
    link = kernel.links.link(name)
    kernel.links.set_link(link.ifindex, up=True)
    kernel.files.write_slow(pci("sriov_numvfs"), "2", timeout=PATIENCE)
    yield kernel.links.link(name)
    kernel.files.write_slow(pci("sriov_numvfs"), "0", timeout=PATIENCE)
    kernel.links.set_link(link.ifindex, up=False)


def test_links(kernel: Kernel, uplink: LinkInfo) -> None:
    links = kernel.links.links()
    assert links[uplink.name] == uplink
    assert uplink.up
    assert (uplink.mtu, uplink.min_mtu, uplink.max_mtu) == (1500, 68, 9216)
    assert uplink.permanent_mac == uplink.mac
    assert (uplink.phys_port_name, uplink.phys_switch_id) == ("p0", None)


def test_set_link(kernel: Kernel, uplink: LinkInfo) -> None:
    kernel.links.set_link(uplink.ifindex, mtu=9000)
    assert kernel.links.link(uplink.name).mtu == 9000
    kernel.links.set_link(uplink.ifindex, mtu=1500, up=False)
    after = kernel.links.link(uplink.name)
    assert (after.mtu, after.up) == (1500, False)
    with pytest.raises(OSError, match="mtu greater than device maximum") as caught:
        kernel.links.set_link(uplink.ifindex, mtu=9217)
    assert caught.value.errno == errno.EINVAL


def test_vf_settings_on_igb(kernel: Kernel, uplink: LinkInfo) -> None:
    links, index = kernel.links, uplink.ifindex
    assert list(links.vf_settings(index)) == [0, 1]
    links.set_vf(index, 1, {"mac": "02:00:00:00:00:11", "vlan": 100, "qos": 3, "trust": True, "spoof_check": False})
    changed = links.vf_settings(index)[1]
    assert (changed.mac, changed.vlan, changed.qos, changed.vlan_proto) == ("02:00:00:00:00:11", 100, 3, "802.1q")
    assert (changed.trust, changed.spoof_check) == (True, False)
    links.set_vf(index, 1, {"qos": 5})
    links.set_vf(index, 1, {"vlan": 101})
    now = links.vf_settings(index)[1]
    assert (now.vlan, now.qos) == (101, 5)
    links.set_vf(index, 1, {"vlan": 0})
    cleared = links.vf_settings(index)[1]
    assert (cleared.vlan, cleared.qos) == (0, 0)


def test_what_igb_refuses(kernel: Kernel, uplink: LinkInfo) -> None:
    refused: list[tuple[dict[str, object], int]] = [
        ({"link_state": "enable"}, errno.EOPNOTSUPP),
        ({"node_guid": "00:11:22:33:44:55:66:77"}, errno.EOPNOTSUPP),
        ({"vlan": 100, "vlan_proto": "802.1ad"}, errno.EPROTONOSUPPORT),  # the driver's own no: the form is right
        ({"mac": "01:00:00:00:00:00"}, errno.EINVAL),
        ({"vlan": 4096}, errno.EINVAL),
    ]
    for settings, expected in refused:
        with pytest.raises(OSError, match=r".") as caught:
            kernel.links.set_vf(uplink.ifindex, 0, settings)
        assert (settings, caught.value.errno) == (settings, expected)


def test_vf_settings_on_netdevsim(kernel: Kernel, netdevsim: Callable[..., Path]) -> None:
    device = netdevsim(31)
    kernel.files.write(f"{device}/sriov_numvfs", "2")
    (name,) = kernel.files.listdir(f"{device}/net")
    index = kernel.links.link(name).ifindex
    wanted = {
        "mac": "02:00:00:00:00:22",
        "vlan": 7,
        "qos": 2,
        "vlan_proto": "802.1ad",
        "trust": True,
        "spoof_check": True,
        "link_state": "disable",
        "min_tx_rate": 10,
        "max_tx_rate": 200,
    }
    kernel.links.set_vf(index, 1, wanted)
    assert kernel.links.vf_settings(index)[1] == VfSettings(**wanted)  # type: ignore[arg-type]
    kernel.links.set_vf(index, 1, {"max_tx_rate": 300})
    kernel.links.set_vf(index, 1, {"vlan": 8})
    after = kernel.links.vf_settings(index)[1]
    assert (after.min_tx_rate, after.max_tx_rate) == (10, 300)
    assert (after.vlan, after.qos, after.vlan_proto) == (8, 2, "802.1ad")


def test_eswitch_mode(kernel: Kernel, uplink: LinkInfo) -> None:
    devlink = kernel.devlink
    assert HANDLE in devlink.handles()
    assert devlink.eswitch_mode(HANDLE) is EswitchMode.LEGACY
    devlink.set_eswitch_mode(HANDLE, EswitchMode.SWITCHDEV)
    try:
        assert devlink.eswitch_mode(HANDLE) is EswitchMode.SWITCHDEV
        switch = kernel.links.link(uplink.name).phys_switch_id
        assert switch
        ports = {link.phys_port_name for link in kernel.links.links().values() if link.phys_switch_id == switch}
        assert ports == {"p0", "pf0vf0", "pf0vf1"}
    finally:
        devlink.set_eswitch_mode(HANDLE, EswitchMode.LEGACY)
    assert devlink.eswitch_mode(HANDLE) is EswitchMode.LEGACY


def test_a_refused_eswitch_mode_has_the_drivers_words(kernel: Kernel) -> None:
    FAIL_MODE.write_text(str(errno.EBUSY))
    try:
        with pytest.raises(OSError, match="mode change failed by fail_mode") as caught:
            kernel.devlink.set_eswitch_mode(HANDLE, EswitchMode.SWITCHDEV)
    finally:
        FAIL_MODE.write_text("0")
    assert caught.value.errno == errno.EBUSY
    assert kernel.devlink.eswitch_mode(HANDLE) is EswitchMode.LEGACY


def test_devlink_info_and_ethtool(kernel: Kernel) -> None:
    info = kernel.devlink.info(HANDLE)
    assert info is not None
    assert {"fw.psid", "fw.version"} <= {**info.fixed, **info.running}.keys()
    (name,) = kernel.files.listdir(pci("net"))
    told = kernel.ethtool.driver_info(name)
    assert (told["driver"], told["bus-info"]) == ("igb", PF)
    assert kernel.devlink.eswitch_mode(("pci", "0000:03:00.0")) is None


@pytest.fixture
def vfio(kernel: Kernel, uplink: LinkInfo) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Binds VF 0 to vfio-pci; holds it open by a process of its own until that is ended."""
    _ = uplink
    if kernel.files.exists(pci("driver", VFS[0])):
        kernel.files.write_slow(pci("driver/unbind", VFS[0]), VFS[0], timeout=PATIENCE)
    kernel.files.write(pci("driver_override", VFS[0]), "vfio-pci")
    kernel.files.write_slow("sys/bus/pci/drivers_probe", VFS[0], timeout=PATIENCE)
    assert kernel.files.readlink(pci("driver", VFS[0])) == "vfio-pci"
    group = kernel.files.readlink(pci("iommu_group", VFS[0]))
    started: list[subprocess.Popen[str]] = []

    def hold(what: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(group), VFS[0], what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate(timeout=PATIENCE)


def users(kernel: Kernel) -> list[int]:
    group = kernel.files.readlink(pci("iommu_group", VFS[0]))
    assert group is not None
    devices = kernel.files.listdir(pci("vfio-dev", VFS[0]))
    return [user.pid for user in kernel.processes.vfio_users(VFS[0], group=int(group), devices=devices)]


def test_a_group_that_is_open_is_no_device_that_is_held(
    kernel: Kernel, vfio: Callable[[str], subprocess.Popen[str]]
) -> None:
    vfio("group-only")
    assert users(kernel) == []


def test_a_write_blocked_by_a_holder_is_given_up_on(
    kernel: Kernel, vfio: Callable[[str], subprocess.Popen[str]]
) -> None:
    holder = vfio("device")
    assert users(kernel) == [holder.pid]
    with pytest.raises(TimeoutError) as caught:
        kernel.files.write_slow(pci("sriov_numvfs"), "0", timeout=4.0)
    assert caught.value.errno is None
    # The stuck write cannot be killed, and yet another file is written, and a program run, while it is.
    kernel.files.write_slow(pci("sriov_drivers_autoprobe", OTHER_PF), "1", timeout=PATIENCE)
    assert kernel.commands.run(["true"], timeout=PATIENCE).code == 0
    os.kill(holder.pid, signal.SIGKILL)
    wait_until(lambda: not kernel.files.exists(pci("virtfn0")) and kernel.files.read(pci("sriov_numvfs")) == "0\n")
