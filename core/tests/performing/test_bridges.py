"""Whatever somebody does to Open vSwitch: one plan brings it to what is wanted, and nothing of theirs is lost by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from virtfn.host.machine import Machine
from virtfn.model import DesiredState, PciAddress, Plan
from virtfn.model.desired import DesiredBridge
from virtfn.observing import read_inventory
from virtfn.performing.operations import check_args, perform_standard
from virtfn.planning import given_back, make_plan
from virtfn.testing import FakeHost

PFS = (PciAddress.parse("0000:3b:00.0"), PciAddress.parse("0000:3b:00.1"))
NAMES = ("ens1f0", "ens1f1")

_map = st.dictionaries(st.sampled_from(["a", "b", "c d"]), st.sampled_from(["", "1", '"'])).map(dict)
_bridge = st.builds(
    DesiredBridge,
    name=st.sampled_from(["br-a", "br-b"]),
    uplink=st.sampled_from(PFS),
    datapath_type=st.sampled_from(["", "netdev"]),
    fail_mode=st.sampled_from(["", "secure"]),
    external_ids=_map,
    other_config=_map,
    interface_options=_map,
    interface_external_ids=_map,
    mtu_request=st.sampled_from([None, 1400]),
)
_wanted = st.lists(_bridge, max_size=2, unique_by=(lambda each: each.name, lambda each: each.uplink))
_meddling = st.lists(
    st.one_of(
        st.tuples(st.just("delete_port"), st.sampled_from(NAMES)),
        st.tuples(st.just("delete_bridge"), st.sampled_from(["br-a", "br-b"])),
        st.tuples(st.just("add_port"), st.sampled_from(["br-a", "br-b"])),
        st.tuples(st.just("set"), st.sampled_from(["fail_mode", "external_ids", "other_config"])),
        st.tuples(st.just("restart"), st.just("")),
    ),
    max_size=4,
)


def meddle(host: FakeHost, what: str, name: str) -> None:
    """What a person does who does not know of virtfn; nothing where it cannot be done."""
    bridges = host.ovs.snapshot()["bridges"]
    match what:
        case "delete_port" if any(name in row["ports"] for row in bridges.values()):
            host.ovs.delete_port(name)
        case "delete_bridge" if name in bridges:
            host.ovs.delete_bridge(name)
        case "add_port" if name in bridges and f"veth-{name}" not in bridges[name]["ports"]:
            host.ovs.add_port(name, f"veth-{name}")
        case "set" if "br-a" in bridges:
            kept = dict(bridges["br-a"]["external_ids"][1])
            values: dict[str, Any] = {
                "fail_mode": "standalone",
                "external_ids": {**{key: f"{value}!" for key, value in kept.items()}, **_marks(kept), "theirs": "1"},
                "other_config": {},
            }
            host.ovs.change("Bridge", "br-a", **{name: values[name]})
        case "restart":
            host.ovs.start_switch()


def _marks(ids: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in ids.items() if key.startswith("virtfn.io/")}


def plan_of(machine: Machine, desired: DesiredState) -> Plan:
    def no_hooks(adapter: object) -> Any:
        raise AssertionError(f"nothing is wanted of {adapter}")

    inventory = read_inventory(machine)
    return make_plan(inventory, given_back(inventory, desired), no_hooks)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(rounds=st.lists(st.tuples(_wanted, _meddling), min_size=1, max_size=3), offload=st.booleans())
def test_one_plan_is_enough_and_theirs_stays(rounds: list[Any], offload: bool) -> None:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", names=NAMES)
        host.ovs.start()
        host.ovs.add_bridge("br-theirs", "veth0", external_ids={"a": "1"})
        start = host.ovs.snapshot()
        machine = Machine(host.kernel)
        for wanted, meddling in [*rounds, ([], [])]:
            desired = DesiredState(bridges=tuple(wanted), ovs_offload=(offload and bool(wanted)) or None)
            for _ in range(2):
                plan = plan_of(machine, desired)
                assert plan.errors == ()
                for step in plan.steps:
                    check_args(step)
                    perform_standard(step, machine)
                left = plan_of(machine, desired)
                assert (left.steps, left.errors) == ((), ())
                there = host.ovs.snapshot()["bridges"]
                assert there["br-theirs"] == start["bridges"]["br-theirs"]
                assert there.keys() == {"br-theirs", *(bridge.name for bridge in wanted)}
                for bridge in wanted:
                    assert NAMES[PFS.index(bridge.uplink)] in there[bridge.name]["ports"]
                    ids = dict(there[bridge.name]["external_ids"][1])
                    assert ids.keys() - _marks(ids).keys() - {"theirs"} == bridge.external_ids.keys()
                for what, name in meddling:
                    meddle(host, what, name)
        assert host.ovs.snapshot() == start


def test_a_pf_in_a_bond_of_somebody_else_is_seen() -> None:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", names=NAMES)
        host.ovs.start()
        host.ovs.add_bridge("br-theirs", "bond0")
        machine = Machine(host.kernel)
        port = next(row for row in host.ovs.tables["Port"].values() if row["name"] == "bond0")
        host.ovs.interface("bond0")["name"] = "ens1f0"
        assert port["name"] == "bond0"
        inventory = read_inventory(machine)
        want = DesiredState(bridges=(DesiredBridge("br-a", PFS[0]),))
        (problem,) = plan_of(machine, replace(want)).errors
        assert "is a port of bridge br-theirs" in problem.message
        assert inventory.ovs is not None
        assert inventory.ovs.holder("ens1f0") is not None
