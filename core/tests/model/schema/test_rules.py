"""Every rule of the definitions, with objects that pass and objects that do not."""

from collections.abc import Callable
from typing import Any

import pytest

from virtfn.model.crd import KINDS, PfName
from virtfn.model.schema import RULES

Refusals = Callable[..., list[str]]

OVS = {"ovs": {}}
POLICY = {"resourceName": "r", "nodeSelector": {}, "numVfs": 4, "nicSelector": {"pfNames": ["ens1f0"]}}
ANCHOR = {"nodeSelector": {}, "numVfs": 0, "nicSelector": {}}
NETWORK = {"resourceName": "r"}
SWITCHDEV = {"eSwitchMode": "switchdev"}
ON_A_VM = {"nicSelector": {"netFilter": "openstack/NetworkID:1"}}


def selecting(**parts: Any) -> dict[str, Any]:
    return {"nicSelector": parts}


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("SriovNetworkNodePolicy", POLICY),
    ("SriovNetworkNodePolicy", ANCHOR),
    ("SriovNetworkNodePolicy", {**ANCHOR, "resourceName": ""}),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a-B_9"}),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a"}),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a" * 63}),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(vendor="8086")}),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(deviceID="158b")}),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(rootDevices=["0000:3b:00.0"])}),
    ("SriovNetworkNodePolicy", {**POLICY, **ON_A_VM}),
    ("SriovNetworkNodePolicy", {**POLICY, **ON_A_VM, "linkType": "ETH", "deviceType": "vfio-pci"}),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(netFilter="a:b", vendor="", pfNames=[])}),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(pfNames=["ens1f0#0-0", "a-b-c#3-3", "x#00-03"])}),
    ("SriovNetworkNodePolicy", {**POLICY, "deviceType": "vfio-pci"}),
    ("SriovNetworkNodePolicy", {**POLICY, "deviceType": "vfio-pci", "isRdma": False}),
    ("SriovNetworkNodePolicy", {**POLICY, "isRdma": True, "linkType": "IB"}),
    ("SriovNetworkNodePolicy", {**POLICY, **SWITCHDEV, "linkType": "eth"}),
    ("SriovNetworkNodePolicy", {**POLICY, "eSwitchMode": "legacy", "linkType": "ib"}),
    ("SriovNetworkNodePolicy", {**POLICY, **SWITCHDEV, "vdpaType": "vhost"}),
    ("SriovNetworkNodePolicy", {**POLICY, **SWITCHDEV, "vdpaType": "virtio", "deviceType": "netdevice"}),
    ("SriovNetworkNodePolicy", {**POLICY, **SWITCHDEV, "bridge": OVS, "externallyManaged": False}),
    ("SriovNetworkNodePolicy", {**POLICY, "bridge": {}, "externallyManaged": True}),
    ("SriovNetwork", NETWORK),
    ("SriovNetwork", {**NETWORK, "vlan": 0, "vlanQoS": 0, "vlanProto": "802.1q"}),
    ("SriovNetwork", {**NETWORK, "vlan": 5, "vlanQoS": 7, "vlanProto": "802.1AD"}),
    ("SriovNetwork", {**NETWORK, "minTxRate": 10}),
    ("SriovNetwork", {**NETWORK, "minTxRate": 10, "maxTxRate": 0}),
    ("SriovNetwork", {**NETWORK, "minTxRate": 10, "maxTxRate": 10}),
    ("SriovIBNetwork", NETWORK),
    ("OVSNetwork", {**NETWORK, "trunk": [{"id": 0}, {"minID": 0, "maxID": 0}, {"id": 9, "minID": 1, "maxID": 4095}]}),
    ("SriovNetworkPoolConfig", {}),
    ("SriovNetworkPoolConfig", {"ovsHardwareOffloadConfig": {"name": "pool"}, "rdmaMode": "shared"}),
    ("SriovNetworkPoolConfig", {"ovsHardwareOffloadConfig": {}, "maxUnavailable": 1, "nodeSelector": {}}),
    ("SriovNetworkPoolConfig", {"maxUnavailable": 0}),
    ("SriovNetworkPoolConfig", {"maxUnavailable": "1%"}),
    ("SriovNetworkPoolConfig", {"maxUnavailable": "100%"}),
    (
        "SriovNetworkPoolConfig",
        {
            "nodeSelector": {
                "matchLabels": {"a": "b"},
                "matchExpressions": [
                    {"key": "k", "operator": "In", "values": ["v"]},
                    {"key": "k", "operator": "Exists"},
                    {"key": "k", "operator": "DoesNotExist", "values": []},
                ],
            }
        },
    ),
    ("SriovOperatorConfig", {}),
    ("SriovOperatorConfig", {"featureGates": {"someday": True}, "disablePlugins": ["some-vendor"], "logLevel": 2}),
]

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("SriovNetworkNodePolicy", {**ANCHOR, "numVfs": 1, **selecting(vendor="8086")}, ".resourceName", "is required"),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": ""}, ".resourceName", "is required"),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a.b"}, ".resourceName", "letters, digits"),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "_a"}, ".resourceName", "letters, digits"),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a-"}, ".resourceName", "letters, digits"),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a/b"}, ".resourceName", "letters, digits"),
    ("SriovNetworkNodePolicy", {**POLICY, "resourceName": "a" * 64}, ".resourceName", "1 to 63"),
    ("SriovNetworkNodePolicy", {**POLICY, "nicSelector": {}}, ".nicSelector", "selects nothing"),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(vendor="", pfNames=[])}, ".nicSelector", "selects nothing"),
    *(
        (
            "SriovNetworkNodePolicy",
            {**POLICY, **selecting(netFilter="a:b", **{part: value})},
            ".nicSelector.netFilter",
            "goes with no other part",
        )
        for part, value in {
            "vendor": "8086",
            "deviceID": "158b",
            "rootDevices": ["0000:3b:00.0"],
            "pfNames": ["a"],
        }.items()
    ),
    *(
        ("SriovNetworkNodePolicy", {**POLICY, **selecting(pfNames=["ok", name])}, ".nicSelector.pfNames[1]", gist)
        for name, gist in {
            "": "must be a PF's name",
            "#0-1": "must be a PF's name",
            "a#": "must be a PF's name",
            "a#1": "must be a PF's name",
            "a#1-": "must be a PF's name",
            "a#-1-2": "must be a PF's name",
            "a#0-1#2-3": "must be a PF's name",
            "a#0-123456": "must be a PF's name",
            "a#x-y": "must be a PF's name",
            "a#2-1": "smaller than the first",
        }.items()
    ),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(pfNames=["a#0-4"])}, ".nicSelector.pfNames", "beyond numVfs"),
    ("SriovNetworkNodePolicy", {**POLICY, **selecting(pfNames=["b", "a-1#4-4"])}, ".nicSelector.pfNames", "beyond"),
    ("SriovNetworkNodePolicy", {**POLICY, **ON_A_VM, "eSwitchMode": "legacy"}, ".eSwitchMode", "no eswitch"),
    ("SriovNetworkNodePolicy", {**POLICY, **ON_A_VM, **SWITCHDEV, "bridge": OVS}, ".bridge", "no eswitch"),
    ("SriovNetworkNodePolicy", {**POLICY, **ON_A_VM, "linkType": "ib"}, ".linkType", "that netFilter selects"),
    ("SriovNetworkNodePolicy", {**POLICY, "deviceType": "vfio-pci", "isRdma": True}, ".isRdma", "vfio-pci"),
    ("SriovNetworkNodePolicy", {**POLICY, **SWITCHDEV, "linkType": "IB"}, ".linkType", "switchdev"),
    ("SriovNetworkNodePolicy", {**POLICY, "vdpaType": "virtio"}, ".vdpaType", "needs eSwitchMode switchdev"),
    (
        "SriovNetworkNodePolicy",
        {**POLICY, **SWITCHDEV, "vdpaType": "virtio", "deviceType": "vfio-pci"},
        ".vdpaType",
        "needs deviceType netdevice",
    ),
    ("SriovNetworkNodePolicy", {**POLICY, "bridge": OVS}, ".bridge", "needs eSwitchMode switchdev"),
    ("SriovNetworkNodePolicy", {**POLICY, **SWITCHDEV, "bridge": OVS, "linkType": "ib"}, ".bridge", "Ethernet"),
    (
        "SriovNetworkNodePolicy",
        {**POLICY, **SWITCHDEV, "bridge": OVS, "externallyManaged": True},
        ".bridge",
        "externally managed",
    ),
    ("SriovNetwork", {**NETWORK, "vlanQoS": 1}, ".vlanQoS", "other than 0"),
    ("SriovNetwork", {**NETWORK, "vlanQoS": 1, "vlan": 0}, ".vlanQoS", "other than 0"),
    ("SriovNetwork", {**NETWORK, "vlanProto": "802.1ad"}, ".vlanProto", "other than 0"),
    ("SriovNetwork", {**NETWORK, "minTxRate": 11, "maxTxRate": 10}, ".minTxRate", "larger than maxTxRate"),
    ("OVSNetwork", {**NETWORK, "trunk": [{"minID": 1}]}, ".trunk[0]", "go together"),
    ("OVSNetwork", {**NETWORK, "trunk": [{"id": 3, "maxID": 1}]}, ".trunk[0]", "go together"),
    ("OVSNetwork", {**NETWORK, "trunk": [{"minID": 2, "maxID": 1}]}, ".trunk[0].minID", "larger than maxID"),
    ("OVSNetwork", {**NETWORK, "trunk": [{"id": 1}, {}]}, ".trunk[1]", "is empty"),
    *(
        (
            "SriovNetworkPoolConfig",
            {"ovsHardwareOffloadConfig": {"name": "pool"}, **other},
            ".ovsHardwareOffloadConfig",
            "goes with neither",
        )
        for other in ({"maxUnavailable": 0}, {"nodeSelector": {}})
    ),
    *(
        ("SriovNetworkPoolConfig", {"maxUnavailable": value}, ".maxUnavailable", "whole number from 0, or a share")
        for value in (-1, "0%", "101%", "5", "", "x%", "1.5%", " 5%")
    ),
    *(
        (
            "SriovNetworkPoolConfig",
            {"nodeSelector": {"matchExpressions": [{"key": "k", **part}]}},
            ".nodeSelector.matchExpressions[0].values",
            "In and NotIn need values",
        )
        for part in ({"operator": "In"}, {"operator": "NotIn", "values": []}, {"operator": "Exists", "values": ["v"]})
    ),
]


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED)
def test_accepted(refusals: Refusals, kind: str, spec: dict[str, Any]) -> None:
    assert refusals(kind, spec) == []


@pytest.mark.parametrize(("kind", "spec", "field", "gist"), REFUSED)
def test_refused(refusals: Refusals, kind: str, spec: dict[str, Any], field: str, gist: str) -> None:
    told = refusals(kind, spec)
    assert [line for line in told if line.startswith(f".spec{field}: ") and gist in line], told


def test_every_rule_refuses_something_here(refusals: Refusals) -> None:
    told = {line.split(": ", 1)[1] for kind, spec, _, _ in REFUSED for line in refusals(kind, spec)}
    assert {rule.message for rule in RULES} - told == set()


def test_every_rule_is_about_a_field_of_a_model(kinds_text: str) -> None:
    assert [rule for rule in RULES if rule.message not in kinds_text] == []


@pytest.fixture(scope="module")
def kinds_text() -> str:
    from virtfn.model.schema import reference_markdown

    return reference_markdown()


@pytest.mark.parametrize("text", ["a", "a#0-3", "a-b#3-3", "", "#1-2", "a#", "a#1", "a#3-1", "a#1-2-3", "a#1-2#3-4"])
def test_the_rules_and_the_models_agree_on_names(refusals: Refusals, text: str) -> None:
    from virtfn.errors import BadVfRange

    try:
        PfName.parse(text)
        parsed = True
    except BadVfRange:
        parsed = False
    told = refusals("SriovNetworkNodePolicy", {**POLICY, "numVfs": 64, **selecting(pfNames=[text])})
    assert (told == []) == parsed


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED)
def test_the_models_accept_it_too(kind: str, spec: dict[str, Any]) -> None:
    given = {**spec, "resourceName": spec.get("resourceName") or "r"} if "numVfs" in spec else spec
    KINDS[kind].model_validate({"metadata": {"name": "a"}, "spec": given})
