"""Running one command: an error becomes a line and an exit code, whoever calls."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit, exit_of
from virtfn.errors import VirtfnError

_INTERRUPTED = 130
"""As a shell reports SIGINT."""


def run_command(context: Context, args: argparse.Namespace) -> int:
    """Run the command that the command line named; returns the exit code."""
    try:
        return int(args.run(context, args))
    except VirtfnError as error:
        context.error_console.print("error: ", style="bold red", end="")
        context.error_console.print(f"{error} [{error.reason}]")
        return exit_of(error)
    except KeyboardInterrupt:
        context.error_console.print("Interrupted. The same command goes on from here.")
        return _INTERRUPTED
    except BrokenPipeError:  # `virtfn discover | head`
        with contextlib.suppress(OSError):  # what is still buffered has nowhere to go when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception:
        logging.getLogger(__name__).exception("a bug in virtfn; please report it with the lines below")
        return Exit.INTERNAL
