"""Whatever is done to a document, what comes of it is an object, a problem, or an error of virtfn's own; never another.

    VIRTFN_FUZZ=20000 python -m pytest core/tests/policy/test_fuzz.py      more than the usual number
    VIRTFN_FUZZ_SEED=7 ...                                                 others than the usual ones

`bench/fuzz_documents.py` runs the same for longer. A failure shows the mutated text and what was done to it.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from virtfn.errors import VirtfnError
from virtfn.model import Adapter, Inventory, PciAddress, PciId, Pf, Problem
from virtfn.model.crd import KINDS, CustomResource, SriovNetworkNodePolicy, SriovNetworkNodeState
from virtfn.policy import desired_state, load_documents, render_device_plugin_config, render_node_state
from virtfn.policy.networks import render_network
from virtfn.policy.validation import Cluster, validate

COUNT = int(os.environ.get("VIRTFN_FUZZ", "2000"))
SEED = int(os.environ.get("VIRTFN_FUZZ_SEED", "1"))
API = "sriovnetwork.openshift.io/v1"
PF_ADDRESS = "0000:3b:00.0"

OVS_BRIDGE = {"datapathType": "netdev", "externalIDs": {"a": "b"}, "otherConfig": {"c": "d"}, "failMode": "secure"}
OVS_INTERFACE = {
    "type": "dpdk",
    "options": {"e": "f"},
    "externalIDs": {},
    "otherConfig": {"g": "h"},
    "mtuRequest": 9000,
}
CONDITION = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-02T03:04:05Z",
    "reason": "Done",
    "message": "done",
}
STATUS = {"conditions": [CONDITION]}
NETWORK = {
    "networkNamespace": "apps",
    "resourceName": "r",
    "capabilities": '{"mac": true}',
    "ipam": '{"type": "host-local", "subnet": "10.1.0.0/24"}',
    "metaPlugins": '{"type": "tuning"}, {"type": "rdma"}',
}
SPECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SriovNetworkNodePolicy": (
        {
            "resourceName": "r",
            "nodeSelector": {"kubernetes.io/hostname": "node-1"},
            "priority": 5,
            "mtu": 9000,
            "numVfs": 8,
            "nicSelector": {
                "vendor": "15b3",
                "deviceID": "1017",
                "rootDevices": [PF_ADDRESS],
                "pfNames": ["ens1f0#2-5", "ens1f1"],
                "netFilter": "",
            },
            "deviceType": "netdevice",
            "isRdma": True,
            "needVhostNet": True,
            "linkType": "eth",
            "eSwitchMode": "switchdev",
            "vdpaType": "virtio",
            "excludeTopology": True,
            "externallyManaged": False,
            "driftMode": "Report",
            "bridge": {"ovs": {"bridge": OVS_BRIDGE, "uplink": {"interface": OVS_INTERFACE}}},
        },
        {
            "observedGeneration": 3,
            "matchedNodes": 1,
            "matchedNICs": 1,
            "nodes": [
                {"name": "node-1", "pfs": [{"pciAddress": PF_ADDRESS, "name": "ens1f0", "vfRange": "2-5"}]},
                {"name": "node-2", "mismatch": {"field": "spec.nicSelector.vendor", "message": "vendor is 8086"}},
            ],
            **STATUS,
        },
    ),
    "SriovNetworkNodeState": (
        {
            "interfaces": [
                {
                    "pciAddress": PF_ADDRESS,
                    "numVfs": 8,
                    "mtu": 9000,
                    "name": "ens1f0",
                    "linkType": "eth",
                    "eSwitchMode": "switchdev",
                    "externallyManaged": False,
                    "driftMode": "RepairIfFree",
                    "vfGroups": [
                        {
                            "resourceName": "r",
                            "deviceType": "netdevice",
                            "vfRange": "2-5",
                            "policyName": "p",
                            "mtu": 9000,
                            "isRdma": True,
                            "vdpaType": "virtio",
                            "needVhostNet": True,
                            "excludeTopology": True,
                        },
                        {"resourceName": "s", "vfRange": "6-7", "deviceType": "vfio-pci"},
                    ],
                }
            ],
            "bridges": {
                "ovs": [
                    {
                        "name": "br-1",
                        "bridge": OVS_BRIDGE,
                        "uplinks": [{"pciAddress": PF_ADDRESS, "name": "ens1f0", "interface": OVS_INTERFACE}],
                    }
                ]
            },
            "system": {"rdmaMode": "shared"},
            "dpConfigVersion": "12",
        },
        {
            "interfaces": [
                {
                    "pciAddress": PF_ADDRESS,
                    "name": "ens1f0",
                    "mac": "00:11:22:33:44:55",
                    "driver": "mlx5_core",
                    "vendor": "15b3",
                    "deviceID": "1017",
                    "mtu": 1500,
                    "numVfs": 1,
                    "totalvfs": 8,
                    "linkSeed": "25000Mb/s",
                    "linkType": "ETH",
                    "linkAdminState": "up",
                    "eSwitchMode": "legacy",
                    "altNames": ["data0"],
                    "Vfs": [
                        {"pciAddress": "0000:3b:00.2", "vfID": 0, "vendor": "15b3", "deviceID": 1018, "Vlan": 3},
                        {"pciAddress": "0000:3b:00.3", "mtu": 1500, "guid": "0011:2233:4455:6677"},
                    ],
                }
            ],
            "bridges": {"ovs": [{"name": "br-1"}]},
            "system": {"rdmaMode": "shared"},
            "syncStatus": "Succeeded",
            "lastSyncError": "",
            **STATUS,
        },
    ),
    "SriovNetwork": (
        {
            **NETWORK,
            "vlan": 10,
            "vlanQoS": 3,
            "vlanProto": "802.1ad",
            "spoofChk": "on",
            "trust": "off",
            "linkState": "auto",
            "minTxRate": 0,
            "maxTxRate": 100,
            "logLevel": "debug",
            "logFile": "/var/log/sriov.log",
        },
        STATUS,
    ),
    "SriovIBNetwork": ({**NETWORK, "linkState": "enable"}, STATUS),
    "OVSNetwork": (
        {
            **NETWORK,
            "bridge": "br-1",
            "vlan": 10,
            "mtu": 1500,
            "trunk": [{"id": 5}, {"minID": 10, "maxID": 20}],
            "interfaceType": "dpdk",
        },
        STATUS,
    ),
    "SriovNetworkPoolConfig": (
        {
            "nodeSelector": {
                "matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
            },
            "ovsHardwareOffloadConfig": {"name": ""},
            "maxUnavailable": "30%",
            "rdmaMode": "exclusive",
        },
        STATUS,
    ),
    "SriovOperatorConfig": (
        {
            "configDaemonNodeSelector": {"a": "b"},
            "enableInjector": True,
            "enableOperatorWebhook": True,
            "logLevel": 2,
            "disableDrain": False,
            "enableOvsOffload": False,
            "configurationMode": "systemd",
            "useCDI": True,
            "disablePlugins": ["mellanox"],
            "featureGates": {"metricsExporter": True},
            "configDaemonEnvVars": {"A": "b"},
            "podEvictionPolicy": "evict",
            "podEvictionForce": False,
        },
        {"injector": "", "operatorWebhook": "", **STATUS},
    ),
}
"""A spec and a status of each kind, with every field."""

ODD_TEXT = (
    *("", " ", "\t", "0", "-1", "null", "true", "yes", "~", "=", "<<", "*", "&a", "!", "%", "@", "`", "{}", "[]", "#"),
    *("ens1f0#", "#0-1", "ens1f0#5-2", "ens1f0#0-99999999999999999999", "ens1f0#٣-٤", "ens1f0#0–3", "0x10", "1e3"),
    *("0000:3b:00.0", "0000:3B:00.0", "0:0:0", "12:34:56", "2026-01-02", "1018", "15B3", "ＦＦＦＦ", "15b3 ", "100%"),
    *("é", "e\u0301", "\u202eabc", "\u200b", "\ufeff", "\u2028", "\x85", "\x7f", "😀", "a" * 5000, "x\ny", "x\r\ny"),
    *(
        "{",
        '{"a": 1',
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 50,
        "'",
        '"',
        "\\",
        "\\u0000",
        "\\ud800",
        "${a}",
        "../../etc",
    ),
)
ODD_NUMBERS = (
    *(0, -1, 1, 2, 7, 8, 63, 64, 65535, 65536, 99, 100, 4094, 4096, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40),
    *(0.0, -0.0, 1.0, 1.5, 1e308, float("inf"), float("-inf"), float("nan")),
)
ODD_LINES = (
    *("!!python/object/apply:os.system ['true']", "!!binary aGVsbG8=", "!!set {a, b}", "!!timestamp 2026-01-02"),
    *("a: &a [*a]", "<<: *b", "<<: {spec: {}}", "? [a, b]\n: c", "---", "...", "%YAML 1.3", "key: |", "- - - -"),
    *("!local tag", "!!float NaN", "!!int '0o17'", "x: .nan", "x: .inf", "x: 1_000", "x: 0b101", "\t- tab", "\x00"),
    *("spec: {}", "kind: SriovNetwork", "kind: List", "items: []", "apiVersion: v1", "{[}]", "'unclosed", "\ufffe"),
)
Path = list[Any]


@dataclass
class Tally:
    """What came of all the mutations."""

    ends: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return ", ".join(f"{count} {end}" for end, count in self.ends.most_common())


class Unexpected(Exception):
    """An exception that is none of virtfn's own, or an object that does not stay what it is."""


def documents() -> list[dict[str, Any]]:
    """One whole document of each kind."""
    return [
        {
            "apiVersion": API,
            "kind": kind,
            "metadata": {"name": "node-1", "namespace": "kube-system", "labels": {"a": "b"}, "generation": 3},
            "spec": spec,
            "status": status,
        }
        for kind, (spec, status) in SPECS.items()
    ]


# --- mutations -------------------------------------------------------------------------------------------------------


def places(value: Any, at: Path | None = None) -> Iterator[Path]:
    """Paths of all values below this one."""
    at = at or []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield [*at, key]
        yield from places(item, [*at, key])


def odd_value(rng: random.Random, depth: int = 0) -> Any:
    """Anything but what is expected."""
    match rng.randrange(8 if depth < 4 else 5):
        case 0 | 1:
            return rng.choice(ODD_TEXT)
        case 2 | 3:
            return rng.choice(ODD_NUMBERS)
        case 4:
            return rng.choice((None, True, False))
        case 5:
            return [odd_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 6:
            return {rng.choice(ODD_TEXT): odd_value(rng, depth + 1) for _ in range(rng.randrange(3))}
        case _:
            nested: Any = odd_value(rng, depth + 1)
            for _ in range(rng.choice((1, 3, 40))):
                nested = [nested]
            return nested


def odd_name(rng: random.Random, name: Any) -> Any:
    """A name that is near to this one, or not at all."""
    text = str(name)
    cut = rng.randrange(len(text) + 1)
    return rng.choice(
        (
            text.swapcase(),
            text[:cut] + text[cut + 1 :],
            text[:cut] + "x" + text[cut:],
            text + " ",
            text + "s",
            rng.choice(ODD_TEXT),
            rng.choice(("spec", "status", "metadata", "numVfs", "interfaces")),
        )
    )


def retyped(rng: random.Random, value: Any) -> Any:
    """The same, as another type."""
    return rng.choice((str(value), [value], {"a": value}, {str(value)[:40]: value}, [value, value], [], {}, None))


def mutate(data: Any, rng: random.Random) -> str:
    """Do one thing to the data where it stands; says what."""
    # A status is large, and read leniently: more is to be found in a spec.
    inside = ["spec"] if isinstance(data, dict) and rng.random() < 0.6 else []
    path = rng.choice(list(places(data.get("spec"), inside) if inside else places(data)) or [[]])
    if not path:
        return "nothing"
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    last = path[-1]
    what = rng.choice(("delete", "odd", "odd", "retype", "rename", "double", "swap"))
    if what == "delete":
        del holder[last]
    elif what == "odd":
        holder[last] = odd_value(rng)
    elif what == "retype":
        holder[last] = retyped(rng, holder[last])
    elif what == "rename" and isinstance(holder, dict):
        holder[odd_name(rng, last)] = holder.pop(last)
    elif what == "double" and isinstance(holder, list):
        holder += [copy.deepcopy(holder[last]) for _ in range(rng.choice((1, 2, 300)))]
    else:
        other = rng.choice(list(places(data)))
        value = data
        for key in other:
            value = value[key]
        holder[last] = copy.deepcopy(value)
        what = f"swap with {other}"
    return f"{what} at {path}"


def scramble(text: str, rng: random.Random) -> tuple[str, str]:
    """Do one thing to the text."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    what = rng.choice(("line", "double line", "drop line", "indent", "character", "cut", "tag"))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    if what == "line":
        lines.insert(at, indent + rng.choice(ODD_LINES))
    elif what == "double line":
        lines.insert(at, lines[at])
    elif what == "drop line":
        del lines[at]
    elif what == "indent":
        lines[at] = rng.choice((" ", "\t", "  ")) + lines[at]
    elif what == "cut":
        lines = lines[: at + 1]
    elif what == "tag":
        name, mark, value = lines[at].partition(": ")
        lines[at] = f"{name}{mark}{rng.choice(ODD_LINES)} {value}"
    else:
        cut = rng.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:cut] + rng.choice(ODD_TEXT) + lines[at][cut + rng.randrange(2) :]
    return "\n".join(lines), f"{what} in line {at + 1}"


def to_text(data: Any, rng: random.Random) -> str:
    """As YAML, or as JSON, which allows for characters that YAML does not write."""
    if rng.random() < 0.3:
        return json.dumps(data, indent=rng.choice((None, 1)), ensure_ascii=rng.random() < 0.5)
    return str(yaml.dump(data, Dumper=yaml.CSafeDumper if rng.random() < 0.9 else yaml.SafeDumper, allow_unicode=True))


# --- what is tried ---------------------------------------------------------------------------------------------------


def inventory() -> Inventory:
    """A node with the PF that the documents name."""
    pf = Pf(address=PciAddress.parse(PF_ADDRESS), id=PciId("15b3", "1017"), driver="mlx5_core", total_vfs=8)
    return Inventory(adapters=(Adapter(address="0000:3b:00", pfs=(pf,)),))


def guarded(call: Callable[[], Any]) -> tuple[Any, str]:
    """What the call gives and `ok`, or None and the reason of virtfn's own error; every other error is `Unexpected`."""
    try:
        return call(), "ok"
    except VirtfnError as error:
        str(error).encode("utf-8", "backslashreplace")
        return None, error.reason
    except RecursionError as error:
        raise Unexpected(f"RecursionError: {error}") from error
    except Exception as error:
        raise Unexpected(f"{type(error).__name__}: {error}") from error


def check_problems(problems: Any) -> None:
    """All of them problems that can be printed and stored."""
    for problem in problems:
        if not isinstance(problem, Problem) or not problem.message:
            raise Unexpected(f"not a problem: {problem!r}")


def check_object(found: CustomResource) -> None:
    """An object that was read can be written, and read again to the same."""
    wire = found.to_wire()
    json.dumps(wire)
    if type(found).model_validate(wire).to_wire() != wire:
        raise Unexpected(f"what is written is read to something else: {wire}")


def try_text(text: str, tally: Tally, machine: Inventory) -> None:
    """Read a text, and do all that can be done with its objects."""
    loaded, end = guarded(lambda: load_documents(text, source="f.yaml"))
    tally.ends[f"text {end}"] += 1
    for document in loaded or ():
        if document.object is None:
            continue
        guarded(lambda found=document.object: check_object(found))
        if isinstance(document.object, SriovNetworkNodeState):
            use_state(document.object, tally, machine)
        elif isinstance(document.object, SriovNetworkNodePolicy):
            use_policy(document.object, tally, machine)
        elif document.kind.endswith("Network"):
            _, end = guarded(lambda found=document.object: render_network(found, resource_prefix="a.b"))
            tally.ends[f"network {end}"] += 1


def use_policy(policy: Any, tally: Tally, machine: Inventory) -> None:
    """Render a policy (an object, or plain data) for a node, and go on to the desired state."""
    state = {"metadata": {"name": "node-1"}, "status": SPECS["SriovNetworkNodeState"][1]}
    node = {"metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1"}}}
    rendered, end = guarded(lambda: render_node_state([policy], node, state))
    if rendered is None:
        raise Unexpected(f"one bad policy stops the node: {end}")
    check_problems(rendered.problems)
    tally.ends[f"policy {'refused' if rendered.problems else 'rendered'}"] += 1
    (_, problems), _ = guarded(lambda: desired_state(rendered.spec, machine))
    check_problems(problems)


def use_state(state: Any, tally: Tally, machine: Inventory) -> None:
    """Hold a node state (an object, or plain data) against a machine."""
    spec = state.spec if isinstance(state, SriovNetworkNodeState) else state.get("spec")
    desired, end = guarded(lambda: desired_state(spec, machine))
    tally.ends[f"state {end}"] += 1
    if desired is not None:
        check_problems(desired[1])
    _, end = guarded(lambda: render_device_plugin_config(state))
    tally.ends[f"config {end}"] += 1


def try_data(data: Any, tally: Tally, machine: Inventory) -> None:
    """The same with plain data, as the API server gives it, and admission."""
    if isinstance(data, dict) and data.get("kind") == "SriovNetworkNodePolicy":
        use_policy(data, tally, machine)
    if isinstance(data, dict) and data.get("kind") == "SriovNetworkNodeState":
        use_state(data, tally, machine)
        policy = documents()[0]
        rendered, _ = guarded(lambda: render_node_state([policy], None, data))
        if rendered is not None:
            check_problems(rendered.problems)
    first, second = documents()[:2]
    cluster = Cluster(policies=[first, data], nodes=[], states=[second, data], operator_namespace="kube-system")
    verdict, end = guarded(lambda: validate(data, cluster=cluster))
    if verdict is None:
        raise Unexpected(f"a verdict is never an error: {end}")
    check_problems(verdict.problems)
    tally.ends["refused by admission" if verdict.problems else "admitted"] += 1


def fuzz(count: int, seed: int) -> Tally:
    """Try `count` mutations of documents of all kinds; raises `Unexpected` with the text and what was done."""
    rng = random.Random(seed)
    tally, machine, sound = Tally(), inventory(), documents()
    for number in range(count):
        data: Any = copy.deepcopy(sound[number % len(sound)])
        done = [mutate(data, rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 4)))]
        text = "(as plain data)"
        try:
            try_data(copy.deepcopy(data), tally, machine)
            text = to_text(data, rng)
            if not done or rng.random() < 0.3:
                text, how = scramble(text, rng)
                done.append(how)
            try_text(text, tally, machine)
        except Unexpected as error:
            raise Unexpected(f"{error}\nmutation {number} of seed {seed}: {done}\n{data!r}\n{text[:4000]}") from error
    return tally


# --- the tests -------------------------------------------------------------------------------------------------------


def test_documents_have_every_field() -> None:
    for document in documents():
        kind = KINDS[document["kind"]]
        given = set(document["spec"])
        known = {part.alias or name for name, part in kind.model_fields["spec"].annotation.model_fields.items()}
        assert known - given == set(), kind
        assert kind.model_validate(document).to_wire()["kind"] == document["kind"]


def test_mutations_end_well() -> None:
    tally = fuzz(COUNT, SEED)
    assert {"text ok", "text InvalidDocument", "policy refused", "state ok", "network ok"} <= set(tally.ends), tally


@pytest.mark.parametrize("text", ODD_LINES)
def test_an_odd_line_alone_ends_well(text: str) -> None:
    try_text(text, Tally(), inventory())


def test_a_foreign_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(globals(), "desired_state", broken)
    with pytest.raises(Unexpected, match="ZeroDivisionError"):
        fuzz(20, 1)
