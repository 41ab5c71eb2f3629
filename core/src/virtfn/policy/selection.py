"""Which nodes and NICs a policy means, and which VFs of a NIC; and for one that is not meant, why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
    return mismatch(selector, pf) is None


def mismatch(selector: NicSelector, pf: InterfaceStatus) -> Mismatch | None:
    """Which part of the selector fails first for the PF, and how; None when it is selected."""
    if selector.is_empty:
        return Mismatch("nicSelector", ())
    if selector.vendor and selector.vendor != pf.vendor:
        return Mismatch("vendor", (selector.vendor,), _seen(pf.vendor))
    if selector.device_id and selector.device_id != pf.device_id:
        return Mismatch("deviceID", (selector.device_id,), _seen(pf.device_id))
    if selector.root_devices and pf.pci_address not in selector.root_devices:
        return Mismatch("rootDevices", selector.root_devices, _seen(pf.pci_address))
    if selector.pf_names and not any(_is_named(pf, PfName.parse(entry)) for entry in selector.pf_names):
        return Mismatch("pfNames", selector.pf_names, _seen(pf.name, *pf.alt_names))
    if selector.net_filter and not net_filter_matches(selector.net_filter, pf.net_filter):
        return Mismatch("netFilter", (selector.net_filter,), _seen(pf.net_filter))
    return None


def _seen(*found: str) -> tuple[str, ...]:
    return tuple(text for text in found if text)


def net_filter_matches(wanted: str, found: str) -> bool:
    """Whether both are `key:value` and equal, blanks aside. What is not of that form matches nothing."""
    left, right = _NET_FILTER.search(wanted), _NET_FILTER.search(found)
    return left is not None and right is not None and left.groups() == right.groups()


def _is_named(pf: InterfaceStatus, entry: PfName) -> bool:
    return entry.name == pf.name or entry.name in pf.alt_names


def vf_range_entry(selector: NicSelector, pf: InterfaceStatus) -> int | None:
    """Index of the first entry of `pfNames` that names the PF, by name or altname; it says which VFs are meant."""
    return next(
        (index for index, entry in enumerate(selector.pf_names) if _is_named(pf, PfName.parse(entry))),
        None,
    )


def vf_range(spec: PolicySpec, pf: InterfaceStatus) -> VfRange:
    """The VFs of a selected PF that the policy means: the range of its entry in `pfNames`, or all `numVfs`.

    The range is not held against `numVfs` here. Of a policy with `numVfs` 0 there is none to ask for.
    """
    index = vf_range_entry(spec.nic_selector, pf)
    named = PfName.parse(spec.nic_selector.pf_names[index]).vf_range if index is not None else None
    return named or VfRange(0, spec.num_vfs - 1)
