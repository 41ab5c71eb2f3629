"""Tells what happens in a cluster while it happens, a line for each thing that a person would notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Self

from virtfn.cli.context import Context
from virtfn.cli.get_judging import node_report
from virtfn.cli.get_report import NodeReport
from virtfn.cluster.kinds import NODE_STATES
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import SystemClock
from virtfn.kube.reflector import Reflector
from virtfn.kube.resource import NODES, Object, metadata_of
from virtfn.kube.store import Change, Store
from virtfn.model.handshake import DrainState
from virtfn.model.wording import number_of

_STYLES = {"Failed": "bold red", "Succeeded": "green"}
_STOP_SECONDS = 2.0


class Narrator:
    """Watches node states and nodes, and prints. Use it as a context manager."""

    def __init__(self, context: Context, *, client: KubeClient, namespace: str) -> None:
        self._console = context.console
        self.pause = threading.Lock()
        """Whoever holds it prints alone."""
        self._begun = time.monotonic()
        self.states = Store()
        self.nodes = Store()
        clock, random = SystemClock(), Random()
        self._reflectors = (
            Reflector(
                client, resource=NODE_STATES, store=self.states, clock=clock, random=random, namespace=namespace,
                handlers=[self._state_changed],
            ),
            Reflector(
                client, resource=NODES, store=self.nodes, clock=clock, random=random, handlers=[self._node_changed]
            ),
        )  # fmt: skip

    def __enter__(self) -> Self:
        for reflector in self._reflectors:
            reflector.start()
        return self

    def __exit__(self, *_: object) -> None:
        for reflector in self._reflectors:
            reflector.stop()
        for reflector in self._reflectors:
            reflector.join(seconds=_STOP_SECONDS)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    def cordoned(self) -> tuple[str, ...]:
        """Nodes that are unschedulable."""
        return tuple(str(metadata_of(node)["name"]) for node in self.nodes.objects() if _unschedulable(node))

    def tell(self, line: str, *, style: str = "") -> None:
        """One line, with the time. From any thread."""
        with self.pause:
            self._console.print(f"  {self.seconds:5.1f} s  ", style="dim", end="")
            self._console.print(line, style=style)

    def _state_changed(self, change: Change) -> None:
        if change.new is None:
            self.tell(f"{metadata_of(change.thing)['name']}: its node state is deleted")
            return
        old = node_report(change.old) if change.old is not None else None
        new = node_report(change.new)
        for line, style in differences(old, new):
            self.tell(f"{new.name}: {line}", style=style)

    def _node_changed(self, change: Change) -> None:
        old, new = _unschedulable(change.old), _unschedulable(change.new)
        if change.new is not None and change.old is not None and old != new:
            self.tell(f"{metadata_of(change.thing)['name']}: {'cordoned' if new else 'uncordoned'}")


def differences(old: NodeReport | None, new: NodeReport) -> Iterator[tuple[str, str]]:
    """What a person would notice, each with its colour. Pure."""
    if old is None:
        yield "the controller has made its node state", ""
    elif old.generation != new.generation:
        configured = [pf for pf in new.pfs if pf.wanted_vfs is not None]
        wanted = [f"{pf.name} {pf.wanted_vfs} VFs {pf.wanted_eswitch_mode}".strip() for pf in configured]
        yield f"wanted by its spec: {', '.join(wanted) or 'nothing any more'}", ""
    if new.pfs and not (old and old.pfs):
        yield f"its daemon reports {number_of(len(new.pfs), 'PF')}: {', '.join(pf.name for pf in new.pfs)}", ""
    if new.plan is not None and (old is None or old.plan is None or old.plan.digest != new.plan.digest):
        lost = f", {number_of(len(new.plan.affects), 'VF')} lose traffic" if new.plan.affects else ""
        steps = number_of(new.plan.count, "step")
        yield f"plan {new.plan.digest}: {steps}, disruption {new.plan.disruption}{lost}", "yellow"
    before = old.needs if old is not None else DrainState.IDLE
    if new.needs != before:
        yield f"needs {new.needs}", ""
    before = old.drain if old is not None else DrainState.IDLE
    if new.drain != before:
        yield f"drain is at {new.drain}", ""
    drained, was = new.condition("Drained"), old.condition("Drained") if old is not None else None
    if drained is not None and (was is None or was.reason != drained.reason) and new.needs != DrainState.IDLE:
        yield f"{drained.reason}: {drained.message}", ""
    if new.sync_status and (old is None or old.sync_status != new.sync_status):
        yield f"{new.sync_status}{f': {new.error}' if new.error else ''}", _STYLES.get(new.sync_status, "")


def _unschedulable(node: Object | None) -> bool:
    spec: Any = node.get("spec") if node is not None else None
    return isinstance(spec, Mapping) and bool(spec.get("unschedulable"))
