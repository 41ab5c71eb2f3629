"""The plugin of `docs/writing-a-plugin.md`, taken from the page as it stands: built, installed, its own tests run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtfn.testing.conformance import laws

FILE = re.compile(r"^`(?P<path>[\w./-]+/[\w.-]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(pytestconfig: pytest.Config) -> str:
    """The page's text."""
    return (pytestconfig.rootpath / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")


@pytest.fixture
def package(page: str, tmp_path: Path) -> Path:
    """A folder, outside the workspace, with all files that the page shows."""
    for match in FILE.finditer(page):
        path = tmp_path / match["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match["text"], encoding="utf-8")
    return tmp_path / "virtfn-northgale"


def test_every_block_of_code_is_a_file(page: str) -> None:
    blocks = re.findall(r"(?m)^```(?:python|toml)$", page)
    assert len(blocks) == len(list(FILE.finditer(page))) >= 7


def test_the_plugin_of_the_page_works(
    package: Path, wheels: dict[str, Path], new_environment: Callable[..., Any], build: Callable[..., list[Path]]
) -> None:
    (wheel,) = build([package], package.parent)
    environment = new_environment(wheels["virtfn"], wheels["virtfn-generic"], wheel)
    generic, northgale = sorted(
        json.loads(environment.virtfn("plugins", "-o", "json")), key=lambda plugin: plugin["name"]
    )
    assert generic["keys"] == ["generic"]
    assert northgale["keys"] == ["fff2"]
    assert northgale["distribution"] == "virtfn-northgale 1.0.0"
    assert northgale["hooks"] == ["claim", "device_table", "observe", "perform", "plan_firmware", "validate"]
    told = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=package)
    passed = re.search(r"(\d+) passed in", told)
    assert passed is not None, told
    assert int(passed[1]) >= 5 + len(laws()) + 1, told
