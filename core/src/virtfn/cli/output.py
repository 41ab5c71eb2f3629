"""Output: plain data as JSON or YAML, and tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from virtfn.cli.context import Context

if TYPE_CHECKING:
    from rich.table import Table


def print_data(context: Context, data: Any, form: str) -> None:
    """Write plain data as `json` or `yaml`."""
    if form == "json":
        json.dump(data, context.stdout, indent=2)
        context.stdout.write("\n")
        return
    import yaml

    yaml.safe_dump(data, context.stdout, sort_keys=False, default_flow_style=False, allow_unicode=True)


def new_table(*headings: str) -> Table:
    """A table without lines; its rows are never folded."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="right" if heading == "#" else "left")
    return table


def print_table(context: Context, table: Table) -> None:
    """Print it, without blanks at the ends of lines where nobody sees them."""
    console = context.console
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    context.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
