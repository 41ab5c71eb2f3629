"""Open vSwitch settings on the wire."""

import pytest
from pydantic import ValidationError

from virtfn.model.ovs import FailMode, OvsBridgeSettings, OvsInterfaceSettings


def test_empty_settings_are_empty():
    assert OvsBridgeSettings().to_wire() == {}
    assert OvsInterfaceSettings().to_wire() == {}


def test_empty_values_of_a_map_stay():
    assert OvsBridgeSettings.model_validate({"otherConfig": {"a": ""}}).to_wire() == {"otherConfig": {"a": ""}}


@pytest.mark.parametrize("word", ["secure", "standalone"])
def test_fail_modes(word):
    assert OvsBridgeSettings.model_validate({"failMode": word}).fail_mode is FailMode(word)


@pytest.mark.parametrize("data", [{"failMode": "open"}, {"otherConfig": {"a": 1}}])
def test_what_ovs_does_not_know(data):
    with pytest.raises(ValidationError):
        OvsBridgeSettings.model_validate(data)
