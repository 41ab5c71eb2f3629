"""The bed itself: is the hardware there that the other tests in this directory rely on?"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PCI = Path("/sys/bus/pci/devices")
SINGLE_PORT = ("0000:01:00.0", "0000:02:00.0")
NVME = "0000:03:00.0"
DUAL_PORT = ("0000:04:00.0", "0000:04:00.1")
IGB = (*SINGLE_PORT, *DUAL_PORT)


def read(path: Path) -> str:
    return path.read_text().strip()


def devlink_json(*words: str) -> dict[str, object]:
    done = subprocess.run(["devlink", "-j", *words], capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("address", IGB)
def test_igb_physical_function(address: str) -> None:
    device = PCI / address
    assert (read(device / "vendor"), read(device / "device")) == ("0x8086", "0x10c9")
    assert read(device / "sriov_totalvfs") == "7"
    assert read(device / "sriov_numvfs") == "0"
    assert (device / "driver").resolve().name == "igb"
    assert len(list((device / "net").iterdir())) == 1


def test_dual_port_card_is_one_slot_with_two_functions() -> None:
    slot = DUAL_PORT[0].rpartition(".")[0]
    assert sorted(path.name for path in PCI.glob(f"{slot}.*")) == list(DUAL_PORT)


def test_virtual_functions_come_and_go() -> None:
    device = PCI / SINGLE_PORT[0]
    (device / "sriov_numvfs").write_text("2")
    try:
        assert sorted(path.resolve().name for path in device.glob("virtfn*")) == [
            "0000:01:10.0",
            "0000:01:10.2",
        ]
        assert (device / "virtfn0" / "driver").resolve().name == "igbvf"
        assert (device / "virtfn0" / "iommu_group").exists()
    finally:
        (device / "sriov_numvfs").write_text("0")
    assert not list(device.glob("virtfn*"))


def test_nvme_is_a_physical_function_that_is_no_network_card() -> None:
    device = PCI / NVME
    assert read(device / "class") == "0x010802"
    assert int(read(device / "sriov_totalvfs")) == 4
    assert not (device / "driver").exists()


def test_virtio_network_card_has_its_interface_one_level_down() -> None:
    found = [path for path in PCI.iterdir() if read(path / "vendor") == "0x1af4" and read(path / "class") == "0x020000"]
    assert len(found) == 1
    assert not (found[0] / "net").exists()
    assert len(list(found[0].glob("virtio*/net/*"))) == 1


def test_every_igb_function_has_a_devlink_eswitch() -> None:
    instances = devlink_json("dev", "show")["dev"]
    assert isinstance(instances, dict)
    assert {f"pci/{address}" for address in IGB} <= set(instances)
    shown = devlink_json("dev", "eswitch", "show", f"pci/{IGB[0]}")["dev"]
    assert isinstance(shown, dict)
    assert shown[f"pci/{IGB[0]}"]["mode"] == "legacy"


def test_netdevsim_makes_a_device(netdevsim: Callable[..., Path]) -> None:
    device = netdevsim(7, ports=2)
    assert len(list((device / "net").iterdir())) == 2
    assert (device / "sriov_numvfs").exists()


def test_simulated_vdpa_modules_load(modprobe: Callable[..., None]) -> None:
    modprobe("vdpa_sim_net")
    done = subprocess.run(["vdpa", "mgmtdev", "show"], capture_output=True, text=True, timeout=60, check=True)
    assert "vdpasim_net" in done.stdout


def test_iommu_and_vfio() -> None:
    assert list(Path("/sys/kernel/iommu_groups").iterdir())
    assert all((PCI / address / "iommu_group").exists() for address in IGB)
    assert Path("/sys/bus/pci/drivers/vfio-pci").is_dir()


def test_the_checkout_and_the_interpreter_are_the_hosts(tmp_path: Path) -> None:
    assert Path(__file__).is_file()
    assert os.geteuid() == 0
    (tmp_path / "file").write_text("written in the guest only")
