"""The entry points of the group `virtfn.plugins`, read from the metadata of installed distributions.

Nothing is imported here, so that listing plugins costs no plugin's import. stevedore is not asked: it drops the
distribution of an entry point, and that name is what a person needs when a plugin is broken or two of them want one
card.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions

from virtfn.errors import PluginError, PluginLoadError
from virtfn.model import PciId

GROUP = "virtfn.plugins"

GENERIC = "generic"
"""Key of the plugin that serves any SR-IOV function no other plugin takes, and fills hooks that others leave out."""

VIRTUAL = "virtual"
"""Key of the plugin that is asked for functions no vendor's plugin takes."""

_HARDWARE_KEY = re.compile(r"[0-9a-f]{4}(\.[0-9a-f]{4})?")
_UNNAMED = "unnamed distribution"


@dataclass(frozen=True, slots=True, order=True)
class InstalledPlugin:
    """One entry point: what its distribution says, not yet imported."""

    key: str
    """`8086` (a PCI vendor), `8086.10c9` (one device), `generic` or `virtual`; lower case."""
    distribution: str
    version: str
    value: str
    """`module:attribute` of the plugin's class."""
    entry_point: EntryPoint = field(compare=False, repr=False)

    @property
    def label(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def well_formed(self) -> bool:
        """Whether the key is one that a card can match."""
        return self.key in (GENERIC, VIRTUAL) or _HARDWARE_KEY.fullmatch(self.key) is not None

    def wanted_for(self, ids: Iterable[PciId]) -> bool:
        """Whether the plugin is needed on a machine with these functions."""
        return self.key in (GENERIC, VIRTUAL) or any(self.key in keys_for(pci_id) for pci_id in ids)


def keys_for(pci_id: PciId) -> tuple[str, str]:
    """The keys that match a function, most specific first."""
    return (f"{pci_id.vendor}.{pci_id.device}", pci_id.vendor)


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare it: `Virtfn_Intel` and `virtfn-intel` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(
    entry_points: Iterable[EntryPoint] | None = None, *, problems: list[PluginError] | None = None
) -> tuple[InstalledPlugin, ...]:
    """All entry points of the group, sorted by key, each once.

    A distribution that is on `sys.path` twice (an editable install beside what a wheel left) counts once. Keys that are
    not well formed are listed too.

    :param entry_points: taken instead of what is installed.
    :param problems: distributions whose entry points cannot be read are added here.
    """
    found: dict[tuple[str, str, str], InstalledPlugin] = {}
    for entry_point in _declared(problems) if entry_points is None else entry_points:
        name, version = _identity(entry_point.dist)
        plugin = InstalledPlugin(
            key=entry_point.name.strip().lower(),
            distribution=name,
            version=version,
            value=entry_point.value,
            entry_point=entry_point,
        )
        found.setdefault((plugin.key, normalised(name), plugin.value), plugin)
    return tuple(sorted(found.values()))


def _declared(problems: list[PluginError] | None) -> Iterator[EntryPoint]:
    """Entry points distribution by distribution; of one that is there twice, the first on the path, as imports do."""
    seen: set[str] = set()
    for distribution in distributions():
        name, version = _identity(distribution)
        if name != _UNNAMED:
            if normalised(name) in seen:
                continue
            seen.add(normalised(name))
        try:
            yield from distribution.entry_points.select(group=GROUP)
        except Exception as error:  # a torn metadata file raises whatever its parser stumbles over
            if problems is not None:
                problem = PluginLoadError(
                    f"distribution {name} {version}: its entry points cannot be read"
                    f" ({type(error).__name__}: {error}; install it again or remove it)",
                    plugin="",
                    distribution=f"{name} {version}".strip(),
                )
                problem.__cause__ = error
                problems.append(problem)


def _identity(distribution: Distribution | None) -> tuple[str, str]:
    """Name and version; a folder without METADATA has neither."""
    if distribution is None:
        return _UNNAMED, ""
    metadata = distribution.metadata
    # `in` first: reading a missing name gives None in Python 3.11, a warning in 3.12, and is to be a KeyError later.
    name = metadata["Name"] if "Name" in metadata else _UNNAMED  # noqa: SIM401 -- not every metadata object has get()
    version = metadata["Version"] if "Version" in metadata else ""  # noqa: SIM401
    return name, version
