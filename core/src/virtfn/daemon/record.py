"""What the daemon has to know after a restart or a reboot, in one file that is replaced as a whole.

It is not the journal: what a PF was before, and what was applied to it, stands there. Here is what belongs to the node:
drains and reboots that were made and for what, which PFs were as wanted since this boot, and how often the device
plugin had to look again. Without it nothing is lost but memory: a drain or reboot that was in vain would be made once
more.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from virtfn import durable
from virtfn.errors import JournalError, RequestError
from virtfn.model import PciAddress
from virtfn.model.codec import from_data, to_data

logger = logging.getLogger(__name__)

VERSION: Final = 1


class AttemptKind(StrEnum):
    """What is made to let steps be done, or to let them take effect."""

    DRAIN = "Drain"
    RESET = "Reset"
    """Of a card, in the hope that it spares a reboot."""
    REBOOT = "Reboot"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One drain, reset or reboot, made for one device."""

    kind: AttemptKind
    target: str
    """PCI address of a PF or card, or `node`."""
    key: str
    """Digest of what was to be done, what was wanted of the PFs, and the word that lets it be tried again."""
    cause: str
    """What was wanted and what was seen before, for people."""
    boot_id: str
    """The boot in which it was made."""
    at: str
    """When it was last made, as RFC 3339."""
    count: int = 1
    """How often the steps were performed for it; 0: they could not be, and a reboot was not made."""
    seen: str = ""
    """What was seen after it, where it did not help; empty while that is not known."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """The file's content."""

    version: int = VERSION
    boot_id: str = ""
    """The boot that `settled` is about."""
    settled: tuple[PciAddress, ...] = ()
    """PFs that were as wanted at some time since that boot: what differs later is somebody else's doing."""
    attempts: tuple[Attempt, ...] = ()
    """Drains and reboots that are remembered, oldest first."""
    plugin_round: int = 0
    """How often VFs were made anew, or changed drivers, under a device plugin that runs."""

    def in_boot(self, boot_id: str) -> NodeRecord:
        """The same, seen from that boot: after another one nothing is settled."""
        return self if self.boot_id == boot_id else replace(self, boot_id=boot_id, settled=())

    def with_attempt(self, attempt: Attempt) -> NodeRecord:
        """With this attempt in the place of the one of its kind and target.

        None is forgotten because there are many: what it was in vain for would be made again, for ever.
        """
        others = [old for old in self.attempts if (old.kind, old.target) != (attempt.kind, attempt.target)]
        return replace(self, attempts=(*others, attempt))


class RecordFile:
    """Where the record is. A file that cannot be read is told about and counts as none.

    :param path: its folder is made when the first record is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> NodeRecord:
        """The record, or an empty one."""
        try:
            record = from_data(NodeRecord, json.loads(self._path.read_text(encoding="utf-8")))
            if record.version != VERSION:
                raise ValueError(f"version {record.version}, this virtfn writes {VERSION}")
        except FileNotFoundError:
            return NodeRecord()
        except (OSError, ValueError, RequestError) as error:
            logger.error("%s: cannot be used (%s): drains and reboots made before are forgotten", self._path, error)
            return NodeRecord()
        return record

    def save(self, record: NodeRecord) -> None:
        """Replace the record; it is on disk when this returns.

        :raises JournalError: it cannot be written.
        """
        try:
            text = json.dumps(to_data(record), indent=1)
            durable.replace_file(self._path, text, beside=self._path.with_suffix(".new"))
        except OSError as error:
            raise JournalError(
                f"{self._path}: cannot be written ({error.strerror}; no drain and no reboot is made that could not be "
                "remembered)"
            ) from error


def replace_file(path: Path, text: str) -> bool:
    """Make the text a file's content at one stroke; False if it was so already. Raises OSError."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)
    return True
