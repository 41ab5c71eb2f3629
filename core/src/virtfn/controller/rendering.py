"""What all nodes follow from, read once, and the spec of each node that follows from it, made once for nodes alike."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from virtfn.controller.membership import Pools, operator_config, spec_of
from virtfn.controller.services import ControllerSettings, View
from virtfn.kube.resource import Json, Object, metadata_of, name_of, uid_of
from virtfn.model.crd import API_VERSION, OPERATOR_CONFIG_KIND, InterfaceStatus
from virtfn.policy.merge import render_node_state
from virtfn.policy.policy_set import PolicySet
from virtfn.policy.reading import read_node_state

INPUTS: Final = ("policies", "pools", "operator_configs")
"""The views that node states follow from, beside what is known of each node."""
BRIDGES_GATE: Final = "manageSoftwareBridges"
_MOST_GROUPS: Final = 20000

RdmaMode = Literal["shared", "exclusive"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Policies, pools and the operator's configuration, as far as node states follow from them."""

    policies: PolicySet
    pools: Pools
    node_selector: Mapping[str, str]
    """Labels of the nodes that have a daemon; empty for the usual ones."""
    manage_bridges: bool
    owner: Json | None
    """Owner reference of what belongs to the operator's configuration; None: there is no configuration."""

    @property
    def label_keys(self) -> tuple[str, ...]:
        """The labels of a node that policies look at."""
        return tuple(sorted({key for each in self.policies.policies for key in each.policy.spec.node_selector}))


def read_inputs(views: Mapping[str, View], *, settings: ControllerSettings) -> Inputs:
    """From the views `INPUTS`."""
    config = operator_config(views["operator_configs"], namespace=settings.namespace)
    spec = spec_of(config)
    gates = spec.get("featureGates") or {}
    found = views["policies"].store.objects()
    return Inputs(
        policies=PolicySet.of({key: value for key, value in each.items() if key != "status"} for each in found),
        pools=Pools.of(views["pools"].store.objects()),
        node_selector=spec.get("configDaemonNodeSelector") or settings.node_selector,
        manage_bridges=gates.get(BRIDGES_GATE) is True,
        owner=owner_of(config) if config is not None else None,
    )


def owner_of(config: Object) -> Json:
    """The reference that makes something the operator's configuration's own."""
    return {
        "apiVersion": API_VERSION,
        "kind": OPERATOR_CONFIG_KIND,
        "name": name_of(config),
        "uid": uid_of(config),
        "controller": True,
    }


class Rendering:
    """Specs of node states from one version of the inputs. Thread-safe.

    Nodes are alike when their inventory is the same object (as the view's transform makes it), and the labels that
    policies look at are equal.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self._keys = inputs.label_keys
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], tuple[Any, Json]] = {}

    def group(
        self, labels: Mapping[str, str], *, interfaces: Sequence[Any], rdma_mode: RdmaMode | None
    ) -> tuple[Any, ...]:
        """The same for nodes alike, as long as somebody keeps the inventory."""
        return (id(interfaces), rdma_mode, *map(labels.get, self._keys))

    def spec(self, labels: Mapping[str, str], *, interfaces: Sequence[Any], rdma_mode: RdmaMode | None) -> Json:
        """The spec of a node with these labels and this inventory, as plain data that nobody may change.

        :raises InvalidDocument: the inventory is malformed.
        """
        group = self.group(labels, interfaces=interfaces, rdma_mode=rdma_mode)
        found = self._known.get(group)
        if found is None:
            with self._lock:
                found = self._known.get(group)
                if found is None:
                    if len(self._known) >= _MOST_GROUPS:
                        self._known.clear()
                    spec = self._render(labels, interfaces, rdma_mode)
                    found = self._known[group] = (interfaces, spec)
        return found[1]

    def rdma_mode(self, labels: Mapping[str, str], *, live: Object | None) -> RdmaMode | None:
        """Of the node's pool. A node in several pools keeps the mode it has: pools that overlap reboot nobody."""
        pools = self.inputs.pools.of_node(labels)
        if len(pools) > 1:
            system = spec_of(live).get("system")
            mode: RdmaMode | None = system.get("rdmaMode") if isinstance(system, Mapping) else None
            return mode
        return pools[0].spec.rdma_mode if pools else None

    def _render(self, labels: Mapping[str, str], interfaces: Sequence[Any], rdma_mode: RdmaMode | None) -> Json:
        rendered = render_node_state(
            self.inputs.policies,
            {"metadata": {"labels": labels}},
            read_interfaces(interfaces),
            rdma_mode=rdma_mode,
            manage_bridges=self.inputs.manage_bridges,
        )
        return rendered.spec.to_wire()


class CurrentRendering:
    """The rendering of the newest inputs; a new one only when one of them changed. Thread-safe."""

    def __init__(self, views: Mapping[str, View], *, settings: ControllerSettings) -> None:
        self._views = views
        self._settings = settings
        self._lock = threading.Lock()
        self._outdated = True
        self._signature: object = None
        self._rendering: Rendering | None = None

    def outdate(self) -> None:
        """One of the inputs may have changed."""
        self._outdated = True

    def get(self) -> Rendering:
        """What to render with now."""
        rendering = self._rendering
        if rendering is not None and not self._outdated:
            return rendering
        with self._lock:
            # First the mark, then the look: what changes after it marks again.
            self._outdated = False
            signature = self._sign()
            if self._rendering is None or signature != self._signature:
                self._rendering = Rendering(read_inputs(self._views, settings=self._settings))
                self._signature = signature
            return self._rendering

    def _sign(self) -> object:
        return tuple(
            sorted(
                (name, str(metadata.get("name")), str(metadata.get("uid")), int(metadata.get("generation") or 0))
                for name in INPUTS
                for metadata in map(metadata_of, self._views[name].store.objects())
            )
        )


def read_interfaces(interfaces: Sequence[Any]) -> tuple[InterfaceStatus, ...]:
    """`status.interfaces` of a node state as values.

    :raises InvalidDocument: it is malformed.
    """
    return read_node_state({"metadata": {}, "status": {"interfaces": interfaces}}).status.interfaces


def interfaces_of(state: Object) -> Sequence[Any]:
    """`status.interfaces` as plain data, empty where there is none."""
    status = state.get("status")
    found = status.get("interfaces") if isinstance(status, Mapping) else None
    return found if isinstance(found, list | tuple) else ()
