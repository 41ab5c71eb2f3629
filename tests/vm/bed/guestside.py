"""The guest's half of a test session: runs what the host selected and streams every report onto the share.

One JSON line per event: `{"start": nodeid}` when a test begins, `{"report": {...}}` for each of its phases.
"""

from __future__ import annotations

import faulthandler
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARE = Path("/run/vm")
SELECTED = "selected.json"
REPORTS = "reports.jsonl"
GUEST_VARIABLE = "VIRTFN_VM_GUEST"
TERMINAL = Path("/dev/hvc0")
TRACEBACK_AFTER = 0.75  # of a test's limit, so that the host still gets it before it kills the guest


def in_guest() -> bool:
    """Whether this is the pytest that the host started in the guest."""
    return GUEST_VARIABLE in os.environ


class Streamer:
    """Plugin of the guest's pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._limits: dict[str, float] = json.loads((SHARE / SELECTED).read_text())
        self._reports = (SHARE / REPORTS).open("a", buffering=1)
        self._terminal = TERMINAL.open("w")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what the host selected, in the host's order."""
        collected = {item.nodeid: item for item in items}
        items[:] = [collected[nodeid] for nodeid in self._limits if nodeid in collected]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """Show where a test hangs shortly before the host gives it up."""
        faulthandler.dump_traceback_later(self._limits[item.nodeid] * TRACEBACK_AFTER, file=self._terminal)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell the host which test is running."""
        self._write({"start": nodeid})

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send one phase's report."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._write({"report": data})

    def pytest_unconfigure(self) -> None:
        """Close what was opened, before Python complains about it."""
        self._reports.close()
        self._terminal.close()

    def _write(self, event: dict[str, Any]) -> None:
        self._reports.write(json.dumps(event, default=str) + "\n")
