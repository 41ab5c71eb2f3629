"""Grounds start the same each time, and the kit says what it cannot read."""

from pathlib import Path

import pytest

from virtfn.errors import InvalidDocument
from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress
from virtfn.observing import read_inventory
from virtfn.testing import FakeHost, load_profile
from virtfn.testing.grounds import Ability, FakeGround, KernelGround, profile_of
from virtfn.testing.judging import view_of
from virtfn.testing.starting import PfStart, arrange

PF = PciAddress.parse("0000:3b:00.0")


def test_simulated_ground_begins_anew_with_a_neighbour() -> None:
    ground = FakeGround(load_profile("connectx-5"))
    first = view_of(read_inventory(Machine(ground.start())))
    assert [str(pf) for pf in ground.pfs] == ["0000:3b:00.0", "0000:3b:00.1"]
    assert list(first) == ["0000:3b:00.0", "0000:3b:00.1", "0000:5e:00.0"]
    arrange(Machine(ground.start()), (PfStart(PF, 2, mtu=9000),))
    assert view_of(read_inventory(Machine(ground.start()))) == first
    assert ground.state()
    ground.close()
    assert ground.state() == {}


def test_function_without_sriov_stands_for_a_vm() -> None:
    ground = FakeGround(load_profile("virtio"))
    assert Machine(ground.start()).platform().virtual
    ground.close()


@pytest.mark.parametrize(
    "left",
    [
        PfStart(PF, 3, mtu=9000, autoprobe=False, userspace=(0,), driverless=(1,)),
        PfStart(PF, 1, up=False, mode=EswitchMode.SWITCHDEV),
        PfStart(PF, 0, up=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("found", [PfStart(PF, 0, up=False), PfStart(PF, 2, mtu=4000, userspace=(1,))], ids=str)
def test_real_ground_is_put_back_as_it_was_found(host: FakeHost, found: PfStart, left: PfStart) -> None:
    host.add_card("connectx-5", address="0000:3b:00")
    machine = Machine(host.kernel)
    arrange(machine, (found,))
    before = view_of(read_inventory(machine))
    ground = KernelGround(lambda: host.kernel, pfs=(PF,), name="a machine")
    arrange(machine, (left,))
    assert view_of(read_inventory(machine)) != before
    ground.start()
    assert view_of(read_inventory(machine)) == before
    assert Ability.REBOOT not in ground.abilities
    with pytest.raises(NotImplementedError, match="a machine cannot be rebooted"):
        ground.reboot(power_cycle=False)
    ground.close()


def test_functions_that_make_no_vfs_are_put_back_too_and_untouched_ones_left_alone(host: FakeHost) -> None:
    host.add_card("connectx-5", address="0000:3b:00")
    virtio = PciAddress.parse("0000:00:04.0")
    host.add_card("virtio", address="0000:00:04")
    machine = Machine(host.kernel)
    before = view_of(read_inventory(machine))
    ground = KernelGround(lambda: host.kernel, pfs=(PF,), name="a machine")
    machine.set_link(virtio, up=not before[str(virtio)]["up"])
    earlier = len(host.writes)
    ground.start()
    assert view_of(read_inventory(machine)) == before
    assert [call.kind for call in host.writes[earlier:]] == ["set_link"]
    ground.start()
    assert len(host.writes) == earlier + 1


def test_profiles_by_name_by_file_and_as_they_are(tmp_path: Path) -> None:
    profile = load_profile("unlisted")
    assert profile_of("unlisted") == profile_of(profile) == profile
    own = tmp_path / "own.toml"
    own.write_text('product = "Own card"\n[pci]\nvendor = "fff2"\ndevice = "0001"\n[driver]\nname = "own"\n')
    assert profile_of(own).name == profile_of(str(own)).name == "own"
    with pytest.raises(InvalidDocument, match="cannot be read"):
        profile_of(tmp_path / "absent.toml")
    with pytest.raises(InvalidDocument, match="there is no device profile"):
        profile_of("absent")
