"""What is wanted, from a node state, a ConfigMap's key, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from virtfn.daemon.request import is_unrendered, read_request
from virtfn.daemon.sources import ConfigMapSource, FileSource, NodeStateSource, request_from
from virtfn.errors import InvalidDocument, RequestError
from virtfn.host.machine import Machine
from virtfn.model import DesiredState, Inventory
from virtfn.model.crd import DriftMode
from virtfn.observing import read_inventory
from virtfn.testing import FakeHost

STATE = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata: {name: n}
spec: {interfaces: [{pciAddress: "0000:01:00.0", numVfs: 2}]}
"""
POLICY = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: p}
spec: {resourceName: net, nodeSelector: {}, nicSelector: {pfNames: [eth0]}, numVfs: 3, driftMode: Report}
"""
BARE = '{"interfaces": [{"pciAddress": "0000:01:00.0", "numVfs": 4}]}'


@pytest.fixture
def inventory(host: FakeHost) -> Inventory:
    return read_inventory(Machine(host.kernel))


def wanted(request: Any, inventory: Inventory) -> list[int]:
    reading = read_request(request, inventory, {}, release=lambda _: DesiredState(), settle=False)
    return [pf.num_vfs for pf in reading.desired.pfs]


@pytest.mark.parametrize(("text", "count"), [(STATE, 2), (POLICY, 3), (BARE, 4)])
def test_a_text_may_be_a_node_state_policies_or_a_bare_spec(text: str, count: int, inventory: Inventory) -> None:
    assert wanted(request_from(text, name="a file", inventory=inventory), inventory) == [count]


@pytest.mark.parametrize("text", [STATE + "---" + POLICY, STATE + "---" + STATE, "a: [", "color: red", "- 1"])
def test_a_text_that_says_something_else(text: str, inventory: Inventory) -> None:
    with pytest.raises(RequestError, match="a file"):
        request_from(text, name="a file", inventory=inventory)


def test_an_empty_text_wants_nothing(inventory: Inventory) -> None:
    assert wanted(request_from("", name="a file", inventory=inventory), inventory) == []


def test_a_file_is_read_anew_each_time(tmp_path: Path, inventory: Inventory) -> None:
    source = FileSource(tmp_path / "wanted")
    assert source.read(inventory) is None
    (tmp_path / "wanted").write_text(STATE)
    assert wanted(source.read(inventory), inventory) == [2]
    (tmp_path / "wanted").write_text(BARE)
    assert wanted(source.read(inventory), inventory) == [4]
    (tmp_path / "wanted").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidDocument, match="cannot be read"):
        source.read(inventory)


def test_a_config_map_has_a_key_for_each_node(inventory: Inventory) -> None:
    data: dict[str, str] = {"other": STATE}
    source = ConfigMapSource(lambda: {"metadata": {"name": "m"}, "data": data}, node="n")
    assert source.read(inventory) is None
    data["n"] = BARE
    assert wanted(source.read(inventory), inventory) == [4]
    data["n"] = "color: red"
    with pytest.raises(RequestError, match="ConfigMap m, key n"):
        source.read(inventory)
    assert ConfigMapSource(lambda: None, node="n").read(inventory) is None


def test_a_node_state_that_is_going_says_nothing(inventory: Inventory) -> None:
    metadata: dict[str, Any] = {"name": "n", "uid": "1", "generation": 3}
    state = {"metadata": metadata, "spec": {"interfaces": []}}
    found = NodeStateSource(lambda: state).read(inventory)
    assert found is not None
    assert (found.generation, found.uid) == (3, "1")
    metadata["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert NodeStateSource(lambda: state).read(inventory) is None
    assert NodeStateSource(lambda: None).read(inventory) is None


def test_a_node_state_as_it_was_created(inventory: Inventory) -> None:
    for generation, spec, new in (
        (1, {}, True),
        (1, {"system": {}}, True),
        (2, {}, False),
        (1, {"interfaces": [{}]}, False),
    ):
        state = {"metadata": {"generation": generation}, "spec": spec}
        found = NodeStateSource(lambda state=state: state).read(inventory)  # type: ignore[misc]
        assert found is not None
        assert is_unrendered(found) is new


def test_drift_modes_are_those_of_the_interfaces(inventory: Inventory) -> None:
    request = request_from(POLICY, name="a file", inventory=inventory)
    reading = read_request(request, inventory, {}, release=lambda _: DesiredState(), settle=False)
    assert list(reading.modes.values()) == [DriftMode.REPORT]
