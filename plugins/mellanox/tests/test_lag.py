"""VF-LAG: what is missing is told, and only where somebody wants one resource of both ports of a bond."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from virtfn.host.machine import Machine
from virtfn.model import Adapter, DesiredAdapter, DesiredPf, EswitchMode, Severity, VfGroup, VfRange
from virtfn.observing import group_adapters
from virtfn.testing import FakeHost
from virtfn_mellanox.lag import bonds_of, lag_problems

SWITCHDEV = EswitchMode.SWITCHDEV


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        made.add_card("connectx-5", address="0000:3b:00", names=("ens1f0", "ens1f1"))
        yield made


def enslave(host: FakeHost, *names: str, bond: str = "bond0") -> None:
    """As the kernel shows a bond and its ports."""
    tree = host.model.tree
    tree.file(f"sys/devices/virtual/net/{bond}/bonding/mode", "802.3ad 4\n")
    tree.link(f"sys/class/net/{bond}", f"sys/devices/virtual/net/{bond}")
    for name in names:
        tree.link(f"sys/class/net/{name}/master", f"sys/devices/virtual/net/{bond}")


def adapter(host: FakeHost) -> Adapter:
    (found,) = group_adapters(Machine(host.kernel).network_functions())
    return found


def want(card: Adapter, *modes: EswitchMode | None, resources: tuple[str, str] = ("a", "a")) -> DesiredAdapter:
    pfs = tuple(
        DesiredPf(pf.address, 2, eswitch_mode=mode, groups=(VfGroup(VfRange(0, 1), name),))
        for pf, mode, name in zip(card.pfs, modes, resources, strict=True)
    )
    return DesiredAdapter(card.address, pfs)


def test_the_port_that_is_not_in_switchdev_mode_is_named(host: FakeHost) -> None:
    enslave(host, "ens1f0", "ens1f1")
    card = adapter(host)
    assert [pf.netdev.bond for pf in card.pfs if pf.netdev] == ["bond0"] * 2
    (told,) = lag_problems(card, want(card, SWITCHDEV, None))
    assert told.severity is Severity.WARNING
    assert told.object == "0000:3b:00.1 (ens1f1)"
    assert "bond0" in told.message
    assert "switchdev" in told.hint
    assert lag_problems(card, want(card, SWITCHDEV, SWITCHDEV)) == []


def test_nothing_is_told_where_nobody_asked_for_it(host: FakeHost) -> None:
    card = adapter(host)
    assert lag_problems(card, want(card, None, None)) == [], "no bond"
    enslave(host, "ens1f0")
    enslave(host, "ens1f1", bond="bond1")
    assert lag_problems(adapter(host), want(card, None, None)) == [], "two bonds"
    enslave(host, "ens1f1")
    card = adapter(host)
    assert lag_problems(card, want(card, None, None, resources=("a", "b"))) == [], "two resources"
    released = want(card, None, None)
    released = replace(released, pfs=tuple(replace(pf, release=True) for pf in released.pfs))
    assert lag_problems(card, released) == []
    assert len(lag_problems(card, want(card, None, None))) == 1


def observed(host: FakeHost) -> Adapter:
    card = adapter(host)
    return replace(card, facts=bonds_of(card, Machine(host.kernel)))


@pytest.mark.parametrize(
    ("mode", "ports", "said"),
    [
        ("802.3ad 4", "ens1f0 ens1f1", ""),
        ("active-backup 1", "ens1f1 ens1f0", ""),
        ("balance-xor 2", "ens1f0 ens1f1", ""),
        ("balance-rr 0", "ens1f0 ens1f1", "bond0 is in mode balance-rr"),
        ("802.3ad 4", "ens1f0 ens1f1 eno7", "eno7 is in bond0 too"),
    ],
)
def test_a_bond_that_the_card_cannot_stand_for(host: FakeHost, mode: str, ports: str, said: str) -> None:
    enslave(host, "ens1f0", "ens1f1")
    host.model.tree.file("sys/class/net/bond0/bonding/mode", f"{mode}\n")
    host.model.tree.file("sys/class/net/bond0/bonding/slaves", f"{ports}\n")
    card = observed(host)
    told = lag_problems(card, want(card, SWITCHDEV, SWITCHDEV))
    assert [said in problem.message for problem in told] == ([True] if said else [])
    assert lag_problems(card, want(card, SWITCHDEV, SWITCHDEV, resources=("a", "b"))) == []


def test_roce_that_differs_and_a_port_that_is_left_out(host: FakeHost) -> None:
    enslave(host, "ens1f0", "ens1f1")
    card = observed(host)
    first, second = card.pfs
    uneven = replace(card, pfs=(first, replace(second, params={"enable_roce": False})))
    (told,) = lag_problems(uneven, want(uneven, SWITCHDEV, SWITCHDEV))
    assert "RoCE is off on 0000:3b:00.1 (ens1f1)" in told.message
    off = replace(card, pfs=tuple(replace(pf, params={"enable_roce": False}) for pf in card.pfs))
    assert lag_problems(off, want(off, SWITCHDEV, SWITCHDEV)) == []
    assert first.netdev is not None
    left = replace(first.netdev, name="x", bond=None)
    third = replace(first, address=replace(first.address, function=2), netdev=left)
    more = replace(card, pfs=(*card.pfs, third))
    (told,) = lag_problems(more, want(card, SWITCHDEV, SWITCHDEV))
    assert "0000:3b:00.2 (x) is not in bond0" in told.message


def test_a_bridge_is_no_bond(host: FakeHost) -> None:
    host.model.tree.folder("sys/devices/virtual/net/br0")
    host.model.tree.link("sys/class/net/ens1f0/master", "sys/devices/virtual/net/br0")
    assert [pf.netdev.bond for pf in adapter(host).pfs if pf.netdev] == [None, None]
