"""The tree as the rules see it: files that are, or could be, under version control."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("core", "plugins/generic", "plugins/intel", "plugins/mellanox", "plugins/virtual")
MADE = frozenset(
    {".git", ".venv", "venv", "__pycache__", "build", "dist", ".hypothesis", ".import_linter_cache"}
    | {".pytest_cache", ".mypy_cache", ".ruff_cache"}
)
"""Folders that tools make; nothing of them is committed."""


@dataclass(frozen=True)
class Source:
    """One Python file below a distribution's `src`."""

    path: Path

    @property
    def name(self) -> str:
        """`core/src/virtfn/errors.py`."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def remarks(self) -> frozenset[int]:
        """Ids of the string nodes that are docstrings, of attributes too: words about the code, not code."""
        return frozenset(
            id(node.value)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )

    def words(self) -> Iterator[tuple[int, str]]:
        """(line, text) of every name and every string of the code itself, without comments and docstrings."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name):
                yield node.lineno, node.id
            elif isinstance(node, ast.Attribute):
                yield node.lineno, node.attr
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                yield node.lineno, node.name
            elif isinstance(node, ast.ImportFrom):
                yield node.lineno, node.module or ""
            elif isinstance(node, ast.alias):
                yield node.lineno, node.name
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in self.remarks:
                yield node.lineno, node.value


def _files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in MADE and not name.endswith(".egg-info"))
        for name in sorted(names):
            if not name.endswith(".pyc") and name != ".coverage":
                yield Path(folder, name)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the workspace."""
    return ROOT


@pytest.fixture(scope="session")
def distributions(root: Path) -> tuple[Path, ...]:
    """The folder of each distribution, core first."""
    return tuple(root / name for name in DISTRIBUTIONS)


@pytest.fixture(scope="session")
def files() -> tuple[Path, ...]:
    """Every file of the tree."""
    found = tuple(_files())
    assert len(found) > 100, "the tree was not found"
    return found


@pytest.fixture(scope="session")
def sources(distributions: tuple[Path, ...]) -> tuple[Source, ...]:
    """Every Python file of the distributions' code."""
    found = tuple(Source(path) for folder in distributions for path in sorted((folder / "src").rglob("*.py")))
    assert {source.name.partition("/src/")[0] for source in found} == set(DISTRIBUTIONS)
    return found
