import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtfn.model import Plan
from virtfn.model.codec import from_data
from virtfn.testing import FakeHost

Virtfn = Callable[..., Any]

TWO_GROUPS = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: net}
spec:
  resourceName: net
  nodeSelector: {}
  nicSelector: {pfNames: ["eth0#0-3"]}
  numVfs: 7
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: dpdk}
spec:
  resourceName: dpdk
  nodeSelector: {}
  nicSelector: {pfNames: ["eth0#4-6"]}
  numVfs: 7
  deviceType: vfio-pci
"""


def policy(name: str = "p", **spec: Any) -> str:
    whole = {"resourceName": "r", "nodeSelector": {}, "nicSelector": {"pfNames": ["eth1"]}, "numVfs": 2, **spec}
    return yaml.safe_dump(
        {
            "apiVersion": "sriovnetwork.openshift.io/v1",
            "kind": "SriovNetworkNodePolicy",
            "metadata": {"name": name},
            "spec": whole,
        }
    )


def vf_drivers(virtfn: Virtfn, name: str) -> list[str | None]:
    adapters = json.loads(virtfn("discover -o json").out)["adapters"]
    pfs = [pf for adapter in adapters for pf in adapter["pfs"] if pf["netdev"] and pf["netdev"]["name"] == name]
    return [vf["driver"] for vf in pfs[0]["vfs"]]


def test_plan_touches_nothing_and_apply_does_what_it_said(virtfn: Virtfn, host: FakeHost) -> None:
    before = host.snapshot()
    planned = virtfn("plan --exit-code", TWO_GROUPS)
    assert planned.code == 2
    assert host.snapshot() == before
    assert host.writes == []
    applied = virtfn("apply", TWO_GROUPS)
    assert (applied.code, applied.err) == (0, "")
    assert "Done: in sync." in applied.out
    assert vf_drivers(virtfn, "eth0") == ["igbvf"] * 4 + ["vfio-pci"] * 3
    again = virtfn("plan --exit-code", TWO_GROUPS)
    assert (again.code, again.out) == (0, "In sync: nothing to do.\n")


def test_plan_shows_order_disruption_and_reason(virtfn: Virtfn) -> None:
    out = virtfn("plan", TWO_GROUPS).out
    lines = out.splitlines()
    assert lines[0].split() == ["#", "DEVICE", "STEP", "DISRUPTION", "WHY"]
    assert "make 7 VFs" in out
    assert "REFRESH" in out
    assert "7 VFs wanted, 0 seen" in out
    assert "no traffic is lost" in lines[-1]
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in out


def test_plan_names_the_vfs_that_lose_traffic(virtfn: Virtfn) -> None:
    virtfn("apply", policy())
    planned = virtfn("plan", policy(numVfs=4))
    lost = [
        vf["address"] for vf in json.loads(virtfn("plan -o json", policy(numVfs=4)).out)["steps"] if "address" in vf
    ]
    assert lost == []
    assert "VFs that lose traffic: 0000:0" in planned.out
    assert "PF 2 VFs" in planned.out


def test_plan_as_data_is_the_plan(virtfn: Virtfn) -> None:
    as_json = json.loads(virtfn("plan -o json", TWO_GROUPS).out)
    assert yaml.safe_load(virtfn("plan -o yaml", TWO_GROUPS).out) == as_json
    assert (as_json.pop("disruption"), as_json.pop("affects")) == ("REFRESH", [])
    plan = from_data(Plan, as_json)
    assert [step.target for step in plan.steps if step.op == "sriov.set_numvfs"] == ["0000:01:00.0"]


def test_plan_as_script_is_sound_shell(virtfn: Virtfn) -> None:
    ended = virtfn("plan -o sh", TWO_GROUPS)
    assert ended.code == 0
    assert subprocess.run(["sh", "-n"], input=ended.out, text=True, check=False).returncode == 0
    for line in ('echo 7 > "$pci/0000:01:00.0"/sriov_numvfs', "modprobe vfio-pci", 'vf="$(vf 0000:01:00.0 6)"'):
        assert line in ended.out
    comments = [line for line in ended.out.splitlines() if line.startswith("# ") and "[" in line]
    assert len(comments) == len(json.loads(virtfn("plan -o json", TWO_GROUPS).out)["steps"])


def test_other_pf_is_not_touched(virtfn: Virtfn, host: FakeHost) -> None:
    virtfn("apply", policy())
    before = host.snapshot()
    virtfn("apply", TWO_GROUPS)
    after = host.snapshot()
    assert {key: value for key, value in after.items() if key.startswith("0000:02:00")} == {
        key: value for key, value in before.items() if key.startswith("0000:02:00")
    }


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (policy(numVfs=8), ["8 VFs wanted", "at most 7", "0000:02:00.0 (eth1)"]),
        (policy(numVfs="abc"), ["spec.numVfs", "abc"]),
        (policy(numVfs=2, nicSelector={"pfNames": ["eth1#0-3"]}), ["0-3", "numVfs"]),
        (policy(nicSelector={"pfNames": ["eth1#x-3"]}), ["pfNames[0]", "x-3"]),
        (policy(eSwitchmode="switchdev"), ["eSwitchmode", "eSwitchMode"]),
        (policy(eSwitchMode="switchdev"), ["eSwitchMode", "switchdev mode", "UnsupportedEswitchMode"]),
        (policy(mtu=20000), ["mtu", "9216"]),
        ("kind: [", ["file-0.yaml"]),
        ("", ["file-0.yaml"]),
        ("just text", ["file-0.yaml"]),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", ["Pod"]),
    ],
    ids=[
        "too many",
        "not a number",
        "range",
        "bad range",
        "unknown field",
        "mode",
        "mtu",
        "torn",
        "empty",
        "text",
        "kind",
    ],
)
def test_bad_request_is_refused_before_any_write(
    virtfn: Virtfn, host: FakeHost, document: str, words: list[str]
) -> None:
    ended = virtfn("apply", document)
    assert ended.code == 3
    assert host.writes == []
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err


def test_one_bad_pf_holds_up_all_unless_told_to_keep_going(virtfn: Virtfn, host: FakeHost) -> None:
    both = policy("good") + "---\n" + policy("bad", nicSelector={"pfNames": ["eth0"]}, numVfs=9, resourceName="b")
    refused = virtfn("apply", both)
    assert (refused.code, host.writes) == (3, [])
    assert "Nothing was changed." in refused.err
    assert virtfn("apply --keep-going", both).code == 3
    assert vf_drivers(virtfn, "eth1") == ["igbvf", "igbvf"]
    assert vf_drivers(virtfn, "eth0") == []


def test_failure_says_what_was_done_and_the_same_command_goes_on(virtfn: Virtfn, host: FakeHost) -> None:
    fault = host.fail("*/sriov_numvfs", error=errno.ENOMEM)
    failed = virtfn("apply", policy())
    assert failed.code == 4
    assert "NoMemory" in failed.err
    assert "pci=realloc" in failed.err
    assert "not begun. The same command goes on from here." in failed.err
    fault.clear()
    assert virtfn("apply", policy()).code == 0
    assert vf_drivers(virtfn, "eth1") == ["igbvf", "igbvf"]


def test_lie_of_the_kernel_is_not_called_done(virtfn: Virtfn, host: FakeHost) -> None:
    host.fail("*/sriov_numvfs", lie=True)
    ended = virtfn("apply", policy())
    assert ended.code == 4
    assert "NotEffective" in ended.err


def test_vf_held_open_is_refused_with_the_process_named(virtfn: Virtfn, host: FakeHost) -> None:
    virtfn("apply", TWO_GROUPS)
    held = json.loads(virtfn("discover -o json").out)["adapters"][0]["pfs"][0]["vfs"][5]["address"]
    host.hold_vfio(held, pid=77, name="dpdk-testpmd")
    before = host.snapshot()
    ended = virtfn("reset eth0")
    assert ended.code == 4
    for word in (held, "dpdk-testpmd (pid 77)", "DeviceBusy"):
        assert word in ended.err
    assert host.snapshot() == before
    assert virtfn("apply", policy()).code == 0, "the other PF can still be configured"
    host.release_vfio(held)
    assert virtfn("reset eth0").code == 0
    assert vf_drivers(virtfn, "eth0") == []


def test_reset_gives_back_only_what_was_touched(virtfn: Virtfn, host: FakeHost) -> None:
    before = host.snapshot()
    virtfn("apply", policy(mtu=9000))
    virtfn("apply", TWO_GROUPS)
    assert "remove all VFs" in virtfn("reset --plan").out
    assert vf_drivers(virtfn, "eth1") == ["igbvf", "igbvf"]
    assert virtfn("reset eth1").code == 0
    assert vf_drivers(virtfn, "eth0") == ["igbvf"] * 4 + ["vfio-pci"] * 3
    assert virtfn("reset").code == 0
    after = host.snapshot()
    after["node"], before["node"] = {}, {}  # vfio-pci stays loaded
    assert after == before
    assert "Nothing to give back" in virtfn("reset").out


def test_reset_of_an_untouched_pf_is_refused(virtfn: Virtfn) -> None:
    ended = virtfn("reset eth0")
    assert ended.code == 3
    assert "virtfn has not touched such a PF" in ended.err


def test_prune_gives_back_what_the_files_no_longer_name(virtfn: Virtfn) -> None:
    virtfn("apply", policy())
    virtfn("apply", TWO_GROUPS)
    assert vf_drivers(virtfn, "eth1") == ["igbvf", "igbvf"]
    assert virtfn("apply --prune", TWO_GROUPS).code == 0
    assert vf_drivers(virtfn, "eth1") == []
    assert len(vf_drivers(virtfn, "eth0")) == 7


def test_torn_journal_is_told_and_set_aside(virtfn: Virtfn, tmp_path: Path) -> None:
    virtfn("apply", policy())
    record = tmp_path / "journal" / "0000:02:00.0.json"
    record.write_text(record.read_text()[:40])
    assert "journal record cannot be trusted" in virtfn("plan", policy()).err
    assert record.exists(), "a plan only reads"
    assert virtfn("apply", policy()).code == 0
    assert (tmp_path / "journal" / "0000:02:00.0.json.set-aside-1").exists()
    assert virtfn("plan", policy()).err == ""


def test_node_state_is_applied_as_it_stands(virtfn: Virtfn) -> None:
    state = {
        "apiVersion": "sriovnetwork.openshift.io/v1",
        "kind": "SriovNetworkNodeState",
        "metadata": {"name": "node"},
        "spec": {
            "interfaces": [
                {
                    "pciAddress": "0000:02:00.0",
                    "numVfs": 3,
                    "vfGroups": [{"resourceName": "r", "vfRange": "0-1", "deviceType": "vfio-pci"}],
                }
            ]
        },
    }
    assert virtfn("apply", yaml.safe_dump(state)).code == 0
    assert vf_drivers(virtfn, "eth1") == ["vfio-pci", "vfio-pci", "igbvf"]
    state["spec"]["interfaces"][0]["pciAddress"] = "0000:99:00.0"  # type: ignore[index]
    ended = virtfn("apply", yaml.safe_dump(state))
    assert ended.code == 3
    assert "0000:99:00.0" in ended.err
    both = virtfn("apply", yaml.safe_dump(state) + "---\n" + policy())
    assert both.code == 3
    assert "both policies and a node state" in both.err


def test_files_folders_and_standard_input(virtfn: Virtfn, tmp_path: Path) -> None:
    assert "make 2 VFs" in virtfn("plan -f -", policy()).out
    folder = tmp_path / "folder"
    folder.mkdir()
    assert virtfn(f"plan -f {folder}").code == 3
    (folder / "a.yaml").write_text(policy())
    (folder / "notes.txt").write_text("not a policy")
    assert "make 2 VFs" in virtfn(f"plan -f {folder}").out
    assert "cannot be read" in virtfn(f"plan -f {tmp_path}/absent.yaml").err


def test_policy_that_matches_nothing_says_why(virtfn: Virtfn) -> None:
    ended = virtfn("plan", policy(nicSelector={"pfNames": ["eth9"]}))
    assert ended.code == 0
    assert "pfNames" in ended.err


def test_externally_managed_pf_gets_its_vfs_back_and_nothing_else(virtfn: Virtfn, host: FakeHost) -> None:
    host.kernel.files.write("sys/bus/pci/devices/0000:02:00.0/sriov_numvfs", "3")
    before = host.snapshot()
    wish = policy(numVfs=2, externallyManaged=True, deviceType="vfio-pci")
    assert virtfn("apply", wish).code == 0
    assert vf_drivers(virtfn, "eth1") == ["vfio-pci", "vfio-pci", "igbvf"]
    assert not [call for call in host.writes[1:] if "sriov_numvfs" in call.target]
    assert virtfn("reset").code == 0
    assert vf_drivers(virtfn, "eth1") == ["igbvf"] * 3
    assert not [call for call in host.writes[1:] if "sriov_numvfs" in call.target]
    after = host.snapshot()
    assert after["0000:02:00.0"] == before["0000:02:00.0"]


def test_card_that_was_pulled_out_does_not_hold_up_a_reset(virtfn: Virtfn, host: FakeHost) -> None:
    virtfn("apply", policy())
    virtfn("apply", TWO_GROUPS)
    host.unplug("0000:02:00.0")
    ended = virtfn("reset")
    assert ended.code == 0
    assert "0000:02:00.0: is not on this machine now" in ended.err
    assert vf_drivers(virtfn, "eth0") == []


@pytest.mark.parametrize("firmware", [{}, {"SRIOV_EN": False}])
def test_what_takes_a_reboot_is_set_and_not_called_done(
    virtfn: Virtfn, host: FakeHost, firmware: dict[str, bool]
) -> None:
    card = host.add_card("connectx-5", address="0000:5e:00", names=("ens2f0np0", "ens2f1np1"), firmware=firmware)
    wanted = policy(nicSelector={"pfNames": ["ens2f0np0"]}, numVfs=20)
    for _ in range(2):
        applied = virtfn("apply", wanted)
        assert (applied.code, applied.err.count("error")) == (2, 0)
        assert "this node has to be rebooted, then the same command goes on" in applied.out
    assert card.firmware.next["NUM_OF_VFS"] == 20
    host.reboot()
    applied = virtfn("apply", wanted)
    assert (applied.code, vf_drivers(virtfn, "ens2f0np0")) == (0, ["mlx5_core"] * 20)
