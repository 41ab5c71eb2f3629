"""Files that are replaced as a whole or not at all, and are on disk when that is done: a crash leaves old or new."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, text: str, *, beside: Path, mode: int = 0o644) -> None:
    """Make the file anew: a new one, synced, takes its place. Folders that are not there are made.

    :param beside: the new one's name until then, in the same folder; what is there is overwritten.
    :raises OSError: the old file is as it was, unless syncing the folder failed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            os.fchmod(file, mode)
            data = text.encode()
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in the folder is so after a crash too. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
