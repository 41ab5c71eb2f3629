"""Runs one external command with a time-out, so that no step of the bed can hang or fail without saying where.

Not for the guest itself, which outlives a single call: see `bed.machine`.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL_LINES = 30


class BedError(Exception):
    """The bed cannot be set up or run; the message says what to do."""


class CommandFailed(BedError):
    """A command ended badly or not at all; the message holds the command and the end of its output."""


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text, for an error message."""
    kept = text.rstrip().splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in kept)


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> bytes:
    """Run a command and return its stdout.

    `timeout` is in seconds; `env` is added to the environment. The command gets its own process group, so that
    its children end with it when the time is up. Raises CommandFailed.
    """
    words = [str(word) for word in argv]
    shown = shlex.join(words)
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"{shown}: {error.strerror}") from error
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            said = tail((out + err).decode(errors="replace"))
            raise CommandFailed(f"{shown}: not done in {timeout:.0f} s\n{said}") from None
        raise
    if process.returncode != 0:
        said = tail((out + err).decode(errors="replace"))
        raise CommandFailed(f"{shown}: exit status {process.returncode}\n{said}")
    return out


def run_text(argv: Sequence[str | Path], *, timeout: float) -> str:
    """Like `run`, with stdout as text."""
    return run(argv, timeout=timeout).decode(errors="replace")
