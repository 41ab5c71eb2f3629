"""`mstconfig` on a simulated machine: the program that reads and sets what a card keeps in its firmware.

It prints what the real one prints in the version that it is told to be: the table in its widths, from 4.31 on
the JSON form as well, and complaints on standard output with exit code 3 (formats from the source of mstflint 4.10 to
4.36). The settings are those of the card's profile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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

_WIDTHS: Final[Sequence[tuple[tuple[int, int], int, int, str]]] = (
    ((4, 36), 48, 33, "  "),
    ((4, 26), 44, 20, "  "),
    ((4, 25), 44, 16, "  "),
    ((4, 22), 44, 16, ""),
    ((0, 0), 36, 16, ""),
)
"""From which version on: width of a name, of a value, and the place of the mark `RO`."""


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
    def _number(self) -> tuple[int, int]:
        first, second = self.version.split(".")[:2]
        return int(first), int(second)

    # --- query --------------------------------------------------------------------------------------------------------

    def _query(self, argv: tuple[str, ...], card: Card, device: str) -> CommandResult:
        if "-j" in argv:
            text = json.dumps(self._as_json(card, device), indent=1) + "\n"
            if argv[argv.index("-j") + 1] != "/dev/stderr":
                raise NotImplementedError("only standard error is a file here")
            return CommandResult(argv, 0, "", text)
        return CommandResult(argv, 0, self._table(card, device, extended="-e" in argv), "")

    def _table(self, card: Card, device: str, *, extended: bool) -> str:
        name_width, width, mark = next(row[1:] for row in _WIDTHS if self._number >= row[0])
        columns = ["Default", "Current", "Next Boot"] if extended else ["Next Boot"]
        firmware = card.firmware
        lines = [
            "",
            "Device #1:",
            "----------",
            "",
            f"{'Device type:':<20}{card.profile.name:<20}",
            f"{'Name:':<20}{'N/A':<20}",
            f"{'Description:':<20}{card.profile.product:<20}",
            f"{'Device:':<20}{device:<20}",
            "",
            "Configurations:" + "".join(f"{column:>{width}}" for column in columns),
        ]
        differing = False
        for name in firmware.next:
            default, current, after = (told.get(name) for told in (firmware.default, firmware.current, firmware.next))
            differs = extended and (after != default or after != current)
            differing |= differs
            cells = [_cell(value) for value in ([default, current, after] if extended else [after])]
            star = "*" if differs else " "
            row = f"{star}{mark}{' ' * (8 - len(mark))}{name:<{name_width}}"
            lines.append(row + "".join(_padded(cell, width, self._number) for cell in cells))
        if differing:
            lines.append("The '*' shows parameters with next value different from default/current value.")
        return "\n".join(lines) + "\n"

    @staticmethod
    def _as_json(card: Card, device: str) -> dict[str, object]:
        firmware = card.firmware
        rows = {
            name: {
                "read_only": False,
                "next_value": _json_cell(firmware.next.get(name)),
                "modified": firmware.next.get(name) != firmware.current.get(name),
                "default_value": _json_cell(firmware.default.get(name)),
                "current_value": _json_cell(firmware.current.get(name)),
            }
            for name in firmware.next
        }
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
            wanted[name] = _parsed(text, known)
            if name == NUM_OF_VFS and int(wanted[name]) > MOST_VFS:
                return _complaint(argv, f"Parameter {name}' value is larger than maximum allowed {MOST_VFS}")
        said = "\n Apply new Configuration? (y/n) [n] : y\nApplying... "
        if card.firmware.refuses:
            return CommandResult(argv, _FAILED, f"{said}Failed!\n-E- {card.firmware.refuses}\n", "")
        card.firmware.next.update(wanted)
        cycle = "power cycle" if card.profile.firmware.needs_power_cycle else "reboot"
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


def _padded(cell: str, width: int, version: tuple[int, int]) -> str:
    """A cell; one that is too wide has a space after it in most versions."""
    if version >= (4, 26):
        return f"{cell:<{width}}" + " " * (len(cell) >= width)
    return f"{cell:<{width}}" + " " * (version >= (4, 12) and len(cell) > width)


def _parsed(text: str, known: Setting) -> Setting:
    """A value as it is typed in: a number or a word, in any case of letters."""
    if isinstance(known, bool):
        return text.lower() in ("1", "true")
    if isinstance(known, int):
        return int(text, 0)
    return next((word for word in _NUMBERS if word.lower() == text.lower()), text)
