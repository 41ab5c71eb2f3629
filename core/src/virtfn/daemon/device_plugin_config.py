"""What the SR-IOV device plugin of this node is to offer, as a file on the host, and when it has to look again.

The device plugin reads configuration and devices once, when it starts (sriov-network-device-plugin, README). So the
file holds what was brought about, not what is wanted: VFs that are not there yet would never be found, and VFs that
are still there while a drain is waited for go on being offered. What has to be looked at again has another revision.
After a boot there is no file until the VFs are there, and the device plugin waits for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virtfn.daemon.record import replace_file
from virtfn.errors import HostError
from virtfn.journal import Record
from virtfn.model import DesiredPf, Inventory, PciAddress, Problem
from virtfn.model.crd import (
    DevicePluginStatus,
    InterfaceSpec,
    NodeStateSpec,
    NodeStateStatus,
    SriovNetworkNodeState,
    VdpaType,
    VfGroupSpec,
)
from virtfn.policy import render_device_plugin_config, status_interfaces

logger = logging.getLogger(__name__)

FILE: Final = Path("device-plugin", "config.json")
"""Below the daemon's run directory."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the device plugin is to offer."""

    text: str
    """The file's content; empty: there is nothing to offer, and no file."""
    status: DevicePluginStatus
    problems: tuple[Problem, ...] = ()


def make_offer(
    inventory: Inventory, records: Mapping[PciAddress, Record], *, pfs: Iterable[PciAddress], rounds: int
) -> Offer:
    """The configuration for PFs as they were brought about. Pure.

    :param records: the journal.
    :param pfs: those that count, in the order of the request: they were as wanted since this boot.
    :param rounds: how often VFs were made anew or changed drivers while a device plugin ran.
    """
    applied = [record.applied for address in pfs if (record := records.get(address)) is not None and record.applied]
    state = SriovNetworkNodeState(
        spec=NodeStateSpec(interfaces=tuple(_interface(pf) for pf in applied)),
        status=NodeStateStatus(interfaces=status_interfaces(inventory)),
    )
    config = render_device_plugin_config(state)
    names = tuple(resource.name for resource in config.resources)
    text = config.to_json() if names else ""
    revision = _revision(text, rounds if names else 0, inventory, applied)
    return Offer(text, DevicePluginStatus(revision=revision, resources=names), config.problems)


def write_offer(offer: Offer, file: Path) -> bool:
    """Make the file what is offered; whether it was another one before.

    :raises HostError: it cannot be written.
    """
    try:
        if offer.text:
            return replace_file(file, offer.text)
        existed = file.exists()
        file.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(
            f"{file}: the device plugin's configuration cannot be written ({error.strerror}: is the folder mounted, "
            "and writable?)"
        ) from error
    return existed


def _revision(text: str, rounds: int, inventory: Inventory, applied: Iterable[DesiredPf]) -> str:
    # Of a PF that somebody else manages it is not known when its VFs are made, so they are looked at.
    seen = [
        [str(vf.address), vf.driver]
        for want in applied
        if want.externally_managed and (pf := inventory.pf(want.address)) is not None
        for vf in pf.vfs
    ]
    return hashlib.sha256(json.dumps([text, rounds, seen]).encode()).hexdigest()[:16]


def _interface(pf: DesiredPf) -> InterfaceSpec:
    return InterfaceSpec(
        pciAddress=str(pf.address),
        name=pf.name,
        numVfs=pf.num_vfs,
        linkType=pf.link_type.value if pf.link_type else None,
        eSwitchMode=pf.eswitch_mode,
        externallyManaged=pf.externally_managed,
        vfGroups=tuple(
            VfGroupSpec(
                resourceName=group.resource_name,
                deviceType=group.device_type,
                vfRange=str(group.vf_range),
                policyName=group.policy_name,
                isRdma=group.is_rdma,
                vdpaType=VdpaType(group.vdpa_type) if group.vdpa_type else None,
                needVhostNet=group.need_vhost_net,
                excludeTopology=group.exclude_topology,
            )
            for group in pf.groups
        ),
    )
