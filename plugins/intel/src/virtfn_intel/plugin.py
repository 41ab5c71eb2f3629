"""The hooks. What is not here (VFs, firmware) is left to the generic plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from virtfn import Plugin, hookimpl
from virtfn.host.api import HostReader
from virtfn.model import Adapter, Claim, DesiredAdapter, DeviceModel, Pf, Problem, Refusal, Step
from virtfn_intel.facts import facts_of
from virtfn_intel.functions import changes_mode, plan_links, plan_pf
from virtfn_intel.limits import problems_of
from virtfn_intel.tables import DEVICES, VENDOR, VF_DEVICES, model_of


class IntelPlugin(Plugin):
    """Intel's server cards, from the 82576 to the 800 series."""

    name = "intel"
    api_version = 1
    summary = "Intel network cards (igb, ixgbe, i40e, ice)"

    @hookimpl
    def device_table(self) -> Sequence[DeviceModel]:
        """See `virtfn_intel.tables`."""
        return DEVICES

    @hookimpl
    def claim(self, device: Pf) -> Claim | Refusal | None:
        """Everything of the vendor with SR-IOV, or known to have it; a VF that was given to a VM is not ours."""
        if device.total_vfs:
            return None
        if device.id.vendor == VENDOR and device.id.device in VF_DEVICES:
            return Refusal(f"{device.id} is a VF whose PF is on another machine")
        if model_of(device.id) is None:
            return Refusal(f"{device.id} shows no SR-IOV and is no card known to have it")
        return None

    @hookimpl
    def observe(self, adapter: Adapter, host: HostReader) -> Mapping[str, Any]:
        """See `virtfn_intel.facts`."""
        return facts_of(adapter, host)

    @hookimpl
    def plan_firmware(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        """No firmware setting has to do with VFs; what must come before VFs exist is the link of igb and ixgbe."""
        return plan_links(adapter, desired)

    @hookimpl
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step] | None:
        """Ours while the eswitch mode of an ice changes; otherwise the common order is right for all four drivers."""
        if not changes_mode(adapter, desired):
            return None
        return tuple(step for want in desired.pfs if (pf := adapter.pf(want.address)) for step in plan_pf(pf, want))

    @hookimpl
    def validate(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Problem]:
        """See `virtfn_intel.limits`."""
        return problems_of(adapter, desired)
