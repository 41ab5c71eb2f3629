"""Cards of Intel in a simulated machine, with the plugin and generic behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import Adapter, DesiredPf, DesiredState, LinkType, Netdev, Outcome, PciAddress, PciId, Pf, Plan
from virtfn.node import Node
from virtfn.registry import Registry
from virtfn.testing import FakeHost
from virtfn_generic import GenericPlugin
from virtfn_intel import IntelPlugin

FIRST = PciAddress.parse("0000:3b:00.0")


def two_plugins() -> Registry:
    return Registry.for_testing({"8086": IntelPlugin, "generic": GenericPlugin})


class Ground:
    """A simulated machine and the whole cycle over it."""

    def __init__(self, journal: Path) -> None:
        self.host = FakeHost()
        self.node = Node(
            Machine(self.host.kernel),
            journal=Journal(journal),
            now=self.host.kernel.clock.monotonic,
            registry=lambda _ids: two_plugins(),
        )

    def adapter(self) -> Adapter:
        (adapter,) = self.node.observe().inventory.adapters
        return adapter

    def plan(self, *wanted: DesiredPf) -> Plan:
        return self.node.plan(self.node.observe(), DesiredState(pfs=wanted))

    def apply(self, *wanted: DesiredPf) -> tuple[Plan, Outcome]:
        desired = DesiredState(pfs=wanted)
        observation = self.node.observe()
        plan = self.node.plan(observation, desired)
        return plan, self.node.perform(plan, observation, desired)

    def release(self, *addresses: PciAddress) -> Outcome:
        observation = self.node.observe()
        desired = self.node.release(observation, addresses)
        return self.node.perform(self.node.plan(observation, desired), observation, desired)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path / "journal")
    with made.host:
        yield made


@pytest.fixture
def registry() -> Registry:
    return two_plugins()


@pytest.fixture
def pf() -> Callable[..., Pf]:
    """A PF by device id and driver, link up, MTU 1500, 8 VFs possible."""

    def make(device: str, driver: str, **changes: object) -> Pf:
        netdev = Netdev("ens1f0", 3, "b4:96:91:00:00:01", 1500, True, link_type=LinkType.ETH)
        made = Pf(FIRST, PciId("8086", device), driver=driver, netdev=netdev, total_vfs=8, drivers_autoprobe=True)
        return replace(made, **changes)  # type: ignore[arg-type]

    return make
