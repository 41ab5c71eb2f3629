"""Finds the API server's binaries, or makes them from Debian's packages.

`KUBEBUILDER_ASSETS`, the word of the ecosystem for a folder with kube-apiserver and etcd, comes first, and then nothing
is built. Otherwise etcd is unpacked from Debian's package, and kube-apiserver and kubectl are built from Debian's
source package `kubernetes`, whose binary package has only the client. Nothing is installed that would start a service,
and no package source of the machine is touched: apt gets folders of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bed import apt
from bed.command import BedError, run, run_text

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
CACHE_VARIABLE = "VIRTFN_KUBE_CACHE"
RECIPE = 1  # part of the key: to be counted up when what is built from the same sources changes
NEEDED = ("kube-apiserver", "etcd")
BUILT = ("kube-apiserver", "kubectl")
BINARY_PACKAGES = ("etcd-server", "golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev")
GO_ROOT = Path("usr/lib/go-1.19")
GO_LIBRARIES = Path("usr/share/gocode/src")
REPLACED = ("github.com/modern-go/reflect2",)
"""Vendored packages that Debian has newer. This one reads maps as Go had them before 1.18: with a newer Go the server
crashes at the first custom resource."""
SOURCE_PACKAGE = "kubernetes"
KUBECTL_PACKAGE = "kubernetes-client"
COMMANDS = {"make": "make", "rsync": "rsync", "dpkg-source": "dpkg-dev", "xz": "xz-utils", "patch": "patch"}
MANIFEST = "manifest.json"
BUILD_LIMIT = 5400.0  # seconds; about ten minutes on two quiet cores


@dataclass(frozen=True, slots=True)
class Assets:
    """A folder with the binaries."""

    folder: Path

    @property
    def kube_apiserver(self) -> Path:
        """The API server."""
        return self.folder / "kube-apiserver"

    @property
    def etcd(self) -> Path:
        """What the API server keeps its objects in."""
        return self.folder / "etcd"

    @property
    def kubectl(self) -> Path | None:
        """The command line client; a folder of somebody else's may be without, then it is the machine's."""
        path = self.folder / "kubectl"
        if path.is_file():
            return path
        found = shutil.which("kubectl")
        return Path(found) if found else None


def cache_directory() -> Path:
    """Where the binaries are kept: VIRTFN_KUBE_CACHE, or a directory under the user's own cache."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).resolve() if named else Path.home() / ".cache" / "virtfn-kube"


def named_folder() -> Path | None:
    """The folder that KUBEBUILDER_ASSETS names, if it names one."""
    named = os.environ.get(ASSETS_VARIABLE)
    return Path(named).resolve() if named else None


def find() -> Assets | None:
    """The binaries that tests are to use, or None when there are none or not all."""
    folder = named_folder()
    if folder is not None:
        return Assets(folder) if not lacking(folder) else None
    found = [path for path in cache_directory().glob(f"assets-*-r{RECIPE}") if _is_whole(path)]
    newest = max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)], default=None)
    return Assets(newest) if newest is not None else None


def lacking(folder: Path) -> list[str]:
    """The names of the needed binaries that are not in a folder, or cannot be run."""
    return [name for name in NEEDED if not os.access(folder / name, os.X_OK) or not (folder / name).is_file()]


def missing_packages() -> dict[str, str]:
    """Packages that the build needs and the machine has not, each with the command that was not found."""
    return {package: command for command, package in COMMANDS.items() if apt.find_command(command) is None}


def build(cache: Path) -> Assets:
    """Download, unpack, build, and keep the binaries in the cache; what was only needed for that is removed again.

    The caller holds the cache's lock. Raises BedError.
    """
    work = Path(tempfile.mkdtemp(prefix="partial-", dir=cache))
    try:
        archive = _Archive(work / "apt")
        version = archive.source_version(SOURCE_PACKAGE)
        unpacked = archive.unpack(BINARY_PACKAGES, into=work / "packages")
        source = archive.unpack_source(SOURCE_PACKAGE, version=version, into=work / "go/src/k8s.io" / SOURCE_PACKAGE)
        for name in REPLACED:
            shutil.rmtree(source / "vendor" / name)
            shutil.copytree(unpacked / GO_LIBRARIES / name, source / "vendor" / name)
        made = _make(source, goroot=unpacked / GO_ROOT, work=work)
        staged = work / "assets"
        staged.mkdir()
        for path in (*(made / name for name in BUILT), unpacked / "usr/bin/etcd"):
            shutil.copy(path, staged / path.name)
        for name in ("kube-apiserver", "etcd"):  # a binary that cannot be run here is found now and not by the tests
            print(run_text([staged / name, "--version"], timeout=60).splitlines()[0], flush=True)
        sizes = {path.name: path.stat().st_size for path in staged.iterdir()}
        (staged / MANIFEST).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        os.sync()
        target = cache / f"assets-{version}-r{RECIPE}"
        if target.exists():
            shutil.rmtree(target)
        staged.rename(target)
        return Assets(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Archive:
    """The machine's own package archive, sources included, through lists that are only here: needs no root."""

    def __init__(self, directory: Path) -> None:
        entry = {**apt.release_entry(), "Types": "deb deb-src", "Suites": apt.codename()}
        for name in ("sources", "lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True)
        text = "".join(f"{key}: {value}\n" for key, value in entry.items())
        (directory / "sources" / "release.sources").write_text(text, encoding="utf-8")
        self._options = [
            *("-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={directory / 'sources'}"),
            *("-o", f"Dir::State::Lists={directory / 'lists'}", "-o", f"Dir::Cache={directory / 'cache'}"),
        ]
        if os.geteuid() == 0:
            self._options += ["-o", "APT::Sandbox::User=root"]
        print("reading the package lists", flush=True)
        run(["apt-get", "-q", *self._options, "update"], timeout=600)

    def source_version(self, package: str) -> str:
        """The newest version of a source package."""
        said = run_text(["apt-cache", *self._options, "showsrc", "--only-source", package], timeout=60)
        versions = re.findall(r"(?m)^Version: (\S+)$", said)
        if not versions:
            raise BedError(
                f"{apt.codename()} has no source package {package}; name a folder with kube-apiserver and etcd "
                f"in {ASSETS_VARIABLE}"
            )
        newest: str = versions[0]
        for version in versions[1:]:
            newest = version if apt.is_at_least(version, newest) else newest
        return newest

    def unpack(self, packages: tuple[str, ...], *, into: Path) -> Path:
        """Download binary packages and unpack them, all into one folder; their scripts never run."""
        print("downloading", *packages, flush=True)
        into.mkdir()
        run(["apt-get", "-q", *self._options, "download", *packages], timeout=1800, cwd=into)
        for archive in sorted(into.glob("*.deb")):
            run(["dpkg-deb", "-x", archive, into], timeout=600)
            archive.unlink()
        return into

    def unpack_source(self, package: str, *, version: str, into: Path) -> Path:
        """Download a source package and unpack it, with Debian's patches. apt has held it against the signed lists."""
        print(f"downloading the source of {package} {version}", flush=True)
        into.parent.mkdir(parents=True)
        wanted = ["source", "--only-source", "--download-only", f"{package}={version}"]
        run(["apt-get", "-q", *self._options, *wanted], timeout=1800, cwd=into.parent)
        (description,) = into.parent.glob("*.dsc")
        run(["dpkg-source", "--no-check", "-x", description.name, into], timeout=600, cwd=into.parent)
        return into


def _make(source: Path, *, goroot: Path, work: Path) -> Path:
    """Build in a GOPATH, where the vendored packages are found; returns the folder of the binaries.

    It is make's target and not `go build` because part of the code is generated first. The binaries come out without
    symbols.
    """
    print("building the API server, which takes about ten minutes", flush=True)
    home = work / "home"
    home.mkdir()
    environment = {
        "GOROOT": str(goroot),
        "GOPATH": str(work / "go"),
        "GOCACHE": str(work / "gocache"),
        "GO111MODULE": "off",
        "GOPROXY": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
        "HOME": str(home),
        "MAKEFLAGS": "",  # of a make that this was started from
        "PATH": f"{goroot / 'bin'}:{apt.SYSTEM_PATH}",
    }
    targets = " ".join(f"cmd/{name}" for name in BUILT)
    run(["nice", "-n", "10", "make", f"WHAT={targets}"], timeout=BUILD_LIMIT, cwd=source, env=environment)
    return (source / "_output/bin").resolve()


def _is_whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items()) and not lacking(folder)
    except (OSError, ValueError):
        return False
