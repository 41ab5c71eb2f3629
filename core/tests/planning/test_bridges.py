"""Bridges planned: what is done, in which order, what it takes away, and what stands in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DesiredPf,
    DesiredState,
    Disruption,
    EswitchMode,
    Inventory,
    Netdev,
    PciAddress,
    PciId,
    Pf,
    Plan,
    Platform,
    Problem,
    Severity,
    Step,
    Vf,
    steps,
)
from virtfn.model.desired import DesiredBridge
from virtfn.model.open_vswitch import Bridge, OpenVSwitch, Uplink
from virtfn.model.steps import describe
from virtfn.planning import given_back, make_plan

FIRST = PciAddress.parse("0000:01:00.0")
SECOND = PciAddress.parse("0000:01:00.1")
THIRD = PciAddress.parse("0000:02:00.0")
WANT = DesiredBridge("br-a", FIRST, "ens1f0")
UPLINK = Uplink("ens1f0", pf=FIRST, ofport=1)
THERE = Bridge("br-a", managed=True, pf=FIRST, ports=("ens1f0", "rep0"), uplinks=(UPLINK,))


def a_pf(address: PciAddress, name: str) -> Pf:
    netdev = Netdev(name, 1, "02:00:00:00:00:01", 1500, True)
    vfs = tuple(
        Vf(PciAddress.parse(f"0000:{address.bus:02x}:1{address.function}.{index}"), index, PciId("ffff", "2"))
        for index in range(2)
    )
    vfs = tuple(replace(vf, representor=f"rep{vf.index}" if address == FIRST else None) for vf in vfs)
    return Pf(address, PciId("ffff", "0001"), driver="card", netdev=netdev, total_vfs=8, vfs=vfs)


def an_inventory(*bridges: Bridge, ovs: OpenVSwitch | None = None) -> Inventory:
    card = Adapter(FIRST.slot, (a_pf(FIRST, "ens1f0"), a_pf(SECOND, "ens1f1")), owner="card")
    other = Adapter(THIRD.slot, (a_pf(THIRD, "ens2"),), owner="card")
    return Inventory((card, other), Platform(iommu=True), ovs=ovs or OpenVSwitch(bridges=bridges))


class Hooks:
    """Plans what a test wants for the PFs."""

    def __init__(self, *planned: Step, problems: tuple[Problem, ...] = ()) -> None:
        self._planned, self._problems = planned, problems

    def plan_firmware(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        return ()

    def plan_functions(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        return tuple(step for step in self._planned if any(step.target == str(pf.address) for pf in desired.pfs))

    def plan_vfs(self, adapter: Adapter, **_: Any) -> tuple[Step, ...]:
        return ()

    def validate(self, adapter: Adapter, **_: Any) -> tuple[Problem, ...]:
        return self._problems


def plan_of(inventory: Inventory, *wanted: DesiredPf, hooks: Hooks | None = None, **more: Any) -> Plan:
    return make_plan(inventory, DesiredState(wanted, **more), lambda _: hooks or Hooks())


def told(plan: Plan) -> list[tuple[str, str, Disruption]]:
    return [(step.op, step.target, step.disruption) for step in plan.steps]


def with_bridge(bridge: DesiredBridge | None = WANT) -> DesiredPf:
    return DesiredPf(bridge.uplink if bridge else FIRST, 2, bridge=bridge)


def test_a_bridge_that_is_not_there() -> None:
    plan = plan_of(an_inventory(), with_bridge())
    assert told(plan) == [
        ("ovs.set_bridge", str(FIRST), Disruption.NONE),
        ("ovs.set_uplink", str(FIRST), Disruption.NONE),
    ]
    assert [describe(step) for step in plan.steps] == [
        "bridge br-a: make it as wanted",
        "bridge br-a: put the PF in as its uplink",
    ]


def test_a_bridge_that_is_as_wanted() -> None:
    assert plan_of(an_inventory(THERE), with_bridge()) == Plan()


@pytest.mark.parametrize(
    ("bridge", "want", "op", "lost", "why"),
    [
        ({"fail_mode": "secure"}, {}, "ovs.set_bridge", 1, "fail_mode is secure, wanted not set"),
        ({"datapath_type": "netdev"}, {}, "ovs.set_bridge", 1, "datapath_type is netdev, wanted not set"),
        ({"external_ids": {"a": "1"}}, {}, "ovs.set_bridge", 0, "external_ids is a=1, wanted empty"),
        ({}, {"other_config": {"b": "2"}}, "ovs.set_bridge", 0, "other_config is empty, wanted b=2"),
        ({"error": "no room"}, {}, "ovs.set_bridge", 0, "error is no room, wanted not set"),
        ({"pf": SECOND}, {}, "ovs.set_bridge", 0, "PF is 0000:01:00.1, wanted 0000:01:00.0"),
        ({"uplinks": ()}, {}, "ovs.set_uplink", 0, "ens1f0 is its uplink, and is not in it"),
        ({"uplinks": (replace(UPLINK, name="eth9"),)}, {}, "ovs.set_uplink", 1, "and eth9 is there"),
        (
            {"uplinks": (replace(UPLINK, error="No such device"),)},
            {},
            "ovs.set_uplink",
            0,
            "cannot use ens1f0: No such",
        ),
        ({"uplinks": (UPLINK, replace(UPLINK, name="eth9"))}, {}, "ovs.set_uplink", 1, "there are ens1f0, eth9"),
        ({}, {"interface_type": "dpdk"}, "ovs.set_uplink", 1, "type is not set, wanted dpdk"),
        ({}, {"interface_options": {"c": "3"}}, "ovs.set_uplink", 1, "options is empty, wanted c=3"),
        ({}, {"mtu_request": 9000}, "ovs.set_uplink", 0, "mtu_request is not set, wanted 9000"),
        (
            {"uplinks": (replace(UPLINK, mtu_request=9000, mtu=1500),)},
            {"mtu_request": 9000},
            "ovs.set_uplink",
            0,
            "MTU is 1500, wanted 9000",
        ),
    ],
)
def test_what_differs(bridge: dict[str, Any], want: dict[str, Any], op: str, lost: int, why: str) -> None:
    (step,) = plan_of(an_inventory(replace(THERE, **bridge)), with_bridge(replace(WANT, **want))).steps
    assert (step.op, len(step.affects)) == (op, lost)
    assert step.disruption is (Disruption.VFS if lost else Disruption.NONE)
    assert why in step.why


def test_the_uplink_is_out_while_the_mode_changes() -> None:
    pf = a_pf(FIRST, "ens1f0")
    mode = steps.set_eswitch_mode(pf, EswitchMode.SWITCHDEV, why="")
    plan = plan_of(an_inventory(THERE), with_bridge(), hooks=Hooks(mode))
    assert [step.op for step in plan.steps] == ["ovs.remove_uplink", "eswitch.set_mode", "ovs.set_uplink"]
    assert plan.steps[0].affects == (pf.vfs[0].address,)
    other = steps.set_eswitch_mode(a_pf(SECOND, "ens1f1"), EswitchMode.SWITCHDEV, why="")
    plan = plan_of(an_inventory(THERE), with_bridge(), DesiredPf(SECOND, 2), hooks=Hooks(other))
    assert [step.op for step in plan.steps] == ["eswitch.set_mode"]


def test_what_is_not_wanted_goes_ahead_of_the_pfs_steps() -> None:
    count = steps.set_num_vfs(a_pf(FIRST, "ens1f0"), 0, why="")
    for want in (DesiredPf(FIRST, 0), DesiredPf(FIRST, 0, release=True, bridge=WANT)):
        plan = plan_of(an_inventory(THERE), want, hooks=Hooks(count))
        assert [step.op for step in plan.steps] == ["ovs.remove_bridge", "sriov.set_numvfs"]
    assert "with its ports rep0" in plan.steps[0].why


def test_a_bridge_changes_hands_without_being_removed() -> None:
    want = DesiredBridge("br-a", SECOND, "ens1f1")
    plan = plan_of(an_inventory(THERE), DesiredPf(FIRST, 2), DesiredPf(SECOND, 2, bridge=want))
    assert [(step.op, step.target) for step in plan.steps] == [
        ("ovs.set_bridge", str(SECOND)),
        ("ovs.set_uplink", str(SECOND)),
    ]


def test_other_pfs_and_other_bridges_are_not_touched() -> None:
    theirs = Bridge("br-theirs", ports=("ens2",))
    assert plan_of(an_inventory(THERE, theirs), DesiredPf(THIRD, 2)) == Plan()
    assert plan_of(an_inventory(THERE), DesiredPf(FIRST, 2), kept_bridges=("br-a",)) == Plan()


def test_a_pf_that_is_left_alone_keeps_its_bridge() -> None:
    wrong = Problem(object=f"{FIRST} (ens1f0)", message="it cannot", reason="UnsupportedSetting")
    plan = plan_of(an_inventory(THERE), DesiredPf(FIRST, 2), hooks=Hooks(problems=(wrong,)))
    assert (plan.steps, plan.problems) == ((), (wrong,))


@pytest.mark.parametrize(
    ("ovs", "reason", "gist"),
    [
        (None, "UnsupportedSetting", "does not run on this node"),
        (OpenVSwitch(fault="Permission denied"), "OvsRefused", "cannot be read: Permission denied"),
        (OpenVSwitch(host_service=False), "UnsupportedSetting", "runs in a container"),
        (OpenVSwitch(bridges=(Bridge("br-a"),)), "OvsRefused", "virtfn did not make it"),
        (OpenVSwitch(bridges=(Bridge("br-x", ports=("ens1f0",)),)), "OvsRefused", "is a port of bridge br-x"),
        (
            OpenVSwitch(bridges=(replace(THERE, uplinks=(replace(UPLINK, ofport=None),)),)),
            "NotEffective",
            "has not taken it up",
        ),
    ],
)
def test_what_stands_in_the_way(ovs: OpenVSwitch | None, reason: str, gist: str) -> None:
    inventory = replace(an_inventory(), ovs=ovs)
    count = steps.set_num_vfs(a_pf(FIRST, "ens1f0"), 2, why="")
    plan = plan_of(inventory, with_bridge(), hooks=Hooks(count))
    assert [step.op for step in plan.steps] == ["sriov.set_numvfs"]
    (problem,) = plan.errors
    assert (problem.object, problem.reason) == ("bridge br-a", reason)
    assert gist in problem.message
    assert problem.hint


def test_a_pf_in_a_bond_is_left_there() -> None:
    inventory = an_inventory()
    pf = a_pf(FIRST, "ens1f0")
    assert pf.netdev is not None
    bonded = replace(pf, netdev=replace(pf.netdev, bond="bond0"))
    inventory = replace(inventory, adapters=(Adapter(FIRST.slot, (bonded,), owner="card"),))
    plan = make_plan(inventory, DesiredState(bridges=(WANT,)), lambda _: Hooks())
    assert (plan.steps, len(plan.errors)) == ((), 1)
    assert "is a port of bond0" in plan.errors[0].message


def test_a_pf_without_a_netdev_can_be_an_uplink_in_user_space_only() -> None:
    inventory = an_inventory()
    pf = replace(a_pf(FIRST, ""), netdev=None)
    inventory = replace(inventory, adapters=(Adapter(FIRST.slot, (pf,), owner="card"),))
    alone = DesiredState(bridges=(WANT,))
    (problem,) = make_plan(inventory, alone, lambda _: Hooks()).errors
    assert "has no netdev here" in problem.message
    dpdk = DesiredState(bridges=(replace(WANT, interface_type="dpdk"),))
    assert [step.op for step in make_plan(inventory, dpdk, lambda _: Hooks()).steps] == [
        "ovs.set_bridge",
        "ovs.set_uplink",
    ]


# --- what nobody asks for any more ------------------------------------------------------------------------------------


def test_bridges_that_nobody_asks_for_are_given_back() -> None:
    gone = Bridge("br-gone", managed=True, pf=PciAddress.parse("0000:77:00.0"))
    unknown = Bridge("br-unknown", managed=True)
    inventory = an_inventory(THERE, gone, unknown, Bridge("br-theirs"))
    desired = given_back(inventory, DesiredState((DesiredPf(THIRD, 2),)))
    plan = make_plan(inventory, desired, lambda _: Hooks())
    assert [step.args["bridge"] for step in plan.steps] == ["br-a", "br-gone", "br-unknown"]
    assert {step.op for step in plan.steps} == {"ovs.remove_bridge"}


def test_bridges_that_are_asked_for_or_held_are_not_given_back() -> None:
    inventory = an_inventory(THERE)
    for desired in (
        DesiredState((DesiredPf(FIRST, 2, bridge=WANT),)),
        DesiredState(bridges=(WANT,)),
        DesiredState(refused=(FIRST,)),
        DesiredState(kept_bridges=("br-a",)),
    ):
        assert make_plan(inventory, given_back(inventory, desired), lambda _: Hooks()).steps == ()
    assert make_plan(inventory, DesiredState(), lambda _: Hooks()).steps == ()


# --- offload ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ovs", "wanted", "enabled"),
    [
        (None, True, None),
        (OpenVSwitch(), True, True),
        (OpenVSwitch(hw_offload="false"), True, True),
        (OpenVSwitch(hw_offload="true"), True, None),
        (OpenVSwitch(host_service=False), True, None),
        (OpenVSwitch(fault="x"), True, None),
        (OpenVSwitch(hw_offload="true"), False, None),
        (OpenVSwitch(hw_offload="true", offload_is_ours=True), False, False),
        (OpenVSwitch(hw_offload="true", offload_is_ours=True), None, None),
        (OpenVSwitch(host_service=False, hw_offload="true", offload_is_ours=True), False, None),
    ],
)
def test_offload(ovs: OpenVSwitch | None, wanted: bool | None, enabled: bool | None) -> None:
    plan = plan_of(replace(an_inventory(), ovs=ovs), ovs_offload=wanted)
    assert [step.args["enabled"] for step in plan.steps] == ([] if enabled is None else [enabled])
    assert [step.op for step in plan.steps] == ([] if enabled is None else ["ovs.set_offload"])
    assert plan.disruption is Disruption.NONE


def test_offload_that_waits_for_a_restart_is_told() -> None:
    ovs = OpenVSwitch(hw_offload="true", offload_is_ours=True, restart_pending=True)
    (problem,) = plan_of(an_inventory(ovs=ovs), ovs_offload=True).problems
    assert problem.severity is Severity.WARNING
    assert "restart it" in problem.hint


def test_offload_that_cannot_be_seen_to_is_told() -> None:
    ovs = OpenVSwitch(fault="it hung up")
    (problem,) = plan_of(an_inventory(ovs=ovs), ovs_offload=True).problems
    assert problem.severity is Severity.WARNING
    assert "it hung up" in problem.message
    assert plan_of(an_inventory(ovs=ovs)).problems == ()


def test_offload_is_given_back_when_all_is_known() -> None:
    assert given_back(an_inventory(), DesiredState()).ovs_offload is False
    assert given_back(an_inventory(), DesiredState(refused=(FIRST,))).ovs_offload is None
    assert given_back(an_inventory(), DesiredState(ovs_offload=True)).ovs_offload is True
