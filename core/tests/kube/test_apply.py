"""Only what changed is written, and nobody else's change is lost."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from virtfn.errors import Conflict, InvalidObject
from virtfn.kube.apply import EDIT_TIMES, Applier, Outcome, digest_of
from virtfn.kube.client import KubeClient
from virtfn.kube.meter import Tally
from virtfn.kube.resource import Object

PATH = "/apis/example.org/v1/namespaces/there/widgets/a"
MARK = "example.org/applied"


@pytest.fixture
def applier(client: KubeClient, random: Random, tally: Tally) -> Applier:
    return Applier(client, field_manager="us", digest_annotation=MARK, random=random, meter=tally)


@pytest.fixture
def live(kit: Any, server: Any) -> Any:
    """An object on the server."""
    server.objects[PATH] = kit.widget("a", spec={"n": 1}, status={"phase": "Old", "left": 1})
    return server.objects[PATH]


def wanted(**rest: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "namespace": "there", "labels": {"x": "1"}}, **rest}


# --- apply ------------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_made(kit: Any, server: Any, applier: Applier) -> None:
    written = applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=None)
    assert written.outcome is Outcome.WRITTEN
    (request,) = server.requests
    assert (request.method, request.path) == ("PATCH", PATH)
    assert request.query == {"fieldManager": "us", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.body["apiVersion"] == "example.org/v1"
    assert request.body["kind"] == "Widget"
    assert request.body["metadata"]["annotations"] == {MARK: digest_of(wanted(spec={"n": 1}))}


def test_what_is_there_already_is_not_written(kit: Any, server: Any, applier: Applier, tally: Tally) -> None:
    live = applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=None).thing
    with_defaults = {**live, "spec": {"n": 1, "defaulted": True}}
    written = applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=with_defaults)
    assert written.outcome is Outcome.UNCHANGED
    assert written.thing is with_defaults
    assert len(server.requests) == 1
    assert tally.counted("writes") == 1
    assert tally.counted("writes_saved", of="widgets.example.org") == 1


def test_an_item_of_a_list_says_neither_its_version_nor_its_kind(kit: Any, server: Any, applier: Applier) -> None:
    live = dict(applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=None).thing)
    del live["apiVersion"], live["kind"]
    assert applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=live).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize(
    "drift",
    [
        {"spec": {"n": 2}},
        {"spec": {}},
        {"metadata": {"labels": {"x": "2"}}},
        {"metadata": {"annotations": {MARK: "0"}}},
    ],
    ids=["changed", "removed", "label", "digest"],
)
def test_what_somebody_changed_is_written_again(kit: Any, server: Any, applier: Applier, drift: Any) -> None:
    live = applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=None).thing
    drifted = {**live, **drift, "metadata": {**live["metadata"], **drift.get("metadata", {})}}
    assert applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=drifted).outcome is Outcome.WRITTEN


def test_what_is_no_longer_wanted_is_written_too(kit: Any, server: Any, applier: Applier) -> None:
    live = applier.apply(kit.widgets, wanted=wanted(spec={"n": 1, "old": 2}), live=None).thing
    assert applier.apply(kit.widgets, wanted=wanted(spec={"n": 1}), live=live).outcome is Outcome.WRITTEN
    assert server.requests[-1].body["spec"] == {"n": 1}


def test_the_digest_is_of_the_content() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_own_fields_of_a_status(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    assert applier.apply_status(kit.widgets, live=live, status={"phase": "Old"}).outcome is Outcome.UNCHANGED
    assert applier.apply_status(kit.widgets, live=live, status={"phase": "New"}).outcome is Outcome.WRITTEN
    (request,) = server.requests
    assert request.path == f"{PATH}/status"
    assert request.body["status"] == {"phase": "New"}
    assert request.body["metadata"] == {"name": "a", "namespace": "there"}
    assert request.query == {"fieldManager": "us", "force": "true"}


# --- patch ------------------------------------------------------------------------------------------------------------


def test_a_patch_is_the_smallest(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    labels = {"new": "1", "gone": None}
    written = applier.patch(kit.widgets, live=live, wanted={"metadata": {"labels": labels}, "spec": {"n": 1}})
    assert written.outcome is Outcome.WRITTEN
    assert server.requests[0].body == {"metadata": {"labels": {"new": "1"}, "uid": "uid-a"}}
    assert server.requests[0].query == {"fieldManager": "us"}
    assert written.thing["metadata"]["labels"] == {"new": "1"}
    again = applier.patch(kit.widgets, live=written.thing, wanted={"metadata": {"labels": labels}})
    assert again.outcome is Outcome.UNCHANGED
    assert len(server.requests) == 1


def test_a_whole_field_may_be_ours(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    applier.patch(kit.widgets, live=live, wanted={"spec": {"m": 2}}, exact=("spec",))
    assert server.requests[0].body["spec"] == {"n": None, "m": 2}
    assert server.objects[PATH]["spec"] == {"m": 2}
    assert server.objects[PATH]["status"] == live["status"]


def test_a_patch_is_for_this_very_object(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    server.objects[PATH] = {**live, "metadata": {**live["metadata"], "uid": "another"}}
    with pytest.raises(Conflict):
        applier.patch(kit.widgets, live=live, wanted={"spec": {"n": 2}})


def test_kinds_of_the_servers_own_say_so_in_another_way(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    causes = [{"field": "metadata.uid", "message": "field is immutable"}]
    server.answer("PATCH", PATH, kit.refused(422, "Invalid", details={"causes": causes}), kit.refused(422, "Invalid"))
    with pytest.raises(Conflict):
        applier.patch(kit.widgets, live=live, wanted={"spec": {"n": 2}})
    with pytest.raises(InvalidObject):
        applier.patch(kit.widgets, live=live, wanted={"spec": {"n": 2}})


def test_a_guarded_patch_is_for_this_very_version(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    server.objects[PATH] = {**live, "metadata": {**live["metadata"], "resourceVersion": "77"}}
    with pytest.raises(Conflict):
        applier.patch(kit.widgets, live=live, wanted={"spec": {"n": 2}}, guarded=True)
    assert applier.patch(kit.widgets, live=live, wanted={"spec": {"n": 2}}).outcome is Outcome.WRITTEN


def test_a_status_is_made_what_is_wanted(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    written = applier.patch_status(kit.widgets, live=live, status={"phase": "New"})
    assert server.requests[0].path == f"{PATH}/status"
    assert server.requests[0].body["status"] == {"phase": "New", "left": None}
    assert written.thing["status"] == {"phase": "New"}
    assert applier.patch_status(kit.widgets, live=written.thing, status={"phase": "New"}).outcome is Outcome.UNCHANGED


# --- edit -------------------------------------------------------------------------------------------------------------


def add_one(thing: Object) -> Object:
    return {"spec": {"n": thing["spec"]["n"] + 1}}


def test_an_edit_decides_again_when_somebody_was_faster(
    kit: Any, server: Any, applier: Applier, live: Any, clock: Any, tally: Tally
) -> None:
    server.objects[PATH] = {**live, "spec": {"n": 10}, "metadata": {**live["metadata"], "resourceVersion": "77"}}
    written = applier.edit(kit.widgets, live=live, change=add_one)
    assert written.thing["spec"] == {"n": 11}
    assert [each.method for each in server.requests] == ["PATCH", "GET", "PATCH"]
    assert tally.counted("edit_conflicts") == 1
    assert len(clock.waits) == 1


def test_an_edit_gives_up(kit: Any, server: Any, applier: Applier, live: Any, clock: Any) -> None:
    server.answer("PATCH", PATH, *[kit.refused(409, "Conflict")] * 20)
    with pytest.raises(Conflict):
        applier.edit(kit.widgets, live=live, change=add_one)
    assert len(server.asked("PATCH")) == EDIT_TIMES
    assert clock.waits == sorted(clock.waits)


def test_an_edit_that_has_nothing_to_change(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    assert applier.edit(kit.widgets, live=live, change=lambda thing: {"spec": {"n": 1}}).outcome is Outcome.UNCHANGED
    assert server.requests == []


def test_delete_this_very_object(kit: Any, server: Any, applier: Applier, live: Any) -> None:
    server.objects[PATH] = {**live, "metadata": {**live["metadata"], "uid": "another"}}
    assert not applier.delete(kit.widgets, live=live)
    assert PATH in server.objects
    assert applier.delete(kit.widgets, live=server.objects[PATH])
    assert not applier.delete(kit.widgets, live=live)
