"""Netdevs: names as systemd gives them, sysfs files with each driver's errno, MTU limits, netdevs that come late."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtfn.testing import FakeHost, Quirks


@pytest.mark.parametrize(
    ("profile", "options", "pf", "vf"),
    [
        ("82576", {}, "enp59s0f0", "enp59s0f0v0"),
        ("x710", {"address": "0000:41:00"}, "enp65s0f0", "enp65s0f0v0"),
        ("connectx-5", {"address": "0000:41:00"}, "enp65s0f0np0", "enp65s0f0np0v0"),
        ("connectx-5", {"address": "0001:01:00"}, "enP1p1s0f0np0", "enP1p1s0f0np0v0"),
        ("connectx-7", {"ports": 1}, "enp59s0np0", "enp59s0np0v0"),
        ("connectx-6-ib", {"address": "0000:4b:00"}, "ibp75s0", "ibp75s0v0"),
        ("e810", {"names": ("ens785f0np0",)}, "ens785f0np0", "ens785f0np0v0"),
        ("connectx-5", {"names": ("uplink-of-lab",)}, "uplink-of-lab", "uplink-of-labv0"),
        ("connectx-5", {"names": ("uplink-of-rack2",)}, "uplink-of-rack2", "eth0"),
    ],
)
def test_names(plug, profile: str, options: dict, pf: str, vf: str) -> None:
    shell = plug(profile, **options)
    shell.numvfs(1)
    assert (shell.link().name, shell.link(shell.vf(0)).name) == (pf, vf)


def test_a_given_name_leaves_the_other_as_alternative(plug) -> None:
    shell = plug("connectx-5", names=("ens1f0np0",))
    link = shell.link()
    assert (link.name, link.alt_names) == ("ens1f0np0", ("enp59s0f0np0",))
    assert shell.host.kernel.links.link("enp59s0f0np0") == link


@pytest.mark.parametrize(
    ("profile", "port", "switch"),
    [
        ("connectx-5", "p0", "003b000003a1420c"),
        ("e810", "p0", "b49691ffff003b00"),
        ("bnxt", "p0", "bc97e1ffff003b00"),
        ("x710", None, None),
        ("82599", None, None),
        ("82576", None, None),
        ("virtio", None, None),
        ("ena", None, None),
        ("connectx-6-ib", None, None),
    ],
)
def test_port_name_and_switch_id(plug, errno_of: Callable, profile: str, port: str | None, switch: str | None) -> None:
    shell = plug(profile)
    link = shell.link()
    assert (link.phys_port_name, link.phys_switch_id) == (port, switch)
    read = shell.host.kernel.files.read
    for name, value in (("phys_port_name", port), ("phys_switch_id", switch), ("phys_port_id", None)):
        path = f"sys/class/net/{link.name}/{name}"
        assert shell.host.kernel.files.exists(path)
        if value is None:
            assert errno_of(read, path) == "EOPNOTSUPP"
        else:
            assert read(path) == f"{value}\n"


def test_the_ports_of_a_card_share_the_switch(plug) -> None:
    shell = plug("connectx-5")
    links = shell.host.kernel.links.links()
    assert len(links) == 2
    assert len({link.phys_switch_id for link in links.values()}) == 1
    assert len({link.mac for link in links.values()}) == 2


def test_files_that_need_the_link_up(plug, errno_of: Callable) -> None:
    shell = plug("x710")
    here = f"sys/class/net/{shell.link().name}"
    read = shell.host.kernel.files.read
    for name in ("speed", "duplex", "carrier"):
        assert errno_of(read, f"{here}/{name}") == "EINVAL"
    assert (read(f"{here}/operstate"), read(f"{here}/flags")) == ("down\n", "0x1002\n")
    shell.up()
    assert [read(f"{here}/{name}") for name in ("speed", "duplex", "carrier")] == ["10000\n", "full\n", "1\n"]
    assert (read(f"{here}/operstate"), read(f"{here}/flags")) == ("up\n", "0x1003\n")


def test_up_without_a_partner(plug) -> None:
    shell = plug("x710", up=True, quirks=Quirks(link_partner=False))
    here = f"sys/class/net/{shell.link().name}"
    read = shell.host.kernel.files.read
    assert [read(f"{here}/{name}") for name in ("speed", "carrier", "operstate")] == ["-1\n", "0\n", "down\n"]


@pytest.mark.parametrize(
    ("profile", "lowest", "highest", "default"),
    [
        ("82576", 68, 9216, 1500),
        ("82599", 68, 9710, 1500),
        ("x710", 68, 9702, 1500),
        ("e810", 68, 9702, 1500),
        ("connectx-5", 68, 9978, 1500),
        ("bnxt", 68, 9500, 1500),
        ("connectx-6-ib", 68, 65520, 2044),
    ],
)
def test_mtu_limits(plug, errno_of: Callable, profile: str, lowest: int, highest: int, default: int) -> None:
    shell = plug(profile)
    link, links = shell.link(), shell.host.kernel.links
    assert (link.mtu, link.min_mtu, link.max_mtu) == (default, lowest, highest)
    assert errno_of(links.set_link, link.ifindex, mtu=highest + 1) == "EINVAL"
    assert errno_of(links.set_link, link.ifindex, mtu=lowest - 1) == "EINVAL"
    for mtu in (lowest, highest):
        links.set_link(link.ifindex, mtu=mtu)
        assert shell.link().mtu == mtu
        assert shell.host.kernel.files.read(f"sys/class/net/{link.name}/mtu") == f"{mtu}\n"


def test_mtu_by_sysfs(plug, errno_of: Callable) -> None:
    shell = plug("x710")
    path = f"sys/class/net/{shell.link().name}/mtu"
    shell.host.kernel.files.write(path, "9000")
    assert shell.link().mtu == 9000
    assert errno_of(shell.host.kernel.files.write, path, "huge") == "EINVAL"
    assert errno_of(shell.host.kernel.files.write, path, "99999") == "EINVAL"


def test_a_vf_may_have_a_larger_mtu_than_its_pf(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    vf = shell.link(shell.vf(0))
    shell.host.kernel.links.set_link(vf.ifindex, mtu=9000)
    assert (shell.link().mtu, shell.link(shell.vf(0)).mtu) == (1500, 9000)


def test_a_netdev_that_is_not_there(host: FakeHost, errno_of: Callable) -> None:
    links = host.kernel.links
    assert errno_of(links.link, "eth9") == "ENODEV"
    assert errno_of(links.set_link, 99, mtu=1500) == "ENODEV"
    assert errno_of(host.kernel.ethtool.driver_info, "eth9") == "ENODEV"


def test_netdevs_that_come_late(plug) -> None:
    shell = plug("x710", quirks=Quirks(netdev_delay=0.5))
    shell.numvfs(2)
    assert shell.driver(shell.vf(0)) == "iavf"
    assert not shell.exists("net", shell.vf(0))
    shell.host.kernel.clock.sleep(0.4)
    assert not shell.exists("net", shell.vf(1))
    shell.host.kernel.clock.sleep(0.1)
    assert shell.exists("net", shell.vf(0))
    assert shell.exists("net", shell.vf(1))


def test_a_late_netdev_of_a_vf_that_is_gone_never_comes(plug) -> None:
    shell = plug("x710", quirks=Quirks(netdev_delay=5))
    shell.numvfs(1)
    shell.numvfs(0)
    shell.host.kernel.clock.sleep(10)
    assert set(shell.host.kernel.links.links()) == {"enp59s0f0", "enp59s0f1"}


def test_a_netdev_comes_once_however_often_it_is_bound(plug) -> None:
    shell = plug("x710", quirks=Quirks(netdev_delay=5))
    shell.numvfs(1)
    shell.driver_file("iavf", "unbind", shell.vf(0))
    shell.driver_file("iavf", "bind", shell.vf(0))
    shell.host.kernel.clock.sleep(20)
    assert shell.host.kernel.files.listdir(shell.path("net", shell.vf(0))) == ["enp59s0f0v0"]


def test_links_of_the_tree(plug) -> None:
    shell = plug("x710")
    shell.numvfs(1)
    files = shell.host.kernel.files
    assert files.readlink("sys/class/net/enp59s0f0v0/device") == shell.vf(0)
    assert files.read("sys/class/net/enp59s0f0v0/device/physfn/vendor") == "0x8086\n"
    assert (shell.host.root / "sys/class/net/enp59s0f0/mtu").read_text() == "1500\n"
    assert (shell.host.root / shell.path("virtfn0/driver_override")).read_text() == "(null)\n"


def test_virtio_hangs_below_a_bus_of_its_own(plug) -> None:
    shell = plug("virtio", address="0000:00:03")
    files = shell.host.kernel.files
    assert not shell.exists("net")
    assert files.listdir(shell.path("virtio0/net")) == ["enp0s3"]
    assert files.readlink("sys/class/net/enp0s3/device") == "virtio0"
    assert files.readlink(shell.path("virtio0/driver")) == "virtio_net"
    assert shell.driver() == "virtio-pci"
    info = shell.host.kernel.ethtool.driver_info("enp0s3")
    assert (info["driver"], info["bus-info"]) == ("virtio_net", shell.pf)
    second = plug("virtio", address="0000:00:04")
    assert second.exists("virtio1/net/enp0s4")
    shell.driver_file("virtio-pci", "unbind", shell.pf)
    assert not shell.exists("virtio0")
    assert files.listdir("sys/bus/virtio/devices") == ["virtio1"]


def test_ethtool(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    ethtool = shell.host.kernel.ethtool
    assert ethtool.driver_info("enp59s0f0") == {
        "driver": "igb",
        "version": "6.12.95",
        "firmware-version": "2.1.0",
        "bus-info": shell.pf,
    }
    assert ethtool.driver_info("enp59s0f0v0")["driver"] == "igbvf"
