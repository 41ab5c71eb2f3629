"""Puts the kinds that a controller needs into a server that has none of them yet, and waits until it serves them:
those of virtfn's API, and Multus' NetworkAttachmentDefinition, of which only the part that matters is described.
"""

from __future__ import annotations

import time
from typing import Final

import yaml

from virtfn.cluster.kinds import ATTACHMENT_DEFINITIONS
from virtfn.errors import NotFound, WaitTimeout
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import Json, Resource
from virtfn.model.crd import GROUP, KINDS, VERSION
from virtfn.model.schema import crd_yaml

DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
_SECONDS: Final = 30.0
_TURN: Final = 0.1


def install_kinds(client: KubeClient) -> None:
    """Create all definitions.

    :raises AlreadyExists: there is one already.
    :raises WaitTimeout: the server does not serve one in time.
    """
    own = [Resource(GROUP, VERSION, kind.plural, word) for word, kind in KINDS.items()]
    for definition in (*(yaml.safe_load(crd_yaml(kind)) for kind in KINDS.values()), _attachment_definitions()):
        client.create(DEFINITIONS, body=definition)
    deadline = time.monotonic() + _SECONDS
    for resource in (*own, ATTACHMENT_DEFINITIONS):
        # That a definition is established is not enough: its path is there up to a second later.
        while not _is_served(client, resource):
            if time.monotonic() > deadline:
                raise WaitTimeout(f"{resource} is not served after {_SECONDS:.0f} s (look at the API server's log)")
            time.sleep(_TURN)


def _attachment_definitions() -> Json:
    """As the Network Plumbing Working Group's specification has it (version 1.3, "The NetworkAttachmentDefinition")."""
    kind = ATTACHMENT_DEFINITIONS
    spec = {"type": "object", "properties": {"config": {"type": "string"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": DEFINITIONS.api_version,
        "kind": DEFINITIONS.kind,
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "plural": kind.plural, "singular": "network-attachment-definition"},
            "versions": [{"name": kind.version, "served": True, "storage": True, "schema": schema}],
        },
    }


def _is_served(client: KubeClient, resource: Resource) -> bool:
    try:
        client.page(resource, limit=1)
    except NotFound:
        return False
    return True
