"""Observe: one pass over the machine, with each adapter's plugin adding its facts. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from virtfn.errors import VirtfnError
from virtfn.host.reader import Reader
from virtfn.model import Adapter, Inventory, PciId, Pf
from virtfn.model.inventory import NODE_MODULES, ParamValue
from virtfn.registry import Registry


def group_adapters(pfs: Sequence[Pf]) -> tuple[Adapter, ...]:
    """PFs that share domain:bus:slot, as adapters ordered by address."""
    ordered = sorted(pfs, key=lambda pf: pf.address)
    return tuple(
        Adapter(address=slot, pfs=tuple(members)) for slot, members in groupby(ordered, key=lambda pf: pf.address.slot)
    )


def read_inventory(reader: Reader) -> Inventory:
    """What the kernel shows, before any plugin is asked."""
    return Inventory(
        adapters=group_adapters(reader.network_functions()), platform=reader.platform(), ovs=reader.open_vswitch()
    )


def ids_of(inventory: Inventory) -> frozenset[PciId]:
    """The ids of the hardware present: what the registry loads plugins for."""
    return frozenset(pf.id for pf in inventory.pfs())


def _with_params(inventory: Inventory, reader: Reader) -> Inventory:
    """With what plugins may change of their PFs by devlink, now that it is known whose they are."""

    def read(adapter: Adapter) -> Adapter:
        return replace(adapter, pfs=tuple(replace(pf, params=_params(pf, adapter, reader)) for pf in adapter.pfs))

    return replace(inventory, adapters=tuple(read(one) if one.params else one for one in inventory.adapters))


def _params(pf: Pf, adapter: Adapter, reader: Reader) -> dict[str, ParamValue]:
    found: dict[str, ParamValue] = {}
    for name, mode in adapter.params.items():
        param = reader.devlink_param(pf.address, name)
        value = param.value(mode) if param is not None else None
        if value is not None and value != "":  # some older kernels show a parameter without its value
            found[name] = value
    return found


def observe(reader: Reader, registry: Registry, *, base: Inventory | None = None) -> Inventory:
    """The whole inventory: owners and vendor facts filled in.

    :param base: what `read_inventory` gave a moment ago, if the caller has it already.
    """
    inventory = _with_params(registry.assign(base or read_inventory(reader)), reader)
    adapters = []
    for adapter in inventory.adapters:
        adapters.append(adapter if adapter.owner is None else _with_facts(adapter, inventory, reader, registry))
    wanted = NODE_MODULES.union(*({adapter.rdma_module, adapter.vdpa_module} for adapter in adapters)) - {""}
    missing = reader.missing_modules(sorted(wanted))
    return replace(inventory, adapters=tuple(adapters), platform=replace(inventory.platform, missing_modules=missing))


def _with_facts(adapter: Adapter, inventory: Inventory, reader: Reader, registry: Registry) -> Adapter:
    """One plugin's failure is its adapter's fault only; the others go on."""
    try:
        facts = registry.hooks(adapter).observe(adapter, host=reader, platform=inventory.platform)
        return replace(adapter, facts=facts)
    except VirtfnError as error:
        return replace(adapter, fault=f"{error.reason}: {error}")
