"""The environment's variables."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.controller.settings import settings_from
from virtfn.errors import RequestError

GIVEN = {"NAMESPACE": "virtfn", "RESOURCE_PREFIX": "example.org"}


def test_what_is_not_given_is_as_the_existing_operators_have_it() -> None:
    found = settings_from(GIVEN)
    assert (found.namespace, found.resource_prefix, found.use_external_drainer) == ("virtfn", "example.org", False)
    assert (found.drain_deadline, found.stale_state_minutes) == (600.0, 30.0)
    assert found.environment == GIVEN


@pytest.mark.parametrize("missing", ["NAMESPACE", "RESOURCE_PREFIX"])
@pytest.mark.parametrize("empty", [True, False])
def test_two_must_be_given(missing: str, empty: bool) -> None:
    environment = {**GIVEN, missing: ""} if empty else {name: GIVEN[name] for name in GIVEN if name != missing}
    with pytest.raises(RequestError, match=missing):
        settings_from(environment)


def test_the_command_line_goes_before_the_namespace() -> None:
    assert settings_from(GIVEN, namespace="other").namespace == "other"
    assert settings_from({"RESOURCE_PREFIX": "a/"}, namespace="other").resource_prefix == "a"


@pytest.mark.parametrize(
    ("text", "minutes"), [("0", 0.0), ("5", 5.0), ("-1", 30.0), ("soon", 30.0), ("nan", 30.0), ("", 30.0)]
)
def test_a_number_that_is_none_counts_as_not_given(text: str, minutes: float, caplog: Any) -> None:
    found = settings_from({**GIVEN, "STALE_NODE_STATE_CLEANUP_DELAY_MINUTES": text})
    assert found.stale_state_minutes == minutes
    assert bool(caplog.records) is (text in ("-1", "soon", "nan"))


@pytest.mark.parametrize(
    ("text", "external"), [("true", True), ("True", True), ("false", False), ("1", False), ("", False)]
)
def test_the_external_drainer_is_asked_for_by_true(text: str, external: bool) -> None:
    assert settings_from({**GIVEN, "USE_EXTERNAL_DRAINER": text}).use_external_drainer is external


def test_the_nodes_can_be_named() -> None:
    assert settings_from(GIVEN).node_selector == {}
    found = settings_from({**GIVEN, "VIRTFN_NODE_SELECTOR": "a.b/c=true, d=,"})
    assert found.node_selector == {"a.b/c": "true", "d": ""}


@pytest.mark.parametrize("text", ["a", "=b", "a=b,c"])
def test_nodes_that_cannot_be_told_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="VIRTFN_NODE_SELECTOR"):
        settings_from({**GIVEN, "VIRTFN_NODE_SELECTOR": text})
