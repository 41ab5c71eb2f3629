"""Output of the tool in the forms that were found in its source and in what people pasted, from 4.10 to 4.36."""

import json

import pytest

from virtfn.testing import FakeHost
from virtfn_mellanox.settings import Setting, Unreadable, errors_of, parse_json, parse_table, same

CONNECTX_5 = """
Device #1:
----------

Device type:    ConnectX5       
Name:           MCX556A-ECA_Ax  
Description:    ConnectX-5 VPI adapter card; EDR IB (100Gb/s) and 100GbE; dual-port QSFP28; PCIe3.0 x16; tall bracket; ROHS R6
Device:         0000:02:00.1    

Configurations:                              Default         Current         Next Boot
         MEMIC_BAR_SIZE                      0               0               0               
         MEMIC_SIZE_LIMIT                    _256KB(1)       _256KB(1)       _256KB(1)       
         NUM_OF_VFS                          8               0               16              
         SRIOV_EN                            False(0)        False(0)        True(1)         
*        LINK_TYPE_P1                        IB(1)           ETH(2)          ETH(2)          
"""  # noqa: E501, W291

CONNECTX_4_LX = """
Device #1:
----------

Device type:        ConnectX4LX         
Name:               N/A                 
Description:        N/A                 
Device:             0108:00:00.0        

Configurations:                                          Default             Current         Next Boot
        SRIOV_EN                                    False(0)             True(1)             True(1)             
*       NUM_OF_VFS                                  8                    16                   32                  
 RO     NUM_OF_PF                                   2                    2                    2                   
*RO     PCI_ATOMIC_MODE                             PCI_ATOMIC_DISABLED_EXT_ATOMIC_ENABLED(0) N/A PCI_ATOMIC_DISABLED_EXT_ATOMIC_ENABLED(0) 
        HOST_CHAINING_DESCRIPTORS                   Array[0..7]          Array[0..7]          Array[0..7]          
        ROCE_CONTROL                                DEVICE_DEFAULT(0)    148                  DEVICE_DEFAULT(0)    
The '*' shows parameters with next value different from default/current value.

The 'RO' shows parameters which are for read only and cannot be changed
"""  # noqa: E501, W291

CONNECTX_3_PRO = """
Device #1:
----------

Device type:    ConnectX3Pro    
Device:         /sys/bus/pci/devices/0000:20:00.0/config

Configurations:                              Default         Next Boot
         SRIOV_EN                            True(1)         True(1)         
         NUM_OF_VFS                          16              16              
         LINK_TYPE_P1                        VPI(3)          VPI(3)          
Device Firmware does not support reading current configurations
"""  # noqa: W291

HEAD = f"""
Device #1:
----------

{"Configurations:":<56}{"Default":<33} {"Current":<33} {"Next Boot":<33} 
        {"SRIOV_EN":<48}{"True(1)":<33}{"True(1)":<33}{"True(1)":<33}
        {"NUM_OF_VFS":<48}{"8":<33}{"8":<33}{"8":<33}
"""  # noqa: W291


def test_marks_arrays_and_values_in_different_forms() -> None:
    table = parse_table(CONNECTX_4_LX)
    assert table["SRIOV_EN"] == Setting(default=False, current=True, next=True)
    assert table["NUM_OF_VFS"] == Setting(default=8, current=16, next=32)
    assert table["NUM_OF_PF"] == Setting(default=2, current=2, next=2, read_only=True)
    assert table["PCI_ATOMIC_MODE"].current is None
    assert table["PCI_ATOMIC_MODE"].next == "PCI_ATOMIC_DISABLED_EXT_ATOMIC_ENABLED"
    assert table["HOST_CHAINING_DESCRIPTORS"].next == "Array[0..7]"
    assert table["ROCE_CONTROL"] == Setting(default="DEVICE_DEFAULT", current=148, next="DEVICE_DEFAULT")
    assert len(table) == 6


def test_narrow_columns_of_old_versions() -> None:
    table = parse_table(CONNECTX_5)
    assert table["NUM_OF_VFS"] == Setting(default=8, current=0, next=16)
    assert table["SRIOV_EN"] == Setting(default=False, current=False, next=True)
    assert table["LINK_TYPE_P1"] == Setting(default="IB", current="ETH", next="ETH")
    assert table["MEMIC_SIZE_LIMIT"].next == "_256KB"


def test_a_column_that_the_firmware_cannot_tell_is_left_out() -> None:
    table = parse_table(CONNECTX_3_PRO)
    assert table["NUM_OF_VFS"] == Setting(default=16, current=None, next=16)
    assert table["LINK_TYPE_P1"].next == "VPI"
    assert set(table) == {"SRIOV_EN", "NUM_OF_VFS", "LINK_TYPE_P1"}


def test_wide_columns_of_the_newest_version() -> None:
    assert parse_table(HEAD)["NUM_OF_VFS"] == Setting(default=8, current=8, next=8)


def test_without_the_option_there_is_one_column() -> None:
    text = "Configurations:                              Next Boot\n         NUM_OF_VFS                          8\n"
    assert parse_table(text)["NUM_OF_VFS"] == Setting(next=8)


@pytest.mark.parametrize(
    "row",
    [
        # cells of exactly 16 characters have nothing after them up to 4.25, longer ones up to 4.11
        "         SOME_MODE                           _16_CHARACTERS_(8)_16_CHARACTERS_(8)_16_CHARACTERS_(8)",
        "         SOME_MODE                           LONGER_THAN_SIXTEEN(8)LONGER_THAN_SIXTEEN(8)False(0)        ",
        "*RO     SOME_MODE                                   DEVICE_DEFAULT(0) DEVICE_DEFAULT(0) DEVICE_DEFAULT(0) ",
        " RO     SOME_MODE 5 0x10 N/A",
        "\t SOME_MODE\t1\t2\t3\t\r",
    ],
)
def test_cells_that_stand_close(row: str) -> None:
    setting = parse_table(f"Configurations:  Default Current Next Boot\n{row}\n")["SOME_MODE"]
    assert [setting.default, setting.current] in (
        ["_16_CHARACTERS_"] * 2,
        ["LONGER_THAN_SIXTEEN"] * 2,
        ["DEVICE_DEFAULT"] * 2,
        [5, 16],
        [1, 2],
    )


@pytest.mark.parametrize(
    "row",
    [
        "*        A_NAME_OF_MORE_CHARACTERS_THAN_ITS_COLUMN_HASArray[0..7]     Array[0..7]     Array[0..7]     ",
        " RO     A_NAME_OF_MORE_CHARACTERS_THAN_ITS_COLUMN_HAS8                   16                   N/A          ",
        "*RO     A_NAME_OF_MORE_CHARACTERS_THAN_ITS_COLUMN_HASWORD(1)             N/A                  16           ",
        "        A_NAME_WITH_A_VALUE_OF_TWO_WORDS            one two(1)           one(1)               one(1)       ",
        "        A_NAME                                      0                    -E- value is out of range",
    ],
)
def test_a_row_that_does_not_add_up_is_left_out(row: str) -> None:
    text = f"Configurations:  Default Current Next Boot\n{row}\n         NUM_OF_VFS     8      8       16\n"
    assert parse_table(text) == {"NUM_OF_VFS": Setting(default=8, current=8, next=16)}


def test_odd_lines_are_passed_over_and_what_follows_is_read() -> None:
    odd = "-W- something new\nwrite counter to semaphore: Operation not permitted\n"
    text = odd + CONNECTX_5.replace(
        "         NUM_OF_VFS",
        "-I- a line in between\n         A_ROW_WITH 1 2\n         FOUR 1 2 3 4\n\n         NUM_OF_VFS",
    )
    table = parse_table(text + "\x00 garbage\n")
    assert table["NUM_OF_VFS"].next == 16
    assert "A_ROW_WITH" not in table
    assert "FOUR" not in table


def test_garbage_is_no_value_and_no_trouble() -> None:
    row = "{} 0x10 0008 " + "9" * 5000
    lines = [row.format("A"), "B" * 1_000_000, "C" + " " * 1_000_000, "(" * 1_000_000, "D \u0663 \x00 \ufffd"]
    table = parse_table("Configurations: Default Current Next Boot\r\n" + "\r\n".join(lines))
    assert table["A"] == Setting(default=16, current=8, next="9" * 5000)
    assert table["D"] == Setting(default="\u0663", current="\x00", next="\ufffd")
    assert set(table) == {"A", "D"}


def test_only_the_first_device_counts() -> None:
    assert parse_table(CONNECTX_5 + CONNECTX_4_LX)["NUM_OF_VFS"].next == 16


@pytest.mark.parametrize("text", ["", "-E- Failed to open the device\n", "\x00\x01", "Configurations: Next Boot\n"])
def test_no_table(text: str) -> None:
    with pytest.raises(Unreadable, match=r"it printed no table|no settings that can be read"):
        parse_table(text)


@pytest.mark.parametrize("version", [f"4.{minor}.0" for minor in range(10, 37)])
def test_the_simulated_tool_prints_what_is_read_in_every_version(version: str) -> None:
    """The widths of each version, with values that fill their cell, just fit, and do not fit."""
    with FakeHost() as host:
        host.install_firmware_tool(version)
        card = host.add_card("bluefield-2", firmware={"NUM_OF_VFS": 127})
        wide = {"A": "_16_CHARACTERS_", "B": "X" * 12, "C": "X" * 17, "D": "X" * 30, "E": "X" * 40}
        for values in (card.firmware.default, card.firmware.current, card.firmware.next):
            values.update(wide)
        card.firmware.next["NUM_OF_VFS"] = 16
        assert host.firmware_tool is not None
        said = host.firmware_tool(("mstconfig", "-e", "-d", card.pf(), "q"))
        table = parse_table(said.stdout)
        assert {name: row.next for name, row in table.items()} == card.firmware.next
        assert {name: row.current for name, row in table.items()} == card.firmware.current
        assert {name: row.default for name, row in table.items()} == card.firmware.default
        one = parse_table(host.firmware_tool(("mstconfig", "-d", card.pf(), "q")).stdout)
        assert one == {name: Setting(next=value) for name, value in card.firmware.next.items()}
        if version >= "4.31":
            said = host.firmware_tool(("mstconfig", "-e", "-d", card.pf(), "-j", "/dev/stderr", "q"))
            assert said.stdout == "Query output saved to /dev/stderr successfully\n"
            assert parse_json(said.stderr) == table


# --- JSON -------------------------------------------------------------------------------------------------------------

AS_JSON = {
    "Device #1": {
        "device_type": "ConnectX7",
        "name": "N/A",
        "description": "N/A",
        "device": "0000:3b:00.0",
        "tlv_configuration": {
            "NUM_OF_VFS": {
                "read_only": False,
                "next_value": 16,
                "modified": True,
                "default_value": 8,
                "current_value": 12,
            },
            "SRIOV_EN": {"read_only": False, "next_value": "True(1)", "current_value": "N/A"},
            "LINK_TYPE_P1": {"read_only": False, "next_value": "ETH(2)"},
            "ROCE_CONTROL": {"read_only": True, "next_value": 148, "current_value": "DEVICE_DEFAULT(0)"},
            "AN_ARRAY": {"read_only": False, "next_value": "Array[0..7]"},
            "NONSENSE": 7,
        },
    },
    "Device #2": {"tlv_configuration": {"NUM_OF_VFS": {"next_value": 1}}},
}


@pytest.mark.parametrize("around", [("", ""), ("-W- a warning\n", "\n"), ("", "\x00\x00 left over\n")])
def test_json(around: tuple[str, str]) -> None:
    table = parse_json(around[0] + json.dumps(AS_JSON, indent=3) + around[1])
    assert table["NUM_OF_VFS"] == Setting(default=8, current=12, next=16)
    assert table["SRIOV_EN"] == Setting(next=True)
    assert table["LINK_TYPE_P1"] == Setting(next="ETH")
    assert table["ROCE_CONTROL"] == Setting(next=148, current="DEVICE_DEFAULT", read_only=True)
    assert "NONSENSE" not in table


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "{", "[]", "nothing", "{}\n", '{"Device #1": 1}', '{"Device #1": {"tlv_configuration": []}}'),
        '{"a":' * 100_000,
        '{"Device #1": {"tlv_configuration": null}}',  # the tool has written it, and then failed
    ],
)
def test_json_of_another_shape(text: str) -> None:
    with pytest.raises(Unreadable, match="JSON"):
        parse_json(text)


# --- complaints -------------------------------------------------------------------------------------------------------


def test_complaints() -> None:
    assert errors_of("-E- Failed to open the device\n") == ("Failed to open the device",)
    partly = "-E- Failed to query some of the TLVs:\n    Failed to query the default values of:\n    NV_X\n-I- done\n"
    assert errors_of(partly) == ("Failed to query some of the TLVs: Failed to query the default values of: NV_X",)
    assert errors_of(CONNECTX_4_LX) == ()
    twice = "-E- Failed to open the device\n-E- Failed to open the device\n-E- \n"
    assert errors_of(twice) == ("Failed to open the device",)
    cut_short = "        A_NAME          0             -E- value is out of range\n\n"
    assert errors_of(cut_short) == ("value is out of range",)
    assert errors_of("Name:           MCX556A-E-CAT_Ax  \n") == ()


@pytest.mark.parametrize(
    ("seen", "wanted", "is_same"),
    [
        (True, True, True),
        (1, True, False),
        (16, 16, True),
        ("eth", "ETH", True),
        (None, False, False),
        ("16", 16, False),
    ],
)
def test_values_are_compared_by_kind(seen: object, wanted: object, is_same: bool) -> None:
    assert same(seen, wanted) is is_same  # type: ignore[arg-type]
