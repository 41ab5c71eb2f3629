"""The simulated bus `vdpa`: who can have a device, which driver gets it, and when it goes."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress
from virtfn.testing import FakeHost
from virtfn.testing.ground.calls import BlocksForever

PF = PciAddress.parse("0000:3b:00.0")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        yield host


@pytest.fixture
def ready(host: FakeHost) -> Callable[..., PciAddress]:
    """A card with two VFs in a mode and some modules loaded; the address of the first VF."""

    def make(*modules: str, profile: str = "connectx-6dx", mode: EswitchMode = EswitchMode.SWITCHDEV) -> PciAddress:
        host.add_card(profile, address="0000:3b:00", up=True)
        machine = Machine(host.kernel)
        machine.set_eswitch_mode(PF, mode)
        machine.set_num_vfs(PF, 2)
        for module in modules:
            machine.load_module(module)
        return machine.vf_address(PF, 0)

    return make


def add(host: FakeHost, vf: PciAddress, name: str = "v0") -> None:
    host.kernel.vdpa.add(("pci", str(vf)), name)


def bound(host: FakeHost, name: str = "v0") -> str | None:
    return host.kernel.files.readlink(f"sys/bus/vdpa/devices/{name}/driver")


@pytest.mark.parametrize(
    ("modules", "options", "able"),
    [
        (("mlx5_vdpa",), {}, 2),
        (("vdpa",), {}, 0),
        ((), {}, 0),
        (("mlx5_vdpa",), {"mode": EswitchMode.LEGACY}, 0),
        (("mlx5_vdpa",), {"profile": "connectx-5"}, 0),
    ],
)
def test_which_functions_can_have_one(
    host: FakeHost, ready: Callable[..., PciAddress], modules: tuple[str, ...], options: dict[str, object], able: int
) -> None:
    vf = ready(*modules, **options)
    assert len(host.kernel.vdpa.management()) == able
    if not able:
        with pytest.raises(OSError, match=r"management device|No such file") as refused:
            add(host, vf)
        assert refused.value.errno in (errno.ENODEV, errno.ENOENT)


@pytest.mark.parametrize("order", [("virtio_vdpa", "vhost_vdpa"), ("vhost_vdpa", "virtio_vdpa")])
def test_a_new_device_goes_to_the_driver_that_was_there_first(
    host: FakeHost, ready: Callable[..., PciAddress], order: tuple[str, str]
) -> None:
    vf = ready("mlx5_vdpa", *order)
    add(host, vf)
    assert bound(host) == order[0]


def test_a_driver_that_comes_later_takes_what_waits(host: FakeHost, ready: Callable[..., PciAddress]) -> None:
    vf = ready("mlx5_vdpa")
    add(host, vf)
    assert bound(host) is None
    Machine(host.kernel).load_module("vhost_vdpa")
    assert bound(host) == "vhost_vdpa"
    assert host.kernel.files.exists("dev/vhost-vdpa-0")


def test_refusals(host: FakeHost, ready: Callable[..., PciAddress]) -> None:
    vf = ready("mlx5_vdpa", "virtio_vdpa")
    add(host, vf)
    other = Machine(host.kernel).vf_address(PF, 1)
    files = host.kernel.files
    calls: list[tuple[int, Callable[[], object]]] = [
        (errno.EEXIST, lambda: add(host, other)),
        (errno.ENOSPC, lambda: add(host, vf, "second")),
        (errno.EINVAL, lambda: host.kernel.vdpa.add(("pci", str(other)), "none", max_vqp=0)),
        (errno.ENODEV, lambda: host.kernel.vdpa.remove("unknown")),
        (errno.EBUSY, lambda: files.write("sys/bus/vdpa/drivers/virtio_vdpa/bind", "v0")),
        (errno.ENODEV, lambda: files.write("sys/bus/vdpa/drivers/virtio_vdpa/bind", "unknown")),
    ]
    for code, call in calls:
        with pytest.raises(OSError, match=r"\S") as refused:
            call()
        assert refused.value.errno == code
    files.write("sys/bus/vdpa/devices/v0/driver_override", "vhost_vdpa")
    files.write("sys/bus/vdpa/drivers/virtio_vdpa/unbind", "v0")
    with pytest.raises(OSError, match=r"\S") as refused:
        files.write("sys/bus/vdpa/drivers/virtio_vdpa/bind", "v0")
    assert refused.value.errno == errno.ENODEV


def test_a_virtio_netdev_is_not_the_vfs_own(host: FakeHost, ready: Callable[..., PciAddress]) -> None:
    vf = ready("mlx5_vdpa", "virtio_vdpa")
    own = host.function(vf).netdev
    add(host, vf)
    (virtio,) = host.kernel.files.listdir("sys/bus/vdpa/devices/v0/virtio0/net")
    assert own is not None
    assert host.function(vf).netdev is own
    assert virtio in host.kernel.links.links()
    assert host.kernel.files.listdir(f"sys/bus/pci/devices/{vf}/net") == [own.name]
    host.kernel.vdpa.remove("v0")
    assert virtio not in host.kernel.links.links()


def test_it_goes_with_the_driver_of_its_function(host: FakeHost, ready: Callable[..., PciAddress]) -> None:
    vf = ready("mlx5_vdpa", "vhost_vdpa")
    add(host, vf)
    host.kernel.files.write("sys/bus/pci/drivers/mlx5_core/unbind", str(vf))
    assert host.kernel.files.listdir("sys/bus/vdpa/devices") == []
    assert not host.kernel.files.exists("dev/vhost-vdpa-0")


def test_one_that_is_held_open_stops_whoever_takes_it(host: FakeHost, ready: Callable[..., PciAddress]) -> None:
    vf = ready("mlx5_vdpa", "vhost_vdpa")
    with pytest.raises(ValueError, match="nobody can open it"):
        host.hold_vdpa(vf)
    add(host, vf)
    host.hold_vdpa(vf)
    with pytest.raises(BlocksForever):
        host.kernel.vdpa.remove("v0")
    with pytest.raises(TimeoutError):
        host.kernel.files.write_slow(f"sys/bus/pci/devices/{PF}/sriov_numvfs", "0", timeout=5)
    host.release_vdpa(vf)
    assert host.model.operations.asleep == 0
    assert host.model.vdpa.devices == {}


@pytest.mark.parametrize("end", ["reboot", "unplug"])
def test_nothing_is_left_of_it(host: FakeHost, ready: Callable[..., PciAddress], end: str) -> None:
    vf = ready("mlx5_vdpa", "vhost_vdpa")
    add(host, vf)
    host.hold_vdpa(vf)
    if end == "reboot":
        host.reboot()
        assert not host.kernel.files.exists("sys/bus/vdpa")
    else:
        host.unplug("0000:3b:00")
        assert host.kernel.files.listdir("sys/bus/vdpa/devices") == []
    assert host.model.vdpa.devices == {}
    assert not host.kernel.files.exists("dev/vhost-vdpa-0")
