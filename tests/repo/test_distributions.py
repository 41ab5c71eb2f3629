"""The five distributions are released together: one version, one licence, requirements that fit."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version


@pytest.fixture(scope="module")
def projects(distributions: tuple[Path, ...]) -> dict[str, dict[str, Any]]:
    """The `project` table of each `pyproject.toml` by folder."""
    return {
        folder.as_posix(): tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for folder in distributions
    }


def test_every_folder_with_a_pyproject_is_listed(root: Path, distributions: tuple[Path, ...]) -> None:
    found = {path.parent for path in (*root.glob("core/pyproject.toml"), *root.glob("plugins/*/pyproject.toml"))}
    assert found == set(distributions)


def test_all_have_one_version(projects: dict[str, dict[str, Any]]) -> None:
    assert len({project["version"] for project in projects.values()}) == 1


def test_plugins_require_virtfn_and_nothing_else_in_a_range_that_holds_its_version(
    projects: dict[str, dict[str, Any]],
) -> None:
    core, *plugins = projects.values()
    version = Version(core["version"])
    following = Version(f"{version.major}.{version.minor + 1}")
    for plugin in plugins:
        requirement = Requirement(plugin["dependencies"][0])
        assert plugin["dependencies"][1:] == []
        assert requirement.name == core["name"]
        assert version in requirement.specifier
        assert following not in requirement.specifier, f"{plugin['name']} takes a virtfn that it was not tried with"


def test_all_want_the_same_python(projects: dict[str, dict[str, Any]]) -> None:
    assert {project["requires-python"] for project in projects.values()} == {">=3.11"}


def test_licence_and_readme_are_there(distributions: tuple[Path, ...], root: Path) -> None:
    licence = (root / "LICENSE").read_bytes()
    for folder in distributions:
        assert (folder / "LICENSE").read_bytes() == licence, folder
        assert (folder / "README.md").stat().st_size > 200, folder


def test_each_has_its_type_marker(distributions: tuple[Path, ...]) -> None:
    for folder in distributions:
        (package,) = (path for path in (folder / "src").iterdir() if (path / "__init__.py").is_file())
        assert (package / "py.typed").is_file(), folder


def test_the_changelog_knows_the_version(root: Path, projects: dict[str, dict[str, Any]]) -> None:
    version = next(iter(projects.values()))["version"]
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_tools_are_set_up_in_the_root_only(distributions: tuple[Path, ...]) -> None:
    for folder in distributions:
        tools = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {})
        assert set(tools) <= {"hatch"}, f"{folder}: tool settings belong in the root's pyproject.toml"


def test_the_makefile_installs_every_distribution(root: Path, distributions: tuple[Path, ...]) -> None:
    line = next(
        line for line in (root / "Makefile").read_text(encoding="utf-8").splitlines() if line.startswith("DISTS := ")
    )
    assert line.removeprefix("DISTS := ").split() == [folder.relative_to(root).as_posix() for folder in distributions]
