"""Files that virtfn keeps on the host for others to read: where they may be, and how to tell that one is virtfn's.

Each begins with a line that says so. A file of the same name without it is an administrator's, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from virtfn.errors import NotEffective, NotPermitted
from virtfn.host.kernel import Files
from virtfn.host.refusals import host_error
from virtfn.model.owned_files import FOREIGN, MARK, MODPROBE, NETWORKD, UDEV_RULES, digest_of

_PLACES = (
    re.compile(r"/etc/udev/rules\.d/\d\d-virtfn-[\w.:-]+\.rules"),
    re.compile(r"/etc/systemd/network/\d\d-virtfn-[\w.:-]+\.network"),
    re.compile(r"/etc/systemd/system/virtfn-[\w-]+\.service"),
    re.compile(r"/etc/systemd/system/[\w-]+\.target\.d/\d\d-virtfn\.conf"),
    re.compile(r"/var/lib/virtfn/boot/[\w-]+\.sh"),
    re.compile(r"/etc/modprobe\.d/zz-virtfn-[\w-]+\.conf"),
)
_SEARCHED = (UDEV_RULES, NETWORKD, MODPROBE)
"""Folders whose files are part of what is observed."""
_FIRST_LINES = 2
"""The mark is in one of them: a script has its interpreter in the first."""


def is_place(path: str) -> bool:
    """Whether virtfn may keep a file there."""
    return any(place.fullmatch(path) for place in _PLACES)


def is_marked(text: str) -> bool:
    """Whether a file's text says that it is virtfn's."""
    return any(MARK in line for line in text.splitlines()[:_FIRST_LINES])


def read_owned(files: Files) -> Mapping[str, str]:
    """Files that are there where virtfn keeps its own: digests by path, `FOREIGN` for an administrator's."""
    found = {}
    for folder in _SEARCHED:
        for name in files.listdir(folder.lstrip("/")):
            path = f"{folder}/{name}"
            if not is_place(path):
                continue
            try:
                text = files.read(path.lstrip("/"))
            except OSError:
                continue
            found[path] = digest_of(text) if is_marked(text) else FOREIGN
    return found


def udev_keeps_rules(files: Files) -> bool:
    """Whether udev runs on this host and takes rules: a container host may have neither."""
    return files.exists("run/udev/control") and files.writable(UDEV_RULES.lstrip("/"))


class OwnedFiles:
    """Writes them."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def write(self, path: str, text: str, *, mode: int) -> None:
        """See `virtfn.host.api.Host.write_file`."""
        what = "cannot be written"
        self._refuse_others(path, what)
        if not is_marked(text):
            raise NotPermitted(f"{path}: {what} (its text does not say that it is virtfn's)", device=path)
        try:
            self._files.replace(path.lstrip("/"), text, mode=mode)
            now = self._files.read(path.lstrip("/")) if self._files.exists(path.lstrip("/")) else None
        except OSError as error:
            raise host_error(error, device=path, what=what) from error
        if now != text:
            raise NotEffective(f"{path}: {what} (it has another text afterwards)", device=path)

    def remove(self, path: str) -> None:
        """See `virtfn.host.api.Host.remove_file`."""
        what = "cannot be removed"
        self._refuse_others(path, what)
        try:
            self._files.remove(path.lstrip("/"))
        except OSError as error:
            raise host_error(error, device=path, what=what) from error
        if self._files.exists(path.lstrip("/")):
            raise NotEffective(f"{path}: {what} (it is still there)", device=path)

    def _refuse_others(self, path: str, what: str) -> None:
        if not is_place(path):
            raise NotPermitted(f"{path}: {what} (virtfn keeps no files there)", device=path)
        try:
            there = self._files.read(path.lstrip("/"))
        except OSError:
            return
        if not is_marked(there):
            raise NotPermitted(
                f"{path}: {what} (there is such a file, and it is not virtfn's: move it away)", device=path
            )
