"""Bridges from the command line: planned, made, shown, written down as a script, and given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtfn.testing import FakeHost

PF = "0000:01:00.0"
Virtfn = Callable[..., Any]


def node_state(*bridges: str, pf: str = PF) -> str:
    """Two VFs on the PF, and bridges with it as their uplink."""
    settings = {"failMode": "secure", "externalIDs": {"site": "a b", "x.y/z": '"q"'}, "otherConfig": {"hwaddr": "1"}}
    uplink = {"pciAddress": pf, "interface": {"mtuRequest": 1400, "externalIDs": {"k": "v"}}}
    group = {"resourceName": "r", "deviceType": "netdevice", "vfRange": "0-1", "policyName": "p"}
    ovs = [{"name": name, "bridge": settings, "uplinks": [uplink]} for name in bridges]
    return yaml.safe_dump(
        {
            "apiVersion": "sriovnetwork.openshift.io/v1",
            "kind": "SriovNetworkNodeState",
            "metadata": {"name": "node"},
            "spec": {"interfaces": [{"pciAddress": PF, "numVfs": 2, "vfGroups": [group]}], "bridges": {"ovs": ovs}},
        }
    )


@pytest.fixture
def host(host: FakeHost) -> FakeHost:
    host.ovs.start()
    host.ovs.add_bridge("br-theirs", "veth0")
    return host


def bridges(host: FakeHost) -> dict[str, list[str]]:
    return {name: row["ports"] for name, row in host.ovs.snapshot()["bridges"].items()}


def operations(virtfn: Virtfn, wanted: str) -> list[str]:
    return [step["op"] for step in json.loads(virtfn("plan -o json", wanted).out)["steps"]]


def test_from_plan_to_reset(virtfn: Virtfn, host: FakeHost) -> None:
    before = host.snapshot()
    planned = virtfn("plan", node_state("br-a"))
    assert "bridge br-a: put the PF in as its uplink" in " ".join(planned.out.split())
    assert host.snapshot() == before
    assert virtfn("apply", node_state("br-a")).code == 0
    assert bridges(host) == {"br-a": ["br-a", "eth0"], "br-theirs": ["br-theirs", "veth0"]}
    assert virtfn("plan --exit-code", node_state("br-a")).code == 0
    shown = virtfn("discover")
    assert "bridge br-a: uplink eth0, 0 other ports" in shown.out
    assert json.loads(virtfn("discover -o json").out)["ovs"]["bridges"][0]["uplinks"][0]["mtu_request"] == 1400
    assert virtfn("reset").code == 0
    assert host.snapshot() == before


def test_only_what_is_pruned_goes(virtfn: Virtfn, host: FakeHost) -> None:
    lonely = "0000:02:00.0"
    assert virtfn("apply", node_state("br-b", pf=lonely)).code == 0
    assert bridges(host)["br-b"] == ["br-b", "eth1"]
    assert operations(virtfn, node_state()) == []
    assert virtfn("apply --prune", node_state()).code == 0
    assert "br-b" not in bridges(host)


def test_a_bridge_of_somebody_else(virtfn: Virtfn, host: FakeHost) -> None:
    before = bridges(host)
    refused = virtfn("apply", node_state("br-theirs"))
    assert refused.code == 4
    assert "bridge br-theirs: bridges: a bridge of this name is there, and virtfn did not make it" in refused.err
    assert virtfn("apply --keep-going", node_state("br-theirs")).code == 4
    assert bridges(host) == before
    assert len(host.function(PF).vfs) == 2


def test_a_bridge_that_is_handed_over(virtfn: Virtfn, host: FakeHost) -> None:
    host.ovs.change("Bridge", "br-theirs", external_ids={"virtfn.io/managed": PF})
    assert virtfn("apply", node_state("br-theirs")).code == 0
    assert "eth0" in bridges(host)["br-theirs"]


def test_what_open_vswitch_is_like(virtfn: Virtfn, host: FakeHost) -> None:
    assert "Open vSwitch: hw-offload not set" in virtfn("discover").out
    host.ovs.tree.remove("usr/lib/systemd/system/ovs-vswitchd.service")
    host.ovs.start_switch(service=False)
    assert "Open vSwitch: runs in a container" in virtfn("discover").out
    fault = host.fail("select ovsdb", error=13)
    assert "Open vSwitch: cannot be read: Permission denied" in virtfn("discover").out
    fault.clear()
    host.ovs.answers = False
    assert "Open vSwitch" not in virtfn("discover").out


def words_of(script: str, tmp_path: Path) -> list[list[str]]:
    """What the script would have `ovs-vsctl` do, as a shell splits it; nothing else of the script is run."""
    lines = [line for line in script.splitlines() if line.startswith(("ovs-vsctl", "port=", "for port"))]
    said, program = tmp_path / "said", tmp_path / "bin" / "ovs-vsctl"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"with open({str(said)!r}, 'a') as file:\n    print(json.dumps(sys.argv[1:]), file=file)\n"
    )
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    subprocess.run(["sh", "-eu", "-c", "\n".join(lines)], check=True, timeout=60, env={**os.environ, "PATH": path})
    return [json.loads(line) for line in said.read_text().splitlines()]


def test_as_a_script(virtfn: Virtfn, host: FakeHost, tmp_path: Path) -> None:
    said = words_of(virtfn("plan -o sh", node_state("br-a")).out, tmp_path)
    assert said[0] == ["--may-exist", "add-br", "br-a"]
    assert said[1][:3] == ["set", "bridge", "br-a"]
    assert 'external_ids:site="a b"' in said[1]
    assert 'external_ids:"x.y/z"="\\"q\\""' in said[1]
    assert 'external_ids:"virtfn.io/managed"="0000:01:00.0"' in said[1]
    assert said[2][:6] == ["--may-exist", "add-port", "br-a", "eth0", "--", "set"]
    assert "mtu_request=1400" in said[2]
