"""GUIDs of InfiniBand VFs: their two spellings, pools of them that an administrator gives, and those made up.

The kernel writes a GUID as `0011:2233:4455:6677` in sysfs; people, `ip link` and pools write `00:11:22:33:44:55:66:77`,
and that is how it is kept here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from virtfn.errors import RequestError
from virtfn.model.pci import PciAddress

POOL_FILE = "/etc/sriov-operator/infiniband/guids"
"""Where the existing operators have it, on the host."""

_OCTETS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){7}")
_GROUPS = re.compile(r"[0-9a-f]{4}(:[0-9a-f]{4}){3}")
_UNSET = frozenset({":".join(["00"] * 8), ":".join(["ff"] * 8)})
_ADDRESS_OCTETS = 20
"""Of a hardware address of IP over InfiniBand: its last 8 are the port's GUID."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "pciAddress": ("pciAddress", "pci_address"),
    "pfGuid": ("pfGuid", "pf_guid"),
    "guids": ("guids",),
    "guidsRange": ("guidsRange", "guids_range"),
}
"""The existing operators' pages write these names with underscores, their code without."""


def normal_guid(text: str | None) -> str | None:
    """`00:11:22:33:44:55:66:77`, from either spelling; None for anything else."""
    plain = (text or "").strip().lower()
    if _OCTETS.fullmatch(plain):
        return plain
    if not _GROUPS.fullmatch(plain):
        return None
    digits = plain.replace(":", "")
    return ":".join(digits[at : at + 2] for at in range(0, 16, 2))


def kernel_guid(text: str | None) -> str:
    """`0011:2233:4455:6677`, from either spelling; empty for anything else."""
    digits = (normal_guid(text) or "").replace(":", "")
    return ":".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def is_set(text: str | None) -> bool:
    """Whether it is a GUID that a VF can work with. All ones is what the InfiniBand CNI leaves behind for all zero."""
    guid = normal_guid(text)
    return guid is not None and guid not in _UNSET


def guid_of_address(mac: str) -> str | None:
    """The port's GUID in a hardware address of IP over InfiniBand; None for any other address."""
    octets = mac.lower().split(":")
    return normal_guid(":".join(octets[-8:])) if len(octets) == _ADDRESS_OCTETS else None


def derived_guid(parent: str, index: int) -> str:
    """A GUID for VF `index` of a PF with the GUID `parent`: locally administered, and the same after every reboot."""
    octets = bytearray(hashlib.sha256(f"{parent}/{index}".encode()).digest()[:8])
    octets[0] = (octets[0] | 0x02) & 0xFE  # locally administered, not a group; so never all zero nor all ones
    return ":".join(f"{octet:02x}" for octet in octets)


@dataclass(frozen=True, slots=True)
class GuidPool:
    """The GUIDs of one PF's VFs."""

    pci_address: PciAddress | None = None
    pf_address: str = ""
    """Where the PF is not named by its PCI address: the hardware address of its netdev, or its GUID."""
    guids: tuple[str, ...] = ()
    """By index of the VF; or else `first` to `last`."""
    first: int = 0
    last: int = -1

    @property
    def at(self) -> str:
        """How it names its PF, for messages."""
        return str(self.pci_address or self.pf_address)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The GUIDs as numbers, from and to."""
        return [(_number(guid), _number(guid)) for guid in self.guids] or [(self.first, self.last)]

    def of(self, index: int) -> str | None:
        """The GUID of a VF; None: the pool has none for it."""
        if self.guids:
            return self.guids[index] if index < len(self.guids) else None
        number = self.first + index
        return _text(number) if number <= self.last else None


@dataclass(frozen=True, slots=True)
class GuidPools:
    """What the file says."""

    pools: tuple[GuidPool, ...] = ()
    fault: str = ""
    """Why it cannot be used; then there is no pool."""

    def of_pf(self, address: PciAddress, mac: str) -> tuple[GuidPool, ...]:
        """The pools that name a PF, by its PCI address or the hardware address of its netdev: one, in a sound file."""
        names = {mac.lower(), guid_of_address(mac)}
        return tuple(
            pool for pool in self.pools if pool.pci_address == address or (pool.pf_address and pool.pf_address in names)
        )


def parse_pools(text: str) -> GuidPools:
    """The pools in the file's text."""
    try:
        entries = json.loads(text)
        if not isinstance(entries, list):
            raise ValueError("a list is expected")
        pools = tuple(_pool(entry, f"[{at}]") for at, entry in enumerate(entries))
        _tell_apart(pools)
        return GuidPools(pools)
    except (ValueError, RequestError, RecursionError) as error:
        return GuidPools(fault=str(error))


def _pool(entry: Any, at: str) -> GuidPool:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{at}: an object is expected")
    found = {name: entry[word] for name, words in _NAMES.items() for word in words if entry.get(word)}
    for one, other in (("pciAddress", "pfGuid"), ("guids", "guidsRange")):
        if (one in found) == (other in found):
            raise ValueError(f"{at}: either {one} or {other} is expected")
    address = PciAddress.parse(str(found["pciAddress"])) if "pciAddress" in found else None
    named = str(found.get("pfGuid", "")).lower()
    if "guids" in found:
        if not isinstance(found["guids"], list):
            raise ValueError(f"{at}.guids: a list is expected")
        guids = tuple(_guid(guid, f"{at}.guids[{place}]") for place, guid in enumerate(found["guids"]))
        return GuidPool(address, normal_guid(named) or named, guids)
    limits = found["guidsRange"]
    if not isinstance(limits, Mapping):
        raise ValueError(f"{at}.guidsRange: an object with start and end is expected")
    first, last = (_number(_guid(limits.get(word), f"{at}.guidsRange.{word}")) for word in ("start", "end"))
    if last < first:
        raise ValueError(f"{at}.guidsRange: its end comes before its start")
    return GuidPool(address, normal_guid(named) or named, first=first, last=last)


def _tell_apart(pools: Sequence[GuidPool]) -> None:
    """Raises ValueError for a GUID that is given twice: no two ports of a fabric may have the same."""
    spans = sorted((*span, pool.at) for pool in pools for span in pool.spans)
    for (_, end, one), (first, _, other) in pairwise(spans):
        if first <= end:
            where = f"the pool of {one}" if one == other else f"the pools of {one} and {other}"
            raise ValueError(f"{_text(first)} is there twice, in {where}")


def _guid(value: Any, at: str) -> str:
    guid = normal_guid(value) if isinstance(value, str) else None
    if guid is None or not is_set(guid):
        raise ValueError(f"{at}: {value!r} is no GUID like 00:11:22:33:44:55:66:77")
    return guid


def _number(guid: str) -> int:
    return int(guid.replace(":", ""), 16)


def _text(number: int) -> str:
    digits = f"{number:016x}"
    return ":".join(digits[at : at + 2] for at in range(0, 16, 2))
