"""The device plugin's way of choosing devices, rebuilt from its documentation and source, to hold configurations
against. What it does with a file: `pick(text, machine)` tells the resource of every device, or None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Function:
    """One PCI network function as sysfs and netlink show it."""

    address: str
    vendor: str = "8086"
    driver: str = "iavf"
    root: str = ""
    """PCI address of its PF; empty for a PF and for a VM's NIC."""
    pf_name: str = ""
    """What the plugin takes for the PF's name: in switchdev mode it may be none."""
    index: int = 0
    num_vfs: int = 0
    encapsulation: str = ""
    """Of its own netdev; empty: it has none here."""
    pf_encapsulation: str = ""
    rdma: bool = False
    vdpa: str = ""


class Refused(Exception):
    """The plugin ends because of something in its file."""


def _member(data: dict[str, Any], name: str) -> Any:
    """Go's JSON decoder: keys are compared without regard to case, unknown ones are passed over."""
    return next((value for key, value in data.items() if key.lower() == name.lower()), None)


def _named(entries: list[str], name: str, index: int) -> bool:
    """`pfNames` and `rootDevices`: only the first entry with the name counts."""
    for entry in entries:
        parts = entry.split("#")
        if len(parts) > 2:
            return False
        if not name or parts[0].lower() != name.lower():
            continue
        if len(parts) == 1:
            return True
        for piece in parts[1].split(","):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", piece)
            if match is None:
                return False
            if int(match[1]) <= index <= int(match[2] or match[1]):
                return True
        return False
    return False


def _takes(selector: dict[str, Any], device: Function) -> bool:
    def listed(key: str, value: str) -> bool:
        wanted = _member(selector, key)
        return not wanted or value in wanted

    pf_names, roots = _member(selector, "pfNames"), _member(selector, "rootDevices")
    vdpa_type = _member(selector, "vdpaType")
    return (
        listed("vendors", device.vendor)
        and listed("drivers", device.driver)
        and listed("pciAddresses", device.address)
        and (not pf_names or _named(pf_names, device.pf_name, device.index))
        and (not roots or _named(roots, device.root, device.index))
        and listed("linkTypes", device.encapsulation or device.pf_encapsulation)
        and (not _member(selector, "isRdma") or device.rdma)
        and (not vdpa_type or device.vdpa == vdpa_type)
    )


def _pick(text: str, machine: Iterable[Function]) -> dict[str, str | None]:
    resources = _member(json.loads(text), "resourceList") or []
    names = [_member(resource, "resourceName") for resource in resources]
    if len(set(names)) != len(names) or not all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in names):
        raise Refused(f"names: {names}")
    rules: list[tuple[str, dict[str, Any]]] = []
    for name, resource in zip(names, resources, strict=True):
        selectors = _member(resource, "selectors")
        if selectors is None:
            raise Refused(f"{name} has no selectors")
        for selector in selectors if isinstance(selectors, list) else [selectors]:
            if _member(selector, "isRdma") and _member(selector, "vdpaType"):
                raise Refused(f"{name} wants RDMA and vDPA")
            rules.append((name, selector))
    return {
        device.address: next((name for name, selector in rules if _takes(selector, device)), None)
        for device in machine
        # Not even seen: what has no driver, and a PF that has VFs.
        if device.driver and not (device.num_vfs and not device.root)
    }


@pytest.fixture(scope="session")
def pick() -> Callable[[str, Iterable[Function]], dict[str, str | None]]:
    """Resource of every device that the plugin sees, by PCI address; None: nobody's."""
    return _pick


@pytest.fixture(scope="session")
def function() -> type[Function]:
    """A device of the machine."""
    return Function


@pytest.fixture(scope="session")
def refused() -> type[Refused]:
    """The plugin ends because of its file."""
    return Refused
