"""Objects of the API to what `virtfn get` tells of them, and how each node stands. Pure.

Objects come as the API server has them, and may be an older operator's or half written: what cannot be read is told as
a fault of that object, and never hides the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from virtfn.cli.get_report import (
    AttemptReport,
    BridgeReport,
    ConditionReport,
    ControllerReport,
    DaemonSetReport,
    GroupReport,
    NodeReport,
    OtherReport,
    PfReport,
    PlanReport,
    PolicyNodeReport,
    PolicyReport,
    PoolReport,
    Standing,
    StepReport,
    VfReport,
)
from virtfn.errors import RequestError
from virtfn.kube.resource import Object, metadata_of
from virtfn.model import VfRange
from virtfn.model.crd import (
    DEFAULT_PRIORITY,
    BridgesSpec,
    InterfaceSpec,
    InterfaceStatus,
    LabelSelector,
    NodeStateSpec,
    NodeStateStatus,
    OvsBridgeSpec,
    PlanStatus,
    PolicyStatus,
    VfGroupSpec,
    VfStatus,
)
from virtfn.model.crd.meta import Condition
from virtfn.model.handshake import (
    CURRENT_STATE_ANNOTATION,
    DESIRED_STATE_ANNOTATION,
    EXTERNAL_DRAINER_ANNOTATION,
    KEEP_UNTIL_ANNOTATION,
    DrainState,
    SyncStatus,
)
from virtfn.model.inventory import USERSPACE_DRIVERS
from virtfn.model.ovs import OvsBridgeSettings, OvsInterfaceSettings

# --- one node ---------------------------------------------------------------------------------------------------------


def node_report(thing: Object, *, holders: Mapping[str, str] | None = None, cordon: str = "") -> NodeReport:
    """A node state.

    :param holders: pods by the PCI addresses of their VFs; None: VFs are only counted, which thousands of nodes need.
    :param cordon: who made the node unschedulable.
    """
    metadata = metadata_of(thing)
    annotations = _mapping(metadata.get("annotations"))
    faults = []
    try:
        status = NodeStateStatus.model_validate(_mapping(thing.get("status")))
    except ValidationError as error:
        status = NodeStateStatus()
        faults.append(_fault("status", error))
    try:
        spec = NodeStateSpec.model_validate(_mapping(thing.get("spec")))
    except ValidationError as error:
        spec = NodeStateSpec()
        faults.append(_fault("spec", error))
    try:
        bridges = _bridges(spec, BridgesSpec.model_validate(status.bridges))
    except ValidationError as error:
        bridges = ()
        faults.append(_fault("status.bridges", error))
    generation = metadata.get("generation", 0)
    conditions = conditions_of(status.conditions)
    needs = status.needed_state or str(annotations.get(DESIRED_STATE_ANNOTATION, "")) or DrainState.IDLE
    drain = str(annotations.get(CURRENT_STATE_ANNOTATION, "")) or DrainState.IDLE
    kept_until = str(annotations.get(KEEP_UNTIL_ANNOTATION, ""))
    standing = _standing(status, conditions, generation=generation, needs=needs, drain=drain, gone=bool(kept_until))
    return NodeReport(
        name=str(metadata.get("name", "")),
        standing=standing,
        sync_status=status.sync_status,
        error=status.last_sync_error,
        since=_since(standing, conditions),
        generation=generation,
        observed_generation=status.observed_generation,
        needs=needs,
        drain=drain,
        external_drainer=annotations.get(EXTERNAL_DRAINER_ANNOTATION) == "true",
        kept_until=kept_until,
        plan=_plan(status.plan),
        conditions=conditions,
        attempts=tuple(
            AttemptReport(each.kind, each.count, each.cause, each.seen, each.last) for each in status.attempts
        ),
        pfs=_pfs(spec, status, holders),
        bridges=bridges,
        rdma_mode=status.system.rdma_mode if status.system is not None else "",
        wanted_rdma_mode=(spec.system.rdma_mode or "") if spec.system is not None else "",
        fault="; ".join(faults),
        cordon=cordon,
    )


def _standing(
    status: NodeStateStatus,
    conditions: Sequence[ConditionReport],
    *,
    generation: int,
    needs: str,
    drain: str,
    gone: bool,
) -> Standing:
    trouble = {each.type for each in conditions if each.is_trouble}
    if gone:
        return Standing.GONE
    if "Blocked" in trouble:
        return Standing.BLOCKED
    if status.sync_status == SyncStatus.FAILED:
        return Standing.FAILED
    if not status.sync_status:
        return Standing.SILENT
    # Older daemons do not write which generation they have looked at.
    if 0 < status.observed_generation < generation:
        return Standing.BEHIND
    if needs != DrainState.IDLE and drain == DrainState.IDLE:
        return Standing.WAITING
    if drain == DrainState.DRAINING:
        return Standing.DRAINING
    if status.sync_status != SyncStatus.SUCCEEDED:
        return Standing.IN_PROGRESS
    if "Drifted" in trouble:
        return Standing.DRIFTED
    return Standing.NOT_READY if "Ready" in trouble else Standing.IN_SYNC


_TELLING = {Standing.BLOCKED: "Blocked", Standing.DRIFTED: "Drifted", Standing.WAITING: "Drained"}
"""The condition that tells since when a node stands so; `Ready` for the others."""


def _since(standing: Standing, conditions: Sequence[ConditionReport]) -> datetime | None:
    if standing in (Standing.BEHIND, Standing.GONE):
        return None
    wanted = (_TELLING.get(standing, "Ready"), "Ready")
    return next((each.since for name in wanted for each in conditions if each.type == name and each.since), None)


def _plan(plan: PlanStatus | None) -> PlanReport | None:
    if plan is None or not (plan.steps or plan.steps_left_out):
        return None
    steps = tuple(StepReport(step.op, step.target, step.disruption or "NONE", step.why) for step in plan.steps)
    return PlanReport(plan.digest, plan.disruption or "NONE", plan.affects, steps, plan.steps_left_out)


# --- its PFs ----------------------------------------------------------------------------------------------------------


def _pfs(spec: NodeStateSpec, status: NodeStateStatus, holders: Mapping[str, str] | None) -> tuple[PfReport, ...]:
    wanted = {pf.pci_address: pf for pf in spec.interfaces}
    found = [_pf(pf, wanted.get(pf.pci_address), holders) for pf in status.interfaces]
    there = {pf.pci_address for pf in status.interfaces}
    found += [_pf_that_is_not_there(pf) for pf in spec.interfaces if pf.pci_address not in there]
    return tuple(sorted(found, key=lambda pf: pf.pci_address))


def _pf(pf: InterfaceStatus, wanted: InterfaceSpec | None, holders: Mapping[str, str] | None) -> PfReport:
    groups = [(_span(group), group) for group in wanted.vf_groups] if wanted is not None else []
    return PfReport(
        pci_address=pf.pci_address,
        name=pf.name,
        driver=pf.driver,
        num_vfs=pf.num_vfs,
        total_vfs=pf.total_vfs,
        eswitch_mode=pf.eswitch_mode,
        link=pf.link_admin_state,
        mtu=pf.mtu,
        wanted_vfs=wanted.num_vfs if wanted is not None else None,
        wanted_eswitch_mode=_wanted_mode(wanted, seen=pf.eswitch_mode),
        externally_managed=wanted.externally_managed if wanted is not None else pf.externally_managed,
        groups=tuple(_group(group, span, pf.vfs) for span, group in groups),
        vfs=tuple(_vf(vf, groups, holders, infiniband=pf.link_type == "IB") for vf in pf.vfs)
        if holders is not None
        else (),
    )


def _vf(
    vf: VfStatus,
    groups: Sequence[tuple[VfRange | None, VfGroupSpec]],
    holders: Mapping[str, str],
    *,
    infiniband: bool,
) -> VfReport:
    resource = next((group.resource_name for span, group in groups if span is not None and vf.vf_id in span), "")
    return VfReport(
        vf.vf_id, vf.pci_address, vf.driver, vf.name, vf.mac, vf.mtu, vf.representor_name, vf.vdpa_type,
        vf.guid if infiniband else "", resource, in_pod=_in_pod(vf), holder=holders.get(vf.pci_address, ""),
    )  # fmt: skip


def _pf_that_is_not_there(wanted: InterfaceSpec) -> PfReport:
    return PfReport(
        wanted.pci_address, wanted.name, driver="", num_vfs=0, total_vfs=0, eswitch_mode="", link="", mtu=0,
        wanted_vfs=wanted.num_vfs, wanted_eswitch_mode=_wanted_mode(wanted, seen=""), is_there=False,
        externally_managed=wanted.externally_managed,
        groups=tuple(_group(group, _span(group), ()) for group in wanted.vf_groups),
    )  # fmt: skip


def _wanted_mode(wanted: InterfaceSpec | None, *, seen: str) -> str:
    """Absent is legacy, where the PF has a mode at all."""
    if wanted is None:
        return ""
    if wanted.eswitch_mode is not None:
        return wanted.eswitch_mode.value
    return "legacy" if seen else ""


def _span(group: VfGroupSpec) -> VfRange | None:
    try:
        return VfRange.parse(group.vf_range)
    except RequestError:
        return None


def _group(group: VfGroupSpec, span: VfRange | None, vfs: Sequence[VfStatus]) -> GroupReport:
    members = [vf for vf in vfs if span is not None and vf.vf_id in span]
    known = [] if group.vdpa_type else [vf for vf in members if vf.driver not in USERSPACE_DRIVERS]
    return GroupReport(
        resource=group.resource_name,
        policy=group.policy_name,
        vf_range=group.vf_range,
        wanted=span.last - span.first + 1 if span is not None else 0,
        made=len(members),
        in_pods=sum(map(_in_pod, known)),
        unknown=len(members) - len(known),
    )


def _in_pod(vf: VfStatus) -> bool:
    """A netdev that is not on the host was given to a pod."""
    return not vf.name and bool(vf.driver) and vf.driver not in USERSPACE_DRIVERS


# --- its bridges ------------------------------------------------------------------------------------------------------


def _bridges(spec: NodeStateSpec, reported: BridgesSpec) -> tuple[BridgeReport, ...]:
    found = {bridge.name: bridge for bridge in reported.ovs}
    wanted = {bridge.name: bridge for bridge in (spec.bridges.ovs if spec.bridges is not None else ())}
    return tuple(_bridge(name, found.get(name), wanted.get(name)) for name in sorted({*found, *wanted}))


def _bridge(name: str, found: OvsBridgeSpec | None, wanted: OvsBridgeSpec | None) -> BridgeReport:
    uplinks = [*(found.uplinks if found is not None else ()), *(wanted.uplinks if wanted is not None else ())]
    return BridgeReport(
        name,
        pf=uplinks[0].pci_address if uplinks else "",
        uplink=found.uplinks[0].name if found is not None and found.uplinks else "",
        is_there=found is not None,
        is_wanted=wanted is not None,
        differing=_differing(found, wanted) if found is not None and wanted is not None else (),
    )


def _differing(found: OvsBridgeSpec, wanted: OvsBridgeSpec) -> tuple[str, ...]:
    """Names of the settings."""
    have, want = _settings(found), _settings(wanted)  # without what is zero
    return tuple(name for name in sorted({*have, *want}) if have.get(name) != want.get(name))


def _settings(bridge: OvsBridgeSpec) -> dict[str, Any]:
    own = bridge.bridge or OvsBridgeSettings()
    named = {f"bridge.{key}": value for key, value in own.to_wire().items()}
    for uplink in bridge.uplinks[:1]:
        interface = uplink.interface or OvsInterfaceSettings()
        named["uplink"] = uplink.pci_address
        named |= {f"uplink.interface.{key}": value for key, value in interface.to_wire().items()}
    return named


# --- policies and the rest --------------------------------------------------------------------------------------------


def policy_report(thing: Object) -> PolicyReport:
    """A policy."""
    metadata, spec = metadata_of(thing), _mapping(thing.get("spec"))
    fault = ""
    try:
        status = PolicyStatus.model_validate(_mapping(thing.get("status")))
    except ValidationError as error:
        status, fault = PolicyStatus(), _fault("status", error)
    mismatches = [
        PolicyNodeReport(node.name, node.mismatch.field, node.mismatch.message)
        for node in status.nodes
        if node.mismatch is not None
    ]
    return PolicyReport(
        name=str(metadata.get("name", "")),
        priority=spec.get("priority", DEFAULT_PRIORITY),
        resource=str(spec.get("resourceName", "")),
        num_vfs=spec.get("numVfs", 0),
        looked_at=status.observed_generation >= metadata.get("generation", 0) and status.observed_generation > 0,
        matched_nodes=status.matched_nodes,
        matched_nics=status.matched_nics,
        mismatches=tuple(mismatches),
        conditions=conditions_of(status.conditions),
        fault=fault,
    )


def pool_report(thing: Object) -> PoolReport:
    """A pool config."""
    spec = _mapping(thing.get("spec"))
    most = spec.get("maxUnavailable")
    return PoolReport(
        name=str(metadata_of(thing).get("name", "")),
        nodes=_selector(spec.get("nodeSelector")),
        max_unavailable="no limit" if most is None else str(most),
        rdma_mode=str(spec.get("rdmaMode") or ""),
        conditions=conditions_in(thing),
    )


def other_report(thing: Object, *, kind: str, namespace: str) -> OtherReport | None:
    """An object of any kind that has conditions; None if nothing is wrong with it."""
    conditions = tuple(each for each in conditions_in(thing) if each.is_trouble)
    metadata = metadata_of(thing)
    where = "" if metadata.get("namespace") in (None, namespace) else f"{metadata['namespace']}/"
    return OtherReport(kind, f"{where}{metadata.get('name', '')}", conditions) if conditions else None


def _selector(data: Any) -> str:
    if not data:
        return "all"
    try:
        selector = LabelSelector.model_validate(data)
    except ValidationError:
        return "malformed"
    words = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for need in selector.match_expressions:
        match need.operator:
            case "Exists":
                words.append(need.key)
            case "DoesNotExist":
                words.append(f"!{need.key}")
            case _:
                words.append(f"{need.key} {need.operator.lower()} ({','.join(need.values)})")
    return ",".join(words) or "all"


def controller_report(lease: Object) -> ControllerReport:
    """The controller's lease."""
    spec = _mapping(lease.get("spec"))
    return ControllerReport(
        str(spec.get("holderIdentity") or ""), moment(spec.get("renewTime")), int(spec.get("leaseDurationSeconds") or 0)
    )


def daemon_set_report(thing: Object) -> DaemonSetReport:
    """A daemon set."""
    status = _mapping(thing.get("status"))
    name = str(metadata_of(thing).get("name", ""))
    return DaemonSetReport(name, int(status.get("desiredNumberScheduled") or 0), int(status.get("numberReady") or 0))


def conditions_in(thing: Object) -> tuple[ConditionReport, ...]:
    """Of an object whose status nobody else looks at here."""
    found = _mapping(thing.get("status")).get("conditions")
    listed = found if isinstance(found, list | tuple) else ()
    return conditions_of(Condition.model_validate(each) for each in listed if isinstance(each, Mapping))


def conditions_of(conditions: Iterable[Condition]) -> tuple[ConditionReport, ...]:
    """Of a status."""
    return tuple(
        ConditionReport(each.type, each.status, each.reason, each.message, moment(each.last_transition_time))
        for each in conditions
    )


def moment(text: object) -> datetime | None:
    """RFC 3339, as the API writes it; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _mapping(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}


def _fault(part: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{part}.{'.'.join(str(word) for word in first['loc'])}: {first['msg']}"
