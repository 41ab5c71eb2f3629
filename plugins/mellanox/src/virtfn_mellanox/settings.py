"""What `mstconfig query` prints, as values: its table in all the widths it ever had, and its JSON.

The table is for people. Its columns changed their width at least five times (mstflint 4.10 to 4.36), a value that is
wider than its column stands close to the next one (up to 4.11 of 16 and more characters, up to 4.25 of exactly 16), and
so does the first one after a name that is (36 characters up to 4.21, then 44, then 48). A column is left out when the
firmware cannot tell it, and marks (`*`, `RO`) stand before a name. So nothing here goes by offsets: cells are what
stands between white space, and what has a bracket ends with it. A row that does not add up is left out: all names that
matter here are short.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Value = bool | int | str
"""`True(1)` is true, `ETH(2)` is its word, and a number without a word stays one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. None: the firmware does not tell it."""

    next: Value | None = None
    """From the next reset on."""
    current: Value | None = None
    default: Value | None = None
    read_only: bool = False
    """The firmware lets nobody on this host change it. Told from 4.26 on; 4.25 leaves such settings out."""


Settings = Mapping[str, Setting]


class Unreadable(ValueError):
    """The output is not what the tool is known to print; the text says what is wrong with it."""


_HEADER = re.compile(r"^\s*Configurations:(.*)$")
_COLUMNS = {"Default": "default", "Current": "current", "Next Boot": "next"}
_COLUMN = re.compile("|".join(_COLUMNS))
_ROW = re.compile(r"^\*?\s*(RO\s+)?+([A-Za-z_][A-Za-z0-9_]*(?:\[\d+\])?)\s+(\S.*)$")
_CELL = re.compile(r"[^\s()]+\([^\s()]*\)|[^\s()]+")
_WORD = re.compile(r"(.+)\((?:0x[0-9a-fA-F]+|\d+)\)")
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}")
_UNKNOWN = "N/A"
_BOOLS = {"true": True, "false": False}


def parse_table(text: str) -> Settings:
    """The settings of the first device in a table. Lines that are no rows of it are passed over.

    :raises Unreadable: there is no table, or none of its lines is a row.
    """
    columns: tuple[str, ...] = ()
    found: dict[str, Setting] = {}
    for line in text.splitlines():
        if (header := _HEADER.match(line)) is not None:
            if found:  # the next device
                break
            columns = tuple(_COLUMNS[word] for word in _COLUMN.findall(header[1]))
            continue
        if columns and (row := _row(line, columns)) is not None:
            found.setdefault(*row)
    if not columns:
        raise Unreadable("it printed no table of settings")
    if not found:
        raise Unreadable("its table has no settings that can be read")
    return found


def _row(line: str, columns: tuple[str, ...]) -> tuple[str, Setting] | None:
    match = _ROW.match(line)
    if match is None:
        return None
    cells = _CELL.findall(match[3])
    if len(cells) != len(columns):
        return None
    values = dict(zip(columns, map(_value, cells), strict=True))
    return match[2], Setting(**values, read_only=match[1] is not None)


def parse_json(text: str) -> Settings:
    """The settings of the first device in the JSON form, which the tool knows from 4.31 on.

    :raises Unreadable: it is not JSON, or JSON of another shape.
    """
    begin = text.find("{")
    try:
        data, _ = json.JSONDecoder().raw_decode(text[begin:] if begin >= 0 else text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its JSON cannot be read ({error})") from error
    found = {name: setting for name, setting in _settings_of(data) if setting is not None}
    if not found:
        raise Unreadable("its JSON has no settings")
    return found


def _settings_of(data: Any) -> Iterator[tuple[str, Setting | None]]:
    devices = list(data.values()) if isinstance(data, Mapping) else []
    table = devices[0].get("tlv_configuration") if devices and isinstance(devices[0], Mapping) else None
    for name, row in table.items() if isinstance(table, Mapping) else ():
        if isinstance(row, Mapping):
            values = {column: _value(row.get(f"{column}_value")) for column in _COLUMNS.values()}
            yield name, Setting(**values, read_only=row.get("read_only") is True)


def _value(cell: Any) -> Value | None:
    """One cell as a value; a JSON one may be a number already."""
    if cell is None or cell == _UNKNOWN:
        return None
    if isinstance(cell, (bool, int)):
        return cell
    text = str(cell).strip()
    word = _WORD.fullmatch(text)
    plain = word[1] if word is not None else text
    if plain.lower() in _BOOLS:
        return _BOOLS[plain.lower()]
    if word is not None or not _NUMBER.fullmatch(plain):
        return plain
    return int(plain, 16) if plain.startswith("0x") else int(plain)


def errors_of(text: str) -> tuple[str, ...]:
    """What the tool complains of, each once: its lines that begin with `-E-`, with the indented ones below them.

    A complaint that cuts a row of the table short stands behind what there is of it.
    """
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        _, mark, rest = (" " + line).partition(" -E-")
        if mark:
            found.append(rest.strip())
            inside = True
        elif inside and line[:1] in (" ", "\t") and line.strip():
            found[-1] += f" {line.strip()}"
        else:
            inside = False
    return tuple(dict.fromkeys(filter(None, found)))


def told(value: Value | None) -> str:
    """A value as the tool takes it: `True`, `16`, `ETH`."""
    return "unknown" if value is None else str(value)


def same(seen: Value | None, wanted: Value) -> bool:
    """Whether a value that was read is the wanted one; words are the same in any case of letters."""
    if isinstance(seen, str) and isinstance(wanted, str):
        return seen.lower() == wanted.lower()
    return seen is not None and type(seen) is type(wanted) and seen == wanted
