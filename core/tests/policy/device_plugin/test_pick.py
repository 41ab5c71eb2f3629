"""The rebuilt device plugin against what its documentation says, so that the tests that lean on it can be trusted."""

import json

import pytest


@pytest.fixture
def vfs(function):
    """Eight VFs of one PF."""
    return [
        function(f"0000:3b:00.{n}", root="0000:3a:00.0", pf_name="ens1f0", index=n, encapsulation="ether")
        for n in range(8)
    ]


@pytest.fixture
def picked(pick, vfs):
    """Indices of the eight VFs that a selector, or a list of them, takes."""

    def found(selectors):
        text = json.dumps({"resourceList": [{"resourceName": "r", "selectors": selectors}]})
        return [vf.index for vf in vfs if pick(text, vfs)[vf.address] == "r"]

    return found


@pytest.mark.parametrize(
    ("selectors", "taken"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"vendors": ["15b3"]}, []),
        ({"pfNames": ["ens1f0"]}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"pfNames": ["ens1f0#0-2,5"]}, [0, 1, 2, 5]),
        ({"pfNames": ["ens1f0#0-1", "ens1f0#4-5"]}, [0, 1]),
        ({"pfNames": ["ENS1F0#3-3"]}, [3]),
        ({"pfNames": ["ens1f0#1-2#3"]}, []),
        ({"pfNames": ["ens1f0#1,x,3"]}, [1]),
        ({"PFNAMES": ["ens1f0#1"], "pfnamez": ["ens1f0#2"]}, [1]),
        ({"rootDevices": ["0000:3a:00.0#6-9"]}, [6, 7]),
        ({"pfNames": ["ens1f0#1-4"], "rootDevices": ["0000:3a:00.0#4-6"]}, [4]),
        ([{"pfNames": ["ens1f0#0"]}, {"pfNames": ["ens1f0#4"]}], [0, 4]),
        ({"linkTypes": ["infiniband"]}, []),
        ({"pciAddresses": ["0000:3b:00.5"]}, [5]),
        ({"IsRdma": True}, []),
        ({"vdpaType": "vhost"}, []),
    ],
)
def test_a_selector_takes(selectors, taken, picked):
    assert picked(selectors) == taken


def test_the_first_resource_wins(pick, vfs):
    resources = [{"resourceName": name, "selectors": {"pfNames": ["ens1f0"]}} for name in ("a", "b")]
    assert set(pick(json.dumps({"resourceList": resources}), vfs).values()) == {"a"}


def test_a_pf_is_not_found_by_name_and_is_seen_only_without_vfs(pick, function):
    text = '{"resourceList":[{"resourceName":"r","selectors":{"pfNames":["ens1f0"],"rootDevices":["0000:3a:00.0"]}}]}'
    assert pick(text, [function("0000:3a:00.0", driver="i40e")]) == {"0000:3a:00.0": None}
    assert pick(text, [function("0000:3a:00.0", driver="i40e", num_vfs=2)]) == {}
    assert pick('{"resourceList":[{"resourceName":"r","selectors":{}}]}', [function("0000:3a:00.0")]) == {
        "0000:3a:00.0": "r"
    }


def test_a_function_without_driver_is_not_seen(pick, function):
    assert pick('{"resourceList":null}', [function("0000:3b:00.0", driver="")]) == {}


@pytest.mark.parametrize(
    "resources",
    [
        [{"resourceName": "a.b", "selectors": {}}],
        [{"resourceName": "a", "selectors": {}}, {"resourceName": "a", "selectors": {}}],
        [{"resourceName": "a"}],
        [{"resourceName": "a", "selectors": {"isRdma": True, "vdpaType": "vhost"}}],
    ],
)
def test_a_file_is_refused(resources, pick, refused):
    with pytest.raises(refused):
        pick(json.dumps({"resourceList": resources}), [])
