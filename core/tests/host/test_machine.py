"""The rules above the seam, on the simulated ground."""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from virtfn.errors import (
    CommandFailed,
    DeviceBusy,
    DeviceGone,
    KernelRefused,
    NoMemory,
    NotEffective,
    TooManyVfs,
    UnsupportedSetting,
    VirtfnError,
    WaitTimeout,
)
from virtfn.host.features import Features
from virtfn.host.kernel import Process
from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress, Pf
from virtfn.testing import Call, FakeHost

IGB = PciAddress.parse("0000:01:00.0")
OTHER = PciAddress.parse("0000:21:00.0")
MLX = PciAddress.parse("0000:3b:00.0")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        host.add_card("82576", address="0000:21:00", names=("eth1",), ports=1)
        host.add_card("connectx-5", address="0000:3b:00", names=("ens1f0np0", "ens1f1np1"))
        yield host


@pytest.fixture
def machine(host: FakeHost) -> Machine:
    machine = Machine(host.kernel)
    for pf in (IGB, OTHER, MLX):
        machine.set_link(pf, up=True)
    machine.load_module("vfio-pci")
    return machine


def pf(machine: Machine, address: PciAddress = IGB) -> Pf:
    return next(pf for pf in machine.network_functions() if pf.address == address)


def drivers(machine: Machine, address: PciAddress = IGB) -> list[str | None]:
    return [vf.driver for vf in pf(machine, address).vfs]


def test_reader_of_a_machine_has_no_method_that_writes(machine: Machine) -> None:
    own = {name for kind in (Machine, Features) for name in vars(kind) if not name.startswith("_")}
    writes = own - {"vf_holders", "reader"}
    assert {"set_num_vfs", "bind_driver", "set_link", "set_vf", "set_eswitch_mode", "load_module"} <= writes
    assert [name for name in writes if hasattr(machine.reader, name)] == []
    assert machine.reader.pf(IGB) == pf(machine)


# --- number of VFs ----------------------------------------------------------------------------------------------------


def test_vfs_come_without_driver_and_autoprobe_is_as_before(machine: Machine) -> None:
    machine.set_num_vfs(IGB, 3, probe=False)
    assert drivers(machine) == [None] * 3
    assert pf(machine).drivers_autoprobe is True
    machine.set_num_vfs(IGB, 4, probe=True)
    assert drivers(machine) == ["igbvf"] * 4


def test_autoprobe_that_the_admin_switched_off_stays_off(machine: Machine) -> None:
    machine.set_drivers_autoprobe(IGB, False)
    machine.set_num_vfs(IGB, 2, probe=True)
    assert drivers(machine) == ["igbvf"] * 2
    assert pf(machine).drivers_autoprobe is False


def test_autoprobe_comes_back_when_the_write_fails(machine: Machine, host: FakeHost) -> None:
    host.fail("*/sriov_numvfs", error=errno.ENOMEM)
    with pytest.raises(NoMemory, match="pci=realloc"):
        machine.set_num_vfs(IGB, 3, probe=False)
    assert pf(machine).drivers_autoprobe is True


def test_same_number_is_no_write(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 3)
    before = len(host.writes)
    machine.set_num_vfs(IGB, 3)
    assert len(host.writes) == before


def test_more_than_the_device_can_is_refused_before_any_write(machine: Machine, host: FakeHost) -> None:
    before = len(host.writes)
    with pytest.raises(TooManyVfs, match=r"0000:01:00\.0: 8 VFs wanted, the device can make 7"):
        machine.set_num_vfs(IGB, 8)
    assert len(host.writes) == before


def test_without_sriov_files_there_is_nothing_to_write(machine: Machine, host: FakeHost) -> None:
    host.add_card("virtio", address="0000:05:00", names=("eth5",))
    with pytest.raises(UnsupportedSetting, match="no SR-IOV files"):
        machine.set_num_vfs(PciAddress.parse("0000:05:00.0"), 1)
    machine.set_num_vfs(PciAddress.parse("0000:05:00.0"), 0)  # it has none: nothing to do


def test_driver_that_takes_the_number_and_makes_none_is_found_out(host: FakeHost) -> None:
    host.add_card("bnxt", address="0000:41:00", names=("eno1np0", "eno2np1"))
    machine, bnxt = Machine(host.kernel), PciAddress.parse("0000:41:00.0")
    with pytest.raises(NotEffective, match="link up first"):
        machine.set_num_vfs(bnxt, 2)
    machine.set_link(bnxt, up=True)
    machine.set_num_vfs(bnxt, 2)
    assert pf(machine, bnxt).num_vfs == 2


def test_pf_without_driver_says_so(machine: Machine, host: FakeHost) -> None:
    host.kernel.files.write("sys/bus/pci/drivers/igb/unbind", str(IGB))
    with pytest.raises(KernelRefused, match="no driver is bound to the PF"):
        machine.set_num_vfs(IGB, 1)


def test_pf_that_is_gone(machine: Machine, host: FakeHost) -> None:
    host.unplug(IGB)
    for act in (
        lambda: machine.set_num_vfs(IGB, 1),
        lambda: machine.set_link(IGB, mtu=9000),
        lambda: machine.set_eswitch_mode(IGB, EswitchMode.SWITCHDEV),
        lambda: machine.bind_driver(IGB, None),
        lambda: machine.vf_address(IGB, 0),
    ):
        with pytest.raises(DeviceGone, match=r"0000:01:00\.0"):
            act()


# --- VFs in use -------------------------------------------------------------------------------------------------------


class Nobody:
    """Finds no process, as in a container that does not see the host's."""

    def vfio_users(self, address: str, *, group: int | None, devices: Sequence[str]) -> Sequence[Process]:
        return ()


@pytest.fixture
def held(machine: Machine, host: FakeHost) -> PciAddress:
    machine.set_num_vfs(IGB, 3, probe=False)
    address = machine.vf_address(IGB, 1)
    machine.bind_driver(address, "vfio-pci")
    host.hold_vfio(address, pid=99, name="qemu-kvm")
    return address


def test_vf_in_use_is_found_before_anything_is_written(machine: Machine, host: FakeHost, held: PciAddress) -> None:
    before = len(host.writes)
    for count in (0, 5):
        with pytest.raises(DeviceBusy) as caught:
            machine.set_num_vfs(IGB, count)
        assert caught.value.vfs == (str(held),)
        assert caught.value.holders == ("qemu-kvm (pid 99)",)
        assert str(IGB) in str(caught.value)
    with pytest.raises(DeviceBusy, match=r"qemu-kvm \(pid 99\)"):
        machine.bind_driver(held, None)
    assert len(host.writes) == before
    machine.set_num_vfs(OTHER, 2)
    host.release_vfio(held)
    machine.set_num_vfs(IGB, 0)
    assert drivers(machine) == []


def test_write_that_does_not_come_back_is_given_up_on(machine: Machine, host: FakeHost, held: PciAddress) -> None:
    blind = Machine(replace(host.kernel, processes=Nobody()))
    with pytest.raises(DeviceBusy, match="did not answer within 120 s"):
        blind.set_num_vfs(IGB, 0)
    with pytest.raises(DeviceBusy, match=rf"{held} is held open by qemu-kvm") as caught:
        machine.set_num_vfs(OTHER, 2)  # the kernel holds a lock that this PF needs too
    assert caught.value.device == str(OTHER)
    assert pf(machine).address == IGB, "reading goes on"
    host.release_vfio(held)
    machine.set_num_vfs(OTHER, 2)
    assert pf(machine, OTHER).num_vfs == 2


# --- drivers ----------------------------------------------------------------------------------------------------------


def test_driver_back_and_forth(machine: Machine) -> None:
    machine.set_num_vfs(IGB, 1)
    vf = machine.vf_address(IGB, 0)
    assert machine.bind_driver(vf, "vfio-pci") == "vfio-pci"
    assert pf(machine).vfs[0].driver_override is None, "nothing is left behind"
    assert machine.bind_driver(vf, None) == "igbvf"
    machine.unbind_driver(vf)
    machine.unbind_driver(vf)
    assert machine.driver(vf) is None


def test_binding_to_the_present_driver_is_no_write(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1)
    vf = machine.vf_address(IGB, 0)
    before = len(host.writes)
    assert machine.bind_driver(vf, None) == "igbvf"
    assert len(host.writes) == before


def test_default_driver_with_autoprobe_off(machine: Machine) -> None:
    machine.set_drivers_autoprobe(IGB, False)
    machine.set_num_vfs(IGB, 1, probe=False)
    assert machine.bind_driver(machine.vf_address(IGB, 0), None) == "igbvf"
    assert pf(machine).drivers_autoprobe is False


def test_override_left_by_somebody_is_cleared_for_the_default_driver(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1, probe=False)
    vf = machine.vf_address(IGB, 0)
    host.kernel.files.write(f"sys/bus/pci/devices/{vf}/driver_override", "vfio-pci")
    assert machine.bind_driver(vf, None) == "igbvf"


def test_override_left_beside_a_bound_driver_is_cleared(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1, probe=False)
    vf = machine.vf_address(IGB, 0)
    machine.bind_driver(vf, "vfio-pci")
    host.kernel.files.write(f"sys/bus/pci/devices/{vf}/driver_override", "vfio-pci")
    assert machine.bind_driver(vf, "vfio-pci") == "vfio-pci"
    assert pf(machine).vfs[0].driver_override is None


def test_writes_without_effect_are_found_out(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1, probe=False)
    vf = machine.vf_address(IGB, 0)

    def clearing(call: Call) -> bool:
        return call.target.endswith("driver_override") and call.value == "\n"

    host.fail(clearing, lie=True)
    with pytest.raises(NotEffective, match="cannot clear driver_override"):
        machine.bind_driver(vf, "vfio-pci")
    host.fail("write */sriov_drivers_autoprobe", lie=True)
    with pytest.raises(NotEffective, match="cannot set sriov_drivers_autoprobe to 0"):
        machine.set_drivers_autoprobe(IGB, False)
    host.fail("set_vf *", lie=True)
    with pytest.raises(NotEffective, match="mac reads 00:00:00:00:00:00"):
        machine.set_vf(IGB, 0, {"mac": "02:00:00:00:00:11"})


def test_driver_that_is_not_loaded(machine: Machine) -> None:
    machine.set_num_vfs(IGB, 1)
    with pytest.raises(KernelRefused, match="no such driver is registered"):
        machine.bind_driver(machine.vf_address(IGB, 0), "igb_uio")
    assert drivers(machine) == ["igbvf"], "the VF keeps the driver it has"


def test_failed_bind_leaves_no_override(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1, probe=False)
    vf = machine.vf_address(IGB, 0)
    host.fail("*/vfio-pci/bind", error=errno.EBUSY)
    with pytest.raises(DeviceBusy):
        machine.bind_driver(vf, "vfio-pci")
    assert pf(machine).vfs[0].driver_override is None


# --- links, VF settings, eswitch ------------------------------------------------------------------------------------


def test_mtu_outside_the_limits_names_them(machine: Machine) -> None:
    with pytest.raises(KernelRefused, match="68 to 9216"):
        machine.set_link(IGB, mtu=9217)
    machine.set_link(IGB, mtu=9216)
    netdev = pf(machine).netdev
    assert netdev is not None
    assert netdev.mtu == 9216


def test_netdev_that_comes_late_is_waited_for(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1, probe=False)
    vf = machine.vf_address(IGB, 0)
    host.after(3.0, lambda: host.kernel.files.write("sys/bus/pci/drivers_probe", str(vf)))
    machine.set_link(vf, mtu=1400)
    netdev = pf(machine).vfs[0].netdev
    assert netdev is not None
    assert netdev.mtu == 1400


def test_netdev_in_a_pod_is_not_waited_for_for_ever(machine: Machine, host: FakeHost) -> None:
    machine.set_num_vfs(IGB, 1)
    vf = machine.vf_address(IGB, 0)
    host.move_to_namespace(vf)
    with pytest.raises(WaitTimeout, match="another network namespace"):
        machine.set_link(vf, mtu=1400)


def test_vf_settings_are_written_and_read(machine: Machine) -> None:
    machine.set_num_vfs(IGB, 2)
    machine.set_vf(IGB, 1, {"mac": "02:00:00:00:00:11", "vlan": 100, "qos": 3, "trust": True, "spoof_check": False})
    settings = pf(machine).vfs[1].settings
    assert settings is not None
    assert (settings.mac, settings.vlan, settings.qos) == ("02:00:00:00:00:11", 100, 3)
    assert (settings.trust, settings.spoof_check) == (True, False)
    with pytest.raises(KernelRefused, match="link_state enable on VF 1"):
        machine.set_vf(IGB, 1, {"link_state": "enable"})


def test_uplink_is_told_from_representors(machine: Machine) -> None:
    machine.set_num_vfs(MLX, 2, probe=False)
    machine.set_eswitch_mode(MLX, EswitchMode.SWITCHDEV)
    now = pf(machine, MLX)
    assert now.eswitch_mode is EswitchMode.SWITCHDEV
    assert now.netdev is not None
    assert now.netdev.name == "ens1f0np0"
    assert len({vf.representor for vf in now.vfs} - {None, "ens1f0np0"}) == 2
    machine.set_link(MLX, mtu=9000)
    after = pf(machine, MLX).netdev
    assert after is not None
    assert after.mtu == 9000


def test_refused_eswitch_mode_has_the_drivers_words(machine: Machine) -> None:
    machine.set_num_vfs(MLX, 1, probe=True)
    with pytest.raises(KernelRefused, match="Failed setting eswitch to offloads"):
        machine.set_eswitch_mode(MLX, EswitchMode.SWITCHDEV)
    with pytest.raises(VirtfnError, match=r"0000:01:00\.0"):
        machine.set_eswitch_mode(IGB, EswitchMode.SWITCHDEV)


# --- modules and programs ---------------------------------------------------------------------------------------------


def test_module_that_does_not_load(machine: Machine, host: FakeHost) -> None:
    with pytest.raises(CommandFailed, match="no_such_module: modprobe failed"):
        machine.load_module("no_such_module")
    host.fail("run modprobe", lie=True)
    with pytest.raises(NotEffective, match="is not loaded"):
        machine.load_module("vhost_vdpa")


def test_program_that_hangs_or_is_missing(machine: Machine, host: FakeHost) -> None:
    with pytest.raises(CommandFailed, match="ethtool: not installed"):
        machine.run(("ethtool", "-i"), device="0000:3b:00.0")
    host.fail("run modprobe", hang=True)
    with pytest.raises(CommandFailed, match="did not end within"):
        machine.load_module("vhost_vdpa")


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("held")
def test_reading_never_reads_sriov_numvfs(machine: Machine, host: FakeHost) -> None:
    machine.network_functions()
    machine.platform()
    assert not [call for call in host.calls if call.target.endswith("sriov_numvfs") and call.kind == "read"]


def test_platform(machine: Machine) -> None:
    platform = machine.platform()
    assert platform.kernel
    assert platform.iommu is True
    assert "vfio_pci" in platform.modules


def test_function_that_vanishes_while_being_read_is_left_out(machine: Machine, host: FakeHost) -> None:
    host.unplug("0000:3b:00")
    assert {found.address for found in machine.network_functions()} == {IGB, OTHER}


def test_modules_that_this_kernel_does_not_have(machine: Machine, host: FakeHost) -> None:
    names = ("vfio_pci", "virtio_vdpa", "vhost_vdpa", "rdma_ucm", "dpa")
    assert machine.missing_modules(names) == frozenset(), "where there is no list, nobody knows"
    folder = f"lib/modules/{machine.read_text('proc/sys/kernel/osrelease')}"
    listed = "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/vfio.ko.xz\nkernel/drivers/vdpa/virtio-vdpa.ko:\n"
    host.model.tree.plain(f"{folder}/modules.dep", listed)
    host.model.tree.plain(f"{folder}/modules.builtin", "kernel/drivers/vhost/vhost_vdpa.ko\n")
    assert machine.missing_modules(names) == {"rdma_ucm", "dpa"}
    assert machine.module_loaded("vhost-vdpa")
