"""Distributions that exist for one test: a folder with metadata, entry points and a module, on `sys.path`."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from virtfn.model import Adapter, Inventory, PciAddress, PciId, Pf, Platform

PLUGIN = """
    from virtfn import Plugin, hookimpl

    class {kind}(Plugin):
        name = "{name}"
        api_version = 1
"""


@dataclass
class Site:
    """A folder of throw-away distributions."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    modules: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def add(
        self, name: str, keys: Mapping[str, str], source: str, *, version: str = "1.0", module: str | None = None
    ) -> str:
        """Install a distribution whose module has the source; returns the module's name. `keys`: key to attribute."""
        folder = self.root / f"site{len(self.folders)}"
        self.folders.append(folder)
        module = module or f"throwaway_{name.lower().replace('-', '_')}_{len(self.folders)}"
        self.modules.append(module)
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{key} = {module}:{attribute}" for key, attribute in keys.items()]
        (info / "entry_points.txt").write_text("\n".join(["[virtfn.plugins]", *lines, ""]))
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        self.monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        return module

    def plugin(self, name: str, keys: Mapping[str, str] | str, body: str = "", *, plugin: str = "") -> str:
        """Install a distribution with one plugin class `Made`; `body` is the inside of the class."""
        keys = {keys: "Made"} if isinstance(keys, str) else keys
        head = textwrap.dedent(PLUGIN.format(kind="Made", name=plugin or name))
        return self.add(name, keys, head + textwrap.indent(textwrap.dedent(body), "    "))

    @property
    def entry_points(self) -> list[EntryPoint]:
        """Entry points of these distributions only, whatever else the machine has."""
        found = (dist.entry_points for dist in distributions(path=[str(folder) for folder in self.folders]))
        return list(itertools.chain.from_iterable(found))

    def imported(self, module: str) -> bool:
        return module in sys.modules


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path, monkeypatch)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


class Cards:
    """Adapters and inventories in one line."""

    @staticmethod
    def pf(pci_id: str, address: str = "0000:3b:00.0", *, total_vfs: int | None = 8) -> Pf:
        return Pf(PciAddress.parse(address), PciId.parse(pci_id), total_vfs=total_vfs)

    @classmethod
    def inventory(cls, *pfs: Pf, virtual: bool = False) -> Inventory:
        slots: dict[str, list[Pf]] = {}
        for pf in pfs:
            slots.setdefault(pf.address.slot, []).append(pf)
        adapters = tuple(Adapter(slot, tuple(of)) for slot, of in slots.items())
        return Inventory(adapters, Platform(virtual=virtual))

    @classmethod
    def one(cls, pci_id: str, *, total_vfs: int | None = 8, virtual: bool = False) -> Inventory:
        return cls.inventory(cls.pf(pci_id, total_vfs=total_vfs), virtual=virtual)


@pytest.fixture
def cards() -> type[Cards]:
    return Cards
