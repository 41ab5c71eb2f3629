"""Which nodes and NICs a policy means, and which VFs of a NIC; and for one that is not meant, why not."""

from __future__ import annotations

import re
from collections.abc import Mapping

from virtfn.model import VfRange
from virtfn.model.crd import InterfaceStatus, NicSelector, PfName, PolicySpec

_BLANK = r"[\t\n\f\r ]"
_SOLID = r"[^\t\n\f\r ]"
# The key takes as much as it can, so of several colons the last one splits.
_NET_FILTER = re.compile(rf"^{_BLANK}*({_SOLID}+){_BLANK}*:{_BLANK}*({_SOLID}+)", re.MULTILINE)


def selects_node(spec: PolicySpec, labels: Mapping[str, str]) -> bool:
    """Whether every pair of the node selector is a label of the node; an empty selector selects every node."""
    return all(labels.get(key) == value for key, value in spec.node_selector.items())


def selects(selector: NicSelector, pf: InterfaceStatus) -> bool:
    """Whether all given parts of the selector hold for the PF; an empty selector selects nothing."""
    return mismatch(selector, pf) is None


def mismatch(selector: NicSelector, pf: InterfaceStatus) -> str | None:
    """Which part of the selector fails first for the PF, and how; None when it is selected."""
    if selector.is_empty:
        return "nicSelector is empty"
    if selector.vendor and selector.vendor != pf.vendor:
        return f"vendor is {pf.vendor or 'unknown'}, not {selector.vendor}"
    if selector.device_id and selector.device_id != pf.device_id:
        return f"deviceID is {pf.device_id or 'unknown'}, not {selector.device_id}"
    if selector.root_devices and pf.pci_address not in selector.root_devices:
        return "not in rootDevices"
    if selector.pf_names and not any(_is_named(pf, PfName.parse(entry)) for entry in selector.pf_names):
        return "not in pfNames"
    if selector.net_filter and not net_filter_matches(selector.net_filter, pf.net_filter):
        return f"netFilter is {pf.net_filter or 'unknown'}, not {selector.net_filter}"
    return None


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
