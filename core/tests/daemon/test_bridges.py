"""Bridges in the daemon's hands: made with their PF, told, repaired by the PF's own rule, given back."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from virtfn.model import PciAddress
from virtfn.registry import GENERIC, Registry
from virtfn.testing import FakeHost
from virtfn.testing.subject import subject_of

PF = PciAddress.parse("0000:3b:00.0")
BRIDGE = "br-0000_3b_00.0"
Rig = Any


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", names=("ens1f0", "ens1f1"))
        host.ovs.start()
        yield host


@pytest.fixture
def rig(host: FakeHost, rig: Rig) -> Rig:
    generic = subject_of(GENERIC).kind
    rig.registry = lambda ids: Registry.for_testing({GENERIC: generic})
    return rig


def want(rig: Rig, *, bridge: bool = True, vfs: int = 2, generation: int = 2, **more: Any) -> None:
    """What the controller renders for a policy with a bridge."""
    rig.want(rig.interface(PF, vfs=vfs, eSwitchMode="switchdev", name="ens1f0", **more), generation=generation)
    if bridge:
        uplink = {"pciAddress": str(PF), "name": "ens1f0", "interface": {"mtuRequest": 1500}}
        settings = {"failMode": "standalone", "externalIDs": {"site": "a"}}
        rig.request.spec["bridges"] = {"ovs": [{"name": BRIDGE, "bridge": settings, "uplinks": [uplink]}]}


def ops(rig: Rig) -> list[str]:
    return [step.op for step in rig.decision.whole.steps]


def ports(host: FakeHost, bridge: str = BRIDGE) -> list[str]:
    return host.ovs.snapshot()["bridges"][bridge]["ports"]


def test_a_bridge_comes_with_its_pf_and_is_told(rig: Rig, host: FakeHost) -> None:
    want(rig)
    rig.turn()
    assert host.function(PF).eswitch_mode == "switchdev"
    assert ports(host) == [BRIDGE, "ens1f0"]
    first = [step.op for step in rig.told[0].decision.due.steps]
    assert first[-3:] == ["ovs.set_bridge", "ovs.set_uplink", "ovs.set_offload"]
    assert rig.status.sync_status == "Succeeded"
    assert rig.status.bridges == rig.request.spec["bridges"]
    assert "the ovs-vswitchd that runs was started before" in rig.judged.message
    host.ovs.start_switch()
    rig.turn()
    assert rig.judged.message == "1 PF as wanted"


def test_the_next_turn_has_nothing_to_do(rig: Rig, host: FakeHost) -> None:
    want(rig)
    rig.turn()
    writes = len(host.writes)
    rig.restart()
    rig.turn()
    assert (ops(rig), len(host.writes)) == ([], writes)


def test_a_port_that_somebody_took_out_is_put_back(rig: Rig, host: FakeHost) -> None:
    want(rig)
    rig.turn()
    host.ovs.delete_port("ens1f0")
    rig.turns(60)
    assert ports(host) == [BRIDGE, "ens1f0"]
    drifts = [report.decision.drifts for report in rig.told if report.decision and report.decision.drifts]
    assert "ens1f0 is its uplink, and is not in it" in drifts[0][0].steps[0].why


def test_a_port_that_is_only_to_be_told_of(rig: Rig, host: FakeHost) -> None:
    want(rig, driftMode="Report")
    rig.turn()
    host.ovs.delete_port("ens1f0")
    rig.turns(60)
    assert ports(host) == [BRIDGE]
    assert (rig.judged.reason, "is not in it" in rig.judged.message) == ("Drifted", True)


def test_a_bridge_that_is_wanted_later_is_no_drift(rig: Rig, host: FakeHost) -> None:
    want(rig, bridge=False, driftMode="Report")
    rig.turn()
    want(rig, driftMode="Report", generation=3)
    rig.turn()
    assert ports(host) == [BRIDGE, "ens1f0"]


def test_a_bridge_that_is_no_longer_wanted_goes(rig: Rig, host: FakeHost) -> None:
    host.ovs.add_bridge("br-theirs", "veth0")
    before = host.ovs.snapshot()
    want(rig)
    rig.turn()
    want(rig, bridge=False, generation=3)
    rig.turn()
    assert host.ovs.snapshot()["bridges"] == before["bridges"]
    assert rig.status.bridges == {}
    rig.want(generation=4)
    rig.turns(30)
    if rig.status.needed_state == "Drain_Required":
        rig.drain()
        rig.turns(30)
    assert host.ovs.snapshot() == before
    assert host.function(PF).eswitch_mode == "legacy"
    assert rig.status.sync_status == "Succeeded"


def test_vfs_whose_representors_are_in_the_bridge_are_drained_for(rig: Rig, host: FakeHost) -> None:
    want(rig)
    rig.turn()
    vf = rig.machine.pf(PF).vfs[1]
    host.ovs.add_port(BRIDGE, vf.representor)
    want(rig, bridge=False, generation=3)
    rig.turn()
    assert BRIDGE in host.ovs.snapshot()["bridges"]
    assert rig.status.needed_state == "Drain_Required"
    assert rig.status.plan.affects == (str(vf.address),)
    rig.drain()
    rig.turn()
    assert host.ovs.snapshot()["bridges"] == {}


def test_after_a_boot_the_uplink_is_out_while_the_mode_changes(rig: Rig, host: FakeHost) -> None:
    want(rig)
    rig.turn()
    host.reboot()
    rig.restart()
    rig.turn()
    done = [step.op for step in rig.told[-2].decision.due.steps]
    assert done.index("ovs.remove_uplink") < done.index("eswitch.set_mode") < done.index("ovs.set_uplink")
    assert ports(host) == [BRIDGE, "ens1f0"]
    assert rig.status.sync_status == "Succeeded"


def test_without_open_vswitch_the_pf_is_done_and_the_bridge_is_told(rig: Rig, host: FakeHost) -> None:
    host.ovs.answers = False
    want(rig)
    rig.turn()
    assert host.function(PF).eswitch_mode == "switchdev"
    assert rig.status.sync_status == "Failed"
    assert f"bridge {BRIDGE}: bridges: Open vSwitch does not run on this node" in rig.status.last_sync_error
    host.ovs.answers = True
    rig.turns(60)
    assert ports(host) == [BRIDGE, "ens1f0"]
    assert rig.status.sync_status == "Succeeded"


def test_an_open_vswitch_in_a_container_is_not_touched(rig: Rig, host: FakeHost) -> None:
    host.ovs.tree.remove("usr/lib/systemd/system/ovs-vswitchd.service")
    host.ovs.start(service=False)
    before = host.ovs.snapshot()
    want(rig)
    rig.turn()
    assert host.function(PF).eswitch_mode == "switchdev"
    assert host.ovs.snapshot() == before
    assert "runs in a container" in rig.status.last_sync_error
    want(rig, bridge=False, generation=3)
    rig.turn()
    assert host.ovs.snapshot() == before
    assert rig.status.sync_status == "Succeeded"


def test_somebody_elses_bridge_is_told_and_left(rig: Rig, host: FakeHost) -> None:
    host.ovs.add_bridge(BRIDGE, "veth0")
    before = host.ovs.snapshot()["bridges"]
    want(rig)
    rig.turn()
    assert rig.status.sync_status == "Failed"
    assert "virtfn did not make it" in rig.status.last_sync_error
    rig.want(generation=3)
    rig.turns(30)
    assert host.ovs.snapshot()["bridges"] == before


def test_a_switch_that_does_not_run_is_found_out(rig: Rig, host: FakeHost) -> None:
    host.ovs.stop_switch()
    want(rig)
    rig.turn()
    assert rig.status.sync_status == "Failed"
    assert "is ovs-vswitchd running?" in rig.status.last_sync_error
    host.ovs.start_switch()
    rig.turns(60)
    assert ports(host) == [BRIDGE, "ens1f0"]
    assert rig.status.sync_status == "Succeeded"


def test_pfs_do_not_wait_for_hardware_offload(rig: Rig, host: FakeHost) -> None:
    want(rig, bridge=False)
    host.fail("transact ovsdb", error=errno.EPROTO, text="I/O error")
    rig.turns(60)
    assert host.function(PF).eswitch_mode == "switchdev"
    assert len(host.function(PF).vfs) == 2
    assert rig.status.sync_status == "Failed"
    assert "cannot set other_config:hw-offload (I/O error)" in rig.status.last_sync_error


def test_a_switch_that_has_ended_is_told_of(rig: Rig, host: FakeHost) -> None:
    want(rig)
    rig.turn()
    host.ovs.stop_switch()
    rig.turn()
    assert (ops(rig), rig.status.sync_status) == ([], "Succeeded")
    assert "no ovs-vswitchd is seen that would switch by it" in rig.judged.message
    host.ovs.start_switch()
    rig.turn()
    assert rig.judged.message == "1 PF as wanted"


@pytest.mark.parametrize("mode", ["legacy", "switchdev"])
def test_a_bridge_of_the_go_operator_is_taken_over(rig: Rig, host: FakeHost, mode: str) -> None:
    """Which leaves no mark in the database, but a file."""
    if mode == "switchdev":
        want(rig, bridge=False)
        rig.turn()
    settings = {"failMode": "standalone", "externalIDs": {"site": "a"}}
    uplinks = [{"pciAddress": str(PF), "name": "ens1f0", "interface": {}}]
    record = {BRIDGE: {"name": BRIDGE, "bridge": settings, "uplinks": uplinks}}
    host.ovs.tree.plain("etc/sriov-operator/managed-ovs-bridges.json", json.dumps(record))
    host.ovs.add_bridge(BRIDGE, "ens1f0", "rep0", external_ids={"site": "a", "theirs": "1"})
    host.ovs.change("Bridge", BRIDGE, fail_mode="standalone")
    number = host.ovs.interface("rep0")["ofport"]
    want(rig, generation=3)
    rig.turn()
    due = [step for told in rig.told for step in told.decision.due.steps if step.op == "ovs.set_bridge"]
    assert "made by an older operator" in due[0].why
    rig.turns(60)
    assert (ops(rig), rig.status.sync_status) == ([], "Succeeded")
    assert rig.status.bridges == rig.request.spec["bridges"]
    assert ports(host) == [BRIDGE, "ens1f0", "rep0"]
    assert host.ovs.interface("rep0")["ofport"] == number
    assert (
        dict(host.ovs.snapshot()["bridges"][BRIDGE]["external_ids"][1]).items() >= {"site": "a", "theirs": "1"}.items()
    )
    want(rig, bridge=False, generation=4)
    rig.turn()
    assert BRIDGE not in host.ovs.snapshot()["bridges"]


def test_a_bridge_of_the_go_operator_that_is_not_wanted_is_left(rig: Rig, host: FakeHost) -> None:
    record = {BRIDGE: {"name": BRIDGE, "uplinks": [{"pciAddress": str(PF), "name": "ens1f0"}]}}
    host.ovs.tree.plain("etc/sriov-operator/managed-ovs-bridges.json", json.dumps(record))
    host.ovs.add_bridge(BRIDGE, "ens1f0")
    before = host.ovs.snapshot()["bridges"]
    want(rig, bridge=False)
    rig.turns(60)
    assert host.ovs.snapshot()["bridges"] == before


@pytest.mark.parametrize("operation", range(3))
def test_a_process_that_ends_in_the_middle(rig: Rig, host: FakeHost, operation: int) -> None:
    want(rig)
    left = [operation]

    def end(call: Any) -> bool:
        if call.kind == "transact":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return False

    fault = host.fail(end, hang=True)
    with pytest.raises(KeyboardInterrupt):
        rig.turn()
    fault.clear()
    rig.restart()
    rig.turns(30)
    assert ports(host) == [BRIDGE, "ens1f0"]
    assert (rig.status.sync_status, ops(rig)) == ("Succeeded", [])


def test_a_bridge_of_a_pf_that_makes_no_vfs(rig: Rig, host: FakeHost, tmp_path: Path) -> None:
    rig.want()
    uplink = {"pciAddress": str(PF), "name": "ens1f0"}
    rig.request.spec["bridges"] = {"ovs": [{"name": "br-alone", "uplinks": [uplink]}]}
    rig.turn()
    assert ports(host, "br-alone") == ["br-alone", "ens1f0"]
    assert not (tmp_path / "journal" / f"{PF}.json").exists()
    rig.want(generation=3)
    rig.turn()
    assert host.ovs.snapshot()["bridges"] == {}
