from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from virtfn.model import Adapter, Claim, Inventory, PciAddress, PciId, Pf, Platform, Refusal
from virtfn.registry import Registry, load_registry
from virtfn_intel import IntelPlugin


def claim(device: str, *, total_vfs: int | None = None) -> Claim | Refusal | None:
    pf = Pf(PciAddress.parse("0000:3b:00.0"), PciId("8086", device), total_vfs=total_vfs)
    return IntelPlugin().claim(device=pf)


@pytest.mark.parametrize("device", ["10ca", "1520", "10ed", "1515", "1565", "154c", "37cd", "1889"])
def test_a_vf_without_its_pf_is_refused(device: str) -> None:
    answer = claim(device)
    assert isinstance(answer, Refusal)
    assert "VF" in answer.why


def test_a_known_card_is_taken_with_sriov_switched_off() -> None:
    assert claim("1572") is None


def test_a_card_in_no_table_is_taken_if_it_has_sriov() -> None:
    assert claim("9999", total_vfs=8) is None
    answer = claim("10d3")
    assert isinstance(answer, Refusal)
    assert "no SR-IOV" in answer.why


def test_loads_by_its_entry_point_and_names_its_cards() -> None:
    entry = EntryPoint("8086", "virtfn_intel:IntelPlugin", "virtfn.plugins")
    card = PciId("8086", "159b")
    registry = load_registry([card], entry_points=[entry])
    assert registry.problems == ()
    pf = Pf(PciAddress.parse("0000:3b:00.0"), card, total_vfs=64)
    (adapter,) = registry.assign(Inventory((Adapter("0000:3b:00", (pf,)),), Platform())).adapters
    assert (adapter.owner, adapter.model) == ("8086", "Ethernet Controller E810-XXV for SFP")


def test_what_it_leaves_to_generic_can_be_seen(registry: Registry) -> None:
    sources = registry.hook_sources(Adapter("0000:3b:00", (), owner="8086"))
    assert sources["plan_vfs"] == ("generic",)
    assert sources["plan_functions"] == ("intel", "generic")
    assert sources["observe"] == ("intel",)


def test_a_card_that_is_all_right_has_an_owner_on_the_ground(ground: Any) -> None:
    ground.host.add_card("x710")
    adapter = ground.adapter()
    assert (adapter.owner, adapter.model) == ("8086", "Ethernet Controller X710 for 10GbE SFP+")
    assert "key 8086 matches 8086:1572" in adapter.owner_reason
