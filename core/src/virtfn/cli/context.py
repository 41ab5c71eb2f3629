"""What a command is handed: where to read and write, and the node it is about."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from virtfn.errors import InvalidDocument

if TYPE_CHECKING:
    from rich.console import Console

    from virtfn.host.machine import Machine
    from virtfn.node import Node

WIDTH = 1000
"""Columns of tables and lines: nothing is cut or folded, one row is one line; a terminal wraps what is too long."""


def real_machine(root: Path) -> Machine:
    """This host, or the one whose file system is mounted at `root`."""
    from virtfn.host.linux import linux_kernel
    from virtfn.host.machine import Machine

    return Machine(linux_kernel(root))


@dataclass
class Context:
    """The surroundings of one command."""

    journal_folder: Path
    machine: Callable[[], Machine]
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)

    @cached_property
    def console(self) -> Console:
        """For tables and text; without colours when piped."""
        return self._console(self.stdout)

    @cached_property
    def error_console(self) -> Console:
        """For errors and progress."""
        return self._console(self.stderr)

    @staticmethod
    def _console(stream: TextIO) -> Console:
        from rich.console import Console

        class Plain(Console):
            def on_broken_pipe(self) -> None:
                """Whoever read has gone: that is for the command's caller to see, not an exit code of rich's."""
                raise BrokenPipeError

        return Plain(file=stream, width=WIDTH, highlight=False, emoji=False, markup=False)

    @cached_property
    def node(self) -> Node:
        """The node that the command is about."""
        from virtfn.journal import Journal
        from virtfn.node import Node

        return Node(self.machine(), journal=Journal(self.journal_folder), now=time.monotonic)

    def read_sources(self, names: list[str]) -> list[tuple[str, str]]:
        """Text of each file, of each `*.yaml`, `*.yml` and `*.json` of a folder, or of standard input (`-`).

        Returns (name for messages, text). Raises `InvalidDocument` for what cannot be read.
        """
        found = []
        for name in names:
            if name == "-":
                found.append(("standard input", self.stdin.read()))
                continue
            path = Path(name)
            paths = [path]
            if path.is_dir():
                paths = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json") and p.is_file())
                if not paths:
                    raise InvalidDocument(f"{name}: the folder holds no .yaml, .yml or .json file", field="-f")
            found += [(str(p), _read(p)) for p in paths]
        return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDocument(
            f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})", field="-f"
        ) from error
    except OSError as error:
        raise InvalidDocument(f"{path}: cannot be read ({error.strerror})", field="-f") from error
