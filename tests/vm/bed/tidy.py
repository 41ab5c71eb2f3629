"""Puts the igb cards back to how the guest booted, by plain writes, so that no test depends on the one before it."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

from bed.sight import IGB, PCI, devlink_mode, link_target, look_at_all

RESCAN = Path("/sys/bus/pci/rescan")
FAIL_MODE = Path("/sys/module/eswshim/parameters/fail_mode")
STANDARD_MTU = 1500


def tidy() -> None:
    """All igb PFs present and bound, without VFs, in legacy mode, down, autoprobe on."""
    FAIL_MODE.write_text("0")
    if not all((PCI / address).exists() for address in IGB):
        RESCAN.write_text("1")
    tidy_up(IGB)


def tidy_up(addresses: Collection[str]) -> None:
    """Some of them, which are present. Only with the shim has the driver modes to be in."""
    for address in addresses:
        if link_target(PCI / address / "driver") is None:
            Path("/sys/bus/pci/drivers/igb/bind").write_text(address)
    for address, pf in look_at_all().items():
        if address not in addresses:
            continue
        if pf.num_vfs:
            (PCI / address / "sriov_numvfs").write_text("0")
        if not pf.autoprobe:
            (PCI / address / "sriov_drivers_autoprobe").write_text("1")
        has_mode = FAIL_MODE.exists() and (pf.num_vfs or pf.representors)
        if has_mode and devlink_mode(address) != "legacy":
            _run("devlink", "dev", "eswitch", "set", f"pci/{address}", "mode", "legacy")
        if pf.interface is not None and pf.interface.mtu != STANDARD_MTU:
            _run("ip", "link", "set", "dev", pf.interface.name, "mtu", str(STANDARD_MTU))
        if pf.interface is not None and pf.interface.up:
            _run("ip", "link", "set", "dev", pf.interface.name, "down")


def _run(*words: str) -> None:
    subprocess.run(words, timeout=60, check=True)
