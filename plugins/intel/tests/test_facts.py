from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtfn.host.api import DevlinkInfo
from virtfn.model import Adapter, DesiredPf, EswitchMode, PciAddress
from virtfn_intel.facts import in_safe_mode

FIRST = "0000:3b:00.0"


def test_ice_tells_its_ddp_package_and_firmware(ground: Any) -> None:
    ground.host.add_card("e810")
    facts = ground.adapter().facts
    assert sorted(facts) == [FIRST, "0000:3b:00.1"]
    assert facts[FIRST]["ddp"] == {"safeMode": False, "package": "ICE OS Default Package", "version": "1.3.4.0"}
    assert facts[FIRST]["firmware"] == "2.40 0x80007064 1.2898.0"
    assert facts[FIRST]["versions"]["fw.mgmt"] == "5.4.5"
    assert facts[FIRST]["versions"]["board.id"] == "M17659-003"
    assert facts[FIRST]["eswitchModes"] == ["legacy", "switchdev"]
    assert "trust" in facts[FIRST]["vfSettings"]
    assert facts[FIRST]["spoofCheckDefault"] is True
    assert "versionsAfterReset" not in facts[FIRST]


def test_firmware_that_waits_for_a_reset_is_told(ground: Any) -> None:
    ground.host.add_card("e810", ports=1)
    info = DevlinkInfo(running={"fw.app.name": "OS", "fw.undi": "1.1"}, stored={"fw.undi": "1.2", "fw.netlist": "4"})
    ground.host.fail("info *", lie=info)
    assert ground.adapter().facts[FIRST]["versionsAfterReset"] == {"fw.undi": "1.2", "fw.netlist": "4"}


@pytest.mark.parametrize("running", [{"fw.mgmt": "5.4.5"}, {"fw.mgmt": "5.4.5", "fw.app": "0.0.0.0"}])
def test_ice_without_a_package_is_in_safe_mode(ground: Any, running: dict[str, str]) -> None:
    ground.host.add_card("e810", ports=1)
    ground.host.fail("info *", lie=DevlinkInfo(driver="ice", running=running))
    adapter = ground.adapter()
    assert adapter.facts[FIRST]["ddp"] == {"safeMode": True}
    assert adapter.facts[FIRST]["eswitchModes"] == ["legacy"]
    assert adapter.facts[FIRST]["vfSettings"] == []
    assert in_safe_mode(adapter, adapter.pfs[0])


def test_what_cannot_be_read_is_left_out_and_is_no_safe_mode(ground: Any) -> None:
    ground.host.add_card("e810", ports=1)
    ground.host.fail("info *", error=5)
    adapter = ground.adapter()
    assert "ddp" not in adapter.facts[FIRST]
    assert "versions" not in adapter.facts[FIRST]
    assert not in_safe_mode(adapter, adapter.pfs[0])


def test_trust_is_gone_in_switchdev_mode(ground: Any) -> None:
    ground.host.add_card("e810", ports=1, up=True)
    ground.apply(DesiredPf(PciAddress.parse(FIRST), 2, eswitch_mode=EswitchMode.SWITCHDEV))
    facts = ground.adapter().facts[FIRST]
    assert "trust" not in facts["vfSettings"]
    assert "mac" in facts["vfSettings"]


@pytest.mark.parametrize(("profile", "link_state"), [("82576", False), ("82599", True), ("x710", True), ("e810", True)])
def test_vf_settings_follow_the_driver(ground: Any, profile: str, link_state: bool) -> None:
    ground.host.add_card(profile, ports=1)
    facts = ground.adapter().facts[FIRST]
    assert ("link_state" in facts["vfSettings"]) is link_state
    assert facts["firmware"]


def test_i40e_has_versions_and_no_package(ground: Any) -> None:
    ground.host.add_card("x710", ports=1)
    facts = ground.adapter().facts[FIRST]
    assert facts["versions"]["fw.mgmt"] == "9.140"
    assert "ddp" not in facts
    assert facts["eswitchModes"] == ["legacy"]


@pytest.mark.parametrize("facts", [{}, {FIRST: None}, {FIRST: {"ddp": "?"}}, {FIRST: {"ddp": {"safeMode": "yes"}}}])
def test_facts_of_another_shape_mean_nothing(pf: Any, facts: dict[str, Any]) -> None:
    function = pf("159b", "ice")
    adapter = Adapter("0000:3b:00", (function,), facts=facts)
    assert not in_safe_mode(adapter, function)
    assert in_safe_mode(replace(adapter, facts={FIRST: {"ddp": {"safeMode": True}}}), function)
