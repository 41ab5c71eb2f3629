"""Custom resource definitions: read from files, put to the server, and waited for until it serves them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from bed.command import BedError

LIMIT = 60.0
TURN = 0.05


def read(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The definitions in files, and in the files of folders; other objects are left out."""
    for path in paths:
        files = sorted((*path.rglob("*.yaml"), *path.rglob("*.yml"))) if path.is_dir() else [path]
        for file in files:
            for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
                if document and document.get("kind") == "CustomResourceDefinition":
                    yield document


def install(api: client.ApiClient, definitions: Iterable[dict[str, Any]]) -> list[str]:
    """Create or replace definitions, and return their names when objects of them all can be listed.

    That they are established is not enough: the server takes up to a second more to serve them.
    """
    extensions = client.ApiextensionsV1Api(api)
    wanted = list(definitions)
    for definition in wanted:
        name = definition["metadata"]["name"]
        try:
            extensions.create_custom_resource_definition(definition)
        except client.ApiException as error:
            if error.status != 409:
                raise
            present = extensions.read_custom_resource_definition(name)
            metadata = {**definition["metadata"], "resourceVersion": present.metadata.resource_version}
            extensions.replace_custom_resource_definition(name, {**definition, "metadata": metadata})
    deadline = time.monotonic() + LIMIT
    for definition in wanted:
        while (why := _not_served(api, definition)) is not None:
            if time.monotonic() > deadline:
                raise BedError(f"{definition['metadata']['name']} is not served after {LIMIT:.0f} s: {why}")
            time.sleep(TURN)
    return [definition["metadata"]["name"] for definition in wanted]


def _not_served(api: client.ApiClient, definition: dict[str, Any]) -> str | None:
    """Why objects of a kind cannot be listed yet."""
    spec = definition["spec"]
    present = client.ApiextensionsV1Api(api).read_custom_resource_definition(definition["metadata"]["name"])
    conditions = {each.type: each for each in present.status.conditions or ()}
    for kind in ("NamesAccepted", "Established"):
        if kind not in conditions or conditions[kind].status != "True":
            return f"{kind}: {conditions[kind].message if kind in conditions else 'nothing yet'}"
    for version in spec["versions"]:
        if not version["served"]:
            continue
        try:
            client.CustomObjectsApi(api).list_cluster_custom_object(
                spec["group"], version["name"], spec["names"]["plural"], limit=1
            )
        except client.ApiException as error:
            return f"{version['name']}: {error.status} {error.reason}"
    return None
