"""The verbs of the API for any kind of object, with plain JSON in and out.

One method is one request (`list` is one a page), and nothing is kept between calls. Errors are those of
`virtfn.errors`, and name the object. What is worth doing again, and when, is for the caller to know; only `Retry-After`
is obeyed below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from virtfn.errors import BadReply, NotFound
from virtfn.kube.resource import Json, Resource, metadata_of

if TYPE_CHECKING:
    from virtfn.kube.clock import Clock
    from virtfn.kube.transport import Reply, Stream, Transport

JSON = "application/json"
PAGE_SIZE = 500


class PatchKind(Enum):
    """How the server reads the body of a patch (API concepts, "Patch")."""

    MERGE = "application/merge-patch+json"
    """RFC 7386: objects are merged, null deletes, lists are replaced."""

    JSON = "application/json-patch+json"
    """RFC 6902: a list of operations."""

    APPLY = "application/apply-patch+yaml"
    """Server-side apply: the body is all that this manager wants, and what it no longer names is removed."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `continuation` is empty on the last one."""

    items: tuple[Json, ...]
    resource_version: str
    continuation: str


class KubeClient:
    """One API server, one identity. Used from many threads.

    `metadata_only` asks for `PartialObjectMetadata`: what the server stores is the same, what it sends is a fraction.
    """

    def __init__(self, transport: Transport, *, before_write: Callable[[], None] | None = None) -> None:
        self._transport = transport
        self._before_write = before_write

    def guarded(self, before_write: Callable[[], None]) -> KubeClient:
        """The same connections for somebody who may lose the right to write.

        It is asked each time before a write is sent, also once more when the server has put the write off, and may
        raise.
        """
        return KubeClient(self._transport, before_write=before_write)

    @property
    def clock(self) -> Clock:
        """Whose time this client waits in."""
        return self._transport.clock

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str = "",
        subresource: str = "",
        metadata_only: bool = False,
        timeout: float | None = None,
        patient: bool = True,
    ) -> Json:
        """One object.

        :param timeout: seconds of silence after which it is given up.
        :param patient: whether to wait where the server says `Retry-After`.
        :raises NotFound: if it is not there; `find` gives None instead.
        """
        return self._transport.request(
            "GET",
            path=resource.path(namespace=namespace, name=name, subresource=subresource),
            subject=resource.subject(namespace=namespace, name=name),
            accept=_accept(metadata_only=metadata_only),
            timeout=timeout,
            repeatable=True,
            patient=patient,
        ).json()

    def find(self, resource: Resource, *, name: str, namespace: str = "", metadata_only: bool = False) -> Json | None:
        """One object, or None if it is not there."""
        try:
            return self.get(resource, name=name, namespace=namespace, metadata_only=metadata_only)
        except NotFound:
            return None

    def page(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = PAGE_SIZE,
        continuation: str = "",
        metadata_only: bool = False,
        patient: bool = True,
    ) -> Page:
        """One page of a list.

        :param labels: a label selector, as `kubectl -l` takes it.
        :param fields: a field selector, as `kubectl --field-selector` takes it.
        :param limit: objects a page, 0 for all at once.
        :param continuation: of the page before.
        :raises Gone: if the list was paged too slowly; start again without `continuation`.
        """
        query = _selecting(labels=labels, fields=fields)
        if limit:
            query["limit"] = str(limit)
        if continuation:
            query["continue"] = continuation
        subject = resource.subject(namespace=namespace)
        found = self._transport.request(
            "GET",
            path=resource.path(namespace=namespace),
            subject=subject,
            query=query,
            accept=_accept(metadata_only=metadata_only, many=True),
            repeatable=True,
            patient=patient,
        ).json()
        items = found.get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise BadReply(f"{subject}: the answer is not a list (is there a proxy in between?)", subject=subject)
        metadata = metadata_of(found)
        return Page(tuple(items), str(metadata.get("resourceVersion", "")), str(metadata.get("continue") or ""))

    def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = PAGE_SIZE,
        metadata_only: bool = False,
    ) -> Iterator[Json]:
        """All objects, fetched page by page as they are taken. Parameters as of `page`."""
        continuation = ""
        while True:
            page = self.page(
                resource,
                namespace=namespace,
                labels=labels,
                fields=fields,
                limit=limit,
                continuation=continuation,
                metadata_only=metadata_only,
            )
            yield from page.items
            continuation = page.continuation
            if not continuation:
                return

    def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        seconds: int,
        quiet: float,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> Stream:
        """Open a watch; `virtfn.kube.reflector` knows how to live with it.

        :param seconds: after which the server ends it.
        :param quiet: seconds of silence after which it counts as dead here.
        """
        query = _selecting(labels=labels, fields=fields)
        query |= {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        query["resourceVersion"] = resource_version
        return self._transport.stream(
            path=resource.path(namespace=namespace),
            subject=resource.subject(namespace=namespace),
            query=query,
            accept=_accept(metadata_only=metadata_only),
            quiet=quiet,
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    def create(
        self,
        resource: Resource,
        *,
        body: Json,
        namespace: str = "",
        field_manager: str = "",
        timeout: float | None = None,
        patient: bool = True,
    ) -> Json:
        """Make a new object; its name is in the body.

        :param field_manager: who owns the fields, for those who apply later.
        :raises AlreadyExists: if there is one.
        """
        metadata = metadata_of(body)
        name = str(metadata.get("name") or metadata.get("generateName", ""))
        namespace = namespace or str(metadata.get("namespace", ""))
        return self._send(
            "POST",
            path=resource.path(namespace=namespace),
            subject=resource.subject(namespace=namespace, name=name),
            query=_managed(field_manager),
            body=body,
            timeout=timeout,
            patient=patient,
        ).json()

    def update(
        self,
        resource: Resource,
        *,
        body: Json,
        subresource: str = "",
        field_manager: str = "",
        timeout: float | None = None,
        patient: bool = True,
    ) -> Json:
        """Replace an object. With `metadata.resourceVersion` in the body only if it has not changed since.

        :raises Conflict: if it has.
        """
        metadata = metadata_of(body)
        name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
        return self._send(
            "PUT",
            path=resource.path(namespace=namespace, name=name, subresource=subresource),
            subject=resource.subject(namespace=namespace, name=name),
            query=_managed(field_manager),
            body=body,
            timeout=timeout,
            patient=patient,
        ).json()

    def patch(
        self,
        resource: Resource,
        *,
        name: str,
        body: Json | Sequence[Json],
        namespace: str = "",
        kind: PatchKind = PatchKind.MERGE,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
        metadata_only: bool = False,
        timeout: float | None = None,
        patient: bool = True,
    ) -> Json:
        """Change parts of an object.

        :param field_manager: who owns the fields; `PatchKind.APPLY` needs it.
        :param force: with `PatchKind.APPLY`, take fields over from other managers.
        :param metadata_only: what comes back; saves most of the time for large objects.
        :raises Conflict: if the body names a resource version that is no longer true, or, without `force`, if another
            manager owns a field.
        """
        query = _managed(field_manager)
        if force:
            query["force"] = "true"
        return self._send(
            "PATCH",
            path=resource.path(namespace=namespace, name=name, subresource=subresource),
            subject=resource.subject(namespace=namespace, name=name),
            query=query,
            body=body,
            content_type=kind.value,
            accept=_accept(metadata_only=metadata_only),
            timeout=timeout,
            repeatable=kind is not PatchKind.JSON,
            patient=patient,
        ).json()

    def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        grace_seconds: int | None = None,
    ) -> bool:
        """Delete an object; whether there was one.

        :param uid: only the object with this UID.
        :param resource_version: only if it has not changed since.
        :param propagation: `Foreground`, `Background` or `Orphan`; empty for the kind's own way.
        :raises Conflict: if it is another object, or has changed.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        expected = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {field: value for field, value in expected.items() if value}:
            body["preconditions"] = preconditions
        if propagation:
            body["propagationPolicy"] = propagation
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self._send(
                "DELETE",
                path=resource.path(namespace=namespace, name=name),
                subject=resource.subject(namespace=namespace, name=name),
                body=body,
            )
        except NotFound:
            return False
        return True

    def call(
        self,
        method: str,
        *,
        path: str,
        subject: str,
        body: Json | None = None,
        timeout: float | None = None,
        patient: bool = True,
    ) -> Json:
        """Anything else, by its path: `/version`, `/api/v1`, and subresources with a body of another kind."""
        return self._send(
            method,
            path=path,
            subject=subject,
            body=body,
            timeout=timeout,
            repeatable=method == "GET",
            patient=patient,
        ).json()

    def _send(self, method: str, **words: Any) -> Reply:
        if self._before_write is not None and method != "GET":
            words["before"] = self._before_write
        return self._transport.request(method, **words)

    def close(self) -> None:
        """Drop idle connections and end waits."""
        self._transport.close()


def _accept(*, metadata_only: bool, many: bool = False) -> str:
    if not metadata_only:
        return JSON
    kind = "PartialObjectMetadataList" if many else "PartialObjectMetadata"
    return f"{JSON};as={kind};g=meta.k8s.io;v=v1,{JSON}"


def _selecting(*, labels: str, fields: str) -> dict[str, str]:
    query = {"labelSelector": labels, "fieldSelector": fields}
    return {word: selector for word, selector in query.items() if selector}


def _managed(field_manager: str) -> dict[str, str]:
    return {"fieldManager": field_manager} if field_manager else {}
