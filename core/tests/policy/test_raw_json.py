"""JSON in text fields: kept as it was written, refused with its place."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.errors import InvalidDocument
from virtfn.policy.raw_json import indented, one_object, several_objects


def one(text):
    return one_object(text, field="spec.ipam", what="SriovNetwork ns/net", example='{"type": "dhcp"}')


def several(text):
    return several_objects(text, field="spec.metaPlugins", what="SriovNetwork ns/net", example='{"type": "rdma"}')


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"b": 1, "a": 2}',
        '{"a": 1, "a": 2}',
        '{"n": 1.00, "e": 1E+2, "big": 123456789012345678901234567890, "z": -0}',
        '{"n": ' + "9" * 5000 + "}",
        r'{"text": "a  b\tc \u00e9 \" } , :"}',
        '{"deep": {"list": [[], {}, [1, {"x": null}]]}}',
    ],
)
def test_an_object_is_kept_as_it_was_written(text):
    assert one(f" \n\t{text}\r\n") == text


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("foo", "not JSON", "line 1, column 1"),
        ("  ", "not JSON", "line 1, column 3"),
        ('{"a": 1', "not JSON", "line 1, column 8"),
        ('{\n  "a": 1,\n  "b": tru\n}', "not JSON", "line 3, column 8"),
        ("{'a': 1}", "not JSON", "line 1, column 2"),
        ('{"a": 1,}', "not JSON", "line 1, column"),
        ('[{"a": 1}]', '[{"a": 1}] is not an object', "line 1, column 1"),
        ('"text"', "is not an object", "line 1, column 1"),
        ('{"a": NaN}', "not JSON: NaN is not a number there", "line 1, column 1"),
        ('{"a": -Infinity}', "not JSON", "line 1, column 1"),
        ('{"a": 1}\n {"b": 2}', "something behind the object", "line 2, column 2"),
        ('{"a": "' + "\n" + '"}', "not JSON", "line 1, column 8"),
        ('{"a":' * 100_000, "nested too deeply", "line 1, column 1"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_no_object_is_refused_with_its_place(text, said, place):
    with pytest.raises(InvalidDocument) as refused:
        one(text)
    assert refused.value.field == "spec.ipam"
    message = str(refused.value)
    assert message.startswith("SriovNetwork ns/net: spec.ipam: ")
    assert said in message
    assert place in message
    assert 'one JSON object is allowed here, like {"type": "dhcp"}' in message


def test_several_objects():
    assert several('\n{"type": "a", "s": ", {"} ,\n\t{"type":"b"}\n') == ['{"type": "a", "s": ", {"}', '{"type":"b"}']
    assert several("{}") == ["{}"]


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("", "not JSON", "column 1"),
        ('{"type": "a"},', "not JSON", "column 15"),
        (',{"type": "a"}', "not JSON", "column 1"),
        ('{"type": "a"}{"type": "b"}', "a comma is missing between two objects", "column 14"),
        ('[{"type": "a"}]', "is not an object", "column 1"),
        ('{"type": "a"}, 7', "7 is not an object", "column 16"),
    ],
)
def test_what_are_no_objects_is_refused(text, said, place):
    with pytest.raises(InvalidDocument) as refused:
        several(text)
    assert refused.value.field == "spec.metaPlugins"
    assert said in str(refused.value)
    assert place in str(refused.value)
    assert "with commas between them" in str(refused.value)


def test_indented_by_four():
    text = '{"a":1,"b":[],"c":{ },"d":[{"e":"x, {y}: \\" z"},2.50],"a":null}'
    assert indented(text) == "\n".join(
        [
            "{",
            '    "a": 1,',
            '    "b": [],',
            '    "c": {},',
            '    "d": [',
            "        {",
            '            "e": "x, {y}: \\" z"',
            "        },",
            "        2.50",
            "    ],",
            '    "a": null',
            "}",
        ]
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(OBJECTS, st.booleans())
def test_indenting_is_what_the_json_library_does(value, escaped):
    text = json.dumps(value, ensure_ascii=escaped)
    assert indented(text) == json.dumps(value, indent=4, ensure_ascii=escaped)


@given(OBJECTS, st.sampled_from([None, 1, 3]), st.text(" \t\r\n", max_size=3))
def test_any_object_comes_through(value, indent, blanks):
    text = json.dumps(value, indent=indent)
    assert one(blanks + text + blanks) == text
    assert [json.loads(part) for part in several(f"{blanks}{text}{blanks},{text}")] == [value, value]


@given(st.text())
def test_any_text_is_taken_or_refused(text):
    for read in (one, several):
        with suppress(InvalidDocument):
            assert read(text)
