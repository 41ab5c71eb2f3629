"""Cordoning a node, and letting it go again: only what is ours is ever taken away.

A cordon carries an annotation that says that it is virtfn's. One that was there before has none, and stays; so does one
that somebody has put there after ours was taken away, as the managed fields tell. While pods of DaemonSets have to go,
a taint keeps them from coming back: they tolerate a cordon (Kubernetes documentation, "DaemonSet", taints and
tolerations), but not this one.
"""

from __future__ import annotations

from typing import Any

from virtfn.controller.drain_decision import Cordon
from virtfn.controller.membership import annotations_of, spec_of
from virtfn.controller.services import Services
from virtfn.kube.apply import Outcome
from virtfn.kube.clock import whole_time
from virtfn.kube.resource import NODES, Json, Object
from virtfn.model.handshake import CORDONED_ANNOTATION, DRAIN_TAINT


class Cordons:
    """Writes nodes. Used from many threads."""

    def __init__(self, services: Services) -> None:
        self._applier = services.applier
        self._clock = services.clock

    def put(self, node: Object) -> Object:
        """Cordon a node that nobody has cordoned; the node as it is then.

        :param node: as it was just read.
        :raises NotFound: it is gone.
        """
        since = whole_time(self._clock.now())

        def change(live: Object) -> Object:
            if spec_of(live).get("unschedulable"):
                return {}
            return {"spec": {"unschedulable": True}, "metadata": {"annotations": {CORDONED_ANNOTATION: since}}}

        return self._applier.edit(NODES, live=node, change=change).thing

    def keep_out(self, node: Object) -> Object:
        """Keep pods away that come back in spite of a cordon; the node as it is then."""

        def change(live: Object) -> Object:
            taints = _taints(live)
            if any(taint.get("key") == DRAIN_TAINT for taint in taints):
                return {}
            return {"spec": {"taints": [*taints, {"key": DRAIN_TAINT, "effect": "NoSchedule"}]}}

        return self._applier.edit(NODES, live=node, change=change).thing

    def lift(self, node: Object) -> bool:
        """Take away what is ours; whether there was anything.

        :param node: as it was just read, whole: who set `spec.unschedulable` stands in its managed fields.
        """

        def change(live: Object) -> Object:
            spec: dict[str, Any] = {}
            wanted: dict[str, Any] = {}
            if (cordon := Cordon.of(live)) in (Cordon.OURS, Cordon.LIFTED, Cordon.REPLACED):
                wanted["metadata"] = {"annotations": {CORDONED_ANNOTATION: None}}
            if cordon is Cordon.OURS:
                spec["unschedulable"] = None
            taints = _taints(live)
            if others := [taint for taint in taints if taint.get("key") != DRAIN_TAINT]:
                if len(others) < len(taints):
                    spec["taints"] = others
            elif taints:
                spec["taints"] = None
            return wanted | ({"spec": spec} if spec else {})

        return self._applier.edit(NODES, live=node, change=change).outcome is Outcome.WRITTEN


def is_marked(node: Object) -> bool:
    """Whether something on the node is ours to be taken away."""
    return CORDONED_ANNOTATION in annotations_of(node) or any(
        taint.get("key") == DRAIN_TAINT for taint in _taints(node)
    )


def _taints(node: Object) -> list[Json]:
    return list(spec_of(node).get("taints") or ())
