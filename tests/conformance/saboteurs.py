"""One plugin for each law that breaks this law and no other: generic, made wrong in just one way.

Each is a mistake that somebody could make in good faith. They prove that the laws can fail, and that each law sees
what the others do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from virtfn import Plugin, hookimpl
from virtfn.errors import VirtfnError
from virtfn.host.api import Host, HostReader
from virtfn.model import (
    Adapter,
    Claim,
    DesiredAdapter,
    DeviceModel,
    Disruption,
    OutcomeStatus,
    PciAddress,
    PciId,
    Pf,
    Platform,
    Step,
    StepOutcome,
    steps,
)
from virtfn_generic import GenericPlugin


class SloppyTable(GenericPlugin):
    """Leaves the driver of a model out: nobody could tell which module serves it."""

    name = "sloppy-table"

    @hookimpl
    def device_table(self) -> Sequence[DeviceModel]:
        return (DeviceModel("Card", PciId("fff3", "0001"), PciId("fff3", "0002"), driver=""),)


class Greedy(GenericPlugin):
    """Takes every network function, whether VFs can be made on it or not."""

    name = "greedy"

    @hookimpl(trylast=True)
    def claim(self, device: Pf) -> Claim:
        return Claim(f"{device.id} is a network card")


class Eager(GenericPlugin):
    """Loads a module while it looks: by the time of the plan the machine is another."""

    name = "eager"

    @hookimpl(trylast=True)
    def observe(self, host: HostReader) -> Mapping[str, Any]:
        try:
            host.run(("modprobe", "vfio-pci"))
        except VirtfnError:
            return {}
        return {}


class Deaf(GenericPlugin):
    """Never sets the MTU of a PF, whatever is wanted."""

    name = "deaf"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        return tuple(step for step in super().plan_functions(adapter, desired) if "mtu" not in step.args)


class Restless(GenericPlugin):
    """Takes the link up each time, up as it may be."""

    name = "restless"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        planned = super().plan_functions(adapter, desired)
        up = [step.target for step in planned if step.args.get("up")]
        again = [
            steps.set_link(pf, up=True, why="to be sure")
            for want in desired.pfs
            if (pf := adapter.pf(want.address)) and not want.release and not want.externally_managed
            if str(want.address) not in up
        ]
        return (*again, *planned)


class Forgetful(GenericPlugin):
    """Knows which PFs it works on only as long as it lives: VFs without driver it then takes for somebody's own."""

    name = "forgetful"

    def __init__(self) -> None:
        self._known: set[str] = set()

    @hookimpl(trylast=True)
    def plan_vfs(
        self, adapter: Adapter, desired: DesiredAdapter, platform: Platform, planned: Sequence[Step]
    ) -> Sequence[Step]:
        strange = {
            (str(pf.address), vf.index)
            for want in desired.pfs
            if (pf := adapter.pf(want.address)) and not steps.creates_vfs(planned, pf) and not want.release
            for vf in pf.vfs
            if vf.driver is None and str(pf.address) not in self._known
        }
        told = super().plan_vfs(adapter, desired, platform, planned)
        self._known |= {step.target for step in told}
        return tuple(
            step for step in told if step.op != steps.BIND_DRIVER or (step.target, step.args["vf"]) not in strange
        )


class Possessive(GenericPlugin):
    """Gives a PF back without the MTU and the link state it had."""

    name = "possessive"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        released = {str(want.address) for want in desired.pfs if want.release}
        planned = super().plan_functions(adapter, desired)
        return tuple(step for step in planned if step.target not in released or step.op != steps.SET_LINK)


class Meddling(GenericPlugin):
    """Takes the link of a PF up that somebody else manages."""

    name = "meddling"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        others = [
            steps.set_link(pf, up=True, why="VFs need their PF up")
            for want in desired.pfs
            if want.externally_managed and (pf := adapter.pf(want.address)) and pf.netdev and not pf.netdev.up
        ]
        return (*super().plan_functions(adapter, desired), *others)


class Soothing(GenericPlugin):
    """Says that nobody is disturbed when all VFs are destroyed."""

    name = "soothing"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        return tuple(
            replace(step, disruption=Disruption.NONE, affects=()) if step.op == steps.SET_NUM_VFS else step
            for step in super().plan_functions(adapter, desired)
        )


class Careless(GenericPlugin):
    """Sets the MTU itself, and calls it done whatever the kernel says."""

    name = "careless"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        return tuple(
            replace(step, op="careless.set_mtu") if step.op == steps.SET_LINK and "mtu" in step.args else step
            for step in super().plan_functions(adapter, desired)
        )

    @hookimpl(trylast=True)
    def perform(self, step: Step, host: Host) -> StepOutcome:
        try:
            host.set_link(PciAddress.parse(step.target), mtu=step.args["mtu"])
        except VirtfnError as error:
            return StepOutcome(step, OutcomeStatus.DONE, detail=f"more or less ({error})")
        return StepOutcome(step, OutcomeStatus.DONE)


class Cryptic(GenericPlugin):
    """Puts a value into a step that JSON has not."""

    name = "cryptic"

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        return tuple(
            replace(step, args={**step.args, "seen": (adapter.address,)}) if step.op == steps.SET_LINK else step
            for step in super().plan_functions(adapter, desired)
        )


SABOTEURS: Mapping[str, type[Plugin]] = {
    "contract": SloppyTable,
    "claim": Greedy,
    "purity": Eager,
    "convergence": Deaf,
    "idempotence": Restless,
    "crash": Forgetful,
    "release": Possessive,
    "isolation": Meddling,
    "honest-disruption": Soothing,
    "errors": Careless,
    "serialisable": Cryptic,
}
"""By the law that each breaks."""
