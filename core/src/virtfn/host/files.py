"""sysfs, procfs and plain files of the managed machine: `Files` over the file system.

Nothing here knows what a file means; the rules are in `virtfn.host.machine`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from virtfn.host.oserror import os_error
from virtfn.host.writer import Report, Writer, write_once


class HostFiles:
    """Files below `root`; paths are relative to it (`sys/bus/pci/devices/...`), a leading slash is allowed.

    Errors are OSError with errno and the full path as `filename`.
    """

    def __init__(self, root: Path = Path("/"), *, writer: Writer | None = None) -> None:
        self._root = root
        self._writer = writer or Writer()

    def read(self, path: str) -> str:
        """The file's text as it is; bytes that are no UTF-8 are replaced."""
        full = self._full(path)
        try:
            return full.read_bytes().decode(errors="replace")
        except OSError as error:
            # A read(2) that fails (EINVAL from `speed` of a link that is down) does not name the file.
            error.filename = str(full)
            raise

    def write(self, path: str, text: str) -> None:
        """One write(2) of the text to an existing file. A write that is taken in part is an error (EIO)."""
        full, data = str(self._full(path)), text.encode()
        _check(write_once(full, data), full, data)

    def write_slow(self, path: str, text: str, *, timeout: float) -> None:
        """As `write`, but done in another process that is left behind when it gives no answer in `timeout` seconds.

        :raises TimeoutError: no answer; the write may still happen later. Other files can be written meanwhile.
        """
        full, data = str(self._full(path)), text.encode()
        _check(self._writer.write(full, data, timeout=timeout), full, data)

    def exists(self, path: str) -> bool:
        """Whether something is there; False for a dangling link, and where we may not look."""
        try:
            self._full(path).stat()
        except OSError:
            return False
        return True

    def listdir(self, path: str) -> Sequence[str]:
        """Names in a folder, sorted; empty when there is no such folder."""
        full = self._full(path)
        try:
            return sorted(entry.name for entry in full.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def readlink(self, path: str) -> str | None:
        """Last component of a symbolic link's target; None when there is no such link."""
        full = self._full(path)
        try:
            return full.readlink().name
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

    def _full(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def _check(report: Report, path: str, data: bytes) -> None:
    if report.errno:
        raise os_error(report.errno, filename=path)
    if report.taken != len(data):
        raise os_error(errno.EIO, f"only {report.taken} of {len(data)} bytes were taken", filename=path)
