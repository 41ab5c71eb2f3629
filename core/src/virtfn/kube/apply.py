"""Writing only what changed.

Three ways, by who owns what. Objects that are wholly ours are *applied*: the server remembers what we set and removes
what we no longer name; a digest of what was applied, kept on the object, saves the request when there is nothing new.
Parts of objects that others own too are *patched* with the smallest merge patch. And what depends on what is there is
*edited*: read, decide, write with the version that was read, and again if somebody was faster.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from threading import Event

from virtfn.errors import Conflict, InvalidObject
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.difference import covers, merge_patch
from virtfn.kube.meter import Meter, NoMeter
from virtfn.kube.resource import Json, Object, Resource, key_of, metadata_of, split_key, uid_of, version_of

logger = logging.getLogger(__name__)

EDIT_TIMES = 5
EDIT_PAUSE = 0.1
"""Seconds before the second try of an edit; doubled each time, with as much again at random."""


class Outcome(Enum):
    """What a write came to."""

    UNCHANGED = "unchanged"
    """It was right already; no request was made."""

    WRITTEN = "written"


@dataclass(frozen=True, slots=True)
class Written:
    """The object after the write (or as it was), and whether there was one."""

    outcome: Outcome
    thing: Object


class Applier:
    """Writes objects for one field manager. Used from many threads.

    :param field_manager: who owns the fields that are set.
    :param digest_annotation: where the digest of what was applied is kept, `<prefix>/<name>`.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        field_manager: str,
        digest_annotation: str,
        random: Random,
        meter: Meter | None = None,
    ) -> None:
        self._client = client
        self._manager = field_manager
        self._annotation = digest_annotation
        self._random = random
        self._meter = meter or NoMeter()
        self._never = Event()

    def apply(self, resource: Resource, *, wanted: Json, live: Object | None) -> Written:
        """Make an object of ours what is wanted, by server-side apply; it is created if it is not there.

        :param wanted: complete, as far as it is ours: metadata with name (and namespace), and all that we set.
        :param live: as a store has it, None if it has none. Without managed fields is enough.
        :raises InvalidObject: if the server does not take it.
        """
        digest = digest_of(wanted)
        metadata = metadata_of(wanted)
        annotations = {**(metadata.get("annotations") or {}), self._annotation: digest}
        body: Json = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            **wanted,
            "metadata": {**metadata, "annotations": annotations},
        }
        # Items of a list of the server's own kinds are without the first two.
        if live is not None and covers({"apiVersion": body["apiVersion"], "kind": body["kind"], **live}, body):
            return self._unchanged(resource, live=live)
        namespace, name = split_key(key_of(wanted))
        made = self._client.patch(
            resource,
            name=name,
            namespace=namespace,
            body=body,
            kind=PatchKind.APPLY,
            field_manager=self._manager,
            force=True,
        )
        return self._written(resource, made)

    def apply_status(self, resource: Resource, *, live: Object, status: Object) -> Written:
        """Own these fields of the status, and only these, by server-side apply.

        :param status: all that this manager wants in the status; what it once set and no longer names is removed.
        """
        if covers(live.get("status") or {}, status):
            return self._unchanged(resource, live=live)
        namespace, name = split_key(key_of(live))
        body: Json = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
            "status": dict(status),
        }
        made = self._client.patch(
            resource,
            name=name,
            namespace=namespace,
            body=body,
            kind=PatchKind.APPLY,
            subresource="status",
            field_manager=self._manager,
            force=True,
        )
        return self._written(resource, made)

    def patch(
        self,
        resource: Resource,
        *,
        live: Object,
        wanted: Object,
        exact: tuple[str, ...] = (),
        subresource: str = "",
        guarded: bool = False,
        metadata_only: bool = False,
    ) -> Written:
        """Set some fields of an object, by the smallest merge patch.

        :param wanted: the fields, from the top: `{"metadata": {"labels": {"a": "1", "b": None}}}`; None deletes.
        :param exact: top fields, such as `spec`, of which nothing else may stay.
        :param guarded: only if the object is still what `live` says.
        :param metadata_only: of what comes back; `Written.thing` then has no more than metadata.
        :raises Conflict: with `guarded`, if it is not; with or without it, if the object was replaced by another one.
        """
        patch = merge_patch(live, wanted={field: wanted[field] for field in wanted if field not in exact})
        for field in exact:
            patch |= merge_patch(
                {field: live[field]} if field in live else {}, wanted={field: wanted[field]}, exact=True
            )
        if not patch:
            return self._unchanged(resource, live=live)
        metadata = {**patch.get("metadata", {})}
        if uid_of(live):
            metadata["uid"] = uid_of(live)
        if guarded:
            metadata["resourceVersion"] = version_of(live)
        namespace, name = split_key(key_of(live))
        try:
            made = self._client.patch(
                resource,
                name=name,
                namespace=namespace,
                body={**patch, "metadata": metadata} if metadata else patch,
                subresource=subresource,
                field_manager=self._manager,
                metadata_only=metadata_only,
            )
        except InvalidObject as error:
            # The server's own kinds answer another UID with 422, as if we had wanted to change it.
            if any(field == "metadata.uid" for field, _ in error.causes):
                raise Conflict(str(error), subject=error.subject, status=error.status) from error
            raise
        return self._written(resource, made)

    def patch_status(
        self, resource: Resource, *, live: Object, status: Object, guarded: bool = False, metadata_only: bool = False
    ) -> Written:
        """Make the whole status what is wanted, by the smallest merge patch to the status subresource."""
        return self.patch(
            resource,
            live=live,
            wanted={"status": status},
            exact=("status",),
            subresource="status",
            guarded=guarded,
            metadata_only=metadata_only,
        )

    def edit(
        self,
        resource: Resource,
        *,
        live: Object,
        change: Callable[[Object], Object],
        exact: tuple[str, ...] = (),
        subresource: str = "",
    ) -> Written:
        """Read, decide and write until nobody comes in between; for what must not be decided on an old view.

        :param live: the first view; a store's will do.
        :param change: from a view of the object, the fields that are wanted (as `patch` takes them). Called again with
            a fresh view after each conflict.
        :raises Conflict: if somebody was faster each time.
        """
        namespace, name = split_key(key_of(live))
        pause = EDIT_PAUSE
        for _ in range(EDIT_TIMES - 1):
            try:
                return self.patch(
                    resource, live=live, wanted=change(live), exact=exact, subresource=subresource, guarded=True
                )
            except Conflict as error:
                self._meter.count("edit_conflicts", of=str(resource))
                logger.debug("%s; reading again", error)
            self._client.clock.wait(self._never, seconds=pause * (1.0 + self._random.random()))
            pause *= 2
            live = self._client.get(resource, name=name, namespace=namespace)
        return self.patch(resource, live=live, wanted=change(live), exact=exact, subresource=subresource, guarded=True)

    def delete(self, resource: Resource, *, live: Object, propagation: str = "") -> bool:
        """Delete this very object; False if it was gone, or another one has its name by now."""
        namespace, name = split_key(key_of(live))
        self._meter.count("deletes", of=str(resource))
        try:
            return self._client.delete(
                resource, name=name, namespace=namespace, uid=uid_of(live), propagation=propagation
            )
        except Conflict:
            return False

    def _unchanged(self, resource: Resource, *, live: Object) -> Written:
        self._meter.count("writes_saved", of=str(resource))
        return Written(Outcome.UNCHANGED, live)

    def _written(self, resource: Resource, made: Json) -> Written:
        self._meter.count("writes", of=str(resource))
        return Written(Outcome.WRITTEN, made)


def digest_of(wanted: Object) -> str:
    """A short digest of an object, the same for the same content in any order of fields."""
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
