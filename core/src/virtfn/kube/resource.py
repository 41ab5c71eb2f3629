"""What is addressed: a kind of object on the API server, one object of it, and the few facts every object carries.

Objects are plain JSON here, never models: a watch of thousands of objects costs five times as much with models, and
unknown fields would be lost on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

Json: TypeAlias = dict[str, Any]
"""An object that the caller owns and may change."""

Object: TypeAlias = Mapping[str, Any]
"""An object that others see too, as all in a store: never changed in place."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind, by the words of its URL. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`v1`, or `coordination.k8s.io/v1`: what stands in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of one object, or of the collection where `name` is empty.

        Without `namespace` the collection is that of all namespaces.

        :raises ValueError: for a namespace on a cluster-wide kind, or a namespaced object without its namespace.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self}: {self.kind} is not namespaced, and {namespace!r} was given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self}: {self.kind} {name!r} needs a namespace")
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{self.plural}"
        if name:
            path += f"/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path

    def subject(self, *, namespace: str = "", name: str = "") -> str:
        """How messages name an object: `leases.coordination.k8s.io kube-system/lock`."""
        where = f"{namespace}/{name}" if namespace and name else name or namespace
        return f"{self} {where}" if where else str(self)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")


def key_of(thing: Object) -> str:
    """`namespace/name`, or `name` of a cluster-wide object: the key of stores and queues.

    :raises KeyError: if it has no metadata or no name, so that it is no object at all.
    """
    metadata = thing["metadata"]
    namespace = metadata.get("namespace", "")
    name: str = metadata["name"]
    return f"{namespace}/{name}" if namespace else name


def split_key(key: str) -> tuple[str, str]:
    """(namespace, name) of a key; the namespace is empty for a cluster-wide object."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def metadata_of(thing: Object) -> Mapping[str, Any]:
    """The metadata, empty where there is none."""
    metadata = thing.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def name_of(thing: Object) -> str:
    """The name; empty of what is no object."""
    return str(metadata_of(thing).get("name", ""))


def version_of(thing: Object) -> str:
    """The resource version: opaque, to be compared for equality only (API concepts, resource versions)."""
    return str(metadata_of(thing).get("resourceVersion", ""))


def generation_of(thing: Object) -> tuple[str, int]:
    """UID and generation of what is wanted: the same as long as nobody has asked for something else."""
    return uid_of(thing), int(metadata_of(thing).get("generation") or 0)


def uid_of(thing: Object) -> str:
    """The UID: another one under the same name is another object."""
    return str(metadata_of(thing).get("uid", ""))
