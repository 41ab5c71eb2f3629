"""The daemon against a real API server: what it reports, asks for and does, and what it leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from kube.daemon.conftest import NAME, OTHER_PF, Bench, interface

from virtfn.cluster.kinds import NODE_STATES
from virtfn.daemon.decision import Rules
from virtfn.daemon.gate import Disrupt
from virtfn.kube.apply import Applier
from virtfn.kube.resource import CONFIG_MAPS, EVENTS


def test_from_a_node_state_to_vfs_and_back(bench: Bench) -> None:
    bench.create()
    bench.begin()
    found = bench.until(lambda state: bool((state.get("status") or {}).get("interfaces")))["status"]
    assert [port["name"] for port in found["interfaces"]] == ["eth0", "eth1"]
    status = bench.until_synced(bench.want(interface()))
    assert status["interfaces"][0]["numVfs"] == 4
    assert (status["neededState"], "plan" in status) == ("Idle", False)
    assert bench.condition("Ready")["status"] == "True"
    assert {c["type"] for c in status["conditions"]} == {"Ready", "Drifted", "Blocked"}
    assert json.loads(bench.offer.read_text())["resourceList"][0]["resourceName"] == "net"
    assert status["devicePlugin"]["resources"] == ["net"]

    bench.want()
    status = bench.until_needed("Drain_Required")
    assert status["syncStatus"] == "InProgress"
    assert len(status["plan"]["affects"]) == 4
    assert bench.vfs() == 4, "nothing is done before the drain"
    bench.drained()
    status = bench.until_synced(bench.state["metadata"]["generation"])
    assert bench.vfs() == 0
    assert status["neededState"] == "Idle"
    assert set(status["devicePlugin"]) == {"revision"}, "nothing is offered"
    assert not bench.offer.exists()


def test_at_rest_nothing_is_written(bench: Bench) -> None:
    bench.create()
    bench.begin(period=0.2)
    bench.until_synced(bench.want(interface()))
    bench.quiet(1.0)
    before, version = bench.tally.counted("writes"), bench.state["metadata"]["resourceVersion"]
    turns, _ = bench.tally.timed("turns", of="node")
    bench.quiet(2.0)
    assert bench.tally.timed("turns", of="node")[0] > turns + 4
    assert bench.tally.counted("writes") == before
    assert bench.state["metadata"]["resourceVersion"] == version


def test_what_failed_is_in_the_status_and_in_an_event(bench: Bench) -> None:
    bench.create()
    bench.begin()
    bench.want(interface(vfs=20))
    status = bench.until(lambda state: (state.get("status") or {}).get("syncStatus") == "Failed")["status"]
    assert "0000:01:00.0 (eth0)" in status["lastSyncError"]
    assert bench.condition("Ready")["reason"] == "TooManyVfs"
    bench.until(lambda state: bool(events(bench, "SyncStatusChanged", "to: Failed")), what="an event")
    status = bench.until_synced(bench.want(interface(vfs=2)))
    assert "lastSyncError" not in status
    assert bench.vfs() == 2


def events(bench: Bench, reason: str, note: str) -> list[Any]:
    found = bench.client.list(EVENTS, namespace=bench.namespace)
    return [event for event in found if event.get("reason") == reason and note in event.get("note", "")]


def test_a_bad_interface_does_not_hold_up_the_other(bench: Bench) -> None:
    bench.create()
    bench.begin()
    bench.want(interface(vfs=2, vfGroups=[{"vfRange": "0-5"}]), interface(OTHER_PF, vfs=3))
    bench.until(lambda state: (state.get("status") or {}).get("syncStatus") == "Failed" and bench.vfs(OTHER_PF) == 3)
    assert "spec.interfaces[0].vfGroups[0].vfRange" in bench.status["lastSyncError"]
    assert bench.vfs() == 0


def test_what_others_write_into_the_status_is_put_right_and_their_condition_stays(bench: Bench) -> None:
    bench.create()
    bench.begin()
    bench.until_synced(bench.want(interface()))
    controller = Applier(
        bench.client, field_manager="virtfn-controller", digest_annotation="virtfn.io/applied", random=bench.random
    )
    drained = {"type": "Drained", "status": "False", "reason": "NotNeeded", "message": "no drain is needed"}
    since = {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    controller.apply_status(NODE_STATES, live=bench.state, status={"conditions": [{**drained, **since}]})
    bench.client.patch(
        NODE_STATES, name=NAME, namespace=bench.namespace, subresource="status",
        body={"status": {"syncStatus": "Failed", "lastSyncError": "somebody's idea"}}, field_manager="kubectl-edit",
    )  # fmt: skip
    bench.until(lambda state: state["status"]["syncStatus"] == "Succeeded" and "lastSyncError" not in state["status"])
    assert bench.condition("Drained")["reason"] == "NotNeeded"
    version = bench.state["metadata"]["resourceVersion"]
    bench.quiet()
    assert bench.state["metadata"]["resourceVersion"] == version


def test_a_node_state_that_is_deleted_takes_nothing_with_it(bench: Bench) -> None:
    bench.create()
    bench.begin()
    bench.until_synced(bench.want(interface()))
    assert bench.client.delete(NODE_STATES, name=NAME, namespace=bench.namespace)
    bench.quiet()
    assert bench.vfs() == 4
    bench.create()  # as a controller makes it, which has not seen the interfaces yet
    bench.until(lambda state: bool((state.get("status") or {}).get("interfaces")), what="the interfaces")
    assert bench.vfs() == 4
    assert bench.status["neededState"] == "Idle"
    bench.until_synced(bench.want(interface()))
    assert bench.vfs() == 4
    assert bench.tally.timed("steps", of="sriov.set_numvfs")[0] == 1


@pytest.mark.parametrize("mode", ["Report", "RepairIfFree", "RepairWithDrain"])
def test_drift(bench: Bench, mode: str) -> None:
    bench.create()
    bench.begin()
    bench.until_synced(bench.want(interface(vfs=2, driftMode=mode)))
    machine = bench.machine
    machine.set_num_vfs(bench.pf, 3)
    for vf in machine.vf_addresses(bench.pf).values():
        machine.bind_driver(vf, None)
    bench.host.move_to_namespace(machine.vf_addresses(bench.pf)[0])
    if mode == "RepairWithDrain":
        bench.until_needed("Drain_Required")
        assert bench.condition("Drifted")["reason"] == "DriftBeingRepaired"
        bench.drained()
    else:
        bench.until(lambda state: condition(state, "Drifted").get("status") == "True", what="the condition Drifted")
        assert bench.condition("Drifted")["reason"] == ("DriftReported" if mode == "Report" else "DriftInUse")
        assert (bench.status["syncStatus"], bench.condition("Ready")["reason"]) == ("Succeeded", "Drifted")
        assert bench.vfs() == 3
        if mode == "Report":
            return
        machine.unbind_driver(machine.vf_addresses(bench.pf)[0])
    bench.until(lambda state: condition(state, "Ready").get("status") == "True", what="the condition Ready")
    assert bench.vfs() == 2
    assert bench.condition("Drifted")["status"] == "False"


def condition(state: Any, name: str) -> Any:
    return next((c for c in (state.get("status") or {}).get("conditions", ()) if c["type"] == name), {})


def test_a_reboot_that_does_not_help_is_made_once(bench: Bench, knobs: Any) -> None:
    knobs.works = False
    bench.create()
    bench.begin()
    bench.want(interface())
    bench.until_needed("Reboot_Required")
    assert bench.status["plan"]["disruption"] == "REBOOT"
    assert knobs.sets == 0
    bench.drained()
    bench.until(lambda _: knobs.reboots == 1, what="the reboot")
    bench.end()
    knobs.boot()
    bench.begin()
    bench.until(lambda state: condition(state, "Blocked").get("status") == "True", what="the condition Blocked")
    status = bench.status
    assert bench.condition("Blocked")["reason"] == "RebootIneffective"
    assert (status["syncStatus"], status["neededState"]) == ("Failed", "Idle")
    assert status["attempts"][0]["count"] == 1
    bench.idle()
    bench.quiet()
    assert knobs.reboots == 1
    knobs.works = True
    bench.annotate(**{"virtfn.io/retry": "1"})
    bench.until_needed("Reboot_Required")
    bench.drained()
    bench.until(lambda _: knobs.reboots == 2, what="the second reboot")
    bench.end()
    knobs.boot()
    bench.begin()
    bench.until(lambda state: condition(state, "Ready").get("status") == "True", what="the condition Ready")
    assert bench.vfs() == 4
    assert "attempts" not in bench.status


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a thread is ended by force
def test_a_restart_in_the_middle(bench: Bench) -> None:
    bench.create()
    bench.begin()
    bench.until(lambda state: bool((state.get("status") or {}).get("interfaces")))
    fault = bench.end_at("drivers_probe")
    bench.want(interface())
    bench.until(lambda state: (state.get("status") or {}).get("syncStatus") == "InProgress")
    bench.until(lambda _: bench.vfs() == 4)
    bench.end()
    fault.clear()
    assert bench.status["plan"]["steps"], "it was told what was to be done"
    bench.begin()
    bench.until_synced(2)
    assert all(vf.driver == "igbvf" for vf in bench.machine.pf(bench.pf).vfs)


def test_a_config_map_in_place_of_the_node_state(bench: Bench) -> None:
    body = {"metadata": {"name": "sriov-configmap", "namespace": bench.namespace}, "data": {}}
    bench.client.create(CONFIG_MAPS, body=body)
    bench.settings = replace(bench.settings, config_map="sriov-configmap")
    bench.begin(rules=Rules(disrupt=Disrupt.IF_FREE))
    bench.say(NAME, {"interfaces": [interface(vfs=2)]})
    bench.until_vfs(2)
    bench.say(NAME, {"interfaces": [interface(vfs=3)]})
    bench.until_vfs(3)
    bench.say("another-node", {"interfaces": []})
    bench.quiet()
    assert bench.vfs() == 3
    bench.say(NAME, {"interfaces": []})
    bench.until_vfs(0)
    assert bench.client.find(NODE_STATES, name=NAME, namespace=bench.namespace) is None
