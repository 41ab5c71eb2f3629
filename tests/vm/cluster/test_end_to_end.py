"""A policy's whole life, from `kubectl apply` to the kernel and back: API server, controller, daemon, real cards.

What the cards are like is read from the guest's kernel, never from what the daemon reports; its reports are held
against that. The tests go on from each other: each says by `seven_vfs` and the like what it begins with.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from bed.sight import IGB, PhysicalFunction
from cluster.ground import DEFAULT, NODE, Cluster
from cluster.history import Version

FIRST = IGB[0]
NAMESPACE = DEFAULT.namespace
STATE = f"sriovnetworknodestates/{NODE}"
POLICY = "sriovnetworknodepolicies/first"
CURRENT_STATE = "sriovnetwork.openshift.io/current-state"
ALL_VFS = [f"0000:01:{10 + n // 4}.{n % 4 * 2}" for n in range(7)]
QUIET = 5.0


def policy(num_vfs: int, **spec: object) -> str:
    """A policy for the first card."""
    return json.dumps(
        {
            "apiVersion": "sriovnetwork.openshift.io/v1",
            "kind": "SriovNetworkNodePolicy",
            "metadata": {"name": "first", "namespace": NAMESPACE},
            "spec": {
                "resourceName": "first",
                "nodeSelector": {"kubernetes.io/hostname": NODE},
                "nicSelector": {"rootDevices": [FIRST]},
                "numVfs": num_vfs,
                **spec,
            },
        }
    )


def apply(cluster: Cluster, text: str) -> None:
    """Apply a policy, and wait until the node state's spec has it."""
    generation = _generation(cluster)
    cluster.kubectl("apply", "-f", "-", stdin=text)
    cluster.until("the spec is rendered", lambda: _generation(cluster) != generation)


def _generation(cluster: Cluster) -> int:
    state = cluster.node_state()
    assert state is not None
    generation: int = state["metadata"]["generation"]
    return generation


def reported(state: dict[str, Any], address: str = FIRST) -> dict[str, Any]:
    """What a node state says of a PF."""
    (found,) = (pf for pf in state["status"]["interfaces"] if pf["pciAddress"] == address)
    return dict(found)


def has_plan(version: Version) -> bool:
    """Whether a version of a node state tells of steps to be done."""
    return bool(version.status.get("plan", {}).get("steps"))


def assert_report_is_true(state: dict[str, Any], seen: PhysicalFunction) -> None:
    """The node state says of a card what its kernel says."""
    said = reported(state, seen.address)
    assert said.get("numVfs", 0) == seen.num_vfs
    assert seen.interface is not None
    assert (said["name"], said["mac"], said["mtu"]) == (seen.interface.name, seen.interface.mac, seen.interface.mtu)
    assert said["linkAdminState"] == ("up" if seen.interface.up else "down")
    assert [vf["pciAddress"] for vf in said.get("Vfs", [])] == [vf.address for vf in seen.vfs]
    assert [vf["vfID"] for vf in said.get("Vfs", [])] == list(range(seen.num_vfs))
    for vf, real in zip(said.get("Vfs", []), seen.vfs, strict=True):
        assert vf["driver"] == real.driver
        interface = real.interface
        expected = (interface.name, interface.mac, interface.mtu) if interface else ("", "", 0)
        assert (vf.get("name", ""), vf.get("mac", ""), vf.get("mtu", 0)) == expected


@pytest.fixture
def seven_vfs(cluster: Cluster) -> PhysicalFunction:
    """The first card has 7 VFs by the policy; made if need be."""
    if cluster.guest.look(FIRST).num_vfs != 7:
        apply(cluster, policy(7))
        cluster.until_in_sync()
        cluster.until("the controller has done its part", lambda: _is_at_rest(cluster))
    return cluster.guest.look(FIRST)


def test_a_node_reports_its_cards_and_is_left_alone(untouched: dict[str, PhysicalFunction], cluster: Cluster) -> None:
    state = cluster.until_in_sync()
    assert "interfaces" not in state.get("spec", {})
    addresses = {pf["pciAddress"] for pf in state["status"]["interfaces"]}
    assert set(IGB) <= addresses
    for address in IGB:
        assert_report_is_true(state, untouched[address])
    assert cluster.guest.look_at_all() == untouched


def test_a_policy_becomes_vfs(untouched: dict[str, PhysicalFunction], cluster: Cluster) -> None:
    mark = cluster.history.mark()
    apply(cluster, policy(7, mtu=2000))
    cluster.kubectl("wait", "-n", NAMESPACE, STATE, "--for=condition=Ready", "--timeout=60s")
    state = cluster.until_in_sync()

    seen = cluster.guest.look(FIRST)
    assert [vf.address for vf in seen.vfs] == ALL_VFS
    assert seen.drivers() == ["igbvf"] * 7
    assert seen.interface is not None
    assert (seen.interface.up, seen.interface.mtu) == (True, 2000)
    macs = {vf.admin_mac for vf in seen.vfs}
    assert len(macs) == 7
    assert not macs & {None, "00:00:00:00:00:00"}
    for vf in seen.vfs:
        assert vf.interface is not None
        assert (vf.interface.mac, vf.interface.mtu) == (vf.admin_mac, 2000)
    others = {address: pf for address, pf in untouched.items() if address != FIRST}
    assert {address: pf for address, pf in cluster.guest.look_at_all().items() if address != FIRST} == others
    assert_report_is_true(state, seen)
    assert "plan" not in state["status"]
    assert "Succeeded" in cluster.kubectl("get", "-n", NAMESPACE, STATE)

    # It was told before it was done, and took nothing from anybody: no drain.
    versions = cluster.history.since(mark)
    planned = next(version for version in versions if has_plan(version))
    assert "sriov.set_numvfs" in [step["op"] for step in planned.status["plan"]["steps"]]
    assert reported(planned.object).get("numVfs", 0) == 0
    assert {version.status.get("neededState", "Idle") for version in versions} == {"Idle"}
    assert "unschedulable" not in cluster.node()["spec"]


def test_fewer_vfs_for_user_space_wait_for_the_drain(cluster: Cluster, seven_vfs: PhysicalFunction) -> None:
    cluster.create_pod("holder", vfs=[seven_vfs.vfs[5].address], labels={"app": "holder"})
    cluster.create_pod("bystander")
    cluster.kubectl("create", "pdb", "guard", "--selector=app=holder", "--min-available=1")
    others = {name: uid for name, uid in cluster.pods().items() if name != "holder"}

    apply(cluster, policy(3, deviceType="vfio-pci"))
    state = cluster.until("the drain is asked for", lambda: _needs(cluster, "Drain_Required"))
    plan = state["status"]["plan"]
    assert plan["affects"] == ALL_VFS
    assert plan["generation"] == state["metadata"]["generation"]
    assert state["status"]["syncStatus"] == "InProgress"
    cluster.until("the drain is held up", lambda: _condition(cluster, "Drained") == "EvictionBlocked")
    assert cluster.guest.look(FIRST) == seven_vfs
    assert "holder" in cluster.pods()

    cluster.kubectl("delete", "pdb", "guard")
    cluster.until("the pod is evicted", lambda: "holder" not in cluster.pods())
    state = cluster.until_in_sync()
    seen = cluster.guest.look(FIRST)
    assert [vf.address for vf in seen.vfs] == ALL_VFS[:3]
    assert seen.drivers() == ["vfio-pci"] * 3
    assert_report_is_true(state, seen)
    assert cluster.pods() == others
    cluster.until("the drain is over", lambda: _annotation(cluster, CURRENT_STATE) == "Idle")
    assert "unschedulable" not in cluster.node()["spec"]
    assert not [name for name in cluster.node()["metadata"]["annotations"] if name == "virtfn.io/cordoned"]


def test_all_that_was_done_is_among_the_rights_that_are_deployed(cluster: Cluster, seven_vfs: PhysicalFunction) -> None:
    """Before a server starts anew, which refuses everybody for a moment: it has to read the roles first."""
    assert cluster.writes("virtfn-daemon")["patch sriovnetworknodestates/status"] > 0
    assert cluster.writes("virtfn-controller")["create pods/eviction"] > 0
    for log in (cluster.guest.log("daemon"), cluster.controller.log.read_text(encoding="utf-8")):
        assert "is not allowed" not in log


def test_a_daemon_that_starts_again_does_nothing(cluster: Cluster, seven_vfs: PhysicalFunction) -> None:
    before, written = cluster.node_state(), cluster.writes("virtfn-daemon")
    cluster.stop_daemon()
    assert cluster.guest.look(FIRST) == seven_vfs
    cluster.start_daemon()
    cluster.until("the daemon is ready", lambda: cluster.daemon_page("/readyz"))
    cluster.quiet(QUIET)
    assert cluster.guest.look(FIRST) == seven_vfs
    assert cluster.node_state() == before
    assert cluster.writes("virtfn-daemon") == written


def test_the_api_server_goes_and_comes_back(cluster: Cluster, seven_vfs: PhysicalFunction) -> None:
    before = cluster.node_state()
    cluster.server.kill()
    cluster.quiet(QUIET)
    assert cluster.guest.status("daemon") is None
    assert cluster.guest.look(FIRST) == seven_vfs
    cluster.server.start()
    assert cluster.node_state() == before
    apply(cluster, policy(7, mtu=9000))
    state = cluster.until_in_sync()
    seen = cluster.guest.look(FIRST)
    assert seen.interface is not None
    assert seen.interface.mtu == 9000
    assert_report_is_true(state, seen)


def test_a_deleted_policy_gives_the_card_back(
    cluster: Cluster, untouched: dict[str, PhysicalFunction], seven_vfs: PhysicalFunction
) -> None:
    generation = _generation(cluster)
    cluster.kubectl("delete", "-n", NAMESPACE, POLICY)
    cluster.until("the spec is rendered", lambda: _generation(cluster) != generation)
    state = cluster.until_in_sync()
    assert cluster.guest.look_at_all() == untouched
    assert_report_is_true(state, untouched[FIRST])
    cluster.until("the drain is over", lambda: _annotation(cluster, CURRENT_STATE) == "Idle")
    assert "unschedulable" not in cluster.node()["spec"]
    cluster.stop_daemon()


def _needs(cluster: Cluster, what: str) -> dict[str, Any] | None:
    state = cluster.node_state()
    return state if state is not None and state.get("status", {}).get("neededState") == what else None


def _condition(cluster: Cluster, kind: str) -> str:
    """The reason of one."""
    state = cluster.node_state() or {}
    conditions = state.get("status", {}).get("conditions", [])
    return next((each["reason"] for each in conditions if each["type"] == kind), "")


def _is_at_rest(cluster: Cluster) -> bool:
    """Whether the drain is over, and the device plugin has heard of its new configuration."""
    state = cluster.node_state() or {}
    offered = state.get("status", {}).get("devicePlugin", {}).get("revision", "")
    told = _annotation(cluster, "virtfn.io/device-plugin-revision")
    return (_annotation(cluster, CURRENT_STATE), _condition(cluster, "Drained"), told) == ("Idle", "NotNeeded", offered)


def _annotation(cluster: Cluster, name: str) -> str:
    state = cluster.node_state() or {"metadata": {}}
    return str(state["metadata"].get("annotations", {}).get(name, ""))
