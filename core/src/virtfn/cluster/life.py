"""A process's life in a pod: who it is, how much it says, and when it is asked to end."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Mapping
from random import Random
from typing import Final

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


def identity(environment: Mapping[str, str], *, random: Random) -> str:
    """Unique among all processes that want one lease: the pod's name (or the host's) with something random."""
    return f"{environment.get('POD_NAME') or socket.gethostname()}_{random.getrandbits(32):08x}"


def stop_on_signals(stop: threading.Event) -> None:
    """Set the event at SIGTERM and SIGINT. Only in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def start_logging(level: int) -> None:
    """Log to standard error; 0 warnings, 1 what is done, 2 everything (`spec.logLevel` of the operator's config)."""
    # The command line has set up its own before: lines that people see at once, without the time.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO, force=True)
    set_log_level(level)


def set_log_level(level: int) -> None:
    """Change how much is said, for all of virtfn."""
    logging.getLogger("virtfn").setLevel(_LEVELS[min(max(level, 0), len(_LEVELS) - 1)])
