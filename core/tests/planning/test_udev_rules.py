"""What udev and systemd-networkd are told about a PF, and when the files are written and removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredPf, DesiredState, EswitchMode, PciAddress, Pf, Platform, VfGroup, VfRange
from virtfn.model.owned_files import network_path, rules_path
from virtfn.node import Node
from virtfn.planning.udev_rules import network_file, udev_rules
from virtfn.testing.fakehost import FakeHost

PF = PciAddress.parse("0000:3b:00.0")
KEPT = 'ENV{NM_UNMANAGED}="1", ENV{ID_NET_MANAGED_BY}="virtfn", ENV{VIRTFN_UNMANAGED}="1"'
GROUPS = (VfGroup(VfRange(0, 1), "cx", policy_name="seed"),)
SWITCHDEV = DesiredPf(PF, 2, eswitch_mode=EswitchMode.SWITCHDEV, groups=GROUPS)
NEW, OLD = Platform(kernel="6.12.95"), Platform(kernel="4.18.0-553.el8.x86_64")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(udev=True) as made:
        made.add_card("connectx-5", address="0000:3b:00", names=["ens41f0np0", "ens41f1np1"], up=True)
        yield made


@pytest.fixture
def pf(host: FakeHost) -> Pf:
    return Machine(host.kernel).pf(PF)


def test_a_pf_in_switchdev_mode(pf: Pf) -> None:
    lines = udev_rules(pf, SWITCHDEV, NEW).splitlines()
    assert lines[0].startswith("# Written by virtfn about 0000:3b:00.0 (ens41f0np0), for policy seed.")
    for line in (
        f'ATTRS{{physfn/uevent}}=="*PCI_SLOT_NAME=0000:3b:00.0*", {KEPT}, GOTO="virtfn_end"',
        'ACTION=="add", KERNELS=="0000:3b:00.0", ATTR{phys_port_name}=="p[0-9]*", NAME="ens41f0np0"',
        'KERNELS=="0000:3b:00.0", ATTR{phys_switch_id}=="?*", ATTR{phys_port_name}=="pf*vf*|c[0-9]*pf*vf*", '
        f"{KEPT}",
        'KERNELS=="0000:3b:00.0", ATTR{phys_switch_id}=="?*", ATTR{phys_port_name}=="pf*vf1", NAME="ens41f0np0_1"',
    ):
        assert line in lines
    first = next(number for number, line in enumerate(lines) if "_0" in line)
    for guard in ('ACTION!="add"', 'KERNEL=="*_h"', 'TEST=="master"'):
        assert lines.index(f'{guard}, GOTO="virtfn_end"') < first


def test_before_representors_had_parents_their_switch_tells(pf: Pf) -> None:
    assert pf.netdev is not None
    text = udev_rules(pf, SWITCHDEV, OLD)
    one = f'ATTR{{phys_switch_id}}=="{pf.netdev.phys_switch_id}", ATTR{{phys_port_name}}=="pf0vf0", NAME="ens41f0np0_0"'
    assert one in text.splitlines()


def test_the_same_text_in_both_modes(host: FakeHost, pf: Pf) -> None:
    machine = Machine(host.kernel)
    machine.set_num_vfs(PF, 2, probe=False)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    assert udev_rules(machine.pf(PF), SWITCHDEV, NEW) == udev_rules(pf, SWITCHDEV, NEW)


def test_a_pf_that_was_renamed_for_the_bridge_that_it_is_in_keeps_its_own_name(host: FakeHost, tmp_path: Path) -> None:
    """As kube-ovn does it, which looks for it under that name after a boot."""
    node, wanted = Node(Machine(host.kernel), journal=Journal(tmp_path), now=lambda: 0.0), DesiredState((SWITCHDEV,))
    seen = node.observe()
    assert node.perform(node.plan(seen, wanted), seen, wanted).failed is None
    netdev = host.function(PF).netdev
    assert netdev is not None
    host.model.net.rename(netdev, "br-underlay")
    assert [step.op for step in node.plan(node.observe(), wanted).steps], "somebody has named it anew"
    netdev.master = 99
    assert node.plan(node.observe(), wanted).steps == ()


def test_a_pf_in_legacy_mode_keeps_only_its_vfs_from_managers(pf: Pf) -> None:
    text = udev_rules(pf, replace(SWITCHDEV, eswitch_mode=None), NEW)
    assert "NAME=" not in text.replace("PCI_SLOT_NAME=", "")
    assert 'ENV{NM_UNMANAGED}="1"' in text


def test_a_name_that_leaves_no_room(pf: Pf) -> None:
    assert pf.netdev is not None
    long = replace(pf, netdev=replace(pf.netdev, name="enP2p101s0f0np"))
    text = udev_rules(long, SWITCHDEV, NEW)
    assert 'NAME="enP2p101s0f0np"' in text
    assert "_0" not in text


def test_what_is_written_by_others_begins_no_rule(pf: Pf) -> None:
    assert pf.netdev is not None
    groups = (VfGroup(VfRange(0, 1), "cx", policy_name='seed\nSUBSYSTEM=="net", RUN+="x"'),)
    odd = replace(pf, netdev=replace(pf.netdev, name='a",RUN+="x'))
    for text in (udev_rules(odd, replace(SWITCHDEV, groups=groups), NEW), network_file(odd, SWITCHDEV)):
        assert not [line for line in text.splitlines() if "RUN" in line and not line.startswith(("#", "Name=!"))]
    assert 'ENV{NM_UNMANAGED}="1"' in udev_rules(odd, SWITCHDEV, NEW)


def test_networkd_sees_no_pf_in_it(pf: Pf) -> None:
    assert network_file(pf, SWITCHDEV).splitlines()[2:] == [
        "[Match]",
        "Name=!ens41f0np0",
        "Property=VIRTFN_UNMANAGED=1",
        "",
        "[Link]",
        "Unmanaged=yes",
    ]


def test_files_come_first_and_go_with_the_pf(host: FakeHost, tmp_path: Path) -> None:
    node = Node(Machine(host.kernel), journal=Journal(tmp_path), now=lambda: 0.0)
    before = host.snapshot()
    rules, network = (host.root / path(PF).lstrip("/") for path in (rules_path, network_path))

    def apply(desired: DesiredState) -> list[str]:
        seen = node.observe()
        plan = node.plan(seen, desired)
        assert node.perform(plan, seen, desired).failed is None
        return [step.op for step in plan.steps]

    assert apply(DesiredState((SWITCHDEV,)))[:3] == ["host.write_file", "host.write_file", "udev.reload"]
    assert rules.exists()
    assert network.exists()
    assert apply(DesiredState((SWITCHDEV,))) == []
    rules.write_text("# Written by virtfn, and changed by somebody\n")
    assert apply(DesiredState((SWITCHDEV,))) == ["host.write_file", "udev.reload"]
    released = apply(node.release(node.observe(), [PF]))
    assert released[:3] == ["host.remove_file", "host.remove_file", "udev.reload"]
    assert not rules.exists()
    assert host.snapshot() == before


def test_vfs_and_representors_that_are_there_already_are_looked_at_again(host: FakeHost, tmp_path: Path) -> None:
    machine = Machine(host.kernel)
    machine.set_num_vfs(PF, 2, probe=False)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    vf = machine.vf_address(PF, 1)
    machine.bind_driver(vf, None)
    node = Node(machine, journal=Journal(tmp_path), now=lambda: 0.0)

    def looked_at(desired: DesiredState) -> set[str]:
        seen = node.observe()
        begun = len(host.writes)
        assert node.perform(node.plan(seen, desired), seen, desired).failed is None
        return {
            one.target.split("/")[-2] for one in host.writes[begun:] if (one.value, one.kind) == ("change", "write")
        }

    here = {*machine.netdev_names(vf), *(str(vf.representor) for vf in machine.pf(PF).vfs)}
    assert len(here) == 3
    assert looked_at(DesiredState((SWITCHDEV,))) == here
    named = {
        "ens41f0np0_0",
        "ens41f0np0_1",
        *(name for each in machine.pf(PF).vfs if (name := each.netdev and each.netdev.name)),
    }
    assert looked_at(node.release(node.observe(), [PF])) == named


def test_while_udev_takes_no_rules_its_files_stay(host: FakeHost, tmp_path: Path) -> None:
    node = Node(Machine(host.kernel), journal=Journal(tmp_path), now=lambda: 0.0)
    seen, desired = node.observe(), DesiredState((SWITCHDEV,))
    assert node.perform(node.plan(seen, desired), seen, desired).failed is None
    (host.root / "run/udev/control").unlink()
    assert node.plan(node.observe(), desired).steps == ()
    released = node.plan(node.observe(), node.release(node.observe(), [PF]))
    assert [step.op for step in released.steps][:2] == ["host.remove_file", "host.remove_file"]


def test_where_udev_takes_no_rules_there_are_none(tmp_path: Path) -> None:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", up=True)
        node = Node(Machine(host.kernel), journal=Journal(tmp_path), now=lambda: 0.0)
        steps = node.plan(node.observe(), DesiredState((SWITCHDEV,))).steps
        assert "eswitch.name_representors" in [step.op for step in steps]
        assert not [step.op for step in steps if step.op.startswith(("host.", "udev."))]


def test_somebody_elses_file_is_left_alone_and_told(host: FakeHost, tmp_path: Path) -> None:
    rules = host.root / rules_path(PF).lstrip("/")
    rules.write_text("# an administrator's\n")
    node = Node(Machine(host.kernel), journal=Journal(tmp_path), now=lambda: 0.0)
    seen = node.observe()
    plan = node.plan(seen, DesiredState((SWITCHDEV,)))
    assert node.perform(plan, seen, DesiredState((SWITCHDEV,))).failed is None
    after = node.plan(node.observe(), DesiredState((SWITCHDEV,)))
    assert after.steps == ()
    assert ["is somebody else's" in problem.message for problem in after.problems] == [True]
    assert rules.read_text() == "# an administrator's\n"
