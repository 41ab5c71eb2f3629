"""Policies on real cards: groups, counts, regrouping, and what is refused before anything is written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bed.sight import NVME, PCI, VFIO, iommu_group, look, look_at_all
from bed.tidy import RESCAN

FIRST, SECOND, PORT_0, PORT_1 = "0000:01:00.0", "0000:02:00.0", "0000:04:00.0", "0000:04:00.1"
Policy = Callable[..., str]
Virtfn = Callable[..., Any]


def group_files() -> set[str]:
    return {path.name for path in VFIO.iterdir()} - {"vfio", "devices"}


def test_two_groups_on_one_card_and_two_vfs_on_another(virtfn: Virtfn, two_groups: str) -> None:
    before = look_at_all()
    assert virtfn("plan --exit-code", two_groups).code == 2
    assert look_at_all() == before

    assert virtfn("apply", two_groups).code == 0
    first, second = look(FIRST), look(SECOND)
    assert (first.num_vfs, first.drivers()) == (7, ["igbvf"] * 4 + ["vfio-pci"] * 3)
    assert (second.num_vfs, second.drivers()) == (2, ["igbvf"] * 2)
    assert first.autoprobe
    assert first.interface is not None
    assert first.interface.up
    macs = [vf.admin_mac for vf in (*first.vfs, *second.vfs)]
    assert len(set(macs)) == 9
    assert None not in macs
    assert "00:00:00:00:00:00" not in macs
    for vf in (*first.vfs[:4], *second.vfs):
        assert vf.interface is not None
        assert vf.interface.mac == vf.admin_mac
    assert {vf.override for vf in first.vfs} == {"(null)"}
    assert group_files() == {iommu_group(vf.address) for vf in first.vfs[4:]}

    again = virtfn("plan --exit-code", two_groups)
    assert (again.code, again.err) == (0, "")
    assert "nothing to do" in again.out
    assert json.loads(virtfn("plan -o json", two_groups).out)["steps"] == []

    assert virtfn("reset").code == 0
    assert look_at_all() == before


def test_a_card_is_not_touched_when_another_one_changes(virtfn: Virtfn, policy: Policy) -> None:
    other = policy(SECOND, 2)
    assert virtfn("apply", policy(FIRST, 2) + other).code == 0
    before = look(SECOND)
    assert virtfn("apply", policy(FIRST, 3) + other).code == 0
    assert (look(FIRST).num_vfs, look(SECOND)) == (3, before)
    assert virtfn(f"reset {FIRST}").code == 0
    assert (look(FIRST).num_vfs, look(SECOND)) == (0, before)


def test_one_port_of_a_card_is_not_touched_when_the_other_one_changes(virtfn: Virtfn, policy: Policy) -> None:
    before = look(PORT_1)
    assert virtfn("apply", policy(PORT_0, 2)).code == 0
    assert (look(PORT_0).num_vfs, look(PORT_1)) == (2, before)
    assert virtfn("reset").code == 0
    assert look(PORT_1) == before


def test_more_vfs_and_none(virtfn: Virtfn, policy: Policy) -> None:
    assert virtfn("apply", policy(FIRST, 4)).code == 0
    assert look(FIRST).num_vfs == 4
    planned = json.loads(virtfn("plan -o json", policy(FIRST, 7)).out)
    assert planned["disruption"] == "PF"
    assert planned["affects"] == [vf.address for vf in look(FIRST).vfs]
    assert virtfn("apply", policy(FIRST, 7)).code == 0
    assert look(FIRST).drivers() == ["igbvf"] * 7
    none = (
        "apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodeState\nmetadata: {name: n, namespace: s}\n"
        f"spec:\n  interfaces:\n  - {{pciAddress: '{FIRST}', numVfs: 0}}\n"
    )
    assert virtfn("apply", none).code == 0
    assert look(FIRST).vfs == ()
    assert virtfn("plan --exit-code", none).code == 0


@pytest.mark.parametrize("number", [4, 0])
def test_a_vf_that_changes_its_group_leaves_the_others_as_they_are(
    virtfn: Virtfn, policy: Policy, two_groups: str, number: int
) -> None:
    """4 goes from user space to the network, 0 the other way."""
    assert virtfn("apply", two_groups).code == 0
    before = look(FIRST)
    network, userspace = ("0-4", "5-6") if number == 4 else ("1-3", "4-6")
    wanted = policy(FIRST, 7, vfs=network) + policy(FIRST, 7, vfs=userspace, deviceType="vfio-pci")
    if number == 0:
        wanted += policy(FIRST, 7, vfs="0-0", deviceType="vfio-pci")
    planned = json.loads(virtfn("plan -o json", wanted + policy(SECOND, 2)).out)
    assert (planned["disruption"], planned["affects"]) == ("VFS", [before.vfs[number].address])

    assert virtfn("apply", wanted + policy(SECOND, 2)).code == 0
    after = look(FIRST)
    others = [vf for index, vf in enumerate(before.vfs) if index != number]
    assert [vf for index, vf in enumerate(after.vfs) if index != number] == others
    assert after.interface == before.interface
    moved = after.vfs[number]
    assert moved.admin_mac == before.vfs[number].admin_mac
    if number == 4:
        assert moved.driver == "igbvf"
        assert moved.interface is not None
        assert moved.interface.mac == moved.admin_mac
    else:
        assert (moved.driver, moved.interface) == ("vfio-pci", None)
    assert virtfn("plan --exit-code", wanted + policy(SECOND, 2)).code == 0


def test_more_vfs_than_the_card_has_are_refused_before_anything_is_written(virtfn: Virtfn, policy: Policy) -> None:
    before = look_at_all()
    for command in ("plan", "apply"):
        ended = virtfn(command, policy(SECOND, 2) + policy(FIRST, 8))
        assert ended.code == 3
        assert FIRST in ended.err
        assert "numVfs" in ended.err
        assert "at most 7" in ended.err
        assert "[TooManyVfs]" in ended.err
        assert look_at_all() == before


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda text: text.replace("numVfs: 2", "numVfs: abc"), "spec.numVfs"),
        (lambda text: text.replace("numVfs: 2", "numVfs: -1"), "spec.numVfs"),
        (lambda text: text.replace("spec:\n", "spec: {\n"), "line"),
        (lambda text: text.replace("#0-1", "#1-x"), "pfNames"),
        (lambda text: text.replace("#0-1", "#1-2"), "vfRange"),
    ],
    ids=["not a number", "negative", "no YAML", "no range", "range beyond numVfs"],
)
def test_a_malformed_policy_is_refused_with_the_field_named(
    virtfn: Virtfn, policy: Policy, spoil: Callable[[str], str], named: str
) -> None:
    sound = policy(FIRST, 2, vfs="0-1")
    before = look_at_all()
    ended = virtfn("apply", policy(SECOND, 2), spoil(sound))
    assert (ended.code, look_at_all()) == (3, before)
    assert named in ended.err


def test_a_policy_for_a_card_that_is_not_there_says_so(virtfn: Virtfn, policy: Policy) -> None:
    ended = virtfn("apply", policy("0000:09:00.0", 2))
    assert ended.code == 0
    assert "selects no NIC here" in ended.err
    state = (
        "apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodeState\nmetadata: {name: n, namespace: s}\n"
        "spec:\n  interfaces:\n  - {pciAddress: '0000:09:00.0', numVfs: 2, name: eth9}\n"
    )
    ended = virtfn("apply", state)
    assert ended.code == 3
    assert "0000:09:00.0" in ended.err
    assert "[DeviceNotFound]" in ended.err


def test_a_card_that_vanishes_between_plan_and_perform(
    virtfn: Virtfn, policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from virtfn.node import Node

    before = look_at_all()
    perform = Node.perform

    def vanish(*args: Any, **kwargs: Any) -> Any:
        (PCI / FIRST / "remove").write_text("1")
        return perform(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Node, "perform", vanish)
        ended = virtfn("apply", policy(FIRST, 2) + policy(SECOND, 2))
    assert ended.code == 4
    assert f"{FIRST}: " in ended.err
    assert "[DeviceGone]" in ended.err
    after = look_at_all()
    assert after.keys() == before.keys() - {FIRST}
    untouched = before.keys() - {FIRST, SECOND}
    assert {address: after[address] for address in untouched} == {address: before[address] for address in untouched}
    assert look(SECOND).num_vfs == 2, "what fails on one card keeps no other from being made"
    assert {path.name for path in (tmp_path / "journal").glob("*.json*")} == {f"{FIRST}.json", f"{SECOND}.json"}

    assert virtfn("discover").code == 0
    RESCAN.write_text("1")
    assert virtfn("apply", policy(FIRST, 2) + policy(SECOND, 2)).code == 0
    assert (look(FIRST).num_vfs, look(SECOND).num_vfs) == (2, 2)
    assert virtfn("reset").code == 0
    assert (look(FIRST).vfs, look(SECOND)) == ((), before[SECOND])


def test_a_function_that_is_no_network_card_is_neither_shown_nor_touched(virtfn: Virtfn, policy: Policy) -> None:
    before = look(NVME)
    shown = json.loads(virtfn("discover -o json").out)
    assert [pf["address"] for adapter in shown["adapters"] for pf in adapter["pfs"]] == [
        "0000:00:04.0",
        FIRST,
        SECOND,
        PORT_0,
        PORT_1,
    ]
    assert virtfn("apply", policy(NVME, 2)).code == 0
    assert look(NVME) == before


def test_a_card_without_a_driver_is_shown_and_left_alone(virtfn: Virtfn, policy: Policy) -> None:
    (PCI / FIRST / "driver/unbind").write_text(FIRST)
    before = look(FIRST)
    shown = virtfn("discover")
    assert shown.code == 0
    assert f"{FIRST}: left alone: no driver is bound" in shown.out
    for command in ("plan", "apply"):
        ended = virtfn(command, policy(FIRST, 2))
        assert ended.code == 3
        assert FIRST in ended.err
        assert "no driver is bound" in ended.err
    assert look(FIRST) == before
    Path("/sys/bus/pci/drivers/igb/bind").write_text(FIRST)
    assert virtfn("apply", policy(FIRST, 2)).code == 0
    assert look(FIRST).drivers() == ["igbvf"] * 2


def test_a_larger_mtu_changes_the_mtu_only(virtfn: Virtfn, policy: Policy) -> None:
    assert virtfn("apply", policy(FIRST, 2)).code == 0
    before = look(FIRST)
    assert virtfn("apply", policy(FIRST, 2, mtu=9000)).code == 0
    after = look(FIRST)
    assert after.interface is not None
    assert after.interface.mtu == 9000
    assert [vf.interface.mtu for vf in after.vfs if vf.interface] == [9000, 9000]

    def without_mtu(pf: Any) -> str:
        return str(pf).replace("mtu=1500", "mtu=9000")

    assert without_mtu(after) == without_mtu(before)
    assert virtfn("plan --exit-code", policy(FIRST, 2, mtu=9000)).code == 0
    assert virtfn("reset").code == 0
    reset = look(FIRST)
    assert reset.interface is not None
    assert reset.interface.mtu == 1500


def test_an_externally_managed_card_is_not_written(virtfn: Virtfn, policy: Policy) -> None:
    (PCI / FIRST / "sriov_numvfs").write_text("3")
    before = look(FIRST)
    wanted = policy(FIRST, 3, externallyManaged="true")
    assert virtfn("apply", wanted).code == 0
    assert look(FIRST) == before
    assert virtfn("reset").code == 0
    assert look(FIRST) == before


def test_autoprobe_that_somebody_switched_off_stays_off(virtfn: Virtfn, policy: Policy) -> None:
    autoprobe = PCI / FIRST / "sriov_drivers_autoprobe"
    autoprobe.write_text("0")
    assert virtfn("apply", policy(FIRST, 2)).code == 0
    pf = look(FIRST)
    assert (pf.autoprobe, pf.drivers()) == (False, ["igbvf"] * 2)
    assert virtfn("reset").code == 0
    pf = look(FIRST)
    assert (pf.autoprobe, pf.vfs) == (False, ())


def test_the_script_of_a_plan_does_what_apply_would(virtfn: Virtfn, two_groups: str, tmp_path: Path) -> None:
    script = tmp_path / "plan.sh"
    script.write_text(virtfn("plan -o sh", two_groups).out)
    done = subprocess.run(["/bin/sh", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert look(FIRST).drivers() == ["igbvf"] * 4 + ["vfio-pci"] * 3
    assert virtfn("plan --exit-code", two_groups).code == 0


def test_installed_plugins_serve_the_cards(virtfn: Virtfn) -> None:
    listed = virtfn("plugins")
    assert (listed.code, listed.err) == (0, "")
    assert {"generic", "intel", "mellanox", "virtual"} <= {line.split()[0] for line in listed.out.splitlines()}
    shown = json.loads(virtfn("discover -o json").out)
    owners = {adapter["address"]: adapter["owner"] for adapter in shown["adapters"]}
    assert owners == {
        "0000:00:04": "virtual",
        "0000:01:00": "8086",
        "0000:02:00": "8086",
        "0000:04:00": "8086",
    }
    assert shown["adapters"][1]["model"] == "82576 Gigabit Network Connection"
