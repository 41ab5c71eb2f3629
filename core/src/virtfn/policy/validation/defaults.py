"""What admission fills in before anything is judged: the defaults of a policy that were not written.

A pure function of the object, so that a controller without an admission webhook comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from virtfn.model import DeviceType
from virtfn.model.crd import DEFAULT_PRIORITY, IGNORED_POLICY
from virtfn.policy.reading import name_of

Patch = tuple[dict[str, Any], ...]
"""Operations of a JSON Patch (RFC 6902)."""

_NOTHING: Final[Patch] = ()


def default_patch(policy: Mapping[str, Any]) -> Patch:
    """What is to be added to a policy (plain data, as it was written), in order.

    `priority` 99 and `isRdma` false where they are absent; `isRdma` true on InfiniBand unless the VFs go to vfio-pci,
    even where false was written: without its RDMA device such a VF is of no use. Nothing for the policy named
    `default`, and for what has no spec.
    """
    spec = policy.get("spec")
    if not isinstance(spec, Mapping) or name_of(policy) == IGNORED_POLICY:
        return _NOTHING
    patch = []
    if "priority" not in spec:
        patch.append(_add("priority", DEFAULT_PRIORITY))
    if "isRdma" not in spec:
        patch.append(_add("isRdma", False))
    link_type = spec.get("linkType")
    infiniband = isinstance(link_type, str) and link_type.lower() == "ib"
    if infiniband and spec.get("deviceType") != DeviceType.VFIO_PCI and spec.get("isRdma") is not True:
        patch.append(_add("isRdma", True))
    return tuple(patch)


def _add(field: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": f"/spec/{field}", "value": value}


def defaulted(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the policy (plain data) with its defaults filled in."""
    filled: dict[str, Any] = deepcopy(dict(policy))
    for operation in default_patch(policy):
        filled["spec"][operation["path"].rpartition("/")[2]] = operation["value"]
    return filled
