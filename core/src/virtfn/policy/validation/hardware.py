"""Rules that hold a policy against nodes and what they have: labels, and the NICs that node states show.

Whether a card is on anybody's list is not looked at: a card that no plugin lists is served by the generic one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from virtfn.model import Problem, Severity
from virtfn.model.crd import POLICY_KIND, InterfaceStatus
from virtfn.model.wording import few_texts
from virtfn.policy.merge import render_node_state
from virtfn.policy.selection import mismatch, node_mismatch
from virtfn.policy.validation.case import Case, on_nodes
from virtfn.policy.validation.rule import Breach, Need, NotKnownError, Rule

_KIND = (POLICY_KIND,)
_STATES = frozenset({Need.STATES})
_SHOWN = 4


def _no_node(case: Case) -> Iterator[Breach]:
    if case.places:
        return
    spec = case.policy.spec
    if not case.view.places:
        yield Breach("selects no node: there is none")
        return
    whys = []
    for place in case.view.places:
        why = node_mismatch(spec, place.labels or {})
        if why is not None:
            seen = f"is {why.seen[0]!r}" if why.seen else "is not set"
            whys.append(f"{place.name}: {why.part} {seen}, not {why.wanted[0]!r}")
    yield Breach("selects no node: " + few_texts(whys, most=_SHOWN))


def _no_nic(case: Case) -> Iterator[Breach]:
    if not case.selected:
        raise NotKnownError("no selected node has told its NICs yet")
    selector = case.policy.spec.nic_selector
    if selector.is_empty or any(case.selected.values()):
        return  # the former is a rule of its own
    whys = [
        f"{place.name + ': ' if place.name else ''}{pf.name or pf.pci_address}: {mismatch(selector, pf)}"
        for place in case.selected
        for pf in place.interfaces or ()
    ]
    yield Breach("selects no NIC: " + few_texts(whys, most=_SHOWN))


def _of_each_pf(case: Case, what: Callable[[InterfaceStatus], Breach | None]) -> Iterator[Breach]:
    """What is wrong with each selected PF, told once for all nodes where it is."""
    found: dict[Breach, list[str]] = defaultdict(list)
    for place, pfs in case.selected.items():
        for breach in filter(None, map(what, pfs)):
            found[breach].append(place.name)
    for breach, names in found.items():
        yield Breach(breach.message + on_nodes(names), breach.field, breach.hint, breach.severity)


def _too_many(case: Case) -> Iterator[Breach]:
    wanted, vendor = case.policy.spec.num_vfs, case.view.vendor
    unsure = Severity.WARNING if vendor is None else None

    def what(pf: InterfaceStatus) -> Breach | None:
        most = vendor.most_vfs(pf) if vendor is not None else None
        if most is not None:
            hint = f"ask for at most {most}"
            return Breach(f"is {wanted}, and {pf.label} makes at most {most} VFs", hint=hint) if wanted > most else None
        if not pf.total_vfs:
            message = f"is {wanted}, and {pf.label} shows no SR-IOV (totalvfs is not there)"
            return Breach(message, hint="switch SR-IOV on in the card's firmware or the BIOS", severity=unsure)
        if wanted > pf.total_vfs:
            message = f"is {wanted}, and {pf.label} makes at most {pf.total_vfs} VFs (totalvfs)"
            return Breach(message, hint=f"ask for at most {pf.total_vfs}", severity=unsure)
        return None

    if wanted and not case.policy.spec.externally_managed:
        yield from _of_each_pf(case, what)


def _external_vfs(case: Case) -> Iterator[Breach]:
    wanted = case.policy.spec.num_vfs

    def what(pf: InterfaceStatus) -> Breach | None:
        if wanted <= pf.num_vfs:
            return None
        return Breach(f"is {wanted}, and {pf.label} has {pf.num_vfs} VFs, made by whoever manages it")

    if case.policy.spec.externally_managed:
        yield from _of_each_pf(case, what)


def _external_mtu(case: Case) -> Iterator[Breach]:
    wanted = case.policy.spec.mtu

    def what(pf: InterfaceStatus) -> Breach | None:
        if not pf.mtu or wanted <= pf.mtu:
            return None
        return Breach(f"is {wanted}, and {pf.label} has {pf.mtu}, set by whoever manages it")

    if case.policy.spec.externally_managed:
        yield from _of_each_pf(case, what)


def _external_link(case: Case) -> Iterator[Breach]:
    wanted = case.policy.spec.link_type

    def what(pf: InterfaceStatus) -> Breach | None:
        if wanted is None or not pf.link_type or wanted.lower() == pf.link_type.lower():
            return None
        return Breach(f"is {wanted}, and {pf.label} is {pf.link_type}, set by whoever manages it")

    if case.policy.spec.externally_managed:
        yield from _of_each_pf(case, what)


def _device(case: Case) -> Iterator[Breach]:
    """What the vendors' plugins say of the policy, were it the only one."""
    vendor = case.view.vendor
    assert vendor is not None  # the rule needs it
    found: dict[Breach, list[str]] = defaultdict(list)
    told: dict[object, list[Breach]] = {}
    for place, pfs in case.selected.items():
        if not pfs:
            continue
        nics = place.interfaces or ()
        likeness = (place.virtual, *map(_likeness, nics))
        if likeness not in told:  # many nodes of a cluster are alike
            spec = render_node_state([case.policy], None, nics, manage_bridges=False).spec
            told[likeness] = [_breach(problem) for problem in vendor.problems(nics, spec, virtual=place.virtual)]
        for breach in told[likeness]:
            found[breach].append(place.name)
    for breach, names in found.items():
        yield Breach(breach.message + on_nodes(names), breach.field, breach.hint, breach.severity)


def _likeness(pf: InterfaceStatus) -> tuple[object, ...]:
    """What a plugin can tell one node's NIC from another's by, as far as a policy is concerned."""
    return (
        pf.pci_address,
        pf.name,
        pf.alt_names,
        pf.driver,
        pf.vendor,
        pf.device_id,
        pf.net_filter,
        pf.mtu,
        pf.num_vfs,
        pf.total_vfs,
        pf.link_type,
        pf.link_admin_state,
        pf.eswitch_mode,
        tuple((vf.pci_address, vf.driver, vf.device_id) for vf in pf.vfs),
    )


def _breach(problem: Problem) -> Breach:
    field = f"spec.{problem.field.rpartition('.')[2]}" if problem.field else "spec.nicSelector"
    return Breach(f"{problem.object}: {problem.message}", field, problem.hint, problem.severity)


HARDWARE_RULES = (
    Rule(
        id="NoNodeSelected",
        kinds=_KIND,
        field="spec.nodeSelector",
        holds="`nodeSelector` selects at least one node.",
        hint="label a node so, or change the selector; {} selects every node",
        reads=("nodeSelector",),
        needs=frozenset({Need.NODES}),
        check=_no_node,
    ),
    Rule(
        id="NoNicSelected",
        kinds=_KIND,
        field="spec.nicSelector",
        holds="`nicSelector` selects at least one NIC of a selected node, as far as nodes have told their NICs.",
        hint="`kubectl get sriovnetworknodestates -o yaml` lists what there is",
        reads=("nodeSelector", "nicSelector"),
        needs=_STATES,
        check=_no_nic,
    ),
    Rule(
        id="NumVfsBeyondTotal",
        kinds=_KIND,
        field="spec.numVfs",
        holds="`numVfs` is not above `totalvfs` of a selected PF, or above what its firmware can be set to. Without"
        " the vendor plugins it is not known what firmware can do, and this is a warning.",
        hint="ask for fewer VFs",
        reads=("nodeSelector", "nicSelector", "numVfs", "externallyManaged"),
        needs=_STATES,
        check=_too_many,
    ),
    Rule(
        id="ExternallyManagedNumVfs",
        kinds=_KIND,
        field="spec.numVfs",
        holds="With `externallyManaged`, `numVfs` is not above the number of VFs that a selected PF has.",
        hint="make the VFs first, or ask for fewer",
        reads=("nodeSelector", "nicSelector", "numVfs", "externallyManaged"),
        needs=_STATES,
        check=_external_vfs,
    ),
    Rule(
        id="ExternallyManagedMtu",
        kinds=_KIND,
        field="spec.mtu",
        holds="With `externallyManaged`, `mtu` is not above the MTU of a selected PF.",
        hint="raise the PF's MTU first, or ask for less",
        reads=("nodeSelector", "nicSelector", "mtu", "externallyManaged"),
        needs=_STATES,
        check=_external_mtu,
    ),
    Rule(
        id="ExternallyManagedLinkType",
        kinds=_KIND,
        field="spec.linkType",
        holds="With `externallyManaged`, `linkType` is that of the selected PFs, or absent.",
        hint="take linkType away, or change the port first",
        reads=("nodeSelector", "nicSelector", "linkType", "externallyManaged"),
        needs=_STATES,
        check=_external_link,
    ),
    Rule(
        id="DeviceRefuses",
        kinds=_KIND,
        field="spec",
        holds="The plugin that serves a selected card has nothing against what is asked of it (`validate` of the"
        " plugin; its warnings are warnings here).",
        hint="change what the message names, or select other cards",
        reads=(
            "nodeSelector",
            "nicSelector",
            "numVfs",
            "mtu",
            "deviceType",
            "isRdma",
            "linkType",
            "eSwitchMode",
            "vdpaType",
            "externallyManaged",
        ),
        needs=frozenset({Need.STATES, Need.VENDOR}),
        check=_device,
    ),
)
