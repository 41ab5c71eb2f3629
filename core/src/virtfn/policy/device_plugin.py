"""The SR-IOV device plugin's configuration for one node, from its node state alone.

Every VF of a VF group goes to its group's resource and to no other, and a VF in no group goes nowhere. The plugin as
it is released (sriov-network-device-plugin, its README and `pkg/netdevice`) sets the terms:

* of a list of PF names or root devices only the first entry that names a PF counts, so a PF has one entry with all its
  ranges (`ens1f0#0-3,6-7`);
* names are compared without regard to case, and a PF in switchdev mode may be known by another name or none, so a PF
  is called by its PCI address where its name does not tell it from the others for sure;
* PFs are never found by name or root device, so a VM's NIC, which is its own VF, is called by its PCI address;
* the parts of one selector object must all hold, so VFs that need different parts stand in objects of their own;
* some mistakes (a resource's name, `isRdma` with `vdpaType`) make it refuse the whole file: these never get there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from virtfn.errors import BadVfRange, InvalidDocument, RequestError, UnsupportedSetting
from virtfn.model import DeviceType, EswitchMode, LinkType, PciAddress, Problem, Severity, VfRange
from virtfn.model.crd import (
    NODE_STATE_KIND,
    InterfaceSpec,
    InterfaceStatus,
    SriovNetworkNodeState,
    VfGroupSpec,
)
from virtfn.model.device_plugin import DevicePluginConfig, Resource, Selector
from virtfn.policy.reading import Fault, read_node_state

_RESOURCE_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_ENCAPSULATION = {LinkType.ETH: "ether", LinkType.IB: "infiniband"}
"""Link types in netlink's words, which are the device plugin's."""


def render_device_plugin_config(state: SriovNetworkNodeState | Mapping[str, Any]) -> DevicePluginConfig:
    """What the device plugin of one node shall offer.

    Resources stand in the order in which their policies applied. A group's VFs count as far as they lie inside
    `numVfs`; of groups that overlap the first one has the VF. Groups without a resource name offer nothing.

    Where groups of one resource differ in `isRdma`, `needVhostNet` or `vdpaType`, each keeps its own (the resource has
    one selector object for each), and where they differ in `excludeTopology`, true wins; both are reported.

    :param state: the node's state, spec and status; or plain data as the API gives it.
    :returns: the configuration with problems: errors for what is left out, warnings for the rest.
    :raises InvalidDocument: plain data that is malformed.
    """
    if not isinstance(state, SriovNetworkNodeState):
        state = read_node_state(state)
    problems: list[Problem] = []
    offers: dict[str, list[_Offer]] = {}
    for port in _ports(state, problems):
        for offer in reversed(tuple(_offers(port, problems))):
            offers.setdefault(offer.group.resource_name, []).append(offer)
    resources = []
    for name, offered in offers.items():
        if _RESOURCE_NAME.fullmatch(name) is None:
            problems.append(_bad_name(name, offered[0]))
            continue
        problems.extend(_disagreements(name, offered))
        resources.append(
            Resource(
                name=name,
                selectors=tuple(_selectors(offered)),
                exclude_topology=any(offer.group.exclude_topology for offer in offered),
            )
        )
    return DevicePluginConfig(tuple(resources), tuple(problems))


# --- PFs and their VFs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Port:
    """A PF, or a VM's NIC, that something is wanted of."""

    field: str
    address: str
    name: str
    spec: InterfaceSpec
    status: InterfaceStatus | None
    by_name: bool
    """Whether its name tells it from all others, in the device plugin's eyes."""
    is_virtual: bool
    """A VM's NIC: it has the PCI address of its only VF."""
    num_vfs: int
    """VFs that are wanted. Of a VM's NIC it is always the one."""
    all_vfs: VfRange | None
    """All VFs that there are or shall be; None: somebody else decides how many."""

    @property
    def label(self) -> str:
        return f"{self.address} ({self.name})" if self.name else self.address


def _ports(state: SriovNetworkNodeState, problems: list[Problem]) -> Iterator[_Port]:
    """What the spec names, in its order."""
    found = {_canonical(pf.pci_address): pf for pf in state.status.interfaces}
    wanted: dict[str, tuple[str, InterfaceSpec]] = {}
    for index, entry in enumerate(state.spec.interfaces):
        field = f"spec.interfaces[{index}]"
        address = _canonical(entry.pci_address)
        fault = None
        if not address:
            message = f"{entry.pci_address!r} is not a PCI address"
            fault = Fault(f"{field}.pciAddress", message, "expected like 0000:3b:00.1", RequestError)
        elif address in wanted:
            message = "the PF is named twice; only the first entry counts"
            fault = Fault(f"{field}.pciAddress", message, "put all its VF groups in one entry")
        if fault is not None:
            problems.append(fault.problem(address or NODE_STATE_KIND))
        else:
            wanted[address] = (field, entry)
    names = {address: pf.name for address, pf in found.items()}
    names = {address: entry.name for address, (_, entry) in wanted.items()} | names
    bearers = Counter(name.lower() for name in names.values())
    for address, (field, entry) in wanted.items():
        status, name = found.get(address), names[address]
        switchdev = entry.eswitch_mode is EswitchMode.SWITCHDEV or (
            status is not None and status.eswitch_mode == EswitchMode.SWITCHDEV
        )
        told_apart = bool(name) and "#" not in name and bearers[name.lower()] == 1
        is_virtual = status is not None and _is_virtual(status)
        num_vfs = 1 if is_virtual else entry.num_vfs
        yield _Port(
            field=field,
            address=address,
            name=name,
            spec=entry,
            status=status,
            by_name=told_apart and not switchdev,
            is_virtual=is_virtual,
            num_vfs=num_vfs,
            all_vfs=None if entry.externally_managed else VfRange(0, max(num_vfs, _seen(status)) - 1),
        )


def _is_virtual(found: InterfaceStatus) -> bool:
    return bool(found.net_filter) or any(vf.pci_address == found.pci_address for vf in found.vfs)


def _seen(found: InterfaceStatus | None) -> int:
    """How many VFs there are, by the highest number that anything speaks for."""
    if found is None:
        return 0
    return max(found.num_vfs, len(found.vfs), *(vf.vf_id + 1 for vf in found.vfs), 0)


def _canonical(address: str) -> str:
    """As sysfs spells it; empty when it is no PCI address."""
    try:
        return str(PciAddress.parse(address))
    except RequestError:
        return ""


# --- groups ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Offer:
    """VFs of one PF that one group has."""

    port: _Port
    field: str
    group: VfGroupSpec
    ranges: tuple[VfRange, ...]
    is_rdma: bool
    link_type: str

    @property
    def settings(self) -> tuple[object, ...]:
        """What offers that stand in one selector object must have in common."""
        group = self.group
        return (self.port.is_virtual, self.link_type, self.is_rdma, group.need_vhost_net, group.vdpa_type)

    @property
    def label(self) -> str:
        return f"VFs {_ranges(self.ranges)} of {self.port.label}"


def _offers(port: _Port, problems: list[Problem]) -> Iterator[_Offer]:
    """The groups of a PF that offer something, in the node state's order."""
    taken: list[VfRange] = []
    for index, group in enumerate(port.spec.vf_groups):
        field = f"{port.field}.vfGroups[{index}]"
        try:
            own = VfRange.parse(group.vf_range)
        except BadVfRange as error:
            problems.append(Fault(f"{field}.vfRange", str(error), error=BadVfRange).problem(port.label))
            continue
        ranges = _without(own, taken, end=port.num_vfs)
        taken.append(own)
        if ranges and group.resource_name:
            is_rdma = _hands_out_rdma(port, group, field, problems)
            yield _Offer(port, field, group, ranges, is_rdma, _link_type(port, group, problems))


def _without(own: VfRange, taken: Iterable[VfRange], *, end: int) -> tuple[VfRange, ...]:
    """What of a range lies before `end` and in no other range."""
    free = [VfRange(own.first, min(own.last, end - 1))] if own.first < end else []
    for other in taken:
        rest = []
        for part in free:
            if not part.overlaps(other):
                rest.append(part)
                continue
            if part.first < other.first:
                rest.append(VfRange(part.first, other.first - 1))
            if other.last < part.last:
                rest.append(VfRange(other.last + 1, part.last))
        free = rest
    return tuple(free)


def _hands_out_rdma(port: _Port, group: VfGroupSpec, field: str, problems: list[Problem]) -> bool:
    """Whether RDMA devices are looked for: with what has none, the group's VFs would be offered by nobody."""
    if not group.is_rdma:
        return False
    if group.vdpa_type is not None:
        why = f"a vDPA device ({group.vdpa_type.value}) is handed out without RDMA"
    elif group.device_type is DeviceType.VFIO_PCI:
        why = "a VF bound to vfio-pci has no RDMA device"
    else:
        return True
    problems.append(_warning(port.label, f"isRdma has no effect: {why}", f"{field}.isRdma", "take one of the two away"))
    return False


def _link_type(port: _Port, group: VfGroupSpec, problems: list[Problem]) -> str:
    """The link type that VFs must have to be offered; empty: not looked at.

    While the PF's link type is not known, nothing could be told of a VF without a netdev; it would be lost.
    """
    wanted, found = port.spec.link_type, port.status.link_type if port.status is not None else ""
    if not wanted or not found or group.device_type is DeviceType.VFIO_PCI:
        return ""
    link_type = LinkType(wanted.upper())
    if found.upper() != link_type:
        message = f"linkType {wanted} is wanted, and the port is {found}: its VFs are not offered until that changes"
        problem = _warning(port.label, message, f"{port.field}.linkType")
        if problem not in problems:
            problems.append(problem)
    return _ENCAPSULATION[link_type]


# --- resources ------------------------------------------------------------------------------------------------------


def _selectors(offers: Sequence[_Offer]) -> Iterator[Selector]:
    alike: dict[tuple[object, ...], list[_Offer]] = {}
    for offer in offers:
        alike.setdefault(offer.settings, []).append(offer)
    for same in alike.values():
        yield _selector(same)


def _selector(offers: Sequence[_Offer]) -> Selector:
    """One object for offers of the same settings."""
    first = offers[0]
    ports: dict[str, _Port] = {}
    vfs: dict[str, list[VfRange]] = {}
    for offer in offers:
        ports[offer.port.address] = offer.port
        vfs.setdefault(offer.port.address, []).extend(offer.ranges)
    vendors = dict.fromkeys(port.status.vendor.lower() if port.status is not None else "" for port in ports.values())
    virtual = first.port.is_virtual
    by_name = all(port.by_name for port in ports.values())
    entries = tuple(_entry(port, vfs[address], by_name=by_name) for address, port in ports.items())
    return Selector(
        vendors=tuple(vendors) if all(vendors) else (),
        pci_addresses=tuple(ports) if virtual else (),
        pf_names=entries if by_name and not virtual else (),
        root_devices=entries if not by_name and not virtual else (),
        link_types=(first.link_type,) if first.link_type else (),
        is_rdma=first.is_rdma,
        need_vhost_net=first.group.need_vhost_net,
        vdpa_type=first.group.vdpa_type.value if first.group.vdpa_type is not None else "",
    )


def _entry(port: _Port, vfs: Sequence[VfRange], *, by_name: bool) -> str:
    """A PF and its VFs; the ranges only where not all VFs of the PF are meant."""
    name = port.name if by_name else port.address
    joined = _joined(vfs)
    return name if joined == (port.all_vfs,) else f"{name}#{_ranges(joined)}"


def _joined(ranges: Iterable[VfRange]) -> tuple[VfRange, ...]:
    """The same VFs, sorted, with as few ranges as can be."""
    joined: list[VfRange] = []
    for part in sorted(ranges):
        if joined and part.first == joined[-1].last + 1:
            joined[-1] = VfRange(joined[-1].first, part.last)
        else:
            joined.append(part)
    return tuple(joined)


def _ranges(ranges: Iterable[VfRange]) -> str:
    return ",".join(str(part) for part in ranges)


# --- what is told about it ------------------------------------------------------------------------------------------


def _warning(obj: str, message: str, field: str, hint: str = "") -> Problem:
    return Problem(
        object=obj,
        message=message,
        reason=UnsupportedSetting.reason,
        field=field,
        hint=hint,
        severity=Severity.WARNING,
    )


def _bad_name(name: str, offer: _Offer) -> Problem:
    message = f"{name!r} cannot be a resource's name: its VFs are offered by nobody"
    hint = "use letters, digits, _ and - only"
    return Fault(f"{offer.field}.resourceName", message, hint, InvalidDocument).problem(offer.port.label)


def _disagreements(name: str, offers: Sequence[_Offer]) -> Iterator[Problem]:
    """Settings in which groups of one resource differ: who asks for it cannot choose between them."""
    outcomes = {
        "isRdma": "each VF keeps its group's",
        "needVhostNet": "each VF keeps its group's",
        "vdpaType": "each VF keeps its group's",
        "excludeTopology": "true counts for all of them",
    }
    settings = [_told(offer.group) for offer in offers]
    for setting, outcome in outcomes.items():
        first = settings[0][setting]
        other = next((place for place, values in enumerate(settings) if values[setting] != first), None)
        if other is None:
            continue
        yield _warning(
            f"resource {name}",
            f"{setting} is {first} for {offers[0].label} and {settings[other][setting]} for {offers[other].label};"
            f" {outcome}",
            f"{offers[other].field}.{setting}",
            "whoever asks for the resource cannot choose: give one of them a resource name of its own",
        )


def _told(group: VfGroupSpec) -> dict[str, str]:
    return {
        "isRdma": str(group.is_rdma).lower(),
        "needVhostNet": str(group.need_vhost_net).lower(),
        "vdpaType": group.vdpa_type.value if group.vdpa_type is not None else "not set",
        "excludeTopology": str(group.exclude_topology).lower(),
    }
