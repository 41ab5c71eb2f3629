"""Running `mstconfig`: which version there is, what it reads of a card, what it sets, and what its complaints mean.

Complaints come on standard output, with exit code 3 (in all versions from 4.15 to 4.36). The JSON form goes to a file,
which the tool reads again while it runs; standard error is one here, and the tool leaves it empty otherwise, so that no
file has to be made and removed. Where that does not work (a host without /proc, something written in between) the
table is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from virtfn.errors import CommandFailed
from virtfn.host.api import CommandResult
from virtfn.model import PciAddress
from virtfn_mellanox.settings import Settings, Unreadable, Value, errors_of, parse_json, parse_table, told

TOOL: Final = "mstconfig"
PACKAGE: Final = "mstflint"
SECONDS: Final = 60.0
"""For one run: to read all settings of a card takes 5 to 20 seconds."""

Version = tuple[int, ...]
JSON_SINCE: Final[Version] = (4, 31)

Ask = Callable[[Sequence[str], str], CommandResult]
"""Runs a program for a device, whose address is the second argument. Raises `CommandFailed`."""

_MOST_SAID: Final = 300
"""Characters: the names of a card's settings may be hundreds."""

_NEEDED: Final = "NUM_OF_VFS"
"""The setting for which all of this is done."""
_VERSION = re.compile(rf"{PACKAGE} (\d+(?:\.\d+)+)")

READ_ONLY: Final = "this setting belongs to another host or to the card's own processor"
_AT_WORK: Final = "another firmware tool is at work on the card"
_NO_CARD: Final = "is the card in order? Under kernel lockdown the tool cannot open it either"
_HINTS: Final[Mapping[str, str]] = {
    "Failed to open the device": _NO_CARD,
    "Failed to identify the device": _NO_CARD,
    "Unsupported device": f"a newer {PACKAGE} may know the card",
    "check if NV access registers are supported": "seen after a change of BlueField's mode: it takes a power cycle",
    "HW access is disabled": "the card is closed to this host, or its firmware is too old for the tool",
    "Livefish": "the card runs without firmware: burn it anew",
    "emaphore": f"{_AT_WORK}, or one was killed: `{TOOL} -d <device> clear_semaphore` helps then",
    "busy": _AT_WORK,
    "debug token": "the card's firmware is locked by its vendor",
    "larger than maximum allowed": "ask for fewer VFs",
    "Illegal constraint": "the firmware has no room for it beside its other settings: ask for fewer VFs",
    "Read only": READ_ONLY,
}
"""What a complaint means, by a part of its text."""


def read_version(ask: Ask) -> Version | None:
    """The version of the tool; None: it does not say.

    :raises CommandFailed: it is not installed, or does not end.
    """
    match = _VERSION.search(ask((TOOL, "-v"), "").stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def read_settings(ask: Ask, functions: Sequence[PciAddress], version: Version | None) -> Settings:
    """All settings of a card, asked for at its first function, and at the next one if that cannot be read.

    Functions of a card whose firmware is broken were seen to fail while others answered.

    :raises CommandFailed: none can be read; the error is the first function's.
    """
    first: CommandFailed | None = None
    for function in functions:
        try:
            return _read(ask, str(function), version)
        except CommandFailed as error:
            if error.code is None:  # not installed, or out of time: the next one is no better
                raise
            first = first or error
    if first is None:
        raise CommandFailed("a card without functions has no settings")
    raise first


def _read(ask: Ask, function: str, version: Version | None) -> Settings:
    if version is not None and version >= JSON_SINCE:
        result = ask((TOOL, "-e", "-d", function, "-j", "/dev/stderr", "q"), function)
        try:
            return _whole(function, result, parse_json(result.stderr))
        except Unreadable as error:
            said = errors_of(result.stdout)
            if said and not said[0].startswith("invalid argument"):  # an older tool took the place of the newer one
                raise _failed(function, result) from error
    result = ask((TOOL, "-e", "-d", function, "q"), function)
    try:
        return _whole(function, result, parse_table(result.stdout))
    except Unreadable as error:
        raise _failed(function, result, wrong=str(error)) from error


def _whole(function: str, result: CommandResult, seen: Settings) -> Settings:
    """What was read is good even if the tool then says what it could not read; but not if that is what matters."""
    if _NEEDED not in seen and (result.code != 0 or errors_of(result.stdout)):
        raise _failed(function, result, wrong=f"it ended before {_NEEDED}")
    return seen


def write_settings(ask: Ask, function: PciAddress, values: Mapping[str, Value]) -> str:
    """Set what is to be in force after the next reset. Returns what the tool says has to follow, for people.

    :raises CommandFailed: the tool or the firmware refuses.
    """
    words = [f"{name}={told(value)}" for name, value in values.items()]
    result = ask((TOOL, "-d", str(function), "-y", "set", *words), str(function))
    if result.code != 0 or errors_of(result.stdout):
        raise _failed(str(function), result)
    said = [line.removeprefix("-I-").strip() for line in result.stdout.splitlines() if line.startswith("-I-")]
    return said[-1] if said else ""


def _failed(function: str, result: CommandResult, *, wrong: str = "") -> CommandFailed:
    said = " ".join(errors_of(result.stdout)) or result.stderr.strip().partition("\n")[0]
    said = said[:_MOST_SAID] or wrong or "it said nothing"
    hint = next((hint for part, hint in _HINTS.items() if part in said), "")
    what = f"{function}: {TOOL} failed ({said}; exit code {result.code}"
    return CommandFailed(
        f"{what}: {hint})" if hint else f"{what})",
        device=function,
        argv=result.argv,
        code=result.code,
        output=result.stdout + result.stderr,
    )
