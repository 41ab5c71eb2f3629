"""The spec of a node state, held against what the machine has, as the desired state that planning starts from.

Only what can be told from the request itself is refused here; whether a device can do it is for planning to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from virtfn.errors import BadVfRange, DeviceNotFound, RequestError, UnsupportedSetting
from virtfn.model import (
    DesiredPf,
    DesiredState,
    DeviceType,
    EswitchMode,
    Inventory,
    LinkType,
    PciAddress,
    Problem,
    VfGroup,
    VfRange,
)
from virtfn.model.crd import NODE_STATE_KIND, InterfaceSpec, NodeStateSpec, OvsBridgeSpec, VfGroupSpec
from virtfn.model.desired import DesiredBridge
from virtfn.policy.bridges import own_key_fault
from virtfn.policy.reading import Fault, error_of, faults_of


def desired_state(
    spec: NodeStateSpec | Mapping[str, Any], inventory: Inventory
) -> tuple[DesiredState, tuple[Problem, ...]]:
    """What a node state wants of this machine.

    A PF with an error is left out of `pfs` and named in `refused`, so that it is neither changed nor given back; the
    others are not concerned. Field paths start at the object (`spec.interfaces[0].vfGroups[1].vfRange`).

    :param spec: the model, or the `spec` of a node state as plain data.
    :raises InvalidDocument: plain data that is wrong outside of one interface, so that it is not known which PFs are
        meant.
    """
    if not isinstance(spec, NodeStateSpec):
        return _from_data(spec, inventory)
    found = [(f"spec.interfaces[{index}]", entry) for index, entry in enumerate(spec.interfaces)]
    return _desired(found, spec, inventory)


def _from_data(data: Any, inventory: Inventory) -> tuple[DesiredState, tuple[Problem, ...]]:
    """Each interface is read on its own: one that is malformed must not hold up the others."""
    entries = data.get("interfaces") if isinstance(data, Mapping) else None
    listed = isinstance(entries, list | tuple)
    rest = {name: value for name, value in data.items() if name != "interfaces"} if listed else data
    try:
        spec = NodeStateSpec.model_validate(rest)
    except ValidationError as error:
        raise error_of(faults_of(error, at="spec"), what=NODE_STATE_KIND) from error
    found: list[tuple[str, InterfaceSpec]] = []
    problems: list[Problem] = []
    refused: list[PciAddress] = []
    for index, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
        at = f"spec.interfaces[{index}]"
        try:
            found.append((at, InterfaceSpec.model_validate(entry)))
        except ValidationError as error:
            address = PciAddress.read(entry.get("pciAddress") if isinstance(entry, Mapping) else None)
            about = _label(address, inventory) if address else f"{NODE_STATE_KIND} interface {index}"
            problems += [fault.problem(about) for fault in faults_of(error, at=at)]
            refused += [address] if address else []
    return _desired(found, spec, inventory, problems=problems, refused=refused)


def _desired(
    found: list[tuple[str, InterfaceSpec]],
    spec: NodeStateSpec,
    inventory: Inventory,
    *,
    problems: list[Problem] | None = None,
    refused: list[PciAddress] | None = None,
) -> tuple[DesiredState, tuple[Problem, ...]]:
    problems, refused = list(problems or ()), list(refused or ())
    pfs: dict[PciAddress, DesiredPf] = {}
    for at, entry in found:
        address = PciAddress.read(entry.pci_address)
        if address is None:
            hint = "expected like 0000:3b:00.1"
            fault = Fault(f"{at}.pciAddress", f"{entry.pci_address!r} is not a PCI address", hint, RequestError)
            problems.append(fault.problem(NODE_STATE_KIND))
            continue
        pf, faults = _desired_pf(entry, address, at=at)
        if address in pfs or address in refused:
            faults.append(Fault(f"{at}.pciAddress", "the PF is named twice", "put all its VF groups in one entry"))
        if inventory.pf(address) is None:
            hint = "`virtfn discover` lists what there is"
            message = "there is no such network function on this machine"
            faults.append(Fault(f"{at}.pciAddress", message, hint, DeviceNotFound))
        if faults:
            problems += [fault.problem(_label(address, inventory, name=entry.name)) for fault in faults]
            refused.append(address)
            pfs.pop(address, None)
        else:
            pfs[address] = pf
    bridges, kept, bridge_problems = _bridges(spec, inventory, pfs)
    for address, bridge in bridges.items():
        if address in pfs:
            pfs[address] = replace(pfs[address], bridge=_with_mtu_of(pfs[address], bridge))
    return (
        DesiredState(
            pfs=tuple(pfs.values()),
            bridges=tuple(bridge for address, bridge in bridges.items() if address not in pfs),
            kept_bridges=kept,
            ovs_offload=any(map(_offloads, pfs.values())) or None,
            rdma_mode=spec.system.rdma_mode if spec.system is not None else None,
            refused=tuple(dict.fromkeys(refused)),
        ),
        (*problems, *bridge_problems),
    )


def _label(address: PciAddress, inventory: Inventory, *, name: str = "") -> str:
    pf = inventory.pf(address)
    if pf is not None:
        return pf.label
    return f"{address} ({name})" if name else str(address)


def _desired_pf(entry: InterfaceSpec, address: PciAddress, *, at: str) -> tuple[DesiredPf, list[Fault]]:
    faults: list[Fault] = []
    groups: list[VfGroup] = []
    for index, group in enumerate(entry.vf_groups):
        field = f"{at}.vfGroups[{index}].vfRange"
        try:
            vf_range = VfRange.parse(group.vf_range, field=field)
        except BadVfRange as error:
            faults.append(Fault(field, str(error), error=BadVfRange))
            continue
        faults += _range_faults(vf_range, entry.num_vfs, groups, field=field)
        groups.append(_desired_group(group, vf_range))
    return (
        DesiredPf(
            address=address,
            num_vfs=entry.num_vfs,
            name=entry.name,
            mtu=entry.mtu or None,
            eswitch_mode=entry.eswitch_mode,
            link_type=LinkType(entry.link_type.upper()) if entry.link_type else None,
            externally_managed=entry.externally_managed,
            groups=tuple(groups),
        ),
        faults,
    )


def _range_faults(vf_range: VfRange, num_vfs: int, earlier: list[VfGroup], *, field: str) -> list[Fault]:
    faults = []
    if vf_range.last >= num_vfs:
        allowed = f"VF indices 0 to {num_vfs - 1}" if num_vfs else "no VF at all"
        message = f"range {vf_range} does not lie inside numVfs {num_vfs} ({allowed})"
        faults.append(Fault(field, message, "make numVfs larger or the range smaller", BadVfRange))
    for other in earlier:
        if other.vf_range.overlaps(vf_range):
            owner = f" of {other.resource_name}" if other.resource_name else ""
            message = f"range {vf_range} overlaps {other.vf_range}{owner}"
            faults.append(Fault(field, message, "a VF belongs to one group", BadVfRange))
    return faults


def _desired_group(group: VfGroupSpec, vf_range: VfRange) -> VfGroup:
    return VfGroup(
        vf_range=vf_range,
        resource_name=group.resource_name,
        policy_name=group.policy_name,
        device_type=group.device_type or DeviceType.NETDEVICE,
        mtu=group.mtu or None,
        is_rdma=group.is_rdma,
        vdpa_type=group.vdpa_type.value if group.vdpa_type is not None else None,
        need_vhost_net=group.need_vhost_net,
        exclude_topology=group.exclude_topology,
    )


def _offloads(pf: DesiredPf) -> bool:
    """Whether flows of its VFs can go through the card's own switch."""
    return pf.eswitch_mode is EswitchMode.SWITCHDEV and pf.link_type is not LinkType.IB


def _bridges(
    spec: NodeStateSpec, inventory: Inventory, pfs: Mapping[PciAddress, DesiredPf]
) -> tuple[dict[PciAddress, DesiredBridge], tuple[str, ...], list[Problem]]:
    """Bridges by their uplink, the names of those that are asked for in a wrong way, and what is wrong with these."""
    bridges: dict[PciAddress, DesiredBridge] = {}
    kept: list[str] = []
    problems: list[Problem] = []
    for index, entry in enumerate(spec.bridges.ovs if spec.bridges is not None else ()):
        at = f"spec.bridges.ovs[{index}].uplinks"
        fault: Fault | None = None
        address = PciAddress.read(entry.uplinks[0].pci_address) if entry.uplinks else None
        if len(entry.uplinks) != 1:
            fault = Fault(at, f"a bridge has one uplink, not {len(entry.uplinks)}")
        elif address is None:
            fault = Fault(f"{at}[0].pciAddress", f"{entry.uplinks[0].pci_address!r} is not a PCI address")
        elif inventory.pf(address) is None:
            message = f"there is no network function {address} on this machine"
            fault = Fault(f"{at}[0].pciAddress", message, error=DeviceNotFound)
        elif address in bridges or entry.name in {bridge.name for bridge in bridges.values()}:
            fault = Fault(at, "another bridge has this name or this uplink", "a PF is the uplink of one bridge")
        elif address in pfs and pfs[address].externally_managed:
            hint = "take one of the two away"
            fault = Fault(at, "a bridge cannot have an externally managed PF as its uplink", hint, UnsupportedSetting)
        elif found := _own_key_fault(entry, f"spec.bridges.ovs[{index}]"):
            fault = found
        else:
            bridges[address] = _desired_bridge(entry, address)
        if fault is not None:
            kept.append(entry.name)
            problems.append(fault.problem(f"bridge {entry.name}"))
    return bridges, tuple(kept), problems


def _with_mtu_of(pf: DesiredPf, bridge: DesiredBridge) -> DesiredBridge:
    """Open vSwitch is not to take back what another policy's VFs need of the PF."""
    if bridge.mtu_request is None or pf.mtu is None:
        return bridge
    return replace(bridge, mtu_request=max(bridge.mtu_request, pf.mtu))


def _own_key_fault(entry: OvsBridgeSpec, at: str) -> Fault | None:
    return own_key_fault(entry.bridge, f"{at}.bridge") or own_key_fault(
        entry.uplinks[0].interface, f"{at}.uplinks[0].interface"
    )


def _desired_bridge(entry: OvsBridgeSpec, uplink: PciAddress) -> DesiredBridge:
    settings, interface = entry.bridge, entry.uplinks[0].interface
    return DesiredBridge(
        name=entry.name,
        uplink=uplink,
        uplink_name=entry.uplinks[0].name,
        datapath_type=settings.datapath_type if settings else "",
        fail_mode=settings.fail_mode.value if settings and settings.fail_mode else "",
        external_ids=settings.external_ids if settings else {},
        other_config=settings.other_config if settings else {},
        interface_type=interface.type if interface else "",
        interface_options=interface.options if interface else {},
        interface_external_ids=interface.external_ids if interface else {},
        interface_other_config=interface.other_config if interface else {},
        mtu_request=interface.mtu_request or None if interface else None,
    )
