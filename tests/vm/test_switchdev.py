"""Switchdev as a node has it: both ports of a card, real udev, what a boot makes again, and what the kernel offers."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.sight import IGB, devlink_mode, look, read
from bed.tidy import tidy

PORTS = IGB[2:4]
UDEVD = Path("/lib/systemd/systemd-udevd")
RULES = Path("/etc/udev/rules.d")
NETWORKD = Path("/etc/systemd/network")
NET = Path("/sys/class/net")
Virtfn = Callable[..., Any]


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def name_of(address: str) -> str:
    interface = look(address).interface
    assert interface is not None
    return interface.name


@pytest.fixture
def generic_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No vendor plugin: igb has no eswitch of its own, and the vendor's plugin knows that."""
    from virtfn.node import Node
    from virtfn.registry import Registry
    from virtfn_generic import GenericPlugin

    def load(_ids: object) -> Registry:
        return Registry.for_testing({"generic": GenericPlugin})

    monkeypatch.setitem(Node.__init__.__kwdefaults__, "registry", load)


class Udev:
    """udevd with the distribution's own rules. What was there before it came gets no event."""

    control = Path("/run/udev/control")

    def start(self) -> None:
        run(str(UDEVD), "--daemon")
        deadline = time.monotonic() + 20
        while not self.control.exists():
            assert time.monotonic() < deadline, "udevd does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """It and its workers are gone when this returns: a late one would rename what the next test makes."""
        run("udevadm", "control", "--exit")
        deadline = time.monotonic() + 20
        while any(read(path) in ("systemd-udevd", "(udev-worker)") for path in Path("/proc").glob("[0-9]*/comm")):
            assert time.monotonic() < deadline, "udevd does not end"
            time.sleep(0.05)
        shutil.rmtree(self.control.parent)


@pytest.fixture
def udev() -> Iterator[Udev]:
    RULES.mkdir(parents=True, exist_ok=True)
    udev = Udev()
    udev.start()
    yield udev
    if udev.control.exists():
        udev.stop()


@pytest.fixture
def systemd() -> Iterator[None]:
    """The folder by which a host with systemd is told."""
    folder = Path("/run/systemd/system")
    folder.mkdir(parents=True, exist_ok=True)
    yield
    folder.rmdir()


@pytest.fixture
def seed() -> str:
    """The shape of kube-ovn's example: both ports by name, three VFs each."""
    names = ", ".join(name_of(address) for address in PORTS)
    return (
        "apiVersion: sriovnetwork.openshift.io/v1\n"
        "kind: SriovNetworkNodePolicy\n"
        "metadata: {name: policy, namespace: kube-system}\n"
        "spec:\n"
        "  nodeSelector: {}\n"
        "  eSwitchMode: switchdev\n"
        "  numVfs: 3\n"
        f"  nicSelector: {{pfNames: [{names}]}}\n"
        "  resourceName: cx_sriov_switchdev\n"
    )


def properties(netdev: str) -> dict[str, str]:
    """What udev's database says of a netdev: `E:NAME=VALUE` in the file of its number."""
    found = Path("/run/udev/data", f"n{(NET / netdev / 'ifindex').read_text().strip()}")
    lines = found.read_text().splitlines() if found.exists() else []
    return dict(line.removeprefix("E:").partition("=")[::2] for line in lines if line.startswith("E:"))


def is_switchdev(address: str) -> bool:
    """Mode, drivers and names as the policy wants them."""
    pf, name = look(address), name_of(address)
    return (
        devlink_mode(address) == "switchdev"
        and pf.drivers() == ["igbvf"] * 3
        and list(pf.representors) == [(index, f"{name}_{index}") for index in range(3)]
    )


def settle() -> None:
    run("udevadm", "settle", "--timeout=30")


def unmanaged(*netdevs: str) -> bool:
    kept = {"NM_UNMANAGED": "1", "ID_NET_MANAGED_BY": "virtfn", "VIRTFN_UNMANAGED": "1"}
    return all(kept.items() <= properties(name).items() for name in netdevs)


@pytest.mark.vm_timeout(240)
def test_both_ports_of_a_card_with_udev_and_a_boot(
    generic_alone: None, udev: Udev, systemd: None, virtfn: Virtfn, seed: str, tmp_path: Path
) -> None:
    from virtfn.daemon.boot import BootKeeper
    from virtfn.host.linux import linux_kernel
    from virtfn.host.machine import Machine
    from virtfn.journal import Journal
    from virtfn.model import DesiredState, PciAddress
    from virtfn.model.owned_files import BOOT_SCRIPT, BOOT_UNIT, BOOT_WANTS, rules_path
    from virtfn.node import Node

    before = [look(address) for address in PORTS]
    assert virtfn("apply", seed).code == 0
    settle()
    assert all(is_switchdev(address) for address in PORTS)
    for address, was in zip(PORTS, before, strict=True):
        now = look(address)
        assert was.interface is not None
        assert now.interface is not None
        assert (now.interface.name, now.interface.mtu) == (was.interface.name, was.interface.mtu)
        assert "NM_UNMANAGED" not in properties(now.interface.name)
        theirs = [vf.interface.name for vf in now.vfs if vf.interface is not None]
        assert len(theirs) == 3
        assert unmanaged(*theirs, *(name for _, name in now.representors))

    pf, other = (name_of(address) for address in PORTS)
    run("ip", "link", "set", "dev", f"{pf}_0", "name", "0123456789ab_h")
    run("ip", "link", "set", "dev", f"{pf}_1", "name", "lost")
    run("udevadm", "trigger", "--action=add", str(NET / "0123456789ab_h"), str(NET / "lost"))
    settle()
    assert (NET / "0123456789ab_h").exists(), "kube-ovn finds what it has named"
    assert (NET / f"{pf}_1").exists(), "udev names what nobody uses"
    run("udevadm", "trigger", "--action=change", str(NET / f"{pf}_1"))
    settle()
    assert unmanaged("0123456789ab_h", f"{pf}_1")

    rules = Path(rules_path(PciAddress.parse(PORTS[1])))
    kept = rules.read_text()
    rules.unlink()
    run("udevadm", "control", "--reload")
    run("udevadm", "trigger", "--action=change", str(NET / f"{other}_1"))
    settle()
    assert not unmanaged(f"{other}_1")
    assert virtfn("apply", seed).code == 0
    settle()
    assert rules.read_text() == kept
    assert unmanaged(f"{other}_1"), "what was there before the rules is looked at again"
    assert virtfn("plan --exit-code", seed).code == 0

    machine = Machine(linux_kernel())
    node = Node(machine, journal=Journal(tmp_path / "journal"), now=time.monotonic)
    keeper = BootKeeper(node, machine, journal=tmp_path / "journal")
    script = Path(BOOT_SCRIPT)

    def restore(*shell: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*shell, str(script)], capture_output=True, text=True, timeout=90, check=False)

    seen = node.observe()
    wanted = DesiredState(tuple(one.applied for one in seen.records.values() if one.applied is not None))
    assert len(wanted.pfs) == 2
    keeper.keep(seen, wanted)
    assert all(Path(path).exists() for path in (BOOT_SCRIPT, BOOT_UNIT, BOOT_WANTS))

    udev.stop()  # it would give the same names, and is not to help
    tidy()  # as a boot leaves it
    assert not any(look(address).num_vfs for address in PORTS)
    done = restore("sh")
    assert done.returncode == 0, done.stderr
    assert all(is_switchdev(address) for address in PORTS), done.stderr
    again = restore("busybox", "sh")
    assert (again.returncode, again.stderr.count("has VFs already")) == (0, 2)
    assert virtfn("plan --exit-code", seed).code == 0

    udev.start()
    text = script.read_text()
    assert virtfn("reset").code == 0
    assert [devlink_mode(address) for address in PORTS] == ["legacy"] * 2
    assert [look(address) for address in PORTS] == before
    assert not [path for folder in (RULES, NETWORKD) for path in folder.glob("*virtfn*")]
    keeper.keep(node.observe(), DesiredState())
    assert not any(Path(path).exists() for path in (BOOT_SCRIPT, BOOT_UNIT, BOOT_WANTS))
    script.write_text(text)
    late = restore("sh")
    script.unlink()
    assert (late.returncode, late.stderr.count("was given back")) == (0, 2)
    assert not any(look(address).num_vfs for address in PORTS)


def test_parameters_of_a_card(pristine: None) -> None:
    from virtfn.errors import KernelRefused
    from virtfn.host.api import ParamMode
    from virtfn.host.linux import linux_kernel
    from virtfn.host.machine import Machine
    from virtfn.model import EswitchMode, PciAddress

    pf = PciAddress.parse(PORTS[0])
    machine = Machine(linux_kernel())
    found = machine.devlink_param(pf, "flow_steering_mode")
    assert found is not None
    was = found.value()
    assert isinstance(was, str)
    other = next(word for word in ("dmfs", "smfs") if word != was)
    machine.set_devlink_param(pf, "flow_steering_mode", other, mode=ParamMode.RUNTIME)
    assert f"value {other}" in run("devlink", "dev", "param", "show", f"pci/{pf}", "name", "flow_steering_mode")
    machine.set_eswitch_mode(pf, EswitchMode.SWITCHDEV)
    with pytest.raises(KernelRefused):
        machine.set_devlink_param(pf, "flow_steering_mode", was, mode=ParamMode.RUNTIME)
    machine.set_eswitch_mode(pf, EswitchMode.LEGACY)
    machine.set_devlink_param(pf, "flow_steering_mode", was, mode=ParamMode.RUNTIME)
    assert machine.devlink_param(pf, "there_is_no_such_thing") is None


def test_features_and_parameters_of_netdevsim(netdevsim: Callable[..., Path]) -> None:
    from virtfn.host.api import ParamMode
    from virtfn.host.linux import linux_kernel
    from virtfn.host.representors import keeps_name
    from virtfn.model import EswitchMode

    device = netdevsim(41)
    (uplink,) = [path.name for path in (device / "net").iterdir()]
    kernel, handle = linux_kernel(), ("netdevsim", "netdevsim41")
    ethtool, devlink = kernel.ethtool, kernel.devlink
    first = ethtool.feature(uplink, "hw-tc-offload")
    assert first is not None
    for wanted in (not first, first):
        ethtool.set_feature(uplink, "hw-tc-offload", wanted)
        assert ethtool.feature(uplink, "hw-tc-offload") is wanted
        assert f"hw-tc-offload: {'on' if wanted else 'off'}" in run("ethtool", "-k", uplink)

    for name, value in (("max_macs", 16), ("test1", False), ("test1", True)):
        param = devlink.param(handle, name)
        assert param is not None
        devlink.set_param(handle, param, value, mode=ParamMode.DRIVERINIT)
        now = devlink.param(handle, name)
        assert now is not None
        assert now.value(ParamMode.DRIVERINIT) == value
        word = str(value).lower()
        assert f"value {word}" in run("devlink", "dev", "param", "show", "/".join(handle), "name", name)

    before = kernel.links.link(uplink).ifindex
    assert devlink.reload(handle), "the kernel says what it did"
    (renewed,) = [path.name for path in (device / "net").iterdir()]
    assert kernel.links.link(renewed).ifindex != before, "another netdev"
    assert "value 16" in run("devlink", "dev", "param", "show", "/".join(handle), "name", "max_macs")

    (device / "sriov_numvfs").write_text("2")
    devlink.set_eswitch_mode(handle, EswitchMode.SWITCHDEV)
    links = {
        link.phys_port_name: link for link in kernel.links.links().values() if (device / "net" / link.name).exists()
    }
    representor = links["pf0vf1"]
    assert not keeps_name(representor)
    kernel.links.rename(representor.ifindex, "simulated_1")
    assert kernel.links.link("simulated_1").ifindex == representor.ifindex
    run("ip", "link", "property", "add", "dev", "simulated_1", "altname", "as_udev_does_it")
    kernel.links.rename(representor.ifindex, "as_udev_does_it")
    assert kernel.links.link("as_udev_does_it").alt_names == ()
    with pytest.raises(FileExistsError):
        kernel.links.rename(representor.ifindex, uplink)
    devlink.set_eswitch_mode(handle, EswitchMode.LEGACY)
