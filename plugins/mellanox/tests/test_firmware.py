"""From what is wanted to what the firmware has, on simulated cards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.host.api import ParamMode
from virtfn.model import (
    IN_FIRMWARE,
    DesiredPf,
    Disruption,
    EswitchMode,
    LinkType,
    OutcomeStatus,
    PciAddress,
    Plan,
    Step,
    VfGroup,
    VfRange,
)
from virtfn.testing.ground.card import PortVfs
from virtfn.testing.profiles import ParamFacts, load_profile

FIRST = PciAddress.parse("0000:3b:00.0")
SECOND = PciAddress.parse("0000:3b:00.1")
OTHER = PciAddress.parse("0000:5e:00.0")
ON_16 = {"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 16}}


def firmware(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.op.startswith("mellanox.")]


def told(plan: Plan) -> list[tuple[str, str]]:
    return [(problem.field, problem.reason) for problem in plan.problems]


def one_error(plan: Plan) -> str:
    (error,) = plan.errors
    assert not plan.steps
    return str(error)


# --- number of VFs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["connectx-4lx", "connectx-5", "connectx-6dx", "connectx-7"])
def test_more_vfs_than_the_firmware_has_take_one_reboot(ground: Any, profile: str) -> None:
    ground.host.add_card(profile)
    wanted = DesiredPf(FIRST, 24)
    plan, outcome = ground.apply(wanted)
    (step,) = plan.steps
    assert (step.op, step.target, step.disruption) == ("mellanox.set_nvconfig", str(FIRST), Disruption.REBOOT)
    assert step.args == {"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 24}}
    assert told(plan) == [("numVfs", IN_FIRMWARE)]
    assert outcome.failed is None
    waiting, _ = ground.apply(wanted)
    assert firmware(waiting)[0].args == step.args  # the same step, so that a reboot in vain is known as one
    assert "set already for the next boot" in firmware(waiting)[0].why
    ground.host.reboot()
    ground.restart()
    plan, outcome = ground.apply(wanted)
    assert (plan.disruption, plan.problems, outcome.failed) == (Disruption.REFRESH, (), None)
    assert ground.plan(wanted).steps == ()
    assert ground.observe().inventory.pf(FIRST).num_vfs == 24


def test_sriov_that_is_off_is_switched_on_and_the_number_kept(ground: Any) -> None:
    card = ground.host.add_card("connectx-4lx", firmware={"SRIOV_EN": False, "NUM_OF_VFS": 32})
    wanted = DesiredPf(FIRST, 4), DesiredPf(SECOND, 8)
    observation = ground.observe()
    assert [(pf.total_vfs, pf.vfs) for pf in observation.inventory.pfs()] == [(None, ()), (None, ())]
    assert {adapter.owner for adapter in observation.inventory.adapters} == {"15b3"}
    plan, outcome = ground.apply(*wanted)
    assert [step.args for step in plan.steps] == [{"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 32}}] * 2
    assert plan.errors == ()
    assert [step.detail for step in outcome.steps] == ["Please reboot machine to load new configurations."] * 2
    ground.host.reboot()
    assert ground.apply(*wanted)[1].failed is None
    assert [pf.num_vfs for pf in ground.observe().inventory.pfs()] == [4, 8]
    assert card.firmware.current["NUM_OF_VFS"] == 32


def test_ports_of_one_card_get_what_the_greediest_wants(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    for wanted in ((DesiredPf(FIRST, 16), DesiredPf(SECOND, 12)), (DesiredPf(SECOND, 12), DesiredPf(FIRST, 16))):
        assert [step.args for step in firmware(ground.plan(*wanted))] == [ON_16, ON_16]


def test_a_port_that_has_enough_gets_its_vfs_meanwhile(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    plan, _ = ground.apply(DesiredPf(FIRST, 16), DesiredPf(SECOND, 4))
    assert [step.target for step in firmware(plan)] == [str(FIRST)]
    assert ground.observe().inventory.pf(SECOND).num_vfs == 4


def test_vfs_of_a_port_that_nobody_asks_for_count_too(ground: Any) -> None:
    ground.host.add_card("connectx-5", firmware={"NUM_OF_VFS": 24})
    ground.apply(DesiredPf(SECOND, 24))
    ground.host.cards[0].firmware.next["NUM_OF_VFS"] = 8
    ground.restart()
    (step,) = firmware(ground.plan(DesiredPf(FIRST, 4)))
    assert step.args == {"settings": {"NUM_OF_VFS": 24}}


def test_of_two_cards_only_the_one_that_lacks_something_is_written(ground: Any) -> None:
    """One card's need neither hides another's nor is hidden by it, whatever the order."""
    first, second = ground.host.add_card("connectx-5"), ground.host.add_card("connectx-7", address="0000:5e:00")
    for wanted in ((DesiredPf(FIRST, 16), DesiredPf(OTHER, 4)), (DesiredPf(OTHER, 4), DesiredPf(FIRST, 16))):
        plan = ground.plan(*wanted)
        assert [(step.target, step.disruption) for step in firmware(plan)] == [(str(FIRST), Disruption.REBOOT)]
        assert plan.disruption is Disruption.REBOOT
    ground.apply(*wanted)
    assert (first.firmware.next["NUM_OF_VFS"], second.firmware.next["NUM_OF_VFS"]) == (16, 16)
    ground.host.reboot()
    assert ground.apply(*wanted)[0].disruption is Disruption.REFRESH


def test_fewer_vfs_are_no_reason_to_touch_the_firmware(ground: Any) -> None:
    card = ground.host.add_card("connectx-7")
    ground.apply(DesiredPf(FIRST, 16))
    plan, _ = ground.apply(DesiredPf(FIRST, 2))
    assert firmware(plan) == []
    observation = ground.observe()
    release = ground.node.release(observation, [FIRST])
    plan = ground.node.plan(observation, release)
    assert firmware(plan) == []
    assert ground.node.perform(plan, observation, release).failed is None
    assert card.firmware.next == card.firmware.current


def test_what_is_pending_and_would_take_vfs_away_is_put_right_without_a_reboot(ground: Any) -> None:
    card = ground.host.add_card("connectx-5")
    ground.apply(DesiredPf(FIRST, 4))
    card.firmware.next |= {"SRIOV_EN": False, "NUM_OF_VFS": 0}
    ground.restart()
    plan, outcome = ground.apply(DesiredPf(FIRST, 4))
    (step,) = plan.steps
    assert (step.disruption, step.args) == (Disruption.NONE, {"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 4}})
    assert outcome.failed is None
    assert ground.plan(DesiredPf(FIRST, 4)).steps == ()
    assert (card.firmware.next["SRIOV_EN"], card.firmware.next["NUM_OF_VFS"]) == (True, 4)


def test_more_than_a_pf_can_ever_have(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    error = one_error(ground.plan(DesiredPf(FIRST, 128)))
    assert "128 VFs wanted, a PF has at most 127 (ask for at most 127)" in error


def test_what_is_not_the_firmwares_doing(ground: Any) -> None:
    ground.host.add_card("connectx-5", sriov=False)
    error = one_error(ground.plan(DesiredPf(FIRST, 4)))
    assert "that is not the firmware's doing: NUM_OF_VFS 8 is in force (switch SR-IOV" in error


def test_numbers_that_are_kept_for_each_pf(ground: Any) -> None:
    card = ground.host.add_card("connectx-5")
    card.firmware.next["PF_NUM_OF_VF_VALID"] = True
    assert "PF_NUM_OF_VF" in one_error(ground.plan(DesiredPf(FIRST, 16))), "the card's number is no longer heard then"
    card.firmware.ports_next = {0: PortVfs(enabled=True, total=8), 1: PortVfs(enabled=True, total=4)}
    ground.host.reboot()
    assert [pf.total_vfs for pf in ground.observe().inventory.pfs()] == [8, 4]
    assert "PF_NUM_OF_VF" in one_error(ground.plan(DesiredPf(FIRST, 16)))
    plan = ground.plan(DesiredPf(FIRST, 8))
    assert (firmware(plan), plan.errors) == ([], ())
    card.firmware.next["PF_NUM_OF_VF_VALID"] = False
    ground.node.observe()
    ground.host.reboot()
    assert ground.plan(DesiredPf(FIRST, 16)).errors == ()


def test_a_card_whose_firmware_knows_no_number(ground: Any) -> None:
    card = ground.host.add_card("connectx-5")
    for values in (card.firmware.next, card.firmware.current, card.firmware.default):
        del values["NUM_OF_VFS"]
    assert "has no setting NUM_OF_VFS" in one_error(ground.plan(DesiredPf(FIRST, 16)))


def test_firmware_that_refuses(ground: Any) -> None:
    card = ground.host.add_card("connectx-5")
    card.firmware.refuses = "Failed to set NV_GLOBAL_PCI_CONF: The configuration is rejected"
    _, outcome = ground.apply(DesiredPf(FIRST, 16))
    assert outcome.failed is not None
    assert "The configuration is rejected" in outcome.failed.detail


def test_externally_managed_pfs_are_never_written(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    within = ground.plan(DesiredPf(FIRST, 8, externally_managed=True))
    assert (firmware(within), within.errors) == ([], ())
    error = one_error(ground.plan(DesiredPf(FIRST, 16, externally_managed=True)))
    assert "externally managed: 16 VFs are waited for, and the card's firmware allows 8" in error
    beside = ground.plan(DesiredPf(FIRST, 8, externally_managed=True), DesiredPf(SECOND, 16))
    assert [step.target for step in firmware(beside)] == [str(SECOND)]


# --- what cannot be written -------------------------------------------------------------------------------------------


def test_without_the_tool_the_present_firmware_is_the_limit_and_told_so(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.host.fail("run mstconfig", error=FileNotFoundError(2, "No such file"))
    error = one_error(ground.plan(DesiredPf(FIRST, 16)))
    assert "16 VFs wanted, and the card allows 8; its firmware cannot be read: mstconfig: not installed" in error
    assert "install the package mstflint on the host" in error
    assert firmware(ground.plan(DesiredPf(FIRST, 8))) == []
    assert ground.plan(DesiredPf(FIRST, 8)).errors == ()


def test_lockdown(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.host._tree.file("sys/kernel/security/lockdown", "none integrity [confidentiality]\n")
    plan = ground.plan(DesiredPf(FIRST, 16))
    assert "under kernel lockdown (confidentiality) its firmware cannot be reached" in one_error(plan)
    assert told(plan) == [("numVfs", "LockdownActive")]
    assert ground.plan(DesiredPf(FIRST, 8)).errors == ()
    assert ground.queries() == 0


def test_a_tool_and_a_firmware_that_do_not_go_together(ground: Any) -> None:
    ground.host.install_firmware_tool("4.34.0")
    card = ground.host.add_card("connectx-6dx")
    card.firmware.unprepared = True
    _, outcome = ground.apply(DesiredPf(FIRST, 24))
    assert outcome.failed is not None
    for said in (
        "the node is not rebooted, as mstflint 4.34.0 and firmware 22.",
        "Please power cycle machine",
        "sriov-network-operator#1082",
        "update the card's firmware, or install mstflint before 4.32",
    ):
        assert said in outcome.failed.detail
    assert card.firmware.next["NUM_OF_VFS"] == 24
    again = ground.apply(DesiredPf(FIRST, 24))[1]
    assert again.failed is not None, "what is set already does not come into force by a reboot either"
    card.firmware.unprepared = False
    assert ground.apply(DesiredPf(FIRST, 24))[1].failed is None
    ground.host.reboot()
    assert ground.apply(DesiredPf(FIRST, 24))[1].failed is None
    assert ground.observe().inventory.pf(FIRST).num_vfs == 24


@pytest.mark.parametrize("version", ["4.30.0", "4.34.1", "4.36.0"])
def test_no_tool_is_refused_that_the_firmware_takes(ground: Any, version: str) -> None:
    ground.host.install_firmware_tool(version)
    ground.host.add_card("connectx-6dx")
    plan, outcome = ground.apply(DesiredPf(FIRST, 24))
    assert (plan.errors, outcome.failed) == ((), None)


@pytest.mark.parametrize("version", ["4.21.0", "4.26.0", "4.33.0"])
def test_a_setting_that_this_host_may_only_read(ground: Any, version: str) -> None:
    ground.host.install_firmware_tool(version)
    card = ground.host.add_card("connectx-5")
    card.firmware.read_only = frozenset({"NUM_OF_VFS"})
    if version == "4.21.0":  # it does not say before
        outcome = ground.apply(DesiredPf(FIRST, 16))[1]
        assert "Read only TLV" in outcome.failed.detail
        assert "belongs to another host" in outcome.failed.detail
    else:
        error = one_error(ground.plan(DesiredPf(FIRST, 16)))
        assert "its firmware lets NUM_OF_VFS be read only" in error
        assert "belongs to another host" in error


def test_what_would_be_lost_at_the_next_boot_is_told_where_it_cannot_be_put_right(ground: Any) -> None:
    ground.host.install_firmware_tool("4.33.0")
    card = ground.host.add_card("connectx-5")
    card.firmware.next["SRIOV_EN"] = False
    card.firmware.read_only = frozenset({"SRIOV_EN"})
    plan = ground.plan(DesiredPf(FIRST, 4))
    assert (firmware(plan), plan.errors) == ([], ())
    assert "at the next boot SRIOV_EN False comes into force" in str(plan.problems[0])


# --- link type --------------------------------------------------------------------------------------------------------


def test_link_type_is_set_for_the_port_it_is_wanted_on(ground: Any) -> None:
    card = ground.host.add_card("connectx-5")
    wanted = DesiredPf(SECOND, 4, link_type=LinkType.IB)
    plan, _ = ground.apply(wanted)
    (step,) = plan.steps
    assert (step.args, step.target) == ({"settings": {"LINK_TYPE_P2": "IB"}}, str(SECOND))
    assert told(plan) == [("linkType", IN_FIRMWARE)]
    assert (card.firmware.next["LINK_TYPE_P1"], card.firmware.next["LINK_TYPE_P2"]) == ("ETH", "IB")
    ground.host.reboot()
    assert ground.observe().inventory.pf(SECOND).netdev.link_type is LinkType.IB
    assert firmware(ground.plan(wanted)) == []
    card.firmware.next["LINK_TYPE_P2"] = "ETH"
    ground.restart()
    assert firmware(ground.plan(wanted))[0].args == {"settings": {"LINK_TYPE_P2": "IB"}}
    assert firmware(ground.plan(wanted))[0].disruption is Disruption.NONE


def test_an_infiniband_port_becomes_ethernet_with_switchdev_mode_to_come(ground: Any) -> None:
    ground.host.add_card("connectx-6-ib")
    wanted = DesiredPf(FIRST, 16, link_type=LinkType.ETH, eswitch_mode=EswitchMode.SWITCHDEV)
    plan, _ = ground.apply(wanted)
    (step,) = plan.steps
    assert step.args == {"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 16, "LINK_TYPE_P1": "ETH"}}
    assert plan.errors == ()
    ground.host.reboot()
    assert ground.apply(wanted)[1].failed is None
    assert ground.observe().inventory.pf(FIRST).eswitch_mode is EswitchMode.SWITCHDEV


@pytest.mark.parametrize(
    ("profile", "words"), [("connectx-4lx", "is a card for Ethernet only"), ("bluefield-2", "can do one type only")]
)
def test_a_card_of_one_link_type(ground: Any, profile: str, words: str) -> None:
    ground.host.add_card(profile)
    plan = ground.plan(DesiredPf(FIRST, 4, link_type=LinkType.IB))
    assert not plan.steps
    assert words in " ".join(map(str, plan.errors))


def test_switchdev_and_rdma_are_to_come_on_a_card_whose_sriov_is_off(ground: Any) -> None:
    """Two ports of a ConnectX-5 with three VFs each, from the factory's worst to offload, by one reboot."""
    ground.host.add_card("connectx-5", firmware={"SRIOV_EN": False, "NUM_OF_VFS": 0})
    group = VfGroup(VfRange(0, 2), resource_name="cx_sriov_switchdev", is_rdma=True)
    wanted = [DesiredPf(pf, 3, eswitch_mode=EswitchMode.SWITCHDEV, groups=(group,)) for pf in (FIRST, SECOND)]
    plan, outcome = ground.apply(*wanted)
    assert [step.args for step in firmware(plan)] == [{"settings": {"SRIOV_EN": True, "NUM_OF_VFS": 3}}] * 2
    assert (plan.errors, outcome.failed, plan.disruption) == ((), None, Disruption.REBOOT)
    ground.host.reboot()
    ground.restart()
    assert ground.apply(*wanted)[1].failed is None
    assert ground.plan(*wanted).steps == ()
    for pf in ground.observe().inventory.pfs():
        assert (pf.eswitch_mode, pf.num_vfs) == (EswitchMode.SWITCHDEV, 3)
        assert all(vf.representor for vf in pf.vfs)


# --- BlueField --------------------------------------------------------------------------------------------------------

DPU = {
    "INTERNAL_CPU_PAGE_SUPPLIER": "ECPF",
    "INTERNAL_CPU_ESWITCH_MANAGER": "ECPF",
    "INTERNAL_CPU_IB_VPORT0": "ECPF",
    "INTERNAL_CPU_OFFLOAD_ENGINE": "ENABLED",
}


def test_bluefield_2_is_set_at_once_and_waits_for_a_power_cycle(ground: Any) -> None:
    card = ground.host.add_card("bluefield-2")
    wanted = DesiredPf(FIRST, 20)
    plan, _ = ground.apply(wanted)
    assert [(step.op, step.disruption) for step in plan.steps] == [("mellanox.set_nvconfig", Disruption.NONE)]
    assert card.firmware.next["NUM_OF_VFS"] == 20
    plan, outcome = ground.apply(wanted)
    assert [(step.op, step.disruption) for step in plan.steps] == [
        ("mellanox.await_power_cycle", Disruption.POWER_CYCLE)
    ]
    assert [step.status for step in outcome.steps] == [OutcomeStatus.SKIPPED]
    ground.host.reboot()
    ground.restart()
    assert [step.op for step in ground.plan(wanted).steps] == ["mellanox.await_power_cycle"]
    ground.host.reboot(power_cycle=True)
    ground.restart()
    assert ground.apply(wanted)[1].failed is None
    assert ground.observe().inventory.pf(FIRST).num_vfs == 20


def test_bluefield_2_with_older_firmware_takes_a_reboot(ground: Any) -> None:
    profile = load_profile("bluefield-2")
    old = replace(profile, driver=replace(profile.driver, firmware_version="24.36.7506 (MT_0000000375)"))
    ground.host.add_card(old)
    assert ground.plan(DesiredPf(FIRST, 20)).disruption is Disruption.REBOOT


@pytest.mark.parametrize("changes", [DPU, DPU | {"INTERNAL_CPU_PAGE_SUPPLIER": "EXT_HOST_PF"}])
def test_bluefield_in_dpu_mode_is_not_written(ground: Any, changes: dict[str, str]) -> None:
    card = ground.host.add_card("bluefield-2", firmware=changes)
    dpu = changes == DPU
    assert ground.facts()["mode"] == ("dpu" if dpu else "unclear")
    words = "the card is in DPU mode" if dpu else "neither DPU mode nor NIC mode"
    assert words in one_error(ground.plan(DesiredPf(FIRST, 20)))
    assert card.firmware.next == card.firmware.current


def test_the_mode_in_force_counts_not_the_default(ground: Any) -> None:
    card = ground.host.add_card("bluefield-2", firmware=DPU | {"INTERNAL_CPU_MODEL": "SEPARATED_HOST"})
    assert card.firmware.default["INTERNAL_CPU_MODEL"] == "EMBEDDED_CPU"
    assert ground.facts()["mode"] == "nic"


# --- devlink in place of the tool -------------------------------------------------------------------------------------


def offering(ground: Any, **firmware: Any) -> Any:
    """A card of a driver that offers the number of VFs."""
    profile = load_profile("connectx-7")
    params = {
        "enable_sriov": ParamFacts("bool", False, mode=ParamMode.PERMANENT),
        "total_vfs": ParamFacts("u32", 0, mode=ParamMode.PERMANENT),
    }
    return ground.host.add_card(replace(profile, devlink=replace(profile.devlink, params=params)), firmware=firmware)


@pytest.fixture
def newer_kernel(ground: Any) -> Any:
    """A driver that offers the number of VFs as permanent parameters; the tool is not installed."""
    card = offering(ground, SRIOV_EN=False)
    ground.host.fail("run mstconfig", error=FileNotFoundError(2, "No such file"))
    return card


def test_where_the_kernel_sets_the_number_no_tool_is_needed(ground: Any, newer_kernel: Any) -> None:
    wanted = DesiredPf(FIRST, 24)
    plan, outcome = ground.apply(wanted)
    (step,) = plan.steps
    assert (step.args, step.disruption) == (
        {"devlink": {"enable_sriov": True, "total_vfs": 24}},
        Disruption.REBOOT,
    )
    assert (outcome.failed, plan.errors) == (None, ())
    assert newer_kernel.firmware.ports_next[0] == PortVfs(enabled=True, total=24)
    assert "not prepared for the reboot: 0000:3b:00.0: mstconfig: not installed" in outcome.steps[0].detail
    again = ground.plan(wanted)
    assert again.steps[0].args == step.args
    assert "set already" in again.steps[0].why
    ground.host.reboot()
    assert ground.apply(wanted)[1].failed is None
    assert ground.observe().inventory.pf(FIRST).num_vfs == 24


def test_what_is_pending_in_devlink_and_would_take_vfs_away_is_put_right(ground: Any, newer_kernel: Any) -> None:
    ground.apply(DesiredPf(FIRST, 24))
    ground.host.reboot()
    newer_kernel.firmware.ports_next[0] = PortVfs()
    plan = ground.plan(DesiredPf(FIRST, 24))
    (step,) = firmware(plan)
    assert (step.args, step.disruption) == ({"devlink": {"enable_sriov": True, "total_vfs": 24}}, Disruption.NONE)
    ground.apply(DesiredPf(FIRST, 24))
    assert newer_kernel.firmware.ports_next[0] == PortVfs(enabled=True, total=24)


def test_a_port_that_is_set_by_devlink_takes_nothing_from_the_other(ground: Any) -> None:
    card = offering(ground, SRIOV_EN=True, NUM_OF_VFS=16)
    wanted = DesiredPf(FIRST, 24), DesiredPf(SECOND, 8)
    plan, outcome = ground.apply(*wanted)
    assert [step.target for step in firmware(plan)] == [str(FIRST)]
    assert outcome.failed is None
    assert card.firmware.ports_next == {0: PortVfs(enabled=True, total=24), 1: PortVfs(enabled=True, total=16)}
    assert "Please reboot machine" in outcome.steps[0].detail, "the tool prepares the firmware for it"
    ground.host.reboot()
    plan, outcome = ground.apply(*wanted)
    assert (firmware(plan), outcome.failed) == ([], None)
    assert [pf.num_vfs for pf in ground.observe().inventory.pfs()] == [24, 8]


@pytest.mark.parametrize("wanted", [(24, 20), (20, 24)])
def test_both_ports_are_set_by_devlink_each_to_its_own_number(ground: Any, wanted: tuple[int, int]) -> None:
    card = offering(ground, SRIOV_EN=False, NUM_OF_VFS=16)
    numbers = DesiredPf(FIRST, wanted[0]), DesiredPf(SECOND, wanted[1])
    assert ground.apply(*numbers)[1].failed is None
    assert card.firmware.ports_next == {port: PortVfs(enabled=True, total=wanted[port]) for port in (0, 1)}
    ground.host.reboot()
    assert ground.apply(*numbers)[1].failed is None
    assert tuple(pf.num_vfs for pf in ground.observe().inventory.pfs()) == wanted


def test_a_card_that_has_one_number_for_all_ports_takes_the_tool(ground: Any) -> None:
    """Its parameters can be read by devlink, and not be set."""
    card = offering(ground, SRIOV_EN=True, NUM_OF_VFS=16)
    card.firmware.per_port = False
    wanted = DesiredPf(FIRST, 24), DesiredPf(SECOND, 20)
    plan, outcome = ground.apply(*wanted)
    assert [list(step.args) for step in firmware(plan)] == [["devlink"], ["devlink"]]
    assert outcome.failed is None
    assert (card.firmware.next["NUM_OF_VFS"], card.firmware.ports_next) == (24, {})
    ground.host.reboot()
    assert ground.apply(*wanted)[1].failed is None
    assert [pf.num_vfs for pf in ground.observe().inventory.pfs()] == [24, 20]


def test_a_card_that_takes_the_tool_where_there_is_none(ground: Any, newer_kernel: Any) -> None:
    newer_kernel.firmware.per_port = False
    _, outcome = ground.apply(DesiredPf(FIRST, 24))
    assert outcome.failed is not None
    assert "SRIOV is not per PF on this device" in outcome.failed.detail
    assert "mstconfig: not installed on this host" in outcome.failed.detail


def test_what_the_driver_refuses_by_devlink(ground: Any, newer_kernel: Any) -> None:
    ground.host.fail("set_param *", error=22, text="mlx5_core: Max allowed by device is 16")
    _, outcome = ground.apply(DesiredPf(FIRST, 24))
    assert outcome.failed is not None
    assert "Max allowed by device is 16" in outcome.failed.detail
    assert newer_kernel.firmware.ports_next.get(0, PortVfs()).total == 0


def test_a_link_type_still_takes_the_tool(ground: Any, newer_kernel: Any) -> None:
    error = str(ground.plan(DesiredPf(FIRST, 24, link_type=LinkType.IB)).errors[0])
    assert "install the package mstflint" in error


# --- looking ----------------------------------------------------------------------------------------------------------


def test_the_tool_is_asked_once_a_boot_and_again_after_a_step(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.host.add_card("connectx-5", address="0000:5e:00")
    for _ in range(5):
        ground.observe()
    assert ground.queries() == 2  # one a card, not one a port
    assert sum(call.kind == "run" for call in ground.host.calls) == 2 + 1  # and one for the version
    ground.apply(DesiredPf(FIRST, 16))
    ground.observe()
    after_step = ground.queries()
    ground.observe()
    assert ground.queries() == after_step == 2 + 2 + 1  # before and after writing, and one look at this card
    ground.host.reboot()
    ground.observe()
    assert ground.queries() == after_step + 2


def test_facts_of_one_card_do_not_wait_for_another(ground: Any) -> None:
    ground.host.add_card("connectx-5")
    ground.host.add_card("connectx-5", address="0000:5e:00")
    ground.host.fail(lambda call: call.kind == "run" and str(FIRST) in call.value, hang=True)
    ground.host.fail(lambda call: call.kind == "run" and str(SECOND) in call.value, hang=True)
    first, second = ground.observe().inventory.adapters
    assert "did not end within 60 s" in first.facts["unknown"]["why"]
    assert second.facts["settings"]["NUM_OF_VFS"]["current"] == 8


# --- crash ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(5))
def test_a_process_that_ends_at_any_run_of_the_tool_leaves_nothing_that_the_next_one_does_not_finish(
    ground: Any, number: int
) -> None:
    card = ground.host.add_card("connectx-4lx", firmware={"SRIOV_EN": False})
    ground.observe()
    left = number

    def ends(call: Any) -> bool:
        nonlocal left
        if call.kind == "run":
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
        return False

    fault = ground.host.fail(ends, hang=True)
    wanted = DesiredPf(FIRST, 16), DesiredPf(SECOND, 4)
    with pytest.raises(KeyboardInterrupt):
        ground.apply(*wanted)
    fault.clear()
    ground.restart()
    plan, outcome = ground.apply(*wanted)
    assert (plan.disruption, outcome.failed) == (Disruption.REBOOT, None)
    assert (card.firmware.next["SRIOV_EN"], card.firmware.next["NUM_OF_VFS"]) == (True, 16)
    ground.host.reboot()
    ground.restart()
    assert ground.apply(*wanted)[1].failed is None
    assert [pf.num_vfs for pf in ground.observe().inventory.pfs()] == [16, 4]
    assert ground.plan(*wanted).steps == ()
