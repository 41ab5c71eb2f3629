"""The daemon with the rights that it is deployed with, and no others, from a node state to its VFs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kube.bed.reconciling import eventually
from kube.daemon.conftest import NAME, Bench, interface

from virtfn.kube.client import KubeClient
from virtfn.kube.resource import EVENTS
from virtfn.testing import FakeHost

OPERATOR = "sriov-network-operator"


def test_nothing_that_the_daemon_does_is_refused(
    acting: Callable[[str], KubeClient], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    admin, own = acting(""), acting("virtfn-daemon")
    with FakeHost() as host:
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        bench = Bench(admin, own, namespace=OPERATOR, host=host, folder=tmp_path)
        bench.create()
        bench.begin()
        try:
            bench.until_synced(bench.want(interface()))
            assert bench.vfs() == 4
            bench.want(interface(vfs=200))
            bench.until(lambda state: (state.get("status") or {}).get("syncStatus") == "Failed")
            found: Any = eventually(
                lambda: [each for each in admin.list(EVENTS, namespace=OPERATOR) if each["regarding"]["name"] == NAME]
            )
            assert {each["reportingController"] for each in found} == {"virtfn.io/daemon"}
        finally:
            bench.end()
    assert [each.getMessage() for each in caplog.records if "is not allowed" in each.getMessage()] == []
