"""Offload, inline mode, representors' names and virtfn's own files, on the simulated ground; ethtool on this kernel."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtfn.errors import CommandFailed, DeviceBusy, KernelRefused, NotEffective, NotPermitted, WaitTimeout
from virtfn.host.ethtool import IoctlEthtool
from virtfn.host.files import HostFiles
from virtfn.host.kernel import LinkInfo
from virtfn.host.machine import Machine
from virtfn.host.representors import keeps_name, representors_of
from virtfn.model import EswitchMode, PciAddress
from virtfn.model.owned_files import FOREIGN, MARK, digest_of, rules_path
from virtfn.testing.fakehost import FakeHost
from virtfn.testing.ground.card import Quirks

PF = PciAddress.parse("0000:3b:00.0")
RULES = rules_path(PF)
TEXT = f"# {MARK}: a test\n"


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(udev=True) as made:
        yield made


@pytest.fixture
def machine(host: FakeHost) -> Machine:
    return Machine(host.kernel)


def link(
    name: str, port: str | None, *, switch: str | None = "aa", up: bool = False, master: int | None = None
) -> LinkInfo:
    return LinkInfo(7, name, "02:00:00:00:00:01", 1500, up, phys_port_name=port, phys_switch_id=switch, master=master)


# --- representors -----------------------------------------------------------------------------------------------------


def test_representors_are_told_by_port_and_switch() -> None:
    uplink = link("ens1f0np0", "p0")
    links = [
        uplink,
        link("ens1f0np0_0", "pf0vf0"),
        link("eth3", "pf0vf1"),
        link("other", "pf1vf2"),
        link("elsewhere", "pf0vf2", switch="bb"),
        link("dpu", "c1pf0vf3"),
        link("far", "c1pf0vf1"),
        link("sf", "pf0sf4"),
    ]
    found = representors_of(uplink, {one.name: one for one in links})
    assert {index: one.name for index, one in found.items()} == {0: "ens1f0np0_0", 1: "eth3", 3: "dpu"}
    assert representors_of(link("eth0", None), {}) == {}


def test_a_representor_in_the_pfs_folder_is_the_pfs_whatever_the_number_of_its_port() -> None:
    uplink = link("ens1f2np0", "p0")
    links = [uplink, link("own", "pf2vf0"), link("also", "pf2vf1"), link("neighbours", "pf0vf0")]
    found = representors_of(uplink, {one.name: one for one in links}, below=("ens1f2np0", "own", "also"))
    assert {index: one.name for index, one in found.items()} == {0: "own", 1: "also"}


def test_a_pf_whose_netdev_is_elsewhere(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-6dx", address="0000:3b:00", ports=1, names=["p0"], up=True)
    machine.set_num_vfs(PF, 1, probe=False)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    host.move_to_namespace(PF)
    assert len(machine.netdev_names(PF)) == 1, "its representor"
    assert machine.pf(PF).netdev is None
    assert machine.own_link(PF) is None


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (link("eth3", "pf0vf1"), False),
        (link("eth3", "pf0vf1", up=True), True),
        (link("eth3", "pf0vf1", master=9), True),
        (link("0123456789ab_h", "pf0vf1"), True),
    ],
)
def test_who_keeps_a_name(one: LinkInfo, kept: bool) -> None:
    assert keeps_name(one) is kept


def test_naming(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-6dx", address="0000:3b:00", names=["p0", "p1"], up=True)
    machine.set_num_vfs(PF, 2, probe=False)
    with pytest.raises(WaitTimeout, match="representors of 2 VFs"):
        machine.name_representors(PF, {0: "p0_0", 1: "p0_1"})
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    assert machine.name_representors(PF, {0: "p0_0", 1: "p0_1"}) == ()
    assert [vf.representor for vf in machine.pf(PF).vfs] == ["p0_0", "p0_1"]
    host.kernel.links.set_link(host.kernel.links.link("p0_0").ifindex, up=True)
    assert machine.name_representors(PF, {0: "new", 1: "p0_1"}) == ("p0_0, that of VF 0, is in use and keeps its name",)
    host.fail("rename *", lie=True, times=1)
    with pytest.raises(NotEffective, match="cannot rename p0_1 to new"):
        machine.name_representors(PF, {1: "new"})
    host.fail("rename *", error=errno.EINVAL, times=1)
    with pytest.raises(KernelRefused, match="cannot rename p0_1 to new"):
        machine.name_representors(PF, {1: "new"})


@pytest.fixture
def representors(host: FakeHost, machine: Machine) -> Callable[[], list[str | None]]:
    """Of three VFs, called p0_0 to p0_2; their names at present."""
    host.add_card("connectx-6dx", address="0000:3b:00", names=["p0", "p1"], up=True)
    machine.set_num_vfs(PF, 3, probe=False)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    assert machine.name_representors(PF, {index: f"p0_{index}" for index in range(3)}) == ()
    return lambda: [vf.representor for vf in machine.pf(PF).vfs]


def test_a_name_that_somebody_else_has_stays_there(
    machine: Machine, representors: Callable[[], list[str | None]]
) -> None:
    kept = machine.name_representors(PF, {0: "p1", 1: "p0_0", 2: "eth9"})
    assert kept == (
        "p0_0, that of VF 0, keeps its name, as another netdev has p1",
        "p0_1, that of VF 1, keeps its name, as another netdev has p0_0",
    )
    assert representors() == ["p0_0", "p0_1", "eth9"]


@pytest.mark.parametrize(
    "wanted", [["p0_1", "p0_2", "p0_3"], ["p0_1", "p0_2", "p0_0"], ["p0_1", "p0_0", "p0_2"], ["p0_2", "eth9", "p0_0"]]
)
def test_names_that_change_hands(
    machine: Machine, representors: Callable[[], list[str | None]], wanted: list[str]
) -> None:
    assert machine.name_representors(PF, dict(enumerate(wanted))) == ()
    assert representors() == wanted


# --- offload and inline mode ------------------------------------------------------------------------------------------


def test_offload(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    host.add_card("82576", address="0000:5e:00", up=True)
    machine.set_tc_offload(PF, True)
    netdev = machine.pf(PF).netdev
    assert netdev is not None
    assert netdev.tc_offload is True
    host.fail("set_feature *", lie=True)
    with pytest.raises(NotEffective, match="cannot switch hw-tc-offload off"):
        machine.set_tc_offload(PF, False)
    with pytest.raises(KernelRefused, match="does not offer it") as refused:
        machine.set_tc_offload(PciAddress.parse("0000:5e:00.0"), True)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_what_is_in_the_way_of_a_mode(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    machine.set_num_vfs(PF, 2)
    with pytest.raises(KernelRefused, match=r"in the way: 0000:3b:00.2 \(mlx5_core\), 0000:3b:00.3"):
        machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    host.fail("set_eswitch_mode *", error=errno.EBUSY, text="mlx5_core: Can't change mode, E-Switch is busy")
    with pytest.raises(DeviceBusy, match="E-Switch is busy; something holds the eswitch"):
        machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)


def test_a_mode_that_goes_with_the_last_vf_is_set_again(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True, quirks=Quirks(legacy_without_vfs=True))
    machine.set_num_vfs(PF, 2, probe=False)
    machine.set_eswitch_mode(PF, EswitchMode.SWITCHDEV)
    machine.set_num_vfs(PF, 3, probe=False)
    now = machine.pf(PF)
    assert (now.eswitch_mode, now.num_vfs) == (EswitchMode.SWITCHDEV, 3)
    assert all(vf.representor for vf in now.vfs)
    machine.set_num_vfs(PF, 0)
    assert machine.pf(PF).eswitch_mode is EswitchMode.LEGACY
    machine.set_num_vfs(PF, 2)
    assert machine.pf(PF).eswitch_mode is EswitchMode.LEGACY


def test_a_driver_that_lets_go_a_moment_later(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)
    machine.set_num_vfs(PF, 1)
    vf = machine.vf_address(PF, 0)
    host.fail("write */unbind", lie=True, times=1)
    host.after(1.0, lambda: host.kernel.files.write("sys/bus/pci/drivers/mlx5_core/unbind", str(vf)))
    machine.unbind_driver(vf)
    assert machine.driver(vf) is None


def test_inline_mode(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-4lx", address="0000:3b:00", up=True)
    host.add_card("connectx-5", address="0000:5e:00", up=True)
    machine.set_inline_mode(PF, "transport")
    assert machine.pf(PF).inline_mode == "transport"
    with pytest.raises(KernelRefused, match="Inline mode can't be set"):
        machine.set_inline_mode(PciAddress.parse("0000:5e:00.0"), "transport")


def test_this_kernels_features() -> None:
    ethtool = IoctlEthtool()
    assert ethtool.feature("lo", "no-such-feature") is None
    assert ethtool.feature("lo", "loopback") in (True, None)
    assert ethtool.feature("lo", "tx-scatter-gather") is True
    with pytest.raises(OSError, match="no feature"):
        ethtool.set_feature("lo", "no-such-feature", True)
    with pytest.raises(OSError, match="No such device"):
        ethtool.feature("virtfn-nothing", "loopback")


# --- files ------------------------------------------------------------------------------------------------------------


def test_own_files(host: FakeHost, machine: Machine) -> None:
    assert machine.platform().udev
    machine.write_file(RULES, TEXT)
    assert machine.platform().owned_files == {RULES: digest_of(TEXT)}
    machine.remove_file(RULES)
    machine.remove_file(RULES)
    assert machine.platform().owned_files == {}
    machine.reload_udev(PF)


def test_only_own_files_in_own_places(host: FakeHost, machine: Machine) -> None:
    for path in ("/etc/passwd", "/etc/udev/rules.d/70-x.rules", "/etc/udev/rules.d/10-virtfn-../../x.rules"):
        with pytest.raises(NotPermitted, match="keeps no files there"):
            machine.write_file(path, TEXT)
        with pytest.raises(NotPermitted, match="keeps no files there"):
            machine.remove_file(path)
    with pytest.raises(NotPermitted, match="does not say"):
        machine.write_file(RULES, "# mine\n")
    (host.root / RULES.lstrip("/")).write_text("# an administrator's\n")
    assert machine.platform().owned_files == {RULES: FOREIGN}
    for call in (lambda: machine.write_file(RULES, TEXT), lambda: machine.remove_file(RULES)):
        with pytest.raises(NotPermitted, match="is not virtfn's"):
            call()


def test_networkd_reads_its_files_anew_if_it_runs(host: FakeHost, machine: Machine) -> None:
    host.add_card("connectx-5", address="0000:3b:00", up=True)

    def told() -> list[str]:
        begun = len(host.calls)
        machine.reload_udev(PF)
        return [" ".join(call.value) for call in host.calls[begun:] if call.kind == "run"]

    assert told() == ["udevadm control --reload"]
    (host.root / "run/systemd/netif").mkdir(parents=True)
    assert told() == ["udevadm control --reload", "networkctl reload"]
    machine.set_num_vfs(PF, 1)
    assert told() == ["udevadm control --reload", "udevadm settle --timeout=10", "networkctl reload"]
    host.fail("run networkctl", error=2)
    with pytest.raises(CommandFailed, match="networkctl: not installed"):
        machine.reload_udev(PF)


def test_a_host_without_udev() -> None:
    with FakeHost() as host:
        machine = Machine(host.kernel)
        assert not machine.platform().udev
        with pytest.raises(CommandFailed, match="udevadm control --reload failed"):
            machine.reload_udev(PF)


def test_replacing_a_real_file(tmp_path: Path) -> None:
    with HostFiles(tmp_path) as files:
        files.replace("/etc/some/file", "one\n", mode=0o600)
        files.replace("etc/some/file", "two\n", mode=0o755)
        path = tmp_path / "etc/some/file"
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two\n", 0o755)
        assert [one.name for one in path.parent.iterdir()] == ["file"]
        assert files.writable("etc/some")
        assert not files.writable("etc/nothing")
        files.remove("etc/some/file")
        files.remove("etc/some/file")
        assert not path.exists()
        (tmp_path / "etc/some/file.virtfn-new").symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic links"):
            files.replace("etc/some/file", "three\n", mode=0o644)
