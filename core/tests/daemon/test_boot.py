"""What the next boot does before the network starts: kept on the host as long as it is wanted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtfn.daemon.boot import BootKeeper
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model import DesiredPf, DesiredState, EswitchMode, PciAddress, VfGroup, VfRange
from virtfn.model.desired import DesiredBridge
from virtfn.model.owned_files import BOOT_SCRIPT, BOOT_UNIT, BOOT_WANTS
from virtfn.node import Node
from virtfn.testing.fakehost import FakeHost

PF = PciAddress.parse("0000:3b:00.0")
SECOND = PciAddress.parse("0000:3b:00.1")
GROUPS = (VfGroup(VfRange(0, 1), "cx"),)
BOTH = DesiredState(tuple(DesiredPf(one, 2, eswitch_mode=EswitchMode.SWITCHDEV, groups=GROUPS) for one in (PF, SECOND)))


class Bench:
    def __init__(self, host: FakeHost, folder: Path) -> None:
        self.host = host
        self.machine = Machine(host.kernel)
        self.node = Node(self.machine, journal=Journal(folder), now=lambda: 0.0)
        self.keeper = BootKeeper(self.node, self.machine, journal=folder)

    def apply(self, desired: DesiredState) -> None:
        seen = self.node.observe()
        assert self.node.perform(self.node.plan(seen, desired), seen, desired).failed is None

    def keep(self, desired: DesiredState) -> list[Path]:
        self.keeper.keep(self.node.observe(), desired)
        paths = [self.host.root / path.lstrip("/") for path in (BOOT_SCRIPT, BOOT_UNIT, BOOT_WANTS)]
        return [path for path in paths if path.exists()]

    @property
    def script(self) -> str:
        return (self.host.root / BOOT_SCRIPT.lstrip("/")).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with FakeHost() as host:
        host.add_card("connectx-5", address="0000:3b:00", names=["ens41f0np0", "ens41f1np1"], up=True)
        (host.root / "run/systemd/system").mkdir(parents=True)
        yield Bench(host, tmp_path)


def test_from_nothing_to_both_ports(bench: Bench, tmp_path: Path) -> None:
    assert bench.keep(BOTH) == []
    bench.apply(BOTH)
    assert len(bench.keep(BOTH)) == 3
    text = bench.script
    for line in (
        f"if ready 0000:3b:00.1 0x15b3 0x1017 {tmp_path}/0000:3b:00.1.json; then",
        'echo 2 > "$pci/0000:3b:00.0"/sriov_numvfs || { echo 1 > "$pci/0000:3b:00.0"/sriov_drivers_autoprobe; false; }',
        "devlink dev eswitch set pci/0000:3b:00.0 mode switchdev",
        "representor 0000:3b:00.1 1 ens41f1np1_1 || true  # not every host and driver can",
    ):
        assert line in text.splitlines()
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


def test_a_name_that_somebody_has_now_may_be_free_after_a_boot(bench: Bench) -> None:
    bench.host.add_card("82576", address="0000:5e:00", ports=1, names=["ens41f0np0_1"])
    bench.apply(BOTH)
    bench.keep(BOTH)
    assert "representor 0000:3b:00.0 1 ens41f0np0_1 " in bench.script


def test_it_stays_the_same_and_is_written_once(bench: Bench) -> None:
    bench.apply(BOTH)
    bench.keep(BOTH)
    done = len(bench.host.writes)
    bench.machine.unbind_driver(bench.machine.vf_address(PF, 0))
    bench.keep(BOTH)
    assert len(bench.host.writes) == done + 1, "the unbinding alone"


def test_a_pf_that_is_to_change_is_left_out(bench: Bench) -> None:
    bench.apply(BOTH)
    bench.keep(BOTH)
    other = DesiredState((DesiredPf(PF, 4, eswitch_mode=EswitchMode.SWITCHDEV), BOTH.pfs[1]))
    bench.keep(other)
    assert "if ready 0000:3b:00.1 " in bench.script
    assert "if ready 0000:3b:00.0 " not in bench.script


def test_nothing_wanted_and_given_back(bench: Bench) -> None:
    bench.apply(BOTH)
    bench.keep(BOTH)
    assert bench.keep(bench.node.release(bench.node.observe(), [PF, SECOND])) == []
    legacy = DesiredState((DesiredPf(PF, 2, groups=GROUPS),))
    bench.apply(legacy)
    assert bench.keep(legacy) == []


def test_a_host_without_systemd_has_none(bench: Bench) -> None:
    (bench.host.root / "run/systemd/system").rmdir()
    bench.apply(BOTH)
    assert bench.keep(BOTH) == []


def test_a_host_that_takes_no_files(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.apply(BOTH)
    bench.host.fail("replace *", error=30)
    bench.keep(BOTH)
    bench.keep(BOTH)
    assert len([one for one in caplog.records if "not made before the network starts" in one.getMessage()]) == 1


def test_the_unit_is_sound(bench: Bench) -> None:
    bench.apply(BOTH)
    _, unit, wants = bench.keep(BOTH)
    assert "Before=network-pre.target" in unit.read_text()
    assert "Wants=virtfn-restore.service" in wants.read_text()


def test_the_script_on_a_machine_where_the_cards_are_not(bench: Bench) -> None:
    bench.apply(BOTH)
    bench.keep(BOTH)
    text = bench.script.replace("-le 300", "-le 1")
    done = subprocess.run(["sh"], input=text, text=True, capture_output=True, check=False, timeout=60)
    assert (done.returncode, "0000:3b:00.0: no driver has taken it" in done.stderr) == (0, True)


@pytest.fixture
def booted(bench: Bench, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script on the simulated tree as if the PFs had no VFs yet; programs that are called write it down."""
    bench.apply(BOTH)
    bench.keep(BOTH)
    log = tmp_path / "log"

    def run(*, refuses: str = "never", vfs: int = 0) -> subprocess.CompletedProcess[str]:
        for pf in (PF, SECOND):
            (bench.host.root / f"sys/bus/pci/devices/{pf}/sriov_numvfs").write_text(f"{vfs}\n")
        stubs = "".join(
            f'{name}() {{ echo {name} "$@" >> {log}; case "$*" in {refuses}) return 1 ;; esac; }}\n'
            for name in ("ip", "devlink", "ethtool", "modprobe", "udevadm")
        )
        text = bench.script.replace("/sys/", f"{bench.host.root}/sys/")
        return subprocess.run(["sh"], input=stubs + text, text=True, capture_output=True, check=False, timeout=60)

    return run


def bound(bench: Bench, pf: PciAddress, index: int) -> bool:
    """Whether the script has come to that VF: an empty line clears its override before it is bound."""
    vf = bench.machine.vf_address(pf, index)
    return (bench.host.root / f"sys/bus/pci/devices/{vf}/driver_override").read_text() == "\n"


def test_what_fails_on_one_keeps_no_other(bench: Bench, booted: Callable[..., Any], tmp_path: Path) -> None:
    done = booted(refuses="*0000:3b:00.0*")
    assert done.returncode == 1
    assert "0000:3b:00.0: not all is restored, the daemon goes on" in done.stderr
    assert "0000:3b:00.1" not in done.stderr
    assert [bound(bench, pf, index) for pf in (PF, SECOND) for index in range(2)] == [False, False, True, True]
    override = bench.host.root / f"sys/bus/pci/devices/{bench.machine.vf_address(PF, 0)}/driver_override"
    override.unlink()
    override.mkdir()
    done = booted()
    assert (done.returncode, "0000:3b:00.0: not all" in done.stderr) == (1, True)
    assert bound(bench, PF, 1)
    assert "devlink dev eswitch set pci/0000:3b:00.0 mode switchdev" in (tmp_path / "log").read_text()


def test_a_module_that_cannot_be_loaded_keeps_no_pf(bench: Bench) -> None:
    groups = (VfGroup(VfRange(0, 1), "cx", is_rdma=True),)
    desired = DesiredState((DesiredPf(PF, 2, eswitch_mode=EswitchMode.SWITCHDEV, groups=groups),))
    bench.apply(desired)
    bench.keep(desired)
    lines = [line.strip() for line in bench.script.splitlines() if line.strip().startswith("modprobe")]
    assert lines == [f"modprobe {name} || true" for name in ("mlx5_ib", "ib_uverbs", "rdma_ucm")]


def test_the_script_in_a_shell(bench: Bench, booted: Callable[..., Any]) -> None:
    done = booted()
    assert (done.returncode, done.stderr) == (0, "")
    (bench.host.root / f"sys/bus/pci/devices/{SECOND}/device").write_text("0x101b\n")
    done = booted(vfs=2)
    assert (done.returncode, done.stderr.splitlines()) == (
        0,
        ["0000:3b:00.0: has VFs already", "0000:3b:00.1: is another card"],
    )


def test_open_vswitch_does_not_run_yet_when_it_is_run(bench: Bench) -> None:
    bench.host.ovs.start()
    pfs = tuple(replace(pf, bridge=DesiredBridge(f"br-{number}", pf.address)) for number, pf in enumerate(BOTH.pfs))
    wanted = DesiredState(pfs, ovs_offload=True)
    bench.apply(wanted)
    assert set(bench.host.ovs.snapshot()["bridges"]) == {"br-0", "br-1"}
    assert len(bench.keep(wanted)) == 3
    assert "devlink dev eswitch set pci/0000:3b:00.0 mode switchdev" in bench.script
    assert "ovs" not in bench.script
