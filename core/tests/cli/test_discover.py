import json
import re
from collections.abc import Callable
from typing import Any

import yaml

from virtfn.host.machine import Machine
from virtfn.model import EswitchMode, LinkType, PciAddress
from virtfn.testing import FakeHost

Virtfn = Callable[..., Any]


def test_every_pf_is_a_line(virtfn: Virtfn) -> None:
    ended = virtfn("discover")
    assert (ended.code, ended.err) == (0, "")
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[0][:2] == ["PF", "NETDEV"]
    assert [row[1] for row in rows[1:5]] == ["eth0", "eth1", "ens1f0np0", "ens1f1np1"]


def test_rdma_is_shown_where_there_is_some(virtfn: Virtfn, host: FakeHost) -> None:
    line = "RDMA: shared mode, 0000:3b:00.0 (ens1f0np0) mlx5_0, 0000:3b:00.1 (ens1f1np1) mlx5_1"
    assert line in virtfn("discover").out
    Machine(host.kernel).set_num_vfs(PciAddress.parse("0000:3b:00.1"), 1)
    assert "mlx5_2" in virtfn("discover --vfs").out
    assert json.loads(virtfn("discover -o json").out)["platform"]["rdma"]["mode"] == "shared"
    host.unplug("0000:3b:00")
    host.model.rdma.mode = None
    host.model.tree.remove("sys/module/ib_core")
    assert "RDMA" not in virtfn("discover").out.splitlines()[-1]


def test_guids_are_shown_where_there_is_infiniband(virtfn: Virtfn, host: FakeHost) -> None:
    pf = PciAddress.parse("0000:3b:00.1")
    Machine(host.kernel).set_num_vfs(pf, 1)
    assert "GUID" not in virtfn("discover --vfs").out
    netdev = host.function(pf).netdev
    assert netdev is not None
    netdev.link_type = LinkType.IB
    table = virtfn("discover --vfs").out.partition("\nPF ")[2].splitlines()
    assert table[0].split()[-2:] == ["RDMA", "GUID"]
    assert re.fullmatch(r"mlx5_2 +([0-9a-f]{4}:){3}[0-9a-f]{4}", table[1][table[1].index("mlx5_2") :].strip())


def test_discover_writes_nothing(virtfn: Virtfn, host: FakeHost) -> None:
    for form in ("", " --vfs", " -o json", " -o yaml"):
        assert virtfn("discover" + form).code == 0
    assert host.writes == []


def test_data_says_the_same_in_both_forms(virtfn: Virtfn) -> None:
    data = json.loads(virtfn("discover -o json").out)
    assert yaml.safe_load(virtfn("discover -o yaml").out) == data
    pf = data["adapters"][0]["pfs"][0]
    assert (pf["address"], pf["total_vfs"], pf["driver"]) == ("0000:01:00.0", 7, "igb")
    assert data["adapters"][0]["hooks"]["plan_vfs"][-1] == "generic"


def test_function_without_driver_is_reported(virtfn: Virtfn, host: FakeHost) -> None:
    host.kernel.files.write("sys/bus/pci/drivers/igb/unbind", "0000:02:00.0")
    ended = virtfn("discover")
    assert "0000:02:00.0: left alone: no driver is bound" in ended.out


def test_hardware_that_is_no_network_card_is_not_shown(virtfn: Virtfn, host: FakeHost) -> None:
    host.add_card("nvme-sriov", address="0000:0a:00")
    assert "0000:0a:00" not in virtfn("discover").out


def test_empty_machine(virtfn: Virtfn, host: FakeHost) -> None:
    for slot in ("0000:01:00", "0000:02:00", "0000:3b:00"):
        host.unplug(slot)
    ended = virtfn("discover")
    assert ended.code == 0
    assert "No PCI network function" in ended.out


def test_vdpa_devices_are_shown(virtfn: Virtfn, host: FakeHost) -> None:
    host.add_card("connectx-6dx", address="0000:5e:00", names=("ens2f0",), up=True)
    machine = Machine(host.kernel)
    pf = PciAddress.parse("0000:5e:00.0")
    machine.set_eswitch_mode(pf, EswitchMode.SWITCHDEV)
    machine.set_num_vfs(pf, 2)
    for module in ("mlx5_vdpa", "vhost_vdpa"):
        machine.load_module(module)
    machine.add_vdpa(machine.vf_address(pf, 1))
    rows = [line.split() for line in virtfn("discover --vfs").out.splitlines() if line.startswith("ens2f0 ")]
    assert [row[-2] for row in rows if row[1] in ("0", "1")] == ["-", "vhost"]
