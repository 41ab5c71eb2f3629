"""What the controller keeps of an object, so that five thousand nodes fit into a small process.

A node state is mostly VFs and steps that only its own node needs; a node is mostly images. What is kept is shared where
it is the same: nodes that are alike have *the same* inventory and spec object, and can be told to be alike by a
comparison of two pointers. That is what makes a change of a policy cheap.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

from virtfn.kube.resource import Json
from virtfn.model.handshake import DrainState

_METADATA: Final = (
    *("name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations"),
    *("ownerReferences", "creationTimestamp", "deletionTimestamp", "finalizers"),
)
_INTERFACE: Final = ("pciAddress", "name", "vendor", "deviceID", "netFilter", "altNames", "numVfs", "totalvfs")
"""What policies select by, and what people are told of a NIC."""
_VF: Final = ("pciAddress", "vfID")
_PLAN: Final = ("digest", "generation", "disruption", "affects")
_NODE_ANNOTATIONS: Final = ("sriovnetwork.openshift.io/", "virtfn.io/", "machineconfiguration.openshift.io/")
_LONGEST_SHARED: Final = 128
_MOST_SHARED: Final = 16384


class Shared:
    """Equal parts of objects, kept once. Thread-safe. What it gives must never be changed.

    It forgets everything when it has seen too many different parts: then equal ones may be two objects for a while,
    which costs memory and nothing else.
    """

    def __init__(self, *, most: int = _MOST_SHARED) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[bytes, Any] = {}

    def one(self, part: Any) -> Any:
        """The one object that stands for all that are equal to this one as JSON."""
        text = json.dumps(part, sort_keys=True, separators=(",", ":"))
        digest = blake2b(text.encode(), digest_size=16).digest()
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                if len(self._known) >= self._most:
                    self._known.clear()
                found = self._known[digest] = compact(part)
        return found


def compact(value: Any) -> Any:
    """A copy whose keys and short texts are shared with all others: JSON makes new ones for every object it reads."""
    if isinstance(value, Mapping):
        return {sys.intern(str(key)): compact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [compact(inner) for inner in value]
    if isinstance(value, str):
        return sys.intern(value) if type(value) is str and len(value) <= _LONGEST_SHARED else value
    return value


def small_node_state(thing: Json, *, shared: Shared) -> Json:
    """A node state without steps, bridges and VFs; VFs stay, by address and index, while the daemon needs a drain."""
    made: Json = {"metadata": _metadata(thing), "spec": shared.one(thing.get("spec") or {})}
    status = thing.get("status")
    if not isinstance(status, Mapping):
        return made
    kept = {field: value for field, value in status.items() if field not in ("interfaces", "bridges", "system", "plan")}
    small: Json = compact(kept)
    interfaces = status.get("interfaces") or ()
    draining = status.get("neededState") not in (None, "", DrainState.IDLE)
    small["interfaces"] = shared.one([_interface(entry, with_vfs=draining) for entry in interfaces])
    if isinstance(plan := status.get("plan"), Mapping):
        small["plan"] = compact(_some(plan, _PLAN))
    made["status"] = small
    return made


def small_node(thing: Json) -> Json:
    """A node's names, labels, our annotations, taints, whether it is cordoned, and its condition `Ready`."""
    metadata = _metadata(thing)
    found = metadata.pop("annotations", None)
    if isinstance(found, Mapping):
        ours = {key: value for key, value in found.items() if key.startswith(_NODE_ANNOTATIONS)}
        if ours:
            metadata["annotations"] = ours
    spec = thing.get("spec")
    status = thing.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    ready = [
        _some(entry, ("type", "status", "reason"))
        for entry in conditions or ()
        if isinstance(entry, Mapping) and entry.get("type") == "Ready"
    ]
    return {
        "metadata": metadata,
        "spec": compact(_some(spec if isinstance(spec, Mapping) else {}, ("unschedulable", "taints"))),
        "status": {"conditions": compact(ready)},
    }


def small_object(thing: Json) -> Json:
    """Any other object, without who wrote which of its fields."""
    thing["metadata"] = _metadata(thing)
    return thing


def _metadata(thing: Mapping[str, Any]) -> Json:
    small: Json = compact(_some(thing["metadata"], _METADATA))
    return small


def _interface(entry: Any, *, with_vfs: bool) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    small = _some(entry, _INTERFACE)
    if with_vfs and isinstance(vfs := entry.get("Vfs"), list):
        small["Vfs"] = [_some(vf, _VF) if isinstance(vf, Mapping) else vf for vf in vfs]
    return small


def _some(found: Mapping[str, Any], fields: Iterable[str]) -> Json:
    return {field: found[field] for field in fields if field in found}
