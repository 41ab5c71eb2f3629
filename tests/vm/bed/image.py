"""Builds what the guest boots from: an ELF kernel, a small initramfs and a module tree with the test modules in it.

Two layers under the cache directory, each built aside and renamed when whole, so that a killed build leaves nothing
that looks finished:

* `kernel-RELEASE_VERSION`  Debian's packages, unpacked; depends on the archive only;
* `image-RELEASE-DIGEST`    the files to boot; the digest covers this file, `guest/init` and `module/`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import lzma
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bed.apt import KernelPackages, find_command
from bed.command import BedError, run

HERE = Path(__file__).resolve().parent
VM = HERE.parent
INIT = VM / "guest" / "init"
MODULE = VM / "module"
BOOT_MODULES = ("9p", "9pnet_virtio", "overlay")
SOURCES = ("drivers/net/netdevsim", "drivers/vdpa/vdpa_sim", "drivers/vhost/vringh.c")
BUILT = ("netdevsim", "eswshim", "vringh", "vdpa_sim", "vdpa_sim_net")
MANIFEST = "manifest.json"
KEPT_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image in the cache."""

    root: Path
    release: str

    @property
    def vmlinux(self) -> Path:
        """The uncompressed kernel, started by QEMU through its PVH entry."""
        return self.root / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """Busybox and the modules needed to mount the root."""
        return self.root / "initramfs.cpio"

    @property
    def modules(self) -> Path:
        """What becomes /lib/modules in the guest."""
        return self.root / "modules"


def cache_directory() -> Path:
    """Where images are kept: VIRTFN_VM_CACHE, or a directory under the user's own cache."""
    named = os.environ.get("VIRTFN_VM_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "virtfn-vm"


def find_image(cache: Path) -> Image | None:
    """The newest whole image built from the present inputs."""
    found = [Image(path, _release(path)) for path in cache.glob(f"image-*-{_digest()}") if _is_whole(path)]
    return max(found, key=lambda image: _sort_key(image.release), default=None)


def find_kernel(cache: Path) -> Path | None:
    """The newest unpacked kernel."""
    found = [path for path in cache.glob("kernel-*") if _is_whole(path)]
    return max(found, key=lambda path: _sort_key(path.name), default=None)


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """One builder at a time; what an earlier one left half done is removed."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for path in cache.glob("partial-*"):
            shutil.rmtree(path, ignore_errors=True)
        yield


def unpack_kernel(cache: Path, packages: KernelPackages, archives: list[Path]) -> Path:
    """Unpack Debian's kernel packages into the cache."""
    target = cache / f"kernel-{packages.release}_{packages.version}"
    with _aside(target) as work:
        for archive in archives:
            run(["dpkg-deb", "-x", archive, work / "deb"], timeout=600)
        deb = work / "deb"
        (deb / "boot" / f"vmlinuz-{packages.release}").rename(work / "vmlinuz")
        modules = next(path for path in (deb / "usr/lib/modules", deb / "lib/modules") if path.is_dir())
        modules.rename(work / "modules")
        tarball = next((deb / "usr/src").glob("linux-source-*.tar.xz"))
        (work / "source").mkdir()
        unpack: list[str | Path] = ["tar", "-x", "--xz", "--wildcards", "--strip-components=1", "-f", tarball]
        run([*unpack, *(f"*/{name}" for name in SOURCES)], timeout=900, cwd=work / "source")
        headers = work / "headers"
        (headers / "usr").mkdir(parents=True)
        tarball.unlink()
        (deb / "usr/src").rename(headers / "usr/src")
        kbuild = next(path for path in (deb / "usr/lib", deb / "lib") if any(path.glob("linux-kbuild-*")))
        kbuild.rename(headers / "usr/lib")
        tree = headers / "usr/src" / f"linux-headers-{packages.release}"
        makefile = tree / "Makefile"
        makefile.write_text(makefile.read_text().replace(" /usr/src/", f" {target}/headers/usr/src/"))
        (tree / "vmlinux").unlink(missing_ok=True)  # with it, every module would want type information made by pahole
        shutil.rmtree(deb)
        (work / "release").write_text(packages.release)
        _write_manifest(work, ["vmlinuz", "release", *(f"source/{name}" for name in SOURCES if name.endswith(".c"))])
    return target


def build_image(cache: Path, kernel: Path) -> Image:
    """Build the image for an unpacked kernel."""
    release = (kernel / "release").read_text()
    target = cache / f"image-{release}-{_digest()}"
    with _aside(target) as work:
        (work / "vmlinux").write_bytes(_elf_kernel((kernel / "vmlinuz").read_bytes()))
        tree = work / "modules" / release
        shutil.copytree(kernel / "modules" / release, tree, symlinks=True, copy_function=os.link)
        headers = kernel / "headers/usr/src" / f"linux-headers-{release}"
        _build_modules(headers, kernel / "source", work / "build", tree / "extra")
        shutil.rmtree(work / "build")
        depmod_root = work / "depmod"
        (depmod_root / "lib").mkdir(parents=True)
        (depmod_root / "lib/modules").symlink_to(work / "modules")
        run([_tool("depmod"), "-b", depmod_root, release], timeout=300)
        shutil.rmtree(depmod_root)
        _pack_initramfs(tree, work)
        made = ["vmlinux", "initramfs.cpio"]
        made += [f"modules/{release}/{name}" for name in ("modules.dep", *(f"extra/{n}.ko" for n in BUILT))]
        _write_manifest(work, made)
    _prune(cache, target)
    return Image(target, release)


def _build_modules(headers: Path, source: Path, work: Path, into: Path) -> None:
    """Compile the test modules out of tree, all in one run of make."""
    shutil.copytree(source / "drivers/net/netdevsim", work / "netdevsim")
    shutil.copytree(source / "drivers/vdpa/vdpa_sim", work / "vdpa_sim")
    shutil.copy(source / "drivers/vhost/vringh.c", work / "vdpa_sim")
    (work / "vdpa_sim/Makefile").write_text("obj-m := vringh.o vdpa_sim.o vdpa_sim_net.o\n")
    shutil.copytree(MODULE, work / "eswshim")
    (work / "Kbuild").write_text("obj-m := netdevsim/ vdpa_sim/ eswshim/\n")
    run(["make", "-j2", "-C", headers, f"M={work}", "CONFIG_NETDEVSIM=m", "modules"], timeout=900)
    into.mkdir(parents=True)
    for name in BUILT:
        built = next(work.glob(f"*/{name}.ko"))
        run(["strip", "--strip-debug", "-o", into / built.name, built], timeout=60)


def _elf_kernel(bzimage: bytes) -> bytes:
    """The kernel inside a bzImage; where it lies is in the setup header (Documentation/arch/x86/boot.rst)."""
    if bzimage[0x202:0x206] != b"HdrS":
        raise BedError("the kernel image is no bzImage")
    setup_sectors = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = bzimage[start : start + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        kernel = zlib.decompressobj(31).decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        # The last four bytes are the unpacked length and no part of the zstd frame.
        kernel = run(["zstd", "-dc"], timeout=120, stdin=payload[:-4])
    else:
        raise BedError(f"the kernel image has a payload of unknown kind {payload[:6].hex()}")
    if not kernel.startswith(b"\x7fELF"):
        raise BedError("the kernel image holds no ELF file")
    return kernel


def _pack_initramfs(tree: Path, work: Path) -> None:
    root = work / "initramfs"
    for name in ("bin", "m", "proc", "sys", "dev", "lower", "up", "newroot"):
        (root / name).mkdir(parents=True)
    shutil.copy(_tool("busybox"), root / "bin/busybox")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    for number, module in enumerate(_with_dependencies(tree, BOOT_MODULES)):
        data = module.read_bytes()
        name = module.name.removesuffix(".xz").removesuffix(".zst")
        if module.suffix == ".xz":
            data = lzma.decompress(data)
        elif module.suffix == ".zst":
            data = run(["zstd", "-dc"], timeout=60, stdin=data)
        (root / "m" / f"{number:02}-{name}").write_bytes(data)
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    packed = run(["cpio", "-o", "-H", "newc", "--quiet"], timeout=60, cwd=root, stdin=f"{names}\n".encode())
    (work / "initramfs.cpio").write_bytes(packed)
    shutil.rmtree(root)


def _with_dependencies(tree: Path, names: tuple[str, ...]) -> list[Path]:
    """Module files in the order they must be loaded, from depmod's own table."""
    needs: dict[str, list[str]] = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        module, _, dependencies = line.partition(":")
        needs[module] = dependencies.split()
    by_name = {Path(module).name.split(".")[0]: module for module in needs}
    order: list[str] = []
    for name in names:
        module = by_name[name]
        for wanted in [*reversed(needs[module]), module]:
            if wanted not in order:
                order.append(wanted)
    return [tree / module for module in order]


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A directory that becomes `target` when the block ends well."""
    work = Path(tempfile.mkdtemp(prefix="partial-", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        os.sync()
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_manifest(root: Path, names: list[str]) -> None:
    sizes = {name: (root / name).stat().st_size for name in names}
    (root / MANIFEST).write_text(json.dumps(sizes, indent=1))


def _is_whole(root: Path) -> bool:
    try:
        sizes = json.loads((root / MANIFEST).read_text())
        return all((root / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _digest() -> str:
    digest = hashlib.sha256()
    inputs = [Path(__file__), INIT, *sorted(path for path in MODULE.iterdir() if path.is_file())]
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _release(path: Path) -> str:
    return path.name.removeprefix("image-").rpartition("-")[0]


def _sort_key(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


def _prune(cache: Path, keep: Path) -> None:
    """Drop the oldest images; checkouts with other inputs may share the cache, so some are kept."""
    others = sorted((p for p in cache.glob("image-*") if p != keep), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in others[KEPT_IMAGES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def _tool(name: str) -> str:
    found = find_command(name)
    if found is None:
        raise BedError(f"no command {name}")
    return found
