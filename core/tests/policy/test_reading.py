"""Each kind of fault in the words of the API: the field, what is allowed, what to do."""

import pytest

from virtfn.errors import BadVfRange, InvalidDocument
from virtfn.policy.reading import name_of, read_node_state, read_policy


def policy(**spec):
    base = {"resourceName": "r", "nodeSelector": {}, "numVfs": 1, "nicSelector": {"vendor": "15b3"}}
    return {"metadata": {"name": "a"}, "spec": {**base, **spec}}


@pytest.mark.parametrize(
    ("spec", "field", "gist"),
    [
        ({"numVfs": "abc"}, "spec.numVfs", "must be a whole number, got 'abc' (write it without quotes"),
        ({"numVfs": "4"}, "spec.numVfs", "must be a whole number, got '4'"),
        ({"numVfs": 1.5}, "spec.numVfs", "must be a whole number, got 1.5"),
        ({"numVfs": True}, "spec.numVfs", "must be a whole number, got true"),
        ({"numVfs": -1}, "spec.numVfs", "must be at least 0, got -1"),
        ({"numVfs": None}, "spec.numVfs", "is required and not given"),
        ({"nodeSelector": None}, "spec.nodeSelector", "{} selects every node"),
        ({"nodeSelector": {"a": True}}, "spec.nodeSelector.a", "must be text, got true (put it in quotes)"),
        ({"nodeSelector": {3: "a"}}, "spec.nodeSelector[3]", "must be text, got 3"),
        ({"nodeSelector": []}, "spec.nodeSelector", "must be a mapping, got []"),
        ({"resourceName": ""}, "spec.resourceName", "is required"),
        ({"resourceName": 3}, "spec.resourceName", "must be text, got 3"),
        ({"priority": 100}, "spec.priority", "must be at most 99, got 100"),
        ({"priority": -1}, "spec.priority", "must be at least 0"),
        ({"mtu": 0}, "spec.mtu", "must be at least 1"),
        ({"isRdma": "true"}, "spec.isRdma", "must be true or false, got 'true'"),
        ({"deviceType": "vfio"}, "spec.deviceType", "must be 'netdevice' or 'vfio-pci', got 'vfio'"),
        ({"linkType": "Eth"}, "spec.linkType", "must be 'eth', 'ETH', 'ib' or 'IB', got 'Eth'"),
        ({"eSwitchMode": "SWITCHDEV"}, "spec.eSwitchMode", "must be 'legacy' or 'switchdev'"),
        ({"vdpaType": "x"}, "spec.vdpaType", "must be 'virtio' or 'vhost'"),
        ({"eswitchMode": "legacy"}, "spec.eswitchMode", "unknown field (did you mean eSwitchMode?)"),
        ({"num_vfs": 3}, "spec.num_vfs", "unknown field (did you mean numVfs?)"),
        ({"zzz": 3}, "spec.zzz", "known here: bridge, deviceType"),
        ({"nicSelector": "15b3"}, "spec.nicSelector", "must be a mapping, got '15b3'"),
        ({"nicSelector": {"vendor": "0x15b3"}}, "spec.nicSelector.vendor", "four hex digits without 0x"),
        ({"nicSelector": {"deviceID": 154}}, "spec.nicSelector.deviceID", "must be text, got 154"),
        ({"nicSelector": {"vendor": True}}, "spec.nicSelector.vendor", "must be text, got true"),
        ({"nicSelector": {"pfNames": "ens1"}}, "spec.nicSelector.pfNames", "must be a list, got 'ens1'"),
        ({"nicSelector": {"pfName": []}}, "spec.nicSelector.pfName", "did you mean pfNames?"),
        ({"bridge": {"ovs": {"bridge": {"failMode": "x"}}}}, "spec.bridge.ovs.bridge.failMode", "'standalone'"),
        ({"numVfs": "x" * 99}, "spec.numVfs", "..."),
    ],
)
def test_faults(spec, field, gist):
    with pytest.raises(InvalidDocument) as caught:
        read_policy(policy(**spec))
    assert caught.value.field == field
    assert str(caught.value).startswith(f"SriovNetworkNodePolicy a: {field}: ")
    assert gist in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["ens1#", "ens1#2", "ens1#a-b", "ens1#3-1", "ens1#1-2-3", "ens1#0-1#2-3", "#0-1", "ens1#-1-2"]
)
def test_pf_names_with_bad_ranges(entry):
    with pytest.raises(BadVfRange) as caught:
        read_policy(policy(nicSelector={"pfNames": ["ens0", entry]}))
    assert caught.value.field == "spec.nicSelector.pfNames[1]"


def test_further_faults_are_named():
    with pytest.raises(InvalidDocument, match=r"spec\.numVfs: .*; also wrong: spec\.priority, spec\.mtu"):
        read_policy(policy(numVfs="x", priority=100, mtu=0))


@pytest.mark.parametrize("part", ["interfaces", "vfGroups"])
def test_node_states_are_read_strictly_too(part):
    entry = {"pciAddress": "0000:3b:00.0", "numVfs": 1, "vfGroups": [{"vfRange": "0-0"}]}
    (entry if part == "interfaces" else entry["vfGroups"][0])["mtuu"] = 3
    with pytest.raises(InvalidDocument, match=r"mtuu: unknown field \(did you mean mtu\?\)"):
        read_node_state({"metadata": {"name": "n"}, "spec": {"interfaces": [entry]}})


@pytest.mark.parametrize(
    ("data", "name"),
    [({"metadata": {"name": "a"}}, "a"), ({"metadata": None}, "(no name)"), ({}, "(no name)"), (3, "(no name)")],
)
def test_names_of_things_that_may_not_be_objects(data, name):
    assert name_of(data) == name
