"""Machine-readable output: the same data as JSON or YAML."""

from __future__ import annotations

import json
from typing import Any

from virtfn.cli.context import Context


def print_data(context: Context, data: Any, form: str) -> None:
    """Write plain data as `json` or `yaml`."""
    if form == "json":
        json.dump(data, context.stdout, indent=2)
        context.stdout.write("\n")
        return
    import yaml

    yaml.safe_dump(data, context.stdout, sort_keys=False, default_flow_style=False, allow_unicode=True)
