"""The words that controller, daemon and foreign drainers leave on nodes and node states to agree on a drain.

Names and values of `sriovnetwork.openshift.io` are those of the existing operators, so that their tools go on working;
`virtfn.io` has what they do not know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from virtfn.model.crd.meta import GROUP

NODE_STATE_ANNOTATION: Final = f"{GROUP}/state"
"""On a node: what its daemon needs, as on its node state."""
DESIRED_STATE_ANNOTATION: Final = f"{GROUP}/desired-state"
"""On a node state: what its daemon needs before it may go on: Idle, Drain_Required or Reboot_Required."""
CURRENT_STATE_ANNOTATION: Final = f"{GROUP}/current-state"
"""On a node state: how far the drain is: Idle, Draining or DrainComplete."""
EXTERNAL_DRAINER_ANNOTATION: Final = f"{GROUP}/use-external-drainer"
"""On a node state, `true`: somebody else drains this node, and writes the current state."""
KEEP_UNTIL_ANNOTATION: Final = f"{GROUP}/keep-state-until"
"""On a node state whose node is gone: when it may be deleted, as RFC 3339."""
DEVICE_PLUGIN_LABEL: Final = f"{GROUP}/device-plugin"
"""On a node, `Enabled` or `Disabled`: whether a device plugin runs there."""

DRAINED_FOR_ANNOTATION: Final = "virtfn.io/drained-for"
"""On a node state: digest of the plan for which the drain was made; other plans need another one."""
RETRY_ANNOTATION: Final = "virtfn.io/retry"
"""On a node state: any new value lets drains and reboots that were given up be tried again."""
DRAIN_RECORD_ANNOTATION: Final = "virtfn.io/drain"
"""On a node state: since when a drain is wanted, when it began, and how often it was given up, as JSON."""
PLUGIN_RESTART_ANNOTATION: Final = "virtfn.io/device-plugin-restart"
"""On a node state, while the node's device plugin is restarted: for which revision, since when, and which pods go."""
PLUGIN_REVISION_ANNOTATION: Final = "virtfn.io/device-plugin-revision"
"""On a node state: the `status.devicePlugin.revision` that the node's device plugin was last started for."""
CORDONED_ANNOTATION: Final = "virtfn.io/cordoned"
"""On a node: the cordon is virtfn's, which takes it away again. A cordon without it is somebody else's."""
DRAIN_TAINT: Final = "virtfn.io/draining"
"""Key of a taint (NoSchedule) that keeps pods of DaemonSets from coming back while the node is drained of them."""
APPLIED_ANNOTATION: Final = "virtfn.io/applied"
"""On what the controller makes: a digest of what it applied."""
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "virtfn"
"""Value of `MANAGED_BY_LABEL` on all that the controller makes."""


class DrainState(StrEnum):
    """Values of the three state annotations."""

    IDLE = "Idle"
    DRAIN_REQUIRED = "Drain_Required"
    REBOOT_REQUIRED = "Reboot_Required"
    DRAINING = "Draining"
    DRAIN_COMPLETE = "DrainComplete"


class SyncStatus(StrEnum):
    """Values of a node state's `status.syncStatus`."""

    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
