"""Exceptions from bare error numbers."""

from __future__ import annotations

import errno

import pytest

from virtfn.host.oserror import DeviceTimedOut, os_error


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOENT, FileNotFoundError), (errno.EACCES, PermissionError), (errno.EBUSY, OSError)],
)
def test_the_usual_subclass(code: int, kind: type[OSError]) -> None:
    assert type(os_error(code)) is kind


def test_text_of_the_kernel_or_of_the_number() -> None:
    assert os_error(errno.EBUSY, "VFs are assigned", filename="/sys/x").strerror == "VFs are assigned"
    assert os_error(errno.EBUSY, filename="/sys/x").filename == "/sys/x"
    assert os_error(errno.EBUSY).strerror == "Device or resource busy"


def test_etimedout_is_no_timeout_error() -> None:
    error = os_error(errno.ETIMEDOUT, "firmware command timed out")
    assert type(error) is DeviceTimedOut
    assert not isinstance(error, TimeoutError)
    assert (error.errno, error.strerror) == (errno.ETIMEDOUT, "firmware command timed out")
