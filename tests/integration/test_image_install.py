"""The script that the images are built with, in environments as fresh as an image's."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT = 300.0
WANTED = {"controller": (), "daemon": ("intel",)}


@pytest.fixture(scope="module")
def script(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath / "deploy" / "images" / "install.sh"


@pytest.fixture(scope="module")
def environments(
    script: Path, dependencies: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """By what was installed: the folder of a fresh environment. Both are made at the same time.

    What virtfn depends on is shown to them, as there is no package index here.
    """
    folders, running = {}, {}
    for what, plugins in WANTED.items():
        folder = folders[what] = tmp_path_factory.mktemp(what) / "env"
        venv.create(folder, with_pip=False, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
        running[what] = subprocess.Popen(
            ["sh", script, what, *plugins],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))},
                "PYTHON": str(folder / "bin" / "python"),
                "PIP_NO_INDEX": "1",
                "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it so: no isolation
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    try:
        for what, process in running.items():
            said, _ = process.communicate(timeout=LIMIT)
            assert process.returncode == 0, f"{what}:\n{said.decode()}"
        yield folders
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _run(folder: Path, *words: str) -> str:
    made = subprocess.run(
        [folder / "bin" / words[0], *words[1:]], check=True, capture_output=True, cwd="/", timeout=120
    )
    return made.stdout.decode()


@pytest.mark.parametrize(
    ("what", "plugins"),
    [
        ("controller", {"virtfn-generic", "virtfn-intel", "virtfn-mellanox", "virtfn-virtual"}),
        ("daemon", {"virtfn-generic", "virtfn-intel", "virtfn-virtual"}),
    ],
)
def test_it_has_the_plugins_that_were_asked_for(what: str, plugins: set[str], environments: dict[str, Path]) -> None:
    told = json.loads(_run(environments[what], "virtfn", "plugins", "-o", "json"))
    assert {plugin["distribution"].split()[0] for plugin in told} == plugins


@pytest.mark.parametrize("what", WANTED)
def test_it_needs_nothing_of_the_source_tree(
    what: str, environments: dict[str, Path], pytestconfig: pytest.Config
) -> None:
    module = "virtfn.controller.app" if what == "controller" else "virtfn.daemon.app"
    code = f"import sys, {module}, virtfn.kube.transport; print('\\n'.join(sys.path + [{module}.__file__]))"
    paths = _run(environments[what], "python", "-c", code).split()
    assert [path for path in paths if str(pytestconfig.rootpath) in path] == []
    assert paths[-1].startswith(str(environments[what]))


@pytest.mark.parametrize("what", WANTED)
def test_it_begins_and_says_what_it_lacks(what: str, environments: dict[str, Path]) -> None:
    """As a container would with nothing set: it ends with a message, and not with a traceback."""
    made = subprocess.run(
        [environments[what] / "bin" / "virtfn", what], capture_output=True, cwd="/", timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere"},
    )  # fmt: skip
    assert made.returncode not in (0, 1)
    said = made.stderr.decode() + made.stdout.decode()
    assert "NAMESPACE" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to install"),
        (("webhook",), "say what to install"),
        (("controller", "intel"), "takes no plugins by name"),
        (("daemon", "../../etc"), "there is no plugin"),
        (("daemon", "unheard-of"), "there is no plugin unheard-of"),
    ],
)
def test_what_it_does_not_know_it_refuses_before_anything_is_installed(
    words: tuple[str, ...], said: str, script: Path
) -> None:
    made = subprocess.run(
        ["sh", script, *words], capture_output=True, timeout=60, env={**os.environ, "PYTHON": "/no/python"}
    )
    assert made.returncode == 2
    assert said in made.stderr.decode()
