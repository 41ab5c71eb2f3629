"""The steps for vDPA as a shell script."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress, Pf, steps
from virtfn.testing import FakeHost

RunScript = Callable[..., list[str]]
PF = PciAddress.parse("0000:3b:00.0")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """Three VFs: with virtfn's device, with somebody else's, and without."""
    with FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", up=True)
        machine = Machine(host.kernel)
        machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
        machine.set_num_vfs(PF, 3)
        for module in ("mlx5_vdpa", "virtio_vdpa", "vhost_vdpa"):
            machine.load_module(module)
        machine.add_vdpa(machine.vf_address(PF, 0))
        machine.add_vdpa(machine.vf_address(PF, 1), name="theirs")
        yield host


@pytest.fixture
def pf(host: FakeHost) -> Pf:
    return Machine(host.kernel).pf(PF)


def written(host: FakeHost, path: str) -> str:
    return (host.root / "sys/bus/vdpa" / path).read_text()


def test_add(host: FakeHost, pf: Pf, run_script: RunScript) -> None:
    plain = "dev add name vdpa:0000:3b:00.4 mgmtdev pci/0000:3b:00.4"
    step = steps.add_vdpa(pf, 2, why="wanted")
    assert run_script(host, step, program="vdpa") == [f"{plain} max_vqp 32"]
    assert run_script(host, step, program="vdpa", refuses="max_vqp") == [f"{plain} max_vqp 32", plain]
    named = steps.add_vdpa(pf, 2, name="an odd 'name'", why="wanted")
    assert run_script(host, named, program="vdpa")[0].startswith("dev add name an odd 'name' mgmtdev")


@pytest.mark.parametrize(("index", "name"), [(0, "vdpa:0000:3b:00.2"), (1, "theirs")])
def test_bind(host: FakeHost, pf: Pf, run_script: RunScript, index: int, name: str) -> None:
    assert run_script(host, steps.bind_vdpa(pf, index, "vhost_vdpa", why="wanted"), program="vdpa") == []
    assert written(host, "drivers/virtio_vdpa/unbind").strip() == name
    assert written(host, "drivers/vhost_vdpa/bind").strip() == name
    assert written(host, f"devices/{name}/driver_override") == "\n"


def test_remove(host: FakeHost, pf: Pf, run_script: RunScript) -> None:
    assert run_script(host, steps.remove_vdpa(pf, pf.vfs[1], why="not wanted"), program="vdpa") == []
    assert run_script(host, steps.remove_vdpa(pf, pf.vfs[0], why="not wanted"), program="vdpa") == [
        "dev del vdpa:0000:3b:00.2"
    ]
