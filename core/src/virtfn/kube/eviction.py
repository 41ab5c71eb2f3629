"""Evicting pods: a request whose kind depends on the server's age, and whose refusals have meanings of their own.

`policy/v1` Eviction came with Kubernetes 1.22, `policy/v1beta1` went with 1.25; discovery tells which one a server has.
"""

from __future__ import annotations

from virtfn.errors import Conflict, EvictionBlocked, InvalidObject, NotFound, Unavailable
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import PODS, Json


class Evictor:
    """Asks pods to go, within their disruption budgets. Used from many threads."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._version = ""

    def evict(
        self, *, name: str, namespace: str, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> bool:
        """Ask one pod to go; False if it was gone already, or another one has its name.

        The pod runs out its grace period after that. It is never waited for `Retry-After`: the caller has a deadline
        for all its pods.

        :param uid: only the pod with this UID.
        :param grace_seconds: instead of the pod's own.
        :param dry_run: only ask whether it would be allowed.
        :raises EvictionBlocked: a disruption budget does not allow it now; or, with status 500, two budgets select the
            pod, which stays so until somebody changes one.
        :raises TooManyRequests: the server has no room for the request, whatever the budgets say.
        """
        subject = PODS.subject(namespace=namespace, name=name)
        for attempt in (1, 2):
            version = self._version or self._discover()
            body: Json = {
                "apiVersion": f"policy/{version}",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": namespace},
            }
            options: Json = {}
            if uid:
                options["preconditions"] = {"uid": uid}
            if grace_seconds is not None:
                options["gracePeriodSeconds"] = grace_seconds
            if dry_run:
                options["dryRun"] = ["All"]
            if options:
                body["deleteOptions"] = options
            path = PODS.path(namespace=namespace, name=name, subresource="eviction")
            try:
                self._client.call("POST", path=path, subject=subject, body=body, patient=False)
            except InvalidObject:
                # A server that was upgraded under us takes another version now.
                self._version = ""
                if attempt == 2 or self._discover() == version:
                    raise
            except NotFound:
                return False
            except Conflict:
                if uid:
                    return False
                raise
            except Unavailable as error:
                if error.status == 500 and "PodDisruptionBudget" in str(error):
                    raise EvictionBlocked(str(error), subject=subject, status=error.status) from error
                raise
            else:
                return True
        raise AssertionError("unreachable")

    def _discover(self) -> str:
        found = self._client.call("GET", path="/api/v1", subject="discovery of the core API")
        for resource in found.get("resources") or ():
            if resource.get("name") == "pods/eviction":
                self._version = str(resource.get("version") or "v1")
                return self._version
        raise NotFound("pods: this server has no evictions (check its version)", subject="pods", status=404)
