"""Eswitch modes of PCI cards and of netdevsim, with representors, and a driver that refuses."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bed.sight import IGB, devlink_mode, look
from bed.tidy import FAIL_MODE

FIRST = IGB[0]
Virtfn = Callable[..., Any]
Policy = Callable[..., str]


@pytest.fixture
def generic_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No vendor plugin: igb has no eswitch of its own, and the vendor's plugin knows that."""
    from virtfn.node import Node
    from virtfn.registry import Registry
    from virtfn_generic import GenericPlugin

    def load(_ids: object) -> Registry:
        return Registry.for_testing({"generic": GenericPlugin})

    monkeypatch.setitem(Node.__init__.__kwdefaults__, "registry", load)


@pytest.fixture
def switchdev(policy: Policy) -> str:
    """2 VFs in switchdev mode."""
    return policy(FIRST, 2, eSwitchMode="switchdev")


def operations(virtfn: Virtfn, wanted: str) -> list[str]:
    return [step["op"] for step in json.loads(virtfn("plan -o json", wanted).out)["steps"]]


def test_a_policy_for_switchdev_mode(generic_alone: None, virtfn: Virtfn, switchdev: str, policy: Policy) -> None:
    before = look(FIRST)
    assert virtfn("apply", switchdev).code == 0
    pf = look(FIRST)
    assert devlink_mode(FIRST) == "switchdev"
    assert pf.drivers() == ["igbvf"] * 2
    assert [index for index, _ in pf.representors] == [0, 1]
    shown = json.loads(virtfn("discover -o json").out)
    seen = next(pf for adapter in shown["adapters"] for pf in adapter["pfs"] if pf["address"] == FIRST)
    assert seen["eswitch_mode"] == "switchdev"
    assert [(vf["index"], vf["representor"]) for vf in seen["vfs"]] == list(pf.representors)
    assert before.interface is not None
    assert seen["netdev"]["name"] == before.interface.name
    assert virtfn("plan --exit-code", switchdev).code == 0

    assert virtfn("apply", policy(FIRST, 2)).code == 0
    assert (devlink_mode(FIRST), look(FIRST).representors) == ("legacy", ())
    assert virtfn("apply", switchdev).code == 0
    assert devlink_mode(FIRST) == "switchdev"
    assert virtfn("reset").code == 0
    assert (devlink_mode(FIRST), look(FIRST)) == ("legacy", before)


def test_a_mode_that_the_driver_refuses(generic_alone: None, virtfn: Virtfn, switchdev: str) -> None:
    FAIL_MODE.write_text(str(errno.EBUSY))
    refused = virtfn("apply", switchdev)
    assert refused.code == 4
    assert f"{FIRST}: cannot set the eswitch mode to switchdev" in refused.err
    assert "mode change failed by fail_mode" in refused.err
    assert "[DeviceBusy]" in refused.err
    assert devlink_mode(FIRST) == "legacy"
    left = operations(virtfn, switchdev)
    assert "eswitch.set_mode" in left
    assert "sriov.set_numvfs" not in left
    FAIL_MODE.write_text("0")
    assert virtfn("apply", switchdev).code == 0
    assert (devlink_mode(FIRST), look(FIRST).drivers()) == ("switchdev", ["igbvf"] * 2)
    assert virtfn("plan --exit-code", switchdev).code == 0
    assert virtfn("reset").code == 0
    assert devlink_mode(FIRST) == "legacy"


def test_the_vendors_plugin_knows_better(virtfn: Virtfn, switchdev: str) -> None:
    before = look(FIRST)
    refused = virtfn("apply", switchdev)
    assert refused.code == 3
    assert "eSwitchMode" in refused.err
    assert "[UnsupportedEswitchMode]" in refused.err
    assert look(FIRST) == before


def test_a_device_that_is_on_no_pci_bus(netdevsim: Callable[..., Path]) -> None:
    from virtfn.errors import HostError
    from virtfn.host.linux import linux_kernel
    from virtfn.host.machine import Machine
    from virtfn.model import EswitchMode

    def mode(number: int) -> str:
        words = ["devlink", "-j", "dev", "eswitch", "show", f"netdevsim/netdevsim{number}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        return str(json.loads(done.stdout)["dev"][words[-1]]["mode"])

    device = netdevsim(32)
    (device / "sriov_numvfs").write_text("2")
    machine = Machine(linux_kernel())
    machine.set_devlink_eswitch_mode(("netdevsim", "netdevsim32"), EswitchMode.SWITCHDEV)
    assert mode(32) == "switchdev"
    machine.set_devlink_eswitch_mode(("netdevsim", "netdevsim32"), EswitchMode.LEGACY)
    assert mode(32) == "legacy"
    with pytest.raises(HostError, match="netdevsim33"):
        machine.set_devlink_eswitch_mode(("netdevsim", "netdevsim33"), EswitchMode.SWITCHDEV)
