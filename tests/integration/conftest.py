"""Built distributions and fresh environments to install them in, without a network.

What virtfn depends on is taken from the environment that runs the tests; virtfn itself never is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = {
    "virtfn": "core",
    "virtfn-generic": "plugins/generic",
    "virtfn-intel": "plugins/intel",
    "virtfn-mellanox": "plugins/mellanox",
    "virtfn-virtual": "plugins/virtual",
}
LIMIT = 300
"""Seconds for one program; a hang is an error, slowness is not."""


def run(*argv: str | Path, cwd: Path | None = None, expect: int | None = 0) -> str:
    """Run a program with none of this process's Python settings; gives standard output, and errors after it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    environment |= {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    output = done.stdout + done.stderr
    assert expect is None or done.returncode == expect, f"{argv} ended with {done.returncode}:\n{output}"
    return output


def build_wheels(folders: Sequence[Path], into: Path) -> list[Path]:
    """Wheels of distribution folders, built with the hatchling that is here; gives those made, in any order."""
    before = set(into.glob("*.whl"))
    switches = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    run(sys.executable, "-m", "pip", "wheel", *switches, into, *folders, cwd=into)
    return sorted(set(into.glob("*.whl")) - before)


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = self.path.glob("lib/python*/site-packages")
        return found

    def install(self, *wheels: Path) -> None:
        """Install wheels, and nothing that they require."""
        switches = ("--quiet", "--no-deps", "--no-index", "--no-compile")
        run(sys.executable, "-m", "pip", "--python", self.python, "install", *switches, *wheels, cwd=self.path)

    def run(self, *words: str, cwd: Path, expect: int | None = 0) -> str:
        """Run its Python."""
        return run(self.python, *words, cwd=cwd, expect=expect)

    def virtfn(self, *words: str, expect: int | None = 0) -> str:
        """Run the command as a user does."""
        return run(self.path / "bin" / "virtfn", *words, cwd=self.path, expect=expect)


@pytest.fixture(scope="session")
def build() -> Callable[[Sequence[Path], Path], list[Path]]:
    """Build wheels: `build([folder], into)`."""
    return build_wheels


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution of the workspace, by the distribution's name."""
    into = tmp_path_factory.mktemp("wheels")
    made = build_wheels([ROOT / folder for folder in DISTRIBUTIONS.values()], into)
    found = {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in made}
    assert set(found) == set(DISTRIBUTIONS)
    return found


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that shows all installed packages except virtfn's own, however those are installed."""
    shown = tmp_path_factory.mktemp("dependencies")
    for folder in map(Path, sys.path):
        if folder.name not in ("site-packages", "dist-packages") or not folder.is_dir():
            continue
        for entry in folder.iterdir():
            own = entry.name.lower().lstrip("_").startswith(("virtfn", "editable"))
            link = shown / entry.name
            if not own and entry.suffix != ".pth" and not link.exists():
                link.symlink_to(entry)
    return shown


@pytest.fixture
def new_environment(tmp_path: Path, dependencies: Path) -> Callable[..., Environment]:
    """Make an environment with the given wheels in it: `new_environment(wheel, ...)`."""

    def make(*installed: Path) -> Environment:
        path = tmp_path / "environment"
        venv.create(path, with_pip=False, symlinks=True)
        environment = Environment(path)
        (environment.site_packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
        environment.install(*installed)
        return environment

    return make
