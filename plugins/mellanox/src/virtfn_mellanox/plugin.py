"""The hooks. What is not here (VFs) is left to the generic plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from virtfn import Plugin, hookimpl
from virtfn.host.api import Host, HostReader
from virtfn.model import (
    Adapter,
    Claim,
    DesiredAdapter,
    DeviceModel,
    Pf,
    Platform,
    Problem,
    Refusal,
    Step,
    StepOutcome,
)
from virtfn_mellanox.changes import judge
from virtfn_mellanox.facts import facts_of
from virtfn_mellanox.functions import plan_pf, problems_of
from virtfn_mellanox.lag import bonds_of, lag_problems
from virtfn_mellanox.perform import perform_step
from virtfn_mellanox.roce import roce_facts, roce_problems
from virtfn_mellanox.tables import DEVICES, VENDOR, VF_DEVICES


class MellanoxPlugin(Plugin):
    """ConnectX and BlueField."""

    name = "mellanox"
    api_version = 1
    summary = "NVIDIA Mellanox ConnectX and BlueField cards (mlx5)"

    @hookimpl
    def device_table(self) -> Sequence[DeviceModel]:
        """See `virtfn_mellanox.tables`."""
        return DEVICES

    @hookimpl
    def claim(self, device: Pf) -> Claim | Refusal | None:
        """Every card of the vendor, with SR-IOV switched on or off in its firmware; a VF given to a VM is not ours."""
        if not device.total_vfs and device.id.vendor == VENDOR and device.id.device in VF_DEVICES:
            return Refusal(f"{device.id} is a VF whose PF is on another machine")
        return None

    @hookimpl
    def observe(self, adapter: Adapter, host: HostReader, platform: Platform) -> Mapping[str, Any]:
        """See `virtfn_mellanox.facts`; and what `virtfn_mellanox.lag` and `virtfn_mellanox.roce` have to know."""
        return {**facts_of(adapter, host, platform), **bonds_of(adapter, host), **roce_facts(adapter, host)}

    @hookimpl
    def plan_firmware(self, adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Sequence[Step]:
        """See `virtfn_mellanox.changes`."""
        return judge(adapter, desired, platform).steps

    @hookimpl
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        """See `virtfn_mellanox.functions`."""
        return tuple(
            step for want in desired.pfs if (pf := adapter.pf(want.address)) for step in plan_pf(adapter, pf, want)
        )

    @hookimpl
    def validate(self, adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Sequence[Problem]:
        """What the firmware has to do with the request (`changes`), and what the functions cannot do (`functions`)."""
        told = list(judge(adapter, desired, platform).problems)
        for want in desired.pfs:
            if (pf := adapter.pf(want.address)) is not None:
                told += problems_of(pf, want)
                told += roce_problems(adapter, pf, want, platform)
        told += lag_problems(adapter, desired)
        return tuple(told)

    @hookimpl
    def perform(self, step: Step, adapter: Adapter, host: Host) -> StepOutcome | None:
        """See `virtfn_mellanox.perform`."""
        return perform_step(step, adapter, host)
