"""Perform: the steps of a plan done on the machine, recorded in the journal; or written down as a script."""

from virtfn.performing.executor import Executor, Listener, NoListener
from virtfn.performing.script import shell_script

__all__ = ["Executor", "Listener", "NoListener", "shell_script"]
