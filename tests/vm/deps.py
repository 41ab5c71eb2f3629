"""Says what the real-kernel tests need, and installs and builds it: `make vm-deps`.

Runs with the system's Python alone. Nothing here starts a guest: see `boot.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bed import apt, image
from bed.command import BedError


def problems() -> list[str]:
    """What is missing, one line each; empty when the tests can run."""
    if platform.machine() != "x86_64":
        return [f"the guest shares the host's programs, so the host must be x86_64, not {platform.machine()}"]
    found = [f"missing package {name} ({why})" for name, why in sorted(apt.missing_packages().items())]
    cache = image.cache_directory()
    if image.find_image(cache) is None:
        found.append(f"missing kernel image for the present sources under {cache}")
    return found


def install() -> None:
    """Install missing packages and build the image when it is not there."""
    apt.install(apt.missing_packages())
    still = apt.missing_packages()
    if still:
        raise BedError("still missing after installation: " + ", ".join(f"{n} ({why})" for n, why in still.items()))
    cache = image.cache_directory()
    if image.find_image(cache) is not None:
        return
    with image.locked(cache):
        if image.find_image(cache) is not None:
            return
        kernel = image.find_kernel(cache) or _fetch_kernel(cache)
        print(f"building the image from {kernel.name}", flush=True)
        image.build_image(cache, kernel)


def _fetch_kernel(cache: Path) -> Path:
    if os.geteuid() == 0:
        apt.update()
    packages = apt.choose_kernel()
    print(f"downloading kernel {packages.release} {packages.version}", flush=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=cache) as into:
        archives = apt.download(packages.names, Path(into))
        return image.unpack_kernel(cache, packages, archives)


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Dependencies of the real-kernel tests.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="say what is missing (default)")
    action.add_argument("--install", action="store_true", help="install packages (as root) and build the image")
    options = parser.parse_args(argv)
    try:
        if options.install:
            install()
        found = problems()
    except BedError as error:
        print(f"vm-deps: {error}", file=sys.stderr)
        return 1
    for problem in found:
        print(problem)
    if found:
        print("run `make vm-deps` as root")
        return 1
    ready = image.find_image(image.cache_directory())
    print(f"ready: kernel {ready.release} in {ready.root}" if ready else "ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
