"""The watch on the seam: everything is seen, a handler decides, and a dead process reaches nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress
from virtfn.testing import FakeHost
from virtfn.testing.watch import Access, Killed, Watch

PF = PciAddress.parse("0000:3b:00.0")


@pytest.fixture
def watch(host: FakeHost) -> Watch:
    host.add_card("connectx-5", address="0000:3b:00", names=("ens1f0np0", "ens1f1np1"))
    return Watch(host.kernel)


def test_every_write_of_the_kernel_is_seen_by_the_watch(watch: Watch, host: FakeHost) -> None:
    machine = Machine(watch.kernel)
    machine.set_link(PF, mtu=9000, up=True)
    machine.set_num_vfs(PF, 2, probe=False)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    machine.load_module("vfio-pci")
    machine.set_vf(PF, 0, {"mac": "02:00:00:00:00:01"})
    machine.bind_driver(machine.vf_address(PF, 0), "vfio-pci")
    machine.devlink_info(PF)
    machine.driver_info("ens1f0np0")
    machine.vf_holders(machine.vf_address(PF, 0))
    kinds = [access.kind.removesuffix("_slow") for access in watch.effects]
    assert kinds == [call.kind for call in host.writes]
    assert [access.kind for access in watch.accesses if not access.effects] == [
        call.kind for call in host.calls if call not in host.writes
    ]
    watch.clear()
    assert (watch.accesses, watch.effects, watch.writes) == ([], [], [])


def test_handler_stands_before_what_has_an_effect_and_nothing_else(watch: Watch, host: FakeHost) -> None:
    met: list[Access] = []

    def refuse(access: Access, action: Callable[[], Any]) -> Any:
        met.append(access)
        raise OSError(5, "no")

    watch.handler = refuse
    machine = Machine(watch.kernel)
    assert machine.pf(PF).num_vfs == 0
    assert met == []
    with pytest.raises(OSError, match="no"):
        watch.kernel.links.set_link(machine.pf(PF).netdev.ifindex, up=True)  # type: ignore[union-attr]
    assert str(met[0]).startswith("set_link link ")
    assert host.writes == [], "what the handler stops does not reach the kernel"


def test_killed_process_cannot_even_tidy_up(watch: Watch, host: FakeHost) -> None:
    def before_the_number(access: Access, action: Callable[[], Any]) -> Any:
        if access.target.endswith("sriov_numvfs"):
            raise watch.kill()
        return action()

    watch.handler = before_the_number
    machine = Machine(watch.kernel)
    with pytest.raises(Killed):
        machine.set_num_vfs(PF, 2, probe=False)
    assert [call.value for call in host.writes] == ["0"], "autoprobe is left off: nothing put it back"
    with pytest.raises(Killed):
        machine.pf(PF)
    assert Machine(Watch(watch.ground).kernel).pf(PF).drivers_autoprobe is False
