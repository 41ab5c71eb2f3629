"""The policy that virtfn was begun for, by the command line: two ports in switchdev mode, three VFs of each."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.main import make_parser
from virtfn.cli.running import run_command
from virtfn.host.machine import Machine
from virtfn.model import EswitchMode
from virtfn.model.crd import SriovNetworkNodeState
from virtfn.policy import render_device_plugin_config
from virtfn.testing import FakeHost

CAPABLE = "feature.node.kubernetes.io/network-sriov.capable"
PORTS = ("ens41f0np0", "ens41f1np1")
PFS = ("0000:5f:00.0", "0000:5f:00.1")
POLICY = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata:
  name: policy
  namespace: kube-system
spec:
  nodeSelector:
    feature.node.kubernetes.io/network-sriov.capable: "true"
  eSwitchMode: switchdev
  numVfs: 3
  nicSelector:
    pfNames:
    - ens41f0np0
    - ens41f1np1
  resourceName: cx_sriov_switchdev
"""
STATE = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata:
  name: worker-1
  namespace: kube-system
spec:
  dpConfigVersion: "1234"
status:
  interfaces:
  - deviceID: "1017"
    driver: mlx5_core
    linkSeed: 25000Mb/s
    mtu: 1500
    name: ens41f0np0
    numVfs: 3
    pciAddress: "0000:5f:00.0"
    totalvfs: 3
    vendor: "15b3"
    vfs:
    - {deviceID: 1018, driver: mlx5_core, pciAddress: "0000:5f:00.2", vendor: 15b3}
    - {deviceID: 1018, driver: mlx5_core, pciAddress: "0000:5f:00.3", vendor: 15b3}
    - {deviceID: 1018, driver: mlx5_core, pciAddress: "0000:5f:00.4", vendor: 15b3}
  - deviceID: "1017"
    driver: mlx5_core
    linkSeed: 25000Mb/s
    mtu: 1500
    name: ens41f1np1
    numVfs: 3
    pciAddress: "0000:5f:00.1"
    totalvfs: 3
    vendor: "15b3"
  - {deviceID: "1521", driver: igb, name: eno1, pciAddress: "0000:01:00.0", totalvfs: 7, vendor: "8086"}
"""
"""As a person wrote it down, with the slips of that."""
GROUP = {"resourceName": "cx_sriov_switchdev", "deviceType": "netdevice", "vfRange": "0-2", "policyName": "policy"}
SPEC = {
    "interfaces": [
        {"pciAddress": pf, "name": name, "numVfs": 3, "eSwitchMode": "switchdev", "vfGroups": [GROUP]}
        for pf, name in zip(PFS, PORTS, strict=True)
    ]
}


class Ended(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


Virtfn = Callable[..., Ended]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        yield host


@pytest.fixture
def virtfn(host: FakeHost, tmp_path: Path) -> Virtfn:
    """The command on the simulated host."""
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "state.yaml").write_text(STATE, encoding="utf-8")

    def run(*words: str) -> Ended:
        given = [str(tmp_path / word) if word.endswith(".yaml") else word for word in words]
        out, err = io.StringIO(), io.StringIO()
        context = Context(
            journal_folder=tmp_path / "journal", machine=lambda: Machine(host.kernel), stdout=out, stderr=err
        )
        return Ended(int(run_command(context, make_parser().parse_args(given))), out.getvalue(), err.getvalue())

    return run


def test_nothing_is_wrong_with_it(virtfn: Virtfn) -> None:
    ended = virtfn("validate", "-f", "policy.yaml")
    assert ended.code == Exit.OK, ended.out + ended.err


def test_from_a_node_state_to_the_node_state_that_is_wanted(virtfn: Virtfn) -> None:
    ended = virtfn("render", "-f", "policy.yaml", "--state", "state.yaml", "--labels", f"{CAPABLE}=true")
    assert ended.code == Exit.OK, ended.err
    rendered = yaml.safe_load(ended.out)
    assert rendered["metadata"]["name"] == "worker-1"
    assert rendered["spec"] == SPEC


@pytest.mark.parametrize("more", [{}, {"resourceName": ""}, {"resourceName": "", "priority": 0}])
def test_the_policy_that_older_operators_make_by_themselves_changes_nothing(
    more: dict[str, Any], virtfn: Virtfn, tmp_path: Path
) -> None:
    anchor = yaml.safe_load(POLICY)
    anchor["metadata"]["name"] = "default"
    anchor["spec"] = {"numVfs": 0, "nodeSelector": {}, "nicSelector": {}, **more}
    (tmp_path / "default.yaml").write_text(yaml.safe_dump(anchor), encoding="utf-8")
    assert virtfn("validate", "-f", "default.yaml", "-f", "policy.yaml").code == Exit.OK
    words = ("--state", "state.yaml", "--labels", f"{CAPABLE}=true")
    ended = virtfn("render", "-f", "default.yaml", "-f", "policy.yaml", *words)
    assert ended.code == Exit.OK, ended.err
    assert yaml.safe_load(ended.out)["spec"] == SPEC


def test_a_node_without_the_label_has_no_part_in_it(virtfn: Virtfn) -> None:
    ended = virtfn("render", "-f", "policy.yaml", "--state", "state.yaml", "--labels", f"{CAPABLE}=false")
    assert yaml.safe_load(ended.out)["spec"] == {}


@pytest.mark.parametrize("card", ["connectx-4lx", "connectx-5", "connectx-6dx", "connectx-7", "bluefield-2", "e810"])
def test_a_card_becomes_what_the_policy_says_and_is_given_back(card: str, host: FakeHost, virtfn: Virtfn) -> None:
    host.add_card(card, address=PFS[0], names=PORTS, ports=2)
    before = host.snapshot()
    rendered = yaml.safe_load(virtfn("render", "-f", "policy.yaml", "--labels", f"{CAPABLE}=true").out)
    assert rendered["spec"] == SPEC

    ended = virtfn("apply", "-f", "policy.yaml")
    assert ended.code == Exit.OK, ended.out + ended.err
    representors = []
    for pf, port in zip(PFS, PORTS, strict=True):
        function = host.function(pf)
        assert function.eswitch_mode is EswitchMode.SWITCHDEV
        assert [vf.driver.name if vf.driver else "" for vf in function.vfs] == [vf_driver(host)] * 3
        found = [netdev for netdev in function.netdevs if re.fullmatch(r"pf\dvf\d", netdev.phys_port_name or "")]
        assert sorted(netdev.name for netdev in found) == [f"{port}_{index}" for index in range(3)]
        assert function.netdev is not None
        assert function.netdev.tc_offload is True
        representors += [netdev.name for netdev in found]
    shown = virtfn("discover", "--vfs").out
    assert [name for name in representors if name not in shown] == []
    assert virtfn("plan", "-f", "policy.yaml", "--exit-code").code == Exit.OK

    assert virtfn("reset").code == Exit.OK
    assert host.snapshot() == before


def vf_driver(host: FakeHost) -> str:
    (card,) = host.cards
    assert card.profile.sriov is not None
    return str(card.profile.sriov.vf_driver)


def test_the_resource_has_all_vfs_of_both_ports_and_no_port(host: FakeHost, virtfn: Virtfn) -> None:
    host.add_card("connectx-5", address=PFS[0], names=PORTS)
    wanted = yaml.safe_load(virtfn("render", "-f", "policy.yaml", "--labels", f"{CAPABLE}=true").out)["spec"]
    status = yaml.safe_load(STATE)["status"]
    state = SriovNetworkNodeState.model_validate({"metadata": {"name": "n"}, "spec": wanted, "status": status})
    config: dict[str, Any] = render_device_plugin_config(state).to_wire()
    (resource,) = config["resourceList"]
    assert resource["resourceName"] == "cx_sriov_switchdev"
    selector = resource["selectors"]
    assert selector["vendors"] == ["15b3"]
    # The name of a port in switchdev mode may be none to the device plugin; its PCI address is what it is. Without a
    # range all VFs of the port are meant, and they are all there.
    assert selector["rootDevices"] == list(PFS)
