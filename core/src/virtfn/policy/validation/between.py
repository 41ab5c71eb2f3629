"""Rules between policies: who may share a PF, a root device, a resource name.

Where nodes are known, only policies that select a common node are compared; where they are not, all but those whose
selectors can never hold together. Where node states are known, altnames are resolved and PFs compared as they are
found; where they are not, names are compared as they are written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from virtfn.model import Severity, VfRange
from virtfn.model.crd import POLICY_KIND, InterfaceStatus, PfName, PolicySpec, SriovNetworkNodePolicy
from virtfn.policy.selection import selects, vf_range, vf_range_entry
from virtfn.policy.validation.case import Case, on_nodes
from virtfn.policy.validation.cluster import NOWHERE, Place
from virtfn.policy.validation.rule import Breach, Need, Rule

_KIND = (POLICY_KIND,)
_POLICIES = frozenset({Need.POLICIES})


class _By(Enum):
    """How two policies come to mean one PF."""

    NAME = auto()
    """Both name it in pfNames."""
    ADDRESS = auto()
    """Both name it in rootDevices, and not both in pfNames."""
    CHANCE = auto()
    """One of them selects it in another way."""


@dataclass(frozen=True, slots=True)
class _Meeting:
    """One PF that two policies mean."""

    other: SriovNetworkNodePolicy = field(compare=False)
    name: str
    """Of the other policy."""
    pf: str
    by: _By
    at: str
    """The field that means it."""
    own: VfRange | None
    """None: no VFs."""
    others: VfRange | None

    @property
    def overlaps(self) -> bool:
        return self.own is not None and self.others is not None and self.own.overlaps(self.others)


def _common_places(case: Case, other: SriovNetworkNodePolicy) -> Iterator[Place]:
    if case.view.places:
        yield from (place for place in case.places if place.selected_by(other.spec))
    elif Need.NODES not in case.view.knows and _can_hold_together(case.policy.spec, other.spec):
        yield NOWHERE


def _can_hold_together(one: PolicySpec, other: PolicySpec) -> bool:
    return all(other.node_selector.get(key, value) == value for key, value in one.node_selector.items())


def _meetings(case: Case) -> dict[_Meeting, list[str]]:
    """All of them, each with the nodes where it is; what is only written is left out where it was found on a node."""
    found: dict[_Meeting, list[str]] = defaultdict(list)
    written: dict[_Meeting, list[str]] = defaultdict(list)
    for other in case.others:
        for place in _common_places(case, other):
            if place.interfaces is None:
                for meeting in _as_written(case.policy, other):
                    written[meeting].append(place.name)
            else:
                for meeting in _on_nics(case.policy, other, case.selected[place]):
                    found[meeting].append(place.name)
    told = {(meeting.name, meeting.at) for meeting in found}
    return found | {meeting: names for meeting, names in written.items() if (meeting.name, meeting.at) not in told}


def _on_nics(
    own: SriovNetworkNodePolicy, other: SriovNetworkNodePolicy, selected: tuple[InterfaceStatus, ...]
) -> Iterator[_Meeting]:
    """:param selected: by `own`."""
    mine, theirs = own.spec.nic_selector, other.spec.nic_selector
    for pf in selected:
        if not selects(theirs, pf):
            continue
        entry = vf_range_entry(mine, pf)
        ranges = tuple(vf_range(policy.spec, pf) if policy.spec.num_vfs else None for policy in (own, other))
        if entry is not None and vf_range_entry(theirs, pf) is not None:
            by, at = _By.NAME, f"spec.nicSelector.pfNames[{entry}]"
        elif pf.pci_address in mine.root_devices and pf.pci_address in theirs.root_devices:
            by, at = _By.ADDRESS, f"spec.nicSelector.rootDevices[{mine.root_devices.index(pf.pci_address)}]"
        else:
            by, at = _By.CHANCE, "spec.nicSelector"
        yield _Meeting(other, other.name, pf.label, by, at, *ranges)


def _as_written(own: SriovNetworkNodePolicy, other: SriovNetworkNodePolicy) -> Iterator[_Meeting]:
    mine, theirs = _named(own.spec), _named(other.spec)
    for name, (index, asked) in mine.items():
        if name in theirs:
            at = f"spec.nicSelector.pfNames[{index}]"
            yield _Meeting(other, other.name, name, _By.NAME, at, asked, theirs[name][1])
    if mine and theirs:
        return  # which of the names is behind an address is not known
    whole = tuple(VfRange(0, spec.num_vfs - 1) if spec.num_vfs else None for spec in (own.spec, other.spec))
    for index, address in enumerate(own.spec.nic_selector.root_devices):
        if address in other.spec.nic_selector.root_devices:
            yield _Meeting(other, other.name, address, _By.ADDRESS, f"spec.nicSelector.rootDevices[{index}]", *whole)


def _named(spec: PolicySpec) -> dict[str, tuple[int, VfRange | None]]:
    """Index and VFs of the first entry of each PF."""
    found: dict[str, tuple[int, VfRange | None]] = {}
    for index, text in enumerate(spec.nic_selector.pf_names):
        entry = PfName.parse(text)
        if entry.name not in found:
            whole = VfRange(0, spec.num_vfs - 1) if spec.num_vfs else None
            found[entry.name] = (index, entry.vf_range if entry.vf_range is not None and whole else whole)
    return found


def _overlap(case: Case) -> Iterator[Breach]:
    for meeting, names in case.once(_meetings).items():
        if meeting.by is _By.NAME and meeting.overlaps:
            yield Breach(
                f"VFs {meeting.own} of {meeting.pf} overlap VFs {meeting.others} of policy {meeting.name}"
                + on_nodes(names),
                field=meeting.at,
            )


def _root_device(case: Case) -> Iterator[Breach]:
    for meeting, names in case.once(_meetings).items():
        if meeting.by is _By.ADDRESS:
            yield Breach(f"{meeting.pf} is named by policy {meeting.name} too{on_nodes(names)}", field=meeting.at)


def _taken(case: Case) -> Iterator[Breach]:
    own = case.policy
    for meeting, names in case.once(_meetings).items():
        other = meeting.other
        if meeting.by is not _By.CHANCE or not meeting.overlaps or _order(other) < _order(own):
            continue
        why = (
            f"its priority {other.spec.priority} goes before {own.spec.priority}"
            if other.spec.priority < own.spec.priority
            else f"the priorities are equal, and {other.name} comes after {own.name}"
        )
        yield Breach(
            f"VFs {meeting.own} of {meeting.pf} give way to VFs {meeting.others} of policy {other.name}"
            f"{on_nodes(names)}: {why}",
        )


def _order(policy: SriovNetworkNodePolicy) -> tuple[int, str]:
    """As they are applied: the last one wins."""
    return (-policy.spec.priority, policy.name)


def _managed(case: Case) -> Iterator[Breach]:
    own = case.policy.spec.externally_managed
    for meeting, names in case.once(_meetings).items():
        other = meeting.other
        if other.spec.externally_managed is own:
            continue
        yield Breach(
            f"is {_word(own)}, and {_word(not own)} in policy {other.name}, which means {meeting.pf} too"
            + on_nodes(names),
            severity=None if meeting.by is not _By.CHANCE else Severity.WARNING,
        )


def _word(value: bool) -> str:
    return "true" if value else "false"


def _same_resource(case: Case) -> Iterator[tuple[SriovNetworkNodePolicy, str]]:
    """Other policies of the same resource on a common node, and where."""
    for other in case.others:
        if other.spec.resource_name == case.policy.spec.resource_name:
            names = [place.name for place in _common_places(case, other)]
            if names:
                yield other, on_nodes(names)


def _topology(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    for other, where in _same_resource(case):
        if other.spec.exclude_topology is not spec.exclude_topology:
            yield Breach(
                f"is {_word(spec.exclude_topology)}, and {_word(other.spec.exclude_topology)} in policy {other.name},"
                f" which makes resource {spec.resource_name} too{where}"
            )


def _resource_settings(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    for other, where in _same_resource(case):
        pairs = {
            "deviceType": (spec.device_type, other.spec.device_type),
            "isRdma": (spec.is_rdma, other.spec.is_rdma),
            "needVhostNet": (spec.need_vhost_net, other.spec.need_vhost_net),
            "vdpaType": (spec.vdpa_type, other.spec.vdpa_type),
        }
        differing = [name for name, (mine, theirs) in pairs.items() if mine != theirs]
        if differing:
            yield Breach(
                f"resource {spec.resource_name} is made by policy {other.name} too{where}, with another"
                f" {', '.join(differing)}: pods cannot tell which VFs they get"
            )


_PLACES = ("nodeSelector", "nicSelector", "numVfs")

MEETING_RULES = (
    Rule(
        id="VfRangesOverlap",
        kinds=_KIND,
        field="spec.nicSelector.pfNames[]",
        holds="Two policies that name one PF in `pfNames` (by name or altname) on a common node name different VFs of"
        " it; a name without a range is all `numVfs`. Priorities do not matter.",
        hint="give each policy its own range, like name#0-3 and name#4-7",
        reads=_PLACES,
        needs=_POLICIES,
        check=_overlap,
    ),
    Rule(
        id="RootDeviceShared",
        kinds=_KIND,
        field="spec.nicSelector.rootDevices[]",
        holds="Two policies on a common node do not name one PF in `rootDevices`, unless both also name it in `pfNames`"
        " (addresses have no VF ranges).",
        hint="share a PF with pfNames and ranges, like name#0-3 and name#4-7",
        reads=_PLACES,
        needs=_POLICIES,
        check=_root_device,
    ),
    Rule(
        id="VfsTakenByOther",
        kinds=_KIND,
        field="spec.nicSelector",
        holds="Policies that select one PF in different ways (one by name, one by vendor) want different VFs of it;"
        " otherwise the one with the lower priority number has them, of equal ones the one with the later name.",
        hint="`virtfn explain` shows who has which VFs",
        reads=(*_PLACES, "priority"),
        needs=frozenset({Need.POLICIES, Need.STATES}),
        severity=Severity.WARNING,
        check=_taken,
    ),
    Rule(
        id="ExternallyManagedDiffers",
        kinds=_KIND,
        field="spec.externallyManaged",
        holds="Policies that mean one PF agree in `externallyManaged`. Where one of them does not name the PF, this is"
        " a warning.",
        hint="set it alike in both, or select different PFs",
        reads=(*_PLACES, "externallyManaged"),
        needs=_POLICIES,
        check=_managed,
    ),
    Rule(
        id="ExcludeTopologyDiffers",
        kinds=_KIND,
        field="spec.excludeTopology",
        holds="Policies with one `resourceName` on a common node agree in `excludeTopology`.",
        hint="set it alike in both, or choose another resourceName",
        reads=("nodeSelector", "resourceName", "excludeTopology"),
        needs=_POLICIES,
        check=_topology,
    ),
    Rule(
        id="ResourceSettingsDiffer",
        kinds=_KIND,
        field="spec.resourceName",
        holds="Policies with one `resourceName` on a common node agree in `deviceType`, `isRdma`, `needVhostNet` and"
        " `vdpaType`.",
        hint="set them alike in both, or choose another resourceName",
        reads=("nodeSelector", "resourceName", "deviceType", "isRdma", "needVhostNet", "vdpaType"),
        needs=_POLICIES,
        severity=Severity.WARNING,
        check=_resource_settings,
    ),
)
