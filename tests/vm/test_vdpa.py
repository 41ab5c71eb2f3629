"""vDPA devices by our netlink and sysfs code, on the kernel's own simulator of a device that makes them.

The simulator's management device is on no PCI bus, and igb makes none: the way from a VF to its vDPA device, and the
order of steps around it, are tried on the simulated kernel only.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtfn.errors import DeviceBusy, DeviceGone, KernelRefused
from virtfn.host.kernel import Kernel
from virtfn.host.linux import linux_kernel
from virtfn.host.machine import Machine, Timeouts
from virtfn.host.vdpa_devices import VdpaWriter

SIMULATOR = ("", "vdpasim_net")
NAME = "vdpa:0000:01:10.0"


@pytest.fixture
def kernel(modprobe: Callable[..., None]) -> Kernel:
    for module in ("vdpa_sim_net", "virtio_vdpa", "vhost_vdpa"):
        modprobe(module)
    return linux_kernel()


@pytest.fixture
def vdpa(kernel: Kernel) -> Iterator[VdpaWriter]:
    writer = Machine(kernel, timeouts=Timeouts(vdpa_appears=0.2)).vdpa
    yield writer
    writer.remove(NAME, about="the simulator")


def shown() -> dict[str, object]:
    """What iproute2's tool shows of the devices."""
    done = subprocess.run(["vdpa", "-j", "dev", "show"], capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)["dev"]
    assert isinstance(found, dict)
    return found


def test_made_bound_and_removed(kernel: Kernel, vdpa: VdpaWriter) -> None:
    assert SIMULATOR in kernel.vdpa.management()
    with pytest.raises(OSError, match=r"\S") as refused:  # why there is a second try without the number
        kernel.vdpa.add(SIMULATOR, NAME, max_vqp=32)
    assert refused.value.errno == errno.EOPNOTSUPP

    made = vdpa.add(SIMULATOR, NAME, about="the simulator")
    assert made.driver in ("virtio_vdpa", "vhost_vdpa")  # the kernel's choice
    assert vdpa.add(SIMULATOR, NAME, about="the simulator") == made
    assert list(shown()) == [NAME]
    assert NAME in vdpa.view().names

    vdpa.bind(NAME, "virtio_vdpa", about="the simulator")
    device = vdpa.device(NAME)
    assert device is not None
    assert (device.type, device.netdev is not None) == ("virtio", True)
    assert Path(f"/sys/class/net/{device.netdev}").exists()

    vdpa.bind(NAME, "vhost_vdpa", about="the simulator")
    device = vdpa.device(NAME)
    assert device is not None
    assert (device.type, device.netdev) == ("vhost", None)
    assert Path(f"/sys/bus/vdpa/devices/{NAME}/driver_override").read_text().strip() in ("", "(null)")

    vdpa.bind(NAME, None, about="the simulator")
    device = vdpa.device(NAME)
    assert device is not None
    assert device.driver is None

    vdpa.remove(NAME, about="the simulator")
    assert (vdpa.device(NAME), shown()) == (None, {})
    vdpa.remove(NAME, about="the simulator")
    with pytest.raises(OSError, match=r"\S") as gone:  # which is taken for done
        kernel.vdpa.remove(NAME)
    assert gone.value.errno in (errno.ENODEV, errno.ENOENT)


def test_a_device_that_is_held_open_is_not_pulled_away(vdpa: VdpaWriter) -> None:
    vdpa.add(SIMULATOR, NAME, about="the simulator")
    vdpa.bind(NAME, "vhost_vdpa", about="the simulator")
    (file,) = Path("/dev").glob("vhost-vdpa-*")
    assert vdpa.holders(NAME) == ()
    held = os.open(file, os.O_RDWR)
    try:
        assert [holder.endswith(f"(pid {os.getpid()})") for holder in vdpa.holders(NAME)] == [True]
        for change in (
            lambda: vdpa.remove(NAME, about="the simulator"),
            lambda: vdpa.bind(NAME, "virtio_vdpa", about="the simulator"),
        ):
            with pytest.raises(DeviceBusy, match=f"held open by .*pid {os.getpid()}"):
                change()
    finally:
        os.close(held)
    vdpa.bind(NAME, "virtio_vdpa", about="the simulator")
    assert not file.exists()


def test_what_is_not_there(vdpa: VdpaWriter) -> None:
    with pytest.raises(KernelRefused, match=r"0000:01:10\.0: cannot make .* offers no vDPA on it"):
        vdpa.add(("pci", "0000:01:10.0"), NAME, about="0000:01:10.0")
    with pytest.raises(DeviceGone, match="it is not there"):
        vdpa.bind(NAME, "vhost_vdpa", about="0000:01:10.0")
    vdpa.add(SIMULATOR, NAME, about="the simulator")
    with pytest.raises(KernelRefused, match="no such driver is registered"):
        vdpa.bind(NAME, "other_vdpa", about="the simulator")
