"""Which pods hold the VFs that a plan takes away. Pure: pods and a node state as JSON in, the pods that must go out.

Two sources, best first (docs/draining.md). Multus' annotation `k8s.v1.cni.cncf.io/network-status` names the PCI
address of each interface's device (Device Information Specification 1.1). Where it accounts for fewer devices than a
pod has requested, its resource requests count: a pod may hold any VF of its resource. What a pod was given is in no
other object that the API server has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from virtfn.errors import BadVfRange, RequestError
from virtfn.kube.resource import Object, metadata_of, uid_of
from virtfn.model import PciAddress, VfRange
from virtfn.model.wording import few_names

NETWORK_STATUS_ANNOTATIONS: Final = ("k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status")
"""Multus' annotation, and how it was spelled before 2021; some agents still write only that one."""
MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
"""On pods that the kubelet runs from a file: the API server shows them, and cannot make them go."""

_ADDRESS: Final = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_NAMED: Final = 3
_FINISHED: Final = ("Succeeded", "Failed")
_ANY_NO_SCHEDULE: Final = (None, "", "NoSchedule")


class Owner(Enum):
    """Who made a pod, as far as it matters for what becomes of it."""

    CONTROLLER = "controller"
    """A ReplicaSet, a StatefulSet, a Job: makes another one elsewhere."""
    DAEMON_SET = "daemon set"
    """Makes another one on the same node, cordoned or not."""
    NOBODY = "nobody"
    """Does not come back."""
    FILE = "file"
    """The kubelet's own (a mirror pod); it does not go."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is in the way."""

    namespace: str
    name: str
    uid: str
    owner: Owner = Owner.CONTROLLER
    vfs: tuple[str, ...] = ()
    """PCI addresses of the affected VFs that it holds; empty where only its requests say that it may hold some."""
    resources: tuple[str, ...] = ()
    """Affected resources that it requests, where it is not known which VFs it was given."""
    leaving: str = ""
    """When it was asked to go, as RFC 3339; empty: it was not."""
    has_local_data: bool = False
    """Whether it has `emptyDir` volumes, whose content goes with it."""
    stays_through_taints: bool = False
    """Whether it tolerates every taint: no taint keeps its successor away."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        if self.vfs:
            return f"{self.key} ({few_names(self.vfs, most=_NAMED)})"
        return f"{self.key} (requests {few_names(self.resources, most=_NAMED)})" if self.resources else self.key


@dataclass(frozen=True, slots=True)
class Affected:
    """What a plan takes away, of the VFs and resources of one node."""

    prefix: str
    """What stands before the `/` of the device plugin's resources."""
    vfs: frozenset[str] | None = None
    """PCI addresses; None: not known, so that every VF counts."""
    resources: frozenset[str] | None = None
    """Resources (without prefix) whose VFs may be among them; None: all but those in `others`."""
    others: frozenset[str] = frozenset()
    """Resources whose VFs are certainly not among them."""

    @classmethod
    def by(cls, state: Object, *, prefix: str) -> Affected:
        """By the plan in the status of a node state (whole, as the API server has it).

        A resource is affected if one of its VF groups has an affected VF, or if it is offered now and the spec no
        longer says of which PF. Names that neither the spec nor the device plugin's report knows belong to somebody
        else, as other devices may have the same prefix; without such a report they count.
        """
        status = _mapping(state.get("status"))
        plan = status.get("plan")
        if not isinstance(plan, Mapping):
            return cls(prefix)
        vfs = frozenset(_address(str(text)) for text in plan.get("affects") or ())
        if not vfs:
            return cls(prefix, vfs, frozenset())
        places = _places(status)
        unplaced = not vfs <= places.keys()  # of a PF that is not reported: it could be any
        indices: dict[str, set[int]] = {}
        for vf in vfs & places.keys():
            port, index = places[vf]
            indices.setdefault(port, set()).add(index)
        touched: dict[str, bool] = {}
        for entry in _mapping(state.get("spec")).get("interfaces") or ():
            port = _address(str(entry.get("pciAddress", "")))
            for group in entry.get("vfGroups") or ():
                hit = unplaced or _hits(str(group.get("vfRange", "")), indices=indices.get(port, set()))
                name = str(group.get("resourceName", ""))
                touched[name] = touched.get(name, False) or hit
        others = frozenset(name for name, hit in touched.items() if not hit)
        plugin = status.get("devicePlugin")
        if not isinstance(plugin, Mapping):
            return cls(prefix, vfs, None, others)
        known = {str(name) for name in plugin.get("resources") or ()} | touched.keys()
        return cls(prefix, vfs, frozenset(known - others), others)

    def has_vf(self, address: str) -> bool:
        """Whether the plan takes this VF away."""
        return self.vfs is None or address in self.vfs

    def has_resource(self, name: str) -> bool:
        """Whether VFs of this resource (with its prefix) may be among those taken away."""
        prefix, _, rest = name.partition("/")
        if prefix != self.prefix or rest in self.others:
            return False
        return self.resources is None or rest in self.resources


def holders(pods: Iterable[Object], affected: Affected) -> tuple[Pod, ...]:
    """The pods of one node that hold affected VFs, or may hold some, by name.

    Pods that have ended hold nothing: the kubelet has taken their devices back. Pods that are leaving hold theirs
    until they are gone.
    """
    found = []
    for pod in pods:
        if is_finished(pod):
            continue
        addresses = addresses_of(pod)
        vfs = tuple(sorted(address for address in addresses if affected.has_vf(address)))
        requests = requests_of(pod, prefix=affected.prefix)
        resources: tuple[str, ...] = ()
        if not vfs and sum(requests.values()) > len(addresses):
            resources = tuple(sorted(name for name in requests if affected.has_resource(name)))
        if vfs or resources:
            found.append(_pod(pod, vfs=vfs, resources=resources))
    return tuple(sorted(found, key=lambda each: each.key))


def everybody(pods: Iterable[Object]) -> tuple[Pod, ...]:
    """The pods of one node that a reboot sends away, by name: all but those that have ended, and those that the node
    keeps (of DaemonSets, and the kubelet's own)."""
    found = [_pod(pod) for pod in pods if not is_finished(pod)]
    return tuple(
        sorted((each for each in found if each.owner not in (Owner.DAEMON_SET, Owner.FILE)), key=lambda each: each.key)
    )


def is_finished(pod: Object) -> bool:
    """Whether its containers have ended for good."""
    return _mapping(pod.get("status")).get("phase") in _FINISHED


def addresses_of(pod: Object) -> frozenset[str]:
    """PCI addresses of the devices that Multus says the pod's interfaces have.

    Of device-info's types `pci` and `vdpa` name one; `vhost-user` and `memif` are sockets, and no VF is behind them
    as far as the pod knows. What is malformed says nothing: the annotation is text that others write.
    """
    annotations = _mapping(metadata_of(pod).get("annotations"))
    found = set()
    for word in NETWORK_STATUS_ANNOTATIONS:
        try:
            entries = json.loads(annotations.get(word) or "[]")
        except (ValueError, TypeError):
            continue
        for entry in entries if isinstance(entries, list) else ():
            info = _mapping(_mapping(entry).get("device-info"))
            pci, vdpa = _mapping(info.get("pci")), _mapping(info.get("vdpa"))
            # A vDPA device made on a VF may be known by its parent only, which is the VF's address, or has it in it.
            for text in (pci.get("pci-address"), vdpa.get("pci-address") or vdpa.get("parent-device")):
                if match := _ADDRESS.search(str(text or "")):
                    found.add(_address(match[0]))
    return frozenset(found)


def requests_of(pod: Object, *, prefix: str) -> dict[str, int]:
    """How many devices of each resource with this prefix the kubelet has set aside for the pod.

    Containers add up; init containers come one after the other and leave theirs to those after them, so that the
    largest counts (Kubernetes documentation, "Init Containers", resource sharing).
    """
    spec = _mapping(pod.get("spec"))
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        for name, count in _counts(container, prefix=prefix):
            total[name] = total.get(name, 0) + count
    for container in spec.get("initContainers") or ():
        for name, count in _counts(container, prefix=prefix):
            total[name] = max(total.get(name, 0), count)
    return total


def _counts(container: Any, *, prefix: str) -> Iterable[tuple[str, int]]:
    resources = _mapping(_mapping(container).get("resources"))
    # The API server fills in requests by limits; an object from elsewhere may have either.
    named = {**_mapping(resources.get("limits")), **_mapping(resources.get("requests"))}
    for name, quantity in named.items():
        if str(name).startswith(f"{prefix}/") and str(quantity).isdigit() and int(quantity):
            yield str(name), int(quantity)


def _pod(pod: Object, *, vfs: tuple[str, ...] = (), resources: tuple[str, ...] = ()) -> Pod:
    metadata, spec = metadata_of(pod), _mapping(pod.get("spec"))
    return Pod(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        uid=uid_of(pod),
        owner=_owner(metadata),
        vfs=vfs,
        resources=resources,
        leaving=str(metadata.get("deletionTimestamp") or ""),
        has_local_data=any("emptyDir" in volume for volume in spec.get("volumes") or ()),
        stays_through_taints=any(
            entry.get("operator") == "Exists"
            and not entry.get("key")
            and entry.get("effect") in (None, "", "NoSchedule")
            for entry in spec.get("tolerations") or ()
        ),
    )


def _owner(metadata: Mapping[str, Any]) -> Owner:
    if MIRROR_ANNOTATION in _mapping(metadata.get("annotations")):
        return Owner.FILE
    owner = next((entry for entry in metadata.get("ownerReferences") or () if entry.get("controller")), None)
    if owner is None:
        return Owner.NOBODY
    is_daemon_set = owner.get("kind") == "DaemonSet" and str(owner.get("apiVersion", "")).startswith("apps/")
    return Owner.DAEMON_SET if is_daemon_set else Owner.CONTROLLER


def _places(status: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """PF and index of each VF that was reported."""
    places: dict[str, tuple[str, int]] = {}
    for port in status.get("interfaces") or ():
        for place, vf in enumerate(port.get("Vfs") or ()):
            index = vf.get("vfID", place)
            places[_address(str(vf.get("pciAddress", "")))] = (_address(str(port.get("pciAddress", ""))), int(index))
    return places


def _hits(text: str, *, indices: set[int]) -> bool:
    if not indices:
        return False
    try:
        group = VfRange.parse(text)
    except BadVfRange:
        return True
    return any(index in group for index in indices)


def _address(text: str) -> str:
    try:
        return str(PciAddress.parse(text))
    except RequestError:
        return text.strip().lower()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
