"""What the demo of a cluster tells of one change of a node state."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.cli.demo_narrator import differences
from virtfn.cli.get_judging import node_report

PF = {"pciAddress": "0000:3b:00.0", "name": "ens1f0", "totalvfs": 8}
PLAN = {"digest": "abc", "disruption": "PF", "affects": ["0000:3b:00.2"], "steps": [{"op": "o", "target": "t"}]}


def state(*, generation: int = 1, current: str = "", spec: Any = None, **status: Any) -> dict[str, Any]:
    annotations = {"sriovnetwork.openshift.io/current-state": current} if current else {}
    metadata = {"name": "n1", "generation": generation, "annotations": annotations}
    return {"metadata": metadata, "spec": spec or {}, "status": status}


def told(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    return [line for line, _ in differences(node_report(old) if old else None, node_report(new))]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (None, state(), ["the controller has made its node state"]),
        (state(), state(interfaces=[PF], syncStatus="Succeeded"), ["its daemon reports 1 PF: ens1f0", "Succeeded"]),
        (
            state(interfaces=[PF]),
            state(interfaces=[PF], generation=2, spec={"interfaces": [{"pciAddress": "0000:3b:00.0", "numVfs": 2}]}),
            ["wanted by its spec: ens1f0 2 VFs"],
        ),
        (state(generation=1), state(generation=2), ["wanted by its spec: nothing any more"]),
        (
            state(),
            state(plan=PLAN, neededState="Drain_Required"),
            ["plan abc: 1 step, disruption PF, 1 VF lose traffic", "needs Drain_Required"],
        ),
        (state(plan=PLAN), state(plan=PLAN), []),
        (state(), state(current="Draining"), ["drain is at Draining"]),
        (state(syncStatus="InProgress"), state(syncStatus="Failed", lastSyncError="no room"), ["Failed: no room"]),
        (
            state(neededState="Drain_Required"),
            state(
                neededState="Drain_Required",
                conditions=[{"type": "Drained", "status": "False", "reason": "WaitingForSlot", "message": "in turn"}],
            ),
            ["WaitingForSlot: in turn"],
        ),
    ],
)
def test_a_change_is_told_in_the_words_of_a_person(
    old: dict[str, Any] | None, new: dict[str, Any], lines: list[str]
) -> None:
    assert told(old, new) == lines
