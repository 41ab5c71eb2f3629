"""The plugin under test: by the key or name of an installed one, or a class that nobody has installed yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from virtfn.errors import PluginLoadError
from virtfn.model import DeviceModel
from virtfn.plugin import Plugin
from virtfn.registry import GENERIC, VIRTUAL, InstalledPlugin, Registry, installed
from virtfn.registry.loading import import_plugin

NOT_INSTALLED = "not installed"
"""In place of the distribution, for a class that no entry point names."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A plugin's class, the keys it is found by, and the plugins that stand beside it."""

    kind: type[Plugin]
    keys: tuple[str, ...]
    distribution: str
    fallback: type[Plugin] | None
    """Serves the hooks that the plugin leaves out; None: the plugin is generic itself, or none is installed."""

    @property
    def name(self) -> str:
        """The plugin's."""
        return self.kind.name or self.kind.__name__

    def registry(self) -> Registry:
        """The plugin loaded as virtfn loads it, in a process of its own so to say: a new instance each time.

        :raises PluginError: it does not keep the contract.
        """
        plugins = dict.fromkeys(self.keys, self.kind)
        if self.fallback is not None and GENERIC not in plugins:
            plugins[GENERIC] = self.fallback
        return Registry.for_testing(plugins, distribution=self.distribution)


def subject_of(plugin: str | type[Plugin], *, keys: Sequence[str] = ()) -> Subject:
    """The plugin under test.

    :param plugin: key (`15b3`, `generic`) or name (`mellanox`) of an installed plugin, or a class.
    :param keys: for a class that is not installed; default: the vendors of its device table.
    :raises PluginLoadError: there is no such plugin, or it cannot be imported.
    """
    entries = [entry for entry in installed() if entry.well_formed]
    if isinstance(plugin, str):
        return _installed(plugin, entries)
    named = tuple(keys) or tuple(entry.key for entry in entries if _class_of(entry) is plugin) or _vendors(plugin)
    if not named:
        raise PluginLoadError(
            f"plugin {plugin.name or plugin.__name__}: has no keys (it is not installed and has no device table: "
            "say which PCI vendors it is for, keys=('8086',))",
            plugin=plugin.name,
        )
    label = next((entry.label for entry in entries if _class_of(entry) is plugin), NOT_INSTALLED)
    return Subject(plugin, named, label, _fallback(entries, named))


def _installed(name: str, entries: Sequence[InstalledPlugin]) -> Subject:
    chosen = next((entry for entry in entries if entry.key == name.lower()), None)
    kind = import_plugin(chosen) if chosen is not None else None
    if chosen is None:
        for entry in entries:
            if (found := _class_of(entry)) is not None and found.name == name:
                chosen, kind = entry, found
                break
    if chosen is None or kind is None:
        known = ", ".join(sorted({entry.key for entry in entries})) or "none"
        raise PluginLoadError(f"plugin {name}: is not installed (there are: {known})", plugin=name)
    keys = tuple(entry.key for entry in entries if entry is chosen or _class_of(entry) is kind)
    return Subject(kind, keys, chosen.label, _fallback(entries, keys))


def _class_of(entry: InstalledPlugin) -> type[Plugin] | None:
    """The class an entry point names; None when it cannot be imported, which is not this plugin's fault."""
    try:
        return import_plugin(entry)
    except PluginLoadError:
        return None


def _fallback(entries: Sequence[InstalledPlugin], keys: Sequence[str]) -> type[Plugin] | None:
    if GENERIC in keys:
        return None
    return next((_class_of(entry) for entry in entries if entry.key == GENERIC), None)


def _vendors(plugin: type[Plugin]) -> tuple[str, ...]:
    if plugin.name in (GENERIC, VIRTUAL):
        return (plugin.name,)
    table: Sequence[DeviceModel] = getattr(plugin(), "device_table", tuple)()
    return tuple(sorted({row.pf.vendor for row in table}))
