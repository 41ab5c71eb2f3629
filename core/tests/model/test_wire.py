"""Behaviour that all objects on the wire share."""

from typing import ClassVar

import pytest
from pydantic import Field, StrictInt, ValidationError

from virtfn.model.wire import StatusModel, WireModel


class Part(WireModel):
    """Something below."""

    text: str = ""


class Thing(WireModel):
    """Something above."""

    always_present: ClassVar[frozenset[str]] = frozenset({"kept_count"})

    some_count: StrictInt = Field(default=0, alias="someCount")
    kept_count: StrictInt = Field(default=0, alias="keptCount")
    part: Part | None = None
    parts: tuple[Part, ...] = ()


class Report(StatusModel):
    """Something found."""

    text: str = ""


def test_zeros_are_left_out_but_for_those_that_stay():
    assert Thing().to_wire() == {"keptCount": 0}


def test_an_empty_object_that_was_given_stays():
    assert Thing.model_validate({"part": {}, "parts": [{}]}).to_wire() == {"keptCount": 0, "part": {}, "parts": [{}]}


def test_null_and_empty_text_are_absent():
    assert Thing.model_validate({"someCount": None, "part": "", "parts": None}) == Thing()


@pytest.mark.parametrize(
    ("name", "near"), [("somecount", "someCount"), ("some_count", "someCount"), ("Part", "part"), ("zzz", None)]
)
def test_unknown_names_are_refused_with_the_nearest(name, near):
    with pytest.raises(ValidationError) as caught:
        Thing.model_validate({name: 1})
    (detail,) = caught.value.errors()
    assert (detail["type"], detail["ctx"]["name"], detail["ctx"]["near"]) == ("unknown_field", name, near)
    assert detail["ctx"]["known"] == ["keptCount", "part", "parts", "someCount"]


def test_a_status_passes_unknown_names_over_and_takes_numbers_for_text():
    assert Report.model_validate({"text": 17, "more": 1}).to_wire() == {"text": "17"}


@pytest.mark.parametrize("data", [3, "x", [1]])
def test_what_is_not_a_mapping_is_refused(data):
    with pytest.raises(ValidationError):
        Thing.model_validate(data)
