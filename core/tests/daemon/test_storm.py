"""Anything in any order: wishes, drift, boots, crashes, outages and drains that come and go.

Two things must hold. No VF that somebody uses loses its traffic unless the node is drained. And when everybody has come
to rest, the node is as it is wanted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from virtfn.errors import Unavailable
from virtfn.testing import FakeHost
from virtfn.testing.ground.calls import Call


class Storm(RuleBasedStateMachine):
    """One node with one PF, whose VFs are in use as soon as they have a netdev."""

    rig_class: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.host = FakeHost()
        self.host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        self.rig = self.rig_class(self.host, Path(self._temporary.name))
        self.generation = 1
        self.wanted = 0
        self.ours = False
        self.taken: list[str] = []
        self.host.fail(self._watch, hang=True)
        self.want(2, "RepairIfFree")
        self._turn()

    def teardown(self) -> None:
        try:
            self._come_to_rest()
        finally:
            self.host.close()
            self._temporary.cleanup()

    def _watch(self, call: Call) -> bool:
        """See whether virtfn takes VFs from somebody."""
        takes = call.kind == "write" and (call.target.endswith("sriov_numvfs") or call.target.endswith("/unbind"))
        drained = self.rig.request.handshake.current == "DrainComplete"
        if self.ours and takes and not drained and self._used():
            self.taken.append(f"{call.target} {call.value}")
        return False

    def _used(self) -> bool:
        return any(vf.driver is not None and vf.netdev is None for vf in self.rig.machine.pf(self.rig.PF).vfs)

    def _turn(self) -> None:
        self.ours = True
        try:
            self.rig.turn()
        except (Unavailable, KeyboardInterrupt):
            pass
        finally:
            self.ours = False
        self._use()

    def _use(self) -> None:
        for vf in self.rig.machine.pf(self.rig.PF).vfs:
            if vf.netdev is not None:
                self.host.move_to_namespace(vf.address)

    # --- what can happen ----------------------------------------------------------------------------------------------

    @rule(count=st.integers(0, 3), mode=st.sampled_from(["RepairIfFree", "RepairWithDrain"]))
    def want(self, count: int, mode: str) -> None:
        self.generation += 1
        self.wanted = count
        entries = [self.rig.interface(vfs=count, driftMode=mode)] if count else []
        self.rig.want(*entries, generation=self.generation + 1, retry=str(self.generation))

    @rule(times=st.integers(1, 5), after=st.sampled_from([0.0, 6.0, 30.0]))
    def look(self, times: int, after: float) -> None:
        for _ in range(times):
            self.rig.clock.seconds += after
            self._turn()

    @rule()
    def look_until_drift_is_sure(self) -> None:
        self.look(4, 6.0)

    @rule(count=st.integers(0, 3))
    def somebody_changes_vfs(self, count: int) -> None:
        self.rig.machine.set_link(self.rig.PF, up=True)
        self.rig.machine.set_num_vfs(self.rig.PF, count)
        for vf in self.rig.machine.vf_addresses(self.rig.PF).values():
            self.rig.machine.bind_driver(vf, None)
        self._use()

    @rule()
    def the_controller_does_something(self) -> None:
        self._controller()

    def _controller(self) -> None:
        if not self.rig.told:
            return
        needed = self.rig.request.handshake.needed or "Idle"
        if needed == "Idle":
            self.rig.undrain()
        elif self.rig.request.handshake.current == "Idle":
            self.rig.shake(current="Draining", desired=needed, drained_for="")
        elif self.rig.status.plan is not None:
            self.rig.shake(current="DrainComplete", desired=needed, drained_for=self.rig.status.plan.digest)

    @rule()
    def the_daemon_is_restarted(self) -> None:
        self.rig.restart()

    @rule()
    def the_node_boots(self) -> None:
        self.host.reboot()
        self.rig.restart()

    @rule(at=st.sampled_from(["sriov_numvfs", "drivers_probe", "set_vf"]))
    def the_daemon_is_killed_in_the_middle(self, at: str) -> None:
        fault = self.rig.crash_at(at)
        self._turn()
        fault.clear()
        self.rig.restart()

    @rule()
    def the_api_server_is_away_for_a_while(self) -> None:
        self.rig.unreachable = True
        self._turn()
        self.rig.unreachable = False

    @invariant()
    def nobody_loses_a_vf_without_a_drain(self) -> None:
        assert self.taken == []

    def _come_to_rest(self) -> None:
        """Everybody does his part, and nobody uses VFs any more."""
        for _ in range(30):
            for vf in self.rig.machine.pf(self.rig.PF).vfs:
                if vf.driver is not None and vf.netdev is None:
                    self.rig.machine.unbind_driver(vf.address)
            self.rig.clock.seconds += 30.0
            self.ours = True
            turn = self.rig.turn()
            self.ours = False
            self._controller()
            decision = turn.look.decision if turn.look is not None else None
            if decision is not None and not decision.whole.steps:
                break
        assert self.rig.status.sync_status == "Succeeded"
        # With nothing wanted, VFs that somebody made before virtfn first touched the PF are his.
        assert self.rig.vfs() == self.wanted or not self.wanted


def test_storm(rig: Any) -> None:
    Storm.rig_class = type(rig)
    machine = Storm.TestCase
    machine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    machine("runTest").runTest()
