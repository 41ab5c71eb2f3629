"""The device plugin's restart: what a node needs, by its objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from virtfn.controller.device_plugin import Restart, Wish, is_back, pods_to_go

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def state(plugin: dict[str, Any] | None, **annotations: str) -> dict[str, Any]:
    words = {f"virtfn.io/{word.replace('_', '-')}": text for word, text in annotations.items()}
    return {"metadata": {"name": "n", "annotations": words}, "status": {"devicePlugin": plugin} if plugin else {}}


def pod(uid: str, *, ready: str = "True", leaving: bool = False) -> dict[str, Any]:
    metadata = {"name": f"dp-{uid}", "uid": uid} | ({"deletionTimestamp": "2030-01-01T00:00:00Z"} if leaving else {})
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_nothing_is_known_of_a_node_that_has_not_reported() -> None:
    wish = Wish.of(state(None, device_plugin_revision="1"))
    assert wish == Wish(None)
    assert wish.is_settled
    assert Wish.of({"metadata": {"name": "n"}}).label is None


@pytest.mark.parametrize(("resources", "label"), [(["a"], "Enabled"), ([], "Disabled"), (None, "Disabled")])
def test_the_label_follows_from_the_resources(resources: list[str] | None, label: str) -> None:
    plugin = {"revision": "1"} | ({} if resources is None else {"resources": resources})
    assert Wish.of(state(plugin)).label == label


def test_settled_when_it_was_started_for_what_there_is() -> None:
    plugin = {"revision": "2", "resources": ["a"]}
    assert not Wish.of(state(plugin)).is_settled
    assert not Wish.of(state(plugin, device_plugin_revision="1")).is_settled
    assert Wish.of(state(plugin, device_plugin_revision="2")).is_settled
    going = str(Restart("2", NOW, ("u",)))
    assert not Wish.of(state(plugin, device_plugin_revision="2", device_plugin_restart=going)).is_settled


def test_a_restart_is_read_as_it_was_written() -> None:
    restart = Restart("r", NOW, ("u1", "u2"))
    assert Restart.parse(str(restart)) == restart


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", "null", '{"revision":"r","since":"soon","pods":[]}', '{"revision":"r","since":"2030-01-01"}'],
)
def test_a_restart_that_somebody_edited_is_none(text: str) -> None:
    assert Restart.parse(text) is None


def test_a_date_without_a_zone_is_utc() -> None:
    assert Restart.parse('{"revision":"r","since":"2030-01-01T00:00:00","pods":[]}') == Restart("r", NOW, ())


def test_pods_that_leave_by_themselves_are_not_deleted() -> None:
    assert pods_to_go([pod("a"), pod("b", leaving=True), pod("c", ready="False")]) == ("a", "c")


def test_back_is_a_new_pod_that_is_ready() -> None:
    assert not is_back([pod("a")], but=("a",))
    assert not is_back([pod("b", ready="False")], but=("a",))
    assert is_back([pod("a", leaving=True), pod("b")], but=("a",))
    assert not is_back([], but=())
