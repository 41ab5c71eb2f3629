"""What representors are called when a name is too long, or somebody else's: nothing fails for it, and it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredPf, DesiredState, EswitchMode, Outcome, PciAddress, Plan, functions
from virtfn.node import Node
from virtfn.testing.fakehost import FakeHost

PF = PciAddress.parse("0000:3b:00.0")
OTHER = PciAddress.parse("0000:5e:00.0")
SWITCHDEV = DesiredPf(PF, 3, eswitch_mode=EswitchMode.SWITCHDEV)
WANTED = DesiredState((SWITCHDEV,))


class Bench:
    def __init__(self, host: FakeHost, folder: Path) -> None:
        self.machine = Machine(host.kernel)
        self.node = Node(self.machine, journal=Journal(folder), now=lambda: 0.0)
        self.links = host.kernel.links

    def plan(self, desired: DesiredState = WANTED) -> Plan:
        return self.node.plan(self.node.observe(), desired)

    def apply(self, desired: DesiredState = WANTED) -> Outcome:
        seen = self.node.observe()
        outcome = self.node.perform(self.node.plan(seen, desired), seen, desired)
        assert outcome.failed is None
        return outcome

    def release(self) -> Outcome:
        return self.apply(self.node.release(self.node.observe(), [PF]))

    def rename(self, name: str, new: str) -> None:
        self.links.rename(self.links.link(name).ifindex, new)

    @property
    def names(self) -> list[str | None]:
        return [vf.representor for vf in self.machine.pf(PF).vfs]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", ports=1, names=["ens1"], up=True)
        host.add_card("82576", address="0000:5e:00", ports=1, names=["other"])
        yield Bench(host, tmp_path)


Taking = Callable[[Bench], None]


def before_they_come(bench: Bench) -> None:
    bench.rename("other", "ens1_1")


def later(bench: Bench) -> None:
    bench.apply()
    bench.rename("ens1_1", "eth7")
    bench.rename("other", "ens1_1")


@pytest.mark.parametrize("take", [before_they_come, later])
def test_a_name_that_another_netdev_has(bench: Bench, take: Taking) -> None:
    take(bench)
    bench.apply()
    own = bench.names[1]
    assert bench.names == ["ens1_0", own, "ens1_2"]
    assert own != "ens1_1"
    for _ in range(2):
        told = bench.plan()
        assert told.steps == ()
        assert [(one.object, one.reason, "`ip link show ens1_1`" in one.hint) for one in told.problems] == [
            (f"{PF} (ens1)", "NotEffective", True)
        ]
        assert "the representor of VF 1 is not called ens1_1" in told.problems[0].message
    bench.rename("ens1_1", "other")
    bench.apply()
    assert bench.names == ["ens1_0", "ens1_1", "ens1_2"]
    assert bench.plan() == Plan()


def test_names_that_representors_in_use_have(bench: Bench) -> None:
    bench.apply()
    for name, new in (("ens1_0", "eth7"), ("ens1_1", "ens1_0"), ("ens1_2", "ens1_1")):
        bench.rename(name, new)
    bench.links.set_link(bench.links.link("ens1_0").ifindex, up=True)
    assert bench.names == ["eth7", "ens1_0", "ens1_1"]
    bench.apply()
    assert bench.names == ["eth7", "ens1_0", "ens1_2"]
    told = bench.plan()
    assert told.steps == ()
    assert ["VF 0 is not called ens1_0" in one.message for one in told.problems] == [True]


@pytest.mark.parametrize("taken", [True, False])
def test_a_name_from_before_the_first_touch(bench: Bench, taken: bool) -> None:
    bench.machine.set_num_vfs(PF, 3, probe=False)
    bench.machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    before = bench.names
    assert before[0] is not None
    bench.apply()
    assert bench.names == ["ens1_0", "ens1_1", "ens1_2"]
    if taken:
        bench.rename("other", before[0])
    (named,) = [one for one in bench.release().steps if one.step.op == "eswitch.name_representors"]
    assert bench.names == (["ens1_0", *before[1:]] if taken else before)
    assert named.detail == (f"ens1_0, that of VF 0, keeps its name, as another netdev has {before[0]}" if taken else "")
    assert bench.node.observe().records == {}


def test_a_pf_with_a_long_name(bench: Bench) -> None:
    bench.rename("ens1", "enp193s0f0np0")
    pf = bench.machine.pf(PF)
    assert functions.representor_names(pf, SWITCHDEV)[2] == "enp193s0f0np0_2"
    assert functions.representor_names(pf, replace(SWITCHDEV, num_vfs=12))[2] == "enp193s0f0_2"
    bench.rename("enp193s0f0np0", "enp2s0withalong")
    told = bench.plan()
    assert ["enp2s0withalong_2 is longer than 15" in one.message for one in told.problems] == [True]
    bench.apply()
    assert bench.plan().steps == ()


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("enp2s0", ("enp2s0",)),
        ("enp193s0f1np1", ("enp193s0f1np1", "enp193s0f1")),
        ("eno12399np0s1", ("eno12399np0s1", "eno12399")),
        ("net0", ("net0",)),
    ],
)
def test_what_names_begin_with(name: str, bases: tuple[str, ...]) -> None:
    assert functions.representor_bases(name) == bases
