"""`mstconfig` on a simulated machine: the program that reads and sets what a card keeps in its firmware.

It prints what the real one prints in the version that it is told to be: the table in its widths, from 4.31 on
the JSON form as well, and complaints on standard output with exit code 3 (formats from the source of mstflint 4.15 to
4.36; the printing code of 21 of these versions was compiled, and printed the same bytes). The settings are those of the
card's profile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from virtfn.host.api import CommandResult
from virtfn.testing.ground.card import Card, Setting

TOOL: Final = "mstconfig"
NUM_OF_VFS: Final = "NUM_OF_VFS"
MOST_VFS: Final = 127

_FAILED: Final = 3
_ABORTED: Final = 2
_JSON_SINCE: Final = (4, 31)
_NUMBERS: Final[Mapping[str, int]] = {
    "IB": 1,
    "ETH": 2,
    "EMBEDDED_CPU": 1,
    "SEPARATED_HOST": 0,
    "ECPF": 0,
    "EXT_HOST_PF": 1,
    "ENABLED": 0,
    "DISABLED": 1,
    "GID": 0,
    "LID": 1,
}
"""Numbers of the words that settings have as values; those of one setting differ."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a version lays out its tables: widths in characters."""

    label: int
    """Of a label in the lines about the device."""
    default: int
    """Of the words over the columns, which are not those of the columns; 0: they stand as the values do."""
    current: int
    after: int
    alone: int
    """Of the last one if it is the only one."""
    marks: bool
    """Settings that can only be read are marked."""
    name: int
    value: int
    spaced: bool
    """A space follows every value; otherwise only one that is wider than its column."""


_LAYOUTS: Final[Sequence[tuple[tuple[int, int], _Layout]]] = (
    ((4, 36), _Layout(20, 0, 0, 0, 0, True, 48, 33, True)),
    ((4, 31), _Layout(20, 44, 20, 18, 46, True, 44, 20, True)),
    ((4, 26), _Layout(20, 39, 21, 23, 41, True, 44, 20, True)),
    ((4, 25), _Layout(16, 44, 16, 18, 46, True, 44, 16, False)),
    ((4, 22), _Layout(16, 44, 16, 18, 46, False, 44, 16, False)),
    ((0, 0), _Layout(16, 36, 16, 18, 38, False, 36, 16, False)),
)
"""From which version on."""


def is_write(argv: Sequence[str]) -> bool:
    """Whether a run changes something."""
    return bool({"set", "s", "reset", "r"} & set(argv[1:]))


class NvConfigTool:
    """The program.

    :param card_of: the card that a function belongs to, by the function's address; None: there is none.
    :param version: `4.21.0`.
    """

    def __init__(self, card_of: Callable[[str], Card | None], *, version: str) -> None:
        self._card_of = card_of
        self.version = version

    def __call__(self, argv: tuple[str, ...]) -> CommandResult:
        """Run it."""
        if "-v" in argv or "--version" in argv:
            return CommandResult(argv, 0, f"{TOOL}, mstflint {self.version}, Git SHA Hash: N/A\n", "")
        if "-j" in argv and self._number < _JSON_SINCE:
            return _complaint(argv, f"invalid argument: -j\n    NAME:\n        {TOOL}\n")
        device = argv[argv.index("-d") + 1] if "-d" in argv else ""
        if not device:
            return _complaint(argv, "Failed to get devices.")
        card = self._card_of(device)
        if card is None or not card.firmware.next:
            return _complaint(argv, "Failed to open the device")
        if "set" in argv:
            return self._set(argv, card, argv[argv.index("set") + 1 :])
        return self._query(argv, card, device)

    @property
    def _layout(self) -> _Layout:
        return next(layout for since, layout in _LAYOUTS if self._number >= since)

    @property
    def _number(self) -> tuple[int, int]:
        first, second = self.version.split(".")[:2]
        return int(first), int(second)

    # --- query --------------------------------------------------------------------------------------------------------

    def _query(self, argv: tuple[str, ...], card: Card, device: str) -> CommandResult:
        if "-j" in argv:
            text = json.dumps(self._as_json(card, device, extended="-e" in argv), indent="\t", sort_keys=True) + "\n"
            path = argv[argv.index("-j") + 1]
            if path != "/dev/stderr":
                raise NotImplementedError("only standard error is a file here")
            return CommandResult(argv, 0, f"Query output saved to {path} successfully\n", text)
        firmware, extended = card.firmware, "-e" in argv
        columns = [firmware.default, firmware.current, firmware.next] if extended else [firmware.next]
        hidden = firmware.read_only if self._number == (4, 25) else ()
        rows = {name: [told.get(name) for told in columns] for name in firmware.next if name not in hidden}
        text = self._table(card, device, rows)
        if any(row[-1] != cell for row in rows.values() for cell in row):
            text += "The '*' shows parameters with next value different from default/current value.\n"
        if self._layout.marks and not firmware.read_only.isdisjoint(rows):
            text += "\nThe 'RO' shows parameters which are for read only and cannot be changed\n"
        return CommandResult(argv, 0, text, "")

    def _table(
        self, card: Card, device: str, rows: Mapping[str, Sequence[Setting | None]], new: Sequence[Setting] = ()
    ) -> str:
        layout = self._layout
        about = {
            "Device type:": card.profile.name,
            "Name:": "N/A",
            "Description:": card.profile.product,
            "Device:": device,
        }
        width = layout.label
        lines = ["", "Device #1:", "----------", "", *(f"{key:<{width}}{told:<{width}}" for key, told in about.items())]
        lines += ["", self._header(extended=any(len(row) > 1 for row in rows.values()), new=bool(new))]
        for number, (name, row) in enumerate(rows.items()):
            star = "*" if any(cell != row[-1] for cell in row) else " "
            cells = [_cell(value) for value in (*row, *new[number : number + 1])]
            last = f"{cells.pop():<{layout.value}}"
            mark = "RO" if name in card.firmware.read_only else "  "
            before = star + (f"{mark}     " if layout.marks else " " * 8)
            lines.append(f"{before}{name:<{layout.name}}" + "".join(map(self._padded, cells)) + last)
        return "\n".join(lines) + "\n"

    def _header(self, *, extended: bool, new: bool) -> str:
        layout, columns = self._layout, ("Default", "Current", "Next Boot") if extended else ("Next Boot",)
        if not layout.default:
            words = [f"{word:<{layout.value}}" for word in (*columns, *(["New"] if new else []))]
            return f"{'Configurations:':<{layout.name + 8}}" + " ".join(words)
        widths = (layout.default, layout.current, layout.after) if extended else (layout.alone,)
        words = [f"{word:>{width}}" for word, width in zip(columns, widths, strict=True)]
        return f"{'Configurations:':<{layout.label}}" + "".join(words) + ("       New" if new else "")

    def _padded(self, cell: str) -> str:
        """A value and what is between it and the next one."""
        text = f"{cell:<{self._layout.value}}"
        return text + " " if self._layout.spaced or len(text) > self._layout.value else text

    @staticmethod
    def _as_json(card: Card, device: str, *, extended: bool) -> dict[str, object]:
        rows: dict[str, dict[str, object]] = {}
        for name, after in card.firmware.next.items():
            rows[name] = {"read_only": name in card.firmware.read_only, "next_value": _json_cell(after)}
            if extended:
                default, current = card.firmware.default.get(name), card.firmware.current.get(name)
                rows[name] |= {"default_value": _json_cell(default), "current_value": _json_cell(current)}
                rows[name]["modified"] = default != after or current != after
        about = {"device_type": card.profile.name, "name": "N/A", "description": card.profile.product, "device": device}
        return {"Device #1": about | {"tlv_configuration": rows}}

    # --- set ----------------------------------------------------------------------------------------------------------

    def _set(self, argv: tuple[str, ...], card: Card, words: Sequence[str]) -> CommandResult:
        if "-y" not in argv:
            return CommandResult(argv, _ABORTED, "\n Apply new Configuration? (y/n) [n] : -E- Aborted by user.\n", "")
        wanted: dict[str, Setting] = {}
        for word in words:
            name, equals, text = word.partition("=")
            if not equals:
                return _complaint(argv, f"Invalid Configuration argument {name}")
            known = card.firmware.next.get(name)
            if known is None:
                return _complaint(argv, f"The Device doesn't support {name} parameter")
            if name in card.firmware.read_only:
                return _complaint(argv, f"Operation is not supported (Read only TLV: {name.lower()})")
            wanted[name] = _parsed(text, known)
            if name == NUM_OF_VFS and int(wanted[name]) > MOST_VFS:
                return _complaint(argv, f"Parameter {name}' value is larger than maximum allowed {MOST_VFS}")
        new, after = list(wanted.values()), {name: [card.firmware.next[name]] for name in wanted}
        said = self._table(card, argv[argv.index("-d") + 1], after, new)
        said += "\n Apply new Configuration? (y/n) [n] : y\nApplying... "
        if card.firmware.refuses:
            return CommandResult(argv, _FAILED, f"{said}Failed!\n-E- {card.firmware.refuses}\n", "")
        card.firmware.next.update(wanted)
        cycle = "power cycle" if card.needs_power_cycle else "reboot"
        done = f"{said}Done!\n-I- Please {cycle} machine to load new configurations.\n"
        return CommandResult(argv, 0, done, "")


def _complaint(argv: tuple[str, ...], text: str) -> CommandResult:
    return CommandResult(argv, _FAILED, f"-E- {text}\n", "")


def _cell(value: Setting | None) -> str:
    if value is None:
        return "N/A"
    if isinstance(value, bool):
        return f"{value}({int(value)})"
    return f"{value}({_NUMBERS.get(value, 0)})" if isinstance(value, str) else str(value)


def _json_cell(value: Setting | None) -> int | str:
    return value if isinstance(value, int) and not isinstance(value, bool) else _cell(value)


def _parsed(text: str, known: Setting) -> Setting:
    """A value as it is typed in: a number or a word, in any case of letters."""
    if isinstance(known, bool):
        return text.lower() in ("1", "true")
    if isinstance(known, int):
        return int(text, 0)
    return next((word for word in _NUMBERS if word.lower() == text.lower()), text)
