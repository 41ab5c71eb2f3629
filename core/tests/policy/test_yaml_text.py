"""YAML as the field writes it: what stays text, and what is refused."""

import json

import pytest

from virtfn.errors import InvalidDocument
from virtfn.policy.yaml_text import parse_yaml


def value_of(text):
    ((_, value),) = parse_yaml(text, source="f.yaml")
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 0000:18:00.0", {"a": "0000:18:00.0"}),
        ("a: 0000:18:00", {"a": "0000:18:00"}),
        ("a: 2024-01-02", {"a": "2024-01-02"}),
        ("a: 2024-01-02T03:04:05Z", {"a": "2024-01-02T03:04:05Z"}),
        ("a: 15b3", {"a": "15b3"}),
        ("a: 8", {"a": 8}),
        ("a: -8", {"a": -8}),
        ("a: 0x10", {"a": 16}),
        ("a: 010", {"a": 8}),
        ("a: 1_000", {"a": 1000}),
        ("a: 0", {"a": 0}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1.0e+3", {"a": 1000.0}),
        ("a: yes", {"a": True}),
        ("a: off", {"a": False}),
        ("a: 'yes'", {"a": "yes"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: !!str 8", {"a": "8"}),
        ('{"a": [1, true, null, "x"]}', {"a": [1, True, None, "x"]}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
        ("y: {<<: [{a: 1}, {a: 2, b: 2}]}", {"y": {"a": 1, "b": 2}}),
        ("x: &x [1]\ny: [*x, *x]", {"x": [1], "y": [[1], [1]]}),
    ],
)
def test_values(text, value):
    assert value_of(text) == value


@pytest.mark.parametrize("digits", ["1018", "0154", "8086", "0x1018", "15b3", "'1018'"])
@pytest.mark.parametrize("key", ["vendor", "deviceID"])
def test_ids_keep_their_digits(key, digits):
    assert value_of(f"{key}: {digits}") == {key: digits.strip("'")}


def test_documents_are_numbered_and_empty_ones_left_out():
    assert parse_yaml("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n", source="f") == [(2, {"a": 1}), (4, {"b": 2})]


@pytest.mark.parametrize("text", ["", "\n", "# only words\n", "---\n", "---\n...\n---\n"])
def test_no_document(text):
    assert parse_yaml(text, source="f") == []


@pytest.mark.parametrize(
    ("text", "field", "gist"),
    [
        ("a: 1\nb: 2\na: 3", "a", "line 3: a: the key a is given twice"),
        ("a: {b: [{c: 1, c: 1}]}", "a.b[0].c", "the key c is given twice"),
        ("on: 1", "", "the key True is not text"),
        ("a: {1: x}", "a", "the key 1 is not text"),
        ("? [a]\n: 1", "", "is not text"),
        ("a: &a [*a]", "a[0]", "refers to what it is a part of"),
        ("a: !!python/object:os.system x", "a", "is not allowed"),
        ("a: !!python/object/apply:os.system [x]", "a", "is not allowed"),
        ("a: !!set {x}", "a", "is not allowed"),
        ("a: !mine x", "a", "is not allowed"),
        ("a: !!int x", "a", "cannot be read as int"),
        ("a: 0x_", "a", "cannot be read as int"),
        ("a: !!bool x", "a", "cannot be read as bool"),
        ("a: {<<: [1]}", "a", "<< must refer to a mapping"),
        ("a: " + "9" * 6000, "a", "cannot be read as int"),
    ],
)
def test_refused_with_the_field(text, field, gist):
    with pytest.raises(InvalidDocument) as caught:
        parse_yaml(text, source="f.yaml")
    assert caught.value.field == field
    assert gist in str(caught.value)
    assert str(caught.value).startswith("f.yaml, document 1, line ")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 'x", "f.yaml, document 1, line 1: not YAML"),
        ("a: 1\n---\nb: [1\n", "f.yaml, document 2, line 4: not YAML"),
        ("interfaces\n- Vfs:\n", "f.yaml, document 1, line 2: not YAML"),
        ("a: *nobody", "f.yaml, document 1, line 1: not YAML"),
        ("\x00", "f.yaml, document 1: not YAML"),
        ("a:\tb\n\t- c", "f.yaml, document 1, line"),
        ("[" * 20_000, "f.yaml, document 1: nested too deeply"),
    ],
)
def test_not_yaml(text, where):
    with pytest.raises(InvalidDocument) as caught:
        parse_yaml(text, source="f.yaml")
    assert str(caught.value).startswith(where)


def test_aliases_do_not_blow_up():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    with pytest.raises(InvalidDocument, match="aliases make too large an object"):
        parse_yaml("\n".join(lines), source="f")


def test_a_large_text_without_aliases_is_read():
    assert len(value_of("a:\n" + "- {b: 1}\n" * 20_000)["a"]) == 20_000


def test_characters_that_json_writes_in_two_halves() -> None:
    text = json.dumps({"😀": "a😀b"})
    assert "\\ud83d\\ude00" in text
    assert parse_yaml(text, source="f") == [(1, {"😀": "a😀b"})]


@pytest.mark.parametrize("text", ['a: "x\\ud83d"', 'a: "\\ude00\\ud83d"'])
def test_half_a_character_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument, match=r"f, document 1, line 1: a: .* has half of a character") as caught:
        parse_yaml(text, source="f")
    assert caught.value.field == "a"
    str(caught.value).encode()
