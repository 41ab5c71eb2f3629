"""vDPA devices on VFs: what is read, the rules of writing, and what each refusal says."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from virtfn.daemon.usage import vfs_in_use
from virtfn.errors import DeviceBusy, DeviceFault, DeviceGone, KernelRefused, NotEffective, WaitTimeout
from virtfn.host.machine import Machine
from virtfn.model import Adapter, EswitchMode, Inventory, PciAddress, Vf
from virtfn.model.inventory import VdpaDevice, vdpa_name
from virtfn.testing import FakeHost

PF = PciAddress.parse("0000:3b:00.0")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", up=True)
        yield host


@pytest.fixture
def machine(host: FakeHost) -> Machine:
    """Two VFs in switchdev mode on their network driver, with all modules loaded."""
    machine = Machine(host.kernel)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    machine.set_num_vfs(PF, 2)
    for module in ("mlx5_vdpa", "virtio_vdpa", "vhost_vdpa"):
        machine.load_module(module)
    return machine


@pytest.fixture
def vf(machine: Machine) -> PciAddress:
    return machine.vf_address(PF, 0)


def look(machine: Machine) -> Vf:
    return machine.pf(PF).vfs[0]


def in_use(machine: Machine) -> frozenset[PciAddress]:
    return vfs_in_use(machine, Inventory((Adapter("0000:3b:00", machine.network_functions()),)))


def test_nothing_is_asked_while_vdpa_is_not_loaded(host: FakeHost) -> None:
    machine = Machine(host.kernel)
    machine.set_num_vfs(PF, 2)
    assert (look(machine).vdpa, look(machine).makes_vdpa) == (None, False)
    assert "vdpa_management" not in {call.kind for call in host.calls}


def test_made_bound_and_removed(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    assert (look(machine).vdpa, look(machine).makes_vdpa) == (None, True)
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "vhost_vdpa")
    seen = look(machine)
    assert seen.vdpa == VdpaDevice(vdpa_name(vf), "vhost_vdpa")
    assert (seen.vdpa.type, seen.driver, seen.netdev is not None) == ("vhost", "mlx5_core", True)
    machine.bind_vdpa(vf, "virtio_vdpa")
    seen = look(machine)
    assert seen.vdpa is not None
    assert (seen.vdpa.type, seen.vdpa.netdev) == ("virtio", seen.vdpa.netdev or "none")
    machine.bind_vdpa(vf, None)
    assert look(machine).vdpa == VdpaDevice(vdpa_name(vf))
    machine.remove_vdpa(vf)
    assert look(machine).vdpa is None
    before = len(host.writes)
    machine.remove_vdpa(vf)
    assert len(host.writes) == before


def test_a_second_time_nothing_is_written(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "vhost_vdpa")
    before = len(host.writes)
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "vhost_vdpa")
    assert len(host.writes) == before


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_driver_that_takes_no_such_number_of_queues(
    machine: Machine, host: FakeHost, vf: PciAddress, code: int
) -> None:
    host.fail("vdpa_add *", error=code, times=1)
    machine.add_vdpa(vf)
    assert look(machine).vdpa is not None
    asked = [call.value["max_vqp"] for call in host.calls if call.kind == "vdpa_add"]
    assert asked == [32, None]


def test_a_vf_that_cannot_have_one(machine: Machine, vf: PciAddress) -> None:
    machine.unbind_driver(vf)
    with pytest.raises(KernelRefused, match=rf"{vf}: cannot make .* offers no vDPA on it"):
        machine.add_vdpa(vf)
    with pytest.raises(DeviceGone, match=rf"{vf}: cannot bind .*it is not there"):
        machine.bind_vdpa(vf, "vhost_vdpa")


def test_a_driver_that_is_not_loaded(machine: Machine, vf: PciAddress) -> None:
    machine.add_vdpa(vf)
    with pytest.raises(KernelRefused, match="no such driver is registered"):
        machine.bind_vdpa(vf, "other_vdpa")
    assert look(machine).vdpa is not None


def test_refusals_and_lies(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    for error, kind in ((errno.EIO, DeviceFault), (errno.ENOSPC, KernelRefused)):
        with pytest.raises(kind, match=f"{vf}: cannot make vDPA device"):
            fail_once(host, "vdpa_add *", error=error, then=lambda: machine.add_vdpa(vf))
    with pytest.raises(NotEffective, match="there is no such device"):
        fail_once(host, "vdpa_add *", then=lambda: machine.add_vdpa(vf))
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "vhost_vdpa")
    with pytest.raises(NotEffective, match="still bound to vhost_vdpa"):
        fail_once(host, "write */unbind", then=lambda: machine.bind_vdpa(vf, "virtio_vdpa"))
    with pytest.raises(WaitTimeout, match=f"{vf}: cannot remove"):
        fail_once(host, "write */unbind", hang=True, then=lambda: machine.remove_vdpa(vf))
    with pytest.raises(NotEffective, match="still there"):
        fail_once(host, "vdpa_remove *", then=lambda: machine.remove_vdpa(vf))
    host.fail("vdpa_remove *", error=errno.ENODEV, times=1)
    with pytest.raises(NotEffective, match="still there"):  # ENODEV is "done" only if it is
        machine.remove_vdpa(vf)
    machine.remove_vdpa(vf)
    assert look(machine).vdpa is None


def fail_once(host: FakeHost, match: str, *, then: object, error: int | None = None, hang: bool = False) -> None:
    fault = host.fail(match, error=error, hang=hang, lie=error is None and not hang)
    try:
        assert callable(then)
        then()
    finally:
        fault.clear()


def test_a_bind_that_fails_leaves_no_override_behind(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "virtio_vdpa")
    with pytest.raises(DeviceBusy):
        fail_once(host, "*vhost_vdpa/bind", error=errno.EBUSY, then=lambda: machine.bind_vdpa(vf, "vhost_vdpa"))
    assert host.model.vdpa.devices[vdpa_name(vf)].override is None
    machine.bind_vdpa(vf, "vhost_vdpa")


def test_what_is_held_open_is_never_pulled_away(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "vhost_vdpa")
    assert (machine.vf_holders(vf), in_use(machine)) == ((), frozenset())
    host.hold_vdpa(vf, name="qemu-kvm", pid=77)
    assert machine.vf_holders(vf) == ("qemu-kvm (pid 77)",)
    assert in_use(machine) == {vf}
    before = len(host.writes)
    for change in (
        lambda: machine.bind_vdpa(vf, "virtio_vdpa"),
        lambda: machine.remove_vdpa(vf),
        lambda: machine.unbind_driver(vf),
        lambda: machine.bind_driver(vf, "vfio-pci"),
        lambda: machine.set_num_vfs(PF, 0),
    ):
        machine.load_module("vfio-pci")
        with pytest.raises(DeviceBusy, match=r"qemu-kvm \(pid 77\)"):
            change()
    assert [call for call in host.writes[before:] if call.kind != "run"] == []
    host.release_vdpa(vf)
    machine.set_num_vfs(PF, 0)
    assert not host.model.vdpa.devices


def test_a_virtio_netdev_that_a_container_has(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    machine.add_vdpa(vf)
    machine.bind_vdpa(vf, "virtio_vdpa")
    assert in_use(machine) == frozenset()
    netdev = host.model.vdpa.devices[vdpa_name(vf)].netdev
    assert netdev is not None
    host.model.net.hide(netdev)
    assert in_use(machine) == {vf}


@pytest.mark.parametrize("name", ["theirs", "vdpa:theirs"])
def test_a_device_of_another_name_is_seen_and_bound(machine: Machine, vf: PciAddress, name: str) -> None:
    machine.add_vdpa(vf, name=name)
    seen = look(machine).vdpa
    assert seen is not None
    assert seen.name == name
    machine.bind_vdpa(vf, "vhost_vdpa")
    assert look(machine).vdpa == VdpaDevice(name, "vhost_vdpa")
    assert machine.pf(PF).vfs[1].vdpa is None
    with pytest.raises(KernelRefused, match="of another name already"):
        machine.add_vdpa(vf)
    machine.remove_vdpa(vf)
    assert look(machine).vdpa == VdpaDevice(name, "vhost_vdpa")


def test_management_devices_that_cannot_be_listed(machine: Machine, host: FakeHost, vf: PciAddress) -> None:
    host.fail("vdpa_management *", error=errno.EPERM)
    assert look(machine).makes_vdpa is False
