import pytest

from virtfn.errors import RequestError
from virtfn.model import PciAddress, PciId


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0000:3b:00.1", "0000:3b:00.1"),
        ("3b:00.1", "0000:3b:00.1"),
        ("F014:00:02.0", "f014:00:02.0"),
        ("10000:01:10.7", "10000:01:10.7"),
        (" 0000:01:1f.7\n", "0000:01:1f.7"),
    ],
)
def test_address_is_read_and_written(text: str, expected: str) -> None:
    assert str(PciAddress.parse(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "ens1f0", "0000:3b:00.8", "0000:3b:00", "0000:3b:0.1", "000:3b:00.1", "0000:3g:00.1"]
)
def test_bad_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(RequestError, match="is not a PCI address") as caught:
        PciAddress.parse(text)
    assert repr(text) in str(caught.value)


def test_functions_of_one_card_share_a_slot_and_sort_by_number() -> None:
    first, second, other = (PciAddress.parse(text) for text in ("0000:3b:00.0", "0000:3b:00.1", "0000:3b:01.0"))
    assert first.slot == second.slot == "0000:3b:00"
    assert other.slot != first.slot
    assert sorted([other, second, first]) == [first, second, other]


def test_ids_are_four_lower_case_digits() -> None:
    assert str(PciId.parse("0x15B3:0x1017")) == "15b3:1017"
    with pytest.raises(RequestError, match="15b3"):
        PciId.parse("15b3")
