"""Bridges of Open vSwitch on the simulated ground: what is made, what is kept, whose it is, and what goes wrong."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from virtfn.errors import DeviceGone, HostError, NotEffective, NotPermitted, OvsRefused, WaitTimeout
from virtfn.host.machine import Machine
from virtfn.model import PciAddress
from virtfn.model.open_vswitch import Bridge, OpenVSwitch, Uplink
from virtfn.testing import FakeHost

PF = PciAddress.parse("0000:3b:00.0")
OTHER = PciAddress.parse("0000:3b:00.1")
UPLINK: dict[str, Any] = {"options": {}, "external_ids": {}, "other_config": {}}
BRIDGE: dict[str, Any] = {"datapath_type": "", "fail_mode": "", "external_ids": {}, "other_config": {}}


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", names=("ens1f0", "ens1f1"))
        host.ovs.start()
        yield host


@pytest.fixture
def machine(host: FakeHost) -> Machine:
    return Machine(host.kernel)


def seen(machine: Machine) -> OpenVSwitch:
    found = machine.open_vswitch()
    assert found is not None
    return found


def make(machine: Machine, name: str = "br-a", pf: PciAddress = PF) -> None:
    machine.bridges.set_bridge(pf, name, **BRIDGE)
    machine.bridges.set_uplink(pf, name, **UPLINK)


def test_without_open_vswitch_there_is_none() -> None:
    with FakeHost() as host:
        assert Machine(host.kernel).open_vswitch() is None


def test_a_database_that_cannot_be_read_is_told(host: FakeHost, machine: Machine) -> None:
    host.fail("select ovsdb", error=errno.EACCES)
    assert seen(machine).fault == "Permission denied"


def test_a_bridge_with_its_uplink(host: FakeHost, machine: Machine) -> None:
    ids, config = {"who": "me"}, {"hwaddr": "02:00:00:00:00:01"}
    settings = {"datapath_type": "system", "fail_mode": "secure", "external_ids": ids, "other_config": config}
    machine.bridges.set_bridge(PF, "br-a", **settings)
    uplink = {"options": {"a": "b"}, "external_ids": {"c": "d"}, "other_config": {"e": "f"}, "mtu_request": 9000}
    machine.bridges.set_uplink(PF, "br-a", **uplink)
    (bridge,) = seen(machine).bridges
    (there,) = bridge.uplinks
    assert bridge == Bridge("br-a", managed=True, pf=PF, ports=("ens1f0",), **settings, uplinks=(there,))
    assert there == Uplink("ens1f0", pf=PF, **uplink, mtu=9000, ofport=there.ofport)
    assert there.ofport


def test_keys_that_others_set_stay_and_ours_go(host: FakeHost, machine: Machine) -> None:
    machine.bridges.set_bridge(PF, "br-a", **BRIDGE | {"external_ids": {"a": "1", "b": "2"}})
    row = next(iter(host.ovs.tables["Bridge"].values()))
    host.ovs.change("Bridge", "br-a", external_ids={**dict(row["external_ids"][1]), "theirs": "3"})
    machine.bridges.set_bridge(PF, "br-a", **BRIDGE | {"external_ids": {"b": "4"}})
    assert seen(machine).bridges[0].external_ids == {"b": "4"}
    ids = dict(host.ovs.snapshot()["bridges"]["br-a"]["external_ids"][1])
    assert ids["theirs"] == "3"
    assert "a" not in ids


def test_an_uplink_is_changed_where_it_is(host: FakeHost, machine: Machine) -> None:
    make(machine)
    before = seen(machine).bridges[0].uplinks[0]
    machine.bridges.set_uplink(PF, "br-a", **UPLINK | {"mtu_request": 1400})
    after = seen(machine).bridges[0].uplinks[0]
    assert (after.ofport, after.mtu_request) == (before.ofport, 1400)


def test_an_mtu_that_the_driver_refuses(host: FakeHost, machine: Machine) -> None:
    """ovs-vswitchd tells it nowhere but in its log."""
    make(machine)
    with pytest.raises(NotEffective, match="cannot use interface ens1f0: its MTU is 1500, wanted 20000"):
        machine.bridges.set_uplink(PF, "br-a", **UPLINK | {"mtu_request": 20000})
    uplink = seen(machine).bridges[0].uplinks[0]
    assert (uplink.mtu_request, uplink.mtu) == (20000, 1500)


def test_there_is_one_uplink(host: FakeHost, machine: Machine) -> None:
    make(machine)
    make(machine, "br-b", OTHER)
    machine.bridges.set_bridge(OTHER, "br-a", **BRIDGE)
    machine.bridges.set_uplink(OTHER, "br-a", **UPLINK)
    assert {bridge.name: bridge.ports for bridge in seen(machine).bridges} == {"br-a": ("ens1f1",), "br-b": ()}


def test_an_uplink_in_error_is_made_anew(host: FakeHost, machine: Machine) -> None:
    make(machine)
    netdev = host.function(PF).netdev
    assert netdev is not None
    host.ovs.netdevs = frozenset
    assert "No such device" in seen(machine).bridges[0].uplinks[0].error
    with pytest.raises(NotEffective, match=r"0000:3b:00.0: cannot put ens1f0 into bridge br-a .*could not open"):
        machine.bridges.set_uplink(PF, "br-a", **UPLINK)
    host.ovs.netdevs = lambda: frozenset({"ens1f0"})
    machine.bridges.set_uplink(PF, "br-a", **UPLINK)
    assert seen(machine).bridges[0].uplinks[0].error == ""


def test_an_error_that_goes_away_in_a_moment(host: FakeHost, machine: Machine) -> None:
    machine.bridges.set_bridge(PF, "br-a", **BRIDGE)
    host.ovs.netdevs = frozenset
    host.after(0.5, lambda: setattr(host.ovs, "netdevs", lambda: frozenset({"ens1f0"})))
    machine.bridges.set_uplink(PF, "br-a", **UPLINK)


def test_a_datapath_that_is_not_there(machine: Machine) -> None:
    with pytest.raises(NotEffective, match="is datapath type nosuch there"):
        machine.bridges.set_bridge(PF, "br-a", **BRIDGE | {"datapath_type": "nosuch"})


def test_user_space_interfaces_need_no_netdev(host: FakeHost, machine: Machine) -> None:
    machine.bridges.set_bridge(PF, "br-a", **BRIDGE | {"datapath_type": "netdev"})
    host.move_to_namespace(PF)
    with pytest.raises(DeviceGone):
        machine.bridges.set_uplink(PF, "br-a", type="dpdk", **UPLINK)
    machine.bridges.set_uplink(PF, "br-a", name="ens1f0", type="dpdk", **UPLINK)
    assert seen(machine).bridges[0].uplinks[0].type == "dpdk"


def test_what_somebody_else_made_is_left_alone(host: FakeHost, machine: Machine) -> None:
    host.ovs.add_bridge("br-a", "ens1f1")
    before = host.ovs.snapshot()
    for act in (
        lambda: machine.bridges.set_bridge(PF, "br-a", **BRIDGE),
        lambda: machine.bridges.set_uplink(PF, "br-a", **UPLINK),
        lambda: machine.bridges.remove_bridge(PF, "br-a"),
    ):
        with pytest.raises(OvsRefused, match="bridge br-a was not made by virtfn"):
            act()
    machine.bridges.remove_uplink(PF, "br-a")
    machine.bridges.set_bridge(OTHER, "br-b", **BRIDGE)
    with pytest.raises(OvsRefused, match="bridge br-a was not made by virtfn"):
        machine.bridges.set_uplink(OTHER, "br-b", **UPLINK)
    after = host.ovs.snapshot()
    assert after["bridges"]["br-a"] == before["bridges"]["br-a"]


def test_a_bridge_that_is_made_at_the_same_moment(host: FakeHost, machine: Machine) -> None:
    transact = host.ovs.transact

    def race(operations: Any) -> Any:
        host.ovs.transact = transact  # type: ignore[method-assign]
        host.ovs.add_bridge("br-a")
        return transact(operations)

    def begin(call: Any) -> bool:
        if call.kind == "transact":
            host.ovs.transact = race  # type: ignore[method-assign]
        return False

    host.fail(begin, hang=True)
    with pytest.raises(OvsRefused, match="somebody else changed it at the same moment"):
        machine.bridges.set_bridge(PF, "br-a", **BRIDGE)
    assert not seen(machine).bridges[0].managed


def test_an_uplink_in_a_bond_that_somebody_made_of_it(host: FakeHost, machine: Machine) -> None:
    make(machine)
    host.ovs.delete_port("ens1f0")
    host.ovs.add_port("br-a", "bond0")
    host.ovs.interface("bond0")["name"] = "ens1f0"
    before = host.ovs.snapshot()
    with pytest.raises(OvsRefused, match=r"a part of port bond0, which virtfn did not make: .*del-port bond0"):
        machine.bridges.set_uplink(PF, "br-a", **UPLINK)
    assert host.ovs.snapshot() == before


@pytest.mark.parametrize(
    "record",
    [
        "",
        "no JSON",
        "[]",
        '{"br-a": null}',
        '{"br-a": {"uplinks": []}}',
        '{"br-a": {"uplinks": [{"pciAddress": "x"}]}}',
        '{"br-a": {"uplinks": [{"pciAddress": 1}]}}',
        '{"br-a": {"uplinks": [{}]}}',
        '{"br-b": {"uplinks": [{"pciAddress": "0000:3b:00.0"}]}}',
    ],
)
def test_a_record_that_does_not_name_the_bridge_hands_nothing_over(
    host: FakeHost, machine: Machine, record: str
) -> None:
    host.ovs.tree.plain("etc/sriov-operator/managed-ovs-bridges.json", record)
    host.ovs.add_bridge("br-a")
    assert not seen(machine).bridges[0].inherited
    with pytest.raises(OvsRefused, match="was not made by virtfn"):
        machine.bridges.set_bridge(PF, "br-a", **BRIDGE)


def test_removing_takes_only_ours(host: FakeHost, machine: Machine) -> None:
    host.ovs.add_bridge("br-theirs", "veth0")
    theirs = host.ovs.snapshot()["bridges"]
    make(machine)
    machine.bridges.remove_uplink(PF, "br-a")
    assert seen(machine).bridge("br-a") is not None
    assert seen(machine).holder("ens1f0") is None
    machine.bridges.remove_bridge(PF, "br-a")
    machine.bridges.remove_bridge(PF, "br-a")
    machine.bridges.remove_uplink(PF, "br-a")
    assert host.ovs.snapshot()["bridges"] == theirs
    assert len(host.ovs.tables["Interface"]) == 2


def test_a_switch_that_does_not_run(host: FakeHost, machine: Machine) -> None:
    make(machine)
    host.ovs.stop_switch()
    with pytest.raises(WaitTimeout, match=r"waited 15 s for ovs-vswitchd to follow.*is ovs-vswitchd running"):
        machine.bridges.set_bridge(PF, "br-b", **BRIDGE)
    machine.bridges.remove_bridge(PF, "br-a")  # nobody holds what was in it
    assert [bridge.name for bridge in seen(machine).bridges] == ["br-b"]
    host.ovs.start_switch()
    machine.bridges.set_bridge(PF, "br-b", **BRIDGE)


def test_a_port_without_a_number_is_not_taken_up(host: FakeHost, machine: Machine) -> None:
    make(machine)
    host.ovs.stop_switch()
    host.ovs.change("Interface", "ens1f0", ofport=["set", []])
    assert seen(machine).bridges[0].uplinks[0].ofport is None
    assert not seen(machine).switch_runs


@pytest.mark.parametrize(
    ("fault", "error", "gist"),
    [
        ({"error": errno.ECONNREFUSED}, OvsRefused, "is ovsdb-server running"),
        ({"error": errno.EPROTO, "text": "it hung up"}, OvsRefused, "it hung up"),
        ({"error": errno.EACCES}, NotPermitted, "run as root"),
        ({"hang": True}, WaitTimeout, "does not answer in time"),
        (
            {"lie": [{"error": "constraint violation", "details": "two of a kind"}]},
            OvsRefused,
            "constraint violation: two of a kind",
        ),
    ],
)
def test_a_transaction_that_fails(
    host: FakeHost, machine: Machine, fault: dict[str, Any], error: type[HostError], gist: str
) -> None:
    make(machine)
    before = host.ovs.snapshot()
    host.fail("transact ovsdb", **fault)
    with pytest.raises(error, match=gist) as caught:
        machine.bridges.remove_bridge(PF, "br-a")
    assert str(caught.value).startswith("0000:3b:00.0: cannot remove bridge br-a")
    assert host.ovs.snapshot() == before


def test_a_database_that_goes_away_in_the_middle(host: FakeHost, machine: Machine) -> None:
    machine.bridges.set_bridge(PF, "br-a", **BRIDGE)
    host.ovs.answers = False
    with pytest.raises(OvsRefused, match="nothing answers"):
        machine.bridges.set_uplink(PF, "br-a", **UPLINK)
    host.ovs.answers = True
    machine.bridges.set_uplink(PF, "br-a", **UPLINK)


def test_a_database_that_was_never_used() -> None:
    with FakeHost() as host:
        host.ovs.answers = True
        assert "never started" in seen(Machine(host.kernel)).fault
        with pytest.raises(OvsRefused, match="never started"):
            Machine(host.kernel).bridges.set_offload(enabled=True)


@pytest.mark.parametrize("before", [None, "false", "true"])
def test_offload_and_back(host: FakeHost, machine: Machine, before: str | None) -> None:
    config = {"other": "x"} | ({"hw-offload": before} if before else {})
    host.ovs.change("Open_vSwitch", ".", other_config=config)
    start = host.ovs.snapshot()
    machine.bridges.set_offload(enabled=False)
    assert host.ovs.snapshot() == start
    machine.bridges.set_offload(enabled=True)
    machine.bridges.set_offload(enabled=True)
    there = seen(machine)
    assert (there.hw_offload, there.offload_is_ours, there.restart_pending) == ("true", True, True)
    host.ovs.start_switch()
    assert not seen(machine).restart_pending
    machine.bridges.set_offload(enabled=False)
    after = host.ovs.snapshot()
    assert dict(after["other_config"][1]) == config
    assert after["external_ids"] == start["external_ids"]


@pytest.mark.parametrize(
    ("group", "service"),
    [
        ("0::/system.slice/ovs-vswitchd.service", True),
        ("0::/", True),
        ("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-1.scope", False),
        ("12:pids:/kubepods/besteffort/pod0c1f1e6a-6f43-4b9e/1", False),
        ("0::/../../pod0c1f1e6a-6f43-4b9e-8c13-000000000000/abc", False),
        ("0::/system.slice/docker-abc.scope", False),
        ("0::/../../../../system.slice/ovs-vswitchd.service", True),
        ("0::/../../podc0ffee00c0ffee00c0ffee00c0ffee00/abc", False),  # of a static pod
    ],
)
def test_who_runs_it(host: FakeHost, machine: Machine, group: str, service: bool) -> None:
    host.ovs.tree.file(f"proc/{host.ovs.switch_pid}/cgroup", f"{group}\n")
    assert seen(machine).host_service is service


def test_where_its_process_is_not_seen_its_unit_tells() -> None:
    with FakeHost() as host:
        host.ovs.start(service=False)
        assert not seen(Machine(host.kernel)).host_service
        host.ovs.stop_switch()
        assert not seen(Machine(host.kernel)).host_service
        host.ovs.tree.plain("usr/lib/systemd/system/openvswitch-switch.service", "")
        assert seen(Machine(host.kernel)).host_service
        host.ovs.add_bridge("br-int", "pod_h")
        host.ovs.change("Interface", "pod_h", external_ids={"vendor": "kube-ovn"})
        assert not seen(Machine(host.kernel)).host_service
        host.ovs.delete_bridge("br-int")
        assert seen(Machine(host.kernel)).host_service
        host.ovs.add_bridge("br-int", "ovn0")  # kube-ovn's, before it has plugged any pod
        assert not seen(Machine(host.kernel)).host_service


def test_bridges_of_a_container_are_not_read() -> None:
    with FakeHost() as host:
        host.ovs.start(service=False)
        host.ovs.add_bridge("br-int")
        assert seen(Machine(host.kernel)).bridges == ()
