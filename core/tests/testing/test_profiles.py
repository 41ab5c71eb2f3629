"""Profiles are data: they load, they are checked, and what is wrong is named."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from virtfn.errors import InvalidDocument
from virtfn.testing import FakeHost, load_profile, parse_profile, profile_names

PLAIN = """
product = "Card"
[pci]
vendor = "8086"
device = "1572"
[driver]
name = "i40e"
[sriov]
vf_device = "154c"
vf_driver = "iavf"
total_vfs = 8
offset = 16
stride = 1
"""


@pytest.mark.parametrize(
    ("name", "pf", "vf", "total"),
    [
        ("connectx-4lx", "15b3:1015", "15b3:1016", 8),
        ("connectx-5", "15b3:1017", "15b3:1018", 8),
        ("connectx-6dx", "15b3:101d", "15b3:101e", 16),
        ("connectx-7", "15b3:1021", "15b3:101e", 16),
        ("connectx-6-ib", "15b3:101b", "15b3:101c", 8),
        ("bluefield-2", "15b3:a2d6", "15b3:101e", 16),
        ("x710", "8086:1572", "8086:154c", 64),
        ("e810", "8086:159b", "8086:1889", 128),
        ("82599", "8086:10fb", "8086:10ed", 64),
        ("82576", "8086:10c9", "8086:10ca", 8),
        ("bnxt", "14e4:16d7", "14e4:16dc", 64),
        ("nvme-sriov", "1b36:0010", "1b36:0010", 4),
        ("unlisted", "fff1:0001", "fff1:0002", 16),
    ],
)
def test_ids_and_totals(name: str, pf: str, vf: str, total: int) -> None:
    profile = load_profile(name)
    assert (str(profile.pci.id), str(profile.vf_id)) == (pf, vf)
    assert profile.sriov is not None
    assert profile.sriov.total_vfs == total


@pytest.mark.parametrize("name", ["virtio", "ena"])
def test_nics_of_virtual_machines_have_no_sriov(name: str) -> None:
    assert load_profile(name).sriov is None


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_makes_a_card(name: str) -> None:
    with FakeHost() as host:
        card = host.add_card(name)
        assert host.function(card.pf()).driver is not None


def test_firmware_number_of_vfs_agrees_with_the_capability() -> None:
    for profile in map(load_profile, profile_names()):
        number = profile.firmware.defaults.get("NUM_OF_VFS")
        assert profile.sriov is None or number in (None, profile.sriov.total_vfs), profile.name


def test_profiles_are_package_data() -> None:
    folder = files("virtfn.testing") / "profiles"
    for name in profile_names():
        assert tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))["product"]


def test_values_nobody_confirmed_are_named() -> None:
    assert "sriov.total_vfs" in load_profile("bnxt").assumed
    assert "sriov.offset" in load_profile("bnxt").assumed
    assert "sriov.total_vfs" not in load_profile("82576").assumed


def test_unknown_profile_says_which_there_are() -> None:
    with pytest.raises(InvalidDocument, match=r"no device profile 'connectx-99' \(there are: .*connectx-5"):
        load_profile("connectx-99")


@pytest.mark.parametrize(
    ("old", "new", "field", "text"),
    [
        ('vendor = "8086"', 'vendor = "0x8086"', "pci.vendor", "pattern"),
        ('device = "1572"\n', "", "pci.device", "required"),
        ("total_vfs = 8", 'total_vfs = "many"', "sriov.total_vfs", "integer"),
        ("total_vfs = 8", "total_vfs = 8\nvfs = 9", "sriov.vfs", "Unexpected keyword argument"),
        ("stride = 1", "stride = 0", "sriov.stride", "at least 1"),
        ("stride = 1", "stride = 1\ndriver_max_vfs = 9", "sriov.driver_max_vfs", "only lower"),
        ("stride = 1", 'stride = 1\nlayout = "functions"', "sriov.offset", "16 is not after the card's 1 functions"),
        ("stride = 1", 'stride = 1\nlayout = "spiral"', "sriov.layout", "'functions', 'blocks' or 'interleaved'"),
        ('product = "Card"', 'product = "Card"\nassumed = ["sriov.speed"]', "assumed", "'sriov.speed'"),
        ("[sriov]", "[ports]\nmtu = 20\n[sriov]", "ports.mtu", "between 68 and 1500"),
        ("[sriov]", "[ports]\ncount = 9\n[sriov]", "ports.count", "1 to 8"),
        ("[sriov]", "[firmware.settings]\nX = 1\n[sriov]", "firmware.settings.X", "no default"),
    ],
)
def test_a_bad_profile_names_the_field(old: str, new: str, field: str, text: str) -> None:
    assert parse_profile(PLAIN, name="mine").sriov is not None
    with pytest.raises(InvalidDocument) as caught:
        parse_profile(PLAIN.replace(old, new), name="mine")
    assert str(caught.value).startswith("profile mine: ")
    assert text in str(caught.value)
    assert caught.value.field == field


def test_a_profile_that_is_no_toml() -> None:
    with pytest.raises(InvalidDocument, match=r"^profile mine: not TOML \(.*line 1"):
        parse_profile("product = Card", name="mine")
