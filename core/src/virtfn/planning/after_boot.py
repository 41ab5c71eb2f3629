"""What a boot leaves of a node, as far as virtfn can know it beforehand: for a plan that is made now and run then.

VFs, eswitch modes and everything else that lives in the kernel is gone; what the journal knows from before the first
touch is how a PF comes up. Rules and files of virtfn's own stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from virtfn.model import Adapter, DesiredPf, EswitchMode, Inventory, PciAddress, Pf
from virtfn.model.inventory import ParamMode, ParamValue


def restored_after_boot(wanted: Sequence[DesiredPf]) -> tuple[DesiredPf, ...]:
    """The PFs whose VFs are made before the network starts: those in switchdev mode.

    Their uplinks and representors are what bonds, bridges and the node's own addresses stand on. VFs of other PFs are
    for pods alone, and the daemon makes them before those can have them.
    """
    return tuple(
        want
        for want in wanted
        if want.eswitch_mode is EswitchMode.SWITCHDEV
        and want.num_vfs
        and not want.release
        and not want.externally_managed
    )


def as_after_boot(inventory: Inventory, baselines: Mapping[PciAddress, DesiredPf]) -> Inventory:
    """The inventory as it is expected to be right after the next boot, when Open vSwitch does not run yet."""
    adapters = tuple(_adapter(adapter, baselines) for adapter in inventory.adapters)
    platform = replace(inventory.platform, modules=frozenset(), udev=False, owned_files={})
    return replace(inventory, adapters=adapters, platform=platform, ovs=None)


def _adapter(adapter: Adapter, baselines: Mapping[PciAddress, DesiredPf]) -> Adapter:
    return replace(adapter, pfs=tuple(_pf(pf, baselines.get(pf.address), adapter.params) for pf in adapter.pfs))


def _params(pf: Pf, was: DesiredPf | None, modes: Mapping[str, ParamMode]) -> dict[str, ParamValue]:
    """A parameter that takes effect with the driver's start is taken to be as now: drivers begin with what is wanted.

    Whoever has it otherwise sets it after the boot. To take the device from its driver and back is nothing for a script
    before the network starts; the daemon does it, if need be.
    """
    known = was.params if was is not None else {}
    kept = {name for name, mode in modes.items() if mode == ParamMode.DRIVERINIT}
    return {name: value if name in kept else known.get(name, value) for name, value in pf.params.items()}


def _pf(pf: Pf, was: DesiredPf | None, modes: Mapping[str, ParamMode]) -> Pf:
    netdev = pf.netdev
    if netdev is not None:
        mtu = was.mtu if was is not None and was.mtu is not None else netdev.mtu
        netdev = replace(netdev, mtu=mtu, up=False, tc_offload=was.tc_offload if was is not None else None)
    return replace(
        pf,
        netdev=netdev,
        vfs=(),
        eswitch_mode=EswitchMode.LEGACY if pf.eswitch_mode is not None else None,
        taken_names=(),
        inline_mode=was.inline_mode if was is not None else pf.inline_mode,
        params=_params(pf, was, modes),
        drivers_autoprobe=True,
    )
