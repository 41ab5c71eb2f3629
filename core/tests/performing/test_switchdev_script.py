"""Representors in a shell script: found and named as the operations do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, PciAddress, Pf, steps
from virtfn.testing import FakeHost

RunScript = Callable[..., list[str]]
PF = PciAddress.parse("0000:3b:00.0")
SECOND = PciAddress.parse("0000:3b:00.1")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """Both ports with VFs in switchdev mode; before the first PF's own netdev stands a representor of a subfunction."""
    with FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", names=["ens1f0np0", "ens1f1np1"], up=True)
        machine = Machine(host.kernel)
        for pf in (PF, SECOND):
            machine.set_num_vfs(pf, 3, probe=False)
            machine.set_eswitch_mode(pf, EswitchMode.SWITCHDEV)
        last = host.function(PF).netdevs[-1]
        last.phys_port_name = "pf0sf5"
        host.kernel.links.rename(last.ifindex, "a-subfunction")
        yield host


@pytest.fixture
def pf(host: FakeHost) -> Pf:
    return Machine(host.kernel).pf(PF)


def test_names(host: FakeHost, pf: Pf, run_script: RunScript, shell: Sequence[str]) -> None:
    now = [vf.representor for vf in pf.vfs]
    host.kernel.links.rename(host.kernel.links.link(str(now[0])).ifindex, "named_already")
    step = steps.name_representors(pf, {0: "named_already", 1: "an odd 'name'"}, why="wanted")
    assert run_script(host, step, program="ip", shell=shell) == [f"link set dev {now[1]} name an odd 'name'"]


def test_a_name_that_is_refused_keeps_nothing_else(host: FakeHost, pf: Pf, run_script: RunScript) -> None:
    step = steps.name_representors(pf, {0: "new_0", 1: "new_1"}, why="wanted")
    assert len(run_script(host, step, program="ip", refuses="new_0")) == 2


@pytest.mark.parametrize("used", ["up", "a port", "kube-ovn's"])
def test_who_keeps_a_name(host: FakeHost, pf: Pf, run_script: RunScript, shell: Sequence[str], used: str) -> None:
    link = host.kernel.links.link(str(pf.vfs[0].representor))
    match used:
        case "up":
            host.kernel.links.set_link(link.ifindex, up=True)
        case "a port":
            (host.root / f"sys/class/net/{link.name}/master").symlink_to("../ens1f0np0")
        case _:
            host.kernel.links.rename(link.ifindex, "0123456789ab_h")
    step = steps.name_representors(pf, {0: "new_0"}, why="wanted")
    assert run_script(host, step, program="ip", shell=shell) == []


def test_the_pfs_own_netdev(host: FakeHost, pf: Pf, run_script: RunScript, shell: Sequence[str]) -> None:
    from virtfn.performing.shell import HELPERS  # the boot's script asks for the name

    assert "a-subfunction" < "ens1f0np0"
    text = HELPERS.replace("/sys/", f"{host.root}/sys/") + f"netdev {PF}; netdev {SECOND}"
    import subprocess

    done = subprocess.run([*shell, "-euc", text], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["ens1f0np0", "ens1f1np1"], "")


def test_what_is_there_is_announced(host: FakeHost, pf: Pf, run_script: RunScript, shell: Sequence[str]) -> None:
    machine = Machine(host.kernel)
    machine.bind_driver(machine.vf_address(PF, 0), None)
    assert run_script(host, steps.reload_udev(pf, why="new rules"), program="udevadm", shell=shell) == [
        "control --reload"
    ]
    told = {
        path.parent.name for path in (host.root / "sys/class/net").glob("*/uevent") if path.read_text() == "change\n"
    }
    own = {vf.representor for vf in machine.pf(PF).vfs} | {
        "a-subfunction",
        *machine.netdev_names(machine.vf_address(PF, 0)),
    }
    assert told == own - {None}


def test_a_number_of_vfs_that_is_refused_leaves_the_kernel_probing(
    host: FakeHost, pf: Pf, run_script: RunScript, shell: Sequence[str]
) -> None:
    folder = host.root / f"sys/bus/pci/devices/{PF}"
    (folder / "sriov_numvfs").unlink()
    (folder / "sriov_numvfs").mkdir()
    step = steps.set_num_vfs(pf, 2, why="wanted")
    with pytest.raises(AssertionError, match="irectory"):
        run_script(host, step, program="ip", shell=shell)
    assert (folder / "sriov_drivers_autoprobe").read_text() == "1\n"
