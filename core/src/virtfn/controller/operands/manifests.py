"""The same DaemonSets as files, for those who deploy without an operator configuration.

Images are names without a registry and a version: kustomize puts those in, in one place. What the pods may do to the
host, and why, stands above each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import yaml

from virtfn.controller.operands import OperandSettings, wanted_daemon_sets
from virtfn.controller.operands.config_daemon import CONFIG_DAEMON
from virtfn.controller.operands.config_daemon import MOUNTS as DAEMON_MOUNTS
from virtfn.controller.operands.config_daemon import PRIVILEGES as DAEMON_PRIVILEGES
from virtfn.controller.operands.device_plugin import DEVICE_PLUGIN
from virtfn.controller.operands.device_plugin import MOUNTS as PLUGIN_MOUNTS
from virtfn.controller.operands.device_plugin import PRIVILEGES as PLUGIN_PRIVILEGES
from virtfn.kube.resource import Json

DAEMON_IMAGE: Final = "virtfn-daemon"
DEVICE_PLUGIN_IMAGE: Final = "sriov-network-device-plugin"
"""Names for kustomize to find."""

_HEAD: Final = (
    "# Made by `python -m virtfn.controller.operands`, from the code that the controller deploys with; do not edit.\n"
)


class _NoAliases(yaml.SafeDumper):
    """The same object in two places is written twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  the base class's name
        return True


def manifest(thing: Json, *, reasons: Iterable[str]) -> str:
    """One object as YAML, with what it is allowed on the host as comments."""
    lines = "".join(f"#   {reason}\n" for reason in reasons)
    head = f"{_HEAD}#\n# What its pods may do to the host, and why:\n{lines}"
    return head + yaml.dump(thing, Dumper=_NoAliases, sort_keys=False, width=120)


def manifests(*, resource_prefix: str, node_selector: dict[str, str]) -> dict[str, str]:
    """Text by file name."""
    settings = OperandSettings(
        daemon_image=DAEMON_IMAGE,
        device_plugin_image=DEVICE_PLUGIN_IMAGE,
        resource_prefix=resource_prefix,
        node_selector=node_selector,
    )
    reasons = {
        CONFIG_DAEMON: (DAEMON_PRIVILEGES, DAEMON_MOUNTS),
        DEVICE_PLUGIN: (PLUGIN_PRIVILEGES, PLUGIN_MOUNTS),
    }
    made = {}
    for thing in wanted_daemon_sets(settings):
        name = thing["metadata"]["name"]
        privileges, mounts = reasons[name]
        made[f"{name}.yaml"] = manifest(thing, reasons=(*privileges, *(mount.reason() for mount in mounts)))
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Write the files into a folder."""
    parser = argparse.ArgumentParser(prog="python -m virtfn.controller.operands", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resource-prefix", required=True, help="what stands before the / of resources")
    parser.add_argument("--node-selector", action="append", default=[], metavar="KEY=VALUE", help="which nodes")
    options = parser.parse_args(words)
    selector = dict(word.split("=", 1) for word in options.node_selector)
    for name, text in manifests(resource_prefix=options.resource_prefix, node_selector=selector).items():
        (options.folder / name).write_text(text, encoding="utf-8")
    return 0
