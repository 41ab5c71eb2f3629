"""Which nodes and NICs a policy means, and which VFs of a NIC; and for one that is not meant, why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from virtfn.model import VfRange
from virtfn.model.crd import InterfaceStatus, NicSelector, PfName, PolicySpec

_BLANK = r"[\t\n\f\r ]"
_SOLID = r"[^\t\n\f\r ]"
# The key takes as much as it can, so of several colons the last one splits.
_NET_FILTER = re.compile(rf"^{_BLANK}*({_SOLID}+){_BLANK}*:{_BLANK}*({_SOLID}+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first part of a selector that does not hold: which, what it asks for, and what is there instead."""

    part: str
    """`vendor`, `deviceID`, `rootDevices`, `pfNames`, `netFilter`, or `nicSelector`: it is empty; of a node a label."""
    wanted: tuple[str, ...]
    """One of these."""
    seen: tuple[str, ...] = ()
    """Empty: nothing is known, or the node has no such label."""

    def __str__(self) -> str:
        if self.part == "nicSelector":
            return "nicSelector is empty"
        if self.part in ("rootDevices", "pfNames"):
            return f"not in {self.part}"
        return f"{self.part} is {self.seen[0] if self.seen else 'unknown'}, not {self.wanted[0]}"


def labels_of(node: Mapping[str, Any]) -> Mapping[str, str]:
    """`metadata.labels` of an object that may not be one."""
    metadata = node.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return labels if isinstance(labels, Mapping) else {}


def selects_node(spec: PolicySpec, labels: Mapping[str, str]) -> bool:
    """Whether every pair of the node selector is a label of the node; an empty selector selects every node."""
    return all(labels.get(key) == value for key, value in spec.node_selector.items())


def node_mismatch(spec: PolicySpec, labels: Mapping[str, str]) -> Mismatch | None:
    """The first pair of the node selector, by key, that is no label of the node; None when the node is selected."""
    for key, value in sorted(spec.node_selector.items()):
        if labels.get(key) != value:
            return Mismatch(key, (value,), (labels[key],) if key in labels else ())
    return None


def selects(selector: NicSelector, pf: InterfaceStatus) -> bool:
    """Whether all given parts of the selector hold for the PF; an empty selector selects nothing."""
    return _failing_part(selector, pf) is None


def mismatch(selector: NicSelector, pf: InterfaceStatus) -> Mismatch | None:
    """Which part of the selector fails first for the PF, and how; None when it is selected."""
    match part := _failing_part(selector, pf):
        case "vendor":
            return Mismatch(part, (selector.vendor,), _seen(pf.vendor))
        case "deviceID":
            return Mismatch(part, (selector.device_id,), _seen(pf.device_id))
        case "rootDevices":
            return Mismatch(part, selector.root_devices, _seen(pf.pci_address))
        case "pfNames":
            return Mismatch(part, selector.pf_names, _seen(pf.name, *pf.alt_names))
        case "netFilter":
            return Mismatch(part, (selector.net_filter,), _seen(pf.net_filter))
    return Mismatch(part, ()) if part is not None else None


def _failing_part(selector: NicSelector, pf: InterfaceStatus) -> str | None:
    """In the API's words; `nicSelector` when it is empty."""
    if selector.is_empty:
        return "nicSelector"
    if selector.vendor and selector.vendor != pf.vendor:
        return "vendor"
    if selector.device_id and selector.device_id != pf.device_id:
        return "deviceID"
    if selector.root_devices and pf.pci_address not in selector.root_devices:
        return "rootDevices"
    if selector.pf_names and vf_range_entry(selector, pf) is None:
        return "pfNames"
    if selector.net_filter and not net_filter_matches(selector.net_filter, pf.net_filter):
        return "netFilter"
    return None


def _seen(*found: str) -> tuple[str, ...]:
    return tuple(text for text in found if text)


def net_filter_matches(wanted: str, found: str) -> bool:
    """Whether both are `key:value` and equal, blanks aside. What is not of that form matches nothing."""
    left, right = _NET_FILTER.search(wanted), _NET_FILTER.search(found)
    return left is not None and right is not None and left.groups() == right.groups()


def vf_range_entry(selector: NicSelector, pf: InterfaceStatus) -> int | None:
    """Index of the first entry of `pfNames` that names the PF, by name or altname; it says which VFs are meant."""
    entries = _first_entries(selector.pf_names)
    found = entries.get(pf.name)
    for name in pf.alt_names:
        other = entries.get(name)
        if other is not None and (found is None or other < found):
            found = other
    return found


@lru_cache(maxsize=1024)
def _first_entries(pf_names: tuple[str, ...]) -> Mapping[str, int]:
    # Every policy is held against every PF of every node, so its names are taken apart only once.
    first: dict[str, int] = {}
    for index, entry in enumerate(pf_names):
        first.setdefault(PfName.parse(entry).name, index)
    return first


def vf_range(spec: PolicySpec, pf: InterfaceStatus) -> VfRange:
    """The VFs of a selected PF that the policy means: the range of its entry in `pfNames`, or all `numVfs`.

    The range is not held against `numVfs` here. Of a policy with `numVfs` 0 there is none to ask for.
    """
    index = vf_range_entry(spec.nic_selector, pf)
    named = PfName.parse(spec.nic_selector.pf_names[index]).vf_range if index is not None else None
    return named or VfRange(0, spec.num_vfs - 1)
