"""sysfs, procfs and plain files of the managed machine: `Files` over the file system.

Nothing here knows what a file means; the rules are in `virtfn.host.machine`. An inventory is hundreds of small reads,
and pathlib takes longer for each than the kernel does, so this module keeps to `os`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from virtfn.durable import replace_file, sync_folder
from virtfn.host.oserror import os_error
from virtfn.host.writer import Report, Writer, write_once

_READ_SIZE = 16384


class HostFiles:
    """Files below `root`; paths are relative to it (`sys/bus/pci/devices/...`), a leading slash is allowed.

    Errors are OSError with errno and the full path as `filename`.
    """

    def __init__(self, root: Path = Path("/"), *, writer: Writer | None = None) -> None:
        self._prefix = f"{root}/".replace("//", "/")
        self._writer = writer or Writer()

    def read(self, path: str) -> str:
        """The file's text as it is; bytes that are no UTF-8 are replaced."""
        full = self._full(path)
        try:
            file = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
            try:
                parts = []
                while part := os.read(file, _READ_SIZE):
                    parts.append(part)
            finally:
                os.close(file)
        except OSError as error:
            # A read(2) that fails (EINVAL from `speed` of a link that is down) does not name the file.
            error.filename = full
            raise
        return b"".join(parts).decode(errors="replace")

    def write(self, path: str, text: str) -> None:
        """One write(2) of the text to an existing file. A write that is taken in part is an error (EIO)."""
        full, data = self._full(path), text.encode()
        _check(write_once(full, data), full, data)

    def write_slow(self, path: str, text: str, *, timeout: float) -> None:
        """As `write`, but done in another process that is left behind when it gives no answer in `timeout` seconds.

        :raises TimeoutError: no answer; the write may still happen later. Other files can be written meanwhile.
        """
        full, data = self._full(path), text.encode()
        _check(self._writer.write(full, data, timeout=timeout), full, data)

    def replace(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Make the file anew, whole or not at all: a new one beside it, synced, takes its place."""
        full = self._full(path)
        replace_file(Path(full), text, beside=Path(f"{full}.virtfn-new"), mode=mode)

    def remove(self, path: str) -> None:
        """Take the file away; nothing happens when it is not there."""
        full = self._full(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(full)  # noqa: PTH108
            sync_folder(Path(full).parent)

    def writable(self, path: str) -> bool:
        """Whether files can be made in the folder: False on a read-only file system too."""
        return os.access(self._full(path), os.W_OK | os.X_OK)

    def exists(self, path: str) -> bool:
        """Whether something is there; False for a dangling link, and where we may not look."""
        return os.access(self._full(path), os.F_OK)

    def listdir(self, path: str) -> Sequence[str]:
        """Names in a folder, sorted; empty when there is no such folder."""
        try:
            return sorted(os.listdir(self._full(path)))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []

    def readlink(self, path: str) -> str | None:
        """Last component of a symbolic link's target; None when there is no such link."""
        try:
            return os.readlink(self._full(path)).rpartition("/")[2]  # noqa: PTH115
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # something else than a link
                return None
            raise

    def start(self) -> None:
        """Start the process behind `write_slow` now, best before the program starts threads."""
        self._writer.start()

    def close(self) -> None:
        """End the process behind `write_slow`; one that is stuck is left to the kernel."""
        self._writer.close()

    def __enter__(self) -> HostFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _full(self, path: str) -> str:
        return self._prefix + path.lstrip("/")


def _check(report: Report, path: str, data: bytes) -> None:
    if report.errno:
        raise os_error(report.errno, filename=path)
    if report.taken != len(data):
        raise os_error(errno.EIO, f"only {report.taken} of {len(data)} bytes were taken", filename=path)
