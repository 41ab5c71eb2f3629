"""`virtfn discover`: what network functions there are, who serves them, and what they are like now."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import groupby

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.output import new_table, print_data, print_table
from virtfn.cli.plan_view import show_problems
from virtfn.model import Adapter, Inventory, LinkType, Pf, Vf
from virtfn.model.codec import to_data


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser(
        "discover", help="show the network cards of this host, their VFs, and the plugin that serves them"
    )
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="form of the output")
    parser.add_argument("--vfs", action="store_true", help="one line for each VF")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    observation = context.node.observe()
    inventory = observation.inventory
    if args.output != "table":
        data = to_data(inventory)
        data["platform"]["modules"] = sorted(data["platform"]["modules"])
        for adapter, shown in zip(inventory.adapters, data["adapters"], strict=True):
            shown["hooks"] = _hooks(context, adapter)
        print_data(context, data, args.output)
    elif not inventory.adapters:
        context.console.print("No PCI network function on this host.")
    else:
        _table(context, inventory.adapters)
        if args.vfs:
            context.console.print()
            _vf_table(context, [pf for pf in inventory.pfs() if pf.vfs])
        _rdma(context, inventory)
        _open_vswitch(context, inventory)
    show_problems(context, observation.problems)
    for error in context.node.registry.problems:
        context.error_console.print(f"plugin problem: {error} [{error.reason}]", style="yellow")
    return Exit.OK


def _rdma(context: Context, inventory: Inventory) -> None:
    """The mode, and which function has which device; nothing where there is no RDMA."""
    mode = inventory.platform.rdma_mode
    if mode is None:
        return
    devices = ", ".join(f"{pf.label} {pf.rdma.name}" for pf in inventory.pfs() if pf.rdma is not None)
    context.console.print(f"RDMA: {mode} mode{f', {devices}' if devices else ''}")


def _open_vswitch(context: Context, inventory: Inventory) -> None:
    """Who runs it, and the bridges that virtfn made; nothing where it does not run."""
    ovs = inventory.ovs
    if ovs is None:
        return
    if ovs.fault:
        context.console.print(f"Open vSwitch: cannot be read: {ovs.fault}", style="yellow")
        return
    if not ovs.host_service:
        context.console.print("Open vSwitch: runs in a container, and is left to whoever runs that")
        return
    waits = ", from the next start of ovs-vswitchd on" if ovs.restart_pending else ""
    context.console.print(f"Open vSwitch: hw-offload {ovs.hw_offload or 'not set'}{waits}")
    for bridge in ovs.bridges:
        if bridge.managed:
            uplinks = ", ".join(
                f"{uplink.name}{f' ({uplink.error})' if uplink.error else ''}" for uplink in bridge.uplinks
            )
            others = len(bridge.ports) - len(bridge.uplinks)
            context.console.print(f"  bridge {bridge.name}: uplink {uplinks or 'none'}, {others} other ports")


def _hooks(context: Context, adapter: Adapter) -> dict[str, list[str]]:
    if adapter.owner is None:
        return {}
    return {hook: list(names) for hook, names in context.node.registry.hook_sources(adapter).items()}


def _table(context: Context, adapters: Sequence[Adapter]) -> None:
    from rich.text import Text

    table = new_table("PF", "NETDEV", "MODEL", "DRIVER", "PLUGIN", "VFS", "ESWITCH", "LINK", "MTU", "VF DRIVERS")
    for adapter in adapters:
        for pf in adapter.pfs:
            link = "" if pf.netdev is None else ("up" if pf.netdev.up else "down")
            table.add_row(
                str(pf.address),
                pf.netdev.name if pf.netdev else "-",
                adapter.model or str(pf.id),
                pf.driver or "-",
                Text(_plugin(context, adapter), style="" if adapter.owner else "yellow"),
                "-" if pf.total_vfs is None else f"{pf.num_vfs}/{pf.total_vfs}",
                pf.eswitch_mode or "-",
                Text(link or "-", style="green" if link == "up" else ""),
                str(pf.netdev.mtu) if pf.netdev else "-",
                ", ".join(f"{span} {driver}" for driver, span in _spans(pf.vfs)),
            )
    print_table(context, table)
    for adapter in adapters:
        for pf in adapter.pfs:
            if note := _note(adapter, pf):
                context.console.print(f"{pf.label}: {note}", style="yellow")


def _plugin(context: Context, adapter: Adapter) -> str:
    """The owner's key, and `+generic` where the plan comes from generic."""
    if adapter.owner is None:
        return "none"
    planners = context.node.registry.hook_sources(adapter).get("plan_functions", ())
    return f"{adapter.owner}+generic" if adapter.owner != "generic" and planners[:1] == ("generic",) else adapter.owner


def _note(adapter: Adapter, pf: Pf) -> str:
    if adapter.fault:
        return adapter.fault
    if adapter.owner is None:
        return f"left alone: {adapter.owner_reason}"
    if pf.driver is None:
        return "left alone: no driver is bound"
    return ""


def _spans(vfs: Iterable[Vf]) -> list[tuple[str, str]]:
    """VFs by driver as index ranges: `("igbvf", "0-3")`."""
    found = []
    for driver, members in groupby(vfs, key=lambda vf: vf.driver or "no driver"):
        indices = [vf.index for vf in members]
        found.append((driver, str(indices[0]) if len(indices) == 1 else f"{indices[0]}-{indices[-1]}"))
    return found


def _vf_table(context: Context, pfs: Sequence[Pf]) -> None:
    from virtfn.policy.status import guid_of  # the API's models come with it

    with_guids = any(pf.netdev is not None and pf.netdev.link_type is LinkType.IB for pf in pfs)
    table = new_table(
        "PF",
        "VF",
        "ADDRESS",
        "DRIVER",
        "NETDEV",
        "MAC",
        "ADMIN MAC",
        "MTU",
        "IOMMU GROUP",
        "REPRESENTOR",
        "VDPA",
        "RDMA",
        *(("GUID",) if with_guids else ()),
    )
    for pf in pfs:
        for vf in pf.vfs:
            table.add_row(
                pf.netdev.name if pf.netdev else str(pf.address),
                str(vf.index),
                str(vf.address),
                vf.driver or "-",
                vf.netdev.name if vf.netdev else "-",
                vf.netdev.mac if vf.netdev else "-",
                (vf.settings.mac if vf.settings else None) or "-",
                str(vf.netdev.mtu) if vf.netdev else "-",
                "-" if vf.iommu_group is None else str(vf.iommu_group),
                vf.representor or "-",
                (vf.vdpa.type or vf.vdpa.name) if vf.vdpa else "-",
                vf.rdma.name if vf.rdma else "-",
                *((guid_of(vf) or "-",) if with_guids else ()),
            )
    print_table(context, table)
