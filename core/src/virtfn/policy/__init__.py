"""Documents in, desired state out: reading, selecting, merging. Pure: it touches neither files nor the machine.

`load_documents` -> `render_node_state` (with `state_of` the machine) -> `desired_state` -> planning.
"""

from virtfn.policy.bridge_status import status_bridges
from virtfn.policy.desired import desired_state
from virtfn.policy.device_plugin import render_device_plugin_config
from virtfn.policy.documents import Document, load_documents
from virtfn.policy.merge import Rendered, render_node_state
from virtfn.policy.policy_set import PolicySet
from virtfn.policy.status import state_of, status_interfaces

__all__ = [
    "Document",
    "PolicySet",
    "Rendered",
    "desired_state",
    "load_documents",
    "render_device_plugin_config",
    "render_node_state",
    "state_of",
    "status_bridges",
    "status_interfaces",
]
