"""RDMA as files show it, its netlink against a kernel that answers as was seen, and the mode of a simulated node."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Any, Self

import pytest

from virtfn.errors import DeviceBusy, KernelRefused, NotEffective
from virtfn.host.machine import Machine
from virtfn.host.rdma_netlink import NetlinkRdma
from virtfn.model.guids import POOL_FILE
from virtfn.model.owned_files import FOREIGN, digest_of
from virtfn.model.rdma import OPTION_FILE, RdmaFacts, option_text
from virtfn.testing import FakeHost
from virtfn.testing.ground.tree import Tree


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        yield made


def tree(host: FakeHost) -> Tree:
    return host.model.tree


# --- what is there ----------------------------------------------------------------------------------------------------


def test_no_rdma_at_all_is_a_reading(host: FakeHost) -> None:
    host.add_card("82576")
    machine = Machine(host.kernel)
    assert machine.platform().rdma == RdmaFacts()
    assert machine.platform().rdma_mode is None
    assert [pf.rdma for pf in machine.network_functions()] == [None] * 2


def test_functions_have_the_device_below_them(host: FakeHost) -> None:
    card = host.add_card("connectx-6-ib", address="0000:3b:00")
    machine = Machine(host.kernel)
    machine.set_num_vfs(card.pf_address(), 1)
    pf = machine.pf(card.pf_address())
    assert pf.rdma is not None
    assert (pf.rdma.name, pf.rdma.node_guid, pf.rdma.link_layer) == ("mlx5_0", "0c42:a103:0000:3b00", "InfiniBand")
    vf = pf.vfs[0].rdma
    assert vf is not None
    assert (vf.name, vf.node_guid) == ("mlx5_1", "0000:0000:0000:0000")
    machine.unbind_driver(pf.vfs[0].address)
    assert machine.pf(card.pf_address()).vfs[0].rdma is None


@pytest.mark.parametrize("profile", ["connectx-6dx", "connectx-6-ib"])
def test_a_vf_learns_of_its_guid_when_its_driver_takes_it(host: FakeHost, profile: str) -> None:
    card = host.add_card(profile, address="0000:3b:00", up=True)
    pf, machine = card.pf_address(), Machine(host.kernel)
    guid = "02:11:22:ff:fe:33:44:55"
    new = {"mac": "02:11:22:33:44:55"} if profile == "connectx-6dx" else {"node_guid": guid, "port_guid": guid}

    def seen() -> str | None:
        device = machine.pf(pf).vfs[0].rdma
        return device.node_guid if device else None

    machine.set_num_vfs(pf, 1)
    machine.set_vf(pf, 0, new)
    assert seen() == "0000:0000:0000:0000"
    machine.unbind_driver(machine.vf_address(pf, 0))
    machine.bind_driver(machine.vf_address(pf, 0), None)
    assert seen() == "0211:22ff:fe33:4455"


def test_devices_are_there_while_their_module_is(host: FakeHost) -> None:
    with FakeHost(autoload=False) as quiet:
        card = quiet.add_card("connectx-5", ports=1)
        machine = Machine(quiet.kernel)
        assert machine.pf(card.pf_address()).rdma is None
        machine.load_module("mlx5_ib")
        assert machine.pf(card.pf_address()).rdma is not None
        assert machine.platform().rdma_mode == "shared"
        machine.run(["modprobe", "-r", "mlx5_ib"])
        assert machine.pf(card.pf_address()).rdma is None


def test_the_option_file_counts_at_the_next_boot(host: FakeHost) -> None:
    host.add_card("connectx-5")
    machine = Machine(host.kernel)
    tree(host).plain(OPTION_FILE.lstrip("/"), option_text("exclusive"))
    tree(host).plain("etc/modprobe.d/a.conf", "options ib_core netns_mode=1\n")
    seen = machine.platform()
    assert (seen.rdma_mode, seen.owned_files) == ("shared", {OPTION_FILE: digest_of(option_text("exclusive"))})
    host.reboot()
    assert machine.platform().rdma_mode == "exclusive"
    tree(host).plain(OPTION_FILE.lstrip("/"), "options ib_core something=else\n")
    assert machine.platform().owned_files == {OPTION_FILE: FOREIGN}


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("ro quiet", None),
        ("ro ib_core.netns_mode=0", "exclusive"),
        ("ib_core.netns_mode=0 ro ib-core.netns-mode=Y quiet", "shared"),
        ("ib_core.netns_mode=off", "exclusive"),
        ("ib_core.netns_mode=on", "shared"),
        ("ib_core.netns_mode", "shared"),
        ("ib_core.netns_mode= x", "shared"),
        ("ib_core.netns_mode=what", None),
        ("ib_core.netns_mode=o", None),
        ("xib_core.netns_mode=0 ib_core.netns_mode2=0", None),
    ],
)
def test_the_kernels_command_line_may_name_the_mode(host: FakeHost, line: str, mode: str | None) -> None:
    tree(host).file("proc/cmdline", f"{line}\n")
    assert Machine(host.kernel).platform().rdma.argument == mode


def test_a_host_that_takes_no_files_for_modprobe(host: FakeHost) -> None:
    machine = Machine(host.kernel)
    assert machine.platform().rdma.options, "a folder that is not there is made"
    tree(host).plain("etc/modprobe.d/a.conf", "")
    assert machine.platform().rdma.options
    host.fail("writable etc/modprobe.d", lie=True)
    assert not machine.platform().rdma.options


def test_a_file_of_guids_that_cannot_be_read_is_not_taken_for_none(host: FakeHost) -> None:
    assert Machine(host.kernel).platform().guid_pools is None
    host.fail(f"read {POOL_FILE.lstrip('/')}", error=errno.EIO)
    pools = Machine(host.kernel).platform().guid_pools
    assert pools is not None
    assert "cannot be read" in pools.fault


# --- who is in the way ------------------------------------------------------------------------------------------------


def test_other_namespaces_are_seen_by_their_processes_and_mounts(host: FakeHost) -> None:
    host.add_card("connectx-5")
    machine = Machine(host.kernel)
    assert machine.platform().rdma.namespaces is False
    host.add_namespace()
    assert machine.platform().rdma.namespaces is True
    host.remove_namespaces()
    mounts = (
        "21 1 0:20 / / rw shared:1 - ext4 /dev/vda rw\n60 21 0:4 net:[{}] /run/netns/x rw shared:3 - nsfs nsfs rw\n"
    )
    tree(host).plain("proc/1/mountinfo", mounts.format(4026531840))
    assert machine.platform().rdma.namespaces is False
    tree(host).plain("proc/1/mountinfo", mounts.format(4026532999))
    assert machine.platform().rdma.namespaces is True


def test_who_may_not_look_does_not_know(host: FakeHost) -> None:
    host.add_card("connectx-5")
    host.fail("readlink proc/1/ns/net", error=errno.EACCES)
    assert Machine(host.kernel).platform().rdma.namespaces is None


def test_a_subsystem_that_is_built_in(host: FakeHost) -> None:
    host.add_card("connectx-5")
    machine = Machine(host.kernel)
    assert machine.platform().rdma.built_in is False
    tree(host).remove("sys/module/ib_core/initstate")
    assert machine.platform().rdma.built_in is True


# --- the mode ---------------------------------------------------------------------------------------------------------


def test_the_mode_changes_while_nobody_has_a_namespace(host: FakeHost) -> None:
    host.add_card("connectx-5")
    machine = Machine(host.kernel)
    machine.set_rdma_mode("exclusive")
    assert machine.platform().rdma_mode == "exclusive"
    host.add_namespace()
    machine.set_rdma_mode("exclusive")
    with pytest.raises(DeviceBusy, match=r"RDMA: cannot set the mode to shared .* other network namespaces"):
        machine.set_rdma_mode("shared")
    assert machine.platform().rdma_mode == "exclusive"


def test_a_kernel_that_lies_or_has_none(host: FakeHost) -> None:
    machine = Machine(host.kernel)
    with pytest.raises(KernelRefused, match=r"RDMA: cannot set the mode to exclusive"):
        machine.set_rdma_mode("exclusive")
    host.add_card("connectx-5")
    host.fail("set_netns_mode *", lie=True)
    with pytest.raises(NotEffective, match="it reads shared afterwards"):
        machine.set_rdma_mode("exclusive")


def test_in_exclusive_mode_a_device_goes_with_its_pod(host: FakeHost) -> None:
    card = host.add_card("connectx-5", up=True)
    machine = Machine(host.kernel)
    machine.set_rdma_mode("exclusive")
    machine.set_num_vfs(card.pf_address(), 1)
    host.move_to_namespace(machine.vf_address(card.pf_address(), 0))
    vf = machine.pf(card.pf_address()).vfs[0]
    assert (vf.netdev, vf.rdma) == (None, None)


# --- netlink ----------------------------------------------------------------------------------------------------------


class Kernel:
    """A socket of NETLINK_RDMA with one answer."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.sent = b""

    def __call__(self, *_: Any) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def bind(self, address: tuple[int, int]) -> None:
        assert address == (0, 0)

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def send(self, data: bytes) -> None:
        self.sent = data

    def recv(self, _size: int) -> bytes:
        return self.answer


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def netlink(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> Kernel:
    kernel = Kernel(answer)
    monkeypatch.setattr(socket, "socket", kernel)
    return kernel


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        (b"\5\0\x42\0\1\0\0\0", "shared"),
        (b"\5\0\x01\0\7\0\0\0" + b"\5\0\x42\0\0\0\0\0", "exclusive"),
        (b"\5\0\x42\0\7\0\0\0", None),
        (b"\5\0\x01\0\1\0\0\0", None),
    ],
)
def test_the_mode_is_read(monkeypatch: pytest.MonkeyPatch, body: bytes, mode: str | None) -> None:
    kernel = netlink(monkeypatch, message(0x1406, body))
    assert NetlinkRdma().netns_mode() == mode
    assert kernel.sent == struct.pack("=IHHII", 16, 0x1406, 1, 1, 0)


def test_the_mode_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = netlink(monkeypatch, message(2, struct.pack("=i", 0) + bytes(16)))
    NetlinkRdma().set_netns_mode("exclusive")
    assert kernel.sent == struct.pack("=IHHII", 24, 0x1407, 5, 1, 0) + b"\5\0\x42\0\0\0\0\0"


@pytest.mark.parametrize("answer", [message(2, struct.pack("=i", -errno.EBUSY)), b"", b"\0" * 17])
def test_a_refusal_and_garbage(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    netlink(monkeypatch, answer)
    with pytest.raises(OSError, match=r"busy|shorter") as refused:
        NetlinkRdma().set_netns_mode("shared")
    assert refused.value.errno == (errno.EBUSY if len(answer) == 20 else errno.EBADMSG)
