"""The configuration of the SR-IOV device plugin as values: resources, and the selectors that find their VFs.

Only what is written here is in it; the plugin can read more. Which VFs belong where is `virtfn.policy.device_plugin`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from virtfn.model.plan import Problem


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector object: all parts must hold, of the values of one part any."""

    vendors: tuple[str, ...] = ()
    pci_addresses: tuple[str, ...] = ()
    pf_names: tuple[str, ...] = ()
    """`name` or `name#first-last,first-last`, one entry a PF."""
    root_devices: tuple[str, ...] = ()
    """PCI addresses of PFs, with ranges as in `pf_names`."""
    link_types: tuple[str, ...] = ()
    """`ether` or `infiniband`."""
    is_rdma: bool = False
    """Only VFs with an RDMA device, which is handed out with them."""
    need_vhost_net: bool = False
    """`/dev/vhost-net` is handed out with the VF."""
    vdpa_type: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As the device plugin reads it; lists that are empty are left out, the two booleans are always there."""
        lists = {
            "vendors": self.vendors,
            "pciAddresses": self.pci_addresses,
            "pfNames": self.pf_names,
            "rootDevices": self.root_devices,
            "linkTypes": self.link_types,
        }
        data: dict[str, Any] = {name: list(values) for name, values in lists.items() if values}
        data |= {"IsRdma": self.is_rdma, "NeedVhostNet": self.need_vhost_net}
        return data | {"vdpaType": self.vdpa_type} if self.vdpa_type else data


@dataclass(frozen=True, slots=True)
class Resource:
    """VFs that pods ask for by one name. The name's prefix is the device plugin's own option."""

    name: str
    selectors: tuple[Selector, ...]
    exclude_topology: bool = False
    """The VFs' NUMA node is not told to the kubelet."""

    def to_wire(self) -> dict[str, Any]:
        """As the device plugin reads it: one selector as an object, several as a list."""
        data: dict[str, Any] = {"resourceName": self.name}
        if self.exclude_topology:
            data["excludeTopology"] = True
        selectors = [selector.to_wire() for selector in self.selectors]
        data["selectors"] = selectors[0] if len(selectors) == 1 else selectors
        return data


@dataclass(frozen=True, slots=True)
class DevicePluginConfig:
    """The configuration of one node, and what is wrong with the groups it comes from."""

    resources: tuple[Resource, ...] = ()
    """Empty: the node has nothing to offer, and the device plugin should not run there."""
    problems: tuple[Problem, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The whole file as plain data. Without any resource the list is null, as other operators write it."""
        return {"resourceList": [resource.to_wire() for resource in self.resources] or None}

    def to_json(self) -> str:
        """The file's text: compact JSON, the same for the same node state."""
        return json.dumps(self.to_wire(), separators=(",", ":"), ensure_ascii=False)
