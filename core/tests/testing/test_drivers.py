"""bind, unbind, driver_override, drivers_probe, new_id, and modules coming and going."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtfn.testing import FakeHost


@pytest.mark.parametrize(
    ("profile", "pf_driver", "vf_driver"),
    [
        ("82576", "igb", "igbvf"),
        ("82599", "ixgbe", "ixgbevf"),
        ("x710", "i40e", "iavf"),
        ("e810", "ice", "iavf"),
        ("connectx-5", "mlx5_core", "mlx5_core"),
        ("bnxt", "bnxt_en", "bnxt_en"),
        ("unlisted", "unlisted", "unlisted"),
    ],
)
def test_new_vfs_get_their_driver(plug, profile: str, pf_driver: str, vf_driver: str) -> None:
    shell = plug(profile, up=True)
    shell.numvfs(2)
    assert shell.driver() == pf_driver
    assert [shell.driver(vf) for vf in shell.vfs()] == [vf_driver] * 2
    assert set(shell.vfs()) <= set(shell.host.kernel.files.listdir(f"sys/bus/pci/drivers/{vf_driver}"))
    assert shell.host.kernel.files.exists(f"sys/module/{vf_driver}")


def test_without_udev_nobody_loads_the_vfs_driver() -> None:
    with FakeHost(autoload=False) as host:
        card = host.add_card("82576")
        files = host.kernel.files
        files.write_slow(f"sys/bus/pci/devices/{card.pf()}/sriov_numvfs", "2", timeout=5)
        vf = files.readlink(f"sys/bus/pci/devices/{card.pf()}/virtfn0")
        assert files.readlink(f"sys/bus/pci/devices/{vf}/driver") is None
        files.write("sys/bus/pci/drivers_probe", str(vf))  # taken, and nothing comes of it
        assert files.readlink(f"sys/bus/pci/devices/{vf}/driver") is None
        assert not files.exists("sys/bus/pci/drivers/igbvf")
        host.kernel.commands.run(["modprobe", "igbvf"], timeout=5)
        assert files.readlink(f"sys/bus/pci/devices/{vf}/driver") == "igbvf"


@pytest.mark.parametrize(
    ("start", "override", "driver", "result"),
    [
        (None, None, "igbvf", None),
        (None, None, "vfio-pci", "ENODEV"),  # its ids are not vfio-pci's
        (None, "vfio-pci", "vfio-pci", None),
        (None, "vfio-pci", "igbvf", "ENODEV"),  # an override decides alone
        ("igbvf", None, "igbvf", "EBUSY"),
        ("igbvf", None, "vfio-pci", "ENODEV"),
        ("igbvf", "vfio-pci", "vfio-pci", "EBUSY"),
    ],
)
def test_bind(
    plug, errno_of: Callable, start: str | None, override: str | None, driver: str, result: str | None
) -> None:
    shell = plug("82576")
    shell.host.kernel.commands.run(["modprobe", "vfio-pci"], timeout=5)
    shell.numvfs(1)
    vf = shell.vf(0)
    if start is None:
        shell.driver_file("igbvf", "unbind", vf)
    if override is not None:
        shell.write("driver_override", override, vf)
    assert errno_of(shell.driver_file, driver, "bind", vf) == result
    assert shell.driver(vf) == (start if result else driver)


@pytest.mark.parametrize(
    ("action", "result"),
    [
        (lambda shell, vf: shell.driver_file("igb", "unbind", vf), "ENODEV"),  # another driver has it
        (lambda shell, _: shell.driver_file("igbvf", "unbind", "0000:ff:1f.7"), "ENODEV"),
        (lambda shell, _: shell.driver_file("igbvf", "bind", "0000:ff:1f.7"), "ENODEV"),
        (lambda shell, _: shell.probe("0000:ff:1f.7"), "ENODEV"),
        (lambda shell, vf: shell.driver_file("nobody", "bind", vf), "ENOENT"),
        (lambda shell, vf: shell.driver_file("igbvf", "unbind", vf), None),
        (lambda shell, vf: shell.driver_file("igbvf", "unbind", vf + "\n"), None),
        (lambda shell, vf: shell.probe(vf), None),  # it has a driver: nothing to do
        (lambda shell, vf: shell.write("vendor", "0x8086", vf), "EACCES"),
        (lambda shell, _: shell.write("sriov_drivers_autoprobe", "maybe"), "EINVAL"),
    ],
)
def test_refusals(plug, errno_of: Callable, action: Callable, result: str | None) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    assert errno_of(action, shell, shell.vf(0)) == result


def test_override_reads_null_and_is_cleared_by_a_line_feed(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    vf = shell.vf(0)
    assert shell.read("driver_override", vf) == "(null)"
    shell.write("driver_override", "vfio-pci", vf)
    shell.write("driver_override", "", vf)
    assert shell.read("driver_override", vf) == "vfio-pci"
    assert shell.driver(vf) == "igbvf"
    shell.write("driver_override", "\n", vf)
    assert shell.read("driver_override", vf) == "(null)"


def test_clearing_the_override_does_not_unbind(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    shell.to_vfio(shell.vf(0))
    shell.write("driver_override", "\n", shell.vf(0))
    assert shell.driver(shell.vf(0)) == "vfio-pci"


def test_the_autoprobe_trap(plug, errno_of: Callable) -> None:
    shell = plug("82576")
    shell.host.kernel.commands.run(["modprobe", "vfio-pci"], timeout=5)
    shell.write("sriov_drivers_autoprobe", "0")
    shell.numvfs(2)
    first, second = shell.vfs()
    shell.host.kernel.commands.run(["modprobe", "igbvf"], timeout=5)
    assert shell.driver(first) is None
    assert errno_of(shell.driver_file, "igbvf", "bind", first) == "ENODEV"
    shell.probe(first)
    assert shell.driver(first) is None
    shell.write("driver_override", "igbvf", first)
    shell.driver_file("igbvf", "bind", first)
    assert shell.driver(first) == "igbvf"
    shell.write("driver_override", "vfio-pci", second)
    shell.probe(second)
    assert shell.driver(second) == "vfio-pci"


def test_override_with_the_module_not_loaded(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    vf = shell.vf(0)
    shell.driver_file("igbvf", "unbind", vf)
    shell.write("driver_override", "vfio-pci", vf)
    shell.probe(vf)
    assert shell.driver(vf) is None


def test_new_id_takes_waiting_functions(plug, errno_of: Callable) -> None:
    shell = plug("82576")
    shell.host.kernel.commands.run(["modprobe", "vfio-pci"], timeout=5)
    shell.numvfs(1)
    vf = shell.vf(0)
    shell.driver_file("igbvf", "unbind", vf)
    assert errno_of(shell.driver_file, "vfio-pci", "new_id", "nonsense") == "EINVAL"
    shell.driver_file("vfio-pci", "new_id", "8086 10ca")
    assert shell.driver(vf) == "vfio-pci"
    assert errno_of(shell.driver_file, "vfio-pci", "new_id", "8086 10ca") == "EEXIST"
    shell.driver_file("vfio-pci", "remove_id", "8086 10ca")
    assert errno_of(shell.driver_file, "vfio-pci", "remove_id", "8086 10ca") == "ENODEV"


def test_vfio_makes_its_device_nodes(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    files = shell.host.kernel.files
    for index, vf in enumerate(shell.vfs()):
        shell.to_vfio(vf)
        group = files.readlink(shell.path("iommu_group", vf))
        assert files.exists(f"dev/vfio/{group}")
        assert files.listdir(shell.path("vfio-dev", vf)) == [f"vfio{index}"]
        assert files.exists(f"dev/vfio/devices/vfio{index}")
        assert files.listdir(f"sys/kernel/iommu_groups/{group}/devices") == [vf]
    assert files.listdir("dev/vfio/devices") == ["vfio0", "vfio1"]
    shell.driver_file("vfio-pci", "unbind", shell.vf(0))
    assert files.listdir("dev/vfio/devices") == ["vfio1"]
    assert not files.exists(shell.path("net", shell.vf(1)))


def test_vfio_without_iommu_is_refused(errno_of: Callable) -> None:
    with FakeHost(iommu=False, modules=("vfio-pci",)) as host:
        card = host.add_card("82576")
        here = f"sys/bus/pci/devices/{card.pf()}"
        host.kernel.files.write_slow(f"{here}/sriov_numvfs", "1", timeout=5)
        vf = host.kernel.files.readlink(f"{here}/virtfn0")
        assert not host.kernel.files.exists(f"sys/bus/pci/devices/{vf}/iommu_group")
        assert host.kernel.files.listdir("sys/kernel/iommu_groups") == []
        assert host.kernel.files.listdir("sys/class/iommu") == []
        host.kernel.files.write("sys/bus/pci/drivers/igbvf/unbind", str(vf))
        host.kernel.files.write(f"sys/bus/pci/devices/{vf}/driver_override", "vfio-pci")
        assert errno_of(host.kernel.files.write, "sys/bus/pci/drivers/vfio-pci/bind", str(vf)) == "EINVAL"
        host.kernel.files.write("sys/bus/pci/drivers_probe", str(vf))
        assert host.kernel.files.readlink(f"sys/bus/pci/devices/{vf}/driver") is None
        assert any("probe of" in line and "error -22" in line for line in host.dmesg)


def test_modprobe(plug) -> None:
    run = plug("82576").host.kernel.commands.run
    assert run(["/usr/sbin/modprobe", "-q", "vhost_net"], timeout=5).code == 0
    lost = run(["modprobe", "flux_capacitor"], timeout=5)
    assert (lost.code, "FATAL: Module flux_capacitor not found" in lost.stderr) == (1, True)
    with pytest.raises(FileNotFoundError):
        run(["mstconfig", "q"], timeout=5)


def test_taking_a_module_out(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    assert shell.host.kernel.commands.run(["modprobe", "-r", "igbvf"], timeout=5).code == 0
    assert shell.driver(shell.vf(0)) is None
    assert not shell.host.kernel.files.exists("sys/bus/pci/drivers/igbvf")
    shell.to_vfio(shell.vf(0))
    shell.host.hold_vfio(shell.vf(0))
    result = shell.host.kernel.commands.run(["modprobe", "-r", "vfio-pci"], timeout=5)
    assert (result.code, "is in use" in result.stderr) == (1, True)
