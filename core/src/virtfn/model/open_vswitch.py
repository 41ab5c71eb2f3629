"""Open vSwitch as it is found on a node: who runs it, whether it offloads flows, and its bridges. Plain values.

Whose a bridge is stands in its own row of the database (`external_ids`), written in the transaction that makes it: so
the mark can neither be lost nor outlive the bridge, whatever is cut off when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virtfn.model.pci import PciAddress

MARK = "virtfn.io/managed"
"""Key in `external_ids` of bridges and interfaces that virtfn made; its value is the PCI address of the uplink's PF."""
KEYS_MARK = "virtfn.io/keys"
"""Key in `external_ids` beside `MARK`: which keys of the row's maps virtfn has set, as JSON."""
OFFLOAD_MARK = "virtfn.io/hw-offload"
"""Key in `external_ids` of the table Open_vSwitch: what `hw-offload` was before, and who was to take it up, as JSON."""
OWN_KEYS = "virtfn.io/"
"""What keys in `external_ids` begin with that are virtfn's, and nobody may ask for."""
OLDER_RECORD = "/etc/sriov-operator/managed-ovs-bridges.json"
"""Where the Go operator, which leaves no mark in the database, keeps which bridges it has made and how."""
OFFLOAD = "hw-offload"
"""Key in `other_config` of the table Open_vSwitch."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface that virtfn put in a bridge. Of its maps only the keys that virtfn has set are here."""

    name: str
    pf: PciAddress | None
    """Whose netdev it was when it was added."""
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    other_config: Mapping[str, str] = field(default_factory=dict)
    mtu_request: int | None = None
    """Bytes."""
    mtu: int | None = None
    """Bytes: what it has, which is another where the driver refused the one that was requested. None: not known."""
    ofport: int | None = None
    """OpenFlow port number; None: ovs-vswitchd has not taken the interface up yet."""
    error: str = ""
    """Why ovs-vswitchd cannot use it."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of Open vSwitch. Of one that is somebody else's only the name and the ports are told."""

    name: str
    managed: bool = False
    """virtfn made it, or has taken it over."""
    inherited: bool = False
    """An older operator made it, by its own record: virtfn may take it over, and until then leaves it alone."""
    pf: PciAddress | None = None
    """The PF it was made for."""
    ports: tuple[str, ...] = ()
    """Names of the interfaces in it, those of bonds too, but not the one that every bridge has of its own; sorted."""
    datapath_type: str = ""
    fail_mode: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)
    """Only the keys that virtfn has set."""
    other_config: Mapping[str, str] = field(default_factory=dict)
    """Only the keys that virtfn has set."""
    uplinks: tuple[Uplink, ...] = ()
    """Those that virtfn put in, by name; one, where all is well."""
    error: str = ""
    """Why ovs-vswitchd cannot use the bridge's own port."""


@dataclass(frozen=True, slots=True)
class OpenVSwitch:
    """Open vSwitch on one node, where its database answers."""

    host_service: bool = True
    """The node itself runs it. Otherwise a container does (kube-ovn's, say), and whoever runs that sets it up."""
    version: str = ""
    """`ovs_version`."""
    hw_offload: str | None = None
    """`other_config:hw-offload`; None: not set."""
    offload_is_ours: bool = False
    """virtfn has set it."""
    restart_pending: bool = False
    """The ovs-vswitchd that runs is the one that ran when virtfn set it: it takes it up when it is restarted."""
    bridges: tuple[Bridge, ...] = ()
    """Sorted by name; empty where it is not the node's own."""
    switch_runs: bool = True
    """ovs-vswitchd runs, as far as its pid file tells. Without it the database answers, and nothing is switched."""
    fault: str = ""
    """Why the database cannot be read, where something is there."""

    def bridge(self, name: str) -> Bridge | None:
        """The bridge with this name, or None."""
        return next((bridge for bridge in self.bridges if bridge.name == name), None)

    def holder(self, port: str) -> Bridge | None:
        """The bridge that has this port, or None."""
        return next((bridge for bridge in self.bridges if port in bridge.ports), None)
