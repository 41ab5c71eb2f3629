"""Which plugin serves which card, and typed calls of its hooks.

stevedore answers what is installed and whether it imports; pluggy answers whether it keeps the contract, and calls it.
They meet here and nowhere else: the rest of virtfn sees `Registry` and `AdapterHooks`. Nothing in here knows a vendor,
and a plugin that is broken never takes another one down: it becomes an entry of `Registry.problems`, and its cards are
left alone with the reason.
"""

from virtfn.registry.entries import GENERIC, GROUP, VIRTUAL, InstalledPlugin, installed
from virtfn.registry.facade import AdapterHooks, Registry, load_registry
from virtfn.registry.loading import LoadedPlugin

__all__ = [
    "GENERIC",
    "GROUP",
    "VIRTUAL",
    "AdapterHooks",
    "InstalledPlugin",
    "LoadedPlugin",
    "Registry",
    "installed",
    "load_registry",
]
