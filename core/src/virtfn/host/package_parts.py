"""Imports parts of a package without the rest that the package's own `__init__` would bring along.

A daemon stays in memory on every node for months: what it never uses costs there, and at each start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec


@contextmanager
def parts_of(package: str) -> Iterator[None]:
    """Within the block, submodules of a package can be imported, and its own `__init__` is not run for it.

    A later import of the package, by whomever, gives all of it, with parts of its own: these here are ours alone. Does
    nothing if it was imported before.
    """
    spec = find_spec(package) if package not in sys.modules else None
    if spec is None:
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
