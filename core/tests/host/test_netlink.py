"""Errors that netlink answers with."""

from __future__ import annotations

import errno

import pytest

from virtfn.host.netlink import devlink_family, devlink_request, get_link, link_message


def test_extended_acknowledgement_of_the_real_kernel() -> None:
    """A name of 40 characters is refused before anything is looked up, and only the extended text says so."""
    with pytest.raises(OSError, match=r".") as caught:
        get_link(link_message(attributes=[("IFLA_IFNAME", "x" * 40)]))
    assert caught.value.errno == errno.ERANGE
    assert caught.value.strerror == "Attribute failed policy validation"


def test_a_family_or_device_that_is_not_there() -> None:
    handle = [("DEVLINK_ATTR_BUS_NAME", "pci"), ("DEVLINK_ATTR_DEV_NAME", "ffff:ff:1f.7")]
    with pytest.raises(OSError, match=r"No such") as caught:
        devlink_request("DEVLINK_CMD_INFO_GET", family=devlink_family(), attributes=handle)
    assert caught.value.errno in {errno.ENODEV, errno.ENOENT}
