"""A real directory tree whose files behave: what sysfs is to a program, on an ordinary file system.

Folders and symbolic links are real, so any program can look at the tree. A file can have a reader and a writer of its
own (an *attribute*); its present text is kept on disk as well. Reads and writes through this class get what the reader
and writer say, with the errno that the real file would give.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from virtfn.testing.ground.blocking import WouldBlock


def oserror(code: int, text: str = "", *, path: str | None = None) -> OSError:
    """The `OSError` for an errno, with the kernel's own words if it gave some."""
    return OSError(code, text or os.strerror(code), path) if path else OSError(code, text or os.strerror(code))


@dataclass(slots=True)
class _Attribute:
    read: Callable[[], str] | None
    write: Callable[[str], None] | None
    shown: str


class Tree:
    """Folders, links and attributes below `root`. Paths are relative to it, with or without a leading slash."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._attributes: dict[str, dict[str, _Attribute]] = {}
        self._prefix = f"{self.root}/"
        self._canonical: dict[str, str] = {}
        self._folders: set[str] = set()
        """Canonical folders that are known to be there: to ask the file system each time is what costs most."""

    # --- building -----------------------------------------------------------------------------------------------------

    def folder(self, path: str) -> None:
        """Make a folder and those above it."""
        (self.root / path).mkdir(parents=True, exist_ok=True)

    def file(self, path: str, text: str) -> None:
        """A file that reads `text` and cannot be written."""
        self.attribute(path, read=lambda: text)

    def plain(self, path: str, text: str) -> None:
        """An ordinary file: written like any other."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def attribute(
        self, path: str, *, read: Callable[[], str] | None = None, write: Callable[[str], None] | None = None
    ) -> None:
        """A file with a reader and a writer. Without a reader reading gives EACCES, without a writer writing does."""
        folder, name = self._split(path)
        attribute = _Attribute(read, write, _present(read))
        self._make(folder)
        self._show(f"{folder}/{name}", attribute.shown)
        self._attributes.setdefault(folder, {})[name] = attribute

    def link(self, path: str, target: str) -> None:
        """A symbolic link to another path of the tree, relative as the kernel makes them. Replaces an older one."""
        folder, name = self._split(path)
        self._make(folder)
        place = self.root / folder / name
        where = _relative(folder, self._canonical_path(target))
        try:
            place.symlink_to(where)
        except FileExistsError:
            place.unlink()
            place.symlink_to(where)
        self._forget(path)

    def remove(self, path: str) -> None:
        """Take away a file, a link, or a folder with everything in it. Nothing happens when it is not there."""
        folder, name = self._split(path)
        place = self.root / folder / name
        if place.is_symlink() or place.is_file():
            place.unlink()
            self._attributes.get(folder, {}).pop(name, None)
        elif place.is_dir():
            gone = (PurePosixPath(folder) / name).as_posix()
            shutil.rmtree(place)
            for known in [known for known in self._attributes if known == gone or known.startswith(f"{gone}/")]:
                del self._attributes[known]
            self._folders -= {known for known in self._folders if known == gone or known.startswith(f"{gone}/")}
        self._forget(path)

    def remove_if_empty(self, path: str) -> None:
        """Take away a folder that has nothing left in it."""
        place = self.root / path
        if place.is_dir() and not any(place.iterdir()):
            self.remove(path)

    def refresh(self, folder: str) -> None:
        """Bring the texts on disk of a folder's attributes up to date."""
        where = self._canonical_path(folder)
        for name, attribute in self._attributes.get(where, {}).items():
            text = _present(attribute.read)
            if text != attribute.shown:
                attribute.shown = text
                self._show(f"{where}/{name}", text)

    # --- using --------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> str:
        """Text of a file. OSError as the real file gives it."""
        attribute = self._find(path)
        if attribute is None:
            return (self.root / path.lstrip("/")).read_text()
        if attribute.read is None:
            raise oserror(errno.EACCES, path=path)
        return attribute.read()

    def write(self, path: str, text: str) -> None:
        """One write to a file that is there. An empty text never reaches the file: write(2) of nothing does nothing."""
        attribute = self._find(path)
        if attribute is None:
            fd = os.open(self.root / path.lstrip("/"), os.O_WRONLY | os.O_TRUNC)
            with os.fdopen(fd, "w") as file:
                file.write(text)
            return
        if attribute.write is None:
            raise oserror(errno.EACCES, path=path)
        if text:
            attribute.write(text)

    def exists(self, path: str) -> bool:
        """Whether something is there; links are followed."""
        return (self.root / path.lstrip("/")).exists()

    def listdir(self, path: str) -> list[str]:
        """Names in a folder, sorted; empty when it is absent."""
        place = self.root / path.lstrip("/")
        return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []

    def readlink(self, path: str) -> str | None:
        """Last component of a link's target, or None."""
        place = self.root / path.lstrip("/")
        return place.readlink().name if place.is_symlink() else None

    # --- on disk ------------------------------------------------------------------------------------------------------

    def _make(self, folder: str) -> None:
        """Make a folder, given by its canonical path, and those above it."""
        if folder not in self._folders:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)

    def _show(self, path: str, text: str) -> None:
        """Put the text of an attribute on disk."""
        fd = os.open(self._prefix + path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            if text:
                os.write(fd, text.encode())
        finally:
            os.close(fd)

    # --- paths --------------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> _Attribute | None:
        folder, name = self._split(path)
        return self._attributes.get(folder, {}).get(name)

    def _split(self, path: str) -> tuple[str, str]:
        """Canonical folder and name."""
        folder, _, name = path.strip("/").rpartition("/")
        return self._canonical_path(folder or "."), name

    def _canonical_path(self, path: str) -> str:
        """The path with all links followed."""
        known = self._canonical.get(path)
        if known is None:
            known = (self.root / path).resolve().relative_to(self.root).as_posix()
            self._canonical[path] = known
        return known

    def _forget(self, path: str) -> None:
        """A link has come, or something has gone: what was known of ways through it holds no more."""
        way = path.strip("/")
        folder, name = self._split(way)
        canonical = name if folder == "." else f"{folder}/{name}"
        gone = {way, canonical}
        below = (f"{way}/", f"{canonical}/")
        self._canonical = {
            known: where
            for known, where in self._canonical.items()
            if not (known in gone or where in gone or known.startswith(below) or where.startswith(below))
        }


def _present(read: Callable[[], str] | None) -> str:
    """What the file on disk shows: nothing where reading fails."""
    try:
        return read() if read else ""
    except (OSError, WouldBlock):
        return ""


def _relative(folder: str, target: str) -> str:
    """`target` as seen from `folder`, both relative to the root."""
    here, there = PurePosixPath(folder).parts, PurePosixPath(target).parts
    same = 0
    while same < min(len(here), len(there) - 1) and here[same] == there[same]:
        same += 1
    return "/".join([".."] * (len(here) - same) + list(there[same:]))
