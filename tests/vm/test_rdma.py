"""The RDMA mode by our netlink code and by modprobe's option, with a device made of software on a card's netdev."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bed.sight import IGB, look

from virtfn.daemon.plan_report import fingerprint
from virtfn.errors import DeviceBusy
from virtfn.host.linux import linux_kernel
from virtfn.host.machine import Machine
from virtfn.model import Adapter, DesiredState, Disruption, Inventory, Plan
from virtfn.model.rdma import OPTION_FILE, RdmaFacts
from virtfn.performing.operations import perform_standard
from virtfn.planning import AdapterHooks, make_plan

SPACE = "virtfn-rdma"
PARAMETER = Path("/sys/module/ib_core/parameters/netns_mode")


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


def shown() -> str:
    """The mode by rdma(8)."""
    words = run("rdma", "system", "show").split()  # not every version has JSON for this
    return words[words.index("netns") + 1]


def _nobody(adapter: Adapter) -> AdapterHooks:
    raise AssertionError(f"{adapter.address}: this is about the node alone")


def unload() -> None:
    """Everything of RDMA, devices too; the guest has nothing else that uses it."""
    subprocess.run(["rdma", "link", "delete", "rxe0"], capture_output=True, timeout=60, check=False)
    run("modprobe", "-r", "rdma_rxe", "ib_uverbs", "ib_core")
    assert not PARAMETER.exists()


@pytest.fixture
def machine(modprobe: Callable[..., None]) -> Iterator[Machine]:
    made = Machine(linux_kernel())
    before = made.platform().rdma
    assert before == RdmaFacts(), "no RDMA at all, and to look did not load it"
    assert not PARAMETER.exists()
    assert made.missing_modules(["rdma_rxe", "vfio_pci", "no_such_module"]) == {"no_such_module"}
    modprobe("rdma_rxe")
    yield made
    subprocess.run(["ip", "netns", "delete", SPACE], capture_output=True, timeout=60, check=False)
    Path(OPTION_FILE).unlink(missing_ok=True)
    unload()


@pytest.fixture
def rxe(machine: Machine) -> Iterator[str]:
    interface = look(IGB[0]).interface
    assert interface is not None
    run("ip", "link", "set", interface.name, "up")
    run("rdma", "link", "add", "rxe0", "type", "rxe", "netdev", interface.name)
    yield "rxe0"
    run("ip", "link", "set", interface.name, "down")


def test_a_device_of_software_is_no_functions(machine: Machine, rxe: str) -> None:
    assert rxe in [entry["ifname"] for entry in json.loads(run("rdma", "-j", "link", "show"))]
    assert {pf.rdma for pf in machine.network_functions()} == {None}
    assert machine.platform().rdma_mode == "shared"


def test_the_mode_changes_while_nobody_has_a_namespace(machine: Machine) -> None:
    kernel = linux_kernel()
    assert machine.platform().rdma == RdmaFacts("shared", namespaces=False)
    for mode in ("exclusive", "shared", "exclusive"):
        machine.set_rdma_mode(mode)
        assert (shown(), machine.platform().rdma_mode, kernel.rdma.netns_mode()) == (mode, mode, mode)

    run("ip", "netns", "add", SPACE)  # a namespace that no process is in
    assert machine.platform().rdma.namespaces is True
    with pytest.raises(DeviceBusy, match="other network namespaces"):
        machine.set_rdma_mode("shared")
    assert shown() == "exclusive"
    run("ip", "netns", "delete", SPACE)

    process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        deadline = time.monotonic() + 30
        while not (seen := machine.platform().rdma.namespaces) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert seen is True
        with pytest.raises(DeviceBusy):
            machine.set_rdma_mode("shared")
        held = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY)
    finally:
        process.kill()
        process.wait(timeout=30)
    try:
        assert machine.platform().rdma.namespaces is False, "no process and no mount shows it"
        with pytest.raises(DeviceBusy):
            machine.set_rdma_mode("shared")
        assert machine.platform().rdma.namespaces is True, "by the kernel's refusal"
    finally:
        os.close(held)
    while machine.platform().rdma.mode != "shared":  # the kernel takes namespaces down some time later
        assert time.monotonic() < deadline
        with contextlib.suppress(DeviceBusy):
            machine.set_rdma_mode("shared")
        time.sleep(0.02)
    assert machine.platform().rdma.namespaces is False


def test_the_option_brings_it_when_the_module_is_loaded(machine: Machine, modprobe: Callable[..., None]) -> None:
    def plan(desired: DesiredState) -> Plan:
        return make_plan(Inventory(platform=machine.platform()), desired, _nobody)

    def perform(planned: Plan) -> None:
        for step in planned.steps:
            perform_standard(step, machine)

    wanted = DesiredState(rdma_mode="exclusive")
    run("ip", "netns", "add", SPACE)
    planned = plan(wanted)
    assert planned.disruption is Disruption.REBOOT
    perform(planned)
    assert shown() == "shared"
    again = plan(wanted)
    assert fingerprint(again.steps) == fingerprint(planned.steps), "the same, as long as the mode is not there"

    unload()  # as near to a boot as a test can come
    modprobe("rdma_rxe")
    assert (shown(), machine.platform().rdma_mode) == ("exclusive", "exclusive")
    assert plan(wanted) == Plan()

    perform(plan(DesiredState(whole=True)))
    assert not Path(OPTION_FILE).exists()
    assert shown() == "exclusive"
    unload()
    modprobe("rdma_rxe")
    assert shown() == "shared"
