"""Errors that netlink answers with."""

from __future__ import annotations

import errno

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from virtfn.host.netlink import devlink_request, get_link, kernel_errors, link_message
from virtfn.host.oserror import DeviceTimedOut


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (errno.EINVAL, "Can't offload with VFs bound", "Can't offload with VFs bound"),
        (errno.EBUSY, None, "Device or resource busy"),
        (errno.ETIMEDOUT, None, "Connection timed out"),
    ],
)
def test_the_kernels_text_is_kept(code: int, text: str | None, expected: str) -> None:
    with pytest.raises(OSError, match=expected) as caught, kernel_errors():
        raise NetlinkError(code, text)
    assert (caught.value.errno, caught.value.strerror) == (code, expected)
    assert isinstance(caught.value, DeviceTimedOut) is (code == errno.ETIMEDOUT)
    assert isinstance(caught.value.__cause__, NetlinkError)


def test_extended_acknowledgement_of_the_real_kernel() -> None:
    """A name of 40 characters is refused before anything is looked up, and only the extended text says so."""
    with pytest.raises(OSError, match=r".") as caught:
        get_link(link_message(attributes=[("IFLA_IFNAME", "x" * 40)]))
    assert caught.value.errno == errno.ERANGE
    assert caught.value.strerror == "Attribute failed policy validation"


def test_a_family_or_device_that_is_not_there() -> None:
    handle = [("DEVLINK_ATTR_BUS_NAME", "pci"), ("DEVLINK_ATTR_DEV_NAME", "ffff:ff:1f.7")]
    with pytest.raises(OSError, match=r"No such") as caught:
        devlink_request("DEVLINK_CMD_INFO_GET", attributes=handle)
    assert caught.value.errno in {errno.ENODEV, errno.ENOENT}
