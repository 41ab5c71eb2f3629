"""Rules that a policy keeps or breaks by itself, whatever the cluster is like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from virtfn.errors import RequestError
from virtfn.model import DeviceType, EswitchMode, PciAddress, Severity
from virtfn.model.crd import POLICY_KIND, PfName, PolicySpec
from virtfn.policy.bridges import bridge_keys_fault
from virtfn.policy.selection import net_filter_matches
from virtfn.policy.validation.case import Case
from virtfn.policy.validation.rule import Breach, Need, Rule

_KIND = (POLICY_KIND,)
_LONGEST_NAME = 63
_RESOURCE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")


def _resource_name(case: Case) -> Iterator[Breach]:
    name = case.policy.spec.resource_name
    if not name:
        yield Breach("must not be empty")
    elif len(name) > _LONGEST_NAME:
        yield Breach(f"has {len(name)} characters, and {_LONGEST_NAME} are allowed")
    elif not _RESOURCE_NAME.fullmatch(name):
        yield Breach(
            f"{name!r} is no resource name: letters, digits, - and _ are allowed, with a letter or digit at both ends"
        )


def _selector_empty(case: Case) -> Iterator[Breach]:
    if case.policy.spec.nic_selector.is_empty:
        yield Breach("is empty, and so selects no NIC")


def _net_filter_alone(case: Case) -> Iterator[Breach]:
    selector = case.policy.spec.nic_selector
    given = {
        "vendor": selector.vendor,
        "deviceID": selector.device_id,
        "pfNames": selector.pf_names,
        "rootDevices": selector.root_devices,
    }
    others = [name for name, value in given.items() if value]
    if selector.net_filter and others:
        yield Breach(f"netFilter stands alone, and {', '.join(others)} {'is' if len(others) == 1 else 'are'} given too")


def _net_filter_form(case: Case) -> Iterator[Breach]:
    text = case.policy.spec.nic_selector.net_filter
    if text and not net_filter_matches(text, text):
        yield Breach(f"{text!r} is not key:value, and so selects no NIC")


def _net_filter_eswitch(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.nic_selector.net_filter and spec.eswitch_mode is not None:
        yield Breach(f"{spec.eswitch_mode} is asked for, and a NIC selected by netFilter has no eswitch")


def _net_filter_bridge(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.nic_selector.net_filter and _has_bridge(spec):
        yield Breach("a bridge is asked for, and a NIC selected by netFilter can have none")


def _net_filter_link(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.nic_selector.net_filter and not _ethernet(spec):
        yield Breach(f"{spec.link_type} is asked for, and a NIC selected by netFilter is eth or ETH")


def _range_inside(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    for index, text in enumerate(spec.nic_selector.pf_names):
        found = PfName.parse(text).vf_range
        if found is not None and 0 < spec.num_vfs <= found.last:
            yield Breach(
                f"VF range {found} goes beyond numVfs {spec.num_vfs} (indices 0 to {spec.num_vfs - 1})",
                field=f"spec.nicSelector.pfNames[{index}]",
            )


def _pf_repeated(case: Case) -> Iterator[Breach]:
    first: dict[str, str] = {}
    for index, text in enumerate(case.policy.spec.nic_selector.pf_names):
        name = PfName.parse(text).name
        if name in first:
            yield Breach(
                f"{text!r} has no effect: of one PF the first entry counts, {first[name]!r}",
                field=f"spec.nicSelector.pfNames[{index}]",
            )
        first.setdefault(name, text)


def _root_device_form(case: Case) -> Iterator[Breach]:
    for index, text in enumerate(case.policy.spec.nic_selector.root_devices):
        try:
            address = str(PciAddress.parse(text))
        except RequestError:
            address = ""
        if address != text:
            meant = f" (did you mean {address}?)" if address else ""
            yield Breach(
                f"{text!r} is not an address as node states have it, like 0000:3b:00.1, and selects no NIC{meant}",
                field=f"spec.nicSelector.rootDevices[{index}]",
            )


def _no_vfs(case: Case) -> Iterator[Breach]:
    if case.policy.spec.num_vfs == 0:
        yield Breach("is 0, and a policy makes at least 1 VF")


def _vfio_rdma(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.device_type is DeviceType.VFIO_PCI and spec.is_rdma:
        yield Breach("is true, and a VF with deviceType vfio-pci has no RDMA device")


def _switchdev_link(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.eswitch_mode is EswitchMode.SWITCHDEV and not _ethernet(spec):
        yield Breach(f"{spec.link_type} is asked for, and eSwitchMode switchdev needs eth or ETH")


def _vdpa_device_type(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.vdpa_type is not None and spec.device_type is not DeviceType.NETDEVICE:
        yield Breach(f"{spec.vdpa_type} is asked for with deviceType {spec.device_type}, and vDPA needs netdevice")


def _vdpa_eswitch(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if spec.vdpa_type is not None and spec.eswitch_mode is not EswitchMode.SWITCHDEV:
        yield Breach(f"{spec.vdpa_type} is asked for with eSwitchMode {_mode(spec)}, and vDPA needs switchdev")


def _bridge_eswitch(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if _has_bridge(spec) and spec.eswitch_mode is not EswitchMode.SWITCHDEV:
        yield Breach(f"is asked for with eSwitchMode {_mode(spec)}, and a bridge needs switchdev")


def _bridge_managed(case: Case) -> Iterator[Breach]:
    spec = case.policy.spec
    if _has_bridge(spec) and spec.externally_managed:
        yield Breach("is asked for with externallyManaged, and a PF that others manage is put into no bridge")


def _bridge_keys(case: Case) -> Iterator[Breach]:
    if (fault := bridge_keys_fault(case.policy.spec)) is not None:
        yield Breach(fault.message, field=fault.field)


def _namespace(case: Case) -> Iterator[Breach]:
    namespace, used = case.policy.metadata.namespace, case.view.operator_namespace
    if namespace and namespace != used:
        yield Breach(f"is {namespace}, and only policies in {used} have an effect")


def _has_bridge(spec: PolicySpec) -> bool:
    return spec.bridge is not None and spec.bridge.ovs is not None


def _ethernet(spec: PolicySpec) -> bool:
    return spec.link_type is None or spec.link_type.lower() == "eth"


def _mode(spec: PolicySpec) -> str:
    return spec.eswitch_mode.value if spec.eswitch_mode is not None else "legacy (the default)"


POLICY_RULES = (
    Rule(
        id="ResourceNameInvalid",
        kinds=_KIND,
        field="spec.resourceName",
        holds="`resourceName` has 1 to 63 letters, digits, `-` or `_`, with a letter or digit at both ends.",
        hint="choose a name like dpdk_nics or net-1; it is offered to pods as <prefix>/<resourceName>",
        reads=("resourceName",),
        check=_resource_name,
    ),
    Rule(
        id="NicSelectorEmpty",
        kinds=_KIND,
        field="spec.nicSelector",
        holds="`nicSelector` has at least one part.",
        hint="give at least one of vendor, deviceID, rootDevices, pfNames, netFilter",
        reads=("nicSelector",),
        check=_selector_empty,
    ),
    Rule(
        id="NumVfsZero",
        kinds=_KIND,
        field="spec.numVfs",
        holds="`numVfs` is at least 1. A policy that makes no VFs adds nothing and takes nothing from others.",
        hint="set the number of VFs of each selected PF, or delete the policy",
        reads=("numVfs",),
        check=_no_vfs,
    ),
    Rule(
        id="VfRangeBeyondNumVfs",
        kinds=_KIND,
        field="spec.nicSelector.pfNames[]",
        holds="The last index of a VF range is smaller than `numVfs`.",
        hint="raise spec.numVfs, or lower the range",
        reads=("nicSelector.pfNames", "numVfs"),
        check=_range_inside,
    ),
    Rule(
        id="PfNameRepeated",
        kinds=_KIND,
        field="spec.nicSelector.pfNames[]",
        holds="Each PF is named once in `pfNames`; a second entry of the same PF has no effect.",
        hint="write one policy for each range of a PF",
        reads=("nicSelector.pfNames",),
        severity=Severity.WARNING,
        check=_pf_repeated,
    ),
    Rule(
        id="RootDeviceMalformed",
        kinds=_KIND,
        field="spec.nicSelector.rootDevices[]",
        holds="An entry of `rootDevices` is a full PCI address in lower case; others are equal to no PF's.",
        hint="write it as `virtfn discover` shows it; for a range of VFs use pfNames",
        reads=("nicSelector.rootDevices",),
        severity=Severity.WARNING,
        check=_root_device_form,
    ),
    Rule(
        id="NetFilterMalformed",
        kinds=_KIND,
        field="spec.nicSelector.netFilter",
        holds="`netFilter` has the form `key:value`.",
        hint="write it as the node state shows it, like openstack/NetworkID:<uuid>",
        reads=("nicSelector.netFilter",),
        severity=Severity.WARNING,
        check=_net_filter_form,
    ),
    Rule(
        id="NetFilterNotAlone",
        kinds=_KIND,
        field="spec.nicSelector.netFilter",
        holds="`netFilter` is not combined with `vendor`, `deviceID`, `pfNames` or `rootDevices`.",
        hint="take either netFilter or the others away",
        reads=("nicSelector",),
        check=_net_filter_alone,
    ),
    Rule(
        id="NetFilterEswitchMode",
        kinds=_KIND,
        field="spec.eSwitchMode",
        holds="With `netFilter` there is no `eSwitchMode`, not even legacy: the card is not this machine's.",
        hint="take eSwitchMode away",
        reads=("nicSelector.netFilter", "eSwitchMode"),
        check=_net_filter_eswitch,
    ),
    Rule(
        id="NetFilterBridge",
        kinds=_KIND,
        field="spec.bridge",
        holds="With `netFilter` there is no `bridge`.",
        hint="take bridge away",
        reads=("nicSelector.netFilter", "bridge"),
        check=_net_filter_bridge,
    ),
    Rule(
        id="NetFilterLinkType",
        kinds=_KIND,
        field="spec.linkType",
        holds="With `netFilter`, `linkType` is `eth`, `ETH` or absent.",
        hint="set eth, or take linkType away",
        reads=("nicSelector.netFilter", "linkType"),
        check=_net_filter_link,
    ),
    Rule(
        id="VfioPciWithRdma",
        kinds=_KIND,
        field="spec.isRdma",
        holds="`deviceType: vfio-pci` is not combined with `isRdma: true`: RDMA needs the kernel's driver on the VF.",
        hint="set deviceType netdevice, or isRdma false",
        reads=("deviceType", "isRdma"),
        check=_vfio_rdma,
    ),
    Rule(
        id="SwitchdevLinkType",
        kinds=_KIND,
        field="spec.linkType",
        holds="With `eSwitchMode: switchdev`, `linkType` is `eth`, `ETH` or absent.",
        hint="set eth, or take eSwitchMode away",
        reads=("linkType", "eSwitchMode"),
        check=_switchdev_link,
    ),
    Rule(
        id="VdpaDeviceType",
        kinds=_KIND,
        field="spec.vdpaType",
        holds="`vdpaType` goes with `deviceType: netdevice` only.",
        hint="set deviceType netdevice, or take vdpaType away",
        reads=("vdpaType", "deviceType"),
        check=_vdpa_device_type,
    ),
    Rule(
        id="VdpaEswitchMode",
        kinds=_KIND,
        field="spec.vdpaType",
        holds="`vdpaType` needs `eSwitchMode: switchdev`.",
        hint="set eSwitchMode switchdev, or take vdpaType away",
        reads=("vdpaType", "eSwitchMode"),
        check=_vdpa_eswitch,
    ),
    Rule(
        id="BridgeEswitchMode",
        kinds=_KIND,
        field="spec.bridge",
        holds="`bridge` needs `eSwitchMode: switchdev`.",
        hint="set eSwitchMode switchdev, or take bridge away",
        reads=("bridge", "eSwitchMode"),
        check=_bridge_eswitch,
    ),
    Rule(
        id="BridgeExternallyManaged",
        kinds=_KIND,
        field="spec.bridge",
        holds="`bridge` is not combined with `externallyManaged`.",
        hint="take one of the two away",
        reads=("bridge", "externallyManaged"),
        check=_bridge_managed,
    ),
    Rule(
        id="BridgeOwnKeys",
        kinds=_KIND,
        field="spec.bridge",
        holds="`externalIDs` of a bridge and its uplink have no keys that begin with `virtfn.io/`.",
        hint="take it away",
        reads=("bridge",),
        check=_bridge_keys,
    ),
    Rule(
        id="PolicyInOtherNamespace",
        kinds=_KIND,
        field="metadata.namespace",
        holds="A policy is in the operator's namespace; policies elsewhere have no effect.",
        hint="create it in the operator's namespace",
        reads=(),
        needs=frozenset({Need.NAMESPACE}),
        severity=Severity.WARNING,
        check=_namespace,
    ),
)
