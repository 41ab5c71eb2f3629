"""Which nodes have a daemon, and which pool a node is in. Pure; all reconcilers ask here, so that none differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from virtfn.controller.services import View
from virtfn.kube.resource import Object, metadata_of, name_of
from virtfn.model.crd import OPERATOR_CONFIG_NAME, LabelRequirement, LabelSelector, PoolConfigSpec
from virtfn.policy.reading import Fault, faults_of

OS_LABEL: Final = "kubernetes.io/os"
WORKER_LABEL: Final = "node-role.kubernetes.io/worker"
CAPABLE_LABEL: Final = "feature.node.kubernetes.io/network-sriov.capable"
"""Set by node feature discovery, or by hand, on nodes that have SR-IOV cards."""


def operator_config(view: View, *, namespace: str) -> Object | None:
    """The operator's configuration that counts, if there is one."""
    return view.store.get(f"{namespace}/{OPERATOR_CONFIG_NAME}")


def spec_of(thing: Object | None) -> Mapping[str, Any]:
    """The spec, empty where there is none."""
    spec = thing.get("spec") if thing is not None else None
    return spec if isinstance(spec, Mapping) else {}


def labels_of(thing: Object) -> Mapping[str, str]:
    """The labels of an object, empty where there are none."""
    labels = metadata_of(thing).get("labels")
    return labels if isinstance(labels, Mapping) else {}


def annotations_of(thing: Object) -> Mapping[str, str]:
    """The annotations of an object, empty where there are none."""
    annotations = metadata_of(thing).get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def has_daemon(labels: Mapping[str, str], *, selector: Mapping[str, str]) -> bool:
    """Whether a node is one of those that virtfn looks after.

    :param selector: `spec.configDaemonNodeSelector` of the operator's configuration; empty: Linux nodes that are
        workers, or that are said to have SR-IOV cards.
    """
    if selector:
        return all(labels.get(key) == value for key, value in selector.items())
    if labels.get(OS_LABEL, "linux") != "linux":
        return False
    return labels.get(CAPABLE_LABEL) == "true" or labels.get(WORKER_LABEL) == ""


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector holds; an empty one holds for everything."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    there = requirement.key in labels
    match requirement.operator:
        case "In":
            return there and labels[requirement.key] in requirement.values
        case "NotIn":
            return not there or labels[requirement.key] not in requirement.values
        case "Exists":
            return there
    return not there


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool that can be used."""

    name: str
    spec: PoolConfigSpec

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels is in it."""
        selector = self.spec.node_selector
        return selector is None or selects(selector, labels)


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools of the cluster. Those for OpenShift's hardware offload are about machine pools, and are none here."""

    pools: tuple[Pool, ...] = ()
    offload: tuple[str, ...] = ()
    """Names of pools for OpenShift's hardware offload."""
    faults: Mapping[str, tuple[Fault, ...]] | None = None
    """What is wrong with the others, by name."""

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Pools:
        """The pools among these objects, by name."""
        pools, offload, faults = [], [], {}
        for thing in sorted(objects, key=name_of):
            name = name_of(thing)
            try:
                spec = PoolConfigSpec.model_validate(thing.get("spec") or {})
            except ValidationError as error:
                faults[name] = faults_of(error, at="spec")
                continue
            if spec.ovs_hardware_offload_config is not None and spec.ovs_hardware_offload_config.name:
                offload.append(name)
            else:
                pools.append(Pool(name, spec))
        return cls(tuple(pools), tuple(offload), faults)

    def of_node(self, labels: Mapping[str, str]) -> tuple[Pool, ...]:
        """The pools that a node is in: it should be one at most."""
        return tuple(pool for pool in self.pools if pool.has(labels))
