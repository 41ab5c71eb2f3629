"""The smallest patch, and whether one is needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.kube.difference import covers, merge_patch, same
from virtfn.testing.merge_patch import merged

scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def clean(value: Any) -> Any:
    """Without nulls and empty objects in objects, which are the same as absent."""
    if not isinstance(value, dict):
        return value
    cleaned = {name: clean(inner) for name, inner in value.items() if inner is not None}
    return {name: inner for name, inner in cleaned.items() if inner != {}}


@given(live=objects, wanted=objects)
def test_after_the_patch_there_is_nothing_left_to_patch(live: Any, wanted: Any) -> None:
    patch = merge_patch(live, wanted=wanted)
    assert merge_patch(merged(live, patch), wanted=wanted) == {}


@given(live=objects, wanted=objects)
def test_an_exact_patch_makes_it_what_is_wanted(live: Any, wanted: Any) -> None:
    patch = merge_patch(live, wanted=wanted, exact=True)
    assert same(clean(merged(live, patch)), clean(wanted))


@given(thing=objects)
def test_what_is_wanted_already_needs_no_patch(thing: Any) -> None:
    thing = clean(thing)
    assert merge_patch(thing, wanted=thing, exact=True) == {}
    assert covers(thing, thing)


@given(live=objects, wanted=objects)
def test_what_was_patched_is_covered(live: Any, wanted: Any) -> None:
    assert covers(merged(live, merge_patch(live, wanted=wanted)), wanted)


@pytest.mark.parametrize(
    ("live", "wanted", "patch"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2, "b": {"c": 3}}, {"a": 2, "b": {"c": 3}}),
        ({"l": {"x": "1", "y": "2"}}, {"l": {"x": None, "z": None}}, {"l": {"x": None}}),
        ({}, {"l": {"x": None}}, {}),
        ({"v": [1, 2]}, {"v": [1, 2, 3]}, {"v": [1, 2, 3]}),
        ({"v": 1}, {"v": True}, {"v": True}),
        ({"v": [{"a": 1}]}, {"v": [{"a": True}]}, {"v": [{"a": True}]}),
        ({"v": "x"}, {"v": {"a": 1}}, {"v": {"a": 1}}),
        ({"v": {"a": 1}}, {"v": "x"}, {"v": "x"}),
        ({}, {"labels": {}}, {}),
        ({"v": [1]}, {"v": []}, {"v": []}),
        ({"v": (1, 2)}, {"v": [1, 2]}, {}),
    ],
)
def test_patches(live: Any, wanted: Any, patch: Any) -> None:
    made = merge_patch(live, wanted=wanted)
    assert same(made, patch)


def test_an_exact_patch_deletes_at_every_depth() -> None:
    live = {"status": {"old": 1, "deep": {"old": 1, "new": 2}}}
    wanted = {"status": {"deep": {"new": 2}}}
    assert merge_patch(live, wanted=wanted, exact=True) == {"status": {"old": None, "deep": {"old": None}}}


def test_the_servers_defaults_are_covered() -> None:
    live = {"spec": {"containers": [{"name": "a", "image": "i", "imagePullPolicy": "Always"}], "replicas": 1}}
    assert covers(live, {"spec": {"containers": [{"name": "a", "image": "i"}]}})
    assert not covers(live, {"spec": {"containers": [{"name": "a", "image": "other"}]}})
    assert not covers(live, {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}})
    assert not covers(live, {"spec": {"paused": True}})
    assert not covers(live, {"spec": {"replicas": True}})
    assert not covers({"spec": "text"}, {"spec": {"a": 1}})
    assert covers({}, {"data": {}, "rules": []})
