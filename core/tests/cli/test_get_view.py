"""The screen of `virtfn get`, from objects as the API server has them: how each node stands, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from virtfn.cli.get_judging import (
    controller_report,
    daemon_set_report,
    node_report,
    other_report,
    policy_report,
    pool_report,
)
from virtfn.cli.get_report import ClusterReport, NodeReport, Standing, count_nodes
from virtfn.cli.get_view import age, view

NOW = datetime(2026, 11, 26, 3, 0, 0, tzinfo=UTC)
GROUP = "sriovnetwork.openshift.io"
PF = "0000:3b:00.0"


def at(minutes: float) -> str:
    return (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str = "", *, minutes: float = 5) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(minutes)}


def pf(
    vfs: Sequence[str] = (), *, driver: str = "iavf", total: int = 8, mode: str = "legacy", **more: Any
) -> dict[str, Any]:
    """A PF; of each VF the netdev's name, empty while a pod has it."""
    found = [
        {"pciAddress": f"0000:3b:01.{index}", "vfID": index, "driver": driver, "name": name}
        for index, name in enumerate(vfs)
    ]
    return {
        **{"pciAddress": PF, "name": "ens1f0", "numVfs": len(found), "totalvfs": total, "eSwitchMode": mode},
        **{"linkAdminState": "up", "Vfs": found, **more},
    }


def wanted(count: int = 3, *, mode: str | None = None, **group: Any) -> dict[str, Any]:
    whole = {"resourceName": "fast", "policyName": "offload", "vfRange": f"0-{count - 1}", **group}
    entry = {"pciAddress": PF, "name": "ens1f0", "numVfs": count, "vfGroups": [whole]}
    return {"interfaces": [entry | ({"eSwitchMode": mode} if mode else {})]}


def state(
    name: str = "n1",
    sync: str = "Succeeded",
    *conditions: dict[str, Any],
    spec: dict[str, Any] | None = None,
    current: str = "",
    desired: str = "",
    **status: Any,
) -> dict[str, Any]:
    words = {"current-state": current, "desired-state": desired}
    annotations = {f"{GROUP}/{word}": value for word, value in words.items() if value}
    whole = {"syncStatus": sync, "observedGeneration": 2, "conditions": list(conditions), **status}
    return {
        "metadata": {"name": name, "generation": 2, "annotations": annotations},
        "spec": wanted() if spec is None else spec,
        "status": whole,
    }


def policy(name: str = "offload", *, nodes: int = 1, nics: int = 1, **more: Any) -> dict[str, Any]:
    status = {"observedGeneration": 1, "matchedNodes": nodes, "matchedNICs": nics, **more.pop("status", {})}
    spec = {"resourceName": "fast", "numVfs": 3, "nodeSelector": {}, "nicSelector": {}, **more}
    return {"metadata": {"name": name, "generation": 1}, "spec": spec, "status": status}


def cluster(*states: dict[str, Any], policies: Sequence[dict[str, Any]] = (), **more: Any) -> ClusterReport:
    nodes = tuple(node_report(each) for each in states)
    return ClusterReport(
        server="https://192.0.2.1:6443",
        namespace="kube-system",
        at=NOW,
        nodes=nodes,
        policies=tuple(policy_report(each) for each in policies),
        counts=count_nodes(nodes),
        **more,
    )


def screen(report: ClusterReport, *, width: int = 100, **more: Any) -> str:
    return "\n".join(line.plain for line in view(report, width=width, **more))


READY = condition("Ready", "True", "InSync", "1 PF as wanted", minutes=180)
WAITS = condition("Drained", "False", "WaitingForSlot", "pool gpu lets 1 of its 3 nodes be unavailable at once")
PLAN = {
    "digest": "3f2a",
    "disruption": "PF",
    "affects": ["0000:3b:01.0", "0000:3b:01.1"],
    "steps": [
        {"op": "sriov.set_numvfs", "target": PF, "disruption": "PF", "why": "has 2 VFs, wanted 3"},
        {"op": "link.set_up", "target": PF, "why": "is down"},
    ],
}


# --- how a node stands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "standing"),
    [
        (state("n", "Succeeded", READY), Standing.IN_SYNC),
        (state("n", "Succeeded"), Standing.IN_SYNC),
        (state("n", "Succeeded", observedGeneration=0), Standing.IN_SYNC),  # an older operator's daemon
        (state("n", "Succeeded", READY, observedGeneration=1), Standing.BEHIND),
        (state("n", ""), Standing.SILENT),
        ({"metadata": {"name": "n"}}, Standing.SILENT),
        (state("n", "InProgress"), Standing.IN_PROGRESS),
        (state("n", "InProgress", neededState="Drain_Required"), Standing.WAITING),
        (state("n", "InProgress", desired="Reboot_Required"), Standing.WAITING),
        (state("n", "InProgress", neededState="Drain_Required", current="Draining"), Standing.DRAINING),
        (state("n", "InProgress", neededState="Drain_Required", current="DrainComplete"), Standing.IN_PROGRESS),
        (state("n", "Failed", lastSyncError="no"), Standing.FAILED),
        (state("n", "Failed", condition("Blocked", "True", "RebootIneffective")), Standing.BLOCKED),
        (state("n", "Failed", condition("Blocked", "False", "NotBlocked")), Standing.FAILED),
        (
            state("n", "Succeeded", condition("Ready", "False", "Drifted"), condition("Drifted", "True", "Reported")),
            Standing.DRIFTED,
        ),
        (state("n", "Succeeded", condition("Ready", "False", "Odd")), Standing.NOT_READY),
        (state("n", "Succeeded", READY, condition("Drained", "False", "NotNeeded")), Standing.IN_SYNC),
    ],
)
def test_how_a_node_stands(thing: dict[str, Any], standing: Standing) -> None:
    assert node_report(thing).standing is standing


def test_a_node_that_is_gone_is_told_with_when_its_state_goes() -> None:
    thing = state("n", "Failed")
    thing["metadata"]["annotations"][f"{GROUP}/keep-state-until"] = "2026-11-26T03:30:00Z"
    report = cluster(thing)
    assert report.nodes[0].standing is Standing.GONE
    assert "kept until 2026-11-26T03:30:00Z" in screen(report)


# --- the screen -------------------------------------------------------------------------------------------------------


def test_a_cluster_in_sync_fits_in_a_few_lines() -> None:
    lease = {"spec": {"holderIdentity": "virtfn-abc", "renewTime": at(0.05), "leaseDurationSeconds": 15}}
    daemons = {
        "metadata": {"name": "virtfn-daemon"},
        "status": {"desiredNumberScheduled": 1, "numberReady": 1},
    }
    report = cluster(
        state("n1", "Succeeded", READY, interfaces=[pf(["v0", "", "v2"])]),
        policies=[policy()],
        pools=(pool_report({"metadata": {"name": "gpu"}, "spec": {"maxUnavailable": "30%"}}),),
        controller=controller_report(lease),
        daemon_sets=(daemon_set_report(daemons),),
    )
    assert screen(report) == (
        "namespace kube-system at https://192.0.2.1:6443, 2026-11-26 03:00:00 UTC\n"
        "controller: virtfn-abc leads, renewed 3s ago\n"
        "daemon set virtfn-daemon: 1 of 1 ready\n"
        "1 node: 1 in sync\n"
        "\n"
        "NODE  STANDS   SINCE  WHY\n"
        "n1    in sync  3h     1 PF as wanted, 3 VFs\n"
        "\n"
        "NODE  PF            NETDEV  VFS  MODE    LINK  VF GROUPS\n"
        "n1    0000:3b:00.0  ens1f0  3/8  legacy  up    fast 0-2 by offload, 1 in pods\n"
        "\n"
        "POLICY   PRIO  RESOURCE  NUMVFS  NODES  NICS  VFS  IN PODS  STATE\n"
        "offload  99    fast      3       1      1     3/3  1        ok\n"
        "\n"
        "POOL  NODES  MAX UNAVAILABLE  RDMA  STATE\n"
        "gpu   all    30%              -     ok"
    )


def test_what_a_node_in_sync_warns_of_is_told() -> None:
    warning = "Open vSwitch: hw-offload was switched on, and the ovs-vswitchd that runs was started before"
    ready = condition("Ready", "True", "InSync", f"1 PF as wanted; {warning}; and 2 more")
    told = screen(cluster(state("n1", "Succeeded", ready, interfaces=[pf(["v0"])])), width=160)
    assert f"  warning: {warning}; and 2 more" in told.splitlines()
    assert "warning" not in screen(cluster(state("n1", "Succeeded", READY, interfaces=[pf(["v0"])])))


def test_a_node_that_waits_is_told_with_plan_and_reason() -> None:
    thing = state(
        *("n2", "InProgress", condition("Ready", "False", "DrainRequired", "waits for a drain"), WAITS),
        **{"neededState": "Drain_Required", "plan": PLAN, "interfaces": [pf(["v0", "v1"])]},
        spec=wanted(mode="switchdev"),
    )
    assert screen(cluster(thing)) == (
        "namespace kube-system at https://192.0.2.1:6443, 2026-11-26 03:00:00 UTC\n"
        "1 node: 1 awaiting drain\n"
        "\n"
        "NODE  STANDS          SINCE  WHY\n"
        "n2    awaiting drain  5m     WaitingForSlot: pool gpu lets 1 of its 3 nodes be unavailable at once\n"
        "  Ready False, DrainRequired: waits for a drain\n"
        "  needs Drain_Required, drain is at Idle\n"
        "  plan 3f2a: 2 steps, disruption PF, 2 VFs lose traffic: 0000:3b:01.0, 0000:3b:01.1\n"
        "    0000:3b:00.0: sriov.set_numvfs, PF: has 2 VFs, wanted 3\n"
        "    and 1 more step\n"
        "\n"
        "NODE  PF            NETDEV  VFS            MODE                      LINK  VF GROUPS\n"
        "n2    0000:3b:00.0  ens1f0  2/8, wanted 3  legacy, wanted switchdev  up\n"
        "  fast 0-2 by offload, 2 of 3 there, 0 in pods\n"
        "\n"
        "no policy in namespace kube-system"
    )


def test_of_one_node_all_steps_are_told() -> None:
    told = screen(cluster(state("n2", "InProgress", plan=PLAN)), vfs=True)
    assert "    0000:3b:00.0: link.set_up, NONE: is down" in told
    assert "more step" not in told


def test_of_a_plan_that_takes_nothing_away_the_first_steps_are_told() -> None:
    step = {"op": "link.set_up", "target": PF, "why": "is down"}
    told = screen(cluster(state("n2", "InProgress", plan={"digest": "a", "steps": [step] * 8})))
    assert told.count("link.set_up, NONE: is down") == 6
    assert "and 2 more steps" in told


def test_a_blocked_node_is_told_with_attempts_and_the_command_that_lets_it_try_again() -> None:
    error = "0000:3b:00.0: a reboot did not bring IOMMU groups (switch the IOMMU on in the BIOS)"
    blocked = condition("Blocked", "True", "RebootIneffective", error, minutes=90)
    attempt = {"kind": "Reboot", "cause": "no IOMMU groups", "seen": "none", "count": 1, "last": at(95)}
    told = screen(
        cluster(
            state("n3", "Failed", condition("Ready", "False", "RebootIneffective", error), blocked, spec={},
                  lastSyncError=error, attempts=[attempt])
        ),
        width=80,
    )  # fmt: skip
    assert "n3    blocked  90m    RebootIneffective: 0000:3b:00.0: a reboot did not bring" in told
    assert told.count("switch the IOMMU on in the BIOS") == 1  # error, Ready and Blocked say the same
    assert f"Reboot tried 1 time, last {at(95)}: no IOMMU groups; seen after it: none" in told.replace("\n   ", "")
    command = "kubectl annotate -n kube-system sriovnetworknodestate n3 --overwrite virtfn.io/retry=20261126T030000Z"
    assert command in told.splitlines()[-3]  # whole, to be copied


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (state("n", "Failed", lastSyncError="0000:3b:00.0: no room (ENOMEM)"), "0000:3b:00.0: no room (ENOMEM)"),
        (state("n", ""), "its daemon has not reported: does its pod run?"),
        (state("n", observedGeneration=1), "has looked at generation 1 of 2"),
        (state("n", "InProgress", neededState="Drain_Required"), "the controller has not said anything yet"),
        (
            state("n", "InProgress", condition("Drained", "False", "NotNeeded"), neededState="Drain_Required"),
            "the controller has not said anything yet",  # but of what was before
        ),
        (
            state("n", "InProgress", condition("Drained", "False", "EvictionBlocked", "db-0: budget db"),
                  neededState="Drain_Required", current="Draining"),
            "EvictionBlocked: db-0: budget db",
        ),
        (
            state("n", "Succeeded", condition("Ready", "False", "Drifted"),
                  condition("Drifted", "True", "InUse", "MTU is 1500")),
            "InUse: MTU is 1500",
        ),
        (state("n", "InProgress", condition("Ready", "False", "Applying", "2 steps")), "Applying: 2 steps"),
        (state("n", spec={"interfaces": [{"numVfs": "x"}]}), "cannot be read: spec.interfaces.0"),
    ],
)  # fmt: skip
def test_why_a_node_stands_so_is_in_its_line_or_below(thing: dict[str, Any], words: str) -> None:
    assert words in screen(cluster(thing))


def test_of_many_nodes_only_those_not_in_sync_are_shown_and_the_rest_is_counted() -> None:
    fine = [state(f"a{number:04}", "Succeeded", READY) for number in range(1200)]
    slow = [state(f"b{number:02}", "InProgress", WAITS, neededState="Drain_Required") for number in range(30)]
    report = cluster(*fine, *slow, state("c", "Failed", lastSyncError="no"))
    told = screen(report)
    assert "1,231 nodes: 1 failed, 30 awaiting drain, 1,200 in sync" in told
    assert len(told.splitlines()) < 80
    lines = told.splitlines()
    assert lines[4].startswith("c     failed")  # the most pressing first
    assert "b08" in told
    assert "b09" not in told
    assert "not shown: 1,200 in sync, 21 awaiting drain (WaitingForSlot) (--all or --node NAME shows them)" in told
    assert "a0000" not in told
    assert "a1199" in screen(report, whole=True)


def test_a_few_nodes_are_all_shown() -> None:
    told = screen(cluster(*(state(f"n{number}", "Succeeded", READY) for number in range(10))))
    assert "n9" in told
    assert "not shown" not in told


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_longer_than_the_screen_but_commands_and_long_names(width: int) -> None:
    long = "this text says at some length what has gone wrong and what to do about it, " * 4
    report = cluster(
        state("n1", "Failed", condition("Ready", "False", "NoMemory", long), lastSyncError=long + "now"),
        state("n2", "InProgress", WAITS, neededState="Drain_Required", plan=PLAN | {"steps": PLAN["steps"] * 40}),
        state("n3", interfaces=[pf(["v0"])]),
        policies=[policy(status={"conditions": [condition("Ready", "False", "Conflict", long)]})],
    )
    told = screen(replace(report, notes=(long,)), width=width)
    assert [line for line in told.splitlines() if len(line) > width] == []
    assert "and 74 more steps" in told


def test_a_name_longer_than_a_column_moves_the_reason_to_its_own_line() -> None:
    name = "ip-10-0-117-23.eu-central-1.compute.internal-with-a-long-suffix"
    lines = screen(cluster(state(name, "Failed", lastSyncError="no room " * 8)), width=80).splitlines()
    assert f"{name}  failed" in lines[4]
    assert lines[5].startswith("  no room")


def test_what_a_node_reports_does_not_speak_to_the_terminal() -> None:
    nic = pf(["v0"], name="e\x1b[2Jth0")
    told = screen(cluster(state("n", "Failed", lastSyncError="a\x1b]0;owned\x07 b\nc\x9b31m", interfaces=[nic])))
    assert all(line.isprintable() for line in told.splitlines())
    assert "a?]0;owned b c?31m" in told


# --- who leads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "NONE LEADS (nobody has it)"),
        (
            {"holderIdentity": "a", "renewTime": at(30), "leaseDurationSeconds": 15},
            "NONE LEADS (the lease was last renewed 30m ago)",
        ),
        (
            {"holderIdentity": "", "renewTime": at(0), "leaseDurationSeconds": 1},
            "NONE LEADS (the lease was last renewed 0s ago)",
        ),
        ({"holderIdentity": "a", "renewTime": at(0), "leaseDurationSeconds": 15}, "a leads, renewed 0s ago"),
    ],
)
def test_whether_a_controller_leads(spec: dict[str, Any], words: str) -> None:
    assert words in screen(cluster(controller=controller_report({"spec": spec})))


# --- PFs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vfs", "driver", "more", "told"),
    [
        (["v0", "v1", "v2"], "iavf", {}, "3/8  legacy  up    fast 0-2 by offload, 0 in pods"),
        (["v0", "", ""], "iavf", {}, "fast 0-2 by offload, 2 in pods"),
        (["", "", ""], "vfio-pci", {}, "fast 0-2 by offload, ? in pods"),  # nobody can tell from here
        (["", "", ""], "", {}, "fast 0-2 by offload, 0 in pods"),  # without a driver no pod has it
        (["v0"], "iavf", {"vdpaType": "virtio"}, "1 of 3 there, ? in pods"),
    ],
)
def test_who_has_the_vfs_as_far_as_the_node_state_tells(
    vfs: list[str], driver: str, more: dict[str, Any], told: str
) -> None:
    thing = state(interfaces=[pf(vfs, driver=driver)], spec=wanted(**more))
    assert told in screen(cluster(thing), width=120)


def test_a_pf_that_is_wanted_and_not_there_is_told() -> None:
    assert "not there, wanted 3" in screen(cluster(state("n", "Failed", interfaces=[])))


def test_pfs_that_nothing_is_wanted_of_are_counted_and_of_one_node_shown() -> None:
    other = pf(pciAddress="0000:5e:00.0", name="ens2f0", Vfs=[], numVfs=0)
    plain = pf(pciAddress="0000:01:00.0", name="eth0", Vfs=[], numVfs=0, totalvfs=0)
    report = cluster(state(interfaces=[pf(["v0"]), other, plain]))
    assert "2 PFs without VFs and without policy not shown" in screen(report)
    whole = screen(report, vfs=True)
    assert "ens2f0" in whole
    assert "no SR-IOV" in whole


def test_the_vfs_of_one_node_are_told_with_the_pods_that_have_them() -> None:
    thing = state(interfaces=[pf(["v0", "", ""])])
    node = node_report(thing, holders={"0000:3b:01.1": "default/db-0"}, cordon="cordoned by virtfn")
    told = screen(ClusterReport("s", "ns", NOW, (node,), counts=count_nodes([node])), vfs=True)
    assert "  unschedulable: cordoned by virtfn" in told
    rows = [line.split() for line in told.splitlines() if line.startswith("ens1f0  ")]
    assert [(row[1], row[4], row[7], " ".join(row[8:])) for row in rows] == [
        ("0", "v0", "fast", "-"),
        ("1", "-", "fast", "default/db-0"),
        ("2", "-", "fast", "some pod"),
    ]


def test_what_only_some_vfs_have_is_a_column_where_one_has_it() -> None:
    def told(link: str = "ETH", **facts: str) -> list[list[str]]:
        nic = pf(["v0", "v1"], mode="switchdev", linkType=link)
        nic["Vfs"][0] |= {"representorName": "ens1f0_0"} | facts
        node = node_report(state(interfaces=[nic]), holders={})
        lines = screen(ClusterReport("s", "ns", NOW, (node,), counts={}), vfs=True, width=200).splitlines()
        start = next(place for place, line in enumerate(lines) if line.startswith("PF  "))
        return [line.split() for line in lines[start : start + 3]]

    plain = told()
    assert plain[0] == ["PF", "VF", "ADDRESS", "DRIVER", "NETDEV", "MTU", "REPRESENTOR", "RESOURCE", "POD"]
    assert plain[1][6:] == ["ens1f0_0", "fast", "-"]
    assert plain[2][6:] == ["-", "fast", "-"]
    assert told(guid="0011:2233:4455:6677") == plain
    rich = told("IB", vdpaType="vhost", guid="0011:2233:4455:6677")
    assert rich[0][6:] == ["REPRESENTOR", "VDPA", "GUID", "RESOURCE", "POD"]
    assert rich[1][6:] == ["ens1f0_0", "vhost", "0011:2233:4455:6677", "fast", "-"]
    assert rich[2][6:] == ["-", "-", "-", "fast", "-"]


# --- bridges and RDMA -------------------------------------------------------------------------------------------------

BRIDGE = "br-0000_3b_00.0"


def bridge(*, uplink: bool = True, interface: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    plugged = [{"pciAddress": PF, "name": "ens1f0", "interface": interface or {}}] if uplink else []
    return {"ovs": [{"name": BRIDGE, "bridge": settings, "uplinks": plugged}]}


@pytest.mark.parametrize(
    ("want", "have", "told"),
    [
        (bridge(failMode="secure"), bridge(failMode="secure"), f"n1    {BRIDGE}  {PF}  ens1f0  ok"),
        (bridge(), {}, f"n1    {BRIDGE}  {PF}  -       not there"),
        (bridge(), bridge(uplink=False), f"{PF}  -       it has no uplink that Open vSwitch can use"),
        (None, bridge(), "ens1f0  virtfn made it, and it is no longer wanted"),
        (
            bridge(failMode="secure", interface={"mtuRequest": 9000}),
            bridge(interface={"mtuRequest": 1500}),
            "other than wanted: bridge.failMode, uplink.interface.mtuRequest",
        ),
    ],
)
def test_a_bridge_is_told_with_its_uplink_and_what_is_wrong_with_it(
    want: dict[str, Any] | None, have: dict[str, Any], told: str
) -> None:
    spec = wanted(mode="switchdev") | ({"bridges": want} if want else {})
    text = screen(cluster(state("n1", spec=spec, bridges=have)), width=120)
    assert "NODE  BRIDGE           PF            UPLINK  STATE" in text
    assert told in text


def test_without_bridges_there_is_no_table_of_them() -> None:
    assert "BRIDGE" not in screen(cluster(state("n1", interfaces=[pf(["v0"])])), vfs=True)


def test_bridges_that_cannot_be_read_are_a_fault_and_hide_nothing_else() -> None:
    text = screen(cluster(state("n1", interfaces=[pf(["v0"])], bridges={"ovs": [{"uplinks": 3}]})))
    assert "cannot be read: status.bridges.ovs.0.name" in text
    assert PF in text


@pytest.mark.parametrize(
    ("want", "have", "whole", "told"),
    [
        ("", "shared", True, "  RDMA: shared mode"),
        ("exclusive", "exclusive", True, "  RDMA: exclusive mode"),
        ("exclusive", "shared", False, "  RDMA: shared mode, wanted exclusive"),
        ("exclusive", "", False, "  RDMA: no mode, wanted exclusive"),
        ("exclusive", "exclusive", False, ""),
        ("", "", True, ""),
    ],
)
def test_the_rdma_mode_is_told_where_it_differs_and_of_one_node_always(
    want: str, have: str, whole: bool, told: str
) -> None:
    spec = wanted() | ({"system": {"rdmaMode": want}} if want else {})
    thing = state("n1", spec=spec, system={"rdmaMode": have} if have else None)
    lines = [line for line in screen(cluster(thing), vfs=whole).splitlines() if "RDMA" in line]
    assert lines == ([told] if told else [])


# --- policies and pools -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (policy(nodes=0, nics=0), "selects no node"),
        (policy(nodes=2, nics=0), "selects no NIC"),
        (policy("default"), "has no effect"),
        (policy(status={"observedGeneration": 0}), "the controller has not looked at it yet"),
        (policy(status={"conditions": [condition("Ready", "False", "Overridden", "by x")]}), "Overridden: by x"),
        (policy(status={"conditions": [condition("Ready", "True", "Applied")]}), " ok"),
        (policy(status={"matchedNodes": "many"}), "cannot be read: status.matchedNodes"),
    ],
)
def test_what_became_of_a_policy(thing: dict[str, Any], words: str) -> None:
    assert words in screen(cluster(policies=[thing]), width=160)


def test_why_a_policy_selects_nothing_is_told_for_the_first_nodes() -> None:
    why = {"field": "spec.nicSelector.vendor", "message": "ens1f0: vendor is 8086, not 15b3"}
    nodes = [{"name": f"n{number}", "mismatch": why} for number in range(5)]
    told = screen(cluster(policies=[policy(nodes=5, nics=0, status={"nodes": nodes})]))
    assert "  n0: spec.nicSelector.vendor: ens1f0: vendor is 8086, not 15b3" in told
    assert "  and 2 more nodes where it selects nothing" in told


def test_vfs_of_a_policy_are_counted_over_all_nodes() -> None:
    states = [state(f"n{number}", interfaces=[pf(["v0", ""])]) for number in range(50)]
    told = screen(cluster(*states, policies=[policy(nodes=50, nics=50)]))
    assert "100/150  50       ok" in told


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        (None, "all"),
        ({"matchLabels": {"gpu": "yes"}}, "gpu=yes"),
        (
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]},
                                  {"key": "x", "operator": "Exists"}]},
            "zone in (a,b),x",
        ),
        ({"matchExpressions": 5}, "malformed"),
    ],
)  # fmt: skip
def test_a_pool_is_told_with_its_selector(selector: Any, words: str) -> None:
    pool = pool_report({"metadata": {"name": "p"}, "spec": {"nodeSelector": selector, "maxUnavailable": 0}})
    assert (pool.nodes, pool.max_unavailable) == (words, "0")
    assert words in screen(cluster(pools=(pool,)))


def test_what_else_is_not_ready_is_told_and_what_is_ready_is_not() -> None:
    bad = {
        "metadata": {"name": "net", "namespace": "apps"},
        "status": {"conditions": [condition("Ready", "False", "NamespaceNotFound", "there is no namespace x")]},
    }
    good = {"metadata": {"name": "default"}, "status": {"conditions": [condition("Ready", "True", "Deployed")]}}
    found = [other_report(each, kind="SriovNetwork", namespace="kube-system") for each in (bad, good, {"metadata": {}})]
    assert found[1:] == [None, None]
    assert found[0] is not None
    told = screen(cluster(others=(found[0],)))
    assert "NOT READY     NAME      WHY" in told
    assert "SriovNetwork  apps/net  NamespaceNotFound: there is no namespace x" in told
    assert "NOT READY" not in screen(cluster())


def test_notes_and_daemon_sets_that_are_not_ready_are_told() -> None:
    daemons = daemon_set_report({"metadata": {"name": "d"}, "status": {"desiredNumberScheduled": 3, "numberReady": 1}})
    told = screen(cluster(daemon_sets=(daemons,), notes=("not shown: pods",)))
    assert "daemon set d: 1 of 3 ready" in told
    assert told.endswith("note: not shown: pods")
    assert "no node state:" in told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172800, "2d"), (-5, "0s")],
)
def test_ages_are_short(seconds: int, told: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == told


def test_a_condition_of_somebody_else_hides_nothing() -> None:
    found: NodeReport = node_report(state("n", "Failed", {"type": "Odd"}, lastSyncError="no"))
    assert found.conditions[0].since is None
    assert "no" in screen(cluster(state("n", "Failed", {"type": "Odd"}, lastSyncError="no")))
