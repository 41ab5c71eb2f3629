from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn import Plugin, hookimpl
from virtfn.model import Claim, DeviceModel, Inventory, PciId, Pf, Platform, Refusal
from virtfn.registry import Registry, load_registry


class Generic(Plugin):
    name = "generic"
    api_version = 1

    @hookimpl(trylast=True)
    def device_table(self) -> list[DeviceModel]:
        return [DeviceModel("Other_card", PciId("fe09", "0001"), PciId("fe09", "0002"), "other", product="Other NIC")]


class Vendor(Plugin):
    name = "vendor"
    api_version = 1

    @hookimpl
    def device_table(self) -> list[DeviceModel]:
        return [DeviceModel("Acme_card", PciId("fe01", "0001"), PciId("fe01", "0002"), "acme", product="Acme NIC")]


class Device(Plugin):
    name = "device"
    api_version = 1


class Picky(Plugin):
    """Serves functions with SR-IOV only."""

    name = "picky"
    api_version = 1

    @hookimpl
    def claim(self, device: Pf) -> Claim | Refusal | None:
        return None if device.total_vfs else Refusal("it is a VF")


class Virtual(Plugin):
    name = "virtual"
    api_version = 1

    @hookimpl
    def claim(self, device: Pf, platform: Platform) -> Claim | None:
        if platform.virtual and device.id.vendor == "fe01":
            return Claim("the VM's own network card", model="Acme VF")
        return None


class Failing(Plugin):
    name = "failing"
    api_version = 1

    @hookimpl
    def claim(self) -> None:
        raise KeyError("lost")


ALL: dict[str, type[Plugin]] = {"generic": Generic, "virtual": Virtual, "fe01": Vendor, "fe01.0003": Device}


def owner(plugins: dict[str, type[Plugin]], inventory: Inventory) -> tuple[str | None, str, str | None]:
    (adapter,) = Registry.for_testing(plugins).assign(inventory).adapters
    return adapter.owner, adapter.owner_reason, adapter.model


@pytest.mark.parametrize(
    ("pci_id", "total_vfs", "key"),
    [
        ("fe01:0003", 8, "fe01.0003"),
        ("fe01:0001", 8, "fe01"),
        ("fe01:0001", None, "fe01"),
        ("fe05:0001", 8, "generic"),
        ("fe05:0001", None, None),
        ("fe05:0001", 0, None),
    ],
)
def test_the_most_specific_key_wins(cards: Any, pci_id: str, total_vfs: int | None, key: str | None) -> None:
    got, reason, _ = owner(ALL, cards.one(pci_id, total_vfs=total_vfs))
    assert got == key
    assert reason


def test_reasons_name_key_or_cause(cards: Any) -> None:
    assert "vendor (testing 0): key fe01 matches fe01:0001" in owner(ALL, cards.one("fe01:0001"))[1]
    assert "fe05:0001 has SR-IOV and no other plugin serves it" in owner(ALL, cards.one("fe05:0001"))[1]
    assert owner(ALL, cards.one("fe05:0001", total_vfs=None))[1] == "no SR-IOV and no plugin claims it"


def test_without_generic_unknown_hardware_has_no_owner(cards: Any) -> None:
    key, reason, _ = owner({"fe01": Vendor}, cards.one("fe05:0001"))
    assert key is None
    assert "no plugin for vendor fe05 is installed" in reason


def test_a_refusal_passes_to_the_next_candidate_and_is_told(cards: Any) -> None:
    plugins = {**ALL, "fe01.0003": Picky}
    key, reason, _ = owner(plugins, cards.one("fe01:0003", total_vfs=None))
    assert key == "fe01"
    assert "picky refuses it: it is a VF" in reason
    assert owner(plugins, cards.one("fe01:0003", total_vfs=8))[0] == "fe01.0003"


def test_in_a_vm_virtual_takes_what_the_vendor_refuses(cards: Any) -> None:
    plugins = {"generic": Generic, "virtual": Virtual, "fe01": Picky}
    key, reason, model = owner(plugins, cards.one("fe01:0002", total_vfs=None, virtual=True))
    assert (key, model) == ("virtual", "Acme VF")
    assert "the VM's own network card" in reason
    assert "picky refuses it: it is a VF" in reason


def test_virtual_serves_only_what_it_claims(cards: Any) -> None:
    plugins = {"generic": Generic, "virtual": Virtual, "fe01": Picky}
    key, reason, _ = owner(plugins, cards.one("fe01:0002", total_vfs=None))
    assert key is None
    assert reason == "no SR-IOV and no plugin claims it; picky refuses it: it is a VF"


def test_generic_can_refuse(cards: Any) -> None:
    class Choosy(Generic):
        @hookimpl(trylast=True)
        def claim(self) -> Refusal:
            return Refusal("storage, not network")

    key, reason, _ = owner({"generic": Choosy}, cards.one("fe05:0001"))
    assert key is None
    assert reason == "every plugin refuses it; generic refuses it: storage, not network"


def test_models_come_from_the_tables(cards: Any) -> None:
    assert owner(ALL, cards.one("fe01:0001"))[2] == "Acme NIC"
    assert owner(ALL, cards.one("fe09:0001"))[2] == "Other NIC"
    assert owner(ALL, cards.one("fe01:0099"))[2] is None
    assert owner(ALL, cards.one("fe09:0001", total_vfs=None))[::2] == (None, "Other NIC")


def test_a_card_has_one_owner_the_most_specific_of_its_functions(cards: Any) -> None:
    inventory = cards.inventory(cards.pf("fe01:0001", "0000:3b:00.0"), cards.pf("fe01:0003", "0000:3b:00.1"))
    key, reason, _ = owner(ALL, inventory)
    assert key == "fe01.0003"
    assert "0000:3b:00.0: fe01" in reason


def test_a_function_nobody_serves_does_not_take_the_card_from_its_owner(cards: Any) -> None:
    inventory = cards.inventory(
        cards.pf("fe05:0001", "0000:3b:00.0", total_vfs=None), cards.pf("fe05:0002", "0000:3b:00.1")
    )
    assert owner(ALL, inventory)[0] == "generic"


def test_a_claim_that_fails_leaves_the_card_alone(cards: Any) -> None:
    key, reason, _ = owner({**ALL, "fe01": Failing}, cards.one("fe01:0001"))
    assert key is None
    assert reason.startswith("left alone: ")
    assert "hook claim raised KeyError" in reason


def test_everything_else_of_the_inventory_is_kept(cards: Any) -> None:
    inventory = cards.inventory(cards.pf("fe01:0001"), cards.pf("fe05:0001", "0000:5e:00.0"), virtual=True)
    assigned = Registry.for_testing(ALL).assign(inventory)
    bare = tuple(replace(adapter, owner=None, owner_reason="", model=None) for adapter in assigned.adapters)
    assert replace(assigned, adapters=bare) == inventory


# --- keys that cannot be used -----------------------------------------------------------------------------------------

GENERIC_BODY = "@hookimpl(trylast=True)\ndef plan_vfs(self, adapter):\n    return ()"


def assigned(site: Any, inventory: Inventory) -> list[tuple[str | None, str]]:
    ids = {pf.id for pf in inventory.pfs()}
    registry = load_registry(ids, entry_points=site.entry_points)
    return [(adapter.owner, adapter.owner_reason) for adapter in registry.assign(inventory).adapters]


@pytest.fixture
def two_cards(cards: Any) -> Inventory:
    made: Inventory = cards.inventory(cards.pf("fe01:0001", "0000:3b:00.0"), cards.pf("fe05:0001", "0000:5e:00.0"))
    return made


def test_cards_of_an_ambiguous_key_are_left_alone_and_others_go_on(site: Any, two_cards: Inventory) -> None:
    site.plugin("virtfn-g", "generic", GENERIC_BODY)
    site.plugin("virtfn-acme", "fe01")
    site.plugin("acme-virtfn", "fe01")
    (left, other) = assigned(site, two_cards)
    assert left[0] is None
    assert "virtfn-acme 1.0" in left[1]
    assert "acme-virtfn 1.0" in left[1]
    assert other[0] == "generic"


@pytest.mark.parametrize("breakage", ["1 / 0", "api_version = 7", "name = 'NO'", "def observe(self): ..."])
def test_a_broken_vendor_plugin_does_not_hand_its_card_to_generic(
    site: Any, two_cards: Inventory, breakage: str
) -> None:
    site.plugin("virtfn-g", "generic", GENERIC_BODY)
    site.plugin("virtfn-acme", "fe01", breakage)
    (left, other) = assigned(site, two_cards)
    assert left[0] is None
    assert left[1].startswith("left alone: plugin ")
    assert "virtfn-acme 1.0" in left[1]
    assert other[0] == "generic"


def test_a_broken_key_for_one_device_does_not_fall_to_its_vendors_plugin(site: Any, cards: Any) -> None:
    site.plugin("virtfn-acme", "fe01")
    site.plugin("virtfn-special", "fe01.0001", "1 / 0")
    inventory = cards.inventory(cards.pf("fe01:0001", "0000:3b:00.0"), cards.pf("fe01:0002", "0000:5e:00.0"))
    (left, other) = assigned(site, inventory)
    assert left[0] is None
    assert "virtfn-special 1.0" in left[1]
    assert other[0] == "fe01"


def test_a_broken_vendor_plugin_leaves_the_more_specific_one_working(site: Any, cards: Any) -> None:
    site.plugin("virtfn-acme", "fe01", "1 / 0")
    site.plugin("virtfn-special", "fe01.0001")
    assert assigned(site, cards.one("fe01:0001"))[0][0] == "fe01.0001"


def test_one_broken_function_leaves_the_whole_card_alone(site: Any, cards: Any) -> None:
    site.plugin("virtfn-acme", "fe01")
    site.plugin("virtfn-special", "fe01.0001", "1 / 0")
    inventory = cards.inventory(cards.pf("fe01:0002", "0000:3b:00.0"), cards.pf("fe01:0001", "0000:3b:00.1"))
    ((key, reason),) = assigned(site, inventory)
    assert key is None
    assert "virtfn-special" in reason


def test_a_broken_virtual_does_not_take_sriov_cards_from_generic(site: Any, cards: Any) -> None:
    site.plugin("virtfn-g", "generic", GENERIC_BODY)
    site.plugin("virtfn-virtual", "virtual", "1 / 0")
    inventory = cards.inventory(
        cards.pf("fe05:0001", "0000:3b:00.0"), cards.pf("fe06:0001", "0000:5e:00.0", total_vfs=None)
    )
    (sriov, plain) = assigned(site, inventory)
    assert sriov[0] == "generic"
    assert plain[0] is None
    assert "virtfn-virtual 1.0" in plain[1]


def test_a_broken_generic_leaves_unknown_sriov_cards_alone(site: Any, cards: Any) -> None:
    site.plugin("virtfn-g", "generic", "1 / 0")
    ((key, reason),) = assigned(site, cards.one("fe05:0001"))
    assert key is None
    assert "virtfn-g 1.0" in reason


def test_a_card_plugged_in_later_waits_for_its_own_plugin(site: Any, cards: Any) -> None:
    site.plugin("virtfn-g", "generic", GENERIC_BODY)
    site.plugin("virtfn-acme", "fe01")
    registry = load_registry([PciId("fe05", "0001")], entry_points=site.entry_points)
    (adapter,) = registry.assign(cards.one("fe01:0001")).adapters
    assert adapter.owner is None
    assert "virtfn-acme 1.0" in adapter.owner_reason
    assert "start it again" in adapter.owner_reason
