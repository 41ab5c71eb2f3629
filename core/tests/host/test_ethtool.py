"""ETHTOOL_GDRVINFO."""

from __future__ import annotations

import errno
import struct

import pytest

from virtfn.host.ethtool import IoctlEthtool, drvinfo


def packed(*texts: bytes) -> bytes:
    """`struct ethtool_drvinfo`: cmd, four texts and erom_version of 32 bytes, 12 reserved, five counters."""
    padded = [text.ljust(32, b"\0") for text in texts]
    data = struct.pack("=I", 3) + b"".join(padded) + bytes(32 + 12) + struct.pack("=5I", 1, 2, 3, 4, 5)
    assert len(data) == 196
    return data


def test_texts() -> None:
    assert drvinfo(packed(b"mlx5_core", b"6.12.1", b"22.39.2048 (MT_0000000359)", b"0000:3b:00.0")) == {
        "driver": "mlx5_core",
        "version": "6.12.1",
        "firmware-version": "22.39.2048 (MT_0000000359)",
        "bus-info": "0000:3b:00.0",
    }


def test_empty_texts_are_left_out_and_full_ones_have_no_final_zero() -> None:
    assert drvinfo(packed(b"d" * 32, b"", b"\xff", b"")) == {"driver": "d" * 32, "firmware-version": "\ufffd"}


@pytest.mark.parametrize("name", ["nosuchdev", "", "longer-than-a-netdev-name-can-be"])
def test_no_such_netdev(name: str) -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        IoctlEthtool().driver_info(name)
    assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, name)


def test_a_netdev_without_a_driver_behind_it() -> None:
    with pytest.raises(OSError, match="not supported") as caught:
        IoctlEthtool().driver_info("lo")
    assert caught.value.errno == errno.EOPNOTSUPP
