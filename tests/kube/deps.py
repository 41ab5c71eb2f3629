"""Says what the tests with a real API server need, and installs and builds it: `make kube-deps`.

Runs with the system's Python alone. Nothing here starts a server: see `bed/server.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))  # its `bed` knows apt and how to run commands
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import apt, image
from bed.command import BedError, run
from kube.bed import assets


def problems() -> list[str]:
    """What is missing, one line each; empty when the tests can run."""
    if (found := assets.find()) is not None:
        return [] if found.kubectl else [f"no kubectl in {found.folder}, nor in PATH"]
    folder = assets.named_folder()
    if folder is not None:
        return [f"{assets.ASSETS_VARIABLE} names {folder}, which has no {name}" for name in assets.lacking(folder)]
    return [f"no API server in {assets.cache_directory()}, and {assets.ASSETS_VARIABLE} names none"]


def install() -> None:
    """Build the binaries when they are not there, with missing packages installed before."""
    if not problems():
        return
    if assets.find() is not None:
        _install_packages([assets.KUBECTL_PACKAGE])
        return
    if assets.named_folder() is not None:
        raise BedError("\n".join([*problems(), "put them there, or unset the variable and have them built"]))
    if platform.machine() != "x86_64":
        raise BedError(f"the build was tried on x86_64 only, not on {platform.machine()}")
    if missing := assets.missing_packages():
        _install_packages(sorted(missing))
    cache = assets.cache_directory()
    with image.locked(cache):
        if assets.find() is None:
            assets.build(cache)


def _install_packages(names: list[str]) -> None:
    if os.geteuid() != 0:
        raise BedError(f"root is needed to install packages: {' '.join(names)}")
    run(["apt-get", "-q", "update"], timeout=600)
    apt.install_now(names)


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Dependencies of the tests with a real API server.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="say what is missing (default)")
    action.add_argument("--install", action="store_true", help="build the binaries, as root if packages are missing")
    options = parser.parse_args(argv)
    try:
        if options.install:
            install()
        found = problems()
    except BedError as error:
        print(f"kube-deps: {error}", file=sys.stderr)
        return 1
    for problem in found:
        print(problem)
    if found:
        print("run `make kube-deps`")
        return 1
    ready = assets.find()
    print(f"ready: {ready.folder}" if ready else "ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
