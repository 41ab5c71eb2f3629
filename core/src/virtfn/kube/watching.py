"""The lines of a watch: cut out of what arrives, and read one by one, trusting none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from virtfn.errors import BadReply
from virtfn.kube.refusals import refusal
from virtfn.kube.resource import Json, key_of, version_of

LONGEST_LINE = 32 << 20
"""Bytes. An object of etcd is 1.5 MB at most; a line longer than this has lost its end."""


class EventKind(Enum):
    """`type` of a line (API concepts, "Efficient detection of changes")."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    """Nothing happened; the object carries a resource version and nothing else."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line. `key` is empty for a bookmark."""

    kind: EventKind
    key: str
    version: str
    thing: Json


class LineCutter:
    """Makes lines of chunks. What is left when the stream ends was cut off, and is no line."""

    def __init__(self, *, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that this chunk completes, without their ends; empty lines are left out.

        :raises BadReply: for a line without an end.
        """
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._pieces.append(end)
            line = b"".join(self._pieces).strip()
            self._pieces, self._held = [], 0
            if line:
                yield line
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
            if self._held > self._longest:
                raise BadReply(f"watch: a line of more than {self._longest} bytes (is there a proxy in between?)")


def read_event(line: bytes, *, subject: str) -> WatchEvent:
    """One line as an event.

    :raises Gone: an ERROR event that says that the resource version is too old.
    :raises ClusterError: any other ERROR event.
    :raises BadReply: what is no event: bad JSON, an unknown type, an object without name or version.
    """
    try:
        event = json.loads(line)
        word, thing = event["type"], event["object"]
        if word == "ERROR":
            code = thing.get("code")
            raise refusal(thing, code=code if isinstance(code, int) else 500, subject=subject, verb="watch", body=line)
        kind = EventKind(word)
        version = version_of(thing)
        key = "" if kind is EventKind.BOOKMARK else key_of(thing)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        start = line[:80].decode("utf-8", "replace")
        raise BadReply(f"{subject}: a line of the watch is no event ({error!r}: {start!r})", subject=subject) from error
    if not version:
        raise BadReply(f"{subject}: an event without a resource version ({word} {key})", subject=subject)
    return WatchEvent(kind, key, version, thing)
