"""Networks as NetworkAttachmentDefinitions: recorded cases, the worked example, and what must hold for any network."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.errors import InvalidDocument
from virtfn.model.crd import OVSNetwork, SriovIBNetwork, SriovNetwork
from virtfn.policy.networks import Action, action_on, may_delete, owner_of, owner_ref, render_network, target_namespace

DATA = Path(__file__).parent / "data"
KINDS = {kind.__name__: kind for kind in (SriovNetwork, SriovIBNetwork, OVSNetwork)}
RESOURCE = "k8s.v1.cni.cncf.io/resourceName"
OWNER = "sriovnetwork.openshift.io/owner-ref"


def cases(name):
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def network(kind="SriovNetwork", *, name="net1", namespace="virtfn", **spec):
    data = {"metadata": {"name": name, "namespace": namespace}, "spec": {"resourceName": "nics", **spec}}
    return KINDS[kind].model_validate(data)


def recorded(data):
    """The network of a recorded case. Where its resource name is empty, which is refused here, it gets one."""
    spec = data["spec"] if data["spec"]["resourceName"] else data["spec"] | {"resourceName": "unnamed"}
    return KINDS[data["kind"]].model_validate(data | {"spec": spec})


def config(made, **options):
    return render_network(made, resource_prefix="openshift.io", **options)["spec"]["config"]


def parsed(made, **options):
    return json.loads(config(made, **options))


# --- recorded cases -------------------------------------------------------------------------------------------------

BEFORE_DEFAULTS = ["TestRendering / simple", "TestRendering / chained"]
"""Recorded without the defaults that the API server fills in: there the log level is not set."""


@pytest.mark.parametrize("case", cases("network-render.json"), ids=lambda case: case["name"])
def test_recorded_rendering(case):
    data, expected = case["input"]["network"], case["expected"]
    if case["name"] in BEFORE_DEFAULTS:
        data["spec"]["logLevel"] = ""
    if "configParsed" not in expected:
        with pytest.raises(InvalidDocument, match=r"spec\.capabilities: not JSON"):
            render_network(recorded(data), resource_prefix=case["input"]["resourcePrefix"])
        return
    rendered = render_network(recorded(data), resource_prefix=case["input"]["resourcePrefix"])
    text = rendered["spec"].pop("config")
    expected["netAttDef"]["spec"].pop("config")
    assert rendered == expected["netAttDef"]
    # As text, so that the order of keys counts too.
    assert json.dumps(json.loads(text)) == json.dumps(expected["configParsed"])


@pytest.mark.parametrize("case", cases("network-config.json"), ids=lambda case: case["name"])
def test_recorded_config_to_the_letter(case):
    given_, expected = case["input"], case["expected"]
    made = recorded(given_["network"])
    rendered = render_network(
        made, resource_prefix=given_["resourcePrefix"], operator_namespace=given_["operatorNamespace"]
    )
    assert rendered["spec"]["config"] == expected["config"]
    if "resourceName" in expected:
        assert rendered["metadata"]["annotations"][RESOURCE] == expected["resourceName"]


# --- the definition -------------------------------------------------------------------------------------------------


def test_worked_example():
    made = network(
        namespace="kube-system",
        resourceName="intelnics",
        vlan=10,
        spoofChk="on",
        trust="off",
        linkState="auto",
        maxTxRate=100,
        minTxRate=0,
        ipam='{"type": "host-local", "subnet": "10.1.0.0/24"}',
        networkNamespace="apps",
    )
    rendered = render_network(made, resource_prefix="openshift.io", operator_namespace="kube-system")
    text = rendered["spec"].pop("config")
    assert rendered == {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": "net1",
            "namespace": "apps",
            "annotations": {
                RESOURCE: "openshift.io/intelnics",
                OWNER: "SriovNetwork.sriovnetwork.openshift.io/kube-system/net1",
            },
        },
        "spec": {},
    }
    assert json.dumps(json.loads(text), separators=(",", ":")) == (
        '{"cniVersion":"1.0.0","name":"net1","type":"sriov","vlan":10,"spoofchk":"on","trust":"off","vlanQoS":0,'
        '"min_tx_rate":0,"max_tx_rate":100,"link_state":"auto","logLevel":"info",'
        '"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}'
    )


def test_every_key_of_an_ethernet_network_in_order():
    made = network(
        vlan=7,
        vlanQoS=3,
        vlanProto="802.1ad",
        spoofChk="off",
        trust="on",
        linkState="enable",
        minTxRate=1,
        maxTxRate=2,
        capabilities='{"mac": true}',
        logLevel="debug",
        logFile='/var/log/"sriov".log',
        ipam='{"type": "dhcp"}',
    )
    assert list(parsed(made).items()) == [
        ("cniVersion", "1.0.0"),
        ("name", "net1"),
        ("type", "sriov"),
        ("vlan", 7),
        ("spoofchk", "off"),
        ("trust", "on"),
        ("vlanQoS", 3),
        ("vlanProto", "802.1ad"),
        ("min_tx_rate", 1),
        ("max_tx_rate", 2),
        ("capabilities", {"mac": True}),
        ("link_state", "enable"),
        ("logLevel", "debug"),
        ("logFile", '/var/log/"sriov".log'),
        ("ipam", {"type": "dhcp"}),
    ]


def test_every_key_of_an_ovs_network_in_order():
    made = network(
        "OVSNetwork",
        capabilities='{"mac": true}',
        bridge='br "1"',
        vlan=5,
        mtu=9000,
        trunk=[{"id": 0}, {"maxID": 9, "minID": 3}, {}],
        interfaceType="dpdk",
    )
    expected = {
        "cniVersion": "1.0.0",
        "name": "net1",
        "type": "ovs",
        "capabilities": {"mac": True},
        "bridge": 'br "1"',
        "vlan": 5,
        "mtu": 9000,
        "trunk": [{"id": 0}, {"minID": 3, "maxID": 9}, {}],
        "interface_type": "dpdk",
        "ipam": {},
    }
    assert json.dumps(parsed(made)) == json.dumps(expected)


def test_an_infiniband_network_knows_no_vlan():
    made = network("SriovIBNetwork", linkState="disable", capabilities='{"infinibandGUID": true}')
    expected = {"cniVersion": "1.0.0", "name": "net1", "type": "ib-sriov"}
    expected |= {"capabilities": {"infinibandGUID": True}, "link_state": "disable", "ipam": {}}
    assert json.dumps(parsed(made)) == json.dumps(expected)


def test_another_cni_version():
    assert parsed(network(), cni_version="0.3.1")["cniVersion"] == "0.3.1"


@pytest.mark.parametrize("kind", KINDS)
def test_meta_plugins_make_a_list_of_plugins(kind):
    made = network(kind, metaPlugins='{"type": "rdma"},\n{"type": "tuning", "sysctl": {"a b": "it\'s 1"}}')
    assert list(parsed(made)) == ["cniVersion", "name", "plugins"]
    first, *others = parsed(made)["plugins"]
    assert {"type", "ipam"} <= set(first)
    assert others == [{"type": "rdma"}, {"type": "tuning", "sysctl": {"a b": "it's 1"}}]


def test_raw_json_is_kept_as_it_was_written_and_laid_out_anew():
    made = network("SriovIBNetwork", ipam='{"z": "a  b", "a":1.50,\n\n"a": 2, "it\'s":[ ]}')
    assert config(made) == (
        '{\n    "cniVersion": "1.0.0",\n    "name": "net1",\n    "type": "ib-sriov",\n    "ipam": {\n'
        '        "z": "a  b",\n        "a": 1.50,\n        "a": 2,\n        "it\'s": []\n    }\n}'
    )


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("capabilities", "foo", "not JSON: Expecting value (line 1, column 1 of the text"),
        ("ipam", '{\n "type": "x"\n "subnet": 1}', "(line 3, column 2 of the text; one JSON object is allowed here"),
        ("ipam", "[]", "[] is not an object"),
        ("metaPlugins", '{"type": "a"} {"type": "b"}', "a comma is missing between two objects (line 1, column 15"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_malformed_json_is_named_with_its_field_and_place(kind, field, text, said):
    with pytest.raises(InvalidDocument) as refused:
        render_network(network(kind, **{field: text}), resource_prefix="openshift.io")
    assert refused.value.field == f"spec.{field}"
    assert str(refused.value).startswith(f"{kind} virtfn/net1: spec.{field}: ")
    assert said in str(refused.value)


# --- where it belongs, and whose it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "named", "expected"),
    [("virtfn", "apps", "apps"), ("virtfn", "", "virtfn"), ("apps", "", "apps"), ("apps", "other", None)],
)
def test_the_target_namespace(namespace, named, expected):
    made = network(namespace=namespace, networkNamespace=named)
    if expected is not None:
        assert target_namespace(made, operator_namespace="virtfn") == expected
        return
    with pytest.raises(InvalidDocument, match="networkNamespace cannot be set") as refused:
        render_network(made, resource_prefix="openshift.io", operator_namespace="virtfn")
    assert refused.value.field == "spec.networkNamespace"
    assert target_namespace(made) == named


def definition(made, **changes):
    rendered = render_network(made, resource_prefix="openshift.io")
    # As the API server gives it back.
    rendered["metadata"] |= {"uid": "1", "resourceVersion": "7", "ownerReferences": []}
    return rendered | changes


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (None, Action.CREATE),
        (definition(network()), Action.KEEP),
        (definition(network(vlan=3)), Action.UPDATE),
        (definition(network(resourceName="other")), Action.UPDATE),
        (definition(network(), metadata={"name": "net1", "namespace": "virtfn"}), Action.UPDATE),
        (definition(network(), metadata={"annotations": {OWNER: ""}}), Action.UPDATE),
        (definition(network("SriovIBNetwork")), Action.REFUSE),
        (definition(network(namespace="apps")), Action.REFUSE),
        ({"metadata": {"annotations": None}}, Action.UPDATE),
    ],
)
def test_what_to_do_about_an_existing_definition(existing, expected):
    assert action_on(existing, render_network(network(), resource_prefix="openshift.io")) is expected


def test_only_what_is_the_networks_own_goes_with_it():
    made = network()
    assert owner_ref(made) == "SriovNetwork.sriovnetwork.openshift.io/virtfn/net1"
    assert owner_of(definition(made)) == owner_ref(made)
    assert may_delete(definition(made), made)
    assert not may_delete(definition(network("OVSNetwork")), made)
    assert not may_delete({"metadata": {"name": "net1"}}, made)


# --- any network ----------------------------------------------------------------------------------------------------

KEYS = st.text('ab"\\ é,{}', max_size=5)
JSON_OBJECTS = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    ipam=JSON_OBJECTS,
    capabilities=JSON_OBJECTS,
    chained=st.lists(JSON_OBJECTS, max_size=3),
    indent=st.sampled_from([None, 2]),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    number=st.integers(0, 4094),
)
def test_any_network_is_valid_json_that_keeps_its_values(kind, ipam, capabilities, chained, indent, text, number):
    own = {"SriovNetwork": {"logFile": text}, "OVSNetwork": {"bridge": text, "interfaceType": text}}.get(kind, {})
    if kind != "SriovIBNetwork":
        own["vlan"] = number
    made = network(
        kind,
        ipam=json.dumps(ipam, indent=indent),
        capabilities=json.dumps(capabilities, indent=indent, ensure_ascii=False),
        metaPlugins=" , ".join(json.dumps(plugin, indent=indent) for plugin in chained),
        **own,
    )
    whole = parsed(made)
    plugin, *others = whole.get("plugins", [whole])
    assert others == chained
    assert plugin["ipam"] == ipam
    assert list(plugin["ipam"]) == list(ipam)
    assert plugin["capabilities"] == capabilities
    keys = {"logFile": "logFile", "bridge": "bridge", "interfaceType": "interface_type"}
    for field, value in own.items():
        if field == "vlan":
            assert plugin.get("vlan", 0) == number
        else:
            assert plugin.get(keys[field], "") == value
    assert json.dumps(whole, indent=4) == json.dumps(json.loads(config(made)), indent=4)
    assert config(made).count("\n    ") >= len(whole)
