"""What the kernel shows of SR-IOV, read from sysfs and ip(8) alone, so that the product is not its own witness."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PCI = Path("/sys/bus/pci/devices")
VFIO = Path("/dev/vfio")
IGB = ("0000:01:00.0", "0000:02:00.0", "0000:04:00.0", "0000:04:00.1")
"""The physical functions that the tests may change; the last two are the ports of one card."""
NVME = "0000:03:00.0"

_REPRESENTOR = re.compile(r"pf\d+vf(\d+)")


@dataclass(frozen=True, slots=True)
class Interface:
    """A netdev."""

    name: str
    ifindex: int
    mac: str
    mtu: int
    up: bool


@dataclass(frozen=True, slots=True)
class VirtualFunction:
    """A VF behind its PF's `virtfnN` link."""

    address: str
    driver: str | None
    override: str
    interface: Interface | None
    admin_mac: str | None


@dataclass(frozen=True, slots=True)
class PhysicalFunction:
    """A PF with all that a test may want to find unchanged."""

    address: str
    driver: str | None
    num_vfs: int
    autoprobe: bool
    interface: Interface | None
    vfs: tuple[VirtualFunction, ...]
    representors: tuple[tuple[int, str], ...]
    """VF index and name of its representor."""

    def drivers(self) -> list[str | None]:
        """The VFs' drivers in order."""
        return [vf.driver for vf in self.vfs]


def read(path: Path) -> str:
    """A file of sysfs without white space around it; empty when it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def link_target(path: Path) -> str | None:
    """Last component of what a link points to; None when there is no such link."""
    return path.resolve().name if path.is_symlink() else None


def look(address: str) -> PhysicalFunction:
    """One PF. Reads `sriov_numvfs`, which blocks while somebody's write there does."""
    return _look(address, _interfaces())


def look_at_all() -> dict[str, PhysicalFunction]:
    """Every function of the machine that can make VFs, the one that is no network card included."""
    links = _interfaces()
    names = sorted(path.parent.name for path in PCI.glob("*/sriov_totalvfs"))
    return {name: _look(name, links) for name in names}


def iommu_group(vf: str) -> str:
    """Number of the function's IOMMU group."""
    return (PCI / vf / "iommu_group").resolve().name


def devlink_mode(address: str) -> str:
    """The eswitch mode by devlink(8)."""
    done = subprocess.run(
        ["devlink", "-j", "dev", "eswitch", "show", f"pci/{address}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return str(json.loads(done.stdout)["dev"][f"pci/{address}"]["mode"])


def _look(address: str, links: dict[str, dict[str, Any]]) -> PhysicalFunction:
    device = PCI / address
    uplink, representors = None, []
    for name in sorted(path.name for path in device.glob("net/*")):
        port = _REPRESENTOR.fullmatch(read(device / "net" / name / "phys_port_name"))
        if port is not None:
            representors.append((int(port[1]), name))
        else:
            uplink = links.get(name)
    macs = {entry["vf"]: entry.get("address") or entry.get("mac") for entry in (uplink or {}).get("vfinfo_list", ())}
    found = sorted((int(path.name.removeprefix("virtfn")), path.resolve().name) for path in device.glob("virtfn*"))
    return PhysicalFunction(
        address=address,
        driver=link_target(device / "driver"),
        num_vfs=int(read(device / "sriov_numvfs")),
        autoprobe=read(device / "sriov_drivers_autoprobe") == "1",
        interface=_interface(uplink),
        vfs=tuple(_virtual(vf, links, macs.get(index)) for index, vf in found),
        representors=tuple(sorted(representors)),
    )


def _virtual(address: str, links: dict[str, dict[str, Any]], admin_mac: str | None) -> VirtualFunction:
    device = PCI / address
    name = next((path.name for path in device.glob("net/*")), None)
    return VirtualFunction(
        address=address,
        driver=link_target(device / "driver"),
        override=read(device / "driver_override"),
        interface=_interface(links.get(name or "")),
        admin_mac=admin_mac,
    )


def _interface(link: dict[str, Any] | None) -> Interface | None:
    if link is None:
        return None
    return Interface(
        name=link["ifname"],
        ifindex=link["ifindex"],
        mac=link["address"],
        mtu=link["mtu"],
        up="UP" in link["flags"],
    )


def _interfaces() -> dict[str, dict[str, Any]]:
    done = subprocess.run(["ip", "-j", "link", "show"], capture_output=True, text=True, timeout=60, check=True)
    return {link["ifname"]: link for link in json.loads(done.stdout)}
