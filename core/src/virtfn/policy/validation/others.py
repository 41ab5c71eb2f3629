"""Rules of the kinds that are no policies: operator config, pool configs, networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from virtfn.errors import RequestError
from virtfn.model import Severity
from virtfn.model.crd import (
    IB_NETWORK_KIND,
    NETWORK_KIND,
    OPERATOR_CONFIG_KIND,
    OPERATOR_CONFIG_NAME,
    OVS_NETWORK_KIND,
    POOL_CONFIG_KIND,
    NetworkSpec,
    OVSNetwork,
    SriovIBNetwork,
    SriovNetwork,
    SriovNetworkPoolConfig,
    SriovOperatorConfig,
)
from virtfn.policy.raw_json import one_object, several_objects
from virtfn.policy.validation.case import Case, on_nodes
from virtfn.policy.validation.cluster import in_pool
from virtfn.policy.validation.rule import Breach, Need, Rule

_OPERATOR = (OPERATOR_CONFIG_KIND,)
_POOL = (POOL_CONFIG_KIND,)
_NETWORKS = (NETWORK_KIND, IB_NETWORK_KIND, OVS_NETWORK_KIND)


def _operator(case: Case) -> SriovOperatorConfig:
    assert isinstance(case.subject, SriovOperatorConfig)  # the engine keeps to `Rule.kinds`
    return case.subject


def _pool(case: Case) -> SriovNetworkPoolConfig:
    assert isinstance(case.subject, SriovNetworkPoolConfig)
    return case.subject


def _network(case: Case) -> NetworkSpec:
    assert isinstance(case.subject, SriovNetwork | SriovIBNetwork | OVSNetwork)
    return case.subject.spec


def _not_default(case: Case) -> Iterator[Breach]:
    name = _operator(case).name
    if name != OPERATOR_CONFIG_NAME:
        yield Breach(f"is {name or 'not given'}, and only the one named {OPERATOR_CONFIG_NAME} is used")


def _not_there(case: Case) -> Iterator[Breach]:
    namespace, used = case.subject.metadata.namespace, case.view.operator_namespace
    if namespace and namespace != used:
        yield Breach(f"is {namespace}, and only the one in {used} is used")


def _drain_off(case: Case) -> Iterator[Breach]:
    if _operator(case).spec.disable_drain:
        yield Breach("is true: nodes are not drained, and pods lose the VFs that are configured anew under them")


def _drain_off_now(case: Case) -> Iterator[Breach]:
    old = case.old
    if not _operator(case).spec.disable_drain or not isinstance(old, SriovOperatorConfig) or old.spec.disable_drain:
        return
    busy = [state.name for state in case.view.states if state.status.sync_status == "InProgress"]
    if busy:
        yield Breach(f"cannot be set to true now: configuring is in progress{on_nodes(busy)}")


def _offload_alone(case: Case) -> Iterator[Breach]:
    spec = _pool(case).spec
    offload = spec.ovs_hardware_offload_config
    if offload is None or not offload.name:
        return
    for field, value in (("maxUnavailable", spec.max_unavailable), ("nodeSelector", spec.node_selector)):
        if value is not None:
            yield Breach(f"is given together with ovsHardwareOffloadConfig {offload.name}", field=f"spec.{field}")


def _never_drains(case: Case) -> Iterator[Breach]:
    if _pool(case).spec.max_unavailable == 0:
        yield Breach("is 0: no node of the pool is ever drained, so nothing that needs it is done")


def _pools_meet(case: Case) -> Iterator[Breach]:
    own = _pool(case)
    if _for_offload(own):
        return
    for other in case.view.pools:
        if other.name == own.name or _for_offload(other):
            continue
        names = [
            place.name
            for place in case.view.places
            if in_pool(own.spec.node_selector, place.labels or {})
            and in_pool(other.spec.node_selector, place.labels or {})
        ]
        if names:
            yield Breach(f"selects nodes of pool config {other.name} too:{on_nodes(names).removeprefix(' on')}")


def _for_offload(pool: SriovNetworkPoolConfig) -> bool:
    offload = pool.spec.ovs_hardware_offload_config
    return offload is not None and bool(offload.name)


def _target_namespace(case: Case) -> Iterator[Breach]:
    named, own, used = (
        _network(case).network_namespace,
        case.subject.metadata.namespace,
        case.view.operator_namespace,
    )
    if named and own and own != used:
        yield Breach(f"is {named}, and only networks in {used} may name another namespace; this one is in {own}")


def _raw_json(case: Case) -> Iterator[Breach]:
    spec = _network(case)
    texts: tuple[tuple[str, str, Callable[..., object], str], ...] = (
        ("capabilities", spec.capabilities, one_object, '{"mac": true, "ips": true}'),
        ("ipam", spec.ipam, one_object, '{"type": "host-local", "subnet": "192.0.2.0/24"}'),
        ("metaPlugins", spec.meta_plugins, several_objects, '{"type": "rdma"}, {"type": "tuning"}'),
    )
    for name, text, read, example in texts:
        field = f"spec.{name}"
        if not text.strip():
            continue
        try:
            read(text, field=field, what=case.subject.kind, example=example)
        except RequestError as error:
            yield Breach(str(error).removeprefix(f"{case.subject.kind}: ").removeprefix(f"{field}: "), field=field)


OTHER_RULES = (
    Rule(
        id="OperatorConfigName",
        kinds=_OPERATOR,
        field="metadata.name",
        holds="The SriovOperatorConfig is named `default`.",
        hint="name it default; others are not used",
        check=_not_default,
    ),
    Rule(
        id="OperatorConfigNamespace",
        kinds=_OPERATOR,
        field="metadata.namespace",
        holds="The SriovOperatorConfig is in the operator's namespace.",
        hint="create it in the operator's namespace",
        needs=frozenset({Need.NAMESPACE}),
        check=_not_there,
    ),
    Rule(
        id="DrainDisabled",
        kinds=_OPERATOR,
        field="spec.disableDrain",
        holds="`disableDrain` is false.",
        hint="leave it out, unless the cluster has one node or you drain by hand",
        reads=("disableDrain",),
        severity=Severity.WARNING,
        check=_drain_off,
    ),
    Rule(
        id="DrainDisabledWhileUpdating",
        kinds=_OPERATOR,
        field="spec.disableDrain",
        holds="`disableDrain` is not changed to true while a node is being configured.",
        hint="wait until no node state has syncStatus InProgress",
        reads=("disableDrain",),
        needs=frozenset({Need.OLD, Need.STATES}),
        check=_drain_off_now,
    ),
    Rule(
        id="PoolForOffloadOnly",
        kinds=_POOL,
        field="spec",
        holds="A pool config with `ovsHardwareOffloadConfig.name` has neither `maxUnavailable` nor `nodeSelector`.",
        hint="write two pool configs",
        reads=("ovsHardwareOffloadConfig", "maxUnavailable", "nodeSelector"),
        check=_offload_alone,
    ),
    Rule(
        id="PoolNeverDrains",
        kinds=_POOL,
        field="spec.maxUnavailable",
        holds="`maxUnavailable` is at least 1.",
        hint='set 1 or more, a share like "20%", or leave it out for no limit',
        reads=("maxUnavailable",),
        severity=Severity.WARNING,
        check=_never_drains,
    ),
    Rule(
        id="PoolsOverlap",
        kinds=_POOL,
        field="spec.nodeSelector",
        holds="A node is in one pool at most; one that is in several is not drained at all.",
        hint="change one of the selectors, so that each node is in one pool",
        reads=("nodeSelector", "ovsHardwareOffloadConfig"),
        needs=frozenset({Need.POOLS, Need.NODES}),
        severity=Severity.WARNING,
        check=_pools_meet,
    ),
    Rule(
        id="NetworkNamespaceElsewhere",
        kinds=_NETWORKS,
        field="spec.networkNamespace",
        holds="Only a network in the operator's namespace sets `networkNamespace`.",
        hint="take it away, or create the network in the operator's namespace",
        reads=("networkNamespace",),
        needs=frozenset({Need.NAMESPACE}),
        check=_target_namespace,
    ),
    Rule(
        id="NetworkJsonInvalid",
        kinds=_NETWORKS,
        field="spec",
        holds="`capabilities` and `ipam` are one JSON object each, `metaPlugins` is JSON objects with commas between.",
        hint="correct the JSON; without it no NetworkAttachmentDefinition can be written",
        reads=("capabilities", "ipam", "metaPlugins"),
        check=_raw_json,
    ),
)
