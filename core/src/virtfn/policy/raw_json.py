"""JSON that people put into text fields of an object (`ipam`, `capabilities`, `metaPlugins`): checked, and kept.

What was written stays as it was written: order of keys, keys given twice, numbers, escapes and blanks inside strings.
Only the blanks between the parts are made anew. Nothing is read out of the text, so nothing can get lost on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from virtfn.errors import InvalidDocument

_BLANKS = " \t\n\r"
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
"""The parts of a JSON text that is known to be well formed."""


def one_object(text: str, *, field: str, what: str, example: str) -> str:
    """The text of one JSON object, without blanks around it.

    :param field: the text's path in its object, such as `spec.ipam`.
    :param what: the object it stands in, for the message.
    :param example: what could stand there.
    :raises InvalidDocument: the text is anything else; says where, counted in the text's own lines and columns.
    """
    reader = _Reader(text, field=field, what=what, allowed=f"one JSON object is allowed here, like {example}")
    start, end = reader.object_at(reader.next_place(0))
    if (place := reader.next_place(end)) < len(text):
        reader.refuse("there is something behind the object", place)
    return text[start:end]


def several_objects(text: str, *, field: str, what: str, example: str) -> list[str]:
    """The texts of JSON objects with commas between them, at least one; else as `one_object`."""
    allowed = f"JSON objects with commas between them are allowed here, like {example}"
    reader = _Reader(text, field=field, what=what, allowed=allowed)
    found = []
    place = reader.next_place(0)
    while True:
        start, end = reader.object_at(place)
        found.append(text[start:end])
        place = reader.next_place(end)
        if place == len(text):
            return found
        if text[place] != ",":
            reader.refuse("a comma is missing between two objects", place)
        place = reader.next_place(place + 1)


class _Reader:
    """Finds the objects of one text."""

    def __init__(self, text: str, *, field: str, what: str, allowed: str) -> None:
        self._text = text
        self._field = field
        self._what = what
        self._allowed = allowed
        # Numbers are kept as text: there is no limit to their digits, and nobody computes with them.
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=self._constant)

    def next_place(self, place: int) -> int:
        """Where the next thing that is no blank stands."""
        while place < len(self._text) and self._text[place] in _BLANKS:
            place += 1
        return place

    def object_at(self, place: int) -> tuple[int, int]:
        """Start and end of the object that has to begin there."""
        try:
            value, end = self._decoder.raw_decode(self._text, place)
        except json.JSONDecodeError as error:
            self.refuse(f"not JSON: {error.msg}", error.pos, error)
        except _NoNumber as error:
            self.refuse(f"not JSON: {error} is not a number there", place, error)
        except RecursionError as error:
            self.refuse("nested too deeply", place, error)
        if not isinstance(value, dict):
            self.refuse(f"{self._text[place:end][:40]} is not an object", place)
        return place, end

    @staticmethod
    def _constant(word: str) -> NoReturn:
        raise _NoNumber(word)

    def refuse(self, message: str, place: int, cause: Exception | None = None) -> NoReturn:
        before = self._text[:place]
        line, column = before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1
        raise InvalidDocument(
            f"{self._what}: {self._field}: {message} (line {line}, column {column} of the text; {self._allowed})",
            field=self._field,
        ) from cause


class _NoNumber(ValueError):
    """`NaN` or an infinity, which Python reads and JSON does not have."""


def indented(text: str, *, by: int = 4) -> str:
    """A well-formed JSON text with every part on its own line, as Go's `json.Indent` lays it out."""
    return "".join(_laid_out(text, " " * by))


def _laid_out(text: str, step: str) -> Iterator[str]:
    depth = 0
    opened = False
    for match in _PART.finditer(text):
        part = match.group()
        if part in "}]":
            depth -= 1
            if not opened:
                yield "\n" + step * depth
        elif opened:
            yield "\n" + step * depth
        opened = part in "{["
        if opened:
            depth += 1
        yield part
        if part == ",":
            yield "\n" + step * depth
        elif part == ":":
            yield " "
