"""The pods of one node that have to go: finding them, asking whether they may, and sending them away.

Nothing is remembered between calls: pods are listed anew each time, on the node that is drained and nowhere else, so
the controller needs no memory for the pods of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from virtfn.controller.holders import Affected, Owner, Pod, everybody, holders
from virtfn.controller.membership import spec_of
from virtfn.controller.services import Services
from virtfn.errors import ClusterError, Conflict, Forbidden, TooManyRequests
from virtfn.kube.eviction import Evictor
from virtfn.kube.fanout import FanOut
from virtfn.kube.resource import PODS, Object
from virtfn.model.handshake import DrainState
from virtfn.model.wording import few_names, few_texts

AT_ONCE: Final = 8
"""Evictions of one node under way at the same time."""
_NAMED: Final = 5
"""Pods that a message names at most."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How pods are sent away: `podEvictionPolicy` and `podEvictionForce` of the operator's configuration."""

    deletes: bool = False
    """Delete instead of evict: disruption budgets are not asked."""
    at_once: bool = False
    """Without the pod's grace period."""

    @classmethod
    def of(cls, config: Object | None) -> Manner:
        """By the operator's configuration, if there is one."""
        spec = spec_of(config)
        return cls(spec.get("podEvictionPolicy") == "delete", spec.get("podEvictionForce") is True)


@dataclass(frozen=True, slots=True)
class Remaining:
    """The pods that are in the way."""

    first: tuple[Pod, ...] = ()
    """To be sent away."""
    last: tuple[Pod, ...] = ()
    """To be sent away when the others are gone: pods of DaemonSets, which come back, and the controller's own."""
    stuck: tuple[Pod, ...] = ()
    """The kubelet's own, which nobody can send away from here."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All that can be sent away."""
        return self.first + self.last

    def only(self, keys: Container[str]) -> Remaining:
        """Those of these keys, and those that are stuck."""
        first = tuple(pod for pod in self.first if pod.key in keys)
        return Remaining(first, tuple(pod for pod in self.last if pod.key in keys), self.stuck)

    def __bool__(self) -> bool:
        return bool(self.first or self.last or self.stuck)


class NodePods:
    """Used from many threads."""

    def __init__(self, services: Services) -> None:
        self._client = services.client
        self._meter = services.meter
        self._settings = services.settings
        self._evictor = Evictor(services.client)
        self._fan_out = FanOut(size=AT_ONCE)

    def of(self, node: str, *, state: Object, needed: DrainState) -> Remaining:
        """Those that are in the way of what the daemon needs, as the API server has them now.

        :param state: the node state, whole.
        """
        pods = self._client.list(PODS, fields=f"spec.nodeName={node}")
        if needed is DrainState.REBOOT_REQUIRED:
            found = everybody(pods)
        else:
            found = holders(pods, Affected.by(state, prefix=self._settings.resource_prefix))
        return sort_out(found, own=(self._settings.namespace, str(self._settings.environment.get("POD_NAME", ""))))

    def rehearse(self, pods: Iterable[Pod]) -> dict[str, str]:
        """Which of them may not go now, and why, by `Pod.key`: evictions are tried without being made.

        What only a webhook refuses (429 without a budget) is not counted: KubeVirt's answers every eviction so, and
        begins to move the machine when it is meant in earnest.
        """
        refused: dict[str, str] = {}

        def ask(pod: Pod) -> None:
            try:
                self._evictor.evict(name=pod.name, namespace=pod.namespace, uid=pod.uid, dry_run=True)
            except TooManyRequests:
                return
            except ClusterError as error:
                if not _is_about_pod(error):
                    raise
                if not _is_ending(error):
                    refused[pod.key] = str(error)

        self._each([pod for pod in pods if not pod.leaving], do=ask)
        return refused

    def send_away(self, pods: Iterable[Pod], *, manner: Manner) -> dict[str, str]:
        """Ask all to go that were not asked yet; who may not, and why, by `Pod.key`."""
        refused: dict[str, str] = {}
        grace = 0 if manner.at_once else None

        def send(pod: Pod) -> None:
            try:
                if manner.deletes:
                    self._client.delete(PODS, name=pod.name, namespace=pod.namespace, uid=pod.uid, grace_seconds=grace)
                else:
                    self._evictor.evict(name=pod.name, namespace=pod.namespace, uid=pod.uid, grace_seconds=grace)
            except Conflict:
                return  # another pod has its name by now
            except ClusterError as error:
                if not _is_about_pod(error):
                    raise
                refused[pod.key] = "its namespace is being deleted" if _is_ending(error) else str(error)
                self._meter.count("evictions_refused")
                return
            self._meter.count("evictions")

        self._each([pod for pod in pods if not pod.leaving], do=send)
        return refused

    def _each(self, pods: list[Pod], *, do: Callable[[Pod], None]) -> None:
        by_key = {pod.key: pod for pod in pods}
        results = self._fan_out.run(by_key, do=lambda key: do(by_key[key]))
        for error in results.errors.values():
            raise error


def sort_out(found: Iterable[Pod], *, own: tuple[str, str] = ("", "")) -> Remaining:
    """In which order they go.

    :param own: namespace and name of the controller's own pod: whoever leads next finds nothing left to do but this.
    """
    first, last, stuck = [], [], []
    for pod in found:
        if pod.owner is Owner.FILE:
            stuck.append(pod)
        elif pod.owner is Owner.DAEMON_SET or (pod.namespace, pod.name) == own:
            last.append(pod)
        else:
            first.append(pod)
    return Remaining(tuple(first), tuple(last), tuple(stuck))


def in_the_way(remaining: Remaining, *, refused: Mapping[str, str]) -> str:
    """For people: which pods are in the way, and what holds each.

    :param refused: why pods may not go, by `Pod.key`.
    """
    parts = [f"{pod} is the kubelet's own (take its file away from the node)" for pod in remaining.stuck]
    blocked = [pod for pod in remaining.pods if pod.key in refused]
    parts += [f"{pod}: {refused[pod.key]}" for pod in blocked]
    for pod in remaining.pods:
        if pod.leaving:
            parts.append(f"{pod} was asked to go and has not ended (since {pod.leaving})")
        elif pod.key not in refused and pod.owner is Owner.DAEMON_SET and pod.stays_through_taints:
            parts.append(f"{pod} is a DaemonSet's that tolerates every taint, so that it comes back at once")
        elif pod.key not in refused:
            parts.append(f"{pod} is about to go")
    return few_texts(parts, most=_NAMED)


def what_goes(remaining: Remaining) -> str:
    """For people: which pods go, and what of them does not come back."""
    parts = [few_names([str(pod) for pod in remaining.pods], most=_NAMED) or "none"]
    if bare := [pod.key for pod in remaining.pods if pod.owner is Owner.NOBODY]:
        parts.append(f"without a controller, so that they do not come back: {few_names(bare, most=_NAMED)}")
    if local := [pod.key for pod in remaining.pods if pod.has_local_data]:
        parts.append(f"with emptyDir volumes, whose content is lost: {few_names(local, most=_NAMED)}")
    return "; ".join(parts)


def _is_about_pod(error: ClusterError) -> bool:
    # Whatever the server answers is a reason why this pod does not go (a webhook that is down is a 500); where there
    # was no answer, nothing is known of any pod.
    return error.status != 0


def _is_ending(error: ClusterError) -> bool:
    # The namespace's controller deletes the pod; until then nothing can be made in it, evictions neither.
    return isinstance(error, Forbidden) and "being terminated" in str(error)
