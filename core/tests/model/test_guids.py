import json

import pytest

from virtfn.model import PciAddress
from virtfn.model.guids import derived_guid, guid_of_address, is_set, kernel_guid, normal_guid, parse_pools

PF = PciAddress.parse("0000:3b:00.0")
MAC = "00:00:10:87:fe:80:00:00:00:00:00:00:0c:42:a1:03:00:00:3b:00"
GUID = "0c:42:a1:03:00:00:3b:00"


ONE = {"pciAddress": str(PF), "guids": [GUID]}


def pools(*entries: object) -> str:
    return json.dumps(entries)


def test_both_spellings_are_one_guid() -> None:
    assert normal_guid("0C42:a103:0000:3b00") == normal_guid("0c:42:a1:03:00:00:3B:00\n") == GUID
    assert kernel_guid(GUID) == kernel_guid("0c42:a103:0000:3b00") == "0c42:a103:0000:3b00"
    assert [normal_guid(text) for text in (None, "", "0c42", "0c:42:a1", MAC)] == [None] * 5
    assert kernel_guid("nothing") == ""


def test_all_zero_and_all_ones_are_no_guid() -> None:
    assert not is_set("0000:0000:0000:0000")
    assert not is_set("ff:ff:ff:ff:ff:ff:ff:ff")
    assert not is_set(None)
    assert is_set(GUID)


def test_the_ports_guid_ends_its_address() -> None:
    assert guid_of_address(MAC) == GUID
    assert guid_of_address("0c:42:a1:00:3b:00") is None


def test_derived_guids_stay_the_same_differ_and_are_locally_administered() -> None:
    found = [derived_guid(GUID, index) for index in range(127)]
    assert found == [derived_guid(GUID, index) for index in range(127)]
    others = [derived_guid("0c:42:a1:03:00:00:3b:01", index) for index in range(127)]
    assert len({*found, *others}) == 254
    assert all(normal_guid(guid) == guid and is_set(guid) and int(guid[:2], 16) & 3 == 2 for guid in found)


@pytest.mark.parametrize(("address", "guids"), [("pciAddress", "guids"), ("pci_address", "guids")])
def test_a_pool_lists_guids_by_index(address: str, guids: str) -> None:
    found = parse_pools(pools({address: str(PF), guids: ["02:00:00:00:00:00:00:01", "0200:0000:0000:0002"]}))
    (pool,) = found.of_pf(PF, MAC)
    assert found.fault == ""
    assert [pool.of(index) for index in range(3)] == ["02:00:00:00:00:00:00:01", "02:00:00:00:00:00:00:02", None]
    assert found.of_pf(PciAddress.parse("0000:5e:00.0"), MAC) == ()
    assert found.of_pf(PciAddress.parse("0000:5e:00.0"), "") == (), "a netdev without an address is nobody's"


@pytest.mark.parametrize("name", ["pfGuid", "pf_guid"])
@pytest.mark.parametrize("named", [MAC, MAC.upper(), GUID, "0c42:a103:0000:3b00"])
def test_a_pool_is_a_range_and_names_the_pf_by_its_address_or_guid(name: str, named: str) -> None:
    limits = {"start": "02:00:00:00:00:00:00:fe", "end": "02:00:00:00:00:00:01:00"}
    (pool,) = parse_pools(pools({name: named, "guidsRange": limits})).of_pf(PF, MAC)
    assert [pool.of(index) for index in range(4)] == [
        "02:00:00:00:00:00:00:fe",
        "02:00:00:00:00:00:00:ff",
        "02:00:00:00:00:00:01:00",
        None,
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("{}", "a list is expected"),
        ("[1]", r"[0]: an object is expected"),
        (pools({"guids": [GUID]}), "either pciAddress or pfGuid"),
        (pools({"pciAddress": str(PF), "pfGuid": GUID, "guids": [GUID]}), "either pciAddress or pfGuid"),
        (pools({"pciAddress": str(PF)}), "either guids or guidsRange"),
        (pools({"pciAddress": "3b", "guids": [GUID]}), "3b"),
        (pools({"pciAddress": str(PF), "guids": "x"}), "a list is expected"),
        (pools({"pciAddress": str(PF), "guids": [GUID, GUID]}), "there twice"),
        (pools({"pciAddress": str(PF), "guids": [GUID, 5]}), "guids[1]: 5 is no GUID"),
        (pools({"pciAddress": str(PF), "guids": ["00:00:00:00:00:00:00:00"]}), "is no GUID"),
        (pools({"pciAddress": str(PF), "guidsRange": {"start": GUID}}), "guidsRange.end"),
        (pools({"pciAddress": str(PF), "guidsRange": [GUID]}), "start and end"),
        (
            pools({"pciAddress": str(PF), "guidsRange": {"start": GUID, "end": "02:00:00:00:00:00:00:01"}}),
            "its end comes before its start",
        ),
        (pools(ONE, {"pciAddress": "0000:5e:00.0", "guids": [GUID]}), f"of {PF} and 0000:5e:00.0"),
        (
            pools(ONE, {"pfGuid": MAC, "guidsRange": {"start": "02:00:00:00:00:00:00:01", "end": GUID}}),
            f"{GUID} is there twice, in the pools of {MAC} and {PF}",
        ),
        ("[" * 100_000, "recursion"),
        ("\ufeff[]", "BOM"),
    ],
)
def test_a_file_that_cannot_be_used_gives_no_pool_and_says_why(text: str, fault: str) -> None:
    found = parse_pools(text)
    assert found.pools == ()
    assert fault in found.fault
