"""From an entry point to a plugin that can be called, or to the error that says why not.

stevedore imports, one entry point at a time, so that nothing a plugin does while it is imported stops another one.
Its own list of entry points is replaced by ours: with it goes its cache of them, a file below the home directory that a
daemon run by root should neither write nor believe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import cast

from stevedore.named import NamedExtensionManager

from virtfn.errors import ContractViolation, PluginApiMismatch, PluginError, PluginLoadError
from virtfn.model import DeviceModel, PciId
from virtfn.plugin import API_VERSION, Plugin
from virtfn.registry.contract import CORE_NAMES, GuardedPlugin, check_hooks, guard, implemented, new_manager
from virtfn.registry.entries import GENERIC, GROUP, InstalledPlugin

_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPlugin:
    """A plugin that imports and keeps the contract."""

    name: str
    summary: str
    keys: tuple[str, ...]
    """All entry point keys that name its class, sorted."""
    distribution: str
    """Name and version of the distribution it came with."""
    hooks: frozenset[str]
    """Names of the hooks it implements."""
    device_table: tuple[DeviceModel, ...]
    guarded: GuardedPlugin
    """What is registered with pluggy."""

    @property
    def label(self) -> str:
        """`intel (virtfn-intel 0.1.0)`, for messages."""
        return f"{self.name} ({self.distribution})"

    def model_of(self, pci_id: PciId) -> DeviceModel | None:
        """The row of the device table whose PF has this id, or None."""
        return next((row for row in self.device_table if row.pf == pci_id), None)


class _OneEntryPoint(NamedExtensionManager[object]):
    """stevedore's manager over a single entry point that was found without it."""

    def __init__(self, entry_point: EntryPoint) -> None:
        self._entry_point = entry_point
        self.failure: BaseException | None = None
        super().__init__(
            GROUP,
            names=[entry_point.name],
            on_load_failure_callback=self._keep_failure,
            on_missing_entrypoints_callback=None,
        )

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._entry_point]

    @staticmethod
    def _keep_failure(manager: object, _entry_point: EntryPoint, error: BaseException) -> None:
        assert isinstance(manager, _OneEntryPoint)
        manager.failure = error


def import_plugin(plugin: InstalledPlugin) -> type[Plugin]:
    """The class that an entry point names.

    :raises PluginLoadError: it cannot be imported, or is no subclass of `virtfn.Plugin`.
    """
    where = f"plugin {plugin.key} ({plugin.label})"
    try:
        manager = _OneEntryPoint(plugin.entry_point)
        failure = manager.failure
    except (AssertionError, SystemExit) as error:  # stevedore lets these two through
        failure = error
    if failure is not None:
        raise PluginLoadError(
            f"{where}: {plugin.value} cannot be imported"
            f" ({type(failure).__name__}: {failure}; install {plugin.distribution} again or remove it)",
            plugin=plugin.key,
            distribution=plugin.label,
        ) from failure
    found = cast(object, manager.extensions[0].plugin)
    if not isinstance(found, type) or not issubclass(found, Plugin):
        raise PluginLoadError(
            f"{where}: {plugin.value} is not a subclass of virtfn.Plugin (correct the entry point)",
            plugin=plugin.key,
            distribution=plugin.label,
        )
    return found


def make_plugin(kind: type[Plugin], *, keys: Sequence[str], distribution: str) -> LoadedPlugin:
    """One instance of a plugin's class, checked against the contract.

    :param keys: the entry point keys that name the class.
    :raises PluginError: `PluginApiMismatch`, `PluginLoadError` or `ContractViolation`, naming the distribution.
    """
    where = f"plugin {kind.name or '/'.join(keys)} ({distribution})"
    version = kind.api_version
    if not _is_current(version):
        cure = "install a newer release of it" if _is_older(version) else "install a newer virtfn"
        raise PluginApiMismatch(
            f"{where}: was written for version {version!r} of the plugin contract, this virtfn has version"
            f" {API_VERSION} ({cure})",
            plugin=kind.name,
            distribution=distribution,
        )
    if not _is_name(kind.name):
        raise ContractViolation(
            f"{where}: {kind.name!r} is not a plugin name (lower-case letters, digits and -, a letter first)",
            plugin=str(kind.name),
            distribution=distribution,
        )
    if kind.name in CORE_NAMES:
        raise ContractViolation(
            f"{where}: a plugin cannot be called {kind.name}, virtfn's own operations begin with that word",
            plugin=kind.name,
            distribution=distribution,
        )
    try:
        instance = kind()
    except Exception as error:
        raise PluginLoadError(
            f"{where}: cannot be created ({type(error).__name__}: {error}; it is made without arguments)",
            plugin=kind.name,
            distribution=distribution,
        ) from error
    check_hooks(instance, where=where, distribution=distribution, fallback=GENERIC in keys)
    guarded = guard(instance, where=where, distribution=distribution)
    return LoadedPlugin(
        name=kind.name,
        summary=kind.summary,
        keys=tuple(sorted(keys)),
        distribution=distribution,
        hooks=frozenset(implemented(instance)),
        device_table=_device_table(guarded),
        guarded=guarded,
    )


def _device_table(guarded: GuardedPlugin) -> tuple[DeviceModel, ...]:
    manager = new_manager()
    manager.register(guarded)
    return tuple(row for table in manager.hook.device_table() for row in table)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _is_current(version: object) -> bool:
    return type(version) is int and version == API_VERSION


def _is_older(version: object) -> bool:
    return isinstance(version, int) and version < API_VERSION


def load(
    wanted: Mapping[str, InstalledPlugin],
) -> tuple[tuple[LoadedPlugin, ...], tuple[tuple[str, PluginError], ...]]:
    """Import and check plugins, one per key; each class is made once.

    :returns: the plugins, and the errors with the key each belongs to.
    """
    classes: dict[type[Plugin], list[InstalledPlugin]] = {}
    failed: list[tuple[str, PluginError]] = []
    for key in sorted(wanted):
        try:
            classes.setdefault(import_plugin(wanted[key]), []).append(wanted[key])
        except PluginError as error:
            failed.append((key, error))
    plugins: list[LoadedPlugin] = []
    for kind, entries in classes.items():
        keys = [entry.key for entry in entries]
        try:
            plugins.append(make_plugin(kind, keys=keys, distribution=entries[0].label))
        except PluginError as error:
            failed.extend((key, error) for key in keys)
    return tuple(plugins), tuple(failed)
