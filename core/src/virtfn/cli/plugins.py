"""`virtfn plugins`: what is installed, which hooks each plugin answers, and what is wrong with it."""

from __future__ import annotations

import argparse

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.output import new_table, print_data, print_table
from virtfn.registry import GENERIC, Registry, load_registry

_PER_ADAPTER = ("observe", "plan_firmware", "plan_functions", "plan_vfs", "validate", "perform")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("plugins", help="list the installed plugins, their hooks and their devices")
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="form of the output")
    parser.add_argument("--devices", action="store_true", help="also list the models each plugin knows")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    registry = load_registry(frozenset(), load_all=True)
    if args.output == "table":
        _show(context, registry, devices=args.devices)
    else:
        print_data(context, _data(registry), args.output)
    for error in registry.problems:
        context.error_console.print("error: ", style="bold red", end="")
        context.error_console.print(f"{error} [{error.reason}]")
    return Exit.PLUGIN if registry.problems else Exit.OK


def _left_to_generic(hooks: frozenset[str] | tuple[str, ...]) -> list[str]:
    return [hook for hook in _PER_ADAPTER[:4] if hook not in hooks]


def _data(registry: Registry) -> list[dict[str, object]]:
    return [
        {
            "name": plugin.name,
            "keys": list(plugin.keys),
            "distribution": plugin.distribution,
            "summary": plugin.summary,
            "hooks": sorted(plugin.hooks),
            "devices": [
                {
                    "name": row.name,
                    "product": row.product,
                    "pf": str(row.pf),
                    "vf": str(row.vf),
                    "driver": row.driver,
                    "maxVfs": row.max_vfs,
                    "capabilities": sorted(row.capabilities),
                }
                for row in plugin.device_table
            ],
        }
        for plugin in registry.plugins
    ]


def _show(context: Context, registry: Registry, *, devices: bool) -> None:
    if not registry.plugins:
        context.console.print("No plugin is installed. Start with: pip install virtfn-generic")
        return
    table = new_table("PLUGIN", "KEYS", "DISTRIBUTION", "MODELS", "LEFT TO GENERIC", "SERVES")
    for plugin in registry.plugins:
        left = [] if GENERIC in plugin.keys else _left_to_generic(plugin.hooks)
        table.add_row(
            plugin.name,
            ", ".join(plugin.keys),
            plugin.distribution,
            str(len(plugin.device_table)),
            ", ".join(left) or "-",
            plugin.summary,
        )
    print_table(context, table)
    if devices:
        rows = new_table("PLUGIN", "PF", "VF", "DRIVER", "MODEL", "CAN")
        for plugin in registry.plugins:
            for row in plugin.device_table:
                rows.add_row(
                    plugin.name, str(row.pf), str(row.vf), row.driver, row.label, ", ".join(sorted(row.capabilities))
                )
        context.console.print()
        print_table(context, rows)
