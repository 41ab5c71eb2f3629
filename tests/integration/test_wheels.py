"""The distributions as users get them: built, installed without the source tree, each alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

PLUGINS = {"virtfn-generic": "generic", "virtfn-intel": "8086", "virtfn-mellanox": "15b3", "virtfn-virtual": "virtual"}


def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


@pytest.fixture(params=["virtfn", *PLUGINS])
def wheel(request: pytest.FixtureRequest, wheels: dict[str, Path]) -> Path:
    """Each wheel in turn."""
    return wheels[request.param]


def test_a_wheel_holds_one_package_and_its_papers(wheel: Path) -> None:
    package = wheel.name.split("-")[0]
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    assert f"{package}/py.typed" in names(wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names(wheel))
    assert metadata(wheel).get_payload(), "the README is not in the metadata"


def test_nothing_of_the_tests_is_in_a_wheel(wheel: Path) -> None:
    assert [name for name in names(wheel) if "/tests/" in name or name.endswith(".pyc")] == []


def test_everything_below_src_is_in_the_wheel(wheel: Path, pytestconfig: pytest.Config) -> None:
    package = wheel.name.split("-")[0]
    folder = "core" if package == "virtfn" else f"plugins/{package.removeprefix('virtfn_')}"
    source = pytestconfig.rootpath / folder / "src"
    there = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there - names(wheel) == set()


def test_the_device_profiles_are_in_the_wheel(wheels: dict[str, Path]) -> None:
    profiles = {name for name in names(wheels["virtfn"]) if name.startswith("virtfn/testing/profiles/")}
    assert {"virtfn/testing/profiles/82576.toml", "virtfn/testing/profiles/connectx-6dx.toml"} <= profiles


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_requires_virtfn_alone(name: str, wheels: dict[str, Path]) -> None:
    (requirement,) = metadata(wheels[name]).get_all("Requires-Dist") or []
    assert requirement.startswith("virtfn<") or requirement.startswith("virtfn>")


def test_virtfn_requires_no_plugin(wheels: dict[str, Path]) -> None:
    assert [r for r in metadata(wheels["virtfn"]).get_all("Requires-Dist") or [] if r.startswith("virtfn")] == []


def test_all_together(wheels: dict[str, Path], new_environment: Callable[..., Any]) -> None:
    environment = new_environment(*wheels.values())
    told = json.loads(environment.virtfn("plugins", "-o", "json"))
    assert {key: plugin["distribution"].split()[0] for plugin in told for key in plugin["keys"]} == {
        key: name for name, key in PLUGINS.items()
    }
    assert all(plugin["devices"] for plugin in told)
    assert "virtfn 0." in environment.virtfn("--version")
    assert environment.virtfn("demo").count("In sync: nothing to do.") >= 1


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_alone(name: str, wheels: dict[str, Path], new_environment: Callable[..., Any]) -> None:
    environment = new_environment(wheels["virtfn"], wheels[name])
    (told,) = json.loads(environment.virtfn("plugins", "-o", "json"))
    assert told["keys"] == [PLUGINS[name]]


def test_no_plugin_at_all(wheels: dict[str, Path], new_environment: Callable[..., Any]) -> None:
    assert "No plugin is installed" in new_environment(wheels["virtfn"]).virtfn("plugins")
