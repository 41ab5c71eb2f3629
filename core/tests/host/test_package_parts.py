"""Parts of a package: what runs, what does not, and what a later import of the whole gives."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtfn.host.package_parts import parts_of

NAME = "package_of_this_test"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "__init__.py").write_text(f"from {NAME}.part import THING\nWHOLE = True\n")
    (folder / "part.py").write_text("THING = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_a_part_comes_without_the_whole(package: None) -> None:
    with parts_of(NAME):
        part = importlib.import_module(f"{NAME}.part")
    assert part.THING
    assert not [name for name in sys.modules if name.startswith(NAME)]

    whole = importlib.import_module(NAME)
    assert whole.WHOLE
    assert whole.part.THING is whole.THING


def test_what_is_there_already_stays(package: None) -> None:
    whole = importlib.import_module(NAME)
    with parts_of(NAME):
        importlib.import_module(f"{NAME}.part")
    assert sys.modules[NAME] is whole


def test_a_package_that_is_not_installed_is_missed_by_its_own_name() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), parts_of("no_such_package"):
        importlib.import_module("no_such_package.part")


def test_a_part_that_fails_leaves_nothing_half_entered(package: None) -> None:
    with pytest.raises(ModuleNotFoundError), parts_of(NAME):
        importlib.import_module(f"{NAME}.other")
    assert NAME not in sys.modules
