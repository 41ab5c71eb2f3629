"""What a vendor plugin derives from. The hooks themselves are documented in `virtfn.hookspecs`."""

from __future__ import annotations

from typing import ClassVar

import pluggy

API_VERSION = 1
"""Version of the contract in `virtfn.hookspecs`. It grows only when an existing hook changes its meaning."""

PROJECT = "virtfn"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a method of a `Plugin` as the implementation of the hook with the same name."""


class Plugin:
    """Base of all plugins: a class with a `name` and some hooks, without state of its own.

    One instance is made per process; it is handed everything it needs with each call and keeps nothing between calls.
    """

    name: ClassVar[str] = ""
    """Short name, `[a-z][a-z0-9-]*`; its own steps are called `<name>.<verb>`."""

    api_version: ClassVar[int] = API_VERSION
    """The version of the contract this plugin was written for: write the number, not the constant."""

    summary: ClassVar[str] = ""
    """One line on what it serves, shown by `virtfn plugins`."""
