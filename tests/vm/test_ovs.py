"""Bridges with the real Open vSwitch: its database, its ovs-vswitchd, and the datapath in the kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.sight import IGB, devlink_mode, look

FIRST = IGB[0]
BRIDGE = "br-" + FIRST.replace(":", "_")
RUN = Path("/run/openvswitch")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
Virtfn = Callable[..., Any]
Policy = Callable[..., str]


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def vsctl(*words: str) -> str:
    return run("ovs-vsctl", "--timeout=30", *words)


def end(name: str) -> None:
    """Stop one of the two by its own pid file."""
    pid = int((RUN / f"{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"{name} does not end"
        time.sleep(0.05)


def start_switch() -> None:
    run("ovs-vswitchd", "--pidfile", "--detach", "--no-chdir", f"--log-file={RUN}/switch.log")


@pytest.fixture(scope="module")
def open_vswitch(modprobe: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both daemons on an empty database, as the node's own service."""
    modprobe("openvswitch")
    RUN.mkdir(parents=True, exist_ok=True)
    database = str(tmp_path_factory.mktemp("ovs") / "conf.db")
    run("ovsdb-tool", "create", database, SCHEMA)
    run("ovsdb-server", "--pidfile", "--detach", "--no-chdir", f"--remote=punix:{RUN}/db.sock", database)
    vsctl("--no-wait", "init")
    start_switch()
    yield
    for bridge in vsctl("list-br").split():
        vsctl("del-br", bridge)
    end("ovs-vswitchd")
    end("ovsdb-server")


@pytest.fixture
def generic_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No vendor plugin: igb has no eswitch of its own, and the vendor's plugin knows that."""
    from virtfn.node import Node
    from virtfn.registry import Registry
    from virtfn_generic import GenericPlugin

    def load(_ids: object) -> Registry:
        return Registry.for_testing({"generic": GenericPlugin})

    monkeypatch.setitem(Node.__init__.__kwdefaults__, "registry", load)


def operations(virtfn: Virtfn, wanted: str) -> list[str]:
    return [step["op"] for step in json.loads(virtfn("plan -o json", wanted).out)["steps"]]


def test_a_bridge_from_the_policy_to_its_end(
    open_vswitch: None, generic_alone: None, virtfn: Virtfn, policy: Policy
) -> None:
    before = look(FIRST)
    assert before.interface is not None
    name = before.interface.name
    vsctl("add-br", "br-theirs", "--", "br-set-external-id", "br-theirs", "who", "they")
    settings = "{ovs: {bridge: {failMode: standalone, externalIDs: {site: a}}}}"
    wanted = policy(FIRST, 2, eSwitchMode="switchdev", bridge=settings)

    done = virtfn("apply", wanted)
    assert done.code == 0, done.err
    assert (devlink_mode(FIRST), vsctl("list-ports", BRIDGE)) == ("switchdev", name)
    assert int(vsctl("get", "interface", name, "ofport")) > 0
    assert vsctl("get", "bridge", BRIDGE, "fail_mode") == "standalone"
    assert json.loads(vsctl("br-get-external-id", BRIDGE, "virtfn.io/managed").join('""')) == FIRST
    assert vsctl("get", "open_vswitch", ".", "other_config:hw-offload") == '"true"'
    assert f": {name}\n" in run("ovs-appctl", "dpctl/show") + "\n"
    again = virtfn("plan --exit-code", wanted)
    assert again.code == 0
    assert "was started before" in again.err

    end("ovs-vswitchd")
    start_switch()
    again = virtfn("plan --exit-code", wanted)
    assert (again.code, "was started before" in again.err) == (0, False)

    vsctl("del-port", BRIDGE, name)
    assert operations(virtfn, wanted) == ["ovs.set_uplink"]
    assert virtfn("apply", wanted).code == 0
    assert vsctl("list-ports", BRIDGE) == name

    representor = look(FIRST).representors[1][1]
    vsctl("add-port", BRIDGE, representor)
    plan = json.loads(virtfn("plan -o json", policy(FIRST, 2, eSwitchMode="switchdev")).out)
    assert [(step["op"], len(step["affects"])) for step in plan["steps"]] == [("ovs.remove_bridge", 1)]

    assert virtfn("reset").code == 0
    assert (devlink_mode(FIRST), look(FIRST)) == ("legacy", before)
    assert vsctl("list-br") == "br-theirs"
    assert vsctl("br-get-external-id", "br-theirs", "who") == "they"
    assert vsctl("get", "open_vswitch", ".", "other_config") == "{}"
    assert "virtfn" not in vsctl("list", "open_vswitch")


def test_what_open_vswitch_cannot_do(open_vswitch: None, virtfn: Virtfn, policy: Policy) -> None:
    """Told by what it says itself; and nothing of it is left once it is gone."""
    from virtfn.errors import NotEffective, OvsRefused
    from virtfn.host.linux import linux_kernel
    from virtfn.host.machine import Machine
    from virtfn.model import PciAddress
    from virtfn.model.open_vswitch import OLDER_RECORD

    machine, pf = Machine(linux_kernel()), PciAddress.parse(FIRST)
    plain: dict[str, Any] = {"fail_mode": "", "external_ids": {}, "other_config": {}}
    with pytest.raises(NotEffective, match=f"{FIRST}: cannot make bridge br-a as wanted .*nosuch"):
        machine.bridges.set_bridge(pf, "br-a", datapath_type="nosuch", **plain)
    machine.bridges.set_bridge(pf, "br-a", datapath_type="", **plain)
    maps: dict[str, Any] = {"options": {}, "external_ids": {}, "other_config": {}}
    with pytest.raises(NotEffective, match="cannot use interface"):
        machine.bridges.set_uplink(pf, "br-a", type="dpdk", **maps)
    uplink = look(FIRST).interface
    assert uplink is not None
    name = uplink.name
    run("ip", "link", "add", "name", "br-linux", "type", "bridge")
    run("ip", "link", "set", "dev", name, "master", "br-linux")
    with pytest.raises(NotEffective, match=f"cannot use interface {name}: .*[Bb]usy"):
        machine.bridges.set_uplink(pf, "br-a", **maps)
    run("ip", "link", "del", "dev", "br-linux")
    machine.bridges.set_uplink(pf, "br-a", **maps)
    with pytest.raises(NotEffective, match=r"its MTU is \d+, wanted 60000"):
        machine.bridges.set_uplink(pf, "br-a", mtu_request=60000, **maps)
    with pytest.raises(OvsRefused, match="constraint violation"):
        machine.bridges.set_uplink(pf, "br-a", mtu_request=-5, **maps)
    machine.bridges.remove_bridge(pf, "br-a")
    assert "br-a" not in vsctl("list-br").split()

    vsctl("add-br", "br-go", "--", "br-set-external-id", "br-go", "site", "a")
    with pytest.raises(OvsRefused, match="was not made by virtfn"):
        machine.bridges.set_bridge(pf, "br-go", datapath_type="", **plain)
    record = Path(OLDER_RECORD)
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"br-go": {"name": "br-go", "uplinks": [{"pciAddress": FIRST}]}}), encoding="utf-8")
    machine.bridges.set_bridge(pf, "br-go", datapath_type="", **plain)
    record.unlink()
    found = machine.open_vswitch()
    assert found is not None
    assert [bridge.name for bridge in found.bridges if bridge.managed] == ["br-go"]
    assert vsctl("br-get-external-id", "br-go", "site") == "a"
