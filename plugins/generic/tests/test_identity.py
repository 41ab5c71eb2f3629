"""GUIDs, the port's state and RDMA of VFs: planned from values, and brought about on a simulated card."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import (
    Adapter,
    DesiredPf,
    DesiredState,
    DeviceType,
    Disruption,
    Inventory,
    LinkType,
    OutcomeStatus,
    Pf,
    Plan,
    Platform,
    Vf,
    VfGroup,
    VfRange,
    VfSettings,
    steps,
)
from virtfn.model.guids import POOL_FILE, derived_guid, is_set, kernel_guid, parse_pools
from virtfn.model.rdma import UNSET_GUID, RdmaDevice, RdmaFacts
from virtfn.node import Node
from virtfn.planning import make_plan
from virtfn.registry import Registry
from virtfn.testing import FakeHost
from virtfn.testing.ground.card import Card, Quirks
from virtfn_generic import GenericPlugin

Make = Callable[..., Pf]
MakeVf = Callable[..., Vf]

ZERO = "00:00:00:00:00:00:00:00"
GUID = "02:00:00:00:00:00:00:0a"
OTHER = "02:00:00:00:00:00:00:0b"
PARENT = "0c:42:a1:03:00:00:3b:00"
ADDRESS = f"00:00:10:87:fe:80:00:00:00:00:00:00:{PARENT}"
GROUP = VfGroup(VfRange(0, 1), "ib", is_rdma=True)
READY = RdmaFacts(mode="shared")
MODULES = frozenset({"ib_uverbs", "rdma_ucm", "vfio_pci"})


class Rig:
    """A simulated node with the generic plugin alone."""

    def __init__(self, host: FakeHost, card: Card, folder: Path) -> None:
        self.host, self.card = host, card
        self.machine = Machine(host.kernel)
        self.pf = card.pf_address()
        registry = Registry.for_testing({"generic": GenericPlugin})
        journal = Journal(folder / "journal")
        self.node = Node(self.machine, journal=journal, now=lambda: 0.0, registry=lambda _: registry)

    def plan(self, *groups: VfGroup, count: int = 2) -> Plan:
        return self.node.plan(self.node.observe(), DesiredState((DesiredPf(self.pf, count, groups=groups),)))

    def apply(self, *groups: VfGroup, count: int = 2) -> Plan:
        seen, desired = self.node.observe(), DesiredState((DesiredPf(self.pf, count, groups=groups),))
        return self._perform(seen, desired)

    def reset(self) -> Plan:
        seen = self.node.observe()
        return self._perform(seen, self.node.release(seen, [self.pf]))

    def _perform(self, seen: object, desired: DesiredState) -> Plan:
        plan = self.node.plan(seen, desired)  # type: ignore[arg-type]
        outcome = self.node.perform(plan, seen, desired)  # type: ignore[arg-type]
        assert outcome.failed is None
        assert {each.status for each in outcome.steps} <= {OutcomeStatus.DONE}
        return plan

    def vf(self, index: int) -> Vf:
        return self.machine.pf(self.pf).vfs[index]

    def guids(self, index: int) -> tuple[str | None, ...]:
        """What the PF keeps, and what the VF's own device has."""
        vf = self.vf(index)
        assert vf.settings is not None
        return vf.settings.node_guid, vf.settings.port_guid, vf.rdma.node_guid if vf.rdma else None

    def pools(self, *guids: str) -> None:
        self.host.model.tree.plain(POOL_FILE.lstrip("/"), json.dumps([{"pciAddress": str(self.pf), "guids": guids}]))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with FakeHost() as host:
        yield Rig(host, host.add_card("connectx-6-ib", address="0000:3b:00", up=True), tmp_path)


@pytest.fixture
def plan(registry: Registry, pf: Make) -> Callable[..., Plan]:
    """A plan for 2 VFs of an InfiniBand PF."""

    def planner(
        *vfs: Vf,
        group: VfGroup = GROUP,
        pool: str = "",
        address: str = ADDRESS,
        device: str = kernel_guid(PARENT),
        **platform: object,
    ) -> Plan:
        card = pf()
        assert card.netdev is not None
        netdev = replace(card.netdev, link_type=LinkType.IB, mac=address, permanent_mac=None)
        card = replace(card, netdev=netdev, rdma=RdmaDevice("mlx_0", device, "InfiniBand"), vfs=vfs)
        facts = {"iommu": True, "modules": MODULES, "rdma": READY, **platform}
        known = Inventory(
            (Adapter(card.address.slot, (card,), owner="generic"),),
            Platform(**facts, guid_pools=parse_pools(pool) if pool else None),  # type: ignore[arg-type]
        )
        return make_plan(known, DesiredState((DesiredPf(card.address, 2, groups=(group,)),)), registry.hooks)

    return planner


@pytest.fixture
def ib_vf(vf: MakeVf) -> MakeVf:
    """A VF that is as wanted, unless told otherwise."""

    def make(
        index: int, *, guid: str | None = GUID, device: str | None = GUID, state: str = "auto", **more: object
    ) -> Vf:
        made = vf(index, **more)
        seen = RdmaDevice(f"mlx_{index}", kernel_guid(device)) if device else None
        settings = VfSettings(node_guid=guid, port_guid=guid, link_state=state)
        return replace(made, settings=settings, rdma=seen if made.driver == "cardvf" else None)

    return make


def told(plan: Plan, index: int = 0) -> list[tuple[str, dict[str, object]]]:
    return [
        (step.op, {name: value for name, value in step.args.items() if name != "vf"})
        for step in plan.steps
        if step.args.get("vf") == index
    ]


FOLLOW = (steps.SET_VF, {"link_state": "auto"})
BIND = (steps.BIND_DRIVER, {"driver": None})
UNBIND: tuple[str, dict[str, object]] = (steps.UNBIND_DRIVER, {})


def given(guid: str) -> tuple[str, dict[str, object]]:
    return (steps.SET_VF, {"node_guid": guid, "port_guid": guid})


DERIVED = derived_guid(PARENT, 0)


# --- planned ----------------------------------------------------------------------------------------------------------


def test_new_vfs_have_guids_and_follow_the_port_before_their_driver(plan: Callable[..., Plan]) -> None:
    made = plan()
    assert told(made) == [given(DERIVED), FOLLOW, BIND]
    assert told(made, 1)[0] == given(derived_guid(PARENT, 1))
    assert made.disruption is Disruption.REFRESH
    assert plan(group=replace(GROUP, is_rdma=False)).steps == made.steps, "without a GUID no VF works"


def test_vfs_as_wanted(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    assert plan(ib_vf(0), ib_vf(1)).steps == ()
    assert plan(ib_vf(0, device=None), ib_vf(1)).steps == ()
    assert plan(ib_vf(0, state="enable"), ib_vf(1)).steps == ()


@pytest.mark.parametrize("unset", [ZERO, "ff:ff:ff:ff:ff:ff:ff:ff"])
def test_a_vf_without_a_guid_loses_its_driver_for_a_moment_and_that_is_said(
    plan: Callable[..., Plan], ib_vf: MakeVf, unset: str
) -> None:
    vf = ib_vf(0, guid=unset, device=ZERO, state="disable")
    made = plan(vf, ib_vf(1))
    assert told(made) == [given(DERIVED), FOLLOW, UNBIND, BIND]
    assert (made.disruption, made.affects) == (Disruption.VFS, (vf.address,))


def test_a_guid_that_was_set_and_not_heard_of(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    assert told(plan(ib_vf(0, device=ZERO), ib_vf(1))) == [UNBIND, BIND]


def test_a_vf_in_a_pod_or_whose_driver_knows_no_guids_is_left_alone(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    pool = json.dumps([{"pciAddress": "0000:3b:00.0", "guids": [OTHER, GUID]}])
    in_pod = replace(ib_vf(0, guid=ZERO, device=None, state="disable"), netdev=None)
    assert plan(in_pod, ib_vf(1)).steps == ()
    shared = replace(ib_vf(0, state="disable"), netdev=None)
    assert shared.rdma is not None
    assert plan(shared, ib_vf(1), pool=pool).steps == (), "in the mode shared its RDMA device is seen all the same"
    assert plan(ib_vf(0, guid=None, device=None), ib_vf(1)).steps == ()


def test_a_kernel_that_does_not_tell_what_the_pf_keeps(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    """Before Linux 5.5: the VF's device says what it knows."""
    assert plan(ib_vf(0, guid=None), ib_vf(1)).steps == ()
    assert told(plan(ib_vf(0, guid=None, device=ZERO), ib_vf(1))) == [given(DERIVED), UNBIND, BIND]
    pool = json.dumps([{"pciAddress": "0000:3b:00.0", "guids": [GUID, OTHER]}])
    made = plan(ib_vf(0, guid=None), ib_vf(1, guid=None), pool=pool)
    assert (told(made), told(made, 1)) == ([], [given(OTHER), UNBIND, BIND])


def test_a_pf_without_a_guid_can_give_its_vfs_none(plan: Callable[..., Plan]) -> None:
    """Two such PFs would otherwise have VFs with the same GUIDs."""
    made = plan(address=f"00:00:10:87:fe:80:00:00:00:00:00:00:{ZERO}", device=UNSET_GUID)
    assert made.steps == ()
    (wrong,) = made.errors
    assert ("it has no GUID" in wrong.message, POOL_FILE in wrong.hint) == (True, True)
    assert told(plan(address=f"00:00:10:87:fe:80:00:00:00:00:00:00:{ZERO}"))[0] == given(DERIVED), "its device has one"


def test_a_vf_of_a_vm_gets_what_it_lacks_and_nothing_is_taken_from_it(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    group = replace(GROUP, is_rdma=False, device_type=DeviceType.VFIO_PCI)
    vfs = [ib_vf(0, guid=ZERO, driver="vfio-pci", state="disable"), ib_vf(1, driver="vfio-pci")]
    made = plan(*vfs, group=group)
    assert told(made) == [given(DERIVED), FOLLOW]
    assert made.disruption is Disruption.NONE
    pool = json.dumps([{"pciAddress": "0000:3b:00.0", "guids": [OTHER, GUID]}])
    assert plan(ib_vf(0, driver="vfio-pci"), vfs[1], group=group, pool=pool).steps == ()


def test_the_administrators_guids_stand_over_those_of_others(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    pool = json.dumps([{"pfGuid": ADDRESS, "guidsRange": {"start": GUID, "end": OTHER}}])
    assert told(plan(pool=pool), 1) == [given(OTHER), FOLLOW, BIND]
    made = plan(ib_vf(0), ib_vf(1), pool=pool)
    assert (told(made), told(made, 1)) == ([], [given(OTHER), UNBIND, BIND])
    half = plan(ib_vf(0), ib_vf(1, guid=OTHER), pool=pool)
    assert told(half, 1) == [UNBIND, BIND]


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("{", "cannot be used"),
        (
            json.dumps([{"pciAddress": "0000:99:00.0", "guids": [GUID]}]),
            f"the pools of GUIDs in {POOL_FILE} do not name it",
        ),
        (json.dumps([{"pciAddress": "0000:3b:00.0", "guids": [GUID]}]), "no GUID for VF 1"),
        (
            json.dumps([{"pciAddress": "0000:3b:00.0", "guids": [GUID]}, {"pfGuid": PARENT, "guids": [OTHER]}]),
            "2 pools of GUIDs for it, by 0000:3b:00.0 and 0c:42:a1:03:00:00:3b:00",
        ),
    ],
)
def test_pools_that_do_not_suffice_are_told(plan: Callable[..., Plan], pool: str, said: str) -> None:
    made = plan(pool=pool)
    assert made.steps == ()
    assert said in made.errors[0].message
    assert made.errors[0].hint


def test_a_vf_in_no_group_needs_no_guid(plan: Callable[..., Plan]) -> None:
    pool = json.dumps([{"pciAddress": "0000:3b:00.0", "guids": [GUID]}])
    made = plan(group=replace(GROUP, vf_range=VfRange(0, 0)), pool=pool)
    assert (made.errors, told(made)[0]) == ((), given(GUID))


# --- RDMA -------------------------------------------------------------------------------------------------------------


def loaded(plan: Plan) -> list[tuple[str, bool]]:
    return [(step.args["module"], step.optional) for step in plan.steps if step.op == steps.LOAD_MODULE]


def test_modules_come_first(plan: Callable[..., Plan]) -> None:
    made = plan(modules=frozenset())
    assert loaded(made) == [("ib_uverbs", True), ("rdma_ucm", True)]
    assert [step.op for step in made.steps].index(steps.BIND_DRIVER) > 1


def test_modules_are_loaded_for_vfs_that_are_there(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    made = plan(ib_vf(0), ib_vf(1), modules=frozenset({"ib_uverbs"}))
    assert (loaded(made), len(made.steps)) == ([("rdma_ucm", True)], 1)
    assert plan(ib_vf(0), ib_vf(1), modules=frozenset(), rdma=RdmaFacts("shared", built_in=True)).steps == ()
    lacking = frozenset({"rdma_ucm"})
    assert plan(ib_vf(0), ib_vf(1), modules=frozenset({"ib_uverbs"}), missing_modules=lacking) == Plan()


def test_without_the_modules_of_programs_vfs_are_made_all_the_same(rig: Rig) -> None:
    rig.host.fail("run modprobe", error=errno.EACCES)
    seen, desired = rig.node.observe(), DesiredState((DesiredPf(rig.pf, 2, groups=(GROUP,)),))
    plan = rig.node.plan(seen, desired)
    assert ("rdma_ucm", True) in loaded(plan)
    outcome = rig.node.perform(plan, seen, desired)
    assert outcome.failed is None
    assert [each.step.args["module"] for each in outcome.steps if each.status is OutcomeStatus.SKIPPED] == ["rdma_ucm"]


def test_a_kernel_without_the_cards_rdma_module(rig: Rig) -> None:
    plan = _with_module(rig, "connectx-5", missing_modules=frozenset({"mlx5_ib"}))
    assert plan.steps == ()
    assert "this kernel has no module mlx5_ib" in plan.errors[0].message


def test_a_vf_without_its_rdma_device_is_told_of(plan: Callable[..., Plan], ib_vf: MakeVf) -> None:
    made = plan(ib_vf(0, device=None), ib_vf(1))
    assert made.errors == ()
    assert "VF 0 has no RDMA device" in made.problems[0].message


@pytest.mark.parametrize(
    ("profile", "said"), [("82576", "nothing here makes"), ("connectx-5", "module mlx5_ib makes none")]
)
def test_a_pf_that_can_have_no_rdma(tmp_path: Path, profile: str, said: str) -> None:
    with FakeHost(modules=("rdma_ucm",)) as host:
        rig = Rig(host, host.add_card(profile, address="0000:3b:00", up=True, quirks=Quirks(no_rdma=True)), tmp_path)
        (wrong,) = _with_module(rig, profile).errors
        assert said in wrong.message
        assert wrong.field == "vfGroups[0].isRdma"
        assert rig.plan(replace(GROUP, is_rdma=False)).errors == ()


def _with_module(rig: Rig, profile: str, **platform: Any) -> Plan:
    """What a vendor's table would say of the card."""
    seen = rig.node.observe()
    module = "mlx5_ib" if profile == "connectx-5" else ""
    adapters = tuple(replace(adapter, rdma_module=module) for adapter in seen.inventory.adapters)
    known = Inventory(adapters, replace(seen.inventory.platform, **platform))
    seen = replace(seen, inventory=known)
    return rig.node.plan(seen, DesiredState((DesiredPf(rig.pf, 2, groups=(GROUP,)),)))


def test_vfs_on_ethernet_whose_device_has_no_guid_are_taken_anew(tmp_path: Path) -> None:
    with FakeHost() as host:
        rig = Rig(host, host.add_card("connectx-6dx", address="0000:3b:00", up=True), tmp_path)
        rig.machine.set_num_vfs(rig.pf, 2)
        assert rig.guids(0)[2] == UNSET_GUID
        assert rig.plan(replace(GROUP, is_rdma=False)).steps == ()
        made = rig.apply(GROUP)
        assert made.affects == tuple(rig.vf(index).address for index in range(2))
        assert is_set(rig.guids(0)[2])
        assert rig.plan(GROUP).steps == ()


# --- on a card --------------------------------------------------------------------------------------------------------


def test_guids_are_known_to_the_vfs_stay_over_a_reboot_and_are_shown(rig: Rig) -> None:
    rig.apply(GROUP)
    first = [rig.guids(index) for index in range(2)]
    assert first[0] == (DERIVED, DERIVED, kernel_guid(DERIVED))
    assert len({guid for guids in first for guid in guids}) == 4
    assert rig.plan(GROUP).steps == ()
    rig.host.reboot()
    rig.apply(GROUP)
    assert [rig.guids(index) for index in range(2)] == first


def test_what_was_there_is_given_back(rig: Rig) -> None:
    rig.machine.set_num_vfs(rig.pf, 2)
    rig.machine.set_vf(rig.pf, 1, {"node_guid": OTHER, "port_guid": OTHER})
    rig.machine.set_vf(rig.pf, 1, {"link_state": "enable"})
    before = [rig.vf(index).settings for index in range(2)]
    rig.apply(GROUP)
    assert (rig.guids(0)[0], rig.guids(1)[0]) == (DERIVED, OTHER)
    rig.reset()
    assert [rig.vf(index).settings for index in range(2)] == before


def test_a_pool_that_changes(rig: Rig) -> None:
    rig.pools(GUID, OTHER)
    rig.apply(GROUP)
    assert rig.guids(0) == (GUID, GUID, kernel_guid(GUID))
    rig.pools(OTHER, GUID)
    made = rig.apply(GROUP)
    assert made.disruption is Disruption.VFS
    assert rig.guids(0) == (OTHER, OTHER, kernel_guid(OTHER))
    assert rig.plan(GROUP).steps == ()


@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_what_a_pod_has_stays_whatever_becomes_of_the_file(rig: Rig, mode: str) -> None:
    rig.machine.set_rdma_mode(mode)
    rig.apply(GROUP)
    rig.host.move_to_namespace(rig.vf(0).address)
    rig.machine.set_vf(rig.pf, 0, {"node_guid": GUID, "port_guid": GUID, "link_state": "disable"})  # by a CNI
    rig.pools("02:00:00:00:00:00:01:00", "02:00:00:00:00:00:01:01")
    made = rig.apply(GROUP)
    assert made.affects == (rig.vf(1).address,)
    settings = rig.vf(0).settings
    assert settings is not None
    assert (settings.node_guid, settings.link_state) == (GUID, "disable")

    rig.host.model.tree.remove(POOL_FILE.lstrip("/"))
    assert rig.plan(GROUP).steps == (), "what they have, they keep"
    rig.pools("02:00:00:00:00:00:01:00")
    assert (rig.plan(GROUP).steps, len(rig.plan(GROUP).errors)) == ((), 1)
