"""The NIC selector, part by part, and the range a policy means."""

import pytest

from virtfn.model import VfRange
from virtfn.model.crd import NicSelector
from virtfn.policy.selection import (
    Mismatch,
    mismatch,
    net_filter_matches,
    node_mismatch,
    selects,
    selects_node,
    vf_range,
    vf_range_entry,
)


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ({"vendor": "8086"}, None),
        ({"vendor": "15b3"}, "vendor is 8086, not 15b3"),
        ({"deviceID": "158b"}, None),
        ({"deviceID": "158B"}, "deviceID is 158b, not 158B"),
        ({"vendor": "8086", "deviceID": "1017"}, "deviceID is 158b, not 1017"),
        ({"rootDevices": ["0000:86:00.0", "0000:86:00.1"]}, None),
        ({"rootDevices": ["86:00.1"]}, "not in rootDevices"),
        ({"pfNames": ["ens803f1"]}, None),
        ({"pfNames": ["x", "ens803f1#0-1"]}, None),
        ({"pfNames": ["data0#0-1"]}, None),
        ({"pfNames": ["ens803f"]}, "not in pfNames"),
        ({"netFilter": "a:b"}, "netFilter is unknown, not a:b"),
        ({"vendor": "8086", "pfNames": ["ens803f0"]}, "not in pfNames"),
        ({}, "nicSelector is empty"),
    ],
)
def test_all_given_parts_must_hold(make_nic, selector, why):
    found = NicSelector.model_validate(selector)
    nic = make_nic(altNames=["data0"])
    first = mismatch(found, nic)
    assert (str(first) if first else None) == why
    assert selects(found, nic) == (why is None)


def test_a_mismatch_tells_what_was_asked_for_and_what_is_there(make_nic):
    found = mismatch(NicSelector(vendor="8086", pfNames=("x", "y#0-1")), make_nic(altNames=["data0"]))
    assert found == Mismatch("pfNames", ("x", "y#0-1"), ("ens803f1", "data0"))


@pytest.mark.parametrize(
    ("labels", "first"),
    [
        ({"a": "1", "b": "2"}, None),
        ({"b": "2"}, Mismatch("a", ("1",))),
        ({"a": "1", "b": "3"}, Mismatch("b", ("2",), ("3",))),
        ({"a": "1", "b": ""}, Mismatch("b", ("2",), ("",))),
    ],
)
def test_of_a_node_the_first_label_that_differs_is_told(make_policy, labels, first):
    spec = make_policy("p", nodeSelector={"b": "2", "a": "1"}).spec
    assert node_mismatch(spec, labels) == first
    assert selects_node(spec, labels) == (first is None)


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("openstack/NetworkID:5d9f", "openstack/NetworkID:5d9f", True),
        (" openstack/NetworkID : 5d9f", "openstack/NetworkID:5d9f", True),
        ("openstack/NetworkID:5d9f", "openstack/NetworkID:0000", False),
        ("aws/NetworkID:5d9f", "openstack/NetworkID:5d9f", False),
        ("a:b:c", "a:b :c", True),
        ("a:b:c", "a:c", False),
        ("a:b more", "a:b", True),
        ("first\na:b", "a:b", True),
        ("word a:b", "a:b", False),
        ("ab", "ab", False),
        ("a:", "a:", False),
        ("a:b", "", False),
    ],
)
def test_net_filters_are_keys_and_values(wanted, found, same):
    assert net_filter_matches(wanted, found) is same


@pytest.mark.parametrize(
    ("selector", "selected"),
    [({}, True), ({"zone": "a"}, True), ({"zone": "b"}, False), ({"zone": "a", "x": ""}, False), ({"gpu": ""}, True)],
)
def test_every_pair_of_the_node_selector_must_be_a_label(make_policy, selector, selected):
    spec = make_policy("a", nodeSelector=selector).spec
    assert selects_node(spec, {"zone": "a", "gpu": ""}) is selected


@pytest.mark.parametrize(
    ("names", "entry", "want"),
    [
        (["ens803f0#0-1", "ens803f1#2-3"], 1, VfRange(2, 3)),
        (["ens803f1", "ens803f1#2-3"], 0, VfRange(0, 3)),
        (["data0#1-2", "ens803f1#2-3"], 0, VfRange(1, 2)),
        (["ens803f1#9-12"], 0, VfRange(9, 12)),
    ],
)
def test_the_first_entry_that_names_the_pf_gives_the_range(make_policy, make_nic, names, entry, want):
    policy = make_policy("a", pfNames=names)
    nic = make_nic(altNames=["data0"])
    assert vf_range_entry(policy.spec.nic_selector, nic) == entry
    assert vf_range(policy.spec, nic) == want


def test_selected_otherwise_a_pf_gives_all_its_vfs(make_policy, make_nic):
    policy = make_policy("a", nicSelector={"vendor": "8086"}, numVfs=6)
    assert vf_range_entry(policy.spec.nic_selector, make_nic()) is None
    assert vf_range(policy.spec, make_nic()) == VfRange(0, 5)
