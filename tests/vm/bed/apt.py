"""Debian packages for the bed: which are there, how to get the rest, and which kernel all of its parts exist for.

Kernel packages are only downloaded and unpacked, never installed: installing an image pulls in initramfs-tools,
which then rebuilds an initramfs at every later package installation.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bed.command import BedError, run, run_text

ETC_APT = Path("/etc/apt")
BACKPORTS_ENTRY = ETC_APT / "sources.list.d" / "virtfn-vm-backports.sources"
QEMU_PACKAGE = "qemu-system-x86"
QEMU_MAJOR = 8  # the first with an igb device
KERNEL_MINIMUM = "6.12"
ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<parts>[^#]+)")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

COMMANDS = {  # command: Debian package
    "qemu-system-x86_64": QEMU_PACKAGE,
    "busybox": "busybox-static",
    "depmod": "kmod",
    "ip": "iproute2",
    "devlink": "iproute2",
    "ethtool": "ethtool",
    "lspci": "pciutils",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-common",
    "xz": "xz-utils",
    "zstd": "zstd",
    "cpio": "cpio",
    "strip": "binutils",
    "gcc": "gcc",
    "make": "make",
    "setpriv": "util-linux",
    "udevadm": "udev",
}
LIBRARIES = {"/usr/lib/x86_64-linux-gnu/libelf.so.1": "libelf1"}  # for the kernel's objtool


@dataclass(frozen=True, slots=True)
class KernelPackages:
    """One kernel that image, headers and source all exist of, in the same version."""

    release: str  # as `uname -r` says it
    version: str  # of the packages

    @property
    def names(self) -> tuple[str, ...]:
        """The packages, ready for `apt-get download`."""
        return tuple(f"{name}={self.version}" for name in _parts(self.release))


def find_command(name: str) -> str | None:
    """Path of a command, looked for in the sbin directories too."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def missing_packages() -> dict[str, str]:
    """Missing packages, each with the reason it is thought to be missing."""
    missing: dict[str, str] = {}
    for command, package in COMMANDS.items():
        if find_command(command) is None:
            missing.setdefault(package, f"no command {command}")
    for library, package in LIBRARIES.items():
        if not Path(library).exists():
            missing.setdefault(package, f"no {library}")
    busybox = find_command("busybox")
    if busybox is not None and b"/ld-linux" in Path(busybox).read_bytes()[:4096]:
        missing["busybox-static"] = f"{busybox} is linked dynamically"
    qemu = find_command("qemu-system-x86_64")
    if qemu is not None:
        said = run_text([qemu, "--version"], timeout=30)
        found = re.search(r"version (\d+)\.", said)
        if found is None or int(found[1]) < QEMU_MAJOR:
            missing[QEMU_PACKAGE] = f"QEMU {QEMU_MAJOR}.0 or newer is needed, found: {said.splitlines()[0]}"
    return missing


def install(packages: Iterable[str]) -> None:
    """Install packages by name. QEMU comes from the backports suite where the release's own is too old."""
    wanted = sorted(set(packages))
    if not wanted:
        return
    if os.geteuid() != 0:
        raise BedError(f"root is needed to install packages: {' '.join(wanted)}")
    update()
    own = [name for name in wanted if name != QEMU_PACKAGE]
    if own:
        install_now(own)
    if QEMU_PACKAGE in wanted:
        suite = () if _qemu_candidate_is_new_enough() else ("--target-release", f"{codename()}-backports")
        install_now([*suite, QEMU_PACKAGE])


def install_now(words: Iterable[str]) -> None:
    """Install from the package lists as they are; the words are names and options of `apt-get install`."""
    run(
        ["apt-get", "-q", "-y", "--no-install-recommends", "install", *words],
        timeout=1800,
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )


def update() -> None:
    """Refresh the package lists, with the backports suite when the release alone cannot serve."""
    run(["apt-get", "-q", "update"], timeout=600)
    if not _offered_qemu_is_new_enough() and write_backports_entry():
        run(["apt-get", "-q", "update"], timeout=600)


def choose_kernel() -> KernelPackages:
    """The newest kernel that image, headers, kbuild and source share. Raises BedError when there is none."""
    listed = run_text(["apt-cache", "pkgnames", "linux-image-"], timeout=60).split()
    releases = sorted(
        found[1]
        for name in listed
        if (found := re.fullmatch(r"linux-image-(\d+\.\d+\.\d[^-]*(?:-\d+)?-amd64)", name)) is not None
    )
    offered = _versions({name for release in releases for name in _parts(release)})
    common = [
        KernelPackages(release, version)
        for release in releases
        for version in set.intersection(*(offered.get(name, set()) for name in _parts(release)))
        if is_at_least(version, KERNEL_MINIMUM)
    ]
    if not common:
        raise BedError(
            f"no kernel from {KERNEL_MINIMUM} on has linux-image, linux-headers, linux-kbuild and linux-source in "
            f"one version; images seen: {', '.join(releases) or 'none'}"
        )
    newest = max((kernel.version for kernel in common), key=functools.cmp_to_key(_compare))
    return next(kernel for kernel in common if kernel.version == newest)


def download(packages: Iterable[str], into: Path) -> list[Path]:
    """Download packages (`name=version`) into a directory and return the files."""
    sandbox = ("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()
    run(["apt-get", "-q", *sandbox, "download", *packages], timeout=1800, cwd=into)
    return sorted(into.glob("*.deb"))


def is_at_least(one: str, other: str) -> bool:
    """Compare two versions as dpkg does."""
    argv = ["sh", "-c", 'dpkg --compare-versions "$1" ge "$2" && echo yes || echo no', "sh", one, other]
    return run_text(argv, timeout=30).strip() == "yes"


def codename() -> str:
    """The release's code name, from os-release."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise BedError("/etc/os-release has no VERSION_CODENAME; the bed can be set up on Debian only")


def write_backports_entry() -> bool:
    """Add the backports suite, made from the machine's own entry for the release. False when it is there already."""
    release = codename()
    backports = f"{release}-backports"
    if any(backports in entry["Suites"].split() for entry in _entries()):
        return False
    fields = {**release_entry(), "Types": "deb", "Suites": backports}
    staged = BACKPORTS_ENTRY.with_suffix(".new")
    staged.write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    staged.replace(BACKPORTS_ENTRY)
    return True


def release_entry() -> dict[str, str]:
    """The machine's own package source for its release, in deb822 fields."""
    release = codename()
    for entry in _entries():
        if release in entry["Suites"].split() and "main" in entry.get("Components", "").split():
            return entry
    raise BedError(f"no package source for {release} main found under {ETC_APT}")


def _entries() -> Iterator[dict[str, str]]:
    """Every enabled binary package source, in deb822 fields whatever form it is written in."""
    for path in sorted(ETC_APT.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = _deb822(stanza)
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").lower() != "no":
                yield {"Suites": "", **fields}
    for path in [ETC_APT / "sources.list", *sorted(ETC_APT.glob("sources.list.d/*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else ():
            found = ONE_LINE.match(line)
            if found is not None:
                options = dict(part.split("=", 1) for part in (found["options"] or "").split() if "=" in part)
                named = {key.title(): value.replace(",", " ") for key, value in options.items()}
                names = {"Arch": "Architectures"}
                yield {
                    "Types": "deb",
                    "URIs": found["uri"],
                    "Suites": found["suite"],
                    "Components": found["parts"].strip(),
                    **{names.get(key, key): value for key, value in named.items()},
                }


def _deb822(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in stanza.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            fields[last] += f"\n{line}"
        else:
            last, _, value = line.partition(":")
            fields[last] = value.strip()
    return fields


def _parts(release: str) -> tuple[str, ...]:
    abi = release.removesuffix("-amd64")
    series = ".".join(release.split(".")[:2])
    return (
        f"linux-image-{release}",
        f"linux-headers-{release}",
        f"linux-headers-{abi}-common",
        f"linux-kbuild-{abi}",
        f"linux-source-{series}",
    )


def _versions(packages: Iterable[str]) -> dict[str, set[str]]:
    offered: dict[str, set[str]] = {}
    names = sorted(packages)
    if not names:
        return offered
    for line in run_text(["apt-cache", "madison", *names], timeout=120).splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3:
            offered.setdefault(columns[0], set()).add(columns[1])
    return offered


def _compare(one: str, other: str) -> int:
    if one == other:
        return 0
    return 1 if is_at_least(one, other) else -1


def _offered_qemu_is_new_enough() -> bool:
    return any(_is_new_qemu(version) for version in _versions([QEMU_PACKAGE]).get(QEMU_PACKAGE, ()))


def _qemu_candidate_is_new_enough() -> bool:
    said = run_text(["apt-cache", "policy", QEMU_PACKAGE], timeout=60)
    found = re.search(r"Candidate: (\S+)", said)
    return found is not None and _is_new_qemu(found[1])


def _is_new_qemu(version: str) -> bool:
    return is_at_least(version, f"1:{QEMU_MAJOR}.0")
