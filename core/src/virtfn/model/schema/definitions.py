"""CustomResourceDefinitions of all kinds, as they are checked in and applied to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from virtfn.model.crd import (
    GROUP,
    IB_NETWORK_KIND,
    NETWORK_KIND,
    NODE_STATE_KIND,
    OPERATOR_CONFIG_KIND,
    OVS_NETWORK_KIND,
    POLICY_KIND,
    POOL_CONFIG_KIND,
    VERSION,
    CustomResource,
)
from virtfn.model.handshake import CURRENT_STATE_ANNOTATION, DESIRED_STATE_ANNOTATION
from virtfn.model.schema.structural import openapi_schema

_HEADER: Final = "# Made by `virtfn crds` from the models of the API; change those, not this.\n"


def _annotation(name: str) -> str:
    escaped = name.replace(".", "\\.")
    return f".metadata.annotations.{escaped}"


def _column(name: str, path: str, *, kind: str = "string") -> dict[str, str]:
    return {"jsonPath": path, "name": name, "type": kind}


_AGE = _column("Age", ".metadata.creationTimestamp", kind="date")
_READY = (_column("Ready", '.status.conditions[?(@.type=="Ready")].status'), _AGE)
_COLUMNS: Mapping[str, tuple[dict[str, str], ...]] = {
    NODE_STATE_KIND: (
        _column("Sync Status", ".status.syncStatus"),
        _column("Desired Sync State", _annotation(DESIRED_STATE_ANNOTATION)),
        _column("Current Sync State", _annotation(CURRENT_STATE_ANNOTATION)),
        _AGE,
    ),
    NETWORK_KIND: _READY,
    IB_NETWORK_KIND: _READY,
    OVS_NETWORK_KIND: _READY,
    OPERATOR_CONFIG_KIND: _READY,
    POOL_CONFIG_KIND: _READY,
    POLICY_KIND: (
        _column("Resource", ".spec.resourceName"),
        _column("VFs", ".spec.numVfs", kind="integer"),
        _column("Nodes", ".status.matchedNodes", kind="integer"),
        _column("NICs", ".status.matchedNICs", kind="integer"),
        *_READY,
    ),
}
"""What `kubectl get` shows."""


def custom_resource_definition(kind: type[CustomResource]) -> dict[str, Any]:
    """The definition of a kind as plain data (`apiextensions.k8s.io/v1`)."""
    name = str(kind.model_fields["kind"].default)
    version: dict[str, Any] = {"name": VERSION, "served": True, "storage": True, "subresources": {"status": {}}}
    version["additionalPrinterColumns"] = [dict(column) for column in _COLUMNS[name]]
    version["schema"] = {"openAPIV3Schema": openapi_schema(kind)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": name, "listKind": f"{name}List", "plural": kind.plural, "singular": name.lower()},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def crd_file_name(kind: type[CustomResource]) -> str:
    """`sriovnetwork.openshift.io_sriovnetworks.yaml`."""
    return f"{GROUP}_{kind.plural}.yaml"


def crd_yaml(kind: type[CustomResource]) -> str:
    """The definition of a kind as a YAML document, always the same text for the same models."""
    import yaml

    data = custom_resource_definition(kind)
    return _HEADER + "---\n" + yaml.dump(data, Dumper=yaml.SafeDumper, sort_keys=False, width=100, allow_unicode=True)
