"""The hooks: planned from standard steps only, last in line behind every other plugin."""

from __future__ import annotations

from collections.abc import Sequence

from virtfn import Plugin, hookimpl
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
)
from virtfn_generic.functions import plan_pf
from virtfn_generic.rdma import module_steps, rdma_problems
from virtfn_generic.tables import DEVICES
from virtfn_generic.validation import problems_of
from virtfn_generic.vdpa import vdpa_problems
from virtfn_generic.vfs import plan_vfs_of


class GenericPlugin(Plugin):
    """SR-IOV by the kernel's own interfaces: sysfs, rtnetlink and devlink."""

    name = "generic"
    api_version = 1
    summary = "any SR-IOV network card, by what the kernel offers"

    @hookimpl
    def device_table(self) -> Sequence[DeviceModel]:
        """Cards of vendors that have no plugin of their own."""
        return DEVICES

    @hookimpl(trylast=True)
    def claim(self, device: Pf) -> Claim | Refusal:
        """Whatever the kernel shows as a PF."""
        if device.total_vfs is None:
            return Refusal("the kernel shows no SR-IOV files for it (switched off in firmware or BIOS, or not capable)")
        return Claim(f"has SR-IOV ({device.total_vfs} VFs) and no plugin of its own")

    @hookimpl(trylast=True)
    def plan_firmware(self) -> Sequence[Step]:
        """The kernel has no common interface to firmware."""
        return ()

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> Sequence[Step]:
        """See `virtfn_generic.functions`."""
        return tuple(step for want in desired.pfs if (pf := adapter.pf(want.address)) for step in plan_pf(pf, want))

    @hookimpl(trylast=True)
    def plan_vfs(
        self, adapter: Adapter, desired: DesiredAdapter, platform: Platform, planned: Sequence[Step]
    ) -> Sequence[Step]:
        """See `virtfn_generic.vfs`."""
        return tuple(
            step
            for want in desired.pfs
            if (pf := adapter.pf(want.address))
            for step in plan_vfs_of(
                pf,
                want,
                planned,
                vdpa_module=adapter.vdpa_module,
                rdma_modules=module_steps(adapter, pf, platform),
                pools=platform.guid_pools,
            )
        )

    @hookimpl(trylast=True)
    def validate(self, adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Sequence[Problem]:
        """See `virtfn_generic.validation`."""
        return tuple(
            problem
            for want in desired.pfs
            if (pf := adapter.pf(want.address))
            for problem in (
                *problems_of(pf, want, platform),
                *(() if want.release else vdpa_problems(adapter, pf, want)),
                *(() if want.release else rdma_problems(adapter, pf, want, platform)),
            )
        )
